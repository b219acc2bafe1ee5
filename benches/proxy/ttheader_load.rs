//! The TTHeader streaming caller: the same loads and single streams as `grpc_load`.
//!
//! One task serves a connection with all its streams, so the load generator stays far below the
//! cost of what it measures.

use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::{Context as _, Result, bail};
use bytes::{Buf, BytesMut};
use rustc_hash::FxHashSet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::load::{Shape, Spec, Tally, Target};
use crate::ring::{Back, Ring};
use crate::ttheader::{
    DATA, Frame, HEADER, Handler, RST, TRAILER, Template, exception, next_stream_id, parse, run,
};

/// The frames of one load, encoded.
struct Frames {
    header: Template,
    data: Template,
    trailer: Template,
}

impl Frames {
    fn new(target: &Target, method: &str, size: usize) -> Self {
        let method = method.as_bytes();
        Self {
            header: header(target, method),
            data: Template::new(DATA, method, &[], &vec![b'x'; size]),
            trailer: Template::new(TRAILER, method, &[], &[]),
        }
    }
}

fn header(target: &Target, method: &[u8]) -> Template {
    Template::new(HEADER, method, &[("isn", &target.service)], &[])
}

/// Starts the load of one connection; it runs until the set is dropped.
pub(crate) async fn start(
    target: &Target,
    spec: &Spec,
    tally: &Rc<Tally>,
    tasks: &mut JoinSet<()>,
) -> Result<()> {
    let socket = TcpStream::connect(target.address).await?;
    let (method, in_flight) = match spec.shape {
        Shape::Rotate { in_flight } => ("Echo", in_flight),
        Shape::Paced => ("Tokens", 0),
        Shape::Long { .. } | Shape::Short => ("Echo", 0),
    };
    let mut caller = Caller {
        frames: Frames::new(target, method, spec.size),
        shape: spec.shape,
        tally: Rc::clone(tally),
        ring: Ring::new(spec.streams_per_connection(), in_flight),
        silent: FxHashSet::default(),
    };
    let mut out = Vec::new();
    for _ in 0..spec.streams_per_connection() {
        caller.open(&mut out);
    }
    tasks.spawn_local(async move {
        let tally = Rc::clone(&caller.tally);
        let ended = run(socket, out, &mut caller).await;
        tally.fail(&ended.err().unwrap_or_else(|| {
            anyhow::anyhow!("the connection was closed with live streams on it")
        }));
    });
    Ok(())
}

struct Caller {
    frames: Frames,
    shape: Shape,
    tally: Rc<Tally>,
    ring: Ring<i32>,
    /// Paced streams without a message yet.
    silent: FxHashSet<i32>,
}

impl Caller {
    fn open(&mut self, out: &mut Vec<u8>) {
        let stream = next_stream_id();
        self.frames.header.put(stream, out);
        match self.shape {
            Shape::Long { window } => {
                for _ in 0..window {
                    self.frames.data.put(stream, out);
                }
            }
            Shape::Rotate { .. } => self.frames.data.put(stream, out),
            Shape::Short | Shape::Paced => {
                self.frames.data.put(stream, out);
                self.frames.trailer.put(stream, out);
            }
        }
        if self.shape == Shape::Paced {
            self.silent.insert(stream);
        }
    }
}

impl Handler for Caller {
    fn frame(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>) -> Result<()> {
        match (frame.kind, self.shape) {
            (HEADER | b'1', _) => {}
            (DATA, Shape::Long { .. }) => {
                self.tally.frame();
                self.tally.done();
                self.frames.data.put(frame.stream, out);
            }
            (DATA, Shape::Rotate { .. }) => {
                let data = &self.frames.data;
                match self
                    .ring
                    .back(frame.stream, |next| data.put(*next, &mut *out))
                {
                    Back::Joined => self.tally.up(),
                    Back::Done => self.tally.done(),
                }
            }
            (DATA, Shape::Paced) => {
                self.tally.frame();
                self.tally.aged(frame.payload);
                if !self.silent.is_empty() && self.silent.remove(&frame.stream) {
                    self.tally.up();
                }
            }
            (DATA, Shape::Short) => self.tally.frame(),
            (TRAILER, Shape::Short) if frame.payload.is_empty() => {
                self.tally.done();
                self.open(out);
            }
            (kind, _) => bail!(
                "frame type {} {}",
                char::from(kind),
                printable(frame.payload)
            ),
        }
        Ok(())
    }
}

fn printable(payload: &[u8]) -> String {
    String::from_utf8_lossy(payload)
        .chars()
        .filter(|c| !c.is_control())
        .collect()
}

/// A connection that is used by one stream at a time.
pub(crate) struct Connection {
    socket: TcpStream,
    input: BytesMut,
    out: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        Ok(Self {
            socket,
            input: BytesMut::with_capacity(64 * 1024),
            out: Vec::new(),
        })
    }

    /// Opens a stream on which one echo has already come back.
    pub(crate) async fn stream(&mut self, target: &Target, size: usize) -> Result<Stream> {
        let stream = Stream {
            id: next_stream_id(),
            frames: Frames::new(target, "Echo", size),
            rst: Template::new(
                RST,
                b"Echo",
                &[("ttscp", "bench")],
                &exception("Echo", 12007, "user code canceled"),
            ),
        };
        stream.frames.header.put(stream.id, &mut self.out);
        self.exchange(&stream).await?;
        Ok(stream)
    }

    /// Sends a Header for a stream that nobody will read.
    pub(crate) async fn abandon(&mut self, target: &Target, method: &str) -> Result<()> {
        header(target, method.as_bytes()).put(next_stream_id(), &mut self.out);
        self.flush().await
    }

    /// One round trip.
    pub(crate) async fn exchange(&mut self, stream: &Stream) -> Result<()> {
        stream.frames.data.put(stream.id, &mut self.out);
        self.flush().await?;
        loop {
            while let Some((frame, length)) = parse(&self.input)? {
                let mine = frame.stream == stream.id;
                match frame.kind {
                    DATA if mine => {
                        self.input.advance(length);
                        return Ok(());
                    }
                    TRAILER | RST if mine => bail!("refused: {}", printable(frame.payload)),
                    _ => {}
                }
                self.input.advance(length);
            }
            let read = self.socket.read_buf(&mut self.input).await?;
            (read > 0).then_some(()).context("connection closed")?;
        }
    }

    /// Sends the Rst.
    pub(crate) async fn cancel(&mut self, stream: &Stream) -> Result<()> {
        stream.rst.put(stream.id, &mut self.out);
        self.flush().await
    }

    async fn flush(&mut self) -> Result<()> {
        self.socket.write_all(&self.out).await?;
        self.out.clear();
        Ok(())
    }
}

/// One stream of a [`Connection`].
pub(crate) struct Stream {
    id: i32,
    frames: Frames,
    rst: Template,
}
