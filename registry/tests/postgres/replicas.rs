//! Several registries on one database, in one process.
