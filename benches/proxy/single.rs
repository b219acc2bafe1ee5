//! Measurements with one stream on one connection: ping-pong, and how a cancel compares with a
//! message.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::callee::{Callee, Ended};
use crate::load::{Target, Wire};
use crate::measure::{CPU, Effort, MESSAGE_P50, MESSAGE_P99, P50, RATIO, Sample, percentiles};
use crate::peers::Running;
use crate::{grpc_load, ttheader_load};

/// One stream of either wire, used in turns.
pub(crate) enum Turns {
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

    pub(crate) async fn open(target: &Target) -> Result<Self> {
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

pub(crate) async fn ping_pong(
    target: &Target,
    running: &Running,
    effort: &Effort,
) -> Result<Sample> {
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
    let cpu = crate::procfs::cpu(&running.pids).since(&cpu);
    let mut sample = Sample::of(&percentiles(&mut times));
    if !running.pids.is_empty() {
        let cost = cpu.as_secs_f64() / times.len() as f64 * 1e6;
        sample.values.insert(CPU, cost);
    }
    Ok(sample)
}

/// A message and then a cancel on each stream, so that both are timed under the same conditions.
pub(crate) async fn cancel(
    target: &Target,
    effort: &Effort,
    callee: &Rc<Callee>,
) -> Result<Sample> {
    let quiet = callee.active();
    let mut turns = Turns::open(target).await?;
    let mut times = Vec::with_capacity(effort.cancels);
    let mut messages = Vec::with_capacity(effort.cancels);
    let mut odd: BTreeMap<String, usize> = BTreeMap::new();
    for n in 0..effort.cancels {
        if n > 0 {
            turns.again(target).await?;
        }
        callee.forget();
        callee.watch();
        let start = Instant::now();
        turns.exchange().await?;
        let arrived = callee.arrived().context("echoed, but not seen")?;
        messages.push(arrived.saturating_duration_since(start));
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
    let [(_, p50), (_, p99)] = percentiles(&mut messages);
    if let Some(cancel) = sample.values.get(P50).copied() {
        sample.values.insert(RATIO, cancel / p50);
    }
    sample.values.insert(MESSAGE_P50, p50);
    sample.values.insert(MESSAGE_P99, p99);
    let mut note = String::new();
    for (what, count) in odd {
        let _ = write!(note, "{count} of {} {what}; ", effort.cancels);
    }
    sample.note = (!note.is_empty()).then(|| note.trim_end_matches("; ").to_owned());
    Ok(sample)
}
