//! One file per command.

pub mod bench;
pub mod consume;
pub mod http;
pub mod produce;
pub mod schema;
pub mod serve;
pub mod topic;
