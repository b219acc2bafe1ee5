//! A connection's life, whatever its wire: how one to a callee is opened and driven, and why it is
//! over.

use crate::net::bounds::Ping;
use crate::net::violation::Violation;

/// How connections to a backend are set up.
#[derive(Clone, Copy, Debug, Default)]
pub struct DialOptions {
    /// Whether the peer is another ripcord, with nothing in between.
    pub to_ripcord: bool,
    /// Pings to a silent peer, on wires that have them.
    pub ping: Option<Ping>,
}

/// Runs a connection's task.
pub trait Drive {
    /// Runs `driver` beside everything else, until the connection is over.
    fn drive(self, driver: impl Future<Output = ConnectionEnd> + 'static);
}

/// A counter of a wire, for `/metrics`.
pub struct CounterRow {
    /// The name of the metric.
    pub name: &'static str,
    /// The help text of the metric.
    pub help: &'static str,
    /// Its label, if it has one: name and value.
    pub label: Option<(&'static str, &'static str)>,
    /// Reads the number since the start of the process.
    pub read: Box<dyn Fn() -> u64 + Send + Sync>,
}

/// Whether a connection to a callee can take one more stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It can.
    Free,
    /// It can, but its budget of resets is spent: so many streams are open beyond it, with this one.
    Spent(u64),
    /// The callee allows no more streams at a time.
    Full,
}

/// Why a connection is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionEnd {
    /// Both sides were finished.
    #[error("closed")]
    Closed,
    /// The handshake took too long.
    #[error("no HTTP/2 handshake in time")]
    Handshake,
    /// A PING was not answered.
    #[error("keepalive: no answer to a ping")]
    Keepalive,
    /// The peer read nothing for `cancel_grace` while an end waited to be written.
    #[error("the peer did not read")]
    Grace,
    /// The peer broke the protocol: the kind under which it is counted, and a text.
    #[error("{1}")]
    Violation(Violation, String),
    /// The peer ended it because this side reset too many streams: what it said.
    #[error("{0}")]
    Resets(String),
    /// The transport failed, or the peer closed the connection early.
    #[error("{0}")]
    Failed(String),
}

impl ConnectionEnd {
    /// The kind under which the peer is counted; `None` when it is not to blame.
    #[must_use]
    pub const fn violation(&self) -> Option<Violation> {
        match self {
            Self::Closed | Self::Resets(_) | Self::Failed(_) => None,
            Self::Handshake => Some(Violation::HANDSHAKE_TIMEOUT),
            Self::Keepalive => Some(Violation::KEEPALIVE),
            Self::Grace => Some(Violation::UNREAD),
            Self::Violation(kind, _) => Some(*kind),
        }
    }
}
