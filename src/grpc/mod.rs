//! The gRPC wire over HTTP/2 (the gRPC project's PROTOCOL-HTTP2.md and statuscodes.md): frames to
//! the neutral stream model and back, on the `h2` crate. Knows no other wire.

use std::rc::Rc;

pub mod client;
pub mod end;
pub mod keys;
pub mod metadata;
mod receive;
mod send;
pub mod server;
pub mod status;

/// What the streams of one listener or backend share.
#[derive(Clone, Debug)]
pub struct StreamConfig {
    /// This hop's name.
    pub node: Rc<str>,
    /// The largest message, in bytes.
    pub max_message: usize,
    /// The stream window that the connection announces, in bytes.
    pub stream_window: u32,
    /// Whether ends are written with the carried fields that only another ripcord reads.
    pub carried: bool,
}
