//! Backends: named sets of endpoints that streams are sent to.
//!
//! Owns which endpoint the next stream goes to and how it is found out (`cluster`, `dns`). Knows
//! nothing of routes; `proxy` brings the two together.

mod cluster;
pub mod dns;
mod endpoint;
pub(crate) mod pool;

pub use cluster::{Cluster, PickHint};
pub use endpoint::{Endpoint, EndpointGuard};

use crate::config::Keepalive;
use crate::net::tcp::TcpOptions;

/// The socket options that `keepalive` means, of a backend or of a listener.
pub(crate) fn tcp_options(keepalive: &Keepalive) -> TcpOptions {
    TcpOptions {
        keepalive: keepalive
            .tcp
            .as_ref()
            .map(|tcp| (tcp.idle, tcp.interval, tcp.count)),
        user_timeout: keepalive.user_timeout,
    }
}
