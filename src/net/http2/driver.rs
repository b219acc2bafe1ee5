//! What one connection needs beside its frames: keepalive pings (`keepalive.rs`), the flush of gathered bytes, the
//! grace of a peer that does not read, and the wait for its close.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::PingPong;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};

use super::keepalive::Keepalive;
use super::{ConnectionEnd, Control, Http2Config};
use crate::net::bounds::Ping;
use crate::net::gather::GatherHandle;
use crate::net::held::Held;
use crate::net::words;

/// How long a peer may take to close its side after this one closed. A socket that is closed with
/// unread bytes resets the connection, and the ends of its last streams could be lost.
const LINGER: Duration = Duration::from_secs(1);

/// What both roles do after the connection itself was polled: pings, the flush, the grace.
pub(super) struct Driver<IO> {
    handle: GatherHandle<IO>,
    control: Control,
    keepalive: Option<Keepalive>,
    cancel_grace: Duration,
    grace: Option<(Pin<Box<Sleep>>, u64)>,
    account: Option<Rc<Held>>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Driver<IO> {
    pub(super) fn new(
        handle: GatherHandle<IO>,
        config: &Http2Config,
        control: Control,
        pings: Option<(Ping, PingPong)>,
    ) -> Self {
        let keepalive = pings.map(|(settings, ping)| Keepalive::new(settings, ping));
        let account = control.0.account.take();
        if let Some(held) = &account {
            handle.set_gate(Rc::clone(held));
        }
        Self {
            handle,
            control,
            keepalive,
            cancel_grace: config.cancel_grace,
            grace: None,
            account,
        }
    }

    /// How many streams `h2` refused by itself since the last call.
    pub(super) fn take_refusals(&self) -> u32 {
        self.handle.take_refusals()
    }

    /// Called before the connection itself is polled.
    pub(super) fn begin(&self, cx: &Context<'_>) {
        self.control.register(cx);
        if let Some(held) = &self.account {
            held.begin_poll();
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionEnd> {
        let polled = self.poll_io(cx);
        self.note_written();
        polled
    }

    /// Called after the connection's last poll too.
    pub(super) fn note_written(&self) {
        self.control.0.written.set(self.handle.written());
    }

    fn poll_io(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionEnd> {
        if self.account.as_ref().is_some_and(|held| held.is_lagging()) {
            cx.waker().wake_by_ref();
        }
        if let Some(keepalive) = &mut self.keepalive
            && keepalive
                .poll(cx, self.handle.take_read() > 0, self.control.has_streams())
                .is_ready()
        {
            return Poll::Ready(ConnectionEnd::Keepalive);
        }
        let refused = self.handle.take_refused();
        self.control.0.blocked.set(refused);
        if self.control.0.hold.get() {
            return Poll::Pending;
        }
        let flushed = self.handle.poll_flush(cx);
        self.control.0.blocked.set(refused || flushed.is_pending());
        match flushed {
            Poll::Ready(Err(e)) => {
                Poll::Ready(ConnectionEnd::Failed(words::failed(&e, "the peer")))
            }
            Poll::Ready(Ok(())) if !refused => {
                if self.control.0.outbox.get().is_some_and(|o| o.written()) {
                    cx.waker().wake_by_ref();
                }
                self.grace = None;
                self.control.0.urgent.set(false);
                Poll::Pending
            }
            // The gathered bytes may be out while `h2` still holds the rest of a long frame, and
            // the end behind it.
            _ if self.control.0.urgent.get() => self.poll_grace(cx),
            _ => Poll::Pending,
        }
    }

    /// Called when everything is written and this side is closed. Waits until the peer has closed
    /// its side.
    pub(super) async fn linger(&self) {
        let gone = poll_fn(|cx| self.handle.poll_discard(cx));
        let _ = tokio::time::timeout(LINGER, gone).await;
    }

    fn poll_grace(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionEnd> {
        let written = self.handle.written();
        let (timer, mark) = self
            .grace
            .get_or_insert_with(|| (Box::pin(tokio::time::sleep(self.cancel_grace)), written));
        while timer.as_mut().poll(cx).is_ready() {
            if *mark == written {
                return Poll::Ready(ConnectionEnd::Grace);
            }
            *mark = written;
            timer.as_mut().reset(Instant::now() + self.cancel_grace);
        }
        Poll::Pending
    }
}
