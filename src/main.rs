//! The `ripcord` command.
fn main() {}
