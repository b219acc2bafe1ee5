//! Raw TTHeader peers for many streams at a time, each a task. They write and read frames, and do
//! not know what ripcord makes of them. [`super::tt`] has a peer for a test that plays frame by
//! frame.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use ripcord::wire::ttheader::frame::{Frame, Kind};
use ripcord::wire::ttheader::header::{Fixed, META};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::frames::{self, encoded, exception};
use super::scripts::{Fields, Pairs, Scripts, fields, soon};

/// How a stream ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A Trailer: its strings, and the exception in it.
    Trailer(Pairs, Option<(i32, String)>),
    /// A Rst: its strings (the path among them), cause and text.
    Rst(Pairs, i32, String),
}

/// What a callee does with a stream.
#[derive(Clone, Debug)]
pub(crate) enum Script {
    /// Waits for the half-close, then answers with Header, Data and the end.
    Answer(Pairs, Vec<Bytes>, End),
    /// Waits until the caller cancels; sends a Header before, if there is one.
    Hold(Option<Pairs>, Arc<Mutex<Option<oneshot::Sender<()>>>>),
}

/// What a peer received of a stream.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) header: Option<Frame>,
    pub(crate) messages: Vec<Bytes>,
    /// The Trailer or the Rst.
    pub(crate) end: Option<Frame>,
}

impl Heard {
    /// The strings of its Header.
    pub(crate) fn head(&self) -> Fields {
        self.header.as_ref().map(strings).unwrap_or_default()
    }

    /// Frames up to the first end.
    async fn collect(&mut self, frames: &mut UnboundedReceiver<Frame>) {
        while self.end.is_none() {
            let Some(frame) = soon("a frame", frames.recv()).await else {
                panic!("connection lost");
            };
            match frame.kind {
                Kind::Meta => {}
                Kind::Header => assert!(self.header.replace(frame).is_none(), "two Headers"),
                Kind::Data => self.messages.push(frame.payload),
                Kind::Trailer | Kind::Rst => self.end = Some(frame),
            }
        }
    }
}

/// A frame's strings.
pub(crate) fn strings(frame: &Frame) -> Fields {
    fields(frame.info.strings.iter().map(|(k, v)| (&k[..], &v[..])))
}

type Streams = Arc<Mutex<HashMap<i32, UnboundedSender<Frame>>>>;

/// One side of a connection.
#[derive(Clone)]
pub(crate) struct Connection {
    out: UnboundedSender<Bytes>,
    streams: Streams,
    next: Arc<AtomicI32>,
}

/// A stream of a [`Connection`].
pub(crate) struct Stream {
    wire: Connection,
    pub(crate) id: i32,
    protocol: u8,
    method: Bytes,
    frames: UnboundedReceiver<Frame>,
}

impl Connection {
    fn new(socket: OwnedWriteHalf) -> Self {
        let (out, wanted) = unbounded_channel();
        tokio::spawn(write(socket, wanted));
        Self {
            out,
            streams: Streams::default(),
            // Ids may be negative, and 0 is the connection's: begin near both.
            next: Arc::new(AtomicI32::new(-40)),
        }
    }

    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let (read, write) = socket.into_split();
        let wire = Self::new(write);
        let streams = Arc::clone(&wire.streams);
        tokio::spawn(async move {
            let mut read = read;
            while let Some(frame) = next(&mut read).await {
                if let Some(stream) = streams.lock().unwrap().get(&frame.stream_id) {
                    let _ = stream.send(frame);
                }
            }
            streams.lock().unwrap().clear();
        });
        wire
    }

    /// A stream with a new id; nothing is written.
    pub(crate) fn stream(&self, method: &str, protocol: u8) -> Stream {
        let mut id = 0;
        while id == 0 {
            id = self.next.fetch_add(1, Ordering::Relaxed);
        }
        self.known(id, protocol, Bytes::copy_from_slice(method.as_bytes()))
    }

    fn known(&self, id: i32, protocol: u8, method: Bytes) -> Stream {
        let (sender, frames) = unbounded_channel();
        self.streams.lock().unwrap().insert(id, sender);
        Stream {
            wire: self.clone(),
            id,
            protocol,
            method,
            frames,
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.wire.streams.lock().unwrap().remove(&self.id);
    }
}

impl Stream {
    pub(crate) fn send(&self, kind: Kind, ints: &[(u16, Bytes)], strings: &Pairs, payload: Bytes) {
        let mut frame = Frame::new(kind, self.id, self.protocol, self.method.clone());
        frame.info.ints.extend_from_slice(ints);
        frame.info.strings = strings
            .iter()
            .map(|(k, v)| (Bytes::copy_from_slice(k), Bytes::copy_from_slice(v)))
            .collect();
        frame.payload = payload;
        let _ = self.wire.out.send(encoded(&frame));
    }

    pub(crate) fn data(&self, messages: &[Bytes]) {
        for message in messages {
            self.send(Kind::Data, &[], &Vec::new(), message.clone());
        }
    }

    pub(crate) fn end(&self, end: &End) {
        match end {
            End::Trailer(strings, said) => {
                let payload = said.as_ref().map_or_else(Bytes::new, |(type_id, text)| {
                    exception(&self.method, self.id, *type_id, text)
                });
                self.send(Kind::Trailer, &[], strings, payload);
            }
            End::Rst(strings, cause, text) => {
                let payload = exception(&self.method, self.id, *cause, text);
                self.send(Kind::Rst, &[], strings, payload);
            }
        }
    }

    /// The next frame; `None` when the connection is lost.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        soon("a frame", self.frames.recv()).await
    }

    /// Receives everything until the end.
    pub(crate) async fn hear(&mut self) -> Heard {
        let mut heard = Heard::default();
        heard.collect(&mut self.frames).await;
        heard
    }
}

/// A callee. It listens and serves until its runtime ends.
pub(crate) async fn callee(scripts: Scripts<Script, Heard>) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            tokio::spawn(serve(stream, scripts.clone()));
        }
    });
    address
}

async fn serve(socket: TcpStream, scripts: Scripts<Script, Heard>) {
    let _ = socket.set_nodelay(true);
    let (mut read, write) = socket.into_split();
    let wire = Connection::new(write);
    while let Some(frame) = next(&mut read).await {
        let id = frame.stream_id;
        if frame.kind == Kind::Header {
            let method = frame.method();
            let name = std::str::from_utf8(&method).unwrap();
            let (script, tell) = scripts
                .take(name)
                .unwrap_or_else(|| panic!("nobody waits for {name}"));
            let stream = wire.known(id, frame.protocol, method);
            tokio::spawn(play(stream, script, tell));
        }
        if let Some(stream) = wire.streams.lock().unwrap().get(&id) {
            let _ = stream.send(frame);
        }
    }
}

async fn play(mut stream: Stream, script: Script, tell: oneshot::Sender<Heard>) {
    let mut heard = Heard::default();
    match script {
        Script::Answer(head, messages, end) => {
            heard.collect(&mut stream.frames).await;
            stream.send(Kind::Header, &[], &head, Bytes::new());
            stream.data(&messages);
            stream.end(&end);
        }
        Script::Hold(head, opened) => {
            if let Some(head) = head {
                stream.send(Kind::Header, &[], &head, Bytes::new());
            }
            let _ = opened.lock().unwrap().take().unwrap().send(());
            heard.collect(&mut stream.frames).await;
            while heard.end.as_ref().is_some_and(|f| f.kind != Kind::Rst) {
                // It half-closed first.
                heard.end = None;
                heard.collect(&mut stream.frames).await;
            }
        }
    }
    let _ = tell.send(heard);
}

async fn write(mut socket: OwnedWriteHalf, mut wanted: UnboundedReceiver<Bytes>) {
    while let Some(bytes) = wanted.recv().await {
        if socket.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

async fn next(socket: &mut OwnedReadHalf) -> Option<Frame> {
    let mut fixed = [0; META];
    socket.read_exact(&mut fixed).await.ok()?;
    let fixed = Fixed::parse(&fixed).unwrap();
    let mut block = vec![0; fixed.block];
    socket.read_exact(&mut block).await.ok()?;
    let mut payload = vec![0; fixed.payload];
    socket.read_exact(&mut payload).await.ok()?;
    Some(frames::frame(&fixed, block, payload))
}
