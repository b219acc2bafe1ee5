//! The client role: streams that this hop opens on a TTHeader callee, as outbound halves.
//!
//! Here is what a client does with each frame, and the stream ids of its connection. The connection
//! itself is in `conn`. The sources are Kitex `ttstream/transport_client.go` and `stream_client.go`
//! (v0.16.3). One thing differs: a fault ends its stream, not the connection.

use std::cell::Cell;
use std::future::Future;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::stream::{
    Cancel, Forget, Half, Initiator, LocalEndKind, MessageBatch, Outbound, Received, RequestHead,
    ResponseHead,
};
use crate::wire::ttheader::conn::config::{ConnConfig, count};
use crate::wire::ttheader::conn::form::PeerForm;
use crate::wire::ttheader::conn::shared::{SharedConnection, dropped};
use crate::wire::ttheader::conn::{Conn, Dispatch, StreamSlot};
use crate::wire::ttheader::end::{self, CancelForm};
use crate::wire::ttheader::frame::{Frame, Kind};
use crate::wire::ttheader::header::{EncodeError, Info};
use crate::wire::ttheader::metadata;
use crate::wire::ttheader::state::{FrameAction, Role, State};

/// Why a stream cannot be opened here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    /// The connection is lost or closing. Another one may work.
    #[error("the connection is closed")]
    Closed,
    /// Every stream id is in use.
    #[error("no stream id is free")]
    NoId,
    /// The request's head does not fit TTHeader. No other connection will help.
    #[error("the request's head cannot be written: {0}")]
    Head(#[from] EncodeError),
}

/// A connection to a callee. When it is dropped, the connection ends as soon as it is idle.
pub struct Client {
    shared: Rc<SharedConnection>,
    last_id: Cell<i32>,
}

impl Client {
    /// A client on `io`, and the future that drives it, which ends with the connection.
    pub fn new<IO>(io: IO, config: Rc<ConnConfig>) -> (Self, impl Future<Output = ()> + use<IO>)
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        Self::with(io, config, PeerForm::Always(CancelForm::Rst))
    }

    /// The same, for a callee that takes cancels in that form.
    pub(crate) fn with<IO>(
        io: IO,
        config: Rc<ConnConfig>,
        peer: PeerForm,
    ) -> (Self, impl Future<Output = ()> + use<IO>)
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let shared = SharedConnection::new(config, Role::Client, peer);
        let driver = Conn::new(io, Rc::clone(&shared), Caller);
        let client = Self {
            shared,
            last_id: Cell::new(0),
        };
        (client, driver)
    }

    /// Opens a stream: its Header is queued.
    ///
    /// # Errors
    /// The stream cannot be opened. Nothing was sent.
    pub fn open(&self, head: &RequestHead) -> Result<ClientStream, OpenError> {
        let shared = &self.shared;
        if self.is_closed() {
            return Err(OpenError::Closed);
        }
        let id = self.next_id().ok_or(OpenError::NoId)?;
        let (info, protocol) = metadata::request_info(head);
        let template = shared.templates.get(id, protocol, &head.method)?;
        let frame = Frame {
            kind: Kind::Header,
            stream_id: id,
            protocol,
            info,
            payload: Bytes::new(),
        };
        shared.out.borrow_mut().head(&frame)?;
        let state = State::new(Role::Client);
        let method = head.method.as_str().into();
        let slot = Rc::new(StreamSlot::new(id, protocol, method, template, state));
        shared.add(&slot);
        shared.notify();
        Ok(ClientStream {
            shared: Rc::clone(shared),
            slot,
        })
    }

    /// Whether no new stream can be opened.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.closing.get()
    }

    /// Which connection it is, while it lives: its streams know the same number.
    #[must_use]
    pub fn id(&self) -> usize {
        Rc::as_ptr(&self.shared) as usize
    }

    /// The number of open streams on the connection.
    #[must_use]
    pub fn active(&self) -> usize {
        self.shared.slots.borrow().len()
    }

    /// Opens no new streams, and closes the connection once none is open.
    pub fn close_when_idle(&self) {
        self.shared.closing.set(true);
        self.shared.notify();
    }

    #[cfg(test)]
    pub(crate) fn last_id_for_tests(&self, id: i32) {
        self.last_id.set(id);
    }

    /// Ids are sequential, so that an id is used again as late as possible. 0 is the connection's.
    fn next_id(&self) -> Option<i32> {
        let slots = self.shared.slots.borrow();
        for _ in 0..=slots.len() + 1 {
            let id = self.last_id.get().wrapping_add(1);
            self.last_id.set(id);
            if id != 0 && !slots.contains_key(&id) {
                return Some(id);
            }
        }
        None
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.close_when_idle();
    }
}

struct Caller;

impl Dispatch for Caller {
    fn frame(&mut self, shared: &Rc<SharedConnection>, frame: Frame) {
        let counters = &shared.config.counters;
        if frame.kind == Kind::Trailer {
            shared.look_at(&frame);
        }
        let Some(slot) = shared.find(frame.stream_id) else {
            count(&counters.late_frames);
            return;
        };
        match frame.kind {
            Kind::Meta => {}
            Kind::Header => header(shared, &slot, &frame.info),
            Kind::Trailer => trailer(shared, &slot, &frame),
            Kind::Rst => {
                let end = end::from_rst(Initiator::Callee, &frame.info, &frame.payload);
                shared.peer_end(&slot, end, false);
            }
            // The decoder reports Data in another way.
            Kind::Data => count(&counters.bad_frames),
        }
    }

    fn unreadable(&mut self, shared: &Rc<SharedConnection>, stream_id: i32, text: &str) {
        match shared.find(stream_id) {
            Some(slot) => {
                shared.reset_local(&slot, LocalEndKind::Undecodable, text);
            }
            None => count(&shared.config.counters.late_frames),
        }
    }
}

fn header(shared: &Rc<SharedConnection>, slot: &Rc<StreamSlot>, info: &Info) {
    let mut inner = slot.inner.borrow_mut();
    match inner.state.recv_head() {
        FrameAction::Accept => {
            let mut head = metadata::response_head(info);
            head.explicit = true;
            inner.head = Some(Box::new(head));
            inner.wake_recv();
        }
        FrameAction::Late => count(&shared.config.counters.late_frames),
        FrameAction::Violation(text) => {
            count(&shared.config.counters.bad_frames);
            drop(inner);
            shared.second_header(slot, LocalEndKind::Undecodable, text);
        }
    }
}

fn trailer(shared: &Rc<SharedConnection>, slot: &Rc<StreamSlot>, frame: &Frame) {
    let (headless, owes) = {
        let state = &mut slot.inner.borrow_mut().state;
        let owes = state.owes_half_close();
        (state.recv_head() == FrameAction::Accept, owes)
    };
    if headless {
        // Kitex callees sent no Header up to late 2025.
        slot.inner.borrow_mut().head = Some(Box::new(ResponseHead::default()));
    }
    if owes {
        // As Kitex callers do: some callees keep the stream until they receive it.
        shared.write(shared.frame(slot, Kind::Trailer), false);
    }
    let end = end::from_trailer(&frame.info, &frame.payload);
    shared.peer_end(slot, end, false);
}

/// One stream opened on a TTHeader callee. Dropping it before its end cancels it.
pub struct ClientStream {
    shared: Rc<SharedConnection>,
    slot: Rc<StreamSlot>,
}

impl ClientStream {
    /// Its id on its connection.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.slot.id
    }

    /// The connection that carries it: its [`Client::id`].
    #[must_use]
    pub fn connection(&self) -> usize {
        Rc::as_ptr(&self.shared) as usize
    }
}

impl Half for ClientStream {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        self.shared.poll_recv(&self.slot, cx)
    }

    fn release(&mut self, bytes: usize) {
        self.shared.release(&self.slot, bytes);
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, run: &mut MessageBatch) -> Poll<()> {
        self.shared.poll_send(&self.slot, cx, run)
    }
}

impl Outbound for ClientStream {
    /// The wire has no refusal. A callee did not look at a stream of which nothing was written; once
    /// something was, it may have.
    fn refusable(&self) -> bool {
        self.shared.out.borrow().holds_heads()
    }

    fn forget_written(&self, kept: Weak<dyn Forget>) {
        self.shared.out.borrow_mut().forget_written(kept);
    }

    fn refused(&self) -> bool {
        self.slot.inner.borrow().unwritten
    }

    /// The connection itself ends such streams while they are open. Afterwards they hold nothing of
    /// it.
    fn poll_slow(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn half_close(&mut self) {
        if self.slot.inner.borrow_mut().state.send_half_close() {
            // This is no end: a callee that is slow to read the request has no grace to keep.
            let frame = self.shared.frame(&self.slot, Kind::Trailer);
            self.shared.write(frame, false);
        }
    }

    fn cancel(&mut self, cancel: &Cancel) {
        self.shared.cancel(&self.slot, cancel);
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        if !self.slot.inner.borrow().state.is_closed()
            && let Some(cancel) = dropped().to_callee(&self.shared.config.node)
        {
            self.shared.cancel(&self.slot, &cancel);
        }
        self.shared.half_dropped(&self.slot);
    }
}
