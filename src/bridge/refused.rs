//! A stream that its callee did not look at, between its first callee and its second.

use std::task::{Context, Poll};

use super::{Deadline, Duplex, Early, HalfClose, Outcome, PreparedStream, Settled, settle};
use crate::stream::{End, Inbound, RequestHead};

/// A stream that its callee ended without having looked at it. It can be opened again, once.
pub struct Refused {
    pub(super) duplex: Box<Duplex>,
    pub(super) end: Box<End>,
}

impl Refused {
    /// How the callee ended it.
    #[must_use]
    pub fn end(&self) -> &End {
        &self.end
    }

    /// When the whole stream must be over.
    #[must_use]
    pub fn deadline(&self) -> Option<&Deadline> {
        self.duplex.clock.deadline()
    }

    /// Takes the head to open it with. Its timeout is what was left at the first opening.
    #[must_use]
    pub fn take_head(&self) -> Option<Box<RequestHead>> {
        self.duplex.request.kept()?.take_head()
    }

    /// Ready with the end of a limit that passes while it is opened again. `early` is what the
    /// caller has sent meanwhile.
    pub fn poll_limits(&mut self, cx: &mut Context<'_>, early: &Early) -> Poll<End> {
        let early = u64::try_from(early.messages.len()).unwrap_or(u64::MAX);
        let activity = self.duplex.activity().saturating_add(early);
        self.duplex.clock.poll(cx, false, activity, None)
    }

    /// The stream on its second callee. `early` is what the caller sent meanwhile. Its clocks have
    /// gone on.
    #[must_use]
    pub fn again(self, early: Early) -> PreparedStream {
        let mut duplex = self.duplex;
        duplex.request.replay();
        duplex.answered = false;
        if duplex.half_close == HalfClose::Passed || early.half_closed {
            duplex.half_close = HalfClose::Seen;
        }
        if let Err(end) = duplex.request.push(early.messages) {
            duplex.refused = Some(Box::new(end));
        }
        PreparedStream(duplex)
    }

    /// Ends it: only the caller receives the end.
    #[must_use]
    pub fn finish(self, inbound: &mut impl Inbound, end: End, node: &str) -> Box<Outcome> {
        Settled::of(settle(end, node, false)).tell(inbound, node, self.duplex.moved())
    }
}
