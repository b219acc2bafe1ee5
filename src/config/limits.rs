//! `limits`: every bound on what peers can make this process hold, and `drain`.
//!
//! Here are the keys, their defaults and their ranges. `config/reference.yaml` explains each.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::units::format_size;
use super::walk::{NodeRef, Renamed, Walk};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;

/// The shortest and the longest timeout.
pub(super) const TIMEOUTS: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(24 * 3600);

pub(super) const KEYS: &[&str] = &[
    "max_message",
    "stream_buffer",
    "connection_buffer",
    "process_buffer",
    "retry_buffer",
    "max_streams_per_connection",
    "max_connections",
    "max_resets",
    "metadata_size",
    "slow_receiver_timeout",
    "cancel_grace",
    "handshake_timeout",
];

const RENAMED: &[Renamed] = &[Renamed {
    old: "slow_grace",
    new: "slow_receiver_timeout",
}];

/// The bounds on what peers can make this process hold. A listener starts from the top-level
/// `limits`, and may override any but `process_buffer` and `retry_buffer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest message in bytes, either way, as it is on the wire. A longer one ends its
    /// stream. Default 16 MiB, at most 1023 MiB, since a TTHeader frame is shorter than 1 GiB.
    pub max_message: usize,
    /// Bytes held for one direction of one stream (default 256 KiB). A single message may be
    /// longer, up to `max_message`.
    pub stream_buffer: usize,
    /// Bytes held for all streams of one connection (default 4 MiB).
    pub connection_buffer: usize,
    /// Bytes held for all connections of the process (default 1 GiB).
    pub process_buffer: usize,
    /// Bytes of messages kept of one stream until its callee answers, so that the stream can be
    /// opened again when the callee turns out not to have looked at it. Default 64 KiB; 0 keeps
    /// nothing, and no stream is opened again.
    pub retry_buffer: usize,
    /// Streams open at once on one connection (default 10000).
    pub max_streams_per_connection: usize,
    /// Connections open at once on one listener (default 10000).
    pub max_connections: usize,
    /// Streams of one HTTP/2 connection that may be opened and reset before this hop has looked at
    /// them. Default 10000, as many as may be open. Over it the connection is closed. A caller that
    /// opens and cancels many streams at once needs it high. Against an attacker it has to be low.
    pub max_resets: usize,
    /// Bytes of keys and values in one head of a caller. Over it, RESOURCE_EXHAUSTED. Default 16
    /// KiB, at most 255 KiB, since a TTHeader header ends there. A TTHeader caller may always send
    /// 64 KiB. A callee's head or end may have 256 KiB, whatever this is.
    pub metadata_size: usize,
    /// How long one stream whose receiver does not read may block the connection that it shares
    /// (default 3 s). Then that stream is ended and the others go on.
    pub slow_receiver_timeout: Duration,
    /// How long a cancel may wait for a peer that does not read (default 5 s). Then its connection
    /// is closed.
    pub cancel_grace: Duration,
    /// How long a new connection may take to show its protocol and finish its preface (default 10
    /// s).
    pub handshake_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message: 16 * MIB,
            stream_buffer: 256 * KIB,
            connection_buffer: 4 * MIB,
            process_buffer: GIB,
            retry_buffer: 64 * KIB,
            max_streams_per_connection: 10_000,
            max_connections: 10_000,
            max_resets: 10_000,
            metadata_size: 16 * KIB,
            slow_receiver_timeout: Duration::from_secs(3),
            cancel_grace: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(10),
        }
    }
}

/// Reads `limits`, starting from `base`. `top` is false for a listener's.
pub(super) fn read(walk: &mut Walk, at: &NodeRef<'_>, base: &Limits, top: bool) -> Option<Limits> {
    let s = walk.section_renamed(at, KEYS, RENAMED)?;
    for key in ["process_buffer", "retry_buffer"] {
        if !top && let Some(at) = s.get(key) {
            let message = "belongs to the whole process; allowed: only in the top-level limits";
            walk.error(at.node.place, &at.path, message);
        }
    }
    let b = base.clone();
    let faults = walk.faults.len();
    let limits = Limits {
        max_message: walk.optional(&s, "max_message", b.max_message, |w, at| {
            w.size(at, KIB..=1023 * MIB)
        }),
        stream_buffer: walk.optional(&s, "stream_buffer", b.stream_buffer, |w, at| {
            w.size(at, 16 * KIB..=GIB)
        }),
        connection_buffer: walk.optional(&s, "connection_buffer", b.connection_buffer, |w, at| {
            w.size(at, 64 * KIB..=GIB)
        }),
        process_buffer: walk.optional(&s, "process_buffer", b.process_buffer, |w, at| {
            w.size(at, MIB..=1024 * GIB)
        }),
        retry_buffer: walk.optional(&s, "retry_buffer", b.retry_buffer, |w, at| {
            // 0 needs no unit.
            match &*w.text(at, "a size")? {
                "0" => Some(0),
                _ => w.size(at, 0..=16 * MIB),
            }
        }),
        max_streams_per_connection: walk.optional(
            &s,
            "max_streams_per_connection",
            b.max_streams_per_connection,
            |w, at| w.count(at, 1..=1_000_000),
        ),
        max_connections: walk.optional(&s, "max_connections", b.max_connections, |w, at| {
            w.count(at, 1..=1_000_000)
        }),
        max_resets: walk.optional(&s, "max_resets", b.max_resets, |w, at| {
            w.count(at, 1..=1_000_000)
        }),
        metadata_size: walk.optional(&s, "metadata_size", b.metadata_size, |w, at| {
            w.size(at, KIB..=255 * KIB)
        }),
        slow_receiver_timeout: walk.optional(
            &s,
            "slow_receiver_timeout",
            b.slow_receiver_timeout,
            |w, at| w.duration(at, TIMEOUTS),
        ),
        cancel_grace: walk.optional(&s, "cancel_grace", b.cancel_grace, |w, at| {
            w.duration(at, TIMEOUTS)
        }),
        handshake_timeout: walk.optional(&s, "handshake_timeout", b.handshake_timeout, |w, at| {
            w.duration(at, TIMEOUTS)
        }),
    };
    if walk.faults.len() > faults {
        return Some(limits);
    }
    let connection = ("connection_buffer", limits.connection_buffer);
    let process = ("process_buffer", limits.process_buffer);
    for (small, large) in [
        (("stream_buffer", limits.stream_buffer), connection),
        (connection, process),
        (("max_message", limits.max_message), process),
    ] {
        // When this section has neither key of the pair, the fault was reported where they were
        // set.
        let at = s.get(small.0).or_else(|| s.get(large.0));
        if let Some(at) = at
            && small.1 > large.1
        {
            let size = |bytes: usize| format_size(bytes as u64);
            let message = format!(
                "{} ({}) is over {} ({}); allowed: at most as much",
                small.0,
                size(small.1),
                large.0,
                size(large.1)
            );
            walk.error(at.node.place, &at.path, message);
        }
    }
    Some(limits)
}

pub(super) const DRAIN_KEYS: &[&str] = &["timeout"];

/// How the process shuts down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// How long open streams may go on after SIGTERM. The rest is then ended, flushed and closed.
    /// Default 25 s: below the 30 s that Kubernetes waits before SIGKILL.
    pub timeout: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(25),
        }
    }
}

/// Reads `drain`.
pub(super) fn read_drain(walk: &mut Walk, at: &NodeRef<'_>) -> Option<Drain> {
    let s = walk.section(at, DRAIN_KEYS)?;
    Some(Drain {
        timeout: walk.optional(&s, "timeout", Drain::default().timeout, |w, at| {
            w.duration(at, TIMEOUTS)
        }),
    })
}
