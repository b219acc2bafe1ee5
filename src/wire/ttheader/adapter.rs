//! What the registry (`crate::wire`) needs of this wire: its description, and how its connections
//! are recognized, served and opened.

use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use crate::net::bounds::Bounds;
use crate::net::connection::{ConnectionEnd, DialOptions, Drive, Room};
use crate::net::resets::ResetLimits;
use crate::net::socket::Socket;
use crate::stream::{Acceptor, OpenError, Propagation, RequestHead, Wire};
use crate::wire::ttheader::{ConnConfig, client, header, metadata, server};

pub use crate::wire::ttheader::client::ClientStream;
pub use crate::wire::ttheader::conn::config::Counters;

/// The description of Kitex TTHeader streaming. Its connections have a metric of their own
/// ([`Counters`]), so it lists no violations.
pub static WIRE: Wire = Wire {
    name: "ttheader",
    spoken: "TTHeader",
    takes_compressed: false,
    callees_tell_kinds: false,
    accept_encoding: None,
    heads: true,
    propagation: Propagation::Transit,
    payload_text: metadata::payload_text,
    codes: None,
    rpc_system: "kitex",
    protocol_name: "ttheader",
    protocol_version: None,
    caller_violations: &[],
    callee_violations: &[],
};

/// Whether `first` begins a connection of TTHeader streaming: the frame's magic, and the streaming
/// flag (Kitex `remote/trans/ttstream/server_provider.go`).
#[must_use]
pub fn speaks(first: &[u8]) -> bool {
    matches!(first, [_, _, _, _, 0x10, 0x00, _, flags, ..] if flags & 0x02 != 0)
}

/// Whether `first` begins the answer of a callee that speaks TTHeader, streaming or not.
#[must_use]
pub fn answers(first: &[u8]) -> bool {
    matches!(first, [_, _, _, _, 0x10, 0x00, _, _, ..])
}

/// Serves the connections of a listener, on one worker.
#[derive(Debug)]
pub struct Server(Rc<ConnConfig>);

impl Server {
    /// A server for connections within `bounds`.
    #[must_use]
    pub fn new(bounds: &Bounds, counters: &Arc<Counters>) -> Self {
        Self(Rc::new(config(bounds, counters)))
    }

    /// Serves one connection until it is over.
    pub async fn serve<A: Acceptor>(&self, socket: Socket, acceptor: A) -> ConnectionEnd {
        let handle = server::ServerHandle::default();
        let remote = handle.clone();
        let _drain = acceptor.on_drain(move || remote.drain());
        let on_stream = move |head, stream| acceptor.open(head, Box::new(stream));
        server::serve(socket, Rc::clone(&self.0), handle, on_stream).await;
        ConnectionEnd::Closed
    }
}

/// Opens a worker's connections to callees.
#[derive(Debug)]
pub struct Dialer(Rc<ConnConfig>);

impl Dialer {
    /// A dialer for connections within `bounds`. Every legal header block is read, whatever
    /// `metadata_size` is.
    #[must_use]
    pub fn new(bounds: &Bounds, counters: &Arc<Counters>) -> Self {
        Self(Rc::new(ConnConfig {
            max_header: header::MAX_BLOCK,
            ..config(bounds, counters)
        }))
    }

    /// Opens a connection on `socket`. The wire has no handshake and no ping, so this never fails.
    ///
    /// # Errors
    /// Never; every wire has this signature.
    pub async fn connect(
        &self,
        socket: Socket,
        _options: &DialOptions,
        drive: impl Drive,
    ) -> Result<Client, String> {
        let (client, driver) = client::Client::new(socket, Rc::clone(&self.0));
        drive.drive(async move {
            driver.await;
            ConnectionEnd::Closed
        });
        Ok(Client(Rc::new(client)))
    }
}

/// A connection to a callee. Clones are the same connection.
#[derive(Clone)]
pub struct Client(Rc<client::Client>);

impl Client {
    /// Whether new streams can be opened on it.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        !self.0.is_closed()
    }

    /// The number of its open streams.
    #[must_use]
    pub fn active(&self) -> usize {
        self.0.active()
    }

    /// How many streams the callee allows at a time: this wire has no such limit.
    #[must_use]
    pub fn capacity(&self) -> usize {
        usize::MAX
    }

    /// Whether it can take one more stream now: this wire has no limit.
    #[must_use]
    pub fn room(&self, _resets: Option<&ResetLimits>) -> Room {
        Room::Free
    }

    /// There always is room, so nobody waits for it.
    pub fn on_room(&self, _waker: &Waker) {}

    /// Whether it is idle and one too many, or still has the memory of many streams. Never: no
    /// connection is opened beyond `pool_size`, and the tables are ripcord's own, and shrink.
    #[must_use]
    pub fn is_spare(&self, _surplus: bool) -> bool {
        false
    }

    /// Opens no new streams, and closes when the last one is over.
    pub fn retire(&self) {
        self.0.close_when_idle();
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// The stream was not opened, and nothing was sent.
    pub async fn open(&self, head: &RequestHead) -> Result<ClientStream, OpenError> {
        self.0.open(head).map_err(|error| match error {
            client::OpenError::Head(_) => OpenError::Head(error.to_string()),
            client::OpenError::Closed | client::OpenError::NoId => {
                OpenError::Connection(error.to_string())
            }
        })
    }
}

/// How many times `slow_receiver_timeout` a stream may block a connection that has no other stream.
/// Until then it is not seen if its caller died.
const LONE: u32 = 10;

fn config(bounds: &Bounds, counters: &Arc<Counters>) -> ConnConfig {
    let mut config = ConnConfig::new(
        &bounds.node,
        Arc::clone(&bounds.budget),
        Arc::clone(counters),
    );
    config.carried = bounds.carried;
    config.max_header = config.max_header.max(bounds.metadata_size);
    config.max_message = bounds.max_message;
    config.stream_budget = bounds.stream_buffer;
    config.connection_budget = bounds.connection_buffer;
    config.max_streams = bounds.max_streams;
    config.slow_receiver_timeout = bounds.slow_receiver_timeout;
    config.lone_grace = bounds.slow_receiver_timeout * LONE;
    config.cancel_grace = bounds.cancel_grace;
    config
}
