//! Looks at what a peer reads, frame by frame: how often ripcord ended each stream, and whether it
//! sent anything after that. Knows as much of the two wires as that needs.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use ripcord::wire::ttheader::frame::Kind;
use ripcord::wire::ttheader::header::{self, Fixed, META};
use ripcord::wire::ttheader::keys;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::Wire;

/// Ripcord's role toward the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Caller,
    Callee,
}

/// What was seen on all connections of a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Streams that were ended: by a reset or Rst from a caller, by trailers too from a callee.
    pub(crate) ended: usize,
    /// Ends of streams that were over already.
    pub(crate) doubled: usize,
    /// Other frames of streams that were over.
    pub(crate) after: usize,
    /// Connections that ripcord ended with an error (GOAWAY).
    pub(crate) errors: usize,
}

/// How far a direction of a stream is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    /// END_STREAM or a Trailer.
    Closed,
    /// RST_STREAM or Rst: nothing may follow.
    Reset,
}

struct Scan {
    wire: Wire,
    ripcord: Role,
    bytes: Vec<u8>,
    /// How much of HTTP/2's preface did not come yet.
    preface: usize,
    said: HashMap<u32, Said>,
    heard: Arc<Mutex<Heard>>,
}

const PREFACE: usize = 24;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const GO_AWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;

impl Scan {
    fn feed(&mut self, new: &[u8]) {
        self.bytes.extend_from_slice(new);
        let skip = self.preface.min(self.bytes.len());
        self.preface -= skip;
        let mut at = skip;
        while let Some(len) = self.frame_length(at) {
            if self.bytes.len() - at < len {
                break;
            }
            match self.wire {
                Wire::Grpc => self.http2(at),
                Wire::TtHeader => self.ttheader(at),
            }
            at += len;
        }
        self.bytes.drain(..at);
    }

    /// The length of the frame that begins at `at`, once it is known.
    fn frame_length(&self, at: usize) -> Option<usize> {
        let bytes = &self.bytes[at..];
        match self.wire {
            Wire::Grpc if bytes.len() >= 9 => {
                Some(9 + u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize)
            }
            Wire::TtHeader if bytes.len() >= META => {
                Some(4 + u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize)
            }
            Wire::Grpc | Wire::TtHeader => None,
        }
    }

    fn http2(&mut self, at: usize) {
        let (kind, flags) = (self.bytes[at + 3], self.bytes[at + 4]);
        let word = |at: usize| u32::from_be_bytes(self.bytes[at..at + 4].try_into().unwrap());
        let stream = word(at + 5);
        match kind {
            // Its last stream, then why.
            GO_AWAY if word(at + 13) != 0 => self.heard.lock().unwrap().errors += 1,
            // After complete trailers, NO_ERROR means that the rest of the request is not needed.
            RESET
                if self.ripcord == Role::Callee
                    && word(at + 9) == 0
                    && self.said.get(&stream) == Some(&Said::Closed) =>
            {
                self.said.insert(stream, Said::Reset);
            }
            RESET => self.end(stream, Said::Reset),
            DATA | HEADERS | WINDOW_UPDATE if stream != 0 => {
                let last = kind != WINDOW_UPDATE && flags & END_STREAM != 0;
                // A side that has sent everything still gives windows.
                self.more(stream, last, kind == WINDOW_UPDATE);
            }
            _ => {}
        }
    }

    fn ttheader(&mut self, at: usize) {
        let fixed = Fixed::parse(self.bytes[at..at + META].try_into().unwrap()).unwrap();
        let block = &self.bytes[at + META..at + META + fixed.block];
        let (_, info) = header::decode(&Bytes::copy_from_slice(block)).unwrap();
        let kind = Kind::from_text(info.int(keys::FRAME_TYPE).unwrap()).unwrap();
        let stream = fixed.seq as u32;
        match kind {
            Kind::Rst => self.end(stream, Said::Reset),
            Kind::Header | Kind::Data => self.more(stream, false, false),
            Kind::Trailer => self.more(stream, true, false),
            Kind::Meta => {}
        }
    }

    /// A reset came.
    fn end(&mut self, stream: u32, how: Said) {
        let before = self.said.insert(stream, how);
        let mut heard = self.heard.lock().unwrap();
        match (before, self.ripcord) {
            // A caller that has half-closed may still cancel.
            (None, _) | (Some(Said::Closed), Role::Caller) => heard.ended += 1,
            (Some(_), _) => heard.doubled += 1,
        }
    }

    /// Another frame came; `last` when it closes its direction.
    fn more(&mut self, stream: u32, last: bool, window: bool) {
        match self.said.get(&stream) {
            Some(Said::Closed) if window => {}
            Some(_) if last => self.heard.lock().unwrap().doubled += 1,
            Some(_) => self.heard.lock().unwrap().after += 1,
            None if last => {
                self.said.insert(stream, Said::Closed);
                let ends = usize::from(self.ripcord == Role::Callee);
                self.heard.lock().unwrap().ended += ends;
            }
            None => {}
        }
    }
}

/// A socket with a tap.
pub(crate) struct Tapped {
    socket: TcpStream,
    scan: Scan,
}

impl Tapped {
    /// A tap on `socket`. What it sees is added to `heard`.
    pub(crate) fn new(
        socket: TcpStream,
        wire: Wire,
        ripcord: Role,
        heard: &Arc<Mutex<Heard>>,
    ) -> Self {
        let preface = wire == Wire::Grpc && ripcord == Role::Caller;
        let scan = Scan {
            wire,
            ripcord,
            bytes: Vec::new(),
            preface: if preface { PREFACE } else { 0 },
            said: HashMap::new(),
            heard: Arc::clone(heard),
        };
        Self { socket, scan }
    }
}

impl AsyncRead for Tapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(cx, buf);
        self.scan.feed(&buf.filled()[before..]);
        polled
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
