//! What a load is, whatever the wire: target, shape, counts; and the loop that times it.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::ValueEnum;
use tokio::task::JoinSet;

use crate::{grpc_load, pace, procfs, ttheader_load};

/// The protocol at one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wire {
    Grpc,
    Ttheader,
}

impl Wire {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Grpc => "gRPC",
            Self::Ttheader => "TTHeader",
        }
    }
}

/// Where streams are sent, and in which protocol.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) wire: Wire,
    pub(crate) service: String,
    /// The payload is a thrift struct, because a TTHeader peer is at the far end.
    pub(crate) thrift: bool,
}

impl Target {
    pub(crate) fn content_type(&self) -> &'static str {
        if self.thrift {
            "application/grpc+thrift"
        } else {
            "application/grpc"
        }
    }
}

/// What each stream does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Lives for ever, with `window` messages in flight.
    Long { window: usize },
    /// One message and the end; then the next stream.
    Short,
    /// Lives for ever; at any time this many streams of a connection have a message in flight.
    Rotate { in_flight: usize },
    /// One request, then the callee sends at its pace (`pace`).
    Paced,
}

impl Shape {
    /// Whether the load begins only when all streams are up.
    fn together(self) -> bool {
        matches!(self, Self::Rotate { .. } | Self::Paced)
    }
}

/// How much of it.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) connections: usize,
    pub(crate) streams: usize,
    pub(crate) size: usize,
    pub(crate) shape: Shape,
}

impl Spec {
    pub(crate) fn streams_per_connection(&self) -> usize {
        self.streams.div_ceil(self.connections.max(1))
    }
}

/// What came back.
#[derive(Default)]
pub(crate) struct Tally {
    done: Cell<u64>,
    frames: Cell<u64>,
    up: Cell<usize>,
    ages: RefCell<Vec<Duration>>,
    failure: RefCell<Option<String>>,
}

impl Tally {
    /// A round trip, or a short stream.
    pub(crate) fn done(&self) {
        self.done.set(self.done.get() + 1);
    }

    /// A stream's first message.
    pub(crate) fn up(&self) {
        self.up.set(self.up.get() + 1);
    }

    /// A message of a paced stream, and how old it was.
    pub(crate) fn aged(&self, payload: &[u8]) {
        self.done();
        let age = pace::age(payload).unwrap_or_default();
        self.ages.borrow_mut().push(age);
    }

    /// A frame with message bytes in it.
    pub(crate) fn frame(&self) {
        self.frames.set(self.frames.get() + 1);
    }

    /// Waits for more than `done` round trips, a failure, or too long.
    async fn above(&self, done: u64) {
        let patience = Instant::now() + Duration::from_secs(5);
        while self.done.get() <= done
            && self.failure.borrow().is_none()
            && Instant::now() < patience
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until so many streams are up.
    async fn all_up(&self, streams: usize) -> Result<()> {
        let patience = Instant::now() + Duration::from_secs(60);
        while self.up.get() < streams {
            if let Some(failure) = self.failure.borrow().as_ref() {
                bail!("{failure}");
            }
            if Instant::now() > patience {
                bail!("{} of {streams} streams came up", self.up.get());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Something that must not happen; the first is kept.
    pub(crate) fn fail(&self, e: &anyhow::Error) {
        self.failure
            .borrow_mut()
            .get_or_insert_with(|| format!("{e:#}"));
    }
}

/// A load, measured.
pub(crate) struct Measured {
    pub(crate) done: u64,
    pub(crate) frames: u64,
    pub(crate) elapsed: Duration,
    pub(crate) cpu: Duration,
    pub(crate) user: Duration,
    /// Resident memory of the proxy at the end, in KiB.
    pub(crate) rss: u64,
    /// Of the messages of paced streams.
    pub(crate) ages: Vec<Duration>,
}

/// Runs a load, lets it warm up, and measures for `duration`. `pids` is the proxy.
pub(crate) async fn run(
    target: &Target,
    spec: &Spec,
    warm_up: Duration,
    duration: Duration,
    pids: &[u32],
) -> Result<Measured> {
    let tally = Rc::new(Tally::default());
    let mut tasks = JoinSet::new();
    for _ in 0..spec.connections {
        match target.wire {
            Wire::Grpc => grpc_load::start(target, spec, &tally, &mut tasks).await?,
            Wire::Ttheader => ttheader_load::start(target, spec, &tally, &mut tasks).await?,
        }
    }
    if spec.shape.together() {
        tally.all_up(spec.streams).await?;
    }
    tokio::time::sleep(warm_up).await;
    tally.above(0).await;
    tally.ages.borrow_mut().clear();
    let before = (Instant::now(), tally.done.get(), tally.frames.get());
    let (cpu, user) = (procfs::cpu(pids), procfs::user(pids));
    tokio::time::sleep(duration).await;
    tally.above(before.1).await;
    let elapsed = before.0.elapsed();
    let measured = Measured {
        done: tally.done.get() - before.1,
        frames: tally.frames.get() - before.2,
        elapsed,
        cpu: procfs::cpu(pids).since(&cpu),
        user: procfs::user(pids).saturating_sub(user),
        rss: procfs::rss_kib(pids),
        ages: tally.ages.take(),
    };
    tasks.shutdown().await;
    if let Some(failure) = tally.failure.borrow_mut().take() {
        bail!("{failure}");
    }
    if measured.done == 0 {
        bail!("nothing came back");
    }
    Ok(measured)
}
