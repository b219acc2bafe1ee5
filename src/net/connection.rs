//! A connection's life, whatever its wire: how one to a callee is opened and driven, and why it is
//! over.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::net::bounds::Ping;
use crate::net::tcp::TcpOptions;
use crate::net::violation::Violation;

/// How connections to a backend are set up.
#[derive(Clone, Debug, Default)]
pub struct DialOptions {
    /// Whether the peer is another ripcord, with nothing in between.
    pub to_ripcord: bool,
    /// Pings to a silent peer, on wires that have them.
    pub ping: Option<Ping>,
    /// What the peer complained of before.
    pub pace: Option<Arc<dyn Pace>>,
    /// In which form the peer takes a cancel, on wires that have two.
    pub cancel_as: CancelAs,
    /// When nobody waits for the connection any more.
    pub until: Option<Instant>,
    /// How long another connection to the same peer may take to open.
    pub connect_timeout: Duration,
    /// The options of such a connection's socket.
    pub tcp: TcpOptions,
}

/// What one peer bears, by what it complained of. It outlives the connections to that peer.
pub trait Pace: fmt::Debug + Send + Sync {
    /// The time between pings of a new connection, made from what the configuration says.
    fn interval(&self, configured: Duration) -> Duration;

    /// The peer complained of too many pings. From now on the time between them is twice as long
    /// (gRFC A8).
    fn slower(&self, configured: Duration);

    /// Whether it bears only few small DATA frames that are not read ([`crate::net::unread`]).
    fn bears_few(&self) -> bool;

    /// Whether it should be asked that now. Who is told so asks, and says what was found.
    fn is_to_ask(&self) -> bool;

    /// What the peer answered: whether it bears any number of them.
    fn answered(&self, bears: bool);

    /// The peer complained of too many small frames.
    fn too_many_small(&self);
}

/// In which form a peer takes a cancel, where a wire has a newer one that old peers do not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CancelAs {
    /// What is found out.
    #[default]
    Found,
    /// The newer one.
    Reset,
    /// The one that every peer knows.
    Trailer,
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

/// What was found out about a peer, for `/config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// `callee` or `caller`.
    pub side: &'static str,
    /// A callee's endpoint, or a caller's IP address.
    pub address: String,
    /// The form in which it takes a cancel, by its word in the file.
    pub cancel_as: &'static str,
    /// When it was found out.
    pub age: Duration,
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
    /// The peer ended the connection and said why. The text has its code and its words.
    #[error("{0}")]
    SentAway(String),
    /// The transport failed, or the peer closed the connection early.
    #[error("{0}")]
    Failed(String),
}

impl ConnectionEnd {
    /// The kind under which the peer is counted; `None` when it is not to blame.
    #[must_use]
    pub const fn violation(&self) -> Option<Violation> {
        match self {
            Self::Closed | Self::Resets(_) | Self::SentAway(_) | Self::Failed(_) => None,
            Self::Handshake => Some(Violation::HANDSHAKE_TIMEOUT),
            Self::Keepalive => Some(Violation::KEEPALIVE),
            Self::Grace => Some(Violation::UNREAD),
            Self::Violation(kind, _) => Some(*kind),
        }
    }
}
