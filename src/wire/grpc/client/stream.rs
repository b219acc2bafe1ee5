//! One stream to a gRPC callee, as an outbound half.

use std::any::Any;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::StatusCode;

use super::Shared;
use crate::net::held::Held;
use crate::net::http2::{self, Control, ResetCode, ResponseFuture};
use crate::net::resets::Opened;
use crate::stream::{
    Cancel, End, Half, Initiator, LocalEndKind, MessageBatch, Outbound, Path, Processed, Received,
};
use crate::wire::grpc::hop::outbound::Hop;
use crate::wire::grpc::receive::{Got, Receiver};
use crate::wire::grpc::send::Sender;
use crate::wire::grpc::{Deadline, StreamConfig, end, metadata};

/// One stream to a gRPC callee.
#[derive(Debug)]
pub struct ClientStream {
    pub(super) phase: Phase,
    /// `None` once it was canceled.
    pub(super) sender: Option<Sender>,
    pub(super) half_closed: bool,
    /// Both sides have finished it, or the callee has reset it, or its connection is lost. Otherwise
    /// a reset was sent, or is sent when it is dropped.
    pub(super) finished: bool,
    /// When it was opened, until its response begins.
    pub(super) unanswered: Option<Opened>,
    /// The callee did not look at it.
    pub(super) refused: bool,
    /// How much the connection had written when the stream was opened.
    pub(super) written: u64,
    pub(super) deadline: Option<Deadline>,
    pub(super) held: Rc<Held>,
    pub(super) shared: Rc<Shared>,
    pub(super) config: Rc<StreamConfig>,
    pub(super) control: Control,
    /// Toward another ripcord: the control stream, and this stream's name there.
    pub(super) hop: Option<(Rc<Hop>, u64)>,
}

#[derive(Debug)]
pub(super) enum Phase {
    Head(ResponseFuture),
    Body(Receiver),
    Trailers(Receiver),
    /// The receiver stays while its messages wait.
    Over(Option<Receiver>),
}

impl ClientStream {
    /// The connection that carries it: its [`Client::id`](super::Client::id).
    #[must_use]
    pub fn connection(&self) -> usize {
        Rc::as_ptr(&self.shared) as usize
    }

    fn failed(&mut self, error: &http2::Error) -> End {
        let mut end = self.end_of(error);
        let answered = !matches!(self.phase, Phase::Head(_));
        self.refused = !answered && self.is_unprocessed(error);
        end.processed = match end.processed {
            _ if self.refused => Processed::No,
            // A callee that has answered did look at the stream, whatever its reset says.
            Processed::No if answered => Processed::Maybe,
            other => other,
        };
        end
    }

    /// Whether `error` proves that the callee did not look at a stream that it has not answered.
    /// There are three proofs: REFUSED_STREAM (RFC 9113, section 8.7), a GOAWAY whose last stream
    /// is below this one (section 6.8; other streams go on after a GOAWAY, so their error is
    /// another one), and a connection that wrote nothing since the stream was opened.
    fn is_unprocessed(&self, error: &http2::Error) -> bool {
        match error.reset_code() {
            Some(code) => code == ResetCode::REFUSED_STREAM && error.is_remote(),
            None => {
                let passed_over = error.is_go_away() && error.is_remote();
                passed_over || self.control.written() == self.written
            }
        }
    }

    fn end_of(&self, error: &http2::Error) -> End {
        match error.reset_code() {
            Some(_) if error.is_refused_here() => {
                End::hop(LocalEndKind::Undecodable, error.text("the callee"))
            }
            Some(ResetCode::CANCEL) if self.deadline_near() => {
                End::hop(LocalEndKind::Deadline, end::AT_DEADLINE)
            }
            Some(code) => {
                let carried = self
                    .hop
                    .as_ref()
                    .and_then(|_| end::from_ripcord_reset(code));
                carried.unwrap_or_else(|| end::from_callee_reset(code))
            }
            None if error.is_broken() => self.broken_connection(error),
            None => {
                let goaway = self.control.go_away();
                let goaway = goaway.filter(|goaway| goaway.code != ResetCode::NO_ERROR);
                let text = match goaway {
                    Some(goaway) if !error.is_go_away() => format!("the callee sent {goaway}"),
                    Some(_) | None => error.text("the callee"),
                };
                end::connection_lost(Initiator::Callee, Path::new(), &text)
            }
        }
    }

    /// The callee broke HTTP/2, and this hop ended the connection. The stream that did it is not
    /// retried. Those beside it may be.
    fn broken_connection(&self, error: &http2::Error) -> End {
        let Some((stream, what)) = self.control.malformed() else {
            let text = error.text("the callee");
            return end::connection_lost(Initiator::Callee, Path::new(), &text);
        };
        if self
            .sender
            .as_ref()
            .is_some_and(|sender| sender.id() == *stream)
        {
            let text = format!("the callee sent a malformed field: {what}");
            return End::hop(LocalEndKind::Undecodable, text);
        }
        let text = format!(
            "the callee sent a malformed field on another stream of the same connection: {what}"
        );
        end::connection_lost(Initiator::Callee, Path::new(), &text)
    }

    /// A callee's own timer, which may be a moment ahead of this hop's, ends the stream with
    /// RST_STREAM(CANCEL).
    fn deadline_near(&self) -> bool {
        self.deadline.is_some_and(Deadline::is_near)
    }

    /// The stream or its connection failed.
    fn lost(&mut self, error: &http2::Error) -> Poll<Received> {
        // What this side finds wrong with the callee's frames, it answers with a reset.
        self.finished = error.reset_code().is_none() || error.is_remote();
        let end = self.failed(error);
        self.over(end)
    }

    /// The callee has finished the stream, as HTTP/2 has it.
    fn complete(&mut self, end: End) -> Poll<Received> {
        self.finished = self.half_closed;
        self.over(end)
    }

    /// The callee has ended the stream. A request that it did not need to the end is closed.
    fn over(&mut self, end: End) -> Poll<Received> {
        self.finish_receiving();
        if !std::mem::replace(&mut self.half_closed, true)
            && let Some(sender) = &mut self.sender
        {
            sender.reset(ResetCode::NO_ERROR);
        }
        Poll::Ready(Received::End(end))
    }

    #[cfg(test)]
    pub(in crate::wire::grpc) fn name(&self) -> Option<u64> {
        self.hop.as_ref().map(|(_, stream)| *stream)
    }

    /// Nothing more is exchanged with the callee, though what it sent may still wait here.
    fn leave(&self) {
        if !matches!(self.phase, Phase::Over(_)) {
            self.control.stream_over();
        }
    }

    fn finish_receiving(&mut self) {
        self.leave();
        self.phase = match std::mem::replace(&mut self.phase, Phase::Over(None)) {
            Phase::Body(receiver) | Phase::Trailers(receiver) => Phase::Over(Some(receiver)),
            Phase::Head(_) | Phase::Over(_) => Phase::Over(None),
        };
    }

    /// The callee broke the protocol. This hop resets the stream.
    fn broken(&mut self, kind: LocalEndKind, text: String) -> Poll<Received> {
        Poll::Ready(Received::End(End::hop(kind, text)))
    }
}

impl Half for ClientStream {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        loop {
            match &mut self.phase {
                Phase::Head(response) => {
                    let (parts, body) = match ready!(Pin::new(response).poll(cx)) {
                        Ok(response) => response.into_parts(),
                        Err(error) => return self.lost(&error),
                    };
                    if let Some(opened) = self.unanswered.take() {
                        self.shared.resets.answered(opened);
                    }
                    if body.is_end_stream() {
                        let status = parts.status.as_u16();
                        return self.complete(end::from_trailers(status, &parts.headers));
                    }
                    if parts.status != StatusCode::OK || !metadata::is_grpc(&parts.headers) {
                        return self
                            .over(end::from_trailers(parts.status.as_u16(), &parts.headers));
                    }
                    let head = metadata::response_head(&parts.headers);
                    let receiver = Receiver::new(
                        body,
                        self.held.share(),
                        self.config.max_message,
                        self.config.stream_window,
                        head.encoding.is_some(),
                    );
                    self.phase = Phase::Body(receiver);
                    return Poll::Ready(Received::Head(head));
                }
                Phase::Body(receiver) => match ready!(receiver.poll(cx)) {
                    Got::Messages(run) => {
                        if let Some(sender) = &mut self.sender {
                            sender.heard(run.messages());
                        }
                        return Poll::Ready(Received::Messages(run));
                    }
                    Got::Eof => {
                        let Phase::Body(receiver) =
                            std::mem::replace(&mut self.phase, Phase::Over(None))
                        else {
                            return Poll::Pending;
                        };
                        self.phase = Phase::Trailers(receiver);
                    }
                    Got::Slow => {
                        let text = "the caller did not take the callee's messages".to_owned();
                        return self.broken(LocalEndKind::SlowReceiver, text);
                    }
                    Got::TooLarge(len) => {
                        let limit = self.config.max_message;
                        let text = format!(
                            "a response message of {len} bytes is over the limit of {limit}"
                        );
                        return self.broken(LocalEndKind::MessageTooLarge, text);
                    }
                    Got::Broken(text) => return self.broken(LocalEndKind::Undecodable, text),
                    Got::Failed(error) => return self.lost(&error),
                },
                Phase::Trailers(receiver) => {
                    return match ready!(receiver.poll_trailers(cx)) {
                        Ok(trailers) => {
                            self.complete(end::from_trailers(200, &trailers.unwrap_or_default()))
                        }
                        Err(error) => self.lost(&error),
                    };
                }
                Phase::Over(_) => return Poll::Pending,
            }
        }
    }

    fn release(&mut self, bytes: usize) {
        if let Phase::Body(receiver) | Phase::Trailers(receiver) | Phase::Over(Some(receiver)) =
            &mut self.phase
        {
            receiver.release(bytes);
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, run: &mut MessageBatch) -> Poll<()> {
        match &mut self.sender {
            Some(sender) => sender.poll_send(cx, run),
            None => {
                run.clear();
                Poll::Ready(())
            }
        }
    }
}

impl Outbound for ClientStream {
    fn refusable(&self) -> bool {
        matches!(self.phase, Phase::Head(_))
    }

    fn refused(&self) -> bool {
        self.refused
    }

    fn poll_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.phase {
            Phase::Over(Some(receiver)) => receiver.poll_slow(cx),
            Phase::Head(_) | Phase::Body(_) | Phase::Trailers(_) | Phase::Over(None) => {
                Poll::Pending
            }
        }
    }

    fn on_leaving(&self, told: Rc<dyn Fn()>) -> Option<Box<dyn Any>> {
        Some(Box::new(self.control.on_go_away(told)))
    }

    fn half_close(&mut self) {
        if !std::mem::replace(&mut self.half_closed, true)
            && let Some(sender) = &mut self.sender
        {
            sender.half_close();
        }
    }

    fn cancel(&mut self, cancel: &Cancel) {
        self.control.urgent();
        self.leave();
        self.phase = Phase::Over(None);
        self.half_closed = true;
        let Some(mut sender) = self.sender.take() else {
            return;
        };
        // A plain gRPC peer receives CANCEL. Another ripcord receives the cause, and the rest
        // before it (`wire/grpc/hop.rs`).
        match &self.hop {
            Some((hop, stream)) => {
                let active = self.shared.active.get() + self.control.leaving();
                hop.detail(*stream, cancel, active);
                hop.reset(sender, end::reset_to_callee(cancel, true));
            }
            None => sender.reset(end::reset_to_callee(cancel, false)),
        }
    }
}

/// Dropping the handles resets with CANCEL what is still open.
impl Drop for ClientStream {
    fn drop(&mut self) {
        self.leave();
        self.shared.active.set(self.shared.active.get() - 1);
        let (resets, born) = (&self.shared.resets, self.shared.born);
        match self.finished {
            true => resets.closed(self.unanswered),
            false => resets.reset(self.unanswered, born.elapsed(), self.control.is_blocked()),
        }
        self.control.left(!self.finished);
    }
}
