//! The peers of `tests/memory.rs`: the crate's own halves, with limits that are never in the way, and
//! callers that are raw sockets on which nothing is read.

use std::future::poll_fn;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ripcord::net::http2::{self, Http2Config};
use ripcord::stream::{
    End, Half, Inbound, Outbound, Payload, Reason, Received, RequestHead, ResponseHead, Run,
};
use ripcord::wire::ttheader::frame::{Frame, Kind};
use ripcord::wire::ttheader::metadata;
use ripcord::wire::{grpc, ttheader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::spawn_local;

use crate::Wire::{self, Grpc, TtHeader};
use crate::peer_config;

/// How long a stream may take that has nothing to do with the stalled ones.
const LIVE: Duration = Duration::from_secs(60);

/// Bytes that a stream may receive unread.
const STREAM_WINDOW: u32 = 16 << 10;

fn http2_config() -> Http2Config {
    Http2Config {
        stream_window: STREAM_WINDOW,
        connection_window: peer_config::CONNECTION_WINDOW,
        ..Http2Config::default()
    }
}

/// Runs `run` on a thread and a runtime of its own.
pub(crate) fn on_thread<T: Send + 'static, F: Future<Output = T>>(
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
pub(crate) struct Callee {
    pub(crate) address: SocketAddr,
    opened: Arc<AtomicUsize>,
}

impl Callee {
    pub(crate) fn start(wire: Wire) -> Self {
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

    pub(crate) fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }
}

async fn serve(wire: Wire, socket: TcpStream, opened: Arc<AtomicUsize>) {
    match wire {
        Grpc => {
            let connection = grpc::server::Connection::new(peer_config::grpc(STREAM_WINDOW, true));
            let control = connection.control();
            let on_request = move |request, respond| {
                if let Some((head, stream)) = connection.accept(request, respond) {
                    opened.fetch_add(1, Ordering::Relaxed);
                    spawn_local(handle(head, stream));
                }
            };
            http2::serve(socket, &http2_config(), control, on_request).await;
        }
        TtHeader => {
            let on_stream = move |head, stream| {
                opened.fetch_add(1, Ordering::Relaxed);
                spawn_local(handle(head, stream));
            };
            let handle = ttheader::server::ServerHandle::new();
            ttheader::server::serve(socket, peer_config::ttheader(true), handle, on_stream).await;
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
        _ => drop(peer_config::echo(&mut stream).await),
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

pub(crate) fn head(service: &str, method: &str) -> RequestHead {
    RequestHead {
        service: service.to_owned(),
        method: method.to_owned(),
        payload: Payload::Thrift,
        to: Some("callee".to_owned()),
        ..RequestHead::default()
    }
}

/// What a caller does with its stream.
pub(crate) trait Use {
    type Output;
    async fn with(self, stream: impl Outbound) -> Self::Output;
}

pub(crate) async fn call<U: Use>(
    wire: Wire,
    address: SocketAddr,
    head: &RequestHead,
    what: U,
) -> U::Output {
    let socket = TcpSocket::new_v4().unwrap();
    // The kernel's buffers are not what is measured, and with a thousand of them grown to megabytes
    // each it runs out of its own (`net.ipv4.tcp_mem`), drops what arrives and sends again later
    // and later.
    socket.set_send_buffer_size(64 << 10).unwrap();
    let socket = socket.connect(address).await.unwrap();
    match wire {
        Grpc => {
            let http2 = http2_config();
            let connecting = grpc::client::Client::connect(
                socket,
                &http2,
                peer_config::grpc(STREAM_WINDOW, true),
            );
            let (client, driver) = connecting.await.unwrap();
            spawn_local(driver);
            what.with(client.open(head).await.unwrap()).await
        }
        TtHeader => {
            let (client, driver) =
                ttheader::client::Client::new(socket, peer_config::ttheader(true));
            spawn_local(driver);
            what.with(client.open(head).unwrap()).await
        }
    }
}

pub(crate) struct Flood;
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
            let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
                let mut out = vec![0, 0, payload.len() as u8, kind, flags];
                out.extend_from_slice(&stream.to_be_bytes());
                out.extend_from_slice(payload);
                out
            };
            let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
            // All the window that there is, of the stream and of the connection.
            out.extend(frame(4, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]));
            out.extend(frame(8, 0, 0, &[0x7f, 0xff, 0, 0]));
            for stream in 0..streams {
                out.extend(frame(1, 4, stream * 2 + 1, &block));
            }
            out
        }
    }
}
