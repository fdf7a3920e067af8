//! .
pub mod enforcement;
