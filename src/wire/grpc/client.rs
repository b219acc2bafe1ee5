//! The gRPC client role: outbound halves, as streams of one connection to a callee.

use std::any::Any;
use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::net::connection::Room;
use crate::net::held::Held;
use crate::net::http2::{
    self, ConnectionEnd, Control, GoAway, Http2Config, ResetCode, ResponseFuture, SendRequest,
};
use crate::net::resets::{Opened, ResetLimits, Resets};
use crate::stream::{
    Cancel, End, Half, Initiator, LocalEndKind, MessageBatch, Outbound, Path, Processed, Received,
    Refusable, RequestHead,
};
use crate::wire::grpc::hop::outbound::Hop;
use crate::wire::grpc::receive::{Got, Receiver};
use crate::wire::grpc::send::Sender;
use crate::wire::grpc::{Deadline, StreamConfig, end, hop, limit, metadata};

/// What a connection and its streams share.
#[derive(Debug)]
struct Shared {
    /// Open streams.
    active: Cell<usize>,
    /// How many streams were opened on it: in all, and until the last look.
    opened: Cell<(u64, u64)>,
    /// It refused a stream: the callee sent GOAWAY, or the ids are used up.
    retired: Cell<bool>,
    resets: Resets,
    born: Instant,
}

impl Shared {
    fn new() -> Rc<Self> {
        Rc::new(Self {
            active: Cell::default(),
            opened: Cell::default(),
            retired: Cell::default(),
            resets: Resets::default(),
            born: Instant::now(),
        })
    }
}

/// One connection to a callee. Clones are the same connection.
#[derive(Clone, Debug)]
pub struct Client {
    requests: SendRequest,
    control: Control,
    held: Rc<Held>,
    shared: Rc<Shared>,
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
                shared: Shared::new(),
                config,
                hop,
            },
            driver,
        ))
    }

    /// Waits until the callee's first SETTINGS were applied and acknowledged. A stream that is
    /// opened before may be over the callee's limit, or be refused.
    ///
    /// # Errors
    /// The connection is over.
    pub async fn settled(&self) -> Result<(), String> {
        poll_fn(|cx| self.control.poll_settled(cx)).await;
        if self.control.allowed().is_some() {
            return Ok(());
        }
        let why = self.requests.clone().ready().await;
        Err(why.err().map_or_else(
            || "it closed the connection before its SETTINGS".to_owned(),
            |error| error.text("the callee"),
        ))
    }

    /// Whether new streams can be opened on it, now or when others end. It must be neither over nor
    /// closing. And its control stream must not have the only place that the callee allows.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        let own = self.control_streams();
        let taken = own > 0 && self.control.allowed() == Some(own);
        !self.control.is_over() && !self.control.went_away() && !self.shared.retired.get() && !taken
    }

    /// Which connection it is, while it lives: its streams know the same number.
    #[must_use]
    pub fn id(&self) -> usize {
        Rc::as_ptr(&self.shared) as usize
    }

    /// The number of its open streams.
    #[must_use]
    pub fn active(&self) -> usize {
        self.shared.active.get()
    }

    /// Whether it is idle: no stream is open, and none was opened since the last look. If so,
    /// returns how many it has carried. For its whole life it keeps the memory of as many streams
    /// as were ever open or remembered at once.
    #[must_use]
    pub fn idle_after(&self) -> Option<u64> {
        let (opened, seen) = self.shared.opened.get();
        self.shared.opened.set((opened, opened));
        (self.active() == 0 && opened == seen).then_some(opened)
    }

    /// How many streams the callee allows at a time. No limit is known before its SETTINGS.
    #[must_use]
    pub fn capacity(&self) -> usize {
        let allowed = self.control.allowed().unwrap_or(usize::MAX);
        allowed.saturating_sub(self.control_streams())
    }

    /// Whether it can take one more stream now, with the callee's limits of resets. A stream that was reset keeps its place until the
    /// reset is written: `h2` would make the next one wait for it, and would then send it to the
    /// callee even if it was canceled meanwhile.
    #[must_use]
    pub fn room(&self, limits: Option<&ResetLimits>) -> Room {
        let active = self.active();
        if active + self.control.leaving() >= self.capacity() {
            return Room::Full;
        }
        let Some(limits) = limits else {
            return Room::Free;
        };
        let (age, blocked) = (self.shared.born.elapsed(), self.control.is_blocked());
        match self.shared.resets.room(limits, active, age, blocked) {
            1.. => Room::Free,
            over => Room::Spent(over.unsigned_abs() + 1),
        }
    }

    /// Why the callee ended the connection, if it did so because too many streams were reset. To be
    /// asked when the connection is over.
    pub fn end(&self) -> impl FnOnce() -> Option<String> + use<> {
        let (control, shared) = (self.control.clone(), Rc::clone(&self.shared));
        move || complaint(&control.go_away()?, &shared.resets)
    }

    /// Wakes `waker` once, when there may be room for one more stream or the connection is over.
    pub fn on_room(&self, waker: &Waker) {
        self.control.on_room(waker);
    }

    fn control_streams(&self) -> usize {
        self.hop.as_ref().map_or(0, |hop| hop.streams())
    }

    #[cfg(test)]
    pub(in crate::wire::grpc) fn hop(&self) -> Option<&Hop> {
        self.hop.as_deref()
    }

    /// Why the callee does not take a request with this head: its first SETTINGS limit the header
    /// list (RFC 9113, 6.5.2). Before they are read, nothing is known.
    #[must_use]
    pub fn refuses(&self, head: &RequestHead) -> Option<String> {
        let limit = self.limit_below(head)?;
        let mut request = metadata::request(head);
        if self.hop.is_some() {
            hop::name(&mut request, 0);
        }
        limit::shorten_request(&mut request, limit);
        let size = limit::request_size(&request);
        (size > limit).then(|| {
            format!(
                "the request's headers have {size} bytes, and the callee takes {limit} \
                 (SETTINGS_MAX_HEADER_LIST_SIZE)"
            )
        })
    }

    /// The most bytes that the callee takes of a request, if a request with this head may have more.
    fn limit_below(&self, head: &RequestHead) -> Option<usize> {
        let limit = usize::try_from(self.control.peer_header_list()?).ok()?;
        (limit::at_most(head) > limit).then_some(limit)
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// The connection is closing or lost. Nothing was sent.
    pub async fn open(&self, head: &RequestHead) -> Result<ClientStream, http2::Error> {
        // Its other streams may go on for long, and the connection with them.
        let retire = |_: &http2::Error| self.shared.retired.set(true);
        let requests = self.requests.clone().ready().await;
        let mut requests = requests.inspect_err(retire)?;
        let mut request = metadata::request(head);
        let hop = self.hop.as_ref().map(|hop| (Rc::clone(hop), hop.next()));
        if let Some((_, stream)) = &hop {
            hop::name(&mut request, *stream);
        }
        if let Some(limit) = self.limit_below(head) {
            limit::shorten_request(&mut request, limit);
        }
        let sent = requests.send_request(request, false);
        let (response, send) = sent.inspect_err(|e| {
            if e.is_go_away() || e.is_io() {
                retire(e);
            }
        })?;
        self.shared.active.set(self.active() + 1);
        self.control.stream_opened();
        let (opened, seen) = self.shared.opened.get();
        self.shared.opened.set((opened + 1, seen));
        let unanswered = self.shared.resets.opened(self.shared.born.elapsed());
        Ok(ClientStream {
            phase: Phase::Head(response),
            sender: Some(Sender::new(send, self.control.desk())),
            half_closed: false,
            refused: false,
            written: self.control.written(),
            finished: false,
            unanswered: Some(unanswered),
            deadline: head.timeout.map(Deadline::of_callee),
            held: Rc::clone(&self.held),
            shared: Rc::clone(&self.shared),
            config: Rc::clone(&self.config),
            control: self.control.clone(),
            hop,
        })
    }
}

/// Resets that are not yet refilled, from which on a GOAWAY that does not say why is likely to be
/// for them: half of what nghttp2 tolerates.
const SUSPECT: u64 = 500;

/// What the callee said, if it was for too many resets. Netty and `h2` say so in words. nghttp2, and
/// with it Node, says INTERNAL_ERROR and nothing else.
fn complaint(goaway: &GoAway, resets: &Resets) -> Option<String> {
    let text = goaway.text.to_ascii_lowercase();
    let named = text.contains("rst") || text.contains("reset");
    let silent = text.is_empty() && resets.spent() > 0;
    let for_resets = match goaway.code {
        ResetCode::ENHANCE_YOUR_CALM => named || silent,
        ResetCode::INTERNAL_ERROR => named || (text.is_empty() && resets.spent() >= SUSPECT),
        ResetCode(_) => named,
    };
    for_resets.then(|| goaway.to_string())
}

/// One stream to a gRPC callee.
#[derive(Debug)]
pub struct ClientStream {
    phase: Phase,
    /// `None` once it was canceled.
    sender: Option<Sender>,
    half_closed: bool,
    /// Both sides have finished it, or the callee has reset it, or its connection is lost. Otherwise
    /// a reset was sent, or is sent when it is dropped.
    finished: bool,
    /// When it was opened, until its response begins.
    unanswered: Option<Opened>,
    /// The callee did not look at it.
    refused: bool,
    /// How much the connection had written when the stream was opened.
    written: u64,
    deadline: Option<Deadline>,
    held: Rc<Held>,
    shared: Rc<Shared>,
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
    /// The connection that carries it: its [`Client::id`].
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
    fn refusable(&self) -> Refusable {
        match &self.phase {
            Phase::Head(_) => Refusable::UntilAnswered,
            Phase::Body(_) | Phase::Trailers(_) | Phase::Over(_) => Refusable::No,
        }
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

#[cfg(test)]
mod tests;
