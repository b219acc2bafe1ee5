//! HTTP/2 connections on the `h2` crate: settings, driving, keepalive pings, draining, and the
//! grace after which a peer that does not read loses its connection. Shared by every wire that
//! runs on HTTP/2; knows nothing of what the streams carry.
//!
//! This folder is the only place that names `h2`. A wire sees [`serve`] and [`connect`], the
//! connection's [`Control`] and [`SendRequest`], and of a stream [`ResponseFuture`] or [`Respond`],
//! [`RecvBody`] and [`SendBody`]. Another HTTP/2 layer can stand behind them if it keeps these
//! rules:
//!
//! - A call changes the connection's state and wakes its driver. The driver does all I/O: what was
//!   given to the layer is written in the driver's next poll, as far as the socket and the peer's
//!   windows allow.
//! - The frames of one stream keep their order, but for [`SendBody::send_reset`], which overtakes
//!   its DATA.
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
pub use error::{Error, ResetCode};
pub use stream::{RecvBody, Respond, ResponseFuture, SendBody, SendRequest};

/// What all streams of a connection may have queued for its socket, in bytes, give or take one
/// piece: as much as a socket takes at once.
const QUEUED: usize = 1024 * 1024;

/// No limit on small DATA frames that `h2` holds (in its own count, 256 bytes less a frame's payload
/// for each). Its default ends a connection on which some thousand streams send a small message each
/// before their tasks had a turn; and it never gives back what frames of reset streams took, so that
/// every connection whose streams are canceled ends some day. What bounds them here: streams are
/// read at once, into an account of their own, and one poll reads no more than
/// `net::gather::TURN`.
const SMALL_FRAMES: usize = usize::MAX / 2;

/// HTTP/2 settings and bounds of one connection.
#[derive(Clone, Debug)]
pub struct Http2Config {
    /// Receive window of a stream, in bytes: the most that one stream pins.
    pub stream_window: u32,
    /// Receive window of the connection, in bytes: the most that one connection pins.
    pub connection_window: u32,
    /// Bytes that `h2` may buffer for sending on one stream.
    pub send_buffer: usize,
    /// Streams that a peer may have open.
    pub max_streams: u32,
    /// Decoded size of a header block, in bytes.
    pub header_list: u32,
    /// Streams that were reset by the peer before they were accepted; over it, GOAWAY
    /// (the rapid-reset bound; `h2`'s own default, 20, ends in GOAWAY under a storm of cancels).
    pub pending_resets: usize,
    /// Silence after which a PING is sent; `None` sends none.
    pub ping_interval: Option<Duration>,
    /// How long a PING may stay unanswered.
    pub ping_timeout: Duration,
    /// How long the socket may take nothing while a cancel or an end waits to be written.
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

/// How long a stream that this side reset is kept in mind. `h2`'s default, a second, is less than a busy
/// machine takes to read what the peer had sent by then: a storm of cancels then ends some streams
/// twice on the wire.
const REMEMBER: Duration = Duration::from_secs(10);

/// The most such streams toward a callee (which answers, it does not attack), some 300 bytes each:
/// 10,000 cancels a second.
const REMEMBERED: usize = 100_000;

impl Http2Config {
    /// How many streams that this side reset are kept in mind for a while, so that what the peer
    /// had sent by then is dropped in silence: all of a storm, and the next. Of a stream that was
    /// forgotten, `h2` answers every late frame with another RST_STREAM, and after so many of them
    /// in a connection's life it ends the connection with every stream on it. So a tenth of this
    /// number of streams ended early each second, for long, is what one connection can bear.
    fn remembered(&self) -> usize {
        self.pending_resets.max(self.max_streams as usize * 2)
    }
}

/// A driver's remote control; clones control the same connection.
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
    /// Who waits for the drain beside the driver.
    waiting: RefCell<Option<Waker>>,
}

impl Control {
    /// Refuses new streams with the two-step GOAWAY and closes when the last one is over.
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

    /// Has the connection read only while `held` allows it. To be said before it begins.
    pub fn account(&self, held: Rc<Held>) {
        *self.0.account.borrow_mut() = Some(held);
    }

    /// Access to what waits to be written on this connection, for a stream of it.
    #[must_use]
    pub fn desk(&self) -> Desk {
        let outbox = self.0.outbox.get_or_init(|| Outbox::new(QUEUED));
        outbox.desk()
    }

    /// An end was queued: from now the peer has `cancel_grace` to read.
    pub fn urgent(&self) {
        self.0.urgent.set(true);
        if self.0.blocked.get() {
            // `h2` wakes nobody for what is queued while it waits for the socket.
            self.wake();
        }
    }

    /// Until this is taken back, a poll of the driver writes nothing to the socket: more is about to
    /// be queued that is to leave with it.
    pub fn hold_flush(&self, hold: bool) {
        self.0.hold.set(hold);
    }

    /// Whether the driver's last poll left something because the socket takes no more; it is woken
    /// when the socket does.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.0.blocked.get()
    }

    /// Whether the connection is draining.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.drain.get()
    }

    /// Whether the driver has returned.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.over.get()
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

/// Serves one accepted connection until it is over. Each request is given to `on_request` as soon as its headers are there.
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
    // The handshake is no sign of life: silence is counted from here.
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

/// Opens a client connection on `io` and returns the handle for requests and its driver, which has
/// to be spawned.
///
/// # Errors
/// The transport's or the protocol's.
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
        // And no end to how many late frames of forgotten ones may come in the connection's life.
        .max_concurrent_reset_streams(REMEMBERED)
        .reset_stream_duration(REMEMBER)
        .max_local_error_reset_streams(None)
        .data_frame_budget(SMALL_FRAMES)
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
                Poll::Ready(Err(e)) => return Poll::Ready(failed(&e)),
                Poll::Pending => {}
            }
            let end = ready!(driver.poll(cx));
            // The socket could not be written. Reading says why, where that is known, and `h2`
            // tells the streams.
            if let ConnectionEnd::Failed(_) = end
                && let Poll::Ready(Err(e)) = Pin::new(&mut connection).poll(cx)
            {
                return Poll::Ready(failed(&e));
            }
            Poll::Ready(end)
        })
        .await;
        control.0.over.set(true);
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
