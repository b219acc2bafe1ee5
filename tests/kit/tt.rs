//! A scripted TTHeader peer. As a callee it is played frame by frame, since Kitex servers never
//! send Rst. As a caller it does what no Kitex caller does. Every frame is kept.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use bytes::Bytes;
use ripcord::wire::ttheader::frame::{Frame, Kind};
use ripcord::wire::ttheader::header::{Fixed, META, PROTOCOL_THRIFT_STRUCT};
use ripcord::wire::ttheader::keys;

pub(crate) use super::frames::message;
use super::frames::{self, encoded};
use super::process::LIMIT;

/// One connection.
pub(crate) struct Connection {
    socket: TcpStream,
    heard: Arc<(Mutex<Heard>, Condvar)>,
}

#[derive(Default)]
struct Heard {
    frames: Vec<Frame>,
    closed: bool,
}

/// A listening socket. Each accepted connection is a [`Connection`].
pub(crate) struct Listener {
    pub(crate) address: String,
    accepted: Receiver<Connection>,
}

/// A stream on a connection.
pub(crate) struct Stream<'a> {
    wire: &'a Connection,
    pub(crate) id: i32,
    method: Bytes,
    /// The Header that opened it.
    pub(crate) header: Frame,
}

impl Listener {
    pub(crate) fn start() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let (sender, accepted) = channel();
        std::thread::spawn(move || {
            for socket in socket.incoming().map_while(Result::ok) {
                if sender.send(Connection::new(socket)).is_err() {
                    return;
                }
            }
        });
        Self { address, accepted }
    }

    /// The next connection.
    pub(crate) fn accept(&self) -> Connection {
        self.accepted.recv_timeout(LIMIT).expect("nobody connected")
    }
}

impl Connection {
    pub(crate) fn connect(address: &str) -> Self {
        Self::new(TcpStream::connect(address).unwrap())
    }

    pub(crate) fn new(socket: TcpStream) -> Self {
        socket.set_nodelay(true).unwrap();
        let heard: Arc<(Mutex<Heard>, Condvar)> = Arc::default();
        let (mut reader, keep) = (socket.try_clone().unwrap(), Arc::clone(&heard));
        std::thread::spawn(move || {
            while let Some(frame) = read(&mut reader) {
                keep.0.lock().unwrap().frames.push(frame);
                keep.1.notify_all();
            }
            keep.0.lock().unwrap().closed = true;
            keep.1.notify_all();
        });
        Self { socket, heard }
    }

    /// Waits until `wanted` finds something.
    fn wait<T>(&self, what: &str, mut wanted: impl FnMut(&Heard) -> Option<T>) -> T {
        let end = Instant::now() + LIMIT;
        let mut heard = self.heard.0.lock().unwrap();
        loop {
            if let Some(found) = wanted(&heard) {
                return found;
            }
            let left = end.saturating_duration_since(Instant::now());
            let seen: Vec<_> = heard.frames.iter().map(|f| (f.kind, f.stream_id)).collect();
            assert!(
                !left.is_zero() && !heard.closed,
                "no {what}; closed: {}, heard {seen:?}",
                heard.closed
            );
            heard = self.heard.1.wait_timeout(heard, left).unwrap().0;
        }
    }

    /// Whether it is a ripcord's probe (`cancel_as: auto`): nothing, or one Rst. If so, it is over
    /// when this returns.
    pub(crate) fn was_probe(&self) -> bool {
        let mut heard = self.heard.0.lock().unwrap();
        loop {
            match heard.frames.first() {
                Some(first) if first.kind != Kind::Rst => return false,
                Some(_) | None if heard.closed => return true,
                Some(_) | None => heard = self.heard.1.wait_timeout(heard, LIMIT).unwrap().0,
            }
        }
    }

    /// The stream that was opened on it as number `n`, from 0; waits for it.
    pub(crate) fn stream(&self, n: usize) -> Stream<'_> {
        let header = self.wait("Header", |heard| {
            heard
                .frames
                .iter()
                .filter(|f| f.kind == Kind::Header)
                .nth(n)
                .cloned()
        });
        Stream {
            wire: self,
            id: header.stream_id,
            method: header.method(),
            header,
        }
    }

    /// Opens a stream: a caller's Header.
    pub(crate) fn open(&self, id: i32, method: &str, strings: &[(&str, &str)]) -> Stream<'_> {
        let mut stream = self.handle(id, method);
        stream.header.info.strings = owned(strings);
        self.write(&stream.header);
        stream
    }

    /// The stream that [`Self::open`] opened.
    pub(crate) fn handle(&self, id: i32, method: &str) -> Stream<'_> {
        let method = Bytes::copy_from_slice(method.as_bytes());
        let header = Frame::new(Kind::Header, id, PROTOCOL_THRIFT_STRUCT, method.clone());
        Stream {
            wire: self,
            id,
            method,
            header,
        }
    }

    pub(crate) fn write(&self, frame: &Frame) {
        self.write_bytes(&encoded(frame));
    }

    pub(crate) fn write_bytes(&self, bytes: &[u8]) {
        (&self.socket).write_all(bytes).unwrap();
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// All frames so far.
    pub(crate) fn frames(&self) -> Vec<Frame> {
        self.heard.0.lock().unwrap().frames.clone()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.heard.0.lock().unwrap().closed
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }
}

impl Stream<'_> {
    pub(crate) fn frame(&self, kind: Kind) -> Frame {
        Frame::new(kind, self.id, PROTOCOL_THRIFT_STRUCT, self.method.clone())
    }

    /// Sends a frame of that kind.
    pub(crate) fn send(&self, kind: Kind, strings: &[(&str, &str)], payload: Bytes) {
        let mut frame = self.frame(kind);
        frame.info.strings = owned(strings);
        frame.payload = payload;
        self.wire.write(&frame);
    }

    /// An EXCEPTION message, as Trailers and Rsts carry it.
    pub(crate) fn exception(&self, type_id: i32, text: &str) -> Bytes {
        frames::exception(&self.method, self.id, type_id, text)
    }

    /// Sends a Rst.
    pub(crate) fn rst(&self, cause: i32, text: &str, path: &str) {
        let payload = self.exception(cause, text);
        let strings = [(keys::CANCELED_PATH, path)];
        self.send(
            Kind::Rst,
            if path.is_empty() { &[] } else { &strings },
            payload,
        );
    }

    /// Waits for the frame of that kind that this stream receives as number `n`, from 0.
    pub(crate) fn nth(&self, kind: Kind, n: usize) -> Frame {
        self.wire
            .wait(&format!("{kind:?} {n} of {}", self.id), |heard| {
                heard
                    .frames
                    .iter()
                    .filter(|f| f.stream_id == self.id && f.kind == kind)
                    .nth(n)
                    .cloned()
            })
    }

    /// How many frames of that kind have come.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.wire
            .frames()
            .iter()
            .filter(|f| f.stream_id == self.id && f.kind == kind)
            .count()
    }
}

/// The exception in a Rst or a Trailer.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) type_id: i32,
    pub(crate) text: String,
}

/// The exception in a Rst or a Trailer, and its path.
pub(crate) fn said(frame: &Frame) -> (Said, String) {
    let (type_id, text) = frames::said(&frame.payload).expect("an exception");
    let path = frame
        .info
        .string(keys::CANCELED_PATH)
        .cloned()
        .unwrap_or_default();
    let path = String::from_utf8(path.to_vec()).unwrap();
    (Said { type_id, text }, path)
}

fn owned(strings: &[(&str, &str)]) -> Vec<(Bytes, Bytes)> {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    strings
        .iter()
        .map(|(key, value)| (bytes(key), bytes(value)))
        .collect()
}

fn read(socket: &mut TcpStream) -> Option<Frame> {
    let mut fixed = [0; META];
    socket.read_exact(&mut fixed).ok()?;
    let fixed = Fixed::parse(&fixed).unwrap();
    let mut block = vec![0; fixed.block];
    socket.read_exact(&mut block).ok()?;
    let mut payload = vec![0; fixed.payload];
    socket.read_exact(&mut payload).ok()?;
    Some(frames::frame(&fixed, block, payload))
}
