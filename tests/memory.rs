//! A thousand connections that never read, and a thousand that send to a callee that never reads,
//! cannot raise the memory of the built ripcord past what its `limits` say.
//!
//! The bound, as `config/reference.yaml` states it:
//!
//! ```text
//! process_buffer                                  received and not yet taken by the other side
//! + connections x (write queue 128 KiB            what waits for a socket that is not read
//!                  + 128 KiB)                     what is read before the budget can say no, the
//!                                                 read buffer, what a connection costs anyway
//! + workers x connection_buffer                   one more read of each worker
//! ```
//!
//! for connections with one stream each. Callers that only send are held to it without the write
//! queue, which they cannot fill. The kernel's buffers do not count.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

// What only the interop suite uses.
#[allow(dead_code)]
mod support;

use std::future::poll_fn;
use std::io::Write;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ripcord::net::budget::Budget;
use ripcord::net::http2::{self, Control, Http2Config};
use ripcord::stream::{
    End, Half, Inbound, Metadata, Outbound, Payload, Reason, Received, RequestHead, ResponseHead,
    Run,
};
use ripcord::ttheader::frame::{Frame, Kind};
use ripcord::ttheader::metadata;
use ripcord::{grpc, ttheader};
use support::ripcord::Ripcord;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;

/// Callers, with one connection and one stream each.
const CALLERS: usize = 1000;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

const PROCESS_BUFFER: u64 = 32 * MIB;

/// What the test gives the process.
const LIMITS: &str = "limits: { process_buffer: 32MiB, connection_buffer: 1MiB, \
                      stream_buffer: 64KiB, max_message: 1MiB, slow_grace: 250ms }";

/// What waits for the socket of one connection with one stream: 64 KiB in the HTTP/2 library and
/// 64 KiB gathered, or, for TTHeader, 64 KiB and the one message that went over it.
const WRITE_QUEUE: u64 = 128 * KIB;

/// What was read at once before the budget could say no, the read buffer, and what a connection and
/// its stream cost without any message.
const FIXED: u64 = 128 * KIB;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(40);

/// How long the memory is watched while it still grows.
const SETTLE: Duration = Duration::from_secs(3);

/// How long a stream may take that has nothing to do with the stalled ones.
const LIVE: Duration = Duration::from_secs(8);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    Grpc,
    TtHeader,
}
use Wire::{Grpc, TtHeader};

// -- Peers: the crate's own halves, with limits that are never in the way ----------------------

const NEVER: Duration = Duration::from_secs(3600);

fn http2_config() -> Http2Config {
    Http2Config {
        stream_window: 16 << 10,
        connection_window: 256 << 20,
        ..Http2Config::default()
    }
}

fn grpc_config() -> Rc<grpc::StreamConfig> {
    Rc::new(grpc::StreamConfig {
        node: Rc::from("peer"),
        max_message: 4 << 20,
        stream_window: 16 << 10,
        connection_window: 256 << 20,
        slow_grace: NEVER,
        budget: Budget::new(usize::MAX),
        slow_streams: Arc::default(),
        carried: true,
        to_ripcord: false,
    })
}

fn ttheader_config() -> Rc<ttheader::ConnConfig> {
    let budget = Budget::new(usize::MAX);
    let mut config = ttheader::ConnConfig::new("peer", budget, ttheader::Counters::new());
    (config.slow_grace, config.lone_grace) = (NEVER, NEVER);
    config.connection_budget = usize::MAX;
    Rc::new(config)
}

/// Runs `run` on a thread and a runtime of its own.
fn on_thread<T: Send + 'static, F: Future<Output = T>>(
    run: impl FnOnce() -> F + Send + 'static,
) -> std::thread::JoinHandle<T> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(tokio::runtime::LocalOptions::default());
        runtime.unwrap().block_on(run())
    })
}

/// A callee, and how many streams it was asked for.
struct Callee {
    address: SocketAddr,
    opened: Arc<AtomicUsize>,
}

impl Callee {
    fn start(wire: Wire) -> Self {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let opened = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&opened);
        on_thread(move || async move {
            let socket = TcpListener::from_std(socket).unwrap();
            while let Ok((socket, _)) = socket.accept().await {
                spawn_local(serve(wire, socket, Arc::clone(&counted)));
            }
        });
        Self { address, opened }
    }

    fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }
}

async fn serve(wire: Wire, socket: TcpStream, opened: Arc<AtomicUsize>) {
    match wire {
        Grpc => {
            let (config, control) = (grpc_config(), Control::default());
            let (held, streams) = (config.held(), control.clone());
            let on_request = move |request, respond| {
                let (config, control) = (Rc::clone(&config), streams.clone());
                let made = grpc::server::accept(request, respond, config, control, &held);
                if let Some((head, stream)) = made {
                    opened.fetch_add(1, Ordering::Relaxed);
                    spawn_local(handle(head, stream));
                }
            };
            let first = BytesMut::new();
            http2::serve(socket, first, &http2_config(), control, on_request).await;
        }
        TtHeader => {
            let on_stream = move |head, stream| {
                opened.fetch_add(1, Ordering::Relaxed);
                spawn_local(handle(head, stream));
            };
            let handle = ttheader::server::ServerHandle::new();
            let first = BytesMut::new();
            ttheader::server::serve(socket, first, ttheader_config(), handle, on_stream).await;
        }
    }
}

async fn handle<I: Inbound>(head: RequestHead, mut stream: I) {
    stream.send_head(ResponseHead {
        explicit: true,
        ..ResponseHead::default()
    });
    match head.method.as_str() {
        "Flood" => {
            flood(&mut stream).await;
        }
        // Takes nothing, ever.
        "Hold" => std::future::pending().await,
        _ => loop {
            match poll_fn(|cx| stream.poll_recv(cx)).await {
                Received::Messages(mut run) => {
                    stream.release(run.len());
                    poll_fn(|cx| stream.poll_send(cx, &mut run)).await;
                }
                Received::HalfClose => {
                    stream.finish(&End::complete(Metadata::new()), "peer");
                    return;
                }
                Received::End(_) => return,
                Received::Head(_) => {}
            }
        },
    }
}

/// Sends 1 KiB to 64 KiB without end, as fast as it may, until the stream is ended.
async fn flood(half: &mut impl Half) -> End {
    let bytes = Bytes::from(vec![7; 64 << 10]);
    let mut sizes = [1 << 10, 4 << 10, 16 << 10, 64 << 10].into_iter().cycle();
    let mut run = Run::new();
    poll_fn(|cx| {
        loop {
            match half.poll_recv(cx) {
                Poll::Ready(Received::End(end)) => return Poll::Ready(end),
                Poll::Ready(Received::Messages(run)) => half.release(run.len()),
                Poll::Ready(_) => {}
                Poll::Pending => break,
            }
        }
        for size in sizes.by_ref().take(8) {
            if run.is_empty() {
                run.push_message(false, bytes.slice(..size));
            }
            if half.poll_send(cx, &mut run).is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

fn head(service: &str, method: &str) -> RequestHead {
    RequestHead {
        service: service.to_owned(),
        method: method.to_owned(),
        payload: Payload::Thrift,
        to: Some("callee".to_owned()),
        ..RequestHead::default()
    }
}

/// What a caller does with its stream.
trait Use {
    type Output;
    async fn with(self, stream: impl Outbound) -> Self::Output;
}

async fn call<U: Use>(wire: Wire, address: SocketAddr, head: &RequestHead, what: U) -> U::Output {
    let socket = TcpStream::connect(address).await.unwrap();
    match wire {
        Grpc => {
            let http2 = http2_config();
            let connecting = grpc::client::Client::connect(socket, &http2, grpc_config());
            let (client, driver) = connecting.await.unwrap();
            spawn_local(driver);
            what.with(client.open(head).await.unwrap()).await
        }
        TtHeader => {
            let (client, driver) = ttheader::client::Client::new(socket, ttheader_config());
            spawn_local(driver);
            what.with(client.open(head).unwrap()).await
        }
    }
}

struct Flood;
impl Use for Flood {
    type Output = End;
    async fn with(self, mut stream: impl Outbound) -> End {
        flood(&mut stream).await
    }
}

/// Ten messages there and back, one after the other.
struct Echo;
impl Use for Echo {
    type Output = ();
    async fn with(self, mut stream: impl Outbound) {
        for _ in 0..10 {
            let mut run = Run::new();
            run.push_message(false, Bytes::from_static(&[1; 1000]));
            poll_fn(|cx| stream.poll_send(cx, &mut run)).await;
            loop {
                match poll_fn(|cx| stream.poll_recv(cx)).await {
                    Received::Messages(run) => break stream.release(run.len()),
                    Received::End(end) => panic!("a live stream was ended: {end:?}"),
                    Received::Head(_) | Received::HalfClose => {}
                }
            }
        }
        stream.half_close();
        loop {
            if let Received::End(end) = poll_fn(|cx| stream.poll_recv(cx)).await {
                assert!(matches!(end.reason, Reason::Complete), "{end:?}");
                return;
            }
        }
    }
}

/// A stream on a connection of its own; how long it took.
fn live(wire: Wire, address: SocketAddr, service: &'static str) -> Duration {
    let start = Instant::now();
    let stream = on_thread(move || async move {
        let head = head(service, "Echo");
        tokio::time::timeout(LIVE, call(wire, address, &head, Echo)).await
    });
    let done = stream.join().unwrap();
    assert!(
        done.is_ok(),
        "a live stream to {service} took over {LIVE:?}"
    );
    start.elapsed()
}

/// A caller's connection with one stream to `method`, on which nothing is ever read.
fn silent(wire: Wire, address: SocketAddr, method: &str) -> std::net::TcpStream {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // The kernel's buffers are not what is measured, and there are a thousand of them.
    socket.set_recv_buffer_size(8 << 10).unwrap();
    socket.connect(&address.into()).unwrap();
    let mut socket = std::net::TcpStream::from(socket);
    socket.write_all(&opening(wire, method)).unwrap();
    socket
}

fn opening(wire: Wire, method: &str) -> Vec<u8> {
    match wire {
        TtHeader => {
            let (info, protocol) = metadata::request_info(&head("Main", method));
            let frame = Frame {
                info,
                ..Frame::new(Kind::Header, 1, protocol, Bytes::new())
            };
            let mut out = BytesMut::new();
            frame.encode(&mut out).unwrap();
            out.to_vec()
        }
        Grpc => {
            let mut block = vec![0x83, 0x86]; // :method POST, :scheme http
            let mut literal = |name: &[u8], value: &str| {
                block.extend_from_slice(name);
                block.push(value.len() as u8);
                block.extend_from_slice(value.as_bytes());
            };
            literal(&[0x04], &format!("/Main/{method}")); // :path
            literal(&[0x01], "callee"); // :authority
            literal(&[0x0f, 0x10], "application/grpc+thrift"); // content-type
            literal(b"\0\x02te", "trailers");
            let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
                let mut out = vec![0, 0, payload.len() as u8, kind, flags, 0, 0, 0, stream];
                out.extend_from_slice(payload);
                out
            };
            let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
            // All the window that there is, of the stream and of the connection.
            out.extend(frame(4, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]));
            out.extend(frame(8, 0, 0, &[0x7f, 0xff, 0, 0]));
            out.extend(frame(1, 4, 1, &block));
            out
        }
    }
}

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
        let wire = if outbound == Grpc { "grpc" } else { "ttheader" };
        let (at_main, at_other) = (main.address, other.address);
        let table = format!(
            "backends:
  main: {{ protocol: {wire}, endpoints: [\"{at_main}\"] }}
  other: {{ protocol: {wire}, endpoints: [\"{at_other}\"] }}
routes:
  - {{ name: main, match: {{ service: Main }}, backend: main }}
  - {{ name: other, match: {{ service: Other }}, backend: other }}
"
        );
        let hop = Ripcord::start(name, &table, limits);
        let before = memory(&hop, "VmRSS");
        Self { hop, main, before }
    }

    fn address(&self) -> SocketAddr {
        self.hop.address.parse().unwrap()
    }

    /// The sum of a metric's values.
    fn metric(&self, name: &str) -> u64 {
        let text = self.hop.page("/metrics");
        let values = text.lines().filter_map(|line| {
            let (key, value) = line.rsplit_once(' ')?;
            let key = key.split('{').next()?;
            (key == name).then(|| value.parse::<f64>().unwrap() as u64)
        });
        values.sum()
    }

    /// Streams ended for a slow receiver.
    fn slow(&self) -> u64 {
        let text = self.hop.page("/metrics");
        let of = |start: &str| -> u64 {
            let line = text.lines().find(|line| line.starts_with(start)).unwrap();
            line.rsplit_once(' ').unwrap().1.parse().unwrap()
        };
        of("ripcord_grpc_slow_streams_total")
            + of("ripcord_ttheader_events_total{event=\"slow_streams\"}")
    }

    /// The most that its memory has grown since its start.
    fn grown(&self) -> u64 {
        memory(&self.hop, "VmHWM") - self.before
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
                self.metric("ripcord_buffered_bytes") / MIB,
            );
            same = if now == last { same + 1 } else { 0 };
            last = now;
        }
    }

    /// Waits until `done` says yes.
    fn wait(&self, what: &str, done: impl Fn() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done() {
            assert!(Instant::now() < end, "{what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// All callers are gone: nothing is held any more.
    fn empty(&self) {
        self.wait("streams stay", || {
            self.metric("ripcord_streams_active") == 0
        });
        self.wait("bytes stay charged", || {
            self.metric("ripcord_buffered_bytes") == 0
        });
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
            memory(&self.hop, "VmRSS") / KIB,
            self.metric("ripcord_buffered_bytes") / KIB,
            self.slow(),
        );
    }
}

/// A field of `/proc/PID/status`, in bytes.
fn memory(hop: &Ripcord, field: &str) -> u64 {
    let file = format!("/proc/{}/status", hop.process.pid());
    let text = std::fs::read_to_string(file).unwrap();
    let line = text.lines().find(|line| line.starts_with(field)).unwrap();
    let kib = line.split_ascii_whitespace().nth(1).unwrap();
    kib.parse::<u64>().unwrap() * KIB
}

/// One at a time: they share two cores, and time is measured.
fn alone() -> impl Drop {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Callers that never read, while the callee sends without end.
fn callers_that_never_read(inbound: Wire, outbound: Wire) {
    let _alone = alone();
    let case = format!("never read, {inbound:?} to {outbound:?}");
    let rig = Rig::start("unread", outbound, LIMITS);
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| silent(inbound, rig.address(), "Flood"))
        .collect();
    rig.wait("the callee has not every stream", || {
        rig.main.opened() == CALLERS
    });
    let elsewhere = live(inbound, rig.address(), "Other");
    let beside = live(inbound, rig.address(), "Main");
    rig.settled();
    rig.report(&case, &[("elsewhere", elsewhere), ("beside", beside)]);
    rig.assert_below(PROCESS_BUFFER + CALLERS as u64 * (WRITE_QUEUE + FIXED));
    drop(callers);
    rig.empty();
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
            spawn_local(async move {
                call(inbound, address, &head("Main", "Hold"), Flood).await;
            });
        }
        let _ = stopped.await;
    });
    rig.wait("ripcord has not every connection", || {
        rig.metric("ripcord_connections_total") as usize >= count
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
    rig.empty();
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
    rig.empty();
}

#[test]
fn sabotage_budget_streams_that_are_never_taken_stay_within_process_buffer_grpc() {
    the_budget_bounds(Grpc);
}

#[test]
fn sabotage_budget_streams_that_are_never_taken_stay_within_process_buffer_ttheader() {
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
    a_callee_that_never_reads_grpc_to_grpc: a_callee_that_never_reads(Grpc, Grpc);
    a_callee_that_never_reads_grpc_to_ttheader: a_callee_that_never_reads(Grpc, TtHeader);
    a_callee_that_never_reads_ttheader_to_grpc: a_callee_that_never_reads(TtHeader, Grpc);
    a_callee_that_never_reads_ttheader_to_ttheader: a_callee_that_never_reads(TtHeader, TtHeader);
}
