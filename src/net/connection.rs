//! A connection's life, whatever its wire: how one to a callee is opened and driven, and why it is
//! over.

use crate::net::bounds::Ping;
use crate::net::violation::Violation;

/// What a backend says of the connections to it.
#[derive(Clone, Copy, Debug, Default)]
pub struct DialOptions {
    /// The peer is another ripcord, with nothing in between.
    pub to_ripcord: bool,
    /// How a silent connection is asked whether it lives.
    pub ping: Option<Ping>,
}

/// Who has a connection's task run.
pub trait Drive {
    /// Runs `driver` beside everything else, until the connection is over.
    fn drive(self, driver: impl Future<Output = ConnectionEnd> + 'static);
}

/// What was counted since the start, for `/metrics`.
pub struct CounterRow {
    /// The family's name.
    pub name: &'static str,
    /// The family's help text.
    pub help: &'static str,
    /// Its label, if it has one.
    pub label: Option<(&'static str, &'static str)>,
    /// Reads it.
    pub read: Box<dyn Fn() -> u64 + Send + Sync>,
}

/// Why a connection is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionEnd {
    /// Both sides were done.
    #[error("closed")]
    Closed,
    /// The handshake took too long.
    #[error("no HTTP/2 handshake in time")]
    Handshake,
    /// A PING was not answered.
    #[error("keepalive: no answer to a ping")]
    Keepalive,
    /// The peer took nothing for `cancel_grace` while an end waited to be written.
    #[error("the peer did not read")]
    Grace,
    /// The peer broke the protocol: what it is counted for, and a text.
    #[error("{1}")]
    Violation(Violation, String),
    /// The transport failed, or the peer gave the connection up.
    #[error("{0}")]
    Failed(String),
}

impl ConnectionEnd {
    /// What it is counted as, where the peer is to blame.
    #[must_use]
    pub const fn violation(&self) -> Option<Violation> {
        match self {
            Self::Closed | Self::Failed(_) => None,
            Self::Handshake => Some(Violation::HANDSHAKE_TIMEOUT),
            Self::Keepalive => Some(Violation::KEEPALIVE),
            Self::Grace => Some(Violation::UNREAD),
            Self::Violation(kind, _) => Some(*kind),
        }
    }
}
