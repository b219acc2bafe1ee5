//! Cases of `tests/operations.rs` in a file of their own.

mod process;
