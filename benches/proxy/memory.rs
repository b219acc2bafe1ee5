//! Measurements of the proxy's memory: idle streams, and callers that never read while the callee
//! sends without end.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinSet;

use crate::load::{Target, Wire};
use crate::measure::{BEFORE, Effort, IDLE, LATE, MOST, Sample};
use crate::peers::{Bed, Peer};
use crate::single::Turns;
use crate::{grpc_load, ttheader_load};

/// In what way a caller does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Stall {
    /// It gives all the HTTP/2 window there is and then never reads its socket.
    Socket,
    /// It reads its socket, but the application never takes a message: 64 KiB windows stay shut.
    /// For TTHeader, which has no windows, the same as `socket`.
    Window,
}

/// What one run showed, in KiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grown {
    pub(crate) before: u64,
    pub(crate) after: u64,
    pub(crate) most: u64,
    /// Growth in the last quarter of the time. It is near zero, or the run was too short to tell.
    pub(crate) late: u64,
    /// Callers that got their stream as far as a first message.
    pub(crate) stalled: usize,
    /// When it had taken [`CEILING`] and was stopped.
    pub(crate) stopped: Option<Duration>,
}

/// Resident KiB at which a proxy is stopped before it takes the machine.
const CEILING: u64 = 1 << 20;

/// How long callers may take until they have their first message.
const PATIENCE: Duration = Duration::from_secs(5);

/// In a process of its own, because allocators keep what a load once took.
pub(crate) async fn idle(
    bed: &Bed,
    peer: Peer,
    pair: (Wire, Wire),
    effort: &Effort,
) -> Result<Sample> {
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

/// Callers that never read their sockets, in the report.
pub(crate) async fn stalled(
    bed: &Bed,
    peer: Peer,
    pair: (Wire, Wire),
    effort: &Effort,
) -> Result<Sample> {
    let grown = run(bed, peer, pair, effort.stalled, Stall::Socket, effort.stall).await?;
    let mib = |kib: u64| kib as f64 / 1024.0;
    let mut sample = Sample::of(&[
        (BEFORE, mib(grown.before)),
        (MOST, mib(grown.most)),
        (LATE, mib(grown.late)),
    ]);
    let mut notes = Vec::new();
    if grown.stalled < effort.stalled {
        notes.push(format!("only {} callers got a stream", grown.stalled));
    }
    if grown.stopped.is_some() {
        notes.push("stopped at 1 GiB, still growing".to_owned());
    }
    sample.note = (!notes.is_empty()).then(|| notes.join("; "));
    Ok(sample)
}

/// Starts the proxy and stalls `connections` callers with one stream each, for `duration`.
pub(crate) async fn run(
    bed: &Bed,
    peer: Peer,
    pair: (Wire, Wire),
    connections: usize,
    stall: Stall,
    duration: Duration,
) -> Result<Grown> {
    let running = bed.start(peer)?;
    let target = running.target(pair.0, pair.1);
    let before = running.rss_kib();
    let stalled = Rc::new(Cell::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..connections {
        let (target, stalled) = (target.clone(), Rc::clone(&stalled));
        callers.spawn_local(async move {
            match target.wire {
                Wire::Grpc => grpc(&target, stall, &stalled).await,
                Wire::Ttheader => ttheader(&target, &stalled).await,
            }
        });
    }
    // The time counts from when all stall: many callers need a moment to come up.
    let began = Instant::now();
    let mut start = began;
    let patience = began + PATIENCE;
    let mut most = before;
    let mut third_quarter = before;
    let mut stopped = None;
    while start.elapsed() < duration {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = running.rss_kib();
        most = most.max(now);
        if stalled.get() < connections && Instant::now() < patience {
            start = Instant::now();
        }
        if now > CEILING {
            stopped = Some(began.elapsed());
            break;
        }
        if start.elapsed() < duration.mul_f64(0.75) {
            third_quarter = now;
        }
    }
    let after = running.rss_kib();
    Ok(Grown {
        before,
        after,
        most,
        late: after.saturating_sub(third_quarter),
        stalled: stalled.get(),
        stopped,
    })
}

async fn grpc(target: &Target, stall: Stall, stalled: &Cell<usize>) -> Result<()> {
    let window = match stall {
        Stall::Socket => (1 << 31) - 1,
        Stall::Window => (1 << 16) - 1,
    };
    let (requests, connection, wire) = grpc_load::handshake(target.address, window, window).await?;
    let (response, _send) = grpc_load::open(&requests, target, "Flood").await?;
    let mut driver = pin!(wire.drive(connection));
    let mut first = pin!(async {
        let mut recv = response.await?.into_body();
        let _ = recv.data().await;
        anyhow::Ok(recv)
    });
    let _recv = poll_fn(|cx| {
        if let Poll::Ready(end) = driver.as_mut().poll(cx) {
            return Poll::Ready(
                end.map_err(Into::into)
                    .and_then(|()| anyhow::bail!("closed")),
            );
        }
        first.as_mut().poll(cx)
    })
    .await?;
    stalled.set(stalled.get() + 1);
    match stall {
        Stall::Socket => std::future::pending().await,
        Stall::Window => Ok(driver.await?),
    }
}

async fn ttheader(target: &Target, stalled: &Cell<usize>) -> Result<()> {
    let mut connection = ttheader_load::Connection::open(target.address).await?;
    connection.abandon(target, "Flood").await?;
    stalled.set(stalled.get() + 1);
    std::future::pending().await
}
