//! HTTP/2 frame by frame on a plain socket: for what no library would send, and for what comes
//! back.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::process::LIMIT;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RESET: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// Window for everything that the other side may send.
const ROOM: u32 = 100 << 20;

/// A frame that was received.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// A connection, without any library.
pub(crate) struct Raw(pub(crate) TcpStream);

/// A frame's bytes; its length is the payload's.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// A literal field without indexing (RFC 7541, 6.2.2). Name and value have less than 127 bytes
/// each.
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![0, name.len() as u8];
    out.extend(name.as_bytes());
    out.push(value.len() as u8);
    out.extend(value.as_bytes());
    out
}

/// The block of a request for that path.
pub(crate) fn request(path: &str) -> Vec<u8> {
    // :method POST and :scheme http of the static table.
    let mut out = vec![0x83, 0x86];
    out.extend(field(":path", path));
    out.extend(field(":authority", "ripcord"));
    out.extend(field("content-type", "application/grpc+thrift"));
    out.extend(field("te", "trailers"));
    out
}

/// A gRPC message.
pub(crate) fn message(payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0];
    out.extend((payload.len() as u32).to_be_bytes());
    out.extend(payload);
    out
}

impl Raw {
    /// A connection on which nothing was sent.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect_timeout(&address, LIMIT).unwrap();
        Self::new(socket)
    }

    pub(crate) fn new(socket: TcpStream) -> Self {
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket.set_write_timeout(Some(LIMIT)).unwrap();
        Self(socket)
    }

    /// A connection with the preface, empty SETTINGS, and a window.
    pub(crate) fn open(address: SocketAddr) -> Self {
        let mut raw = Self::connect(address);
        raw.send(PREFACE);
        raw.frame(SETTINGS, 0, 0, &[]);
        raw.frame(WINDOW, 0, 0, &ROOM.to_be_bytes());
        raw
    }

    /// Sends bytes as they are. The other side may have closed; then the bytes that it sent tell
    /// more.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    pub(crate) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.send(&frame(kind, flags, stream, payload));
    }

    /// Opens a stream of that service.
    pub(crate) fn headers(&mut self, stream: u32, service: &str) {
        self.frame(
            HEADERS,
            END_HEADERS,
            stream,
            &request(&format!("/{service}/Echo")),
        );
    }

    /// Closes this side.
    pub(crate) fn shut(&self) {
        let _ = self.0.shutdown(Shutdown::Write);
    }

    /// The next frame; `None` at the end of the connection.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.take(&mut head)?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.take(&mut payload)?;
        let stream = u32::from_be_bytes(stream);
        Some(Frame {
            kind,
            flags,
            stream,
            payload,
        })
    }

    /// Skips that many bytes.
    pub(crate) fn skip(&mut self, bytes: usize) {
        self.take(&mut vec![0; bytes]);
    }

    fn take(&mut self, into: &mut [u8]) -> Option<()> {
        match self.0.read_exact(into) {
            Ok(()) => Some(()),
            Err(error) => {
                let kind = error.kind();
                let late = matches!(
                    kind,
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                );
                assert!(!late, "neither a frame nor the end in {LIMIT:?}");
                None
            }
        }
    }

    /// The next GOAWAY: the last stream that it names, and its code. `None` at the end of the
    /// connection. Answers PINGs meanwhile.
    pub(crate) fn next_goaway(&mut self) -> Option<(u32, u32)> {
        loop {
            let frame = self.next()?;
            match (frame.kind, frame.flags) {
                (GOAWAY, _) => {
                    return Some((number(&frame.payload[..4]), number(&frame.payload[4..8])));
                }
                (PING, 0) => self.frame(PING, 1, 0, &frame.payload),
                _ => {}
            }
        }
    }

    /// The error code of the GOAWAY with which the connection ends; `None` when it ends without
    /// one.
    pub(crate) fn goaway(&mut self) -> Option<u32> {
        let last = std::iter::from_fn(|| self.next_goaway()).last();
        last.map(|(_, code)| code)
    }

    /// Waits for a frame of that kind on that stream, and returns it. The connection must stay
    /// open.
    pub(crate) fn wait(&mut self, kind: u8, stream: u32) -> Frame {
        loop {
            let frame = self.next().expect("the connection ended");
            assert_ne!(frame.kind, GOAWAY, "{frame:?}");
            if (frame.kind, frame.stream) == (kind, stream) && !(kind == PING && frame.flags == 0) {
                return frame;
            }
        }
    }

    /// The code of the RST_STREAM with which the stream ends.
    pub(crate) fn reset(&mut self, stream: u32) -> u32 {
        number(&self.wait(RESET, stream).payload)
    }

    /// Echoes a message on another stream of the connection.
    pub(crate) fn echo(&mut self, stream: u32) {
        self.headers(stream, "Storm");
        let said = message(b"still here");
        self.frame(DATA, END_STREAM, stream, &said);
        let mut heard = Vec::new();
        while heard.len() < said.len() {
            heard.extend(self.wait(DATA, stream).payload);
        }
        assert_eq!(heard, said);
    }
}

pub(crate) fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().unwrap())
}
