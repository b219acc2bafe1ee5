//! The gRPC server role: streams of callers, as [`Inbound`] halves.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};

use crate::net::held::Held;
use crate::net::http2::{self, Control, RecvBody, ResetCode, Respond};
use crate::stream::{
    End, Half, Hops, Inbound, Initiator, LocalEndKind, MessageBatch, NON_TTSTREAM, NativeCode,
    Payload, Received, RequestHead, ResponseHead, Wire, shorten,
};
use crate::wire::grpc::adapter::WIRE;
use crate::wire::grpc::end::Wording;
use crate::wire::grpc::hop::inbound::CancelDetails;
use crate::wire::grpc::limit::BlockLimit;
use crate::wire::grpc::metadata::Refusal;
use crate::wire::grpc::receive::{Got, Receiver};
use crate::wire::grpc::send::Sender;
use crate::wire::grpc::status::Code;
use crate::wire::grpc::{Deadline, StreamConfig, end, hop, keys, limit, metadata};

/// One stream of a gRPC caller.
#[derive(Debug)]
pub struct ServerStream {
    receiver: Receiver,
    respond: Respond,
    sender: Option<Sender>,
    /// A head that waits for the first message or the end.
    held: Option<Box<ResponseHead>>,
    payload: Payload,
    /// The names by which the stream came, for a cancel without a path.
    hops: Hops,
    /// The stream's name on the control stream, if another ripcord gave it one.
    detail_of: Option<u64>,
    details: Rc<CancelDetails>,
    deadline: Option<Deadline>,
    request_over: bool,
    /// Something came behind the head.
    begun: bool,
    /// Nothing more may be written: the end was sent, or the caller is gone.
    over: bool,
    /// Another ripcord sent the request, perhaps through a proxy.
    from_ripcord: bool,
    /// The wording of local ends that the caller reads when the callee speaks gRPC too.
    plain: Wording,
    /// The wording of local ends toward this caller.
    own: Wording,
    /// Why it must not be carried.
    refusal: Option<Box<End>>,
    config: Rc<StreamConfig>,
    control: Control,
}

/// A connection with the streams of callers.
#[derive(Debug)]
pub struct Connection {
    config: Rc<StreamConfig>,
    control: Control,
    held: Rc<Held>,
    details: Rc<CancelDetails>,
    /// A description of the last request that was refused as not gRPC.
    not_grpc: RefCell<Option<String>>,
}

impl Connection {
    /// A connection that has to be served with [`Connection::control`].
    #[must_use]
    pub fn new(config: Rc<StreamConfig>) -> Self {
        let (control, held) = (Control::default(), config.held());
        control.account(Rc::clone(&held));
        Self {
            details: CancelDetails::new(control.clone()),
            config,
            control,
            held,
            not_grpc: RefCell::default(),
        }
    }

    /// The remote control of its driver.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Why the last request was refused, if it is not gRPC.
    pub fn take_not_grpc(&self) -> Option<String> {
        self.not_grpc.take()
    }

    /// Makes a stream of a request. `None` when it is none: a request that is not gRPC is answered
    /// and counted, and another ripcord's control stream is served. A stream with too much metadata
    /// reports that itself ([`Inbound::refusal`]).
    pub fn accept(
        &self,
        request: Request<RecvBody>,
        mut respond: Respond,
    ) -> Option<(Box<RequestHead>, Box<ServerStream>)> {
        let config = &self.config;
        let (mut parts, body) = request.into_parts();
        if parts.uri.path() == hop::CONTROL {
            // It must not reach a backend: it is about this connection.
            if config.carried {
                self.details
                    .serve(body, respond, &self.held, config.stream_window);
            } else {
                let _ = respond.send_response(hop::answer(Code::Unimplemented), true);
            }
            return None;
        }
        if !config.carried {
            metadata::strip(&mut parts.headers);
        }
        let mut head = match metadata::request_head(&parts) {
            Ok(head) => Box::new(head),
            Err(refusal) => {
                *self.not_grpc.borrow_mut() = Some(described(&parts, &refusal));
                refuse(respond, &refusal, &parts.method);
                return None;
            }
        };
        let said = head.hops.take();
        let origin = || Hops::from_origin(head.caller.as_deref().unwrap_or(NON_TTSTREAM));
        let passed = said.unwrap_or_else(origin);
        // The copy stays: it has no spare room.
        let hops = passed.clone();
        head.hops = Some(passed);
        let until = |timeout| Deadline::of_caller(timeout, hops.count());
        let deadline = head.timeout.map(until);
        let detail_of = hop::named(&parts.headers);
        self.details.enter(detail_of);
        self.control.stream_opened();
        let (from_ripcord, plain) = metadata::caller_reads(&parts.headers);
        let mut stream = Box::new(ServerStream {
            receiver: Receiver::new(
                body,
                self.held.share(),
                config.max_message,
                config.stream_window,
                head.encoding.is_some(),
            ),
            respond,
            sender: None,
            held: None,
            payload: head.payload.clone(),
            hops,
            detail_of,
            details: Rc::clone(&self.details),
            deadline,
            request_over: false,
            begun: false,
            over: false,
            from_ripcord,
            plain,
            own: Wording::Kitex,
            refusal: None,
            config: Rc::clone(config),
            control: self.control.clone(),
        });
        let (size, limit) = (size(&parts.headers), config.max_metadata);
        if size > limit {
            let text = format!("request metadata of {size} bytes is over the limit of {limit}");
            stream.refusal = Some(Box::new(End::hop(LocalEndKind::OverLimit, text)));
        }
        Some((head, stream))
    }
}

/// The most bytes of a path or a content type in a description.
const DESCRIBED: usize = 128;

/// A request that is not gRPC, for the log.
fn described(parts: &Parts, refusal: &Refusal) -> String {
    let kind = parts.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let kind = String::from_utf8_lossy(kind.unwrap_or_default());
    format!(
        "{refusal}: {} {:?}, content-type {:?}",
        parts.method,
        shorten(parts.uri.path(), DESCRIBED),
        shorten(&kind, DESCRIBED)
    )
}

/// Answers a request that is not gRPC. Nothing is left waiting: a caller without room for the text
/// gets the status alone.
fn refuse(mut respond: Respond, refusal: &Refusal, method: &Method) {
    let response = refusal.response();
    let Some(text) = refusal.body().filter(|_| *method != Method::HEAD) else {
        let _ = respond.send_response(response, true);
        return;
    };
    if let Ok(mut body) = respond.send_response(response, false) {
        body.reserve_capacity(text.len());
        let fits = body.capacity() >= text.len();
        let text = if fits { text } else { "" };
        let _ = body.send_data(Bytes::from_static(text.as_bytes()), true);
    }
}

/// The bytes of names and values.
fn size(headers: &HeaderMap) -> usize {
    let one = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
    headers.iter().map(one).sum()
}

impl ServerStream {
    fn gone(&mut self, error: &http2::Error) -> End {
        self.over = true;
        match error.reset_code() {
            Some(code) => self.reset_by_caller(code),
            None => {
                let broken = error.is_broken();
                let text = match broken.then(|| self.control.malformed()).flatten() {
                    Some((_, what)) => format!("the caller sent a malformed field: {what}"),
                    None => error.text("the caller"),
                };
                end::connection_lost(Initiator::Caller, self.hops.path(), &text)
            }
        }
    }

    fn reset_by_caller(&mut self, reason: ResetCode) -> End {
        self.over = true;
        let detail = self.detail_of.and_then(|stream| self.details.take(stream));
        if let Some(end) = detail.and_then(|n| end::from_detailed_reset(reason, n.cause, n.path)) {
            return end;
        }
        let near = self.deadline.is_some_and(Deadline::is_near);
        let set_by = || self.hops.limit_path().unwrap_or_else(|| self.hops.path());
        end::from_caller_reset(reason, self.hops.path(), near.then(set_by))
    }

    #[cfg(test)]
    pub(in crate::wire::grpc) fn details(&self) -> &CancelDetails {
        &self.details
    }

    /// What this caller takes of a head or an end.
    fn limit(&self) -> BlockLimit {
        let announced = self.control.peer_header_list();
        BlockLimit::of_caller(self.config.max_head, announced, self.from_ripcord)
    }

    /// The sending side, after the head was written.
    fn sender(&mut self) -> Option<&mut Sender> {
        if self.sender.is_none() {
            let head = self.held.take().unwrap_or_default();
            let carried = self.config.carried;
            let response = limit::response(&head, &self.payload, carried, self.limit());
            self.sender = self
                .respond
                .send_response(response, false)
                .ok()
                .map(|stream| Sender::new(stream, self.control.desk()));
        }
        self.sender.as_mut()
    }
}

fn slow() -> End {
    End::hop(
        LocalEndKind::SlowReceiver,
        "the callee did not take the caller's messages",
    )
}

impl Half for ServerStream {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        if !self.request_over {
            let got = std::task::ready!(self.receiver.poll(cx));
            self.begun = true;
            return Poll::Ready(match got {
                Got::Messages(run) => Received::Messages(run),
                Got::Eof => {
                    self.request_over = true;
                    Received::HalfClose
                }
                Got::Slow => Received::End(slow()),
                Got::TooLarge(len) => Received::End(End::hop(
                    LocalEndKind::MessageTooLarge,
                    format!(
                        "a request message of {len} bytes is over the limit of {}",
                        self.config.max_message
                    ),
                )),
                Got::Broken(text) => Received::End(End::hop(LocalEndKind::BadRequest, text)),
                Got::Failed(error) => Received::End(self.gone(&error)),
            });
        }
        if self.receiver.poll_slow(cx).is_ready() {
            return Poll::Ready(Received::End(slow()));
        }
        let reset = match &mut self.sender {
            Some(sender) => sender.poll_reset(cx),
            None => self.respond.poll_reset(cx),
        };
        reset.map(|reset| {
            Received::End(match reset {
                Ok(reason) => self.reset_by_caller(reason),
                Err(error) => self.gone(&error),
            })
        })
    }

    fn release(&mut self, bytes: usize) {
        self.receiver.release(bytes);
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, run: &mut MessageBatch) -> Poll<()> {
        if run.is_empty() {
            return Poll::Ready(());
        }
        match self.sender() {
            Some(sender) => sender.poll_send(cx, run),
            None => {
                run.clear();
                Poll::Ready(())
            }
        }
    }
}

impl Inbound for ServerStream {
    fn refusal(&mut self) -> Option<End> {
        self.refusal.take().map(|end| *end)
    }

    fn set_callee_wire(&mut self, wire: &'static Wire) {
        if *wire == WIRE {
            self.own = self.plain;
        }
    }

    fn send_head(&mut self, head: ResponseHead) {
        let explicit = head.explicit;
        self.held = Some(Box::new(head));
        if explicit {
            self.sender();
        }
    }

    /// grpcio's aio reports INTERNAL for many an end that comes before its first DATA frame.
    fn poll_begun(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.begun || self.over || self.poll_recv(cx).is_ready() || self.receiver.has_begun() {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn unfinished(&self, rest: &MessageBatch) -> usize {
        let sender = self.sender.as_ref();
        sender.map_or(0, |sender| sender.unfinished(rest))
    }

    fn finish(&mut self, end: &End, node: &str) -> Option<NativeCode> {
        if std::mem::replace(&mut self.over, true) {
            return None;
        }
        self.control.urgent();
        if let Some(sender) = self.sender.as_mut().filter(|s| !s.at_boundary()) {
            let code = end::reset_to_caller(end, node, self.detail_of.is_some(), sender.has_sent());
            sender.reset(code);
            return None;
        }
        let bare = self
            .held
            .as_ref()
            .is_none_or(|head| head.metadata.is_empty());
        // Head and end in one block.
        let only = (self.sender.is_none() && bare)
            .then(|| metadata::response(&ResponseHead::default(), &self.payload));
        let limit = match &only {
            Some(response) => self.limit().beside(response.headers()),
            None => self.limit(),
        };
        let trailers = end::to_caller_within(end, node, self.config.carried, self.own, limit);
        let told = trailers
            .get(keys::names::STATUS)
            .and_then(|raw| raw.to_str().ok()?.parse().ok())
            .map(NativeCode);
        if let Some(mut response) = only {
            response.headers_mut().extend(trailers);
            let _ = self.respond.send_response(response, true);
        } else if let Some(sender) = self.sender() {
            sender.trailers(trailers);
        }
        told
    }
}

/// A stream that is dropped without an end was lost to a panic. Its caller must still receive an
/// end.
impl Drop for ServerStream {
    fn drop(&mut self) {
        if !self.over {
            let node = Rc::clone(&self.config);
            self.finish(
                &End::hop(LocalEndKind::Panic, "the proxy failed"),
                &node.node,
            );
        }
        self.details.leave(self.detail_of);
        self.control.stream_over();
    }
}
