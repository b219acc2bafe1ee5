//! What the registry (`crate::wire`) needs of this wire: its description, and how its connections
//! are recognized, served and opened.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use crate::net::bounds::Bounds;
use crate::net::connection::{ConnectionEnd, CounterRow, DialOptions, Drive, Found, Room};
use crate::net::http2::{self, Http2Config};
use crate::net::resets::ResetLimits;
use crate::net::socket::Socket;
use crate::net::violation::Violation;
use crate::stream::{Acceptor, Codes, OpenError, Propagation, RequestHead, Wire};
use crate::wire::grpc::limit::RIPCORD_READS;
use crate::wire::grpc::{StreamConfig, client, metadata, server, small};

pub use crate::wire::grpc::client::ClientStream;

/// A request that is not gRPC: method, content type, `te`, path, timeout.
pub const NOT_GRPC: &str = "not_grpc";

/// What is known of a request that the HTTP/2 layer refused before this wire saw it.
const REFUSED_BY_HTTP2: &str = "a malformed request, answered with RST_STREAM(PROTOCOL_ERROR): its :authority is no \
     host (a socket's path, an empty one), a pseudo-header is missing, or a field is forbidden";

/// The description of gRPC over HTTP/2.
pub static WIRE: Wire = Wire {
    name: "grpc",
    spoken: "HTTP/2",
    takes_compressed: true,
    verbatim: true,
    callees_tell_kinds: true,
    accept_encoding: Some("grpc-accept-encoding"),
    heads: true,
    head_before_end: false,
    says_leaving: true,
    propagation: Propagation::Plain,
    payload_text: metadata::content_type,
    codes: Some(Codes {
        log_key: "grpc_status",
        attribute: "rpc.grpc.status_code",
        statuses: true,
    }),
    rpc_system: "grpc",
    protocol_name: "http",
    protocol_version: Some("2"),
    caller_violations: &[
        "handshake_timeout",
        NOT_GRPC,
        Violation::MALFORMED_REQUEST.name(),
        "protocol",
        "flow_control",
        "frame_size",
        "compression",
        "malformed_field",
        "flood",
        "empty_frames",
        "resets",
        "keepalive",
        "unread",
    ],
    callee_violations: &[
        "protocol",
        "flow_control",
        "frame_size",
        "compression",
        "malformed_field",
        "flood",
        "empty_frames",
        "keepalive",
        "unread",
    ],
};

/// Events on gRPC connections that are no stream's end, counted since the start.
#[derive(Debug, Default)]
pub struct Counters {
    slow_streams: Arc<AtomicU64>,
}

impl Counters {
    /// Always empty: this wire finds out nothing.
    #[must_use]
    pub fn found(&self) -> Vec<Found> {
        Vec::new()
    }

    /// Each counter, as `/metrics` shows it.
    pub fn rows(self: &Arc<Self>) -> Vec<CounterRow> {
        let slow = Arc::clone(&self.slow_streams);
        vec![CounterRow {
            name: "ripcord_grpc_slow_streams_total",
            help: "gRPC streams ended because their receiver held up a crowded connection",
            label: None,
            read: Box::new(move || slow.load(Ordering::Relaxed)),
        }]
    }
}

/// Whether `first` begins a connection that speaks HTTP/2 (RFC 9113, 3.4).
#[must_use]
pub fn speaks(first: &[u8]) -> bool {
    first.starts_with(b"PRI * HT")
}

/// Whether `first` begins the answer of a callee that speaks HTTP/2: SETTINGS (RFC 9113, 3.4), or
/// GOAWAY from one that accepts no connection.
#[must_use]
pub fn answers(first: &[u8]) -> bool {
    matches!(first, [0, 0, _, 0x04 | 0x07, 0, 0, 0, 0, ..])
}

/// Serves the connections of a listener, on one worker.
#[derive(Debug)]
pub struct Server {
    http2: Http2Config,
    streams: Rc<StreamConfig>,
}

impl Server {
    /// A server for connections within `bounds`.
    #[must_use]
    pub fn new(bounds: &Bounds, counters: &Arc<Counters>) -> Self {
        Self {
            http2: http2_config(bounds),
            streams: Rc::new(stream_config(bounds, counters)),
        }
    }

    /// Serves one connection until it is over.
    pub async fn serve<A: Acceptor>(&self, socket: Socket, acceptor: A) -> ConnectionEnd {
        let connection = server::Connection::new(Rc::clone(&self.streams));
        let (control, remote) = (connection.control(), connection.control());
        let acceptor = Rc::new(acceptor);
        let refused = Rc::clone(&acceptor);
        control.on_refused(move |streams| {
            for _ in 0..streams {
                refused.violation(Violation::MALFORMED_REQUEST.name(), REFUSED_BY_HTTP2);
            }
        });
        let _drain = acceptor.on_drain(move || remote.drain());
        let on_request = |request, respond| {
            if let Some((head, stream)) = connection.accept(request, respond) {
                acceptor.open(head, stream);
            }
            if let Some(what) = connection.take_not_grpc() {
                acceptor.violation(NOT_GRPC, &what);
            }
        };
        http2::serve(socket, &self.http2, control, on_request).await
    }
}

/// Opens a worker's connections to callees.
#[derive(Debug)]
pub struct Dialer {
    http2: Http2Config,
    streams: Rc<StreamConfig>,
    /// The settings for connections to another ripcord.
    to_ripcord: Rc<StreamConfig>,
}

impl Dialer {
    /// A dialer for connections within `bounds`.
    #[must_use]
    pub fn new(bounds: &Bounds, counters: &Arc<Counters>) -> Self {
        let streams = stream_config(bounds, counters);
        Self {
            http2: Http2Config {
                header_list: RIPCORD_READS,
                ..http2_config(bounds)
            },
            to_ripcord: Rc::new(StreamConfig {
                to_ripcord: true,
                ..streams.clone()
            }),
            streams: Rc::new(streams),
        }
    }

    /// Opens a connection on `socket`. It is open when the callee's SETTINGS were applied and
    /// acknowledged: before, it is not known how many streams the callee allows.
    ///
    /// # Errors
    /// An error of the transport or of the protocol.
    pub async fn connect(
        &self,
        socket: Socket,
        options: &DialOptions,
        drive: impl Drive,
    ) -> Result<Client, String> {
        let peer = socket.tcp().peer_addr();
        let mut http2 = self.http2.clone();
        http2.ping = options.ping.or(http2.ping);
        http2.pace = options.pace.clone();
        let streams = match options.to_ripcord {
            true => Rc::clone(&self.to_ripcord),
            false => Rc::clone(&self.streams),
        };
        let connected = client::Client::connect(socket, &http2, streams).await;
        let (client, driver) = connected.map_err(|end| end.to_string())?;
        let resets = client.end();
        drive.drive(async move {
            let end = driver.await;
            resets().map_or(end, ConnectionEnd::Resets)
        });
        client.settled().await?;
        if let Ok(peer) = peer
            && client.may_bear_few_frames()
        {
            small::ask(peer, options).await;
        }
        Ok(Client(Rc::new(client)))
    }
}

/// Streams after which an idle connection is closed. If they came at once, about 300 bytes of each
/// stay in `h2`'s tables.
const SWOLLEN: u64 = 1024;

/// A connection to a callee. Clones are the same connection.
#[derive(Clone, Debug)]
pub struct Client(Rc<client::Client>);

impl Client {
    /// Whether new streams can be opened on it, now or when others end.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.0.is_usable()
    }

    /// Which connection it is.
    #[must_use]
    pub fn id(&self) -> usize {
        self.0.id()
    }

    /// The number of its open streams.
    #[must_use]
    pub fn active(&self) -> usize {
        self.0.active()
    }

    /// How many streams the callee allows at a time.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Whether it can take one more stream now, with these limits of resets.
    #[must_use]
    pub fn room(&self, resets: Option<&ResetLimits>) -> Room {
        self.0.room(resets)
    }

    /// Wakes `waker` once, when there may be room for one more stream or the connection is over.
    pub fn on_room(&self, waker: &Waker) {
        self.0.on_room(waker);
    }

    /// Whether it was idle since the last look, and is one too many (`surplus`) or may still have
    /// the memory of many streams.
    #[must_use]
    pub fn is_spare(&self, surplus: bool) -> bool {
        self.0.idle_after().is_some_and(|n| surplus || n >= SWOLLEN)
    }

    /// Opens no new streams, and closes when the last one is over. Nothing has to be done for it
    /// here: the connection closes by itself when its last handle and its last stream are gone.
    pub fn retire(&self) {}

    /// Opens a stream.
    ///
    /// # Errors
    /// The stream was not opened, and nothing was sent.
    pub async fn open(&self, head: &RequestHead) -> Result<ClientStream, OpenError> {
        if let Some(text) = self.0.refuses(head) {
            return Err(OpenError::TooLarge(text));
        }
        let opened = self.0.open(head).await;
        opened.map_err(|error| match self.0.is_usable() {
            true => OpenError::Head(error.text("the callee")),
            false => OpenError::Connection(error.text("the callee")),
        })
    }
}

/// The most that `h2` holds of one stream for sending, in bytes. It comes on top of the stream's
/// window, and only within the window that the peer granted.
const SEND_BUFFER: usize = 64 * 1024;

/// How many times `metadata_size` is read of a request's headers, so that a caller with too many
/// gets a proper error. What `h2` does not read, it answers with HTTP status 431. A caller that
/// sends even more loses its connection, as grpcio does whatever limit it was sent.
const HEADER_LIST: usize = 4;

/// A buffer size as an HTTP/2 window (at most 2^31 - 1 bytes).
fn window(bytes: usize) -> u32 {
    u32::try_from(bytes)
        .unwrap_or(u32::MAX)
        .min(i32::MAX as u32)
}

fn http2_config(bounds: &Bounds) -> Http2Config {
    Http2Config {
        stream_window: window(bounds.stream_buffer),
        connection_window: window(bounds.connection_buffer),
        send_buffer: bounds.stream_buffer.min(SEND_BUFFER),
        max_streams: u32::try_from(bounds.max_streams).unwrap_or(u32::MAX),
        header_list: window(bounds.metadata_size.saturating_mul(HEADER_LIST)),
        pending_resets: bounds.max_resets,
        ping: bounds.ping,
        pace: None,
        cancel_grace: bounds.cancel_grace,
        handshake_timeout: bounds.handshake_timeout,
    }
}

fn stream_config(bounds: &Bounds, counters: &Counters) -> StreamConfig {
    StreamConfig {
        node: Rc::from(&*bounds.node),
        max_message: bounds.max_message,
        max_metadata: bounds.metadata_size,
        max_head: bounds.max_head,
        stream_window: window(bounds.stream_buffer),
        connection_window: window(bounds.connection_buffer),
        slow_receiver_timeout: bounds.slow_receiver_timeout,
        budget: Arc::clone(&bounds.budget),
        slow_streams: Arc::clone(&counters.slow_streams),
        to_ripcord: false,
        carried: bounds.carried,
    }
}
