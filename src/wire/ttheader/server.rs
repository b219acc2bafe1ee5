//! The server role: streams that a TTHeader caller opens, as inbound halves.
//!
//! Here is what a server does with each frame. The connection itself is in `conn`. The sources are
//! Kitex `ttstream/transport_server.go` and `stream_server.go` (v0.16.3). Two things differ: a
//! fault ends its stream, not the connection; and a stream that cannot be served is answered, where
//! Kitex stays silent.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::stream::{
    End, Half, Hops, Inbound, Initiator, LocalEndKind, MessageBatch, NativeCode, Received,
    RequestHead, ResponseHead,
};
use crate::wire::ttheader::conn::config::{ConnConfig, count};
use crate::wire::ttheader::conn::form::PeerForm;
use crate::wire::ttheader::conn::shared::{SharedConnection, dropped};
use crate::wire::ttheader::conn::{Conn, Dispatch, StreamSlot};
use crate::wire::ttheader::end::{self, CancelForm};
use crate::wire::ttheader::frame::{Frame, Kind};
use crate::wire::ttheader::header::PROTOCOL_THRIFT_STRUCT;
use crate::wire::ttheader::metadata;
use crate::wire::ttheader::state::{FrameAction, Role, State};

/// The longest method name, in bytes: every frame of a stream repeats it, and each stream keeps it.
const MAX_METHOD: usize = 1024;

/// Drains a connection from outside of its task.
#[derive(Clone, Default)]
pub struct ServerHandle(Rc<RefCell<Link>>);

#[derive(Default)]
struct Link {
    shared: Option<Rc<SharedConnection>>,
    draining: bool,
}

impl ServerHandle {
    /// A handle for one connection, to be given to [`serve`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses new streams with 12006. The connection is closed once no stream is open and all ends
    /// are written.
    pub fn drain(&self) {
        let mut link = self.0.borrow_mut();
        link.draining = true;
        if let Some(shared) = &link.shared {
            shared.closing.set(true);
            shared.notify();
        }
    }

    /// The number of open streams on the connection.
    #[must_use]
    pub fn streams(&self) -> usize {
        let link = self.0.borrow();
        link.shared.as_ref().map_or(0, |s| s.slots.borrow().len())
    }
}

/// Serves a connection until it is over. `on_stream` receives each stream that the caller opens,
/// and spawns its task.
pub async fn serve<IO>(
    io: IO,
    config: Rc<ConnConfig>,
    handle: ServerHandle,
    on_stream: impl FnMut(Box<RequestHead>, ServerStream) + Unpin + 'static,
) where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    serve_peer(
        io,
        config,
        PeerForm::Always(CancelForm::Rst),
        handle,
        on_stream,
    )
    .await;
}

/// The same, for a caller that takes cancels in that form.
pub(crate) async fn serve_peer<IO>(
    io: IO,
    config: Rc<ConnConfig>,
    peer: PeerForm,
    handle: ServerHandle,
    on_stream: impl FnMut(Box<RequestHead>, ServerStream) + Unpin + 'static,
) where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let shared = SharedConnection::new(config, Role::Server, peer);
    {
        let mut link = handle.0.borrow_mut();
        shared.closing.set(link.draining);
        link.shared = Some(Rc::clone(&shared));
    }
    Conn::new(io, shared, Callee { on_stream }).await;
    handle.0.borrow_mut().shared = None;
}

struct Callee<F> {
    on_stream: F,
}

impl<F: FnMut(Box<RequestHead>, ServerStream)> Dispatch for Callee<F> {
    fn frame(&mut self, shared: &Rc<SharedConnection>, mut frame: Frame) {
        if !shared.config.carried {
            metadata::strip(&mut frame.info);
        }
        let counters = &shared.config.counters;
        if frame.kind == Kind::Trailer {
            shared.look_at(&frame);
        }
        match (frame.kind, shared.find(frame.stream_id)) {
            (Kind::Meta, _) => {}
            (Kind::Header, Some(slot)) => second_header(shared, &slot),
            (Kind::Header, None) => self.open(shared, &frame),
            (Kind::Trailer, Some(slot)) => trailer(shared, &slot, &frame),
            (Kind::Rst, Some(slot)) => {
                let end = end::from_rst(Initiator::Caller, &frame.info, &frame.payload);
                shared.peer_end(&slot, end, true);
            }
            (Kind::Trailer | Kind::Rst, None) => count(&counters.late_frames),
            // The decoder reports Data in another way.
            (Kind::Data, _) => count(&counters.bad_frames),
        }
    }

    fn unreadable(&mut self, shared: &Rc<SharedConnection>, stream_id: i32, text: &str) {
        match shared.find(stream_id) {
            Some(slot) => {
                shared.reset_local(&slot, LocalEndKind::BadRequest, text);
            }
            // It may have been the Header, and a caller must not wait for ever. Any other caller
            // drops the answer, since it knows no such stream.
            None => {
                let frame = Frame::new(
                    Kind::Header,
                    stream_id,
                    PROTOCOL_THRIFT_STRUCT,
                    Default::default(),
                );
                refuse(shared, &frame, &End::hop(LocalEndKind::BadRequest, text));
            }
        }
    }
}

impl<F: FnMut(Box<RequestHead>, ServerStream)> Callee<F> {
    fn open(&mut self, shared: &Rc<SharedConnection>, frame: &Frame) {
        let config = &shared.config;
        let refusal = |kind, text: &str| refuse(shared, frame, &End::hop(kind, text));
        if shared.closing.get() {
            count(&config.counters.drained);
            return refusal(LocalEndKind::Unreachable, "draining");
        }
        if shared.halves.get() >= config.max_streams {
            count(&config.counters.over_limit);
            return refusal(
                LocalEndKind::OverLimit,
                "too many streams on this connection",
            );
        }
        let head = match metadata::request_head(&frame.info, frame.protocol) {
            Ok(mut head) if head.method.len() <= MAX_METHOD => {
                // A Kitex service without a name is an empty name in a path.
                let origin = || Hops::from_origin(head.caller.as_deref().unwrap_or_default());
                let said = head.hops.take().filter(|_| config.carried);
                head.hops = Some(said.unwrap_or_else(origin));
                Box::new(head)
            }
            Ok(_) => {
                count(&config.counters.bad_frames);
                return refusal(LocalEndKind::BadRequest, "the method's name is too long");
            }
            Err(error) => {
                count(&config.counters.bad_frames);
                return refusal(LocalEndKind::BadRequest, &error.to_string());
            }
        };
        let Some(slot) = slot(shared, frame, &head.method) else {
            return;
        };
        let stream = ServerStream {
            shared: Rc::clone(shared),
            slot: Rc::clone(&slot),
        };
        shared.add(&slot);
        (self.on_stream)(head, stream);
    }
}

fn slot(shared: &SharedConnection, frame: &Frame, method: &str) -> Option<Rc<StreamSlot>> {
    let templates = &shared.templates;
    let template = templates
        .get(frame.stream_id, frame.protocol, method)
        .ok()?;
    Some(Rc::new(StreamSlot::new(
        frame.stream_id,
        frame.protocol,
        method.into(),
        template,
        State::new(Role::Server),
    )))
}

/// Answers a stream that is not opened.
fn refuse(shared: &Rc<SharedConnection>, frame: &Frame, end: &End) {
    let method = frame.method();
    let method = std::str::from_utf8(&method)
        .ok()
        .filter(|m| m.len() <= MAX_METHOD)
        .unwrap_or_default();
    if let Some(slot) = slot(shared, frame, method) {
        let mut end = end.clone();
        end.sign(&shared.config.node);
        shared.finish(&slot, &end, &shared.config.node);
        shared.out.borrow_mut().count_refusal();
    }
}

fn second_header(shared: &Rc<SharedConnection>, slot: &Rc<StreamSlot>) {
    let verdict = slot.inner.borrow_mut().state.recv_head();
    match verdict {
        FrameAction::Violation(text) => {
            count(&shared.config.counters.bad_frames);
            shared.second_header(slot, LocalEndKind::BadRequest, text);
        }
        FrameAction::Late | FrameAction::Accept => count(&shared.config.counters.late_frames),
    }
}

fn trailer(shared: &Rc<SharedConnection>, slot: &Rc<StreamSlot>, frame: &Frame) {
    if let Some(end) = end::from_caller_trailer(&frame.info, &frame.payload) {
        return shared.peer_end(slot, end, true);
    }
    let mut inner = slot.inner.borrow_mut();
    match inner.state.recv_half_close() {
        FrameAction::Accept => {
            inner.half_close = true;
            inner.wake_recv();
        }
        FrameAction::Late | FrameAction::Violation(_) => count(&shared.config.counters.late_frames),
    }
}

/// One stream that a TTHeader caller opened. Dropping it before its end sends the caller an end.
pub struct ServerStream {
    shared: Rc<SharedConnection>,
    slot: Rc<StreamSlot>,
}

impl Half for ServerStream {
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

impl Inbound for ServerStream {
    fn send_head(&mut self, head: ResponseHead) {
        self.shared.head(&self.slot, &head);
    }

    fn finish(&mut self, end: &End, node: &str) -> Option<NativeCode> {
        self.shared.finish(&self.slot, end, node);
        None
    }
}

impl Drop for ServerStream {
    fn drop(&mut self) {
        if !self.slot.inner.borrow().state.is_closed() {
            let hop = dropped();
            let end = End::hop(hop.kind, hop.text);
            self.shared
                .finish(&self.slot, &end, &self.shared.config.node);
        }
        self.shared.half_dropped(&self.slot);
    }
}
