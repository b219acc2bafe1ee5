//! What a stream keeps of its request until the callee answers, so that it can be opened again when
//! the callee turns out not to have looked at it (gRFC A6, "transparent retries").
//!
//! It keeps what was given to the callee: after the stages, as it was checked. So a second callee
//! receives the same bytes. The caller receives its room back as if nothing were kept.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::stream::{Forget, MessageBatch, RequestHead};

/// The memory that copies of requests may take, for all streams of a worker.
pub trait Room {
    /// Takes `bytes` bytes more. False when there is no room: nothing was taken then.
    fn take(&self, bytes: usize) -> bool;

    /// Gives `bytes` bytes back.
    fn give_back(&self, bytes: usize);
}

/// The copy of one stream's request. Dropping it gives its memory back.
pub struct Kept {
    /// The most bytes of messages, prefixes included.
    limit: usize,
    /// Where their memory is counted.
    room: Rc<dyn Room>,
    taken: Cell<usize>,
    phase: RefCell<Phase>,
}

enum Phase {
    /// The callee can still turn out not to have looked at the stream.
    Keeping {
        /// The head as the callee received it, until the stream is opened again.
        head: Option<Box<RequestHead>>,
        messages: MessageBatch,
    },
    /// The stream was opened again. So many bytes that the caller has back already are still to be
    /// sent.
    Replaying(usize),
    /// Nothing is kept any more.
    Over,
}

impl Kept {
    /// Keeps the head as the callee received it, and at most `limit` bytes of messages, prefixes
    /// included. Their memory is counted in `room`.
    #[must_use]
    pub fn new(head: Box<RequestHead>, limit: usize, room: Rc<dyn Room>) -> Rc<Self> {
        let phase = Phase::Keeping {
            head: Some(head),
            messages: MessageBatch::new(),
        };
        Rc::new(Self {
            limit,
            room,
            taken: Cell::new(0),
            phase: RefCell::new(phase),
        })
    }

    pub(super) fn is_keeping(&self) -> bool {
        matches!(*self.phase.borrow(), Phase::Keeping { .. })
    }

    /// Keeps a copy of `run`. False when it is too much.
    pub(super) fn keep(&self, run: &MessageBatch) -> bool {
        if run.is_empty() {
            return true;
        }
        let Phase::Keeping { messages, .. } = &mut *self.phase.borrow_mut() else {
            return true;
        };
        if messages.len() + run.len() > self.limit {
            return false;
        }
        messages.append_copy(run);
        let taken = self.taken.get();
        let more = messages.memory().saturating_sub(taken);
        let has_room = self.room.take(more);
        if has_room {
            self.taken.set(taken + more);
        }
        has_room
    }

    /// Takes the head, to open the stream again.
    pub(super) fn take_head(&self) -> Option<Box<RequestHead>> {
        match &mut *self.phase.borrow_mut() {
            Phase::Keeping { head, .. } => head.take(),
            Phase::Replaying(_) | Phase::Over => None,
        }
    }

    /// The stream is opened again: all that was kept is to be sent, of which `unsent` bytes had not
    /// been sent to the first callee.
    pub(super) fn replay(&self, unsent: usize) -> MessageBatch {
        let phase = &mut *self.phase.borrow_mut();
        let messages = match phase {
            Phase::Keeping { messages, .. } => std::mem::take(messages),
            Phase::Replaying(_) | Phase::Over => MessageBatch::new(),
        };
        *phase = Phase::Replaying(messages.len().saturating_sub(unsent));
        messages
    }

    /// Of `taken` bytes that the callee took now, how many the caller has back already.
    pub(super) fn again(&self, taken: usize) -> usize {
        match &mut *self.phase.borrow_mut() {
            Phase::Keeping { .. } | Phase::Over => 0,
            Phase::Replaying(left) => {
                let again = taken.min(*left);
                *left -= again;
                again
            }
        }
    }

    /// Whether it is still needed once the callee has answered.
    pub(super) fn is_replaying(&self) -> bool {
        matches!(*self.phase.borrow(), Phase::Replaying(left) if left > 0)
    }

    fn give_back(&self) {
        self.room.give_back(self.taken.take());
    }
}

impl Forget for Kept {
    fn forget(&self) {
        if self.is_keeping() {
            self.phase.replace(Phase::Over);
            self.give_back();
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.give_back();
    }
}
