//! The settings and counters of TTHeader connections. Knows nothing of what they do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::net::budget::Budget;
use crate::net::connection::CounterRow;
use crate::wire::ttheader::frame::FrameLimits;

/// The settings of a connection, in either role.
#[derive(Clone, Debug)]
pub struct ConnConfig {
    /// This hop's name in canceled paths.
    pub node: Box<str>,
    /// Whether ends carry the fields that only ripcords read (`carried: strip` is false).
    pub carried: bool,
    /// The longest header block, frame bytes 14 and on.
    pub max_header: usize,
    /// The longest message; a longer one ends its stream without being buffered.
    pub max_message: usize,
    /// Bytes in the connection's write queue over which streams have to wait.
    pub high_water: usize,
    /// Received bytes that one stream may hold before its connection is no longer read. One
    /// message is always taken.
    pub stream_budget: usize,
    /// The same for all streams of one connection.
    pub connection_budget: usize,
    /// The same for the process.
    pub budget: Arc<Budget>,
    /// How long a stream that is over its budget may stop the others of its connection.
    pub slow_receiver_timeout: Duration,
    /// How long it may when no other stream is known: an inbound connection's next Header may be
    /// waiting behind it. Progress starts it again. A backend's connection waits for ever then.
    pub lone_grace: Duration,
    /// How long a peer may take nothing while a terminal frame waits, before its connection is
    /// closed.
    pub cancel_grace: Duration,
    /// Streams at a time on one inbound connection.
    pub max_streams: usize,
    /// Where everything unusual is counted.
    pub counters: Arc<Counters>,
}

/// The longest payload but a message: an exception's. Longer than any text that is passed on, and
/// not bound to `max_message`, since how a stream ended is said however short its messages are.
const MAX_CONTROL: usize = 256 * 1024;

impl ConnConfig {
    /// The defaults.
    #[must_use]
    pub fn new(node: &str, budget: Arc<Budget>, counters: Arc<Counters>) -> Self {
        Self {
            node: node.into(),
            carried: true,
            max_header: 64 * 1024,
            max_message: 4 * 1024 * 1024,
            high_water: 64 * 1024,
            stream_budget: 256 * 1024,
            connection_budget: 4 * 1024 * 1024,
            budget,
            slow_receiver_timeout: Duration::from_secs(1),
            lone_grace: Duration::from_secs(30),
            cancel_grace: Duration::from_secs(5),
            max_streams: 10_000,
            counters,
        }
    }

    pub(crate) fn limits(&self) -> FrameLimits {
        FrameLimits {
            header: self.max_header,
            message: self.max_message,
            control: MAX_CONTROL,
        }
    }
}

/// What was unusual, counted since the start. SharedConnection by all threads.
#[derive(Debug, Default)]
pub struct Counters {
    /// Frames for a stream that is finished or was never opened; dropped.
    pub late_frames: AtomicU64,
    /// Frames that could not be decoded, or came where they must not.
    pub bad_frames: AtomicU64,
    /// Connections given up since the framing was lost.
    pub lost_framing: AtomicU64,
    /// Messages over the limit; each ended its stream.
    pub oversized_messages: AtomicU64,
    /// Times that reading a connection paused for a budget.
    pub paused_reads: AtomicU64,
    /// Streams ended for a receiver that was too slow.
    pub slow_streams: AtomicU64,
    /// Connections closed since the peer did not read a terminal frame.
    pub grace_closes: AtomicU64,
    /// Streams refused over `max_streams`.
    pub over_limit: AtomicU64,
    /// Streams refused while draining.
    pub drained: AtomicU64,
    /// Connections that ended with live streams on them.
    pub lost_connections: AtomicU64,
}

impl Counters {
    /// Zeroes, shared.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Each counter, as `/metrics` shows it.
    #[must_use]
    pub fn rows(self: &Arc<Self>) -> Vec<CounterRow> {
        type Of = fn(&Counters) -> &AtomicU64;
        let read: [(&'static str, Of); 10] = [
            ("late_frames", |c| &c.late_frames),
            ("bad_frames", |c| &c.bad_frames),
            ("lost_framing", |c| &c.lost_framing),
            ("oversized_messages", |c| &c.oversized_messages),
            ("paused_reads", |c| &c.paused_reads),
            ("slow_streams", |c| &c.slow_streams),
            ("grace_closes", |c| &c.grace_closes),
            ("over_limit", |c| &c.over_limit),
            ("drained", |c| &c.drained),
            ("lost_connections", |c| &c.lost_connections),
        ];
        let row = |(event, of): (&'static str, Of)| {
            let counters = Arc::clone(self);
            CounterRow {
                name: "ripcord_ttheader_events_total",
                help: "What happened on TTHeader connections",
                label: Some(("event", event)),
                read: Box::new(move || of(&counters).load(Ordering::Relaxed)),
            }
        };
        read.into_iter().map(row).collect()
    }
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
