//! Quiet points. The load pauses until nobody has a stream any more. Then no table or gauge may
//! hold anything, and descriptors are those of the connections. Memory is read then.

use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::ledger::PATIENCE;
use crate::peers::Wire;
use crate::samples::{Kernel, Page};
use crate::world::World;

const NAME: &str = "quiet point";

/// Descriptors that may come and go besides connections: those of exports and of this reading.
const DESCRIPTORS: u64 = 6;

/// How long memory is looked at: the allocator gives pages back a little later.
const LOOK: Duration = Duration::from_millis(1500);

/// What a quiet point found.
#[derive(Clone, Debug)]
pub(crate) struct Quiet {
    /// Seconds since the start.
    pub(crate) at: f64,
    pub(crate) rss_kib: [f64; 2],
    pub(crate) data_kib: [f64; 2],
    /// Live allocations, of builds that count them.
    pub(crate) heap_kib: [Option<f64>; 2],
    /// Descriptors that are no connections.
    pub(crate) fds: [u64; 2],
    pub(crate) threads: [u64; 2],
    /// Finished streams so far.
    pub(crate) streams: [f64; 2],
    /// How long it took until all was zero.
    pub(crate) took: f64,
}

/// Pauses, waits, looks, and goes on, unless it is the `last`.
pub(crate) async fn point(world: &Rc<World>, before: &[Quiet], last: bool) -> Result<Quiet> {
    let began = Instant::now();
    world.paused.set(true);
    world.ledger.tally(NAME, |tally| tally.started += 1);
    let faults = world.ledger.count_unexpected();
    let callers = || world.in_flight.get() == 0 && world.busy.get() == 0;
    // Each caller has `PATIENCE`, a fault twice that.
    if !until(3 * PATIENCE, callers).await {
        let what = format!(
            "{} callers and {} faults are not over",
            world.in_flight.get(),
            world.busy.get()
        );
        world.ledger.unexpected(NAME, 0, what);
    }
    world.leave_connections();
    let callees = || world.ledger.left() == (0, 0);
    if !until(PATIENCE, callees).await {
        let (live, notes) = world.ledger.left();
        let what = format!("{live} streams are left at the callees, {notes} are not accounted for");
        world.ledger.unexpected(NAME, 0, what);
    }
    for wire in Wire::ALL {
        if let Some(callee) = &world.callees.borrow()[usize::from(wire == Wire::TtHeader)] {
            world.check("callee", &callee.heard.lock().unwrap());
        }
    }
    let end = Instant::now() + PATIENCE;
    let mut pages = pages(world).await?;
    while let Some(what) = left(&pages) {
        if Instant::now() > end {
            let streams = world.egress.page("/streams").await?;
            let what = format!("{what} is not zero; {streams}");
            world.ledger.unexpected(NAME, 0, what);
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        pages = self::pages(world).await?;
    }
    let took = began.elapsed().as_secs_f64();
    let looked = Instant::now();
    let mut quiet = Quiet {
        at: world.ledger.elapsed().as_secs_f64(),
        rss_kib: [f64::MAX; 2],
        data_kib: [f64::MAX; 2],
        heap_kib: [None; 2],
        fds: [0; 2],
        threads: [0; 2],
        streams: [0.0; 2],
        took,
    };
    while looked.elapsed() < LOOK {
        for (n, hop) in world.hops().into_iter().enumerate() {
            let kernel = Kernel::read(hop.pid);
            quiet.rss_kib[n] = quiet.rss_kib[n].min(kernel.rss_kib as f64);
            quiet.data_kib[n] = quiet.data_kib[n].min(kernel.data_kib as f64);
            quiet.threads[n] = kernel.threads;
            let heap = Page::read(hop).await?.heap_kib();
            let least = |least: f64| heap.map_or(least, |now| now.min(least));
            quiet.heap_kib[n] = quiet.heap_kib[n].map(least).or(heap);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for (n, hop) in world.hops().into_iter().enumerate() {
        let page = Page::read(hop).await?;
        let connections = page.get("ripcord_connections_active") as u64;
        quiet.fds[n] = Kernel::read(hop.pid).fds.saturating_sub(connections);
        quiet.streams[n] = page.get("ripcord_streams_total");
        if page.panics() > 0.0 {
            let what = format!("{}: {} streams ended by a panic", hop.name, page.panics());
            world.ledger.unexpected(NAME, 0, what);
        }
        let first = before.first().map_or(quiet.fds[n], |first| first.fds[n]);
        if quiet.fds[n] > first + DESCRIPTORS {
            let what = format!(
                "{}: {} descriptors besides connections, {first} at the first quiet point",
                hop.name, quiet.fds[n]
            );
            world.ledger.unexpected(NAME, 0, what);
        }
    }
    if world.ledger.count_unexpected() == faults {
        world.ledger.tally(NAME, |tally| tally.good += 1);
    }
    world.paused.set(last);
    Ok(quiet)
}

async fn pages(world: &World) -> Result<[Page; 2]> {
    Ok([
        Page::read(&world.egress).await?,
        Page::read(&world.ingress).await?,
    ])
}

/// What is not zero, or not accounted for, though nobody has a stream.
fn left([egress, ingress]: &[Page; 2]) -> Option<String> {
    for (name, page) in [("egress", egress), ("ingress", ingress)] {
        for gauge in ["ripcord_streams_active", "ripcord_buffered_bytes"] {
            if page.get(gauge) != 0.0 {
                return Some(format!("{name}: {gauge} {}", page.get(gauge)));
            }
        }
    }
    let (inbound, outbound) = (
        egress.connections("inbound"),
        egress.connections("outbound"),
    );
    if inbound != 0.0 {
        return Some(format!("egress: inbound connections {inbound}"));
    }
    // Only the egress is a caller of the ingress.
    let other = ingress.connections("inbound");
    (other > outbound).then(|| format!("ingress: inbound connections {other}, of {outbound}"))
}

/// Waits until it is so; false when that takes too long.
async fn until(patience: Duration, so: impl Fn() -> bool) -> bool {
    let end = Instant::now() + patience;
    while !so() {
        if Instant::now() > end {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    true
}
