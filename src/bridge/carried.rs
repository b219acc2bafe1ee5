//! A stream on its way, as its task polls it.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::settled::Settled;
use super::{Duplex, Switch, Transferred};
use crate::stream::{End, Inbound, Outbound, Received};

/// How long a caller may take for the rest of a message that is half written when its stream ends.
pub(super) const COMPLETE: Duration = Duration::from_millis(100);

/// What the task of a stream polls. One value, since a closure that borrows each part would be as
/// large as all of them.
pub(super) struct Carried<'a, I, O, S> {
    pub(super) duplex: Box<Duplex>,
    pub(super) inbound: &'a mut I,
    pub(super) outbound: &'a mut O,
    pub(super) switch: &'a Switch,
    pub(super) seen: S,
    /// The activity that `seen` was told.
    pub(super) said: u64,
}

/// Why a turn was the last one.
pub(super) enum Stop {
    /// The stream is over.
    End(End),
    /// The callee ended it without having looked at it, and the request was kept.
    Refused(End),
}

impl<I: Inbound, O: Outbound, S: Fn(Transferred, Transferred)> Carried<'_, I, O, S> {
    /// One turn of the task. Ready when the stream is over: what each side receives is decided, and
    /// the callee was canceled if that is part of it. The error is the end of a stream that the
    /// callee did not look at.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        node: &str,
    ) -> Poll<Result<Settled, Box<End>>> {
        // The end does not leave this frame but in a box: the task has room for what it is given.
        Poll::Ready(match ready!(self.turn(cx)) {
            Stop::End(end) => Ok(self.duplex.settle(end, self.outbound, node)),
            Stop::Refused(end) => Err(Box::new(end)),
        })
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Stop> {
        let duplex = &mut *self.duplex;
        if let Some(end) = duplex.refused.take() {
            return Poll::Ready(Stop::End(*end));
        }
        if let Poll::Ready(stop) = duplex.poll(cx, self.inbound, self.outbound) {
            return Poll::Ready(stop);
        }
        if let Poll::Ready(end) = self.switch.poll_end(cx) {
            return Poll::Ready(Stop::End(end));
        }
        let activity = duplex.activity();
        if activity != self.said {
            self.said = activity;
            (self.seen)(duplex.request.moved, duplex.response.moved);
        }
        duplex.poll_clock(cx).map(Stop::End)
    }

    /// Writes the rest of a message that is half written, for as long as [`COMPLETE`]. What the
    /// caller sends meanwhile is dropped. Returns false if the caller has gone.
    pub(super) async fn complete(&mut self) -> bool {
        let (inbound, outbound) = (&mut *self.inbound, &mut *self.outbound);
        let response = &mut self.duplex.response;
        let written = poll_fn(|cx| {
            loop {
                match inbound.poll_recv(cx) {
                    Poll::Ready(Received::Messages(run)) => inbound.release(run.len()),
                    Poll::Ready(Received::HalfClose) => {}
                    Poll::Ready(Received::End(_)) => return Poll::Ready(false),
                    Poll::Ready(Received::Head(_)) => {
                        debug_assert!(false, "a caller has no response head")
                    }
                    Poll::Pending => break,
                }
            }
            response.poll_flush(cx, outbound, inbound).map(|_| true)
        });
        // Otherwise the half writes what its wire has for it.
        let waited = tokio::time::timeout(COMPLETE, written).await;
        waited.unwrap_or(true)
    }
}
