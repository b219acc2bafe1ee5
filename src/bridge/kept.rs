//! What a stream keeps of its request until the callee answers, so that it can be opened again when
//! the callee turns out not to have looked at it (gRFC A6, "transparent retries").
//!
//! It keeps what was given to the callee: after the stages, as it was checked. So a second callee
//! receives the same bytes. The caller receives its room back as if nothing were kept.

use std::rc::Rc;

use crate::stream::{MessageBatch, RequestHead};

/// The memory that copies of requests may take, for all streams of a worker.
pub trait Room {
    /// Takes `bytes` bytes more. False when there is no room: nothing was taken then.
    fn take(&self, bytes: usize) -> bool;

    /// Gives `bytes` bytes back.
    fn give_back(&self, bytes: usize);
}

/// What is kept of a stream's request, and how much.
pub struct Keep {
    /// The head as the callee received it.
    pub head: RequestHead,
    /// The most bytes of messages, prefixes included.
    pub limit: usize,
    /// Where their memory is counted.
    pub room: Rc<dyn Room>,
}

/// The copy of one stream's request. Dropping it gives its memory back.
pub(super) struct Kept {
    keep: Keep,
    messages: MessageBatch,
    taken: usize,
    phase: Phase,
}

enum Phase {
    /// The callee can still turn out not to have looked at the stream.
    Keeping {
        /// Whether the stream's task was asked to run once more, after its request is written.
        asked: bool,
    },
    /// The stream was opened again. So many bytes that the caller has back already are still to be
    /// sent.
    Replaying(usize),
}

impl Kept {
    pub(super) fn new(keep: Keep) -> Self {
        Self {
            keep,
            messages: MessageBatch::new(),
            taken: 0,
            phase: Phase::Keeping { asked: false },
        }
    }

    pub(super) const fn is_keeping(&self) -> bool {
        matches!(self.phase, Phase::Keeping { .. })
    }

    /// Keeps a copy of `run`. False when it is too much.
    pub(super) fn keep(&mut self, run: &MessageBatch) -> bool {
        if !self.is_keeping() {
            return true;
        }
        if self.messages.len() + run.len() > self.keep.limit {
            return false;
        }
        self.messages.append_copy(run);
        let more = self.messages.memory().saturating_sub(self.taken);
        let has_room = self.keep.room.take(more);
        if has_room {
            self.taken += more;
        }
        has_room
    }

    /// Whether the task has to run once more to find the request written. True once.
    pub(super) fn ask(&mut self) -> bool {
        match &mut self.phase {
            Phase::Keeping { asked } => !std::mem::replace(asked, true),
            Phase::Replaying(_) => false,
        }
    }

    /// The stream is opened again: all that was kept is to be sent, of which `unsent` bytes had not
    /// been sent to the first callee.
    pub(super) fn replay(&mut self, unsent: usize) -> MessageBatch {
        let messages = std::mem::take(&mut self.messages);
        self.phase = Phase::Replaying(messages.len().saturating_sub(unsent));
        messages
    }

    /// Of `taken` bytes that the callee took now, how many the caller has back already.
    pub(super) fn again(&mut self, taken: usize) -> usize {
        match &mut self.phase {
            Phase::Keeping { .. } => 0,
            Phase::Replaying(left) => {
                let again = taken.min(*left);
                *left -= again;
                again
            }
        }
    }

    /// Whether it is still needed once the callee has answered.
    pub(super) const fn is_replaying(&self) -> bool {
        matches!(self.phase, Phase::Replaying(left) if left > 0)
    }

    pub(super) fn take_head(&mut self) -> RequestHead {
        std::mem::take(&mut self.keep.head)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.keep.room.give_back(self.taken);
    }
}
