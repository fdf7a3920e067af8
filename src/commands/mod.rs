//! One file per command.

pub mod access;
pub mod backup;
pub mod bench;
pub mod consume;
pub mod doctor;
pub mod export;
pub mod http;
pub mod import;
pub mod produce;
pub mod schema;
pub mod serve;
pub mod topic;
