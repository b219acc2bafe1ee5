//! The gRPC client role: outbound halves, as streams of one connection to a callee.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Waker;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::net::connection::Room;
use crate::net::held::Held;
use crate::net::http2::{
    self, ConnectionEnd, Control, GoAway, Http2Config, ResetCode, SendRequest,
};
use crate::net::resets::{ResetLimits, Resets};
use crate::net::unread;
use crate::stream::RequestHead;
use crate::wire::grpc::hop::outbound::Hop;
use crate::wire::grpc::send::Sender;
use crate::wire::grpc::{Deadline, StreamConfig, hop, limit, metadata};
pub use stream::ClientStream;
use stream::Phase;

mod stream;

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
            || "the callee closed the connection before its SETTINGS".to_owned(),
            |error| error.text("the callee"),
        ))
    }

    /// Whether the callee may be one that bears only few small DATA frames: one has to ask it.
    #[must_use]
    pub fn may_bear_few_frames(&self) -> bool {
        self.control.may_bear_few_frames()
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
        if active >= unread::STREAMS && self.control.bears_few_frames() {
            let over = active + 1 - unread::STREAMS;
            return Room::Spent(u64::try_from(over).unwrap_or(u64::MAX));
        }
        let Some(limits) = limits else {
            return Room::Free;
        };
        if self.shared.resets.is_free(limits, active) {
            return Room::Free;
        }
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
        limit::shorten_request(&mut request, head, limit);
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
            limit::shorten_request(&mut request, head, limit);
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

#[cfg(test)]
mod tests;
