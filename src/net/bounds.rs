//! What the connections of one listener, or to all backends, may hold: plain numbers, which each
//! wire turns into settings of its own.

use std::sync::Arc;
use std::time::Duration;

use crate::net::budget::Budget;
use crate::net::connection::CancelAs;

/// The bounds of connections, whatever their wire. Sizes are in bytes.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// This hop's name in canceled paths (`node`).
    pub node: Arc<str>,
    /// The bytes that all connections of the process may hold together.
    pub budget: Arc<Budget>,
    /// The largest message, in bytes.
    pub max_message: usize,
    /// The most bytes of keys and values in a request's metadata.
    pub metadata_size: usize,
    /// The most bytes of one head or end toward a caller, on wires whose callers have such a limit.
    pub max_head: usize,
    /// The bytes that one stream may hold.
    pub stream_buffer: usize,
    /// The bytes that all streams of one connection may hold.
    pub connection_buffer: usize,
    /// Open streams at a time on one inbound connection.
    pub max_streams: usize,
    /// Streams of one connection that may be reset before this hop has looked at them.
    pub max_resets: usize,
    /// How long a stream whose receiver does not read may block its connection.
    pub slow_receiver_timeout: Duration,
    /// How long a peer may read nothing while a cancel or an end waits for it.
    pub cancel_grace: Duration,
    /// How long a new connection may take to show its protocol and finish its handshake.
    pub handshake_timeout: Duration,
    /// Pings to a silent peer, on wires that have them.
    pub ping: Option<Ping>,
    /// Whether the carried fields (`ripcord-*`) are believed and written.
    pub carried: bool,
    /// In which form callers take a cancel, on wires that have two.
    pub cancel_as: CancelAs,
}

/// Pings to a silent peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Silence before a ping.
    pub interval: Duration,
    /// How long the answer may take.
    pub timeout: Duration,
    /// Whether pings are sent while no stream is open.
    pub without_streams: bool,
}

impl Bounds {
    /// Wide bounds, for peers in tests.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn wide(node: &str) -> Self {
        Self {
            node: node.into(),
            budget: Budget::new(1 << 30),
            max_message: 4 << 20,
            metadata_size: 64 << 10,
            max_head: 8 * 1024 - 256,
            stream_buffer: 256 << 10,
            connection_buffer: 16 << 20,
            max_streams: 10_000,
            max_resets: 10_000,
            slow_receiver_timeout: Duration::from_secs(5),
            cancel_grace: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(10),
            ping: None,
            carried: true,
            cancel_as: CancelAs::Found,
        }
    }
}
