//! How streams begin: those that callers open here, and those that this hop opens.

use crate::stream::{Inbound, RequestHead};

/// Who takes the streams of an inbound connection. The wire's server role calls it.
pub trait Acceptor: Unpin + 'static {
    /// Keeps a way to drain the connection known, until it is dropped.
    type DrainGuard;

    /// A caller opened a stream; the stream's task begins here.
    fn open<I: Inbound + 'static>(&self, head: RequestHead, inbound: Box<I>);

    /// The peer did what its wire forbids: one of [`Wire::caller_violations`](crate::stream::Wire), and
    /// what it was, for the log.
    fn violation(&self, kind: &'static str, what: &str);

    /// Has `drain` called when the connection is to take no new streams; at once where that is so
    /// already.
    fn on_drain(&self, drain: impl Fn() + 'static) -> Self::DrainGuard;
}

/// Why a stream could not be opened on a connection to a callee. Nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The connection does not let it; another one may.
    Connection(String),
    /// The request's head cannot be written on this wire: no connection will do.
    Head(String),
}
