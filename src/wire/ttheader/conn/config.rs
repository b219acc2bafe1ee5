//! The settings and counters of TTHeader connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::net::budget::Budget;
use crate::net::connection::{CounterRow, Found};
use crate::wire::ttheader::frame::FrameLimits;
use crate::wire::ttheader::known::Known;

/// The settings of a connection, in either role.
#[derive(Clone, Debug)]
pub struct ConnConfig {
    /// This hop's name in canceled paths (`node`).
    pub node: Box<str>,
    /// Whether ends carry the fields that only ripcord reads. False with `carried: strip`.
    pub carried: bool,
    /// The longest header block in bytes: bytes 14 and on of a frame.
    pub max_header: usize,
    /// The longest message in bytes. A longer one ends its stream without being buffered.
    pub max_message: usize,
    /// Bytes in the connection's write queue over which streams have to wait.
    pub high_water: usize,
    /// Received bytes that one stream may hold before its connection is no longer read. One message
    /// is always accepted.
    pub stream_budget: usize,
    /// Received bytes that all streams of one connection may hold.
    pub connection_budget: usize,
    /// Received bytes that all connections of the process may hold.
    pub budget: Arc<Budget>,
    /// How long a stream that is over its budget may block the others of its connection.
    pub slow_receiver_timeout: Duration,
    /// How long it may when no other stream is open: the Header of another one may be waiting
    /// behind it. Progress starts the time again. A connection to a backend waits for ever in that
    /// case.
    pub lone_grace: Duration,
    /// How long a peer may read nothing while a terminal frame waits. Then its connection is
    /// closed.
    pub cancel_grace: Duration,
    /// Open streams at a time on one inbound connection.
    pub max_streams: usize,
    /// The counters of unusual events.
    pub counters: Arc<Counters>,
}

/// The longest payload of other frames: an exception's. It is longer than any text that is passed
/// on. It does not depend on `max_message`, since even a stream with short messages needs its end.
const MAX_CONTROL: usize = 256 * 1024;

impl ConnConfig {
    /// The default settings.
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

/// Counters of unusual events since the start. All threads share them.
#[derive(Debug, Default)]
pub struct Counters {
    /// Frames for a stream that is finished or was never opened. They are dropped.
    pub late_frames: AtomicU64,
    /// Frames that could not be decoded, or came where they are not allowed.
    pub bad_frames: AtomicU64,
    /// Connections that were ended since the framing was lost.
    pub lost_framing: AtomicU64,
    /// Messages over the limit. Each ended its stream.
    pub oversized_messages: AtomicU64,
    /// How often reading a connection paused for a budget.
    pub paused_reads: AtomicU64,
    /// Streams that were ended because their receiver did not read.
    pub slow_streams: AtomicU64,
    /// Connections that were closed since the peer did not read a terminal frame.
    pub grace_closes: AtomicU64,
    /// Streams that were refused over `max_streams`.
    pub over_limit: AtomicU64,
    /// Streams that were refused while draining.
    pub drained: AtomicU64,
    /// Connections that ended while streams were open on them.
    pub lost_connections: AtomicU64,
    /// Probes that found a callee which knows the Rst frame.
    pub probes_rst: AtomicU64,
    /// Probes that found a callee which does not.
    pub probes_trailer: AtomicU64,
    /// Probes that found nothing.
    pub probes_failed: AtomicU64,
    /// Callees that turned out not to know the Rst frame when one was sent.
    pub old_callees: AtomicU64,
    /// Callers, by address, that turned out not to know the Rst frame.
    pub old_callers: AtomicU64,
    /// What is known of peers.
    pub(crate) known: Known,
}

impl Counters {
    /// What was found out about peers.
    #[must_use]
    pub fn found(&self) -> Vec<Found> {
        self.known.shown()
    }

    /// New counters at zero.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Each counter, as `/metrics` shows it.
    #[must_use]
    pub fn rows(self: &Arc<Self>) -> Vec<CounterRow> {
        type Of = fn(&Counters) -> &AtomicU64;
        let read: [(&'static str, Of); 15] = [
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
            ("probes_rst", |c| &c.probes_rst),
            ("probes_trailer", |c| &c.probes_trailer),
            ("probes_failed", |c| &c.probes_failed),
            ("old_callees", |c| &c.old_callees),
            ("old_callers", |c| &c.old_callers),
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
