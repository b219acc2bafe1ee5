//! A stream's task beside a drain, and the sizes of what an idle stream keeps. What streams carry is
//! tested by suites that start a whole ripcord.

use super::*;
use crate::drain::Drain;
use crate::stream::{MessageBatch, Reason};
use crate::telemetry::live::LiveStream;
use crate::wire::{grpc, ttheader};

#[tokio::test]
async fn a_stream_that_comes_while_the_worker_closes_is_ended_too() {
    let drain = Rc::<Drain>::default();
    let before = Rc::<DrainSwitch>::default();
    let watching = drain.watch(before.clone());
    drain.end();
    let late = Rc::<DrainSwitch>::default();
    let late_watching = drain.watch(late.clone());
    for switch in [before, late] {
        let end = poll_fn(|cx| switch.0.poll_end(cx)).await;
        assert!(matches!(end.reason, Reason::Hop(hop) if hop.kind == LocalEndKind::DrainOver));
    }
    drop((watching, late_watching));
    drain.empty().await;
    assert_eq!(drain.take_done(), 2);
}

/// The two counters before a value that is shared.
const COUNTERS: usize = 2 * size_of::<usize>();

/// What the runtime adds to the future of a task. The sum is a multiple of 128.
const TASK: usize = 112;

/// The size of what [`carry`] returns.
fn future<I, F>(
    _: impl Fn(Rc<Entry>, &'static Wire, SocketAddr, Box<RequestHead>, Box<I>, Option<Rc<Parting>>) -> F,
) -> usize {
    size_of::<F>()
}

/// The allocator has four sizes between a power of two and the next: 256, 320, 384, 448, 512. What
/// is one byte larger takes the next one, up to a quarter more, of each stream. So a part that does
/// not fit here any more needs a look at what is new in it: does each stream need it all the time?
#[test]
fn what_an_idle_stream_keeps_fits_the_sizes_of_the_allocator() {
    let task = future::<grpc::server::ServerStream, _>(carry)
        .max(future::<ttheader::server::ServerStream, _>(carry));
    for (part, size, room) in [
        ("its task", TASK + task, 384),
        ("both directions", PreparedStream::SIZE, 384),
        (
            "its place in the list of streams",
            COUNTERS + size_of::<LiveStream>(),
            256,
        ),
        (
            "a gRPC caller's half",
            size_of::<grpc::server::ServerStream>(),
            448,
        ),
        (
            "a gRPC callee's half",
            size_of::<grpc::client::ClientStream>(),
            384,
        ),
        (
            "a half's place on a TTHeader connection",
            COUNTERS + ttheader::SLOT,
            256,
        ),
        (
            "a batch, of which it has up to four",
            size_of::<MessageBatch>(),
            88,
        ),
    ] {
        assert!(
            size <= room,
            "{part}: {size} bytes, and there is room for {room}"
        );
    }
}
