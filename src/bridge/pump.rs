//! One direction: messages that one half received and the other half has not yet taken.
//!
//! The receiving half bounds what waits here. It gets room back ([`Half::release`]) only for what
//! the other half took. A stage receives one message at a time. It goes on while little is ready,
//! so that small messages leave together, and otherwise only after the other half took all: its
//! output is bounded by 8 KiB and one message. A check sees whole batches after the stage, as
//! they are about to be passed on.

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::bridge::Transferred;
use crate::bridge::check::Checker;
use crate::bridge::kept::Kept;
use crate::stream::{
    End, Half, Inbound, LocalEndKind, Message, MessageBatch, Reason, ResponseHead,
};

/// A stage goes on while less than this is ready, in bytes: a frame for each small message costs
/// more than the message, and some peers end connections with many small frames.
const LITTLE: usize = 8 << 10;

/// The most pieces of a message for which the thread's buffer keeps room.
const MAX_PIECES: usize = 1024;

thread_local! {
    /// The pieces of one message on its way through a stage. All streams of the thread use the one
    /// buffer, since most streams are idle.
    static PIECES: Cell<Vec<Bytes>> = const { Cell::new(Vec::new()) };
}

/// Looks at, or changes, every message of one direction, and may refuse one. A direction without a
/// stage passes whole batches on unread.
pub trait Stage {
    /// Called with the head of this direction, before any of its messages; may change it.
    ///
    /// # Errors
    /// A head that announces messages which this stage cannot read.
    fn head(&mut self, head: &mut ResponseHead) -> Result<(), StageError>;

    /// Takes one message in its pieces, and appends to `out` what is to be passed on.
    ///
    /// # Errors
    /// A message that must not pass. It ends the stream. `out` is then as it was.
    fn apply(
        &mut self,
        message: Message,
        pieces: &mut Vec<Bytes>,
        out: &mut MessageBatch,
    ) -> Result<(), StageError>;
}

/// Why a stage refused a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageError {
    /// The local end that the refusal causes.
    pub kind: LocalEndKind,
    /// The text of that end, for people.
    pub text: String,
    /// The field of the message that it is about, if it is about one.
    pub field: Option<Box<str>>,
}

impl StageError {
    /// A refusal of the whole message.
    #[must_use]
    pub const fn new(kind: LocalEndKind, text: String) -> Self {
        let field = None;
        Self { kind, text, field }
    }
}

pub(super) struct Pump {
    /// In a box: most streams have no stage, and live long.
    staged: Option<Box<Staged>>,
    check: Option<Box<Checker>>,
    /// The copy of the request, until the callee answers.
    kept: Option<Rc<Kept>>,
    /// Messages that the other half can take now.
    ready: MessageBatch,
    pub(super) moved: Transferred,
}

struct Staged {
    stage: Box<dyn Stage>,
    /// Messages received that have not been through the stage.
    raw: MessageBatch,
    /// Received bytes behind what is ready. They are released once the other half took all of it.
    owed: usize,
    /// What the stage refused after what is ready.
    refused: Option<Box<End>>,
}

impl Pump {
    pub(super) fn new(stage: Option<Box<dyn Stage>>, check: Option<Checker>) -> Self {
        let staged = |stage| {
            Box::new(Staged {
                stage,
                raw: MessageBatch::new(),
                owed: 0,
                refused: None,
            })
        };
        Self {
            staged: stage.map(staged),
            check: check.map(Box::new),
            kept: None,
            ready: MessageBatch::new(),
            moved: Transferred::default(),
        }
    }

    /// Keeps a copy of what is sent from now on.
    pub(super) fn keep(&mut self, kept: Rc<Kept>) {
        self.kept = Some(kept);
    }

    /// The copy, while the stream can be opened again.
    pub(super) fn kept(&self) -> Option<&Rc<Kept>> {
        self.kept.as_ref().filter(|kept| kept.is_keeping())
    }

    /// The stream will not be opened again.
    pub(super) fn forget(&mut self) {
        if self.kept.as_ref().is_some_and(|kept| !kept.is_replaying()) {
            self.kept = None;
        }
    }

    /// Sends all that was kept once more.
    pub(super) fn replay(&mut self) {
        if let Some(kept) = &self.kept {
            let unsent = self.ready.clear();
            // Behind a stage, the sender has its room back by whole messages.
            let unsent = if self.staged.is_some() {
                usize::MAX
            } else {
                unsent
            };
            self.ready = kept.replay(unsent);
        }
    }

    /// Ends the check: nobody takes what still comes, so it must not end the stream.
    pub(super) fn uncheck(&mut self) {
        self.check = None;
    }

    /// Queues what was received.
    ///
    /// # Errors
    /// A message that must not pass.
    pub(super) fn push(&mut self, mut run: MessageBatch) -> Result<(), End> {
        self.moved.messages += run.messages();
        self.moved.bytes += run.len() as u64;
        if let Some(staged) = &mut self.staged {
            staged.raw.append(&mut run);
        } else {
            if let Some(check) = &mut self.check {
                check.look(&run).map_err(end)?;
            }
            self.copy(&run);
            self.ready.append(&mut run);
        }
        Ok(())
    }

    /// Keeps what is about to be sent. What is too large to keep ends the keeping.
    fn copy(&mut self, run: &MessageBatch) {
        if self.kept.as_ref().is_some_and(|kept| !kept.keep(run)) {
            self.kept = None;
        }
    }

    /// Hands over what the other half takes. Ready when nothing is left.
    #[inline]
    pub(super) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl Half,
        to: &mut impl Half,
    ) -> Poll<Result<(), End>> {
        // As on most polls.
        if self.ready.is_empty() && self.staged.is_none() {
            return Poll::Ready(Ok(()));
        }
        self.flush(cx, from, to)
    }

    /// Part of each message's way; it would be called otherwise, since a stream's end uses it too.
    #[inline(always)]
    fn flush(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl Half,
        to: &mut impl Half,
    ) -> Poll<Result<(), End>> {
        loop {
            if let Some(staged) = &mut self.staged
                && self.ready.is_empty()
            {
                if staged.owed > 0 {
                    from.release(std::mem::take(&mut staged.owed));
                }
                if let Some(refused) = staged.refused.take() {
                    return Poll::Ready(Err(*refused));
                }
                if let Err(end) = self.through_stage() {
                    return Poll::Ready(Err(end));
                }
            }
            if self.ready.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let before = self.ready.len();
            let polled = to.poll_send(cx, &mut self.ready);
            if self.staged.is_none() {
                self.release(from, before - self.ready.len());
            }
            if polled.is_pending() {
                self.ready.compact();
                return Poll::Pending;
            }
            if self.ready.is_empty() {
                // An idle stream keeps no buffer; the next batch brings its own.
                self.ready.clear();
            }
        }
    }

    /// What is kept is no more than the rest of the message that the other half has begun to take.
    /// Returns whether there is any.
    pub(super) fn keep_begun(&mut self, to: &impl Inbound) -> bool {
        let mut left = to.unfinished(&self.ready);
        let mut rest = MessageBatch::new();
        while let Some(piece) = self.ready.take_piece(left) {
            left -= piece.len();
            rest.push_bytes(piece);
        }
        self.staged = None;
        self.ready = rest;
        !self.ready.is_empty()
    }

    /// Gives the sender the room of `taken` bytes back. It has that of replayed bytes already.
    fn release(&mut self, from: &mut impl Half, taken: usize) {
        let mut taken = taken;
        if let Some(kept) = &self.kept {
            let again = kept.again(taken);
            taken -= again;
            if again > 0 && !kept.is_replaying() {
                self.kept = None;
            }
        }
        if taken > 0 {
            from.release(taken);
        }
    }

    /// Drops messages that nobody will take any more, and gives their room back.
    pub(super) fn discard(&mut self, from: &mut impl Half) {
        let ready = self.ready.clear();
        match &mut self.staged {
            Some(staged) => {
                staged.refused = None;
                let bytes = staged.raw.clear() + std::mem::take(&mut staged.owed);
                if bytes > 0 {
                    from.release(bytes);
                }
            }
            None => self.release(from, ready),
        }
    }

    /// Bytes that wait for the other half.
    pub(super) fn waiting(&self) -> usize {
        self.staged.as_ref().map_or(0, |s| s.raw.len()) + self.ready.len()
    }

    /// Shows the head of this direction to the stage.
    pub(super) fn head(&mut self, head: &mut ResponseHead) -> Result<(), End> {
        match &mut self.staged {
            Some(staged) => staged.stage.head(head).map_err(end),
            None => Ok(()),
        }
    }

    /// Gives messages to the stage until enough is ready, and no more than one when it is checked
    /// what comes out: what was good before a bad one has to leave.
    fn through_stage(&mut self) -> Result<(), End> {
        let Some(staged) = self.staged.as_mut().filter(|s| !s.raw.is_empty()) else {
            return Ok(());
        };
        let enough = if self.check.is_some() { 1 } else { LITTLE };
        let mut pieces = PIECES.take();
        while self.ready.len() < enough {
            let before = staged.raw.len();
            let Some(message) = staged.raw.pop_message(|piece| pieces.push(piece)) else {
                break;
            };
            staged.owed += before - staged.raw.len();
            let applied = staged.stage.apply(message, &mut pieces, &mut self.ready);
            pieces.clear();
            if let Err(e) = applied {
                staged.refused = Some(Box::new(end(e)));
                break;
            }
        }
        if pieces.capacity() <= MAX_PIECES {
            PIECES.set(pieces);
        }
        if self.ready.is_empty() {
            return match staged.refused.take() {
                Some(refused) => Err(*refused),
                None => Ok(()),
            };
        }
        if let Some(check) = &mut self.check {
            check.look(&self.ready).map_err(end)?;
        }
        self.kept = self.kept.take().filter(|kept| kept.keep(&self.ready));
        Ok(())
    }
}

/// The end that a refusal causes.
fn end(error: StageError) -> End {
    let mut end = End::hop(error.kind, error.text);
    if let Reason::Hop(hop) = &mut end.reason {
        hop.field = error.field;
    }
    end
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::testing::memory_half;

    struct Pass;

    impl Stage for Pass {
        fn head(&mut self, _: &mut ResponseHead) -> Result<(), StageError> {
            Ok(())
        }

        fn apply(
            &mut self,
            message: Message,
            pieces: &mut Vec<Bytes>,
            out: &mut MessageBatch,
        ) -> Result<(), StageError> {
            out.push_prefix(false, message.len as u32);
            pieces.drain(..).for_each(|piece| out.push_bytes(piece));
            Ok(())
        }
    }

    #[test]
    fn a_message_through_a_stage_leaves_the_threads_buffer_for_the_next() {
        PIECES.set(Vec::with_capacity(7));
        let (mut from, _caller) = memory_half(usize::MAX);
        let (mut to, _callee) = memory_half(usize::MAX);
        let mut pump = Pump::new(Some(Box::new(Pass)), None);
        let mut run = MessageBatch::new();
        run.push_message(false, Bytes::from_static(b"one"));
        pump.push(run).unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        let flushed = pump.poll_flush(&mut cx, &mut from, &mut to);
        assert_eq!(flushed, Poll::Ready(Ok(())));
        let pieces = PIECES.take();
        assert_eq!((pieces.len(), pieces.capacity()), (0, 7));
    }
}
