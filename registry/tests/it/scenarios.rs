//! Scenarios others wrote about the same API: each a list of requests and checks.
