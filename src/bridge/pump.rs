//! One direction: messages that were received and not yet taken by the other half.
//!
//! What is queued here is bounded by the receiving half, which gets its room back
//! ([`Half::release`]) only for what the other half took. A stage sees messages one at a time and
//! only when the other half took what was before, so what a stage makes is bounded by one message.
//! A check sees whole runs, behind the stage: as they are to be passed on.

use std::task::{Context, Poll};

use bytes::Bytes;

use crate::bridge::Transferred;
use crate::bridge::check::Checker;
use crate::stream::{End, Half, LocalEndKind, Message, MessageBatch, ResponseHead};

/// Looks at, or changes, every message of one direction; may refuse one. A direction without a
/// stage passes runs on without looking at them.
pub trait Stage {
    /// The head of this direction's messages, before any of them; may be changed.
    ///
    /// # Errors
    /// A head whose messages this stage cannot read.
    fn head(&mut self, head: &mut ResponseHead) -> Result<(), StageError>;

    /// Takes one message in its pieces and appends what is to be passed on to `out`.
    ///
    /// # Errors
    /// A message that must not pass; it ends the stream.
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
    /// The end that it means.
    pub kind: LocalEndKind,
    /// What to tell people.
    pub text: String,
}

pub(super) struct Pump {
    /// Most streams have none, and live long: what only a stage needs is apart.
    staged: Option<Box<Staged>>,
    check: Option<Box<Checker>>,
    /// Ready to be taken.
    ready: MessageBatch,
    pub(super) moved: Transferred,
}

struct Staged {
    stage: Box<dyn Stage>,
    /// Reused between messages.
    pieces: Vec<Bytes>,
    /// Received, not yet through the stage.
    raw: MessageBatch,
    /// Bytes received that what is ready stands for: released when it was taken.
    owed: usize,
}

impl Pump {
    pub(super) fn new(stage: Option<Box<dyn Stage>>, check: Option<Checker>) -> Self {
        let staged = |stage| {
            Box::new(Staged {
                stage,
                pieces: Vec::new(),
                raw: MessageBatch::new(),
                owed: 0,
            })
        };
        Self {
            staged: stage.map(staged),
            check: check.map(Box::new),
            ready: MessageBatch::new(),
            moved: Transferred::default(),
        }
    }

    /// Nobody takes what still comes: it is not looked at either, lest it end the stream.
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
            self.ready.append(&mut run);
        }
        Ok(())
    }

    /// Hands over what the other half takes. Ready when nothing is left.
    pub(super) fn poll_flush(
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
                if let Err(e) = self.next_through_stage() {
                    return Poll::Ready(Err(end(e)));
                }
            }
            if self.ready.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let before = self.ready.len();
            let polled = to.poll_send(cx, &mut self.ready);
            if self.staged.is_none() {
                let taken = before - self.ready.len();
                if taken > 0 {
                    from.release(taken);
                }
            }
            if polled.is_pending() {
                self.ready.compact();
                return Poll::Pending;
            }
            if self.ready.is_empty() {
                // A stream that idles now keeps no buffer; the next run brings its own.
                self.ready.clear();
            }
        }
    }

    /// Drops what nobody will take any more, and gives its room back.
    pub(super) fn discard(&mut self, from: &mut impl Half) {
        let ready = self.ready.clear();
        let bytes = match &mut self.staged {
            Some(staged) => staged.raw.clear() + std::mem::take(&mut staged.owed),
            None => ready,
        };
        if bytes > 0 {
            from.release(bytes);
        }
    }

    /// Bytes that wait to be taken.
    pub(super) fn waiting(&self) -> usize {
        self.staged.as_ref().map_or(0, |s| s.raw.len()) + self.ready.len()
    }

    /// Shows the stage the head of this direction.
    pub(super) fn head(&mut self, head: &mut ResponseHead) -> Result<(), End> {
        match &mut self.staged {
            Some(staged) => staged.stage.head(head).map_err(end),
            None => Ok(()),
        }
    }

    fn next_through_stage(&mut self) -> Result<(), StageError> {
        let Some(staged) = &mut self.staged else {
            return Ok(());
        };
        let before = staged.raw.len();
        let pieces = &mut staged.pieces;
        if let Some(message) = staged.raw.pop_message(|piece| pieces.push(piece)) {
            staged.owed = before - staged.raw.len();
            staged.stage.apply(message, pieces, &mut self.ready)?;
            pieces.clear();
            if let Some(check) = &mut self.check {
                check.look(&self.ready)?;
            }
        }
        Ok(())
    }
}

fn end(error: StageError) -> End {
    End::hop(error.kind, error.text)
}
