//! The gRPC wire over HTTP/2 (the gRPC project's PROTOCOL-HTTP2.md and statuscodes.md): from frames
//! to the neutral stream model and back, on connections of `net::http2`. Knows no other wire.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::net::budget::Budget;
use crate::net::held::Held;

pub mod adapter;
pub mod client;
mod deadline;
pub mod end;
mod hop;
pub mod keys;
pub mod limit;
pub mod metadata;
mod receive;
mod send;
pub mod server;
mod small;
pub mod status;

pub use adapter::{NOT_GRPC, WIRE};
use deadline::Deadline;

/// What the streams of one listener or backend share.
#[derive(Clone, Debug)]
pub struct StreamConfig {
    /// This hop's name (`node`).
    pub node: Rc<str>,
    /// The largest message, in bytes.
    pub max_message: usize,
    /// The most bytes of names and values in a request's headers.
    pub max_metadata: usize,
    /// The most bytes of a head or an end toward a caller ([`limit::BlockLimit`]).
    pub max_head: usize,
    /// The stream window that the connection announces, in bytes.
    pub stream_window: u32,
    /// The window of the whole connection, in bytes.
    pub connection_window: u32,
    /// How long a stream that nobody reads may block a full connection.
    pub slow_receiver_timeout: Duration,
    /// The bytes that all connections of the process may hold.
    pub budget: Arc<Budget>,
    /// Counts streams that were ended for being slow.
    pub slow_streams: Arc<AtomicU64>,
    /// Whether the peer is another ripcord, which reads the cause of a cancel from the reset code.
    pub to_ripcord: bool,
    /// Whether ends are written with the carried fields that only another ripcord reads.
    pub carried: bool,
}

impl StreamConfig {
    /// Small limits, for tests.
    #[cfg(test)]
    pub(crate) fn small(budget: Arc<Budget>) -> Self {
        Self {
            node: "hop".into(),
            max_message: 1 << 20,
            max_metadata: 16 * 1024,
            max_head: limit::MAX_HEAD,
            stream_window: 1 << 16,
            connection_window: 1 << 20,
            slow_receiver_timeout: Duration::from_secs(1),
            budget,
            slow_streams: Arc::default(),
            to_ripcord: false,
            carried: true,
        }
    }

    /// The account of one connection.
    #[must_use]
    pub fn held(&self) -> Rc<Held> {
        let (budget, ended) = (Arc::clone(&self.budget), Arc::clone(&self.slow_streams));
        Held::new(
            self.connection_window as usize,
            self.slow_receiver_timeout,
            budget,
            ended,
        )
    }
}
