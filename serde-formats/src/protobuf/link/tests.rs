//! Verdicts that `protoc` 35.1 gave, one line a case.
