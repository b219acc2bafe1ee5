//! Which backend a stream goes to.
//!
//! Here are the compiled table and its replacement as a whole. The configuration and the neutral
//! head are known, the wires are not. A backend is any `B` that the application builds (a
//! `backend::Cluster`), so that routes and backends do not depend on each other.

mod store;
mod table;

pub use store::{LastError, Schemas, Snapshot, Store};
pub use table::{Route, Table};
