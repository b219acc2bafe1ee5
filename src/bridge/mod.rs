//! Carries one stream from one half to the other, until its first end.
//!
//! It knows no wire: it moves the neutral values of [`crate::stream`]. One task polls both halves,
//! so an end on either side is seen by both at once.
//!
//! One turn of that task ([`run`]) takes these steps. The first one that finds an end finishes the
//! stream.
//!
//! 1. Early messages: did a check refuse one that came while the backend was being opened?
//! 2. From the caller: receive all that it sent. Its end overtakes its messages.
//! 3. To the callee: send the waiting messages, then the half-close.
//! 4. From the callee: receive all that it sent. What this hop decided wins at once. Any other end
//!    is kept, so that the messages before it reach the caller first. But when the callee did not
//!    even look at the stream, and `kept` still has the request, the stream is opened again.
//! 5. After the callee's end: drop what the caller still sends.
//! 6. To the caller: send the waiting messages. When none is left, the callee's end that was kept
//!    is the stream's end.
//! 7. The switch (drain), then the clock (the limits of time).
//!
//! An end of this hop may find a message half written. The callee receives its cancel at once. The
//! caller receives the rest of that message, if it takes it within `COMPLETE`, and then the end.
//!
//! Steps 2 to 6 are `Duplex::poll`. `pump` is one direction. [`settle`] then decides what each side
//! receives.

mod carried;
mod chain;
mod check;
mod clock;
mod deadline;
mod decompress;
mod head;
mod kept;
mod pump;
mod refused;
mod settle;
mod settled;
pub mod thrift;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

pub use chain::Chain;
pub use check::Check;
pub use clock::StreamTimeouts;
pub use deadline::Deadline;
pub use decompress::{ACCEPTED, Decompress};
pub use kept::{Kept, Room};
pub use pump::{Stage, StageError};
pub use refused::Refused;
pub use settle::{FirstEnd, Settlement, settle};
pub use settled::refuse;

use crate::stream::{
    End, Inbound, LocalEndKind, MessageBatch, Metadata, NativeCode, Outbound, Received,
};
use carried::{Carried, Stop};
use check::Checker;
use clock::Clock;
use head::WaitingHead;
use pump::Pump;
use settled::Settled;

/// What the caller sent while the backend was being opened.
#[derive(Debug, Default)]
pub struct Early {
    /// Messages that were received, and not yet released to their sender.
    pub messages: MessageBatch,
    /// The caller has half-closed.
    pub half_closed: bool,
}

/// Messages and bytes received in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transferred {
    /// Messages received.
    pub messages: u64,
    /// Bytes received, prefixes included.
    pub bytes: u64,
}

impl Transferred {
    /// Bytes of the payloads, without the prefixes.
    #[must_use]
    pub const fn payload_bytes(&self) -> u64 {
        self.bytes
            .saturating_sub(self.messages * crate::stream::PREFIX as u64)
    }
}

/// How a stream went: its end, and what moved before it.
#[derive(Debug)]
pub struct Outcome {
    /// The first end. A cancel has this hop's name in its path.
    pub end: End,
    /// The number by which the caller received the end. `None` when it received none, or its wire
    /// has no numbers.
    pub native_code: Option<NativeCode>,
    /// What came from the caller.
    pub request: Transferred,
    /// What came from the callee.
    pub response: Transferred,
}

/// Ends a stream from outside of its task: drain.
#[derive(Debug, Default)]
pub struct Switch {
    kind: Cell<Option<(LocalEndKind, &'static str)>>,
    waker: RefCell<Option<Waker>>,
}

impl Switch {
    /// Ends the stream with the local end `kind`, at its next poll.
    pub fn end(&self, kind: LocalEndKind, text: &'static str) {
        self.kind.set(Some((kind, text)));
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// The end that was asked for. When there is none, remembers the task, to wake it later.
    pub fn poll_end(&self, cx: &Context<'_>) -> Poll<End> {
        if let Some((kind, text)) = self.kind.get() {
            return Poll::Ready(End::hop(kind, text));
        }
        let mut slot = self.waker.borrow_mut();
        if !slot.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *slot = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// What happens to a callee's head on its way to the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Heads {
    /// It is passed on at once.
    #[default]
    Pass,
    /// The callee's wire has a head before every end, and the caller's shows whether there was one.
    /// So an empty head waits a moment, and is dropped if the end comes.
    AwaitEnd,
    /// The caller's wire has no place for it.
    Drop,
}

/// What looks at the messages of a stream on their way, in both directions.
#[derive(Default)]
pub struct Stages {
    /// The stage for messages from caller to callee.
    pub request: Option<Box<dyn Stage>>,
    /// The stage for messages from callee to caller.
    pub response: Option<Box<dyn Stage>>,
    /// What messages must be, in both directions. It comes after the stages.
    pub check: Option<Check>,
    /// What happens to the callee's head.
    pub heads: Heads,
    /// The caller's wire cannot write malformed fields of metadata.
    pub refuse_malformed: bool,
}

/// Carries the stream to its end and reports the end to both sides. `seen` receives what has moved
/// so far (request, response), once for each turn that moved anything.
///
/// The error is a stream that the callee did not look at. Nobody has received an end then.
///
/// Not an `async fn`: that would reserve room for each argument twice, in the task of each stream.
pub fn run<'a, I: Inbound, O: Outbound>(
    inbound: &'a mut I,
    outbound: &'a mut O,
    start: PreparedStream,
    node: &'a str,
    switch: &'a Switch,
    seen: impl Fn(Transferred, Transferred),
) -> impl Future<Output = Result<Box<Outcome>, Box<Refused>>> {
    let duplex = start.0;
    if let Some(kept) = duplex.request.kept() {
        let kept: Weak<Kept> = Rc::downgrade(kept);
        outbound.forget_written(kept);
    }
    let mut carried = Carried {
        duplex,
        inbound,
        outbound,
        switch,
        seen,
        said: 0,
    };
    async move {
        let mut settled = match poll_fn(|cx| carried.poll(cx, node)).await {
            Ok(settled) => settled,
            Err(end) => {
                let duplex = carried.duplex;
                return Err(Box::new(Refused { duplex, end }));
            }
        };
        if settled.tell_caller && carried.duplex.response.keep_begun(carried.inbound) {
            settled.tell_caller = Box::pin(carried.complete()).await;
        }
        Ok(settled.tell(carried.inbound, node, carried.duplex.moved()))
    }
}

/// A stream whose backend is open, ready to be carried. Its first-response clock is running.
///
/// It has a box of its own. A task reserves room for everything that it ever holds, and for most of
/// its life it holds only this.
pub struct PreparedStream(Box<Duplex>);

impl PreparedStream {
    /// The size of its box.
    #[cfg(test)]
    pub(crate) const SIZE: usize = size_of::<Duplex>();

    /// Takes over the early messages. Each is checked now; a refusal shows once the stream runs.
    /// With `kept`, the stream can be opened again until its callee answers.
    #[must_use]
    pub fn new(
        early: Early,
        stages: Stages,
        limits: &StreamTimeouts,
        kept: Option<Rc<Kept>>,
    ) -> Self {
        let checker = |kind, whose| stages.check.map(|check| Checker::new(check, kind, whose));
        let mut request = Pump::new(
            stages.request,
            checker(LocalEndKind::InvalidRequest, "the caller's"),
        );
        if let Some(kept) = kept {
            request.keep(kept);
        }
        let refused = request.push(early.messages).err().map(Box::new);
        Self(Box::new(Duplex {
            request,
            response: Pump::new(
                stages.response,
                checker(LocalEndKind::InvalidResponse, "the callee's"),
            ),
            half_close: if early.half_closed {
                HalfClose::Seen
            } else {
                HalfClose::No
            },
            callee: FirstEnd::default(),
            answered: false,
            heads: stages.heads,
            waiting_head: None,
            refuse_malformed: stages.refuse_malformed,
            clock: Clock::new(limits),
            refused,
        }))
    }
}

#[derive(PartialEq)]
enum HalfClose {
    No,
    /// The caller has half-closed; some of its messages still wait for the callee.
    Seen,
    Passed,
}

struct Duplex {
    request: Pump,
    response: Pump,
    half_close: HalfClose,
    /// The callee's end. It waits until the caller took the messages before it.
    callee: FirstEnd,
    /// Whether the callee has sent anything at all.
    answered: bool,
    heads: Heads,
    /// An empty head, of which it is not known yet whether the end comes right behind it.
    waiting_head: Option<Box<WaitingHead>>,
    refuse_malformed: bool,
    clock: Clock,
    /// Why an early message was refused.
    refused: Option<Box<End>>,
}

impl Duplex {
    fn moved(&self) -> (Transferred, Transferred) {
        (self.request.moved, self.response.moved)
    }

    /// Decides what each side receives of the end, and cancels the callee if that is part of it.
    fn settle(&self, end: End, outbound: &mut impl Outbound, node: &str) -> Settled {
        let end = self.clock.recognize(end, node);
        let settlement = settle(end, node, self.callee.is_open());
        if let Some(cancel) = &settlement.to_callee {
            outbound.cancel(cancel);
        }
        Settled::of(settlement)
    }

    fn activity(&self) -> u64 {
        self.request.moved.bytes + self.response.moved.bytes
    }

    /// The end of a stream whose callee sent metadata that its caller's wire cannot write.
    fn malformed(&self, what: &str, metadata: &Metadata) -> Option<End> {
        let fault = metadata.fault().filter(|_| self.refuse_malformed)?;
        let text = format!("the callee's {what} are malformed: {fault}");
        Some(End::hop(LocalEndKind::Undecodable, text))
    }

    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let leaving = (!self.callee.is_open()).then(|| self.response.waiting());
        let activity = self.activity();
        self.clock.poll(cx, self.answered, activity, leaving)
    }

    /// One pass over both directions (steps 2 to 6 of the module's comment); ready with the first
    /// end.
    fn poll<I: Inbound, O: Outbound>(
        &mut self,
        cx: &mut Context<'_>,
        inbound: &mut I,
        outbound: &mut O,
    ) -> Poll<Stop> {
        loop {
            match inbound.poll_recv(cx) {
                Poll::Ready(Received::Messages(run)) => {
                    if let Err(end) = self.request.push(run) {
                        return Poll::Ready(Stop::End(end));
                    }
                }
                Poll::Ready(Received::HalfClose) => self.half_close = HalfClose::Seen,
                // The caller's end overtakes everything that it sent.
                Poll::Ready(Received::End(end)) => return Poll::Ready(Stop::End(end)),
                Poll::Ready(Received::Head(_)) => {
                    debug_assert!(false, "a caller has no response head")
                }
                Poll::Pending => break,
            }
        }
        if self.callee.is_open() {
            match self.request.poll_flush(cx, inbound, outbound) {
                Poll::Ready(Ok(())) if self.half_close == HalfClose::Seen => {
                    self.half_close = HalfClose::Passed;
                    outbound.half_close();
                }
                Poll::Ready(Err(end)) => return Poll::Ready(Stop::End(end)),
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
        }
        while self.callee.is_open() {
            let received = outbound.poll_recv(cx);
            self.answered |= received.is_ready();
            match received {
                Poll::Ready(Received::Head(mut head)) => {
                    self.request.forget();
                    if let Err(end) = self.response.head(&mut head) {
                        return Poll::Ready(Stop::End(end));
                    }
                    if let Some(end) = self.malformed("headers", &head.metadata) {
                        return Poll::Ready(Stop::End(end));
                    }
                    match self.heads {
                        Heads::AwaitEnd if head.explicit && head.is_empty() => {
                            self.waiting_head = Some(Box::new(WaitingHead::new(head)));
                        }
                        Heads::AwaitEnd | Heads::Pass => inbound.send_head(head),
                        Heads::Drop => {}
                    }
                }
                Poll::Ready(Received::Messages(run)) => {
                    self.request.forget();
                    if let Some(waiting) = self.waiting_head.take() {
                        inbound.send_head(waiting.head);
                    }
                    if let Err(end) = self.response.push(run) {
                        return Poll::Ready(Stop::End(end));
                    }
                }
                // What this hop decided does not wait for a slow caller. An answer of the callee,
                // and the loss of its connection, come after all that the callee sent.
                Poll::Ready(Received::End(end)) if end.is_own_decision() => {
                    return Poll::Ready(Stop::End(end));
                }
                Poll::Ready(Received::End(end)) => {
                    if outbound.refused() && self.request.kept().is_some() {
                        return Poll::Ready(Stop::Refused(end));
                    }
                    self.request.forget();
                    self.waiting_head = None;
                    let end = self.malformed("trailers", &end.trailers).unwrap_or(end);
                    self.callee.offer(end);
                    self.request.uncheck();
                }
                Poll::Ready(Received::HalfClose) => {
                    debug_assert!(false, "a callee does not half-close")
                }
                Poll::Pending => break,
            }
        }
        if let Some(waiting) = &mut self.waiting_head
            && waiting.poll(cx).is_ready()
            && let Some(waiting) = self.waiting_head.take()
        {
            inbound.send_head(waiting.head);
        }
        if !self.callee.is_open() {
            // What the caller still sends must not block its connection. Nor may it end the stream
            // in another way than the callee did.
            self.request.discard(inbound);
            if outbound.poll_slow(cx).is_ready() {
                let text = "the caller did not take the callee's messages";
                let end = End::hop(LocalEndKind::SlowReceiver, text);
                return Poll::Ready(Stop::End(end));
            }
        }
        match self.response.poll_flush(cx, outbound, inbound) {
            Poll::Ready(Ok(())) => match self.callee.take() {
                Some(end) => Poll::Ready(Stop::End(end)),
                None => Poll::Pending,
            },
            Poll::Ready(Err(end)) => Poll::Ready(Stop::End(end)),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests;
