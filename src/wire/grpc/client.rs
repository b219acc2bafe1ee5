//! The gRPC client role: outbound halves, as streams of one connection to a callee.

use std::any::Any;
use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::net::held::Held;
use crate::net::http2::{
    self, ConnectionEnd, Control, Http2Config, ResetCode, ResponseFuture, SendRequest,
};
use crate::stream::{
    Cancel, End, Half, Initiator, LocalEndKind, MessageBatch, Outbound, Path, Processed, Received,
    RequestHead,
};
use crate::wire::grpc::hop::outbound::Hop;
use crate::wire::grpc::receive::{Got, Receiver};
use crate::wire::grpc::send::Sender;
use crate::wire::grpc::{Deadline, StreamConfig, end, hop, metadata};

/// One connection to a callee.
#[derive(Debug, Clone)]
pub struct Client {
    requests: SendRequest,
    control: Control,
    held: Rc<Held>,
    active: Rc<Cell<usize>>,
    /// How many streams were opened on it: in all, and until the last look.
    opened: Rc<Cell<(u64, u64)>>,
    /// It refused a stream: the callee sent GOAWAY, or the ids are used up.
    retired: Rc<Cell<bool>>,
    config: Rc<StreamConfig>,
    /// Toward another ripcord: the control stream, which carries more of a cancel than its number.
    hop: Option<Rc<Hop>>,
}

impl Client {
    /// Opens the connection; the future drives it and has to be spawned.
    ///
    /// # Errors
    /// Why the connection could not be opened.
    pub async fn connect<IO>(
        io: IO,
        http2: &Http2Config,
        config: Rc<StreamConfig>,
    ) -> Result<(Self, impl Future<Output = ConnectionEnd> + use<IO>), ConnectionEnd>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let control = Control::default();
        let held = config.held();
        control.account(Rc::clone(&held));
        let (requests, driver) = http2::connect(io, http2, control.clone()).await?;
        let hop = config.to_ripcord.then(|| Hop::new(requests.clone()));
        let parting = hop.as_ref().map(|hop| hop.parting()).unwrap_or_default();
        let driver = parting.drive(driver, control.clone(), http2.cancel_grace);
        Ok((
            Self {
                requests,
                control,
                held,
                active: Rc::default(),
                opened: Rc::default(),
                retired: Rc::default(),
                config,
                hop,
            },
            driver,
        ))
    }

    /// Whether new streams can be opened on it, now or when others end. It must be neither over nor
    /// closing. And its control stream must not have the only place that the callee allows, which
    /// is not known before its SETTINGS.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        let own = self.hop.as_ref().map_or(0, |hop| hop.streams());
        let room = own == 0 || self.requests.current_max_send_streams() > own;
        !self.control.is_over() && !self.control.went_away() && !self.retired.get() && room
    }

    /// The number of its open streams.
    #[must_use]
    pub fn active(&self) -> usize {
        self.active.get()
    }

    /// Whether it is idle: no stream is open, and none was opened since the last look. If so,
    /// returns how many it has carried. For its whole life it keeps the memory of as many streams
    /// as were ever open or remembered at once.
    #[must_use]
    pub fn idle_after(&self) -> Option<u64> {
        let (opened, seen) = self.opened.get();
        self.opened.set((opened, opened));
        (self.active.get() == 0 && opened == seen).then_some(opened)
    }

    /// How many streams the callee allows at a time.
    #[must_use]
    pub fn capacity(&self) -> usize {
        let own = self.hop.as_ref().map_or(0, |hop| hop.streams());
        self.requests.current_max_send_streams().saturating_sub(own)
    }

    #[cfg(test)]
    pub(in crate::wire::grpc) fn hop(&self) -> Option<&Hop> {
        self.hop.as_deref()
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// The connection is closing or lost. Nothing was sent.
    pub async fn open(&self, head: &RequestHead) -> Result<ClientStream, http2::Error> {
        // Its other streams may go on for long, and the connection with them.
        let retire = |_: &http2::Error| self.retired.set(true);
        let requests = self.requests.clone().ready().await;
        let mut requests = requests.inspect_err(retire)?;
        let mut request = metadata::request(head);
        let hop = self.hop.as_ref().map(|hop| (Rc::clone(hop), hop.next()));
        if let Some((_, stream)) = &hop {
            hop::name(&mut request, *stream);
        }
        let sent = requests.send_request(request, false);
        let (response, send) = sent.inspect_err(|e| {
            if e.is_go_away() || e.is_io() {
                retire(e);
            }
        })?;
        self.active.set(self.active.get() + 1);
        self.control.stream_opened();
        let (opened, seen) = self.opened.get();
        self.opened.set((opened + 1, seen));
        Ok(ClientStream {
            phase: Phase::Head(response),
            sender: Some(Sender::new(send, self.control.desk())),
            half_closed: false,
            deadline: head.timeout.map(Deadline::after),
            held: Rc::clone(&self.held),
            active: Rc::clone(&self.active),
            config: Rc::clone(&self.config),
            control: self.control.clone(),
            hop,
        })
    }
}

/// One stream to a gRPC callee.
#[derive(Debug)]
pub struct ClientStream {
    phase: Phase,
    /// `None` once it was canceled.
    sender: Option<Sender>,
    half_closed: bool,
    deadline: Option<Deadline>,
    held: Rc<Held>,
    active: Rc<Cell<usize>>,
    config: Rc<StreamConfig>,
    control: Control,
    /// Toward another ripcord: the control stream, and this stream's name there.
    hop: Option<(Rc<Hop>, u64)>,
}

#[derive(Debug)]
enum Phase {
    Head(ResponseFuture),
    Body(Receiver),
    Trailers(Receiver),
    /// The receiver stays while its messages wait.
    Over(Option<Receiver>),
}

impl ClientStream {
    fn failed(&self, error: &http2::Error) -> End {
        match error.reset_code() {
            Some(ResetCode::CANCEL) if self.deadline_near() => End::hop(
                LocalEndKind::Deadline,
                "stream timeout, the callee reset the stream at its deadline",
            ),
            Some(code) => self
                .hop
                .as_ref()
                .and_then(|_| end::from_ripcord_reset(code))
                .unwrap_or_else(|| end::from_callee_reset(code)),
            None if error.is_broken() => self.broken_connection(error),
            None => {
                let goaway = self.control.go_away();
                let goaway = goaway.filter(|goaway| goaway.code != ResetCode::NO_ERROR);
                let text = match goaway {
                    Some(goaway) => format!("the callee sent {goaway}"),
                    None => error.text("the callee"),
                };
                let mut end = end::connection_lost(Initiator::Callee, Path::new(), &text);
                // A GOAWAY ends the streams above the one that it names: they were not looked at.
                if error.is_go_away() && error.is_remote() && matches!(self.phase, Phase::Head(_)) {
                    end.processed = Processed::No;
                }
                end
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

    /// The callee has finished the stream. A request that it did not need to the end is closed.
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
                        Err(error) => {
                            let end = self.failed(&error);
                            return self.over(end);
                        }
                    };
                    if body.is_end_stream()
                        || parts.status != StatusCode::OK
                        || !metadata::is_grpc(&parts.headers)
                    {
                        return self
                            .over(end::from_trailers(parts.status.as_u16(), &parts.headers));
                    }
                    let receiver = Receiver::new(
                        body,
                        self.held.share(),
                        self.config.max_message,
                        self.config.stream_window,
                    );
                    self.phase = Phase::Body(receiver);
                    return Poll::Ready(Received::Head(metadata::response_head(&parts.headers)));
                }
                Phase::Body(receiver) => match ready!(receiver.poll(cx)) {
                    Got::Messages(run) => return Poll::Ready(Received::Messages(run)),
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
                    Got::Failed(error) => {
                        let end = self.failed(&error);
                        return self.over(end);
                    }
                },
                Phase::Trailers(receiver) => {
                    let end = match ready!(receiver.poll_trailers(cx)) {
                        Ok(trailers) => end::from_trailers(200, &trailers.unwrap_or_default()),
                        Err(error) => self.failed(&error),
                    };
                    return self.over(end);
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
                hop.detail(*stream, cancel, self.active.get());
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
        self.active.set(self.active.get() - 1);
    }
}

#[cfg(test)]
mod tests;
