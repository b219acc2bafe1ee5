//! A third wire, made of memory. It proves that the rest of the crate knows no wire by name.
//!
//! A connection begins on a real socket, with [`MAGIC`] and a number. By that number both sides
//! find each other in this process, and exchange the values of the neutral model as they are. The
//! socket stays open and silent. The wire is registered with the feature `memory-wire` only;
//! without it, it compiles and nothing reaches it.
//!
//! It has no heads, no codes of its own and no compression, so that a wire without these is tested.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::net::bounds::Bounds;
use crate::net::connection::{ConnectionEnd, CounterRow, DialOptions, Drive, Found, Room};
use crate::net::resets::ResetLimits;
use crate::net::socket::Socket;
use crate::stream::{Acceptor, Cancel, End, Initiator, OpenError, Propagation, RequestHead, Wire};
use connection::Connection;

pub use connection::{ClientStream, PANICS_INBOUND, PANICS_OUTBOUND, ServerStream};

mod connection;

/// The first bytes of a connection.
pub const MAGIC: &[u8; 8] = b"RIPCMEM1";

/// The label for a frame that is not allowed.
const GARBAGE: &str = "garbage";

/// The description of the wire.
pub static WIRE: Wire = Wire {
    name: "memory",
    spoken: "memory",
    takes_compressed: false,
    verbatim: true,
    callees_tell_kinds: true,
    accept_encoding: None,
    heads: false,
    head_before_end: false,
    says_leaving: false,
    propagation: Propagation::Plain,
    payload_text: |payload, _| payload.name().to_owned().into(),
    codes: None,
    rpc_system: "memory",
    protocol_name: "memory",
    protocol_version: None,
    caller_violations: &[GARBAGE],
    callee_violations: &[],
};

/// This wire has no counters of its own.
#[derive(Debug, Default)]
pub struct Counters;

impl Counters {
    /// Always empty: this wire finds out nothing.
    #[must_use]
    pub fn found(&self) -> Vec<Found> {
        Vec::new()
    }

    /// Always empty: the wire counts nothing.
    #[must_use]
    pub fn rows(self: &Arc<Self>) -> Vec<CounterRow> {
        Vec::new()
    }
}

/// Whether `first` begins a connection of this wire.
#[must_use]
pub fn speaks(first: &[u8]) -> bool {
    first.starts_with(MAGIC)
}

/// Its callees send nothing on the socket.
#[must_use]
pub fn answers(_first: &[u8]) -> bool {
    false
}

/// What goes over a connection.
#[derive(Debug)]
enum Frame {
    Open(u64, Box<RequestHead>),
    /// Pieces of messages, with their prefixes.
    Messages(u64, Bytes),
    /// The receiver took so many bytes.
    Taken(u64, usize),
    HalfClose(u64),
    /// The callee's end.
    End(u64, Box<End>),
    /// The caller's cancel.
    Cancel(u64, Box<Cancel>),
}

/// One side of a connection.
type Side = (UnboundedSender<Frame>, UnboundedReceiver<Frame>);

/// Sides whose other end was dialed, but not yet served.
static WAITING: Mutex<Option<HashMap<u64, Side>>> = Mutex::new(None);

fn waiting<T>(with: impl FnOnce(&mut HashMap<u64, Side>) -> T) -> T {
    let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
    with(waiting.get_or_insert_default())
}

/// The connections of a listener, on one worker.
#[derive(Debug)]
pub struct Server(Bounds);

impl Server {
    /// A server for connections within `bounds`.
    #[must_use]
    pub fn new(bounds: &Bounds, _counters: &Arc<Counters>) -> Self {
        Self(bounds.clone())
    }

    /// Serves one connection until it is over.
    pub async fn serve<A: Acceptor>(&self, mut socket: Socket, acceptor: A) -> ConnectionEnd {
        let mut begin = [0; 16];
        if let Err(error) = socket.read_exact(&mut begin).await {
            return ConnectionEnd::Failed(error.to_string());
        }
        let [.., a, b, c, d, e, f, g, h] = begin;
        let number = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        let Some((sender, receiver)) = waiting(|all| all.remove(&number)) else {
            acceptor.violation(GARBAGE, "nobody dialed it");
            return ConnectionEnd::Failed(format!("nobody dialed {number}"));
        };
        let connection = Connection::new(sender, &self.0, Initiator::Caller);
        let remote = Rc::clone(&connection);
        let _drain = acceptor.on_drain(move || remote.retire());
        let accept = |head, stream| acceptor.open(Box::new(head), Box::new(stream));
        connection.run(receiver, accept).await
    }
}

/// How one worker opens connections to callees.
#[derive(Debug)]
pub struct Dialer(Bounds);

impl Dialer {
    /// A dialer for connections within `bounds`.
    #[must_use]
    pub fn new(bounds: &Bounds, _counters: &Arc<Counters>) -> Self {
        Self(bounds.clone())
    }

    /// Opens a connection on `socket`.
    ///
    /// # Errors
    /// The socket's error.
    pub async fn connect(
        &self,
        mut socket: Socket,
        _options: &DialOptions,
        drive: impl Drive,
    ) -> Result<Client, String> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let (to_callee, at_callee) = unbounded_channel();
        let (to_caller, at_caller) = unbounded_channel();
        waiting(|all| all.insert(number, (to_caller, at_callee)));
        let begin = [*MAGIC, number.to_be_bytes()].concat();
        socket.write_all(&begin).await.map_err(|e| e.to_string())?;
        let connection = Connection::new(to_callee, &self.0, Initiator::Callee);
        let driven = Rc::clone(&connection);
        drive.drive(async move {
            let _open = socket;
            driven.run(at_caller, |_, _| {}).await
        });
        Ok(Client(Rc::new(Dialed {
            connection,
            next: Cell::new(1),
        })))
    }
}

struct Dialed {
    connection: Rc<Connection>,
    next: Cell<u64>,
}

impl Drop for Dialed {
    fn drop(&mut self) {
        self.connection.retire();
    }
}

/// A connection to a callee. Clones are the same connection.
#[derive(Clone)]
pub struct Client(Rc<Dialed>);

impl Client {
    /// Whether new streams can be opened on it.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        !self.0.connection.retired.get()
    }

    /// Which connection it is.
    #[must_use]
    pub fn id(&self) -> usize {
        Rc::as_ptr(&self.0.connection) as usize
    }

    /// The number of its open streams.
    #[must_use]
    pub fn active(&self) -> usize {
        self.0.connection.slots.borrow().len()
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

    /// Whether it is idle and one too many, or still has the memory of many streams. Never: see
    /// `crate::wire::ttheader`.
    #[must_use]
    pub fn is_spare(&self, _surplus: bool) -> bool {
        false
    }

    /// Opens no new streams, and closes when the last one is over.
    pub fn retire(&self) {
        self.0.connection.retire();
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// The stream was not opened, and nothing was sent.
    pub async fn open(&self, head: &RequestHead) -> Result<ClientStream, OpenError> {
        let connection = &self.0.connection;
        let id = self.0.next.replace(self.0.next.get() + 1);
        if !self.is_usable() || !connection.send(Frame::Open(id, Box::new(head.clone()))) {
            let text = "the connection is closed".to_owned();
            return Err(OpenError::Connection(text));
        }
        Ok(ClientStream {
            stream: connection.stream(id),
            // Only a caller that is a hop has hops.
            panics: head.method == PANICS_OUTBOUND && head.hops.is_some(),
        })
    }
}
