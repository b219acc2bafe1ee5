//! The list of measurements: the name of each, how long it takes, and for which proxies it is.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;

use crate::callee::Callee;
use crate::load::Wire;
use crate::peers::{Bed, Peer, Running};
use crate::{loads, memory, pace, single};

/// Named values; the names are the columns of a table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) values: BTreeMap<&'static str, f64>,
    /// What was odd.
    pub(crate) note: Option<String>,
}

impl Sample {
    pub(crate) fn of(values: &[(&'static str, f64)]) -> Self {
        Self {
            values: values.iter().copied().collect(),
            note: None,
        }
    }
}

pub(crate) const RATE: &str = "k/s";
pub(crate) const CPU: &str = "CPU s/M";
pub(crate) const USER: &str = "user s/M";
pub(crate) const FRAMES: &str = "frames/msg";
pub(crate) const P50: &str = "p50 µs";
pub(crate) const P99: &str = "p99 µs";
pub(crate) const MESSAGE_P50: &str = "message p50 µs";
pub(crate) const MESSAGE_P99: &str = "message p99 µs";
pub(crate) const RATIO: &str = "cancel ÷ message";
pub(crate) const BYTES: &str = "MiB/s";
pub(crate) const BYTES_CPU: &str = "CPU s/GiB";
pub(crate) const IDLE: &str = "KiB/stream";
pub(crate) const BEFORE: &str = "MiB before";
pub(crate) const MOST: &str = "MiB most";
pub(crate) const LATE: &str = "MiB in the last quarter";

/// Open streams, and the columns for them: CPU per million messages, resident memory.
pub(crate) const GROWTH: [(usize, &str, &str); 5] = [
    (1, "CPU, 1", "MiB, 1"),
    (10, "CPU, 10", "MiB, 10"),
    (100, "CPU, 100", "MiB, 100"),
    (1000, "CPU, 1,000", "MiB, 1,000"),
    (10_000, "CPU, 10,000", "MiB, 10,000"),
];
const GROWTH_COLUMNS: [&str; 10] = [
    GROWTH[0].1,
    GROWTH[1].1,
    GROWTH[2].1,
    GROWTH[3].1,
    GROWTH[4].1,
    GROWTH[0].2,
    GROWTH[1].2,
    GROWTH[2].2,
    GROWTH[3].2,
    GROWTH[4].2,
];

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Measure {
    Throughput { size: usize, window: usize },
    Short,
    PingPong,
    Cancel,
    Bulk,
    Llm,
    Idle,
    Stall,
    Growth,
}

impl Measure {
    pub(crate) const ALL: [Self; 12] = [
        Self::Throughput {
            size: 128,
            window: 1,
        },
        Self::Throughput {
            size: 1024,
            window: 1,
        },
        Self::Throughput {
            size: 128,
            window: 8,
        },
        Self::Throughput {
            size: 1024,
            window: 8,
        },
        Self::Short,
        Self::PingPong,
        Self::Cancel,
        Self::Bulk,
        Self::Llm,
        Self::Idle,
        Self::Stall,
        Self::Growth,
    ];

    /// What `--only` calls it.
    pub(crate) fn id(self) -> String {
        match self {
            Self::Throughput { size, window } => format!("{size}-w{window}"),
            Self::Short => "short".to_owned(),
            Self::PingPong => "pingpong".to_owned(),
            Self::Cancel => "cancel".to_owned(),
            Self::Bulk => "bulk".to_owned(),
            Self::Llm => "llm".to_owned(),
            Self::Idle => "idle".to_owned(),
            Self::Stall => "stall".to_owned(),
            Self::Growth => "growth".to_owned(),
        }
    }

    pub(crate) fn title(self, effort: &Effort) -> String {
        let load = format!(
            "{} streams over {} connections",
            effort.streams, effort.connections
        );
        match self {
            Self::Throughput { size, window } => {
                format!("{size} B messages, window {window}, {load}; a message is a round trip")
            }
            Self::Short => format!("short streams: one message each, {load}"),
            Self::PingPong => "ping-pong: 128 B, 1 stream, window 1".to_owned(),
            Self::Cancel => format!(
                "cancel and message: from the caller's call to the callee's wire event, {} times each",
                effort.cancels
            ),
            Self::Bulk => "1 MiB messages, window 1, 4 streams over 4 connections".to_owned(),
            Self::Llm => format!(
                "{} streams over {} connections, on each {} messages/s of {} B from the callee",
                effort.paced,
                loads::PACED_CONNECTIONS,
                pace::RATE,
                pace::SIZE
            ),
            Self::Idle => format!(
                "memory per idle stream, {} streams, 100 to a connection",
                effort.idle
            ),
            Self::Stall => format!(
                "memory with {} callers that never read while the callee sends without end, {:.1} s",
                effort.stalled,
                effort.stall.as_secs_f64()
            ),
            Self::Growth => format!(
                "1 to {} open streams, {} messages of 128 B in flight on {} connections: CPU s/M, resident MiB",
                effort.most,
                loads::GROWTH_CONNECTIONS * loads::GROWTH_IN_FLIGHT,
                loads::GROWTH_CONNECTIONS
            ),
        }
    }

    /// The columns. The first two are compared with other proxies.
    pub(crate) fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Throughput { .. } => &[RATE, CPU, USER, FRAMES],
            Self::Short => &[RATE, CPU, USER],
            Self::PingPong => &[P50, P99, CPU],
            Self::Cancel => &[P50, P99, MESSAGE_P50, MESSAGE_P99, RATIO],
            Self::Bulk => &[BYTES, BYTES_CPU],
            Self::Llm => &[P50, CPU, P99, FRAMES, RATE],
            Self::Idle => &[IDLE],
            Self::Stall => &[MOST, LATE, BEFORE],
            Self::Growth => &GROWTH_COLUMNS,
        }
    }

    /// Whether it is measured with this proxy. Telemetry costs per stream and per message: where
    /// those decide, it is measured with the defaults too.
    pub(crate) fn applies(self, peer: Peer) -> bool {
        match self {
            Self::Throughput { window: 1, .. } | Self::Short | Self::PingPong | Self::Llm => true,
            Self::Throughput { .. } | Self::Cancel | Self::Bulk => peer != Peer::RipcordDefaults,
            Self::Idle | Self::Stall | Self::Growth => {
                !matches!(peer, Peer::Direct | Peer::Relay | Peer::RipcordDefaults)
            }
        }
    }

    /// About how long a sample takes, for the estimate of what is left.
    pub(crate) fn seconds(self, effort: &Effort) -> f64 {
        let load = (effort.warm_up + effort.duration).as_secs_f64() + 0.05;
        match self {
            Self::Throughput { .. } | Self::Short | Self::PingPong | Self::Bulk => load,
            Self::Llm => load + 0.2 + effort.paced as f64 / 4000.0,
            Self::Cancel => 0.1 + effort.cancels as f64 / 1500.0,
            Self::Idle => 0.2 + effort.idle as f64 / 8000.0,
            Self::Stall => effort.stall.as_secs_f64() + 0.5,
            Self::Growth => 5.0 * load * loads::GROWTH_SHARE + 0.5 + effort.most as f64 / 5000.0,
        }
    }
}

/// How long and how much.
#[derive(Clone, Debug)]
pub(crate) struct Effort {
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
    pub(crate) connections: usize,
    pub(crate) streams: usize,
    pub(crate) cancels: usize,
    /// Idle streams.
    pub(crate) idle: usize,
    /// Streams with paced messages.
    pub(crate) paced: usize,
    /// Callers that never read, and for how long.
    pub(crate) stalled: usize,
    pub(crate) stall: Duration,
    /// Streams up to which growth is looked at.
    pub(crate) most: usize,
}

/// Takes one sample. `pair` is caller, callee.
pub(crate) async fn take(
    measure: Measure,
    bed: &Bed,
    running: &Running,
    peer: Peer,
    pair: (Wire, Wire),
    effort: &Effort,
    callee: &Rc<Callee>,
) -> Result<Sample> {
    let target = running.target(pair.0, pair.1);
    let before = callee.active();
    let sample = match measure {
        Measure::Throughput { size, window } => {
            loads::throughput(&target, size, window, running, effort).await
        }
        Measure::Short => loads::short(&target, running, effort).await,
        Measure::Bulk => loads::bulk(&target, running, effort).await,
        Measure::Llm => loads::paced(&target, running, effort, callee).await,
        Measure::PingPong => single::ping_pong(&target, running, effort).await,
        Measure::Cancel => single::cancel(&target, effort, callee).await,
        Measure::Idle => memory::idle(bed, peer, pair, effort).await,
        Measure::Stall => memory::stalled(bed, peer, pair, effort).await,
        Measure::Growth => loads::growth(bed, peer, pair, effort, callee).await,
    };
    // The callers are gone: so must be their streams at the callee, or the proxy has lost cancels.
    if !callee
        .reaches(|n| n <= before, Duration::from_secs(5))
        .await
    {
        let note = format!("{} streams left at the callee", callee.active() - before);
        return sample.map(|mut sample| {
            sample.note.get_or_insert(note);
            sample
        });
    }
    sample
}

/// Median and 99th percentile, in microseconds, under their columns.
pub(crate) fn percentiles(times: &mut [Duration]) -> [(&'static str, f64); 2] {
    times.sort_unstable();
    let at = |share: f64| {
        let index = (times.len() as f64 * share) as usize;
        times
            .get(index.min(times.len().saturating_sub(1)))
            .map_or(f64::NAN, |t| t.as_secs_f64() * 1e6)
    };
    [(P50, at(0.5)), (P99, at(0.99))]
}
