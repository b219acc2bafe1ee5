//! The gRPC server role: streams in, as [`Inbound`] halves.

use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::Request;
use tokio::time::Instant;

use crate::grpc::end::ToCaller;
use crate::grpc::receive::{Got, Receiver};
use crate::grpc::send::Sender;
use crate::grpc::{DEADLINE_SLACK, StreamConfig, end, keys, metadata};
use crate::net::held::Held;
use crate::net::http2::Control;
use crate::stream::{
    End, Half, HopKind, Inbound, Party, Payload, Received, RequestHead, ResponseHead, Run,
};

/// One stream of a gRPC caller.
#[derive(Debug)]
pub struct ServerStream {
    receiver: Receiver,
    respond: SendResponse<Bytes>,
    sender: Option<Sender>,
    /// A head that waits for the first message or the end.
    held: Option<ResponseHead>,
    payload: Payload,
    caller: Option<String>,
    deadline: Option<Instant>,
    request_over: bool,
    /// Nothing more may be said: the end was told, or the caller is gone.
    over: bool,
    config: Rc<StreamConfig>,
    control: Control,
}

/// Makes a stream of a request, or answers a request that is not gRPC and returns `None`.
pub fn accept(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    config: Rc<StreamConfig>,
    control: Control,
    held: &Rc<Held>,
) -> Option<(RequestHead, ServerStream)> {
    let (mut parts, body) = request.into_parts();
    if !config.carried {
        metadata::strip(&mut parts.headers);
    }
    let head = match metadata::request_head(&parts) {
        Ok(head) => head,
        Err(refusal) => {
            let _ = respond.send_response(refusal.response(), true);
            return None;
        }
    };
    let stream = ServerStream {
        receiver: Receiver::new(body, held.share(), config.max_message, config.stream_window),
        respond,
        sender: None,
        held: None,
        payload: head.payload.clone(),
        caller: head.caller.clone(),
        deadline: head.timeout.map(|timeout| Instant::now() + timeout),
        request_over: false,
        over: false,
        config,
        control,
    };
    Some((head, stream))
}

impl ServerStream {
    fn gone(&mut self, error: &h2::Error) -> End {
        self.over = true;
        match error.reason() {
            Some(reason) if error.is_reset() => self.reset_by_caller(reason),
            _ => end::connection_lost(Party::Caller, self.caller.as_deref(), &error.to_string()),
        }
    }

    fn reset_by_caller(&mut self, reason: h2::Reason) -> End {
        self.over = true;
        let near = self
            .deadline
            .is_some_and(|at| Instant::now() + DEADLINE_SLACK >= at);
        end::from_caller_reset(reason.into(), self.caller.as_deref(), near)
    }

    /// The sending side, with the head written before it.
    fn sender(&mut self) -> Option<&mut Sender> {
        if self.sender.is_none() {
            let head = self.held.take().unwrap_or_default();
            let mut response = metadata::response(&head, &self.payload);
            if !self.config.carried {
                metadata::strip(response.headers_mut());
            }
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
        HopKind::SlowReceiver,
        "the callee did not take the caller's messages",
    )
}

impl Half for ServerStream {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        if !self.request_over {
            let got = std::task::ready!(self.receiver.poll(cx));
            return Poll::Ready(match got {
                Got::Messages(run) => Received::Messages(run),
                Got::Eof => {
                    self.request_over = true;
                    Received::HalfClose
                }
                Got::Slow => Received::End(slow()),
                Got::TooLarge(len) => Received::End(End::hop(
                    HopKind::MessageTooLarge,
                    format!(
                        "a request message of {len} bytes is over the limit of {}",
                        self.config.max_message
                    ),
                )),
                Got::Broken(text) => Received::End(End::hop(HopKind::BadRequest, text)),
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

    fn poll_send(&mut self, cx: &mut Context<'_>, run: &mut Run) -> Poll<()> {
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
    fn takes_compressed(&self) -> bool {
        true
    }

    fn send_head(&mut self, head: ResponseHead) {
        let explicit = head.explicit;
        self.held = Some(head);
        if explicit {
            self.sender();
        }
    }

    fn finish(&mut self, end: &End, node: &str) -> Option<u32> {
        if std::mem::replace(&mut self.over, true) {
            return None;
        }
        self.control.urgent();
        let half_written = self.sender.as_ref().is_some_and(|s| !s.at_boundary());
        let trailers = match end::finish(end, node, self.config.carried, half_written) {
            ToCaller::Trailers(trailers) => trailers,
            ToCaller::Reset(code) => {
                if let Some(sender) = &mut self.sender {
                    sender.reset(code.into());
                }
                return None;
            }
        };
        let told = trailers
            .get(keys::STATUS)
            .and_then(|raw| raw.to_str().ok()?.parse().ok());
        let bare = self
            .held
            .as_ref()
            .is_none_or(|head| head.metadata.is_empty());
        if self.sender.is_none() && bare {
            let mut response = metadata::response(&ResponseHead::default(), &self.payload);
            response.headers_mut().extend(trailers);
            let _ = self.respond.send_response(response, true);
        } else if let Some(sender) = self.sender() {
            sender.trailers(trailers);
        }
        told
    }
}

/// A stream that is dropped without an end was lost to a panic: its caller must still hear one.
impl Drop for ServerStream {
    fn drop(&mut self) {
        if !self.over {
            let node = Rc::clone(&self.config);
            self.finish(&End::hop(HopKind::Panic, "the proxy failed"), &node.node);
        }
    }
}
