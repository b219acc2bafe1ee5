//! The two halves of a stream at a hop, as the bridge sees them.
//!
//! A half is polled. It is never locked and never spawned: one task polls both halves of one
//! stream. Only [`Half::poll_recv`] reports what a peer did, its end included. So there is one
//! place where a first end can win.

use std::any::Any;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use crate::stream::{Cancel, End, MessageBatch, ResponseHead, Wire};

/// What the peer of a half did.
#[derive(Debug)]
pub enum Received {
    /// The callee's head. At most once, before any message, and never from an inbound half.
    Head(ResponseHead),
    /// At least one whole message. The bytes stay charged to the sender until [`Half::release`].
    Messages(MessageBatch),
    /// The caller will send nothing more. Never from an outbound half.
    HalfClose,
    /// The stream is over for this half. Nothing follows. What the peer sent before was delivered
    /// before. Only a cancel by the caller overtakes its messages.
    End(End),
}

/// The number by which a caller received an end, as its own wire counts: a `grpc-status`, an HTTP
/// status. A wire that names ends in another way has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NativeCode(pub u32);

/// What inbound and outbound halves have in common.
pub trait Half {
    /// The next thing that the peer did. Must not be polled again after [`Received::End`].
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Received>;

    /// Gives the sender room for `bytes` more bytes (prefixes included), which the other side took.
    /// On HTTP/2 that is window capacity, on TTHeader budget.
    fn release(&mut self, bytes: usize);

    /// Takes as much of `run` as there is room for. `Ready` when `run` is empty afterwards.
    /// `Pending` when something is left: the task is woken when there is room again. A half whose
    /// peer is gone takes everything, and `poll_recv` then reports the end.
    fn poll_send(&mut self, cx: &mut Context<'_>, run: &mut MessageBatch) -> Poll<()>;
}

/// The half that faces the caller: ripcord is the server there.
pub trait Inbound: Half {
    /// Why the stream must not be carried although its head could be read. Has to be asked first.
    fn refusal(&mut self) -> Option<End> {
        None
    }

    /// Sets the wire on which the stream goes on, once its route is known. When both sides speak
    /// one wire, that wire may use other words for local ends.
    fn set_callee_wire(&mut self, _wire: &'static Wire) {}

    /// Writes the callee's head. At most once, before any message. A half whose wire needs a head
    /// writes an empty one itself when it was given none, before the first message or a Trailer.
    fn send_head(&mut self, head: ResponseHead);

    /// Ready once the caller takes an end for what it is. Some callers lose one that comes before
    /// they have sent anything behind their head. What the caller sends meanwhile is dropped; it is
    /// for a stream that goes nowhere.
    fn poll_begun(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    /// How many bytes of `rest` complete the message that is half written; 0 between messages.
    /// `rest` is what follows. A wire that writes each message whole always says 0.
    fn unfinished(&self, _rest: &MessageBatch) -> usize {
        0
    }

    /// Writes the end to the caller in its native form, after everything sent before, and closes
    /// the half. At most once, and never for a caller that canceled. Returns the number by which
    /// the caller received the end.
    ///
    /// The path of a cancel already has this hop's name. The path of a local end begins at `node`.
    fn finish(&mut self, end: &End, node: &str) -> Option<NativeCode>;
}

/// What is kept only for the case that a stream's callee did not look at it.
pub trait Forget {
    /// It is not needed any more.
    fn forget(&self);
}

/// The half that faces the callee: ripcord is the client there.
pub trait Outbound: Half {
    /// Whether the callee can still turn out not to have looked at the stream. It can no longer once
    /// it has answered.
    fn refusable(&self) -> bool {
        false
    }

    /// Forgets `kept` once the request is written, where a lost connection proves nothing after
    /// that. Not on a wire on which a callee can refuse a stream in words. To be called right after
    /// the stream was opened.
    fn forget_written(&self, _kept: Weak<dyn Forget>) {}

    /// After the callee's end: whether it proves that the callee did not look at the stream, which
    /// may then be opened again.
    fn refused(&self) -> bool {
        false
    }

    /// After the callee's end: its messages still wait for the caller. Ready when they block other
    /// streams of the callee's connection, so that the stream has to end.
    fn poll_slow(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Calls `told` when the callee says that the stream's connection takes no new streams, while the
    /// returned value lives; at once when it has said so. `None` where callees cannot say that.
    fn on_leaving(&self, _told: Rc<dyn Fn()>) -> Option<Box<dyn Any>> {
        None
    }

    /// Half-closes: the request is complete. At most once.
    fn half_close(&mut self);

    /// Cancels: writes the cancel to the callee, ahead of all data queued on this stream, and
    /// closes the half. At most once, and not after the callee's end was received. The path of
    /// `cancel` already has this hop's name.
    fn cancel(&mut self, cancel: &Cancel);
}
