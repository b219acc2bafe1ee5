//! How streams begin: those that callers open here, and those that this hop opens.

use crate::stream::{Inbound, RequestHead};

/// Takes the streams of an inbound connection. The wire's server role calls it.
pub trait Acceptor: Unpin + 'static {
    /// Keeps the connection registered for draining until it is dropped.
    type DrainGuard;

    /// A caller opened a stream. The stream's task begins here.
    fn open<I: Inbound + 'static>(&self, head: Box<RequestHead>, inbound: Box<I>);

    /// The peer did what its wire forbids. `kind` is one of
    /// [`Wire::caller_violations`](crate::stream::Wire); `what` describes it for the log.
    fn violation(&self, kind: &'static str, what: &str);

    /// Calls `drain` when the connection has to refuse new streams: at once if that time has come.
    fn on_drain(&self, drain: impl Fn() + 'static) -> Self::DrainGuard;
}

/// Why a stream could not be opened on a connection to a callee. Nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// This connection cannot take the stream. Another one may.
    Connection(String),
    /// The endpoint did not answer in time, and another attempt there would take as long.
    Silent(String),
    /// This wire cannot write the request's head. No other connection will help.
    Head(String),
    /// The request's head is longer than the callee takes, by its own word.
    TooLarge(String),
}

impl OpenError {
    /// Why.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Connection(why) | Self::Silent(why) | Self::Head(why) | Self::TooLarge(why) => {
                why
            }
        }
    }
}
