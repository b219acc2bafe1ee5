//! A connection of the memory wire and the halves of its streams.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::Sleep;

use super::Frame;
use crate::net::bounds::Bounds;
use crate::net::connection::ConnectionEnd;
use crate::stream::{
    Boundary, Cancel, CancelSignal, Cause, Class, End, Half, Hops, Inbound, Initiator, LocalEnd,
    LocalEndKind, MessageBatch, NativeCode, Outbound, Path, Reason, Received, RequestHead,
    ResponseHead, code,
};

/// What the streams of a connection share.
pub(super) struct Connection {
    /// `None` when the connection is over.
    sender: RefCell<Option<UnboundedSender<Frame>>>,
    pub(super) slots: RefCell<HashMap<u64, Rc<Slot>>>,
    /// The peer's role.
    peer: Initiator,
    bounds: Bounds,
    pub(super) retired: Cell<bool>,
}

/// Ends the connection when it is dropped.
struct Cut<'a>(&'a Connection);

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        self.0.retired.set(true);
        self.0.sender.take();
    }
}

impl Connection {
    pub(super) fn new(
        sender: UnboundedSender<Frame>,
        bounds: &Bounds,
        peer: Initiator,
    ) -> Rc<Self> {
        Rc::new(Self {
            sender: RefCell::new(Some(sender)),
            slots: RefCell::default(),
            peer,
            bounds: bounds.clone(),
            retired: Cell::new(false),
        })
    }

    pub(super) fn send(&self, frame: Frame) -> bool {
        let sender = self.sender.borrow();
        sender.as_ref().is_some_and(|s| s.send(frame).is_ok())
    }

    pub(super) fn retire(&self) {
        self.retired.set(true);
        self.close_if_idle();
    }

    fn close_if_idle(&self) {
        if self.retired.get() && self.slots.borrow().is_empty() {
            // The peer's side ends, and this one with it.
            self.sender.take();
        }
    }

    pub(super) fn stream(self: &Rc<Self>, id: u64) -> Stream {
        let slot = Rc::new(Slot {
            inner: RefCell::new(Inner {
                room: self.bounds.stream_buffer,
                ..Inner::default()
            }),
        });
        self.slots.borrow_mut().insert(id, Rc::clone(&slot));
        Stream {
            connection: Rc::clone(self),
            id,
            slot,
            slow: None,
        }
    }

    /// Carries the peer's frames to the streams until it is gone.
    pub(super) async fn run(
        self: Rc<Self>,
        mut receiver: UnboundedReceiver<Frame>,
        mut accept: impl FnMut(RequestHead, ServerStream),
    ) -> ConnectionEnd {
        // When this future is dropped, so is the connection. Its streams can then send nothing
        // more.
        let _cut = Cut(&self);
        while let Some(frame) = receiver.recv().await {
            match frame {
                Frame::Open(id, mut head) => {
                    let origin = head.caller.as_deref().unwrap_or_default();
                    head.hops.get_or_insert_with(|| Hops::from_origin(origin));
                    let stream = ServerStream::new(&self, id, &head);
                    accept(*head, stream);
                }
                Frame::Messages(id, bytes) => self.with(id, |inner| self.take(inner, bytes)),
                Frame::Taken(id, bytes) => self.with(id, |inner| {
                    inner.room += bytes;
                    inner.send_waker.take()
                }),
                Frame::HalfClose(id) => {
                    self.with(id, |inner| inner.push(Received::HalfClose));
                }
                Frame::End(id, end) => self.with(id, |inner| inner.end(*end)),
                Frame::Cancel(id, cancel) => self.with(id, |inner| {
                    // It overtakes what waits.
                    inner.incoming.clear();
                    inner.end(End::canceled(Initiator::Caller, *cancel))
                }),
            }
        }
        self.retired.set(true);
        self.sender.take();
        let lost: Vec<_> = self.slots.borrow().keys().copied().collect();
        for id in lost {
            self.with(id, |inner| inner.end(self.lost()));
        }
        ConnectionEnd::Closed
    }

    fn with(&self, id: u64, what: impl FnOnce(&mut Inner) -> Option<Waker>) {
        let slot = self.slots.borrow().get(&id).cloned();
        if let Some(waker) = slot.and_then(|slot| what(&mut slot.inner.borrow_mut())) {
            waker.wake();
        }
    }

    /// Takes a message, and checks it as any wire checks its own.
    fn take(&self, inner: &mut Inner, mut bytes: Bytes) -> Option<Waker> {
        let found = inner.boundary.advance(&bytes);
        if found.bad_flag.is_some() {
            let kind = match self.peer {
                Initiator::Caller => LocalEndKind::BadRequest,
                Initiator::Callee | Initiator::Hop => LocalEndKind::Undecodable,
            };
            return inner.end(End::hop(kind, "a message began with a flag that is none"));
        }
        if found.longest > self.bounds.max_message {
            let text = format!("a message of {} bytes is over the limit", found.longest);
            return inner.end(End::hop(LocalEndKind::MessageTooLarge, text));
        }
        inner.held += bytes.len();
        let Some(end) = found.whole else {
            inner.partial.push_bytes(bytes);
            return None;
        };
        let mut run = std::mem::take(&mut inner.partial);
        run.push_bytes(bytes.split_to(end));
        run.note_messages(found.messages);
        inner.partial.push_bytes(bytes);
        inner.push(Received::Messages(run))
    }

    fn lost(&self) -> End {
        match self.peer {
            Initiator::Caller => End::canceled(
                Initiator::Caller,
                Cancel {
                    cause: Cause {
                        code: code::CONNECTION_CLOSED,
                        text: "the caller is gone".to_owned(),
                    },
                    path: Path::new(),
                    class: Class::ByCaller,
                    signal: CancelSignal::CONNECTION_LOST,
                    status: None,
                },
            ),
            Initiator::Callee | Initiator::Hop => {
                End::hop(LocalEndKind::BackendLost, "the callee is gone")
            }
        }
    }
}

pub(super) struct Slot {
    inner: RefCell<Inner>,
}

#[derive(Default)]
pub(super) struct Inner {
    incoming: VecDeque<Received>,
    boundary: Boundary,
    /// The beginning of a message.
    partial: MessageBatch,
    /// Bytes received and not released.
    held: usize,
    ended: bool,
    recv_waker: Option<Waker>,
    /// Bytes that may still be sent.
    room: usize,
    send_waker: Option<Waker>,
}

impl Inner {
    fn push(&mut self, received: Received) -> Option<Waker> {
        if !self.ended {
            self.incoming.push_back(received);
        }
        self.recv_waker.take()
    }

    fn end(&mut self, end: End) -> Option<Waker> {
        let waker = self.push(Received::End(end));
        self.ended = true;
        waker
    }
}

/// One half, in either role.
pub(super) struct Stream {
    connection: Rc<Connection>,
    id: u64,
    slot: Rc<Slot>,
    /// Since when the peer's last messages wait.
    slow: Option<Pin<Box<Sleep>>>,
}

impl Stream {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        let mut inner = self.slot.inner.borrow_mut();
        if let Some(received) = inner.incoming.pop_front() {
            return Poll::Ready(received);
        }
        inner.recv_waker = Some(cx.waker().clone());
        let full = inner.held >= self.connection.bounds.stream_buffer && !inner.ended;
        drop(inner);
        match full {
            false => {
                self.slow = None;
                Poll::Pending
            }
            true => self.poll_slow(cx).map(|()| {
                let text = "what the peer sent is not taken";
                Received::End(End::hop(LocalEndKind::SlowReceiver, text))
            }),
        }
    }

    /// Ready when `slow_receiver_timeout` has passed since the first call.
    fn poll_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let grace = self.connection.bounds.slow_receiver_timeout;
        let timer = || Box::pin(tokio::time::sleep(grace));
        self.slow.get_or_insert_with(timer).as_mut().poll(cx)
    }

    fn poll_send(&mut self, cx: &Context<'_>, run: &mut MessageBatch) -> Poll<()> {
        let mut inner = self.slot.inner.borrow_mut();
        while let Some(piece) = run.take_piece(inner.room) {
            inner.room -= piece.len();
            if !self.connection.send(Frame::Messages(self.id, piece)) {
                run.clear();
            }
        }
        if run.is_empty() {
            return Poll::Ready(());
        }
        inner.send_waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn release(&mut self, bytes: usize) {
        self.slot.inner.borrow_mut().held -= bytes;
        self.connection.send(Frame::Taken(self.id, bytes));
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.slots.borrow_mut().remove(&self.id);
        self.connection.close_if_idle();
    }
}

/// One stream, seen from its caller's side.
pub struct ServerStream {
    stream: Stream,
    refusal: Option<End>,
    panics: bool,
    over: bool,
}

/// A method at which a hop's task panics, in the inbound half. Tests use it to see what the peers
/// receive.
pub const PANICS_INBOUND: &str = "PanicsInbound";

/// The same in the outbound half.
pub const PANICS_OUTBOUND: &str = "PanicsOutbound";

impl ServerStream {
    fn new(connection: &Rc<Connection>, id: u64, head: &RequestHead) -> Self {
        let full = connection.slots.borrow().len() >= connection.bounds.max_streams;
        let refusal = if connection.retired.get() {
            Some(End::hop(LocalEndKind::Unreachable, "draining"))
        } else if full {
            Some(End::hop(LocalEndKind::OverLimit, "too many streams"))
        } else {
            None
        };
        Self {
            stream: connection.stream(id),
            refusal,
            panics: head.method == PANICS_INBOUND,
            over: false,
        }
    }
}

impl Half for ServerStream {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        assert!(!self.panics, "as asked");
        self.stream.poll_recv(cx)
    }

    fn release(&mut self, bytes: usize) {
        self.stream.release(bytes);
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, run: &mut MessageBatch) -> Poll<()> {
        self.stream.poll_send(cx, run)
    }
}

impl Inbound for ServerStream {
    fn refusal(&mut self) -> Option<End> {
        self.refusal.take()
    }

    fn send_head(&mut self, _head: ResponseHead) {
        debug_assert!(false, "the wire has no heads");
    }

    fn finish(&mut self, end: &End, node: &str) -> Option<NativeCode> {
        if !std::mem::replace(&mut self.over, true) {
            let end = Box::new(self.told(end, node));
            self.stream.connection.send(Frame::End(self.stream.id, end));
        }
        None
    }
}

impl ServerStream {
    /// What a caller of this wire receives. An end in mid stream is a cancel, as on every wire.
    fn told(&self, end: &End, node: &str) -> End {
        let mut told = end.clone();
        if let Reason::Hop(hop) = &end.reason
            && !hop.kind.before_backend()
        {
            told.reason = Reason::Canceled(hop.to_caller(node));
        }
        told.by = Initiator::Callee;
        told
    }
}

impl Drop for ServerStream {
    fn drop(&mut self) {
        if !self.over {
            let node = Arc::clone(&self.stream.connection.bounds.node);
            self.finish(&End::hop(LocalEndKind::Panic, "the proxy failed"), &node);
        }
    }
}

/// One stream, seen from its callee's side.
pub struct ClientStream {
    pub(super) stream: Stream,
    pub(super) panics: bool,
}

impl ClientStream {
    /// Which connection carries it.
    #[must_use]
    pub fn connection(&self) -> usize {
        Rc::as_ptr(&self.stream.connection) as usize
    }
}

impl Half for ClientStream {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        assert!(!self.panics, "as asked");
        self.stream.poll_recv(cx)
    }

    fn release(&mut self, bytes: usize) {
        self.stream.release(bytes);
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, run: &mut MessageBatch) -> Poll<()> {
        self.stream.poll_send(cx, run)
    }
}

impl Outbound for ClientStream {
    fn poll_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_slow(cx)
    }

    fn half_close(&mut self) {
        self.stream
            .connection
            .send(Frame::HalfClose(self.stream.id));
    }

    fn cancel(&mut self, cancel: &Cancel) {
        self.stream.slot.inner.borrow_mut().ended = true;
        let cancel = Box::new(cancel.clone());
        self.stream
            .connection
            .send(Frame::Cancel(self.stream.id, cancel));
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        let ended = self.stream.slot.inner.borrow().ended;
        if !ended {
            let hop = LocalEnd::new(LocalEndKind::Panic, "the stream's task is gone".to_owned());
            let node = Arc::clone(&self.stream.connection.bounds.node);
            if let Some(cancel) = hop.to_callee(&node) {
                self.cancel(&cancel);
            }
        }
    }
}
