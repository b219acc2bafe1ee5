//! Peers that send without end, callees that read nothing, and callers as raw sockets on which
//! nothing is read.

use std::future::poll_fn;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ripcord::stream::{
    End, Half, Inbound, MessageBatch, Outbound, Reason, Received, RequestHead, ResponseHead,
};
use ripcord::wire::ttheader::frame::{Frame, Kind};
use ripcord::wire::ttheader::metadata;
use tokio::net::TcpSocket;
use tokio::task::spawn_local;

use super::connection::{self, Call, Client, Serve, Settings, anywhere, head};
use super::on_thread;
use crate::kit::Wire::{self, Grpc, TtHeader};
use crate::kit::h2raw::{self, END_HEADERS, HEADERS, PREFACE, SETTINGS as H2_SETTINGS, WINDOW};

/// How long a stream may take that has nothing to do with the blocked ones.
const LIVE: Duration = Duration::from_secs(60);

const SETTINGS: Settings = Settings {
    stream_window: 16 << 10,
    carried: true,
    many: false,
};

/// A callee, and how many streams were opened on it. Method `Flood` sends without end, `Hold` reads
/// nothing, any other one echoes.
pub(crate) struct Callee {
    pub(crate) address: SocketAddr,
    opened: Arc<AtomicUsize>,
}

impl Callee {
    pub(crate) fn start(wire: Wire) -> Self {
        let opened = Arc::<AtomicUsize>::default();
        let stream = Asked(Arc::clone(&opened));
        let (sender, listening) = std::sync::mpsc::channel();
        on_thread(move || async move {
            let socket = tokio::net::TcpListener::bind(anywhere()).await.unwrap();
            sender.send(socket.local_addr().unwrap()).unwrap();
            while let Ok((socket, _)) = socket.accept().await {
                spawn_local(connection::serve(wire, socket, SETTINGS, stream.clone()));
            }
        });
        let address = listening.recv().unwrap();
        Self { address, opened }
    }

    pub(crate) fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }
}

#[derive(Clone)]
struct Asked(Arc<AtomicUsize>);

impl Serve for Asked {
    async fn stream(self, head: RequestHead, mut stream: impl Inbound) {
        self.0.fetch_add(1, Ordering::Relaxed);
        stream.send_head(ResponseHead {
            explicit: true,
            ..ResponseHead::default()
        });
        match head.method.as_str() {
            "Flood" => drop(flood(&mut stream).await),
            "Hold" => std::future::pending().await,
            _ => drop(connection::echo(&mut stream).await),
        }
    }
}

/// Sends messages of 1 KiB to 64 KiB without end, as fast as it may, until the stream ends.
async fn flood(half: &mut impl Half) -> End {
    let bytes = Bytes::from(vec![7; 64 << 10]);
    let mut sizes = [1 << 10, 4 << 10, 16 << 10, 64 << 10].into_iter().cycle();
    let mut run = MessageBatch::new();
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

/// Opens a stream on a connection of its own.
async fn call<C: Call>(wire: Wire, address: SocketAddr, head: &RequestHead, call: C) -> C::Output {
    let socket = TcpSocket::new_v4().unwrap();
    // The kernel's buffers are not what is measured. With a thousand of them, grown to megabytes
    // each, the kernel runs out of memory for them (`net.ipv4.tcp_mem`). Then it drops what
    // arrives, and peers send again later and later.
    socket.set_send_buffer_size(64 << 10).unwrap();
    let socket = socket.connect(address).await.unwrap();
    let dropped = std::future::pending();
    let client = Client::connect(wire, socket, SETTINGS, dropped, || {}).await;
    client.open(head, call).await
}

/// A stream that is never read, and sends without end.
pub(crate) async fn flood_held(wire: Wire, address: SocketAddr) {
    call(wire, address, &head("Main", "Hold"), Flood).await;
}

struct Flood;
impl Call for Flood {
    type Output = End;
    async fn stream(self, mut stream: impl Outbound) -> End {
        flood(&mut stream).await
    }
}

/// Ten messages there and back, one after the other.
struct Echo;
impl Call for Echo {
    type Output = ();
    async fn stream(self, mut stream: impl Outbound) {
        for _ in 0..10 {
            let mut run = MessageBatch::new();
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

/// Carries a stream on a connection of its own. Returns how long it took.
pub(crate) fn live(wire: Wire, address: SocketAddr, service: &'static str) -> Duration {
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

/// A caller's connection with `streams` streams to `method`, on which nothing is ever read.
pub(crate) fn silent(
    wire: Wire,
    address: SocketAddr,
    method: &str,
    streams: u32,
) -> std::net::TcpStream {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // As in `call`.
    socket.set_recv_buffer_size(8 << 10).unwrap();
    socket.connect(&address.into()).unwrap();
    let mut socket = std::net::TcpStream::from(socket);
    socket.write_all(&opening(wire, method, streams)).unwrap();
    socket
}

fn opening(wire: Wire, method: &str, streams: u32) -> Vec<u8> {
    match wire {
        TtHeader => {
            let mut out = BytesMut::new();
            for id in 1..=streams {
                let (info, protocol) = metadata::request_info(&head("Main", method));
                let frame = Frame {
                    info,
                    ..Frame::new(Kind::Header, id.cast_signed(), protocol, Bytes::new())
                };
                frame.encode(&mut out).unwrap();
            }
            out.to_vec()
        }
        Grpc => {
            let mut out = PREFACE.to_vec();
            // All the window that is possible, of the stream and of the connection.
            out.extend(h2raw::frame(
                H2_SETTINGS,
                0,
                0,
                &[0, 4, 0x7f, 0xff, 0xff, 0xff],
            ));
            out.extend(h2raw::frame(WINDOW, 0, 0, &[0x7f, 0xff, 0, 0]));
            let block = h2raw::request(&format!("/Main/{method}"));
            for stream in 0..streams {
                out.extend(h2raw::frame(HEADERS, END_HEADERS, stream * 2 + 1, &block));
            }
            out
        }
    }
}
