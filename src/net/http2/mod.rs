//! HTTP/2 connections on the `h2` crate: settings, driving, keepalive pings, drain, and the grace
//! after which a peer that does not read loses its connection. Every wire that runs on HTTP/2
//! shares it. It does not know what the streams carry.
//!
//! This folder is the only place that names `h2`. A wire sees [`serve`] and [`connect`], and the
//! connection's [`Control`] and [`SendRequest`]. Of a stream it sees [`ResponseFuture`] or
//! [`Respond`], [`RecvBody`] and [`SendBody`]. Another HTTP/2 layer can stand behind them if it
//! keeps these rules:
//!
//! - A call changes the connection's state and wakes its driver. The driver does all I/O. Its next
//!   poll writes what was given to the layer, as far as the socket and the peer's windows allow.
//! - The frames of one stream keep their order. The one exception is [`SendBody::send_reset`],
//!   which overtakes the stream's DATA.
//! - A stream remembers one waker for its receiving half and one for its sending half: that of the
//!   last poll which was pending.
//! - When the last handle of an open stream is dropped, the layer resets it with CANCEL. A server
//!   that has sent its whole response resets with NO_ERROR (RFC 9113, section 8.1).

mod blocks;
mod driver;
mod error;
mod field;
mod keepalive;
mod over;
mod parting;
mod settings;
mod stream;
mod watch;
mod words;

use std::cell::{Cell, OnceCell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::net;
use crate::net::bounds::Ping;
use crate::net::connection::Pace;
use crate::net::gather::{Gather, gather};
use crate::net::held::Held;
use crate::net::outbox::{Desk, Outbox};
use driver::Driver;
use over::Over;
use watch::Watched;

pub use crate::net::connection::ConnectionEnd;
pub use error::{Error, ResetCode};
pub use parting::GoAwayWatcher;
pub use stream::{RecvBody, Respond, ResponseFuture, SendBody, SendRequest};
pub use watch::GoAway;

/// Bytes that all streams of a connection may have queued for its socket, give or take one piece:
/// as much as a socket takes at once.
const QUEUED: usize = 1024 * 1024;

/// No limit on the small DATA frames that `h2` holds. `h2` counts 256 bytes less the payload for
/// each. Its default ends a connection on which some thousand streams send a small message each
/// before their tasks had a turn. And it never gives back what frames of reset streams took, so
/// every connection with canceled streams would end some day. Two other bounds hold here: streams
/// are read at once, into an account of their own, and one poll reads no more than
/// `net::gather::TURN`.
const SMALL_FRAMES: usize = usize::MAX / 2;

/// HTTP/2 settings and bounds of one connection.
#[derive(Clone, Debug)]
pub struct Http2Config {
    /// Receive window of a stream, in bytes: the most memory that one stream occupies.
    pub stream_window: u32,
    /// Receive window of the connection, in bytes: the most memory that one connection occupies.
    pub connection_window: u32,
    /// Bytes that `h2` may buffer for sending on one stream.
    pub send_buffer: usize,
    /// Streams that a peer may have open at a time.
    pub max_streams: u32,
    /// Decoded size of a header block, in bytes.
    pub header_list: u32,
    /// Streams that the peer may reset before they were accepted. Over it, GOAWAY: the bound
    /// against rapid resets. `h2`'s own default, 20, ends in GOAWAY when many streams are canceled
    /// at once.
    pub pending_resets: usize,
    /// Pings to a silent peer; `None` sends none.
    pub ping: Option<Ping>,
    /// Learns what the peer complains of, for the next connection to it.
    pub pace: Option<Arc<dyn Pace>>,
    /// How long the peer may read nothing while a cancel or an end waits to be written.
    pub cancel_grace: Duration,
    /// How long a peer may take to send its preface and settings.
    pub handshake_timeout: Duration,
}

impl Default for Http2Config {
    fn default() -> Self {
        Self {
            stream_window: 256 * 1024,
            connection_window: 16 * 1024 * 1024,
            send_buffer: 256 * 1024,
            max_streams: 10_000,
            header_list: 64 * 1024,
            pending_resets: 10_000,
            ping: None,
            pace: None,
            cancel_grace: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(10),
        }
    }
}

/// How long a stream that this side reset is remembered. `h2`'s default is a second. A busy machine
/// takes longer to read what the peer had sent by then. In a storm of cancels, some streams would
/// end twice on the wire.
const REMEMBER: Duration = Duration::from_secs(10);

/// What `h2` is given as the peer's limit of streams until its SETTINGS come. No SETTINGS can say
/// it, since they have 32 bits. SETTINGS without a limit make it `usize::MAX`.
const UNKNOWN: usize = usize::MAX - 1;

/// The most such streams toward a callee, about 300 bytes each: 10,000 cancels a second. A callee
/// answers; it does not attack.
const REMEMBERED: usize = 100_000;

impl Http2Config {
    /// How many streams that this side reset are remembered, so that late frames of the peer are
    /// dropped silently: all of a storm, and the next.
    ///
    /// `h2` answers every late frame of a forgotten stream with another RST_STREAM. After so many
    /// of these in a connection's life, it ends the connection with every stream on it. So over a
    /// long time, one connection can bear a tenth of this number of streams ended early each
    /// second.
    fn remembered(&self) -> usize {
        self.pending_resets.max(self.max_streams as usize * 2)
    }
}

/// A box that has a description.
struct OnRefused(Box<dyn Fn(u32)>);

impl std::fmt::Debug for OnRefused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnRefused(..)")
    }
}

/// The remote control of a connection's driver. Clones control the same connection.
#[derive(Clone, Debug, Default)]
pub struct Control(Rc<ControlState>);

#[derive(Debug, Default)]
struct ControlState {
    drain: Cell<bool>,
    urgent: Cell<bool>,
    hold: Cell<bool>,
    blocked: Cell<bool>,
    over: Cell<bool>,
    /// What the peer announced in its SETTINGS.
    header_list: Cell<Option<u32>>,
    /// Bytes that the socket took, at the end of the driver's last poll.
    written: Cell<u64>,
    account: RefCell<Option<Rc<Held>>>,
    outbox: OnceCell<Rc<Outbox>>,
    waker: RefCell<Option<Waker>>,
    /// How many streams the peer allows at a time. `None` before its SETTINGS.
    allowed: Cell<Option<usize>>,
    /// Resets that were queued and not yet written.
    leaving: Cell<usize>,
    /// The task that waits for room for a stream.
    for_room: RefCell<Option<Waker>>,
    /// Is called with the number of streams that the layer itself has refused.
    on_refused: RefCell<Option<OnRefused>>,
    /// The task that waits for the drain, beside the driver.
    waiting: RefCell<Option<Waker>>,
    /// Open streams, by the wire's count.
    streams: Cell<usize>,
    /// The connection's number among those of this thread.
    id: Cell<u64>,
    /// The last bytes that were written, if they were that many at once.
    tail: Cell<[u8; watch::TAIL]>,
    /// The malformed field that broke the connection: its stream, and what is wrong.
    malformed: OnceCell<Option<(u32, String)>>,
    /// The last GOAWAY that the peer sent.
    goaway: RefCell<Option<Box<GoAway>>>,
    watchers: parting::Watchers,
    pace: OnceCell<Arc<dyn Pace>>,
    /// The time between pings, by the configuration.
    interval: Cell<Duration>,
}

impl ControlState {
    /// The peer sent GOAWAY. Of several, the first error stays, since it is the reason.
    fn went_away(&self, goaway: GoAway) {
        if let Some(pace) = self.pace.get() {
            if goaway.too_many_pings() {
                pace.slower(self.interval.get());
            } else if goaway.too_many_small_frames() {
                pace.spread();
            }
        }
        let known = self.goaway.borrow().as_ref().map(|known| known.code);
        if known.is_none_or(|code| code == ResetCode::NO_ERROR) {
            *self.goaway.borrow_mut() = Some(Box::new(goaway));
        }
        self.watchers.announce();
        self.wake_for_room();
    }

    fn wake_for_room(&self) {
        if let Some(waiting) = self.for_room.take() {
            waiting.wake();
        }
    }
}

impl Control {
    /// Refuses new streams with the two-step GOAWAY, and closes when the last stream is over.
    pub fn drain(&self) {
        self.0.drain.set(true);
        self.wake();
        if let Some(waiting) = self.0.waiting.take() {
            waiting.wake();
        }
    }

    /// Ready when the connection is draining. One task may wait for it.
    pub fn poll_draining(&self, cx: &Context<'_>) -> Poll<()> {
        if self.is_draining() {
            return Poll::Ready(());
        }
        *self.0.waiting.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Calls `refused` with the number of streams that the layer itself has reset with
    /// PROTOCOL_ERROR, soon after. It is the layer's answer to a malformed request, which
    /// [`serve`] reports in no other way. Must be called before the connection begins.
    pub fn on_refused(&self, refused: impl Fn(u32) + 'static) {
        *self.0.on_refused.borrow_mut() = Some(OnRefused(Box::new(refused)));
    }

    /// Lets the connection read only while `held` allows it. Must be called before it begins.
    pub fn account(&self, held: Rc<Held>) {
        *self.0.account.borrow_mut() = Some(held);
    }

    /// The queue of what waits to be written on this connection, for one of its streams.
    #[must_use]
    pub fn desk(&self) -> Desk {
        self.outbox().desk()
    }

    fn outbox(&self) -> &Rc<Outbox> {
        self.0.outbox.get_or_init(|| Outbox::new(QUEUED))
    }

    /// An end was queued. From now on the peer has `cancel_grace` to read.
    pub fn urgent(&self) {
        self.0.urgent.set(true);
        if self.0.blocked.get() {
            // While `h2` waits for the socket, it wakes nobody for what is queued.
            self.wake();
        }
    }

    /// While held, a poll of the driver writes nothing to the socket: more is about to be queued
    /// that must leave with it.
    pub fn hold_flush(&self, hold: bool) {
        self.0.hold.set(hold);
    }

    /// Whether the driver's last poll left something because the socket is full. The socket wakes
    /// the driver later.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.0.blocked.get()
    }

    /// Whether the connection is draining.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.drain.get()
    }

    /// How many bytes the socket took. A stream that was opened since the count last changed is not
    /// on the wire: only the driver writes.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.0.written.get()
    }

    /// Whether the driver has finished.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.over.get()
    }

    /// The bytes of a header list that the peer accepts (`SETTINGS_MAX_HEADER_LIST_SIZE`), as its
    /// first SETTINGS say. `None` when it has no limit, or before they are read.
    #[must_use]
    pub fn peer_header_list(&self) -> Option<u32> {
        self.0.header_list.get()
    }

    /// How many streams the peer allows at a time, by the last SETTINGS that were applied and
    /// acknowledged. `None` before its first SETTINGS. For the client's side.
    #[must_use]
    pub fn allowed(&self) -> Option<usize> {
        self.0.allowed.get()
    }

    /// Ready when the peer's first SETTINGS were applied and acknowledged, or the connection is
    /// over. What is sent from then on comes after the acknowledgement. For the client's side.
    pub fn poll_settled(&self, cx: &Context<'_>) -> Poll<()> {
        if self.allowed().is_some() || self.is_over() {
            return Poll::Ready(());
        }
        self.on_room(cx.waker());
        Poll::Pending
    }

    /// Wakes `waker` once, when a stream that waits for a place has to look again: a stream is over,
    /// the peer changed its limit, it sent GOAWAY, or the connection is over. One task may wait for
    /// it.
    pub fn on_room(&self, waker: &Waker) {
        let mut slot = self.0.for_room.borrow_mut();
        if !slot.as_ref().is_some_and(|w| w.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }

    /// A stream is over. With `reset`, its RST_STREAM is queued. Until that is written, the stream
    /// keeps its place.
    pub fn left(&self, reset: bool) {
        if reset {
            self.0.leaving.set(self.0.leaving.get() + 1);
            self.wake();
        } else {
            self.wake_for_room();
        }
    }

    /// How many streams are over whose reset is not written yet.
    #[must_use]
    pub fn leaving(&self) -> usize {
        self.0.leaving.get()
    }

    /// A stream was opened. Pings are sent only while there is one.
    pub fn stream_opened(&self) {
        self.0.streams.set(self.0.streams.get() + 1);
    }

    /// A stream of [`Control::stream_opened`] is over for the peer.
    pub fn stream_over(&self) {
        self.0.streams.set(self.0.streams.get().saturating_sub(1));
    }

    fn has_streams(&self) -> bool {
        self.0.streams.get() > 0
    }

    /// The GOAWAY that the peer sent, if any.
    #[must_use]
    pub fn go_away(&self) -> Option<GoAway> {
        self.0.goaway.borrow().as_deref().cloned()
    }

    /// Whether the peer sent GOAWAY: it takes no new streams.
    #[must_use]
    pub fn went_away(&self) -> bool {
        self.0.watchers.went_away()
    }

    /// Calls `told` when the peer sends GOAWAY, while the returned value lives. It is called at once
    /// when the peer has sent it. `told` must not use this connection.
    #[must_use]
    pub fn on_go_away(&self, told: Rc<dyn Fn()>) -> GoAwayWatcher {
        GoAwayWatcher::new(self.clone(), told)
    }

    /// After a poll of the client's driver: what the peer allows, and whether all was written.
    fn polled(&self, allowed: usize) {
        let mut room = false;
        if allowed != UNKNOWN && self.0.allowed.replace(Some(allowed)) != Some(allowed) {
            room = true;
        }
        if !self.0.hold.get() && !self.0.blocked.get() && self.0.leaving.take() > 0 {
            room = true;
        }
        if room {
            self.wake_for_room();
        }
    }

    fn over(&self) {
        self.0.over.set(true);
        self.wake_for_room();
    }

    fn wake_for_room(&self) {
        self.0.wake_for_room();
    }

    /// After the peer broke HTTP/2 ([`Error::is_broken`]): the stream with the malformed field that
    /// did it, and what is wrong with the field. `None` when it was something else, or when it is
    /// not known any more.
    #[must_use]
    pub fn malformed(&self) -> Option<&(u32, String)> {
        let find = || blocks::find_malformed(self.0.id.get());
        self.0.malformed.get_or_init(find).as_ref()
    }

    fn wake(&self) {
        if let Some(waker) = self.0.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    fn register(&self, cx: &Context<'_>) {
        let mut slot = self.0.waker.borrow_mut();
        if !slot.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *slot = Some(cx.waker().clone());
        }
    }
}

/// Serves one accepted connection until it is over. `on_request` receives each request as soon as
/// its headers are there.
pub async fn serve<IO>(
    io: IO,
    config: &Http2Config,
    control: Control,
    mut on_request: impl FnMut(Request<RecvBody>, Respond),
) -> ConnectionEnd
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let (io, handle) = gather(io);
    let on_refused = control.0.on_refused.take();
    if on_refused.is_some() {
        handle.watch_refusals();
    }
    let over = Over::of_caller(&control, config.pending_resets);
    let io = Watched::new(io, &control, true);
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(config.stream_window)
        .initial_connection_window_size(config.connection_window)
        .max_concurrent_streams(config.max_streams)
        .max_header_list_size(config.header_list)
        .max_send_buffer_size(config.send_buffer)
        .max_pending_accept_reset_streams(config.pending_resets)
        .max_concurrent_reset_streams(config.remembered())
        .reset_stream_duration(REMEMBER)
        .max_local_error_reset_streams(Some(config.remembered()))
        .data_frame_budget(SMALL_FRAMES);
    let handshake = async {
        let mut handshake = std::pin::pin!(builder.handshake::<_, Bytes>(io));
        poll_fn(|cx| {
            let polled = handshake.as_mut().poll(cx).map_err(|e| over.failed(&e));
            if let Poll::Ready(Err(e)) = handle.poll_flush(cx) {
                let text = net::words::failed(&e, "the peer");
                return Poll::Ready(Err(ConnectionEnd::Failed(text)));
            }
            polled
        })
        .await
    };
    let mut connection = match tokio::time::timeout(config.handshake_timeout, handshake).await {
        Err(_) => return ConnectionEnd::Handshake,
        Ok(Err(end)) => return end,
        Ok(Ok(connection)) => connection,
    };
    // The handshake does not count as a sign of life: silence is counted from here.
    handle.take_read();
    let pings = config.ping.zip(connection.ping_pong());
    let mut driver = Driver::new(handle, config, control.clone(), pings);
    let mut goaway = false;
    let end = poll_fn(|cx| {
        driver.begin(cx);
        if control.is_draining() && !goaway {
            goaway = true;
            connection.graceful_shutdown();
        }
        loop {
            match connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    on_request(request.map(RecvBody), Respond(respond));
                }
                Poll::Ready(Some(Err(e))) => return Poll::Ready(over.failed(&e)),
                Poll::Ready(None) => return Poll::Ready(ConnectionEnd::Closed),
                Poll::Pending => break,
            }
        }
        if let Some(OnRefused(report)) = &on_refused
            && let refused @ 1.. = driver.take_refusals()
        {
            report(refused);
        }
        driver.poll(cx)
    })
    .await;
    control.0.over.set(true);
    if end == ConnectionEnd::Closed {
        driver.linger().await;
    }
    end
}

/// Opens a client connection on `io`. Returns the handle for requests and its driver, which has to
/// be spawned.
///
/// # Errors
/// An error of the transport or of the protocol.
pub async fn connect<IO>(
    io: IO,
    config: &Http2Config,
    control: Control,
) -> Result<(SendRequest, impl Future<Output = ConnectionEnd> + use<IO>), ConnectionEnd>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let (io, handle) = gather(io);
    let over = Over::of_callee(&control);
    let io = Watched::new(io, &control, false);
    if let Some(pace) = &config.pace {
        let _ = control.0.pace.set(Arc::clone(pace));
        control
            .0
            .interval
            .set(config.ping.map_or(Duration::ZERO, |ping| ping.interval));
        if pace.spreads() {
            control.outbox().spread();
        }
    }
    let mut builder = h2::client::Builder::new();
    builder
        .initial_window_size(config.stream_window)
        .initial_connection_window_size(config.connection_window)
        .max_header_list_size(config.header_list)
        .max_send_buffer_size(config.send_buffer)
        // No limit either on how many late frames of forgotten streams may come in the connection's
        // life.
        .max_concurrent_reset_streams(REMEMBERED)
        .reset_stream_duration(REMEMBER)
        .max_local_error_reset_streams(None)
        .data_frame_budget(SMALL_FRAMES)
        .initial_max_send_streams(UNKNOWN)
        .enable_push(false);
    let (requests, mut connection) = builder
        .handshake::<Watched<Gather<IO>>, Bytes>(io)
        .await
        .map_err(|e| over.failed(&e))?;
    let ping = config.ping.map(|ping| Ping {
        interval: match &config.pace {
            Some(pace) => pace.interval(ping.interval),
            None => ping.interval,
        },
        ..ping
    });
    let pings = ping.zip(connection.ping_pong());
    let mut driver = Driver::new(handle, config, control.clone(), pings);
    let drive = async move {
        let end = poll_fn(|cx| {
            driver.begin(cx);
            let polled = Pin::new(&mut connection).poll(cx);
            driver.note_written();
            match polled {
                Poll::Ready(Ok(())) => return Poll::Ready(ConnectionEnd::Closed),
                Poll::Ready(Err(e)) => return Poll::Ready(over.failed(&e)),
                Poll::Pending => {}
            }
            let polled = driver.poll(cx);
            control.polled(connection.max_concurrent_send_streams());
            let end = ready!(polled);
            // The socket could not be written. A read gives the reason, where it is known, and `h2`
            // reports it to the streams.
            if let ConnectionEnd::Failed(_) = end
                && let Poll::Ready(Err(e)) = Pin::new(&mut connection).poll(cx)
            {
                return Poll::Ready(over.failed(&e));
            }
            Poll::Ready(end)
        })
        .await;
        control.over();
        if end == ConnectionEnd::Closed {
            driver.linger().await;
        }
        end
    };
    Ok((SendRequest(requests), drive))
}

#[cfg(test)]
mod tests;
