//! Listeners: accept connections, detect their protocol, hand sockets to workers and streams to the
//! proxy.

use std::borrow::Cow;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;
use tracing::{debug, warn};

use crate::config::ListenerProtocol;
use crate::context::{Context, Process};
use crate::drain::{OnDraining, Present, Watcher};
use crate::net::bounds::Bounds;
use crate::net::socket::{ConnectionInfo, Socket};
use crate::net::violation::Violation;
use crate::net::{connection::ConnectionEnd, redirect, tcp};
use crate::proxy::parting::Parting;
use crate::proxy::{self, Entry};
use crate::relay;
use crate::stream::{Acceptor, Inbound, RequestHead, Wire};
use crate::telemetry::{SeriesCache, Side, log_limit};
use crate::wire::{self, Detected, Servers};
use crate::worker::Handle;

/// How long an acceptor pauses when the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The log's message for a caller that lost its connection by its own doing.
const BROKE_PROTOCOL: &str = "the caller broke its protocol; connection ended";

/// A listener, as all threads see it.
pub(crate) struct Listener {
    pub(crate) name: Arc<str>,
    /// Which wires its callers may speak.
    pub(crate) protocol: ListenerProtocol,
    pub(crate) bounds: Bounds,
    pub(crate) max_connections: usize,
    /// Whether the kernel redirects connections to it.
    pub(crate) redirected: bool,
    /// Whether callers whose streams all sit behind callees that take no new ones are told so.
    pub(crate) passes_goaway: bool,
    pub(crate) tcp: tcp::TcpOptions,
    pub(crate) open: AtomicUsize,
    pub(crate) refused: AtomicUsize,
}

impl Listener {
    fn enter(&self) -> bool {
        let fits = self.open.fetch_add(1, Ordering::Relaxed) < self.max_connections;
        if !fits {
            self.leave();
            self.count_refused();
        }
        fits
    }

    /// Counts that a connection is over.
    fn leave(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Connections refused: too many, or of a protocol that the listener does not serve.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed) as u64
    }
}

/// The listeners, as one worker sees them.
pub(crate) struct Local {
    pub(crate) context: Rc<Context>,
    listeners: Box<[Rc<LocalListener>]>,
}

/// A listener, as one worker sees it.
struct LocalListener {
    listener: Arc<Listener>,
    entry: Rc<Entry>,
    servers: Servers,
}

impl Local {
    /// The listeners that worker number `worker` serves.
    pub(crate) fn new(
        worker: usize,
        process: Arc<Process>,
        listeners: &[Arc<Listener>],
    ) -> Rc<Self> {
        let context = Context::new(worker, process);
        let local = |listener: &Arc<Listener>| {
            Rc::new(LocalListener {
                servers: Servers::new(&listener.bounds, &context.process.counters),
                entry: Rc::new(Entry {
                    context: Rc::clone(&context),
                    series: SeriesCache::new(Arc::clone(&listener.name)),
                }),
                listener: Arc::clone(listener),
            })
        };
        let listeners = listeners.iter().map(local).collect();
        Rc::new(Self { context, listeners })
    }
}

/// Counts a listener's connection; dropping it ends the count.
struct Connected(Arc<Listener>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// Accepts until it is dropped, and gives each connection to the least loaded worker. `index` is
/// the listener's place among all.
pub(crate) async fn accept(
    socket: TcpListener,
    index: usize,
    listener: Arc<Listener>,
    workers: Arc<[Handle<Local>]>,
) {
    loop {
        let (connection, peer) = match socket.accept().await {
            Ok(accepted) => accepted,
            // The connection broke while it waited in the queue.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => {
                // No descriptors or memory left.
                if log_limit::admits("accept failed", &listener.name, "") {
                    warn!(listener = %listener.name, %error, "accept failed");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if !listener.enter() {
            if log_limit::admits("too many connections; closed", &listener.name, "") {
                warn!(listener = %listener.name, %peer, "too many connections; closed");
            }
            continue;
        }
        let connected = Connected(Arc::clone(&listener));
        let least = workers.iter().min_by_key(|w| w.load());
        if let (Ok(connection), Some(worker)) = (connection.into_std(), least) {
            worker.give(async move |local: Rc<Local>| {
                let _connected = connected;
                if let (Some(listener), Ok(socket)) = (
                    local.listeners.get(index).map(Rc::clone),
                    TcpStream::from_std(connection),
                ) {
                    serve(listener, socket, peer).await;
                }
            });
        }
    }
}

/// Serves one connection until it is over.
///
/// State that is needed for a short time only is in a box of its own, so that an idle connection
/// keeps little.
async fn serve(local: Rc<LocalListener>, socket: TcpStream, peer: std::net::SocketAddr) {
    let context = &local.entry.context;
    let _present = context.drain.watch(Rc::new(Present));
    let begun = Box::pin(begin(&local, socket, peer)).await;
    let Some((mut socket, info, detected)) = begun else {
        return;
    };
    let listener = &*local.listener;
    match detected {
        Detected::Streams(wire) | Detected::Calls(wire) if !takes(listener.protocol, wire) => {
            let what = format!("{} on a {:?} listener", wire.spoken, listener.protocol);
            let kind = Some(Violation::OTHER_WIRE);
            Box::pin(refuse(&local, &mut socket, peer, kind, what)).await;
        }
        Detected::Streams(wire) => Box::pin(streams(&local, wire, socket, info)).await,
        Detected::Calls(wire) => {
            let limit = listener.bounds.handshake_timeout;
            let relayed = relay::calls(context, &listener.name, limit, wire, socket, info);
            if let Err(relay::Refused) = Box::pin(relayed).await {
                listener.count_refused();
            }
        }
        Detected::Unknown(kind, what) => {
            Box::pin(refuse(&local, &mut socket, peer, Some(kind), what)).await;
        }
    }
}

/// Detects what the connection speaks; `None` when it must not be served.
async fn begin(
    local: &LocalListener,
    socket: TcpStream,
    peer: std::net::SocketAddr,
) -> Option<(Socket, ConnectionInfo, Detected)> {
    let listener = &*local.listener;
    let context = &local.entry.context;
    tcp::tune(&socket, &listener.tcp);
    let redirected = listener.redirected;
    let info = ConnectionInfo {
        peer,
        local: socket.local_addr().ok(),
        original_destination: redirected
            .then(|| redirect::original_destination(&socket))
            .flatten(),
    };
    let mut socket = Socket::new(socket);
    let detected = tokio::select! {
        biased;
        detected = detect(&mut socket, listener.bounds.handshake_timeout) => detected,
        () = context.drain.ending() => return None,
    };
    let detected = match detected {
        // `None`: it closed without sending anything, as health checks do.
        Ok(detected) => detected?,
        Err(error) => {
            debug!(%peer, %error, "connection lost before it said anything");
            return None;
        }
    };
    let going = info.original_destination.or(info.local);
    if redirected && going.is_some_and(|to| context.process.loop_guard.has(peer, to)) {
        let what = "a connection of this process itself, redirected back to it; except ripcord's user from the redirection";
        refuse(local, &mut socket, peer, None, what).await;
        return None;
    }
    Some((socket, info, detected))
}

/// Reads until the protocol is known; `None` when the connection closed without a byte.
async fn detect(socket: &mut Socket, limit: Duration) -> io::Result<Option<Detected>> {
    let read = async {
        loop {
            if let Some(detected) = wire::detect(socket.first()) {
                return Ok(Some(detected));
            }
            if socket.read_first().await? == 0 {
                let truncated = Detected::Unknown(Violation::TRUNCATED, "closed after a few bytes");
                return Ok((!socket.first().is_empty()).then_some(truncated));
            }
        }
    };
    let late = Detected::Unknown(
        Violation::HANDSHAKE_TIMEOUT,
        "nothing within the handshake timeout",
    );
    tokio::time::timeout(limit, read)
        .await
        .unwrap_or(Ok(Some(late)))
}

fn takes(wanted: ListenerProtocol, wire: &Wire) -> bool {
    match wanted {
        ListenerProtocol::Auto => true,
        ListenerProtocol::Only(protocol) => protocol.name() == wire.name,
    }
}

async fn refuse(
    local: &LocalListener,
    socket: &mut Socket,
    peer: std::net::SocketAddr,
    kind: Option<Violation>,
    what: impl Into<Cow<'static, str>>,
) {
    let name = &local.listener.name;
    let what = what.into();
    if log_limit::admits("connection refused", name, what.clone()) {
        warn!(listener = %name, %peer, what = &*what, "connection refused");
    }
    local.listener.count_refused();
    let metrics = &local.entry.context.process.telemetry.metrics;
    if let Some(kind) = kind {
        metrics.violation(Side::Inbound, None, kind);
    }
    if kind == Some(Violation::HTTP1) {
        let _ = socket.write_all(wire::http1_answer().as_bytes()).await;
    }
}

/// Serves a connection that carries streams.
async fn streams(
    local: &Rc<LocalListener>,
    wire: &'static Wire,
    socket: Socket,
    info: ConnectionInfo,
) {
    let metrics = &local.entry.context.process.telemetry.metrics;
    let _counted = metrics.connection(Side::Inbound, wire);
    let passes = local.listener.passes_goaway && wire.says_leaving;
    let acceptor = Streams {
        entry: Rc::clone(&local.entry),
        listener: Arc::clone(&local.listener.name),
        wire,
        info,
        parting: passes.then(Rc::default),
    };
    let end = local.servers.serve(wire, socket, acceptor).await;
    if let Some(kind) = end.violation() {
        metrics.violation(Side::Inbound, Some(wire), kind);
    }
    let (listener, peer) = (&local.listener.name, info.peer);
    match &end {
        ConnectionEnd::Closed => debug!(%listener, %peer, %wire, "connection closed"),
        // Its streams are over, and those of all callers behind it if it is a proxy.
        ConnectionEnd::Violation(kind, _) => {
            if log_limit::admits(BROKE_PROTOCOL, listener, kind.name()) {
                let kind = kind.name();
                warn!(%listener, %peer, %wire, kind, reason = %end, "{BROKE_PROTOCOL}");
            }
        }
        ConnectionEnd::Handshake
        | ConnectionEnd::Keepalive
        | ConnectionEnd::Grace
        | ConnectionEnd::Resets(_)
        | ConnectionEnd::SentAway(_)
        | ConnectionEnd::Failed(_) => {
            debug!(%listener, %peer, %wire, reason = %end, "connection lost");
        }
    }
}

/// Hands the streams of one connection to the proxy.
struct Streams {
    entry: Rc<Entry>,
    /// The listener's name.
    listener: Arc<str>,
    wire: &'static Wire,
    info: ConnectionInfo,
    /// With `goaway: pass`, on a wire that can say it.
    parting: Option<Rc<Parting>>,
}

impl Acceptor for Streams {
    type DrainGuard = Watcher;

    fn open<I: Inbound + 'static>(&self, mut head: Box<RequestHead>, inbound: Box<I>) {
        head.destination = self.info.original_destination;
        spawn_local(proxy::carry(
            Rc::clone(&self.entry),
            self.wire,
            self.info.peer,
            head,
            inbound,
            self.parting.clone(),
        ));
    }

    fn violation(&self, kind: &'static str, what: &str) {
        let (name, peer, wire) = (&self.listener, self.info.peer, self.wire);
        if kind != Violation::MALFORMED_REQUEST.name() {
            debug!(%peer, %wire, kind, what, "request refused");
        } else if log_limit::admits("request refused", name, kind) {
            warn!(listener = %name, %peer, %wire, kind, what, "request refused");
        }
        let metrics = &self.entry.context.process.telemetry.metrics;
        metrics.violation(Side::Inbound, Some(self.wire), Violation::new(kind));
    }

    fn on_drain(&self, drain: impl Fn() + 'static) -> Watcher {
        let drain = Rc::new(drain);
        if let Some(parting) = &self.parting {
            parting.set_say(drain.clone());
        }
        let watcher = OnDraining(move || drain());
        self.entry.context.drain.watch(Rc::new(watcher))
    }
}

#[cfg(test)]
mod tests;
