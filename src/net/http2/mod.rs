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
mod control;
mod driver;
mod error;
mod field;
mod keepalive;
mod over;
mod parting;
mod probe;
mod settings;
mod stream;
mod watch;
mod words;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::net;
use crate::net::bounds::Ping;
use crate::net::connection::Pace;
use crate::net::gather::{Gather, gather};
use control::{ControlState, OnRefused, UNKNOWN};
use driver::Driver;
use over::Over;
use watch::Watched;

pub use crate::net::connection::ConnectionEnd;
pub use control::Control;
pub use error::{Error, ResetCode};
pub use parting::GoAwayWatcher;
pub use probe::bears_small_frames;
pub use stream::{RecvBody, Respond, ResponseFuture, SendBody, SendRequest};
pub use watch::GoAway;

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
    // In a box that goes when it is over: it is as large as the connection.
    let handshake = Box::pin(async {
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
    });
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
        control.outbox().follow(Arc::clone(pace));
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
    // In a box: each future around it would have room for it twice.
    let drive = Box::pin(async move {
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
    });
    Ok((SendRequest(requests), drive))
}

#[cfg(test)]
mod tests;
