//! Connections in both roles against a peer that is played frame by frame.

mod bounds;
mod captures;
mod client;
mod form;
mod server;
mod storm;

use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::{LocalSet, spawn_local};

use crate::net::budget::Budget;
use crate::stream::{End, Half, LocalEndKind, MessageBatch, Reason, Received, RequestHead};
use crate::wire::ttheader::client::Client;
use crate::wire::ttheader::conn::form::PeerForm;
use crate::wire::ttheader::end::CancelForm;
use crate::wire::ttheader::exception;
use crate::wire::ttheader::frame::{Decoder, Event, Frame, FrameLimits, Kind};
use crate::wire::ttheader::server::{ServerHandle, ServerStream, serve, serve_peer};
use crate::wire::ttheader::{ConnConfig, Counters};

/// The peer: writes any frames, reads any frames.
struct Peer {
    io: DuplexStream,
    decoder: Decoder,
}

impl Peer {
    fn new(io: DuplexStream) -> Self {
        let limits = FrameLimits {
            header: 1 << 18,
            message: 1 << 26,
            control: 1 << 20,
        };
        Self {
            io,
            decoder: Decoder::new(limits, BytesMut::new()),
        }
    }

    async fn send(&mut self, frames: &[Frame]) {
        let mut out = BytesMut::new();
        for frame in frames {
            frame.encode(&mut out).unwrap();
        }
        self.io.write_all(&out).await.unwrap();
    }

    /// The next frame, `None` at the end of the connection.
    async fn recv(&mut self) -> Option<Frame> {
        loop {
            match self.decoder.next_event().unwrap() {
                Some(Event::Frame(frame)) => return Some(frame),
                Some(Event::Data { stream_id, .. }) => {
                    let mut run = MessageBatch::new();
                    self.decoder.take_data(&mut run);
                    return Some(data(stream_id, &all(&mut run)[0]));
                }
                Some(other) => panic!("{other:?}"),
                None => {}
            }
            if self.io.read_buf(self.decoder.space()).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    async fn expect(&mut self, kind: Kind, id: i32) -> Frame {
        let frame = self.recv().await.expect("a frame");
        assert_eq!((frame.kind, frame.stream_id), (kind, id), "{frame:?}");
        frame
    }

    /// Whether nothing comes while everything else is idle.
    async fn is_silent(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(1), self.recv())
            .await
            .is_err()
    }
}

fn frame(kind: Kind, id: i32) -> Frame {
    let mut frame = Frame::new(kind, id, 0x10, Bytes::from_static(b"Chat"));
    if kind == Kind::Header {
        frame
            .info
            .strings
            .push(("isn".into(), "ChatService".into()));
    }
    frame
}

fn data(id: i32, payload: &[u8]) -> Frame {
    let mut frame = frame(Kind::Data, id);
    frame.payload = Bytes::copy_from_slice(payload);
    frame
}

fn with_exception(kind: Kind, id: i32, type_id: i32, text: &str) -> Frame {
    let mut frame = frame(kind, id);
    frame.payload = exception::encode("Chat", id, type_id, text);
    frame
}

fn type_of(frame: &Frame) -> i32 {
    exception::decode(&frame.payload).unwrap().exception.type_id
}

fn text_of(frame: &Frame) -> String {
    exception::decode(&frame.payload).unwrap().exception.text
}

fn all(run: &mut MessageBatch) -> Vec<Bytes> {
    let mut messages = Vec::new();
    loop {
        let mut one = BytesMut::new();
        if run.pop_message(|p| one.extend_from_slice(&p)).is_none() {
            return messages;
        }
        messages.push(one.freeze());
    }
}

async fn recv(half: &mut impl Half) -> Received {
    poll_fn(|cx| half.poll_recv(cx)).await
}

async fn messages(half: &mut impl Half) -> MessageBatch {
    match recv(half).await {
        Received::Messages(run) => run,
        other => panic!("{other:?}"),
    }
}

async fn end(half: &mut impl Half) -> End {
    match recv(half).await {
        Received::End(end) => end,
        Received::Messages(run) => panic!("{} bytes of messages", run.len()),
        other => panic!("{other:?}"),
    }
}

fn completed() -> End {
    End::complete(crate::stream::Metadata::new())
}

fn cause(end: &End) -> i32 {
    match &end.reason {
        Reason::Canceled(cancel) => cancel.cause.code,
        other => panic!("{other:?}"),
    }
}

fn hop_kind(end: &End) -> LocalEndKind {
    match &end.reason {
        Reason::Hop(hop) => hop.kind,
        other => panic!("{other:?}"),
    }
}

async fn send(half: &mut impl Half, payloads: &[&[u8]]) {
    let mut run = MessageBatch::new();
    for payload in payloads {
        run.push_message(false, Bytes::copy_from_slice(payload));
    }
    poll_fn(|cx| half.poll_send(cx, &mut run)).await;
}

fn config() -> ConnConfig {
    ConnConfig::new("hop", Budget::new(64 << 20), Counters::new())
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

struct Server {
    peer: Peer,
    handle: ServerHandle,
    streams: UnboundedReceiver<(RequestHead, ServerStream)>,
    done: tokio::task::JoinHandle<()>,
    counters: Arc<Counters>,
    budget: Arc<Budget>,
}

impl Server {
    fn start(config: ConnConfig) -> Self {
        Self::with_pipe(config, 1 << 16)
    }

    fn with_pipe(config: ConnConfig, pipe: usize) -> Self {
        Self::with(config, pipe, PeerForm::Always(CancelForm::Rst))
    }

    fn with(config: ConnConfig, pipe: usize, form: PeerForm) -> Self {
        let (ours, theirs) = tokio::io::duplex(pipe);
        let (sender, streams) = unbounded_channel();
        let handle = ServerHandle::new();
        let counters = Arc::clone(&config.counters);
        let budget = Arc::clone(&config.budget);
        let done = spawn_local(serve_peer(
            ours,
            Rc::new(config),
            form,
            handle.clone(),
            move |head: Box<RequestHead>, stream| {
                let _ = sender.send((*head, stream));
            },
        ));
        Self {
            peer: Peer::new(theirs),
            handle,
            streams,
            done,
            counters,
            budget,
        }
    }

    async fn open(&mut self, id: i32) -> ServerStream {
        self.peer.send(&[frame(Kind::Header, id)]).await;
        self.accept().await
    }

    async fn accept(&mut self) -> ServerStream {
        self.streams.recv().await.unwrap().1
    }

    /// The caller goes away; everything must be back at zero.
    async fn finish(mut self) {
        drop(self.peer);
        self.done.await.unwrap();
        assert_eq!(self.handle.streams(), 0);
        self.streams.close();
        while self.streams.recv().await.is_some() {}
        assert_eq!(self.budget.used(), 0);
    }
}

struct ClientSide {
    peer: Peer,
    client: Client,
    done: tokio::task::JoinHandle<()>,
    counters: Arc<Counters>,
    budget: Arc<Budget>,
}

impl ClientSide {
    fn start(config: ConnConfig) -> Self {
        Self::with(config, PeerForm::Always(CancelForm::Rst))
    }

    fn with(config: ConnConfig, form: PeerForm) -> Self {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let counters = Arc::clone(&config.counters);
        let budget = Arc::clone(&config.budget);
        let (client, driver) = Client::with(ours, Rc::new(config), form);
        Self {
            peer: Peer::new(theirs),
            client,
            done: spawn_local(driver),
            counters,
            budget,
        }
    }

    /// The callee goes away; everything must be back at zero.
    async fn finish(self) {
        drop(self.peer);
        self.done.await.unwrap();
        assert!(self.client.is_closed());
        assert_eq!(self.client.active(), 0);
        assert_eq!(self.budget.used(), 0);
    }
}

fn request() -> RequestHead {
    RequestHead {
        service: "ChatService".into(),
        method: "Chat".into(),
        payload: crate::stream::Payload::Thrift,
        ..RequestHead::default()
    }
}

async fn local<F: Future>(test: F) -> F::Output {
    LocalSet::new().run_until(test).await
}
