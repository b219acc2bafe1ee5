//! TTHeader ping-pong traffic passes unchanged, so that ripcord can stand in front of a Kitex port
//! that serves both.
//!
//! The first request decides the route of a connection. Then all bytes are relayed both ways: every
//! request on it goes where the first one went. Kitex keeps a connection to one service, so its
//! callers expect that.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional};
use tracing::{debug, warn};

use crate::Route;
use crate::backend::pool::Dialed;
use crate::context::Context;
use crate::net::socket::{ConnectionInfo, Socket};
use crate::net::violation::Violation;
use crate::stream::{Initiator, RequestHead, Wire};
use crate::telemetry::{Side, log_limit};
use crate::wire::calls::{self, Request};

/// A connection that is not relayed, since its first call could not be read.
pub(crate) struct Refused;

/// Relays one connection of `listener`. Its first frame is a call of `wire`, and has to be read
/// within `limit`.
///
/// # Errors
/// The call could not be read. The log has the reason.
pub(crate) async fn calls(
    context: &Context,
    listener: &Arc<str>,
    limit: Duration,
    wire: &'static Wire,
    mut socket: Socket,
    info: ConnectionInfo,
) -> Result<(), Refused> {
    let peer = info.peer;
    let metrics = &context.process.telemetry.metrics;
    let _counted = metrics.connection(Side::Inbound, wire);
    let request = match tokio::time::timeout(limit, read_request(&mut socket)).await {
        Ok(Ok(mut request)) => {
            request.head.destination = info.original_destination;
            request
        }
        Ok(Err(error)) => {
            if log_limit::admits("no ping-pong request could be read", listener, "") {
                warn!(%peer, listener = %listener, %error, "no ping-pong request could be read");
            }
            return Err(Refused);
        }
        Err(_) => {
            metrics.violation(Side::Inbound, None, Violation::HANDSHAKE_TIMEOUT);
            let line = "no whole ping-pong request within the handshake timeout";
            if log_limit::admits(line, listener, "") {
                warn!(%peer, listener = %listener, "{line}");
            }
            return Err(Refused);
        }
    };
    match connect(context, wire, &request.head).await {
        Ok(mut backend) => {
            let endpoint = backend.endpoint.address();
            debug!(%peer, %endpoint, method = %request.head.method, "relaying a ping-pong connection");
            let first = Cell::new(None);
            let mut caller = Noted::new(&mut socket, Initiator::Caller, &first);
            let mut callee = Noted::new(&mut backend.socket, Initiator::Callee, &first);
            tokio::select! {
                relayed = copy_bidirectional(&mut caller, &mut callee) => {
                    if let Err(error) = relayed {
                        debug!(%peer, %endpoint, %error, "ping-pong connection lost");
                    }
                    backend.endpoint.ended_by(first.get().unwrap_or(Initiator::Caller));
                },
                () = context.drain.ending() => {
                    debug!(%peer, %endpoint, "ping-pong connection closed by the drain");
                    backend.endpoint.ended_by(Initiator::Hop);
                }
            }
        }
        Err(text) => {
            if log_limit::admits("ping-pong request refused", listener, "") {
                warn!(%peer, listener = %listener, reason = %text, "ping-pong request refused");
            }
            let _ = socket.write_all(&request.refusal(&text)).await;
            let _ = socket.shutdown().await;
        }
    }
    Ok(())
}

/// Reads until the header of the first request is there. Every byte stays, to be read again.
async fn read_request(socket: &mut Socket) -> Result<Request, String> {
    loop {
        if let Some(request) = calls::parse(socket.first()).map_err(|e| e.to_string())? {
            return Ok(request);
        }
        if socket.read_first().await.map_err(|e| e.to_string())? == 0 {
            return Err("closed in the middle of its first request".to_owned());
        }
    }
}

async fn connect(
    context: &Context,
    wire: &'static Wire,
    head: &RequestHead,
) -> Result<Dialed, String> {
    let route: Option<Arc<Route>> = context.process.routes.load().table.find(head);
    let Some(route) = route else {
        return Err(format!(
            "no route for service {:?}, method {:?}",
            head.service, head.method
        ));
    };
    let backend = &route.backend;
    if backend.wire != wire {
        return Err(format!(
            "backend {} does not speak {}, and ping-pong is not translated",
            backend.name, wire.spoken
        ));
    }
    context.pool.dial(backend, head).await
}

/// A socket that records which side ended or failed first.
struct Noted<'a> {
    socket: &'a mut Socket,
    side: Initiator,
    first: &'a Cell<Option<Initiator>>,
}

impl<'a> Noted<'a> {
    fn new(socket: &'a mut Socket, side: Initiator, first: &'a Cell<Option<Initiator>>) -> Self {
        Self {
            socket,
            side,
            first,
        }
    }

    fn note(&self) {
        self.first.set(self.first.get().or(Some(self.side)));
    }
}

impl AsyncRead for Noted<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut *self.socket).poll_read(cx, buf);
        match &polled {
            Poll::Ready(Ok(())) if buf.filled().len() > before => {}
            Poll::Ready(_) => self.note(),
            Poll::Pending => {}
        }
        polled
    }
}

impl AsyncWrite for Noted<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut *self.socket).poll_write(cx, buf);
        if let Poll::Ready(Err(_)) = &polled {
            self.note();
        }
        polled
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.socket).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.socket).poll_shutdown(cx)
    }
}
