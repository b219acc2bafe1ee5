//! Cases of `tests/operations.rs` that need room of their own.

mod process;
