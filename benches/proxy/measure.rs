//! The measurements: each takes one proxy and one pair of protocols and gives one sample.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::callee::{Callee, Ended};
use crate::load::{Shape, Spec, Target, Wire, run};
use crate::peers::{Bed, Peer, Running};
use crate::{grpc_load, ttheader_load};

/// Named values; the names are the columns of a table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) values: BTreeMap<&'static str, f64>,
    /// What was odd.
    pub(crate) note: Option<String>,
}

impl Sample {
    fn of(values: &[(&'static str, f64)]) -> Self {
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
pub(crate) const BYTES: &str = "MiB/s";
pub(crate) const BYTES_CPU: &str = "CPU s/GiB";
pub(crate) const IDLE: &str = "KiB/stream";

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Measure {
    Throughput { size: usize, window: usize },
    Short,
    PingPong,
    Cancel,
    Bulk,
    Idle,
}

impl Measure {
    pub(crate) const ALL: [Self; 9] = [
        Self::Throughput {
            size: 128,
            window: 8,
        },
        Self::Throughput {
            size: 1024,
            window: 8,
        },
        Self::Throughput {
            size: 128,
            window: 1,
        },
        Self::Throughput {
            size: 1024,
            window: 1,
        },
        Self::Short,
        Self::PingPong,
        Self::Cancel,
        Self::Bulk,
        Self::Idle,
    ];

    /// What `--only` calls it.
    pub(crate) fn id(self) -> String {
        match self {
            Self::Throughput { size, window } => format!("{size}-w{window}"),
            Self::Short => "short".to_owned(),
            Self::PingPong => "pingpong".to_owned(),
            Self::Cancel => "cancel".to_owned(),
            Self::Bulk => "bulk".to_owned(),
            Self::Idle => "idle".to_owned(),
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
                "cancel: from the caller's call to the callee's wire event, {} times",
                effort.cancels
            ),
            Self::Bulk => "1 MiB messages, window 1, 4 streams over 4 connections".to_owned(),
            Self::Idle => format!(
                "memory per idle stream, {} streams, 100 to a connection",
                effort.idle
            ),
        }
    }

    /// The columns. The first two are compared with other proxies.
    pub(crate) fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Throughput { .. } => &[RATE, CPU, USER, FRAMES],
            Self::Short => &[RATE, CPU, USER],
            Self::PingPong => &[P50, P99, CPU],
            Self::Cancel => &[P50, P99],
            Self::Bulk => &[BYTES, BYTES_CPU],
            Self::Idle => &[IDLE],
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
    pub(crate) idle: usize,
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
    let spec = Spec {
        connections: effort.connections,
        streams: effort.streams,
        size: 128,
        shape: Shape::Short,
    };
    let before = callee.active();
    let sample = match measure {
        Measure::Throughput { size, window } => {
            let shape = Shape::Long { window };
            let spec = Spec {
                size,
                shape,
                ..spec
            };
            throughput(&target, &spec, running, effort).await
        }
        Measure::Short => throughput(&target, &spec, running, effort).await,
        Measure::Bulk => bulk(&target, running, effort).await,
        Measure::PingPong => ping_pong(&target, running, effort).await,
        Measure::Cancel => cancel(&target, effort, callee).await,
        Measure::Idle => idle(bed, peer, pair, effort).await,
    };
    // The callers are gone: so must be their streams at the callee, or the proxy has lost cancels.
    if !callee
        .reaches(|n| n <= before, Duration::from_secs(3))
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

async fn throughput(
    target: &Target,
    spec: &Spec,
    running: &Running,
    effort: &Effort,
) -> Result<Sample> {
    let m = run(target, spec, effort.warm_up, effort.duration, &running.pids).await?;
    let done = m.done as f64;
    let mut sample = Sample::of(&[
        (RATE, done / m.elapsed.as_secs_f64() / 1e3),
        (FRAMES, m.frames as f64 / done),
    ]);
    if !running.pids.is_empty() {
        sample.values.insert(CPU, m.cpu.as_secs_f64() / done * 1e6);
        sample
            .values
            .insert(USER, m.user.as_secs_f64() / done * 1e6);
    }
    Ok(sample)
}

async fn bulk(target: &Target, running: &Running, effort: &Effort) -> Result<Sample> {
    let spec = Spec {
        connections: 4,
        streams: 4,
        size: 1 << 20,
        shape: Shape::Long { window: 1 },
    };
    let m = run(
        target,
        &spec,
        effort.warm_up,
        effort.duration,
        &running.pids,
    )
    .await?;
    let mib = m.done as f64;
    let mut sample = Sample::of(&[(BYTES, mib / m.elapsed.as_secs_f64())]);
    if !running.pids.is_empty() {
        let cost = m.cpu.as_secs_f64() / mib * 1024.0;
        sample.values.insert(BYTES_CPU, cost);
    }
    Ok(sample)
}

/// One stream of either wire, used in turns.
enum Turns {
    Grpc(grpc_load::Connection, grpc_load::Stream),
    Ttheader(ttheader_load::Connection, ttheader_load::Stream),
}

impl Turns {
    async fn exchange(&mut self) -> Result<()> {
        match self {
            Self::Grpc(_, stream) => stream.exchange().await,
            Self::Ttheader(connection, stream) => connection.exchange(stream).await,
        }
    }

    async fn cancel(&mut self) -> Result<()> {
        match self {
            Self::Grpc(_, stream) => stream.cancel(),
            Self::Ttheader(connection, stream) => connection.cancel(stream).await?,
        }
        Ok(())
    }

    async fn open(target: &Target) -> Result<Self> {
        Ok(match target.wire {
            Wire::Grpc => {
                let connection = grpc_load::Connection::open(target.address).await?;
                let stream = connection.stream(target, 128).await?;
                Self::Grpc(connection, stream)
            }
            Wire::Ttheader => {
                let mut connection = ttheader_load::Connection::open(target.address).await?;
                let stream = connection.stream(target, 128).await?;
                Self::Ttheader(connection, stream)
            }
        })
    }

    /// A new stream on the same connection.
    async fn again(&mut self, target: &Target) -> Result<()> {
        match self {
            Self::Grpc(connection, stream) => *stream = connection.stream(target, 128).await?,
            Self::Ttheader(connection, stream) => {
                *stream = connection.stream(target, 128).await?;
            }
        }
        Ok(())
    }
}

async fn ping_pong(target: &Target, running: &Running, effort: &Effort) -> Result<Sample> {
    let mut turns = Turns::open(target).await?;
    let warm = Instant::now();
    while warm.elapsed() < effort.warm_up {
        turns.exchange().await?;
    }
    let mut times = Vec::with_capacity(1 << 16);
    let cpu = crate::procfs::cpu(&running.pids);
    let start = Instant::now();
    let mut now = start;
    while now - start < effort.duration {
        turns.exchange().await?;
        let after = Instant::now();
        times.push(after - now);
        now = after;
    }
    let cpu = crate::procfs::cpu(&running.pids).saturating_sub(cpu);
    let mut sample = Sample::of(&percentiles(&mut times));
    if !running.pids.is_empty() {
        let cost = cpu.as_secs_f64() / times.len() as f64 * 1e6;
        sample.values.insert(CPU, cost);
    }
    Ok(sample)
}

async fn cancel(target: &Target, effort: &Effort, callee: &Rc<Callee>) -> Result<Sample> {
    let quiet = callee.active();
    let mut turns = Turns::open(target).await?;
    let mut times = Vec::with_capacity(effort.cancels);
    let mut odd: BTreeMap<String, usize> = BTreeMap::new();
    for n in 0..effort.cancels {
        if n > 0 {
            turns.again(target).await?;
        }
        callee.forget();
        let start = Instant::now();
        turns.cancel().await?;
        match callee.ended(Duration::from_secs(1)).await {
            Some((at, how)) => {
                times.push(at.saturating_duration_since(start));
                if how != Ended::Cancel {
                    *odd.entry(format!("seen as {how}")).or_default() += 1;
                }
            }
            None => {
                let lost = odd.entry("lost".to_owned()).or_default();
                *lost += 1;
                if *lost > 5 {
                    bail!("cancels do not arrive");
                }
            }
        }
        callee.reaches(|n| n <= quiet, Duration::from_secs(1)).await;
    }
    let mut sample = Sample::of(&percentiles(&mut times));
    let mut note = String::new();
    for (what, count) in odd {
        let _ = write!(note, "{count} of {} {what}; ", effort.cancels);
    }
    sample.note = (!note.is_empty()).then(|| note.trim_end_matches("; ").to_owned());
    Ok(sample)
}

/// In a process of its own, because allocators keep what a load once took.
async fn idle(bed: &Bed, peer: Peer, pair: (Wire, Wire), effort: &Effort) -> Result<Sample> {
    let running = bed.start(peer)?;
    let target = running.target(pair.0, pair.1);
    let _first = Turns::open(&target).await?;
    let before = running.rss_kib();
    let mut held = Vec::with_capacity(effort.idle);
    let mut connections = Vec::new();
    while held.len() < effort.idle {
        match target.wire {
            Wire::Grpc => {
                let connection = grpc_load::Connection::open(target.address).await?;
                for _ in 0..100 {
                    held.push(Some(connection.stream(&target, 128).await?));
                }
                connections.push((Some(connection), None));
            }
            Wire::Ttheader => {
                let mut connection = ttheader_load::Connection::open(target.address).await?;
                for _ in 0..100 {
                    connection.stream(&target, 128).await?;
                    held.push(None);
                }
                connections.push((None, Some(connection)));
            }
        }
    }
    let grown = running.rss_kib().saturating_sub(before);
    let mut sample = Sample::default();
    if !running.pids.is_empty() {
        sample.values.insert(IDLE, grown as f64 / held.len() as f64);
    }
    Ok(sample)
}

fn percentiles(times: &mut [Duration]) -> [(&'static str, f64); 2] {
    times.sort_unstable();
    let at = |share: f64| {
        let index = (times.len() as f64 * share) as usize;
        times
            .get(index.min(times.len().saturating_sub(1)))
            .map_or(f64::NAN, |t| t.as_secs_f64() * 1e6)
    };
    [(P50, at(0.5)), (P99, at(0.99))]
}
