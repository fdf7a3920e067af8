//! One file per Kafka API. Stub, replaced by its owner.
pub mod groups;
