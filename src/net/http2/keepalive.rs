//! Keepalive pings (gRFC A8). A peer that says nothing is asked; one that does not answer is dead.

use std::pin::Pin;
use std::task::{Context, Poll};

use h2::PingPong;
use tokio::time::{Instant, Sleep};

use crate::net::bounds::Ping;

/// The pings of one connection.
///
/// The time until a ping counts from what was read last, a PONG included. So a peer never sees two
/// pings that are closer than the interval, whatever the delay of the network is.
pub(super) struct Keepalive {
    ping: PingPong,
    settings: Ping,
    /// When something was read last.
    read: Instant,
    /// When the ping that waits for its PONG was sent.
    asked: Option<Instant>,
    /// A ping was due while no stream was open. It is sent as soon as one is.
    dormant: bool,
    timer: Pin<Box<Sleep>>,
}

impl Keepalive {
    pub(super) fn new(settings: Ping, ping: PingPong) -> Self {
        Self {
            ping,
            settings,
            read: Instant::now(),
            asked: None,
            dormant: false,
            timer: Box::pin(tokio::time::sleep(settings.interval)),
        }
    }

    /// Ready when the peer is dead. `read`: something was read since the last poll. `streams`:
    /// streams are open.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, read: bool, streams: bool) -> Poll<()> {
        if read {
            self.read = Instant::now();
        }
        if self.asked.is_some() && self.ping.poll_pong(cx).is_ready() {
            self.asked = None;
        }
        if self.dormant {
            if !streams {
                return Poll::Pending;
            }
            self.dormant = false;
            let due = self.due();
            self.timer.as_mut().reset(due);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let due = self.due();
            if due > now {
                self.timer.as_mut().reset(due);
            } else if self.asked.is_some_and(|asked| asked >= self.read) {
                return Poll::Ready(());
            } else if !streams && !self.settings.without_streams {
                self.dormant = true;
                return Poll::Pending;
            } else {
                // While an older ping has no PONG yet, no other one is sent: it asks the same.
                let _ = self.ping.send_ping(h2::Ping::opaque());
                self.asked = Some(now);
                self.timer.as_mut().reset(now + self.settings.timeout);
            }
        }
        Poll::Pending
    }

    /// When the peer is asked, or given up.
    fn due(&self) -> Instant {
        match self.asked {
            // Nothing was read since it was asked.
            Some(asked) if asked >= self.read => asked + self.settings.timeout,
            Some(_) | None => self.read + self.settings.interval,
        }
    }
}

#[cfg(test)]
mod tests;
