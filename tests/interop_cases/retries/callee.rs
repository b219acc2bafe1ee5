//! A callee and callers that are played frame by frame.

use super::*;

/// A callee on HTTP/2.
pub(super) struct Callee(pub(super) TcpListener);

/// A stream as the callee has it.
pub(super) struct Asked {
    pub(super) stream: u32,
    pub(super) block: Vec<u8>,
    pub(super) body: Vec<u8>,
    pub(super) half_closed: bool,
}

impl Callee {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = socket2::SockRef::from(&listener);
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        Self(listener)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    pub(super) fn accept(&self) -> Raw {
        let (socket, _) = self.0.accept().expect("nobody connects");
        let mut raw = Raw::new(socket);
        // SETTINGS_INITIAL_WINDOW_SIZE, and the same for the connection.
        raw.frame(SETTINGS, 0, 0, &[[0, 4].as_slice(), &ROOM].concat());
        raw.frame(WINDOW, 0, 0, &ROOM);
        raw.skip(24);
        raw
    }

    /// Whether nobody has connected beside those that were accepted.
    pub(super) fn is_alone(&self) -> bool {
        self.0.set_nonblocking(true).unwrap();
        let alone = self.0.accept().is_err();
        self.0.set_nonblocking(false).unwrap();
        alone
    }
}

/// The next frame that is about a stream.
pub(super) fn next(raw: &mut Raw) -> Frame {
    loop {
        let frame = raw.next().expect("the connection ended");
        if frame.kind == SETTINGS && frame.flags == 0 {
            raw.frame(SETTINGS, 1, 0, &[]);
        }
        if matches!(frame.kind, HEADERS | DATA | RESET) {
            return frame;
        }
    }
}

/// Reads a stream, until `bytes` of its body are there and, if it does so, until it half-closes.
pub(super) fn asked(raw: &mut Raw, bytes: usize, half_closes: bool) -> Asked {
    let head = next(raw);
    assert_eq!(head.kind, HEADERS);
    let mut asked = Asked {
        stream: head.stream,
        block: head.payload,
        body: Vec::new(),
        half_closed: false,
    };
    while asked.body.len() < bytes || (half_closes && !asked.half_closed) {
        let frame = next(raw);
        assert_eq!((frame.kind, frame.stream), (DATA, asked.stream));
        asked.body.extend(frame.payload);
        asked.half_closed = frame.flags & END_STREAM != 0;
    }
    asked
}

/// Answers a stream with a message and OK.
pub(super) fn answer(raw: &mut Raw, stream: u32) {
    let mut head = vec![0x88];
    head.extend(field("content-type", "application/grpc+thrift"));
    raw.frame(HEADERS, END_HEADERS, stream, &head);
    raw.frame(DATA, 0, stream, &message(b"answer"));
    let trailers = field("grpc-status", "0");
    raw.frame(HEADERS, END_HEADERS | END_STREAM, stream, &trailers);
}

/// A caller on either wire.
pub(super) enum Peer {
    Grpc(Raw),
    TtHeader(Connection),
}

impl Peer {
    pub(super) fn both(hop: &Ripcord) -> [Self; 2] {
        let grpc = Raw::open(hop.socket_address());
        [
            Self::Grpc(grpc),
            Self::TtHeader(Connection::connect(&hop.address)),
        ]
    }

    pub(super) fn open(&mut self, stream: u32) {
        match self {
            Self::Grpc(raw) => raw.headers(stream, "Retry"),
            Self::TtHeader(connection) => {
                connection.open(stream as i32, "Echo", &[("isn", "Retry")]);
            }
        }
    }

    pub(super) fn send(&mut self, stream: u32, payload: &[u8], half_close: bool) {
        match self {
            Self::Grpc(raw) => {
                let flags = if half_close { END_STREAM } else { 0 };
                // No frame may be over 16 KiB.
                let message = message(payload);
                let mut pieces = message.chunks(16 << 10).peekable();
                while let Some(piece) = pieces.next() {
                    let last = pieces.peek().is_none();
                    raw.frame(DATA, if last { flags } else { 0 }, stream, piece);
                }
            }
            Self::TtHeader(connection) => {
                let stream = connection.handle(stream as i32, "Echo");
                stream.send(Kind::Data, &[], payload.to_vec().into());
                if half_close {
                    stream.send(Kind::Trailer, &[], Default::default());
                }
            }
        }
    }

    /// The stream ends well, with the answer.
    pub(super) fn is_answered(&mut self, stream: u32) {
        match self {
            Self::Grpc(raw) => {
                assert_eq!(raw.wait(DATA, stream).payload, message(b"answer"));
                let trailers = raw.wait(HEADERS, stream);
                assert_ne!(trailers.flags & END_STREAM, 0);
            }
            Self::TtHeader(connection) => {
                let stream = connection.handle(stream as i32, "Echo");
                assert_eq!(&*stream.nth(Kind::Data, 0).payload, b"answer");
                assert!(stream.nth(Kind::Trailer, 0).payload.is_empty());
            }
        }
    }

    /// The stream fails as one whose callee is unavailable. `line` is its access-log line.
    pub(super) fn is_unavailable(&mut self, stream: u32, line: &Value) {
        match self {
            Self::Grpc(raw) => {
                while raw.wait(HEADERS, stream).flags & END_STREAM == 0 {}
                assert_eq!(line["grpc_status"], UNAVAILABLE, "{line}");
            }
            Self::TtHeader(connection) => {
                let trailer = connection
                    .handle(stream as i32, "Echo")
                    .nth(Kind::Trailer, 0);
                assert_eq!(said(&trailer).0.type_id, 12006);
            }
        }
    }
}
