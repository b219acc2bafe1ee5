//! Measurements with a load of many streams: rates and CPU, large messages, paced messages, and how
//! the cost of a message grows with the number of streams.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::callee::Callee;
use crate::load::{Measured, Shape, Spec, Target, Wire, run};
use crate::measure::{
    BYTES, BYTES_CPU, CPU, Effort, FRAMES, GROWTH, RATE, Sample, USER, percentiles,
};
use crate::pace;
use crate::peers::{Bed, Peer, Running};

/// Connections of the paced load, and the share of a load's time that each step of growth takes.
pub(crate) const PACED_CONNECTIONS: usize = 10;
pub(crate) const GROWTH_CONNECTIONS: usize = 5;
pub(crate) const GROWTH_IN_FLIGHT: usize = 2;
pub(crate) const GROWTH_SHARE: f64 = 0.4;

async fn measured(
    target: &Target,
    spec: &Spec,
    running: &Running,
    effort: &Effort,
) -> Result<Measured> {
    let (warm_up, duration) = (effort.warm_up, effort.duration);
    run(target, spec, warm_up, duration, &running.pids).await
}

pub(crate) async fn throughput(
    target: &Target,
    size: usize,
    window: usize,
    running: &Running,
    effort: &Effort,
) -> Result<Sample> {
    let shape = Shape::Long { window };
    load(target, size, shape, running, effort).await
}

pub(crate) async fn short(target: &Target, running: &Running, effort: &Effort) -> Result<Sample> {
    load(target, 128, Shape::Short, running, effort).await
}

async fn load(
    target: &Target,
    size: usize,
    shape: Shape,
    running: &Running,
    effort: &Effort,
) -> Result<Sample> {
    let spec = Spec {
        connections: effort.connections,
        streams: effort.streams,
        size,
        shape,
    };
    let m = measured(target, &spec, running, effort).await?;
    Ok(rates(&m, running))
}

fn rates(m: &Measured, running: &Running) -> Sample {
    let done = m.done as f64;
    let mut sample = Sample::of(&[
        (RATE, done / m.elapsed.as_secs_f64() / 1e3),
        (FRAMES, m.frames as f64 / done),
    ]);
    if !running.pids.is_empty() {
        let (cpu, user) = (m.cpu.as_secs_f64(), m.user.as_secs_f64());
        sample.values.insert(CPU, cpu / done * 1e6);
        sample.values.insert(USER, user / done * 1e6);
    }
    sample
}

pub(crate) async fn bulk(target: &Target, running: &Running, effort: &Effort) -> Result<Sample> {
    let spec = Spec {
        connections: 4,
        streams: 4,
        size: 1 << 20,
        shape: Shape::Long { window: 1 },
    };
    let m = measured(target, &spec, running, effort).await?;
    let mib = m.done as f64;
    let mut sample = Sample::of(&[(BYTES, mib / m.elapsed.as_secs_f64())]);
    if !running.pids.is_empty() {
        let cost = m.cpu.as_secs_f64() / mib * 1024.0;
        sample.values.insert(BYTES_CPU, cost);
    }
    Ok(sample)
}

/// Server streaming at an even pace: CPU per message, and how old messages are when they arrive.
pub(crate) async fn paced(
    target: &Target,
    running: &Running,
    effort: &Effort,
    callee: &Callee,
) -> Result<Sample> {
    let spec = Spec {
        connections: PACED_CONNECTIONS,
        streams: effort.paced,
        size: pace::SIZE,
        shape: Shape::Paced,
    };
    let slips = callee.pacer.slips();
    let mut m = measured(target, &spec, running, effort).await?;
    let mut sample = rates(&m, running);
    sample.values.extend(percentiles(&mut m.ages));
    let slips = callee.pacer.slips() - slips;
    if slips > 0 {
        sample.note = Some(format!("the callee fell 100 ms behind {slips} times"));
    }
    Ok(sample)
}

/// In a process of its own, with more and more streams of which as many as before are busy.
pub(crate) async fn growth(
    bed: &Bed,
    peer: Peer,
    pair: (Wire, Wire),
    effort: &Effort,
    callee: &Rc<Callee>,
) -> Result<Sample> {
    let running = bed.start(peer)?;
    let target = running.target(pair.0, pair.1);
    let mut sample = Sample::default();
    let quiet = callee.active();
    for (streams, cpu, rss) in GROWTH.into_iter().filter(|(n, ..)| *n <= effort.most) {
        let spec = Spec {
            connections: streams.min(GROWTH_CONNECTIONS),
            streams,
            size: 128,
            shape: Shape::Rotate {
                in_flight: GROWTH_IN_FLIGHT,
            },
        };
        let (warm_up, duration) = (effort.warm_up, effort.duration);
        let share = |time: Duration| time.mul_f64(GROWTH_SHARE);
        let pids = &running.pids;
        let m = match run(&target, &spec, share(warm_up), share(duration), pids).await {
            Ok(m) => m,
            // What it can do counts; ripcord must be able to do all of it.
            Err(e) if !sample.values.is_empty() && !peer.is_ripcord() => {
                sample.note = Some(format!("with {streams} streams: {e:#}"));
                break;
            }
            Err(e) => return Err(e),
        };
        let cost = m.cpu.as_secs_f64() / m.done as f64 * 1e6;
        sample.values.insert(cpu, cost);
        sample.values.insert(rss, m.rss as f64 / 1024.0);
        let gone = callee.reaches(|n| n <= quiet, Duration::from_secs(10));
        ensure!(gone.await, "of {streams} streams some stay at the callee");
    }
    Ok(sample)
}
