//! Backends: named sets of endpoints that streams are sent to.
//!
//! Owns which endpoint the next stream goes to and how it is found out (`cluster`, `dns`). Knows
//! nothing of routes; `proxy` brings the two together.

mod answer;
mod cluster;
pub mod dns;
mod endpoint;
pub(crate) mod pool;

pub use answer::Finding;
pub use cluster::{Cluster, PickHint};
pub use endpoint::{Endpoint, EndpointGuard};

pub(crate) use cluster::{ping, tcp_options};
