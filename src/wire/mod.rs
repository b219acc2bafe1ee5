//! The wires: one folder each, and the registry, the only place that knows all of them. It detects,
//! dials and dispatches. Everything else asks a [`Wire`] what it can do.
//!
//! One line of `wires!` below and one word in `config::Protocol` register a wire. Its module needs
//! these items:
//!
//! | item | is |
//! |---|---|
//! | `WIRE` | its description |
//! | `Counters` | what it counts and finds out of peers: `Default`, `rows` for `/metrics`, `found` for `/config` |
//! | `speaks(first)` | whether these 8 bytes begin one of its connections |
//! | `answers(first)` | whether these 8 bytes begin the answer of one of its callees |
//! | `Server` | `new(bounds, counters)`; `serve(socket, acceptor)` carries a caller's connection |
//! | `Dialer` | `new(bounds, counters)`; `connect(socket, options, drive)` gives a `Client` |
//! | `Client` | a connection to a callee: see [`Client`] |
//! | `ClientStream` | a stream to a callee: [`Outbound`] |

pub mod grpc;
pub mod ttheader;

use std::any::Any;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::net::bounds::Bounds;
use crate::net::connection::{ConnectionEnd, CounterRow, DialOptions, Drive, Found, Room};
use crate::net::resets::ResetLimits;
use crate::net::socket::Socket;
use crate::net::violation::Violation;
use crate::stream::{
    Acceptor, Cancel, Forget, Half, MessageBatch, OpenError, Outbound, Received, RequestHead, Wire,
};

/// Calls that are no streams (Kitex ping-pong). They pass unchanged.
pub use ttheader::pingpong as calls;

/// Writes the dispatch to the registered wires: enums and plain matches, so that the message path
/// has no boxed future and no `dyn` call.
macro_rules! wires {
    ($($(#[$only:meta])* $field:ident $name:ident = $($module:ident)::+;)+) => {
        /// All wires of this build.
        pub static ALL: &[&Wire] = &[$($(#[$only])* &$($module)::+::WIRE),+];

        /// The counters of all wires, for the whole process.
        #[derive(Clone, Debug, Default)]
        pub struct Counters {
            $($(#[$only])* $field: Arc<$($module)::+::Counters>,)+
        }

        impl Counters {
            /// Each counter, as `/metrics` shows it.
            #[must_use]
            pub fn rows(&self) -> Vec<CounterRow> {
                let mut rows = Vec::new();
                $($(#[$only])* rows.extend(self.$field.rows());)+
                rows
            }

            /// What was found out about peers, on all wires.
            #[must_use]
            pub fn found(&self) -> Vec<Found> {
                let mut found = Vec::new();
                $($(#[$only])* found.extend(self.$field.found());)+
                found
            }
        }

        /// Serves the connections of one listener on one worker, whatever their wire.
        #[derive(Debug)]
        pub struct Servers {
            $($(#[$only])* $field: $($module)::+::Server,)+
        }

        impl Servers {
            /// Servers for connections within `bounds`.
            #[must_use]
            pub fn new(bounds: &Bounds, counters: &Counters) -> Self {
                Self {
                    $($(#[$only])* $field: $($module)::+::Server::new(bounds, &counters.$field),)+
                }
            }

            /// Serves a connection that speaks `wire` until it is over.
            pub async fn serve<A: Acceptor>(
                &self,
                wire: &'static Wire,
                socket: Socket,
                acceptor: A,
            ) -> ConnectionEnd {
                $(
                    $(#[$only])*
                    if *wire == $($module)::+::WIRE {
                        // In a box: a connection takes what its own wire needs, not what the
                        // largest one does.
                        return Box::pin(self.$field.serve(socket, acceptor)).await;
                    }
                )+
                ConnectionEnd::Failed(format!("{wire} is not registered"))
            }
        }

        /// Opens a worker's connections to callees, whatever their wire.
        pub struct Dialers {
            $($(#[$only])* $field: $($module)::+::Dialer,)+
        }

        impl Dialers {
            /// Dialers for connections within `bounds`.
            #[must_use]
            pub fn new(bounds: &Bounds, counters: &Counters) -> Self {
                Self {
                    $($(#[$only])* $field: $($module)::+::Dialer::new(bounds, &counters.$field),)+
                }
            }

            /// Opens a connection that speaks `wire` on a socket to a callee.
            ///
            /// # Errors
            /// An error of the transport or of the protocol.
            pub async fn connect(
                &self,
                wire: &'static Wire,
                socket: Socket,
                options: &DialOptions,
                drive: impl Drive,
            ) -> Result<Client, String> {
                $(
                    $(#[$only])*
                    if *wire == $($module)::+::WIRE {
                        let client = self.$field.connect(socket, options, drive).await?;
                        return Ok(Client::$name(client));
                    }
                )+
                Err(format!("{wire} is not registered"))
            }
        }

        /// A connection to a callee, on any wire. Clones are the same connection.
        #[derive(Clone)]
        pub enum Client {
            $($(#[$only])*
            #[doc = "On this wire."]
            $name($($module)::+::Client),)+
        }

        impl Client {
            /// Whether new streams can be opened on it, now or when others end.
            #[must_use]
            pub fn is_usable(&self) -> bool {
                match self { $($(#[$only])* Self::$name(client) => client.is_usable(),)+ }
            }

            /// Which connection it is, in this process and while it lives.
            #[must_use]
            pub fn id(&self) -> usize {
                match self { $($(#[$only])* Self::$name(client) => client.id(),)+ }
            }

            /// The number of its open streams.
            #[must_use]
            pub fn active(&self) -> usize {
                match self { $($(#[$only])* Self::$name(client) => client.active(),)+ }
            }

            /// How many streams the callee allows at a time; `usize::MAX` for no limit.
            #[must_use]
            pub fn capacity(&self) -> usize {
                match self { $($(#[$only])* Self::$name(client) => client.capacity(),)+ }
            }

            /// Whether it can take one more stream now, with these limits of resets.
            #[must_use]
            pub fn room(&self, resets: Option<&ResetLimits>) -> Room {
                match self { $($(#[$only])* Self::$name(client) => client.room(resets),)+ }
            }

            /// Wakes `waker` once, when there may be room for one more stream or the connection is
            /// over. One task may wait for it.
            pub fn on_room(&self, waker: &Waker) {
                match self { $($(#[$only])* Self::$name(client) => client.on_room(waker),)+ }
            }

            /// Whether it was idle since the last look, and is one too many (`surplus`) or still
            /// has the memory of many streams.
            #[must_use]
            pub fn is_spare(&self, surplus: bool) -> bool {
                match self { $($(#[$only])* Self::$name(client) => client.is_spare(surplus),)+ }
            }

            /// Opens no new streams, and closes when the last one is over.
            pub fn retire(&self) {
                match self { $($(#[$only])* Self::$name(client) => client.retire(),)+ }
            }

            /// Opens a stream.
            ///
            /// # Errors
            /// The stream was not opened, and nothing was sent.
            pub async fn open(&self, head: &RequestHead) -> Result<OutboundStream, OpenError> {
                match self {
                    $(
                        $(#[$only])*
                        Self::$name(client) => {
                            let stream = client.open(head).await?;
                            Ok(OutboundStream::$name(Box::new(stream)))
                        }
                    )+
                }
            }
        }

        /// A stream to a callee, on any wire. In a box, since it is moved through several futures.
        pub enum OutboundStream {
            $($(#[$only])*
            #[doc = "On this wire."]
            $name(Box<$($module)::+::ClientStream>),)+
        }

        impl OutboundStream {
            /// The connection that carries it: its [`Client::id`].
            #[must_use]
            pub fn connection(&self) -> usize {
                match self { $($(#[$only])* Self::$name(stream) => stream.connection(),)+ }
            }
        }

        impl Half for OutboundStream {
            #[inline]
            fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
                match self { $($(#[$only])* Self::$name(stream) => stream.poll_recv(cx),)+ }
            }

            #[inline]
            fn release(&mut self, bytes: usize) {
                match self { $($(#[$only])* Self::$name(stream) => stream.release(bytes),)+ }
            }

            #[inline]
            fn poll_send(&mut self, cx: &mut Context<'_>, run: &mut MessageBatch) -> Poll<()> {
                match self { $($(#[$only])* Self::$name(stream) => stream.poll_send(cx, run),)+ }
            }
        }

        impl Outbound for OutboundStream {
            fn refusable(&self) -> bool {
                match self { $($(#[$only])* Self::$name(stream) => stream.refusable(),)+ }
            }

            fn forget_written(&self, kept: Weak<dyn Forget>) {
                match self { $($(#[$only])* Self::$name(stream) => stream.forget_written(kept),)+ }
            }

            fn refused(&self) -> bool {
                match self { $($(#[$only])* Self::$name(stream) => stream.refused(),)+ }
            }

            fn poll_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
                match self { $($(#[$only])* Self::$name(stream) => stream.poll_slow(cx),)+ }
            }

            fn on_leaving(&self, told: Rc<dyn Fn()>) -> Option<Box<dyn Any>> {
                match self { $($(#[$only])* Self::$name(stream) => stream.on_leaving(told),)+ }
            }

            fn half_close(&mut self) {
                match self { $($(#[$only])* Self::$name(stream) => stream.half_close(),)+ }
            }

            fn cancel(&mut self, cancel: &Cancel) {
                match self { $($(#[$only])* Self::$name(stream) => stream.cancel(cancel),)+ }
            }
        }

        /// The wire of a connection that begins with `first`.
        fn spoken(first: &[u8]) -> Option<&'static Wire> {
            $(
                $(#[$only])*
                if $($module)::+::speaks(first) {
                    return Some(&$($module)::+::WIRE);
                }
            )+
            None
        }

        /// The wire of a callee whose answer begins with `first`. When several match, it is
        /// `wanted`.
        fn answering(wanted: &Wire, first: &[u8]) -> Option<&'static Wire> {
            let mut found = None;
            $(
                $(#[$only])*
                if $($module)::+::answers(first) && (found.is_none() || *wanted == $($module)::+::WIRE) {
                    found = Some(&$($module)::+::WIRE);
                }
            )+
            found
        }
    };
}

wires! {
    grpc Grpc = grpc::adapter;
    ttheader TtHeader = ttheader::adapter;
    #[cfg(feature = "memory-wire")]
    memory Memory = crate::testing::wire;
}

/// The wire with that name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Wire> {
    ALL.iter().copied().find(|wire| wire.name == name)
}

/// How many first bytes tell the wires apart, as on one Kitex port.
const TELLING: usize = 8;

/// What a connection's first bytes mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detected {
    /// Streams on this wire.
    Streams(&'static Wire),
    /// Calls of this wire ([`calls`]).
    Calls(&'static Wire),
    /// None of the wires: the kind under which it is counted, and a text for the log.
    Unknown(Violation, &'static str),
}

/// Detects what a connection speaks that begins with `first`. `None` when more bytes are needed.
#[must_use]
pub fn detect(first: &[u8]) -> Option<Detected> {
    let telling = first.get(..TELLING)?;
    if let Some(wire) = spoken(telling) {
        return Some(Detected::Streams(wire));
    }
    if calls::speaks(telling) {
        return Some(Detected::Calls(&ttheader::adapter::WIRE));
    }
    let is_http1 = [
        b"GET ".as_slice(),
        b"POST ",
        b"PUT ",
        b"HEAD ",
        b"DELETE ",
        b"OPTIONS ",
        b"PATCH ",
        b"CONNECT ",
    ]
    .iter()
    .any(|method| telling.starts_with(method));
    let (kind, what) = if telling.starts_with(&[0x16, 0x03]) {
        (Violation::TLS, "TLS, which this listener does not speak")
    } else if is_http1 {
        (Violation::HTTP1, "HTTP/1")
    } else {
        (Violation::FOREIGN, "neither HTTP/2 nor TTHeader")
    };
    Some(Detected::Unknown(kind, what))
}

/// What a callee's first bytes mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// More bytes are needed.
    More,
    /// The wire that it was dialed for, or nothing known: that wire has to judge it.
    Wanted,
    /// A TLS alert.
    Tls,
    /// HTTP/1, or a page without a status line.
    Http1,
    /// Another wire of this registry.
    Other(&'static Wire),
    /// It closed the connection without a byte.
    Nothing,
}

/// A TLS alert: a record with two bytes. A TLS server sends it as the answer to what is not TLS.
const ALERT: usize = 7;

/// Detects what a callee speaks that was dialed for `wanted`, from the bytes that it sent first.
/// `closed` means that nothing more comes.
#[must_use]
pub fn answered(wanted: &Wire, first: &[u8], closed: bool) -> Answered {
    if let Some(telling) = first.get(..TELLING)
        && let Some(wire) = answering(wanted, telling)
    {
        return match wire == wanted {
            true => Answered::Wanted,
            false => Answered::Other(wire),
        };
    }
    let alert = matches!(first, [0x15, 0x03, _, 0, 2, _, _, ..]);
    match first {
        [] if closed => Answered::Nothing,
        _ if first.len() < TELLING && !closed && !(alert && first.len() == ALERT) => Answered::More,
        [0x15 | 0x16, 0x03, ..] => Answered::Tls,
        _ if first.starts_with(b"HTTP/1.") || is_html(first) => Answered::Http1,
        _ => Answered::Wanted,
    }
}

/// Whether it is a page. Some HTTP/1 servers take what they do not understand for HTTP/0.9, and
/// answer it without a status line.
fn is_html(first: &[u8]) -> bool {
    [&b"<!doctyp"[..], b"<html"].iter().any(|page| {
        first
            .get(..page.len())
            .is_some_and(|f| f.eq_ignore_ascii_case(page))
    })
}

/// The answer to a caller of HTTP/1. The status offers no upgrade, since none is accepted.
#[must_use]
pub fn http1_answer() -> String {
    let text = "This port is ripcord, a proxy. It takes gRPC (HTTP/2 with prior knowledge, also called h2c) \
                and Kitex TTHeader streaming.\nHTTP/1 and an upgrade from it are not taken: call this port \
                with a gRPC client, without TLS.\n";
    format!(
        "HTTP/1.1 505 HTTP Version Not Supported\r\nconnection: close\r\n\
         content-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n\r\n{text}",
        text.len()
    )
}

/// The metadata keys by which callers list the compressions that they accept.
pub fn accept_encodings() -> impl Iterator<Item = &'static str> {
    ALL.iter().filter_map(|wire| wire.accept_encoding)
}

#[cfg(test)]
mod tests;
