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

mod driver;
mod error;
mod stream;

use std::cell::{Cell, OnceCell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::net::gather::{Gather, gather};
use crate::net::held::Held;
use crate::net::outbox::{Desk, Outbox};
use driver::Driver;

pub use crate::net::connection::ConnectionEnd;
pub use error::{Error, GoAway, ResetCode};
pub use stream::{RecvBody, Respond, ResponseFuture, SendBody, SendRequest};

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
    /// Silence after which a PING is sent; `None` sends none.
    pub ping_interval: Option<Duration>,
    /// How long a PING may stay unanswered.
    pub ping_timeout: Duration,
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
            ping_interval: None,
            ping_timeout: Duration::from_secs(10),
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
    account: RefCell<Option<Rc<Held>>>,
    outbox: OnceCell<Rc<Outbox>>,
    waker: RefCell<Option<Waker>>,
    /// How many streams the peer allows at a time. `None` before its SETTINGS.
    allowed: Cell<Option<usize>>,
    /// Resets that were queued and not yet written.
    leaving: Cell<usize>,
    /// The GOAWAY with which the peer ended the connection.
    goaway: RefCell<Option<Box<GoAway>>>,
    /// The task that waits for room for a stream.
    for_room: RefCell<Option<Waker>>,
    /// The task that waits for the drain, beside the driver.
    waiting: RefCell<Option<Waker>>,
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

    /// Lets the connection read only while `held` allows it. Must be called before it begins.
    pub fn account(&self, held: Rc<Held>) {
        *self.0.account.borrow_mut() = Some(held);
    }

    /// The queue of what waits to be written on this connection, for one of its streams.
    #[must_use]
    pub fn desk(&self) -> Desk {
        let outbox = self.0.outbox.get_or_init(|| Outbox::new(QUEUED));
        outbox.desk()
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

    /// Whether the driver has finished.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.over.get()
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

    /// Wakes `waker` once, when there may be room for one more stream: a stream is over, the peer
    /// changed its limit, or the connection is over. One task may wait for it.
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

    /// The GOAWAY with which the peer ended the connection, if it did. For the client's side.
    #[must_use]
    pub fn go_away(&self) -> Option<GoAway> {
        self.0.goaway.borrow().as_deref().cloned()
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
        if let Some(waiting) = self.0.for_room.take() {
            waiting.wake();
        }
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
            let polled = handshake.as_mut().poll(cx).map_err(|e| failed(&e));
            if let Poll::Ready(Err(e)) = handle.poll_flush(cx) {
                return Poll::Ready(Err(ConnectionEnd::Failed(e.to_string())));
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
    let mut driver = Driver::new(handle, config, control.clone(), connection.ping_pong());
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
                Poll::Ready(Some(Err(e))) => return Poll::Ready(failed(&e)),
                Poll::Ready(None) => return Poll::Ready(ConnectionEnd::Closed),
                Poll::Pending => break,
            }
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
        .handshake::<Gather<IO>, Bytes>(io)
        .await
        .map_err(|e| failed(&e))?;
    let mut driver = Driver::new(handle, config, control.clone(), connection.ping_pong());
    let drive = async move {
        let end = poll_fn(|cx| {
            driver.begin(cx);
            match Pin::new(&mut connection).poll(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(ConnectionEnd::Closed),
                Poll::Ready(Err(e)) => {
                    *control.0.goaway.borrow_mut() = GoAway::of(&e).map(Box::new);
                    return Poll::Ready(failed(&e));
                }
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
                return Poll::Ready(failed(&e));
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

fn failed(error: &h2::Error) -> ConnectionEnd {
    if let Some(reason) = error.reason()
        && error.is_library()
    {
        let kind = ResetCode(reason.into()).violation();
        return ConnectionEnd::Violation(kind, error.to_string());
    }
    ConnectionEnd::Failed(error.to_string())
}

#[cfg(test)]
mod tests;
