//! The phases of a connection, in the order in which it goes through them.

use std::time::Duration;

use tokio::time::Instant;

/// How long the peer may take to close its side after this hop closed its own. Closing with unread
/// bytes would reset the connection, and the last frames could be lost.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// How long a connection stays open after the last end that was written to it. A Kitex peer that
/// sees the connection close before it has read a Rst prints 12006 for its stream.
pub(super) const PARTING: Duration = Duration::from_millis(500);

/// Where a connection's life is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// The framing is lost. Nothing more is read, and the streams are being ended.
    Ending(Instant),
    /// No stream is open. What is queued is being written.
    Flushing(Instant),
    ShuttingDown(Instant),
    Lingering(Instant),
    Done,
}
