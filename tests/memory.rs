//! A thousand connections that never read, and a thousand that send to a callee that never reads.
//! They cannot raise the memory of the built ripcord beyond what its `limits` allow.
//!
//! The bound, as `config/reference.yaml` gives it:
//!
//! ```text
//! process_buffer                                  received and not yet taken by the other side
//! + connections x (write queue 128 KiB            what waits for a socket that is not read
//!                  + 128 KiB)                     what is read before the budget can say no, the
//!                                                 read buffer, what a connection costs anyway
//! + workers x connection_buffer                   one more read of each worker
//! ```
//!
//! This is for connections with one stream each. For callers that only send, the bound has no write
//! queue, since they cannot fill it. The kernel's buffers do not count.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod kit;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kit::Wire::{self, Grpc, TtHeader};
use kit::halves::flood::{Callee, flood_held, live, silent};
use kit::halves::on_thread;
use kit::process::alone;
use kit::ripcord::Ripcord;
use tokio::task::spawn_local;

/// Callers, with one connection and one stream each.
const CALLERS: usize = 1000;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

const PROCESS_BUFFER: u64 = 32 * MIB;

/// What the test gives the process.
const LIMITS: &str = "limits: { process_buffer: 32MiB, connection_buffer: 1MiB, \
                      stream_buffer: 64KiB, max_message: 1MiB, slow_receiver_timeout: 250ms }";

/// What waits for the socket of one connection with one stream. On gRPC: 64 KiB in the HTTP/2
/// library and 64 KiB gathered. On TTHeader: 64 KiB and the one message that went over it.
const WRITE_QUEUE: u64 = 128 * KIB;

/// What was read before the budget could stop it, the read buffer, and what a connection and its
/// stream cost without any message.
const FIXED: u64 = 128 * KIB;

/// Streams of one connection.
const STREAMS: u32 = 3000;

/// What waits for the socket of one connection with many streams, and for its backend's.
const CONNECTION_QUEUE: u64 = 2 * (MIB + WRITE_QUEUE);

/// What a stream costs without any message: its task, its halves, and `h2`'s records of them.
const PER_STREAM: u64 = 20 * KIB;

/// How long the memory is watched while it still grows.
const SETTLE: Duration = Duration::from_secs(3);

// -- The process that is measured --------------------------------------------------------------

/// A ripcord with two backends of one wire, and what is known of its memory.
struct Rig {
    hop: Ripcord,
    main: Callee,
    before: u64,
}

impl Rig {
    fn start(name: &str, outbound: Wire, limits: &str) -> Self {
        let (main, other) = (Callee::start(outbound), Callee::start(outbound));
        let hop = Ripcord::named(name)
            .set(limits)
            .backend("main", outbound.protocol(), main.address)
            .backend("other", outbound.protocol(), other.address)
            .route("main", "match: { service: Main }, backend: main")
            .route("other", "match: { service: Other }, backend: other")
            .start();
        let before = hop.memory("VmRSS");
        Self { hop, main, before }
    }

    fn address(&self) -> SocketAddr {
        self.hop.socket_address()
    }

    /// Streams ended for a slow receiver.
    fn slow(&self) -> u64 {
        self.hop.metric("ripcord_grpc_slow_streams_total", "")
            + self
                .hop
                .metric("ripcord_ttheader_events_total", "event=\"slow_streams\"")
    }

    /// The most that its memory has grown since its start.
    fn grown(&self) -> u64 {
        self.hop.memory("VmHWM") - self.before
    }

    /// Waits until neither its memory nor what it counts changes any more. Where stalled streams
    /// share a connection they are ended in turns, so what is seen last is looked at after a while.
    fn settled(&self) {
        let end = Instant::now() + SETTLE;
        let mut last = (0, 0);
        let mut same = 0;
        while same < 16 && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(50));
            let now = (
                self.grown() / MIB,
                self.hop.metric("ripcord_buffered_bytes", "") / MIB,
            );
            same = if now == last { same + 1 } else { 0 };
            last = now;
        }
    }

    fn assert_below(&self, bound: u64) {
        let grown = self.grown();
        assert!(grown < bound, "grew by {grown} bytes, allowed {bound}");
    }

    fn report(&self, case: &str, lives: &[(&str, Duration)]) {
        println!(
            "{case}: before {} KiB, grew by at most {} KiB, now {} KiB; counted {} KiB; \
             slow streams {}; live {lives:?}",
            self.before / KIB,
            self.grown() / KIB,
            self.hop.memory("VmRSS") / KIB,
            self.hop.metric("ripcord_buffered_bytes", "") / KIB,
            self.slow(),
        );
    }
}

/// Callers that never read, while the callee sends without end.
fn callers_that_never_read(inbound: Wire, outbound: Wire) {
    let _alone = alone();
    let case = format!("never read, {inbound:?} to {outbound:?}");
    let rig = Rig::start("unread", outbound, LIMITS);
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| silent(inbound, rig.address(), "Flood", 1))
        .collect();
    rig.hop.wait("the callee has not every stream", || {
        rig.main.opened() == CALLERS
    });
    let elsewhere = live(inbound, rig.address(), "Other");
    let beside = live(inbound, rig.address(), "Main");
    rig.settled();
    rig.report(&case, &[("elsewhere", elsewhere), ("beside", beside)]);
    rig.assert_below(PROCESS_BUFFER + CALLERS as u64 * (WRITE_QUEUE + FIXED));
    drop(callers);
    rig.hop.wait_empty();
}

/// One connection with many streams that never reads: its write queue has a bound of its own, and
/// not one for each stream.
fn one_connection_that_never_reads(inbound: Wire, outbound: Wire) {
    let _alone = alone();
    let case = format!("one connection, {inbound:?} to {outbound:?}");
    let rig = Rig::start("streams", outbound, LIMITS);
    let caller = silent(inbound, rig.address(), "Flood", STREAMS);
    rig.hop.wait("the callee has not every stream", || {
        rig.main.opened() == STREAMS as usize
    });
    let elsewhere = live(inbound, rig.address(), "Other");
    rig.settled();
    rig.report(&case, &[("elsewhere", elsewhere)]);
    rig.assert_below(PROCESS_BUFFER + CONNECTION_QUEUE + u64::from(STREAMS) * PER_STREAM);
    drop(caller);
    rig.hop.wait_empty();
}

/// Has `count` callers send without end to streams that the callee never takes, until the returned
/// guard is dropped.
fn senders(rig: &Rig, inbound: Wire, count: usize) -> impl Drop + use<> {
    struct Senders {
        stop: Option<tokio::sync::oneshot::Sender<()>>,
        thread: Option<std::thread::JoinHandle<()>>,
    }
    impl Drop for Senders {
        fn drop(&mut self) {
            self.stop.take();
            let _ = self.thread.take().unwrap().join();
        }
    }
    let address = rig.address();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let thread = on_thread(move || async move {
        for _ in 0..count {
            spawn_local(flood_held(inbound, address));
        }
        let _ = stopped.await;
    });
    rig.hop.wait("ripcord has not every connection", || {
        rig.hop.metric("ripcord_connections_total", "") as usize >= count
    });
    Senders {
        stop: Some(stop),
        thread: Some(thread),
    }
}

/// Callers that send without end to a callee that never reads.
fn a_callee_that_never_reads(inbound: Wire, outbound: Wire) {
    let _alone = alone();
    let case = format!("never taken, {inbound:?} to {outbound:?}");
    let rig = Rig::start("untaken", outbound, LIMITS);
    let senders = senders(&rig, inbound, CALLERS);
    let mut lives = vec![("elsewhere", live(inbound, rig.address(), "Other"))];
    // TTHeader has no windows: a callee that does not read one stream reads none.
    if outbound == Grpc {
        lives.push(("beside", live(inbound, rig.address(), "Main")));
    }
    rig.settled();
    rig.report(&case, &lives);
    rig.assert_below(PROCESS_BUFFER + CALLERS as u64 * FIXED);
    drop(senders);
    rig.hop.wait_empty();
}

/// With buffers of streams that are large against that of the process, nothing but its budget keeps
/// the memory down: 300 x 1 MiB otherwise.
fn the_budget_bounds(inbound: Wire) {
    const FEW: usize = 300;
    let _alone = alone();
    let limits = LIMITS.replace("stream_buffer: 64KiB", "stream_buffer: 1MiB");
    let rig = Rig::start("budget", TtHeader, &limits);
    let senders = senders(&rig, inbound, FEW);
    rig.settled();
    rig.report(&format!("budget, {inbound:?}"), &[]);
    rig.assert_below(PROCESS_BUFFER + FEW as u64 * (FIXED + 64 * KIB));
    drop(senders);
    rig.hop.wait_empty();
}

#[test]
fn streams_that_are_never_taken_stay_within_process_buffer_grpc() {
    the_budget_bounds(Grpc);
}

#[test]
fn streams_that_are_never_taken_stay_within_process_buffer_ttheader() {
    the_budget_bounds(TtHeader);
}

macro_rules! cases {
    ($($name:ident: $run:ident($inbound:ident, $outbound:ident);)*) => {
        $(#[test]
        fn $name() {
            $run($inbound, $outbound);
        })*
    };
}

cases! {
    callers_that_never_read_grpc_to_grpc: callers_that_never_read(Grpc, Grpc);
    callers_that_never_read_grpc_to_ttheader: callers_that_never_read(Grpc, TtHeader);
    callers_that_never_read_ttheader_to_grpc: callers_that_never_read(TtHeader, Grpc);
    callers_that_never_read_ttheader_to_ttheader: callers_that_never_read(TtHeader, TtHeader);
    one_connection_that_never_reads_grpc_to_grpc: one_connection_that_never_reads(Grpc, Grpc);
    one_connection_that_never_reads_grpc_to_ttheader: one_connection_that_never_reads(Grpc, TtHeader);
    one_connection_that_never_reads_ttheader_to_grpc: one_connection_that_never_reads(TtHeader, Grpc);
    one_connection_that_never_reads_ttheader_to_ttheader: one_connection_that_never_reads(TtHeader, TtHeader);
    a_callee_that_never_reads_grpc_to_grpc: a_callee_that_never_reads(Grpc, Grpc);
    a_callee_that_never_reads_grpc_to_ttheader: a_callee_that_never_reads(Grpc, TtHeader);
    a_callee_that_never_reads_ttheader_to_grpc: a_callee_that_never_reads(TtHeader, Grpc);
    a_callee_that_never_reads_ttheader_to_ttheader: a_callee_that_never_reads(TtHeader, TtHeader);
}
