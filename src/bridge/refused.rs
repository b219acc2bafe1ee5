//! A stream that its callee did not look at, between its first callee and its second.

use super::{Deadline, Duplex, Early, HalfClose, Outcome, PreparedStream, settle, tell_caller};
use crate::stream::{End, Inbound, RequestHead};

/// A stream that its callee ended without having looked at it. It can be opened again, once.
pub struct Refused {
    pub(super) duplex: Box<Duplex>,
    pub(super) end: End,
}

impl Refused {
    /// How the callee ended it.
    #[must_use]
    pub const fn end(&self) -> &End {
        &self.end
    }

    /// When the whole stream must be over.
    #[must_use]
    pub fn deadline(&self) -> Option<&Deadline> {
        self.duplex.clock.deadline()
    }

    /// The head to open it with. Its timeout is what was left at the first opening.
    pub fn head(&mut self) -> Option<&mut RequestHead> {
        Some(self.duplex.request.kept()?.head())
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
    pub fn finish(self, inbound: &mut impl Inbound, end: End, node: &str) -> Outcome {
        tell_caller(inbound, settle(end, node, false), node, self.duplex.moved())
    }
}
