//! The receiving side of the control stream: a connection from another ripcord.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use h2::server::SendResponse;
use tokio::task::spawn_local;

use super::{MAX_NOTE, Note, answer};
use crate::grpc::receive::{Got, Receiver};
use crate::grpc::status::Code;
use crate::net::held::Held;
use crate::net::http2::Control;
use crate::stream::Run;

/// The most notes that wait for their stream's reset, and the most bytes of them: about what one
/// flush of a peer can hold. The oldest give way, first of all those of streams that were over.
const MAX_NOTES: usize = 4096;
const MAX_BYTES: usize = 512 * 1024;

/// What the callers of one connection said of their cancels.
#[derive(Debug)]
pub(in crate::grpc) struct Notes {
    control: Control,
    /// Streams of the connection, the control stream aside.
    streams: Cell<usize>,
    inner: RefCell<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// A control stream is being served.
    serving: bool,
    /// Its messages, until the peer ends it.
    input: Option<Receiver>,
    /// The task that waits for it.
    task: Option<Waker>,
    notes: HashMap<u64, Note>,
    /// Their streams in the order in which they came, and some whose note was taken.
    order: VecDeque<u64>,
    bytes: usize,
}

impl Notes {
    pub(in crate::grpc) fn new(control: Control) -> Rc<Self> {
        Rc::new(Self {
            control,
            streams: Cell::new(0),
            inner: RefCell::default(),
        })
    }

    /// A stream was opened.
    pub(in crate::grpc) fn enter(&self) {
        self.streams.set(self.streams.get() + 1);
    }

    /// A stream is over.
    pub(in crate::grpc) fn leave(&self) {
        self.streams.set(self.streams.get() - 1);
        if self.is_done()
            && let Some(task) = self.inner.borrow_mut().task.take()
        {
            task.wake();
        }
    }

    /// Serves the control stream until the peer ends it, or until a draining connection has no
    /// other stream.
    pub(in crate::grpc) fn serve(
        self: &Rc<Self>,
        body: RecvStream,
        mut respond: SendResponse<Bytes>,
        held: &Rc<Held>,
        stream_window: u32,
    ) {
        let inner = &mut *self.inner.borrow_mut();
        if std::mem::replace(&mut inner.serving, true) {
            let _ = respond.send_response(answer(Code::ResourceExhausted), true);
            return;
        }
        inner.input = Some(Receiver::new(body, held.share(), MAX_NOTE, stream_window));
        let notes = Rc::clone(self);
        spawn_local(async move {
            poll_fn(|cx| notes.poll(cx)).await;
            let _ = respond.send_response(answer(Code::Ok), true);
            let inner = &mut *notes.inner.borrow_mut();
            (inner.serving, inner.input) = (false, None);
        });
    }

    /// What was said of a stream that was reset. The reset may stand before its note: all that was
    /// received is looked at.
    pub(in crate::grpc) fn take(&self, stream: u64) -> Option<Note> {
        let inner = &mut *self.inner.borrow_mut();
        if !inner.notes.contains_key(&stream) {
            let task = inner.task.clone();
            let mut cx = Context::from_waker(task.as_ref().unwrap_or(Waker::noop()));
            // The control stream's task finds its end for itself.
            let _ = inner.receive(&mut cx);
        }
        let note = inner.notes.remove(&stream)?;
        inner.bytes -= note.size();
        Some(note)
    }

    /// How many notes wait, and bytes of them.
    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, usize) {
        let inner = self.inner.borrow();
        assert!(inner.order.len() <= MAX_NOTES);
        (inner.notes.len(), inner.bytes)
    }

    fn is_done(&self) -> bool {
        self.streams.get() == 0 && self.control.is_draining()
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let inner = &mut *self.inner.borrow_mut();
        if inner.receive(cx).is_ready() || self.is_done() {
            return Poll::Ready(());
        }
        inner.task = Some(cx.waker().clone());
        // When it drains and streams live, the last of them wakes this task.
        let _ = self.control.poll_draining(cx);
        Poll::Pending
    }
}

impl Inner {
    /// Reads all that is there; ready when there will be no more.
    fn receive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(input) = &mut self.input else {
                return Poll::Ready(());
            };
            match input.poll(cx) {
                Poll::Ready(Got::Messages(run)) => {
                    input.release(run.len());
                    self.read(run);
                }
                Poll::Ready(
                    Got::Eof | Got::TooLarge(_) | Got::Slow | Got::Broken(_) | Got::Failed(_),
                ) => {
                    self.input = None;
                    if let Some(task) = self.task.take() {
                        task.wake();
                    }
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn read(&mut self, mut run: Run) {
        let mut message = BytesMut::new();
        while run.pop_message_into(&mut message).is_some() {
            if let Some(note) = Note::decode(message.split().freeze()) {
                self.keep(note);
            }
        }
    }

    fn keep(&mut self, note: Note) {
        let stream = note.stream;
        self.bytes += note.size();
        if let Some(before) = self.notes.insert(stream, note) {
            self.bytes -= before.size();
        }
        self.order.push_back(stream);
        while self.order.len() > MAX_NOTES || self.bytes > MAX_BYTES {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            if let Some(gone) = self.notes.remove(&oldest) {
                self.bytes -= gone.size();
            }
        }
    }
}
