//! Listeners: accept, tell the protocols apart, hand sockets to workers and streams to the proxy.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::BytesMut;
use rustc_hash::FxHashMap;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;
use tracing::{debug, warn};

use crate::config::{self, Carried, Limits, Sniff};
use crate::net::http2::{self, ConnectionEnd, Http2Config};
use crate::net::{redirect, tcp};
use crate::stream::RequestHead;
use crate::telemetry::{Series, Side, Violation, Wire, flood};
use crate::wire::{grpc, ttheader};
use crate::worker::{self, Job, Worker};
use crate::{Route, proxy, relay};
use sniff::{Spoken, sniff};

mod sniff;

/// How long an acceptor rests when the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listener, as all threads see it.
pub(crate) struct Shared {
    pub(crate) name: Arc<str>,
    pub(crate) config: config::Listener,
    open: AtomicUsize,
    refused: AtomicUsize,
}

impl Shared {
    pub(crate) fn new(config: config::Listener) -> Arc<Self> {
        Arc::new(Self {
            name: Arc::from(config.name.as_str()),
            config,
            open: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
        })
    }

    fn enter(&self) -> bool {
        let fits = self.open.fetch_add(1, Ordering::Relaxed) < self.config.limits.max_connections;
        if !fits {
            self.leave();
            self.count_refused();
        }
        fits
    }

    /// A connection is over.
    pub(crate) fn leave(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Connections refused: too many, or not what the listener speaks.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed) as u64
    }
}

/// A listener, as one worker sees it.
pub(crate) struct Listener {
    pub(crate) shared: Arc<Shared>,
    http2: Http2Config,
    grpc: Rc<grpc::StreamConfig>,
    ttheader: Rc<ttheader::ConnConfig>,
    tcp: tcp::TcpOptions,
    /// The counters of each route, found once. A route that is known here weakly keeps its address
    /// its own, but not its backend's connections.
    series: RefCell<FxHashMap<(Wire, usize), Counted>>,
}

/// A route and its counters.
type Counted = (Option<Weak<Route>>, Arc<Series>);

impl Listener {
    pub(crate) fn new(shared: &worker::Shared, listener: &Arc<Shared>) -> Self {
        let limits = &listener.config.limits;
        let carried = listener.config.carried == Carried::Keep;
        Self {
            http2: http2_config(limits, listener.config.keepalive.http2.as_ref()),
            grpc: Rc::new(grpc_config(shared, limits, carried)),
            ttheader: Rc::new(ttheader_config(shared, limits, carried)),
            tcp: tcp::TcpOptions::from(&listener.config.keepalive),
            series: RefCell::default(),
            shared: Arc::clone(listener),
        }
    }

    /// The counters of a stream that takes `route`.
    pub(crate) fn series(
        &self,
        worker: &Worker,
        wire: Wire,
        route: Option<&Arc<Route>>,
    ) -> Arc<Series> {
        let key = (wire, route.map_or(0, |r| Arc::as_ptr(r) as usize));
        let mut known = self.series.borrow_mut();
        if let Some((_, series)) = known.get(&key) {
            return Arc::clone(series);
        }
        // A table is new: those of routes that are gone would stay, and keep the routes' memory.
        known.retain(|_, (route, _)| route.as_ref().is_none_or(|r| r.strong_count() > 0));
        let none: Arc<str> = Arc::from("");
        let name = route.map_or(&none, |r| &r.name);
        let outbound = route.map(|r| wire_of(r.backend.config.protocol));
        let metrics = &worker.shared.telemetry.metrics;
        let series = metrics.series(&self.shared.name, name, wire, outbound);
        known.insert(key, (route.map(Arc::downgrade), Arc::clone(&series)));
        series
    }
}

/// The wire of a backend, as telemetry names it.
pub(crate) fn wire_of(protocol: config::Protocol) -> Wire {
    match protocol {
        config::Protocol::Grpc => Wire::Grpc,
        config::Protocol::TtHeader => Wire::TtHeader,
    }
}

/// The most that `h2` holds of one stream for sending. It comes on top of the stream's window, and
/// only within the window that the peer granted.
const SEND_BUFFER: usize = 64 * 1024;

/// How many times `metadata_size` of a request's headers is read, so that a caller with too many is
/// told so: what `h2` does not read it answers with HTTP status 431, and a caller that sends even
/// more, as grpcio does whatever it is told, loses its connection.
const HEADER_LIST: usize = 4;

/// A buffer size as an HTTP/2 window (at most 2^31 - 1 bytes).
pub(crate) fn window(bytes: usize) -> u32 {
    u32::try_from(bytes)
        .unwrap_or(u32::MAX)
        .min(i32::MAX as u32)
}

/// The HTTP/2 settings that `limits` mean.
pub(crate) fn http2_config(limits: &Limits, ping: Option<&config::Ping>) -> Http2Config {
    let default = Http2Config::default();
    Http2Config {
        stream_window: window(limits.stream_buffer),
        connection_window: window(limits.connection_buffer),
        send_buffer: limits.stream_buffer.min(SEND_BUFFER),
        max_streams: u32::try_from(limits.max_streams_per_connection).unwrap_or(u32::MAX),
        header_list: window(limits.metadata_size.saturating_mul(HEADER_LIST)),
        pending_resets: limits.max_resets,
        ping_interval: ping.map(|p| p.interval),
        ping_timeout: ping.map_or(default.ping_timeout, |p| p.timeout),
        cancel_grace: limits.cancel_grace,
        handshake_timeout: limits.handshake_timeout,
    }
}

/// Bytes of a gRPC callee's head or end that are read, whatever `metadata_size` says: about as many
/// as a TTHeader block can have. An end that is longer than its caller takes is cut here, in its
/// order; a callee that were told less would reset the stream instead of saying its status
/// (grpc-go, Kitex), or would not care (grpcio), for which `h2` gives up the whole connection.
const CALLEE_SAYS: u32 = 256 * 1024;

/// The HTTP/2 settings toward a callee.
pub(crate) fn callee_http2_config(limits: &Limits) -> Http2Config {
    Http2Config {
        header_list: CALLEE_SAYS,
        ..http2_config(limits, None)
    }
}

/// The TTHeader connection settings toward a callee: every legal block is read.
pub(crate) fn callee_ttheader_config(
    shared: &worker::Shared,
    limits: &Limits,
) -> ttheader::ConnConfig {
    ttheader::ConnConfig {
        max_header: ttheader::header::MAX_BLOCK,
        ..ttheader_config(shared, limits, true)
    }
}

/// The gRPC stream settings that `limits` mean.
pub(crate) fn grpc_config(
    shared: &worker::Shared,
    limits: &Limits,
    carried: bool,
) -> grpc::StreamConfig {
    grpc::StreamConfig {
        node: Rc::from(&*shared.node),
        max_message: limits.max_message,
        max_metadata: limits.metadata_size,
        stream_window: window(limits.stream_buffer),
        connection_window: window(limits.connection_buffer),
        slow_grace: limits.slow_grace,
        budget: Arc::clone(&shared.budget),
        slow_streams: Arc::clone(&shared.grpc_slow_streams),
        to_ripcord: false,
        carried,
    }
}

/// How many times `slow_grace` a stream may stop a TTHeader connection that has no other stream.
/// Its caller's death is not seen before.
const LONE: u32 = 10;

/// The TTHeader connection settings that `limits` mean.
pub(crate) fn ttheader_config(
    shared: &worker::Shared,
    limits: &Limits,
    carried: bool,
) -> ttheader::ConnConfig {
    let mut config = ttheader::ConnConfig::new(
        &shared.node,
        Arc::clone(&shared.budget),
        Arc::clone(&shared.ttheader),
    );
    config.carried = carried;
    config.max_header = config.max_header.max(limits.metadata_size);
    config.max_message = limits.max_message;
    config.stream_budget = limits.stream_buffer;
    config.connection_budget = limits.connection_buffer;
    config.max_streams = limits.max_streams_per_connection;
    config.slow_grace = limits.slow_grace;
    config.lone_grace = limits.slow_grace * LONE;
    config.cancel_grace = limits.cancel_grace;
    config
}

/// Accepts until it is dropped, and gives each connection to the least loaded worker.
pub(crate) async fn accept(
    socket: TcpListener,
    index: usize,
    listener: Arc<Shared>,
    workers: Arc<[worker::Handle]>,
) {
    loop {
        let (connection, peer) = match socket.accept().await {
            Ok(accepted) => accepted,
            // It died in the queue.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => {
                // Out of descriptors or memory.
                if flood::admits("accept failed", &listener.name, "") {
                    warn!(listener = %listener.name, %error, "accept failed");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if !listener.enter() {
            if flood::admits("too many connections; closed", &listener.name, "") {
                warn!(listener = %listener.name, %peer, "too many connections; closed");
            }
            continue;
        }
        let least = workers.iter().min_by_key(|w| w.connections());
        let given = connection
            .into_std()
            .is_ok_and(|c| least.is_some_and(|w| w.give(Job::Serve(c, peer, index))));
        if !given {
            listener.leave();
        }
    }
}

/// Where a connection came from, and where it was going if it was redirected to its listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) peer: SocketAddr,
    pub(crate) destination: Option<SocketAddr>,
}

/// Serves one connection until it is over.
pub(crate) async fn connection(
    worker: Rc<Worker>,
    listener: Rc<Listener>,
    mut socket: TcpStream,
    peer: SocketAddr,
) {
    tcp::tune(&socket, &listener.tcp);
    let redirected = listener.shared.config.original_destination;
    let destination = redirected.then(|| redirect::original_destination(&socket));
    let from = Origin {
        peer,
        destination: destination.flatten(),
    };
    let mut first = BytesMut::with_capacity(4096);
    let limit = listener.shared.config.limits.handshake_timeout;
    let sniffed = tokio::time::timeout(limit, sniff(&mut socket, &mut first));
    let sniffed = tokio::select! {
        biased;
        sniffed = sniffed => sniffed,
        () = worker.closing() => return,
    };
    let spoken = match sniffed {
        Ok(Ok(spoken)) => spoken,
        Ok(Err(error)) => return debug!(%peer, %error, "connection lost before it said anything"),
        Err(_) => Spoken::Foreign(
            Violation::HandshakeTimeout,
            "nothing within the handshake timeout",
        ),
    };
    let going = from.destination.or_else(|| socket.local_addr().ok());
    if redirected && going.is_some_and(|to| worker.shared.own.has(peer, to)) {
        let what = "a connection of this process itself, redirected back to it; except ripcord's user from the redirection";
        return refuse(&worker, &listener, &mut socket, peer, (None, what)).await;
    }
    let wanted = listener.shared.config.protocol;
    match (spoken, wanted) {
        (Spoken::Http2, Sniff::Auto | Sniff::Grpc) => {
            serve_grpc(worker, listener, socket, first, from).await
        }
        (Spoken::Streaming, Sniff::Auto | Sniff::TtHeader) => {
            serve_ttheader(worker, listener, socket, first, from).await;
        }
        (Spoken::PingPong, Sniff::Auto | Sniff::TtHeader) => {
            relay::ping_pong(&worker, &listener.shared, socket, first, from).await;
        }
        (Spoken::Http2, Sniff::TtHeader) => {
            let what = (Some(Violation::OtherWire), "HTTP/2 on a ttheader listener");
            refuse(&worker, &listener, &mut socket, peer, what).await;
        }
        (Spoken::Streaming | Spoken::PingPong, Sniff::Grpc) => {
            let what = (Some(Violation::OtherWire), "TTHeader on a grpc listener");
            refuse(&worker, &listener, &mut socket, peer, what).await;
        }
        (Spoken::Foreign(kind, what), _) => {
            refuse(&worker, &listener, &mut socket, peer, (Some(kind), what)).await;
        }
        (Spoken::Nothing, _) => {}
    }
}

async fn refuse(
    worker: &Worker,
    listener: &Listener,
    socket: &mut TcpStream,
    peer: SocketAddr,
    (kind, what): (Option<Violation>, &'static str),
) {
    let name = &listener.shared.name;
    if flood::admits("connection refused", name, what) {
        warn!(listener = %name, %peer, what, "connection refused");
    }
    listener.shared.count_refused();
    let metrics = &worker.shared.telemetry.metrics;
    if let Some(kind) = kind {
        metrics.violation(Side::Inbound, None, kind);
    }
    if kind == Some(Violation::Http1) {
        let text = "this port speaks gRPC (HTTP/2 with prior knowledge) and TTHeader, not HTTP/1\n";
        let answer = format!(
            "HTTP/1.1 426 Upgrade Required\r\nconnection: close\r\nupgrade: h2c\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        );
        let _ = socket.write_all(answer.as_bytes()).await;
    }
}

async fn serve_grpc(
    worker: Rc<Worker>,
    listener: Rc<Listener>,
    socket: TcpStream,
    first: BytesMut,
    from: Origin,
) {
    let _counted = worker
        .shared
        .telemetry
        .metrics
        .connection(Side::Inbound, Wire::Grpc);
    let connection = grpc::server::Connection::new(Rc::clone(&listener.grpc));
    let (control, remote) = (connection.control(), connection.control());
    let _drain = worker.on_drain(move || remote.drain());
    let (on_worker, on_listener) = (Rc::clone(&worker), Rc::clone(&listener));
    let on_request = move |request, respond| {
        if let Some((mut head, stream)) = connection.accept(request, respond) {
            head.destination = from.destination;
            spawn_local(proxy::carry(
                Rc::clone(&on_worker),
                Rc::clone(&on_listener),
                Wire::Grpc,
                from.peer,
                head,
                Box::new(stream),
            ));
        }
        for _ in 0..connection.take_not_grpc() {
            let metrics = &on_worker.shared.telemetry.metrics;
            metrics.violation(Side::Inbound, Some(Wire::Grpc), Violation::NotGrpc);
        }
    };
    let end = http2::serve(socket, first, &listener.http2, control, on_request).await;
    let kind = match &end {
        ConnectionEnd::Closed | ConnectionEnd::Failed(_) => None,
        ConnectionEnd::Handshake => Some(Violation::HandshakeTimeout),
        ConnectionEnd::Keepalive => Some(Violation::Keepalive),
        ConnectionEnd::Grace => Some(Violation::Unread),
        ConnectionEnd::Violation(code, _) => Some(Violation::of_http2(*code)),
    };
    if let Some(kind) = kind {
        let metrics = &worker.shared.telemetry.metrics;
        metrics.violation(Side::Inbound, Some(Wire::Grpc), kind);
    }
    match end {
        ConnectionEnd::Closed => debug!(peer = %from.peer, "gRPC connection closed"),
        end => debug!(peer = %from.peer, reason = %end, "gRPC connection lost"),
    }
}

async fn serve_ttheader(
    worker: Rc<Worker>,
    listener: Rc<Listener>,
    socket: TcpStream,
    first: BytesMut,
    from: Origin,
) {
    let _counted = worker
        .shared
        .telemetry
        .metrics
        .connection(Side::Inbound, Wire::TtHeader);
    let handle = ttheader::server::ServerHandle::default();
    let remote = handle.clone();
    let _drain = worker.on_drain(move || remote.drain());
    let (on_worker, on_listener) = (Rc::clone(&worker), Rc::clone(&listener));
    let on_stream = move |mut head: RequestHead, stream| {
        head.destination = from.destination;
        spawn_local(proxy::carry(
            Rc::clone(&on_worker),
            Rc::clone(&on_listener),
            Wire::TtHeader,
            from.peer,
            head,
            Box::new(stream),
        ));
    };
    ttheader::server::serve(
        socket,
        first,
        Rc::clone(&listener.ttheader),
        handle,
        on_stream,
    )
    .await;
    debug!(peer = %from.peer, "TTHeader connection closed");
}
