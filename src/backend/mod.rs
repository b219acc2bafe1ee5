//! Backends: named sets of endpoints to which streams are sent.
//!
//! Decides to which endpoint the next stream goes (`cluster`), and finds the endpoints (`dns`).
//! Knows no routes; `proxy` brings the two together.

mod answer;
mod cluster;
pub mod dns;
mod endpoint;
mod lookup;
mod pace;
pub(crate) mod pool;

pub use answer::Finding;
pub use cluster::{Cluster, PickHint};
pub use endpoint::{Endpoint, EndpointGuard};

pub(crate) use cluster::{cancel_as, ping, tcp_options};
