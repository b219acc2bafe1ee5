//! Which backend a stream goes to.
//!
//! Owns the compiled table and its swapping. Knows the configuration and the neutral head; not
//! the wires, and not what a backend is: `B` is whatever the application builds for one (a
//! `backend::Cluster`), so that routes and backends do not depend on each other.

mod store;
mod table;

pub use store::{LastError, Snapshot, Store};
pub use table::{Route, Table};
