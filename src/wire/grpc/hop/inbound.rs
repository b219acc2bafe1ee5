//! The receiving side of the control stream: a connection from another ripcord.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use tokio::task::spawn_local;

use super::{CancelDetail, MAX_DETAIL, answer};
use crate::net::held::Held;
use crate::net::http2::{Control, RecvBody, Respond};
use crate::stream::{Message, MessageBatch, PREFIX};
use crate::wire::grpc::receive::{Got, Receiver};
use crate::wire::grpc::status::Code;

/// The details that the callers of one connection sent of their cancels.
#[derive(Debug)]
pub(in crate::wire::grpc) struct CancelDetails {
    control: Control,
    /// Open streams of the connection, without the control stream.
    streams: Cell<usize>,
    inner: RefCell<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Whether a control stream is being served.
    serving: bool,
    /// The number of the control stream, among those of the connection.
    serial: u64,
    /// Its messages, until the peer ends it.
    input: Option<Receiver>,
    /// The task that waits for messages.
    task: Option<Waker>,
    /// The open streams that have a name, each with the detail that came before its reset was seen.
    details: HashMap<u64, Option<ReceivedDetail>>,
    /// Bytes of all waiting details, as they were received. Their window capacity is withheld, so
    /// that they are charged to the connection and to the process.
    bytes: usize,
    /// The most bytes of waiting details.
    limit: usize,
}

#[derive(Debug)]
struct ReceivedDetail {
    detail: CancelDetail,
    /// The number of the control stream by which it came.
    serial: u64,
    /// Its bytes as they were received.
    bytes: usize,
}

impl CancelDetails {
    pub(in crate::wire::grpc) fn new(control: Control) -> Rc<Self> {
        Rc::new(Self {
            control,
            streams: Cell::new(0),
            inner: RefCell::default(),
        })
    }

    /// A stream was opened, with its name if another ripcord gave it one.
    pub(in crate::wire::grpc) fn enter(&self, stream: Option<u64>) {
        self.streams.set(self.streams.get() + 1);
        if let Some(stream) = stream {
            self.inner.borrow_mut().details.entry(stream).or_default();
        }
    }

    /// That stream is over.
    pub(in crate::wire::grpc) fn leave(&self, stream: Option<u64>) {
        self.streams.set(self.streams.get() - 1);
        if let Some(stream) = stream {
            self.inner.borrow_mut().remove(stream);
        }
        if self.is_done()
            && let Some(task) = self.inner.borrow_mut().task.take()
        {
            task.wake();
        }
    }

    /// Serves the control stream until the peer ends it, or until a draining connection has no
    /// other stream.
    pub(in crate::wire::grpc) fn serve(
        self: &Rc<Self>,
        body: RecvBody,
        mut respond: Respond,
        held: &Rc<Held>,
        stream_window: u32,
    ) {
        let inner = &mut *self.inner.borrow_mut();
        if std::mem::replace(&mut inner.serving, true) {
            let _ = respond.send_response(answer(Code::ResourceExhausted), true);
            return;
        }
        inner.serial += 1;
        inner.input = Some(Receiver::new(
            body,
            held.share(),
            MAX_DETAIL,
            stream_window,
            false,
        ));
        inner.limit = stream_window as usize;
        let details = Rc::clone(self);
        spawn_local(async move {
            poll_fn(|cx| details.poll(cx)).await;
            let _ = respond.send_response(answer(Code::Ok), true);
            let inner = &mut *details.inner.borrow_mut();
            (inner.serving, inner.input) = (false, None);
        });
    }

    /// The detail of a stream that was reset. The reset may have been read before its detail, so
    /// everything received is looked at.
    pub(in crate::wire::grpc) fn take(&self, stream: u64) -> Option<CancelDetail> {
        let inner = &mut *self.inner.borrow_mut();
        if let Some(None) = inner.details.get(&stream) {
            let task = inner.task.clone();
            let mut cx = Context::from_waker(task.as_ref().unwrap_or(Waker::noop()));
            // The control stream's task finds its end for itself.
            let _ = inner.receive(&mut cx);
        }
        inner.remove(stream)
    }

    /// How many details wait, and their bytes.
    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, usize) {
        let inner = self.inner.borrow();
        (inner.details.values().flatten().count(), inner.bytes)
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
        // When the connection drains while streams are open, the last of them wakes this task.
        let _ = self.control.poll_draining(cx);
        Poll::Pending
    }
}

impl Inner {
    /// Reads all that is there. Ready when no more will come.
    fn receive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(input) = &mut self.input else {
                return Poll::Ready(());
            };
            match input.poll(cx) {
                Poll::Ready(Got::Messages(run)) => self.read(run),
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

    fn read(&mut self, mut run: MessageBatch) {
        let (mut message, mut unused) = (BytesMut::new(), 0);
        while let Some(Message { len, .. }) = run.pop_message_into(&mut message) {
            let bytes = PREFIX + len;
            let detail = CancelDetail::decode(message.split().freeze());
            // Kept if the stream is open, for the first detail only, and if there is room.
            let place = detail
                .as_ref()
                .and_then(|n| self.details.get_mut(&n.stream));
            match (place, detail) {
                (Some(place @ None), Some(detail)) if self.bytes + bytes <= self.limit => {
                    let serial = self.serial;
                    *place = Some(ReceivedDetail {
                        detail,
                        serial,
                        bytes,
                    });
                    self.bytes += bytes;
                }
                _ => unused += bytes,
            }
        }
        if let Some(input) = &mut self.input {
            input.release(unused);
        }
    }

    fn remove(&mut self, stream: u64) -> Option<CancelDetail> {
        let ReceivedDetail {
            detail,
            serial,
            bytes,
        } = self.details.remove(&stream)??;
        self.bytes -= bytes;
        // What an ended control stream held was given back with it.
        if let Some(input) = &mut self.input
            && serial == self.serial
        {
            input.release(bytes);
        }
        Some(detail)
    }
}
