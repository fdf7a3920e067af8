//! Group APIs. Stub, replaced by its owner.
