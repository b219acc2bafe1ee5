//! The two halves of a stream at a hop, as the bridge sees them.
//!
//! A half is polled, never locked and never spawned: one task polls both halves of one stream.
//! Everything that a peer does, its end included, is seen by [`Half::poll_recv`] and nowhere else,
//! so that there is one place where a first end can win.

use std::task::{Context, Poll};

use crate::stream::{Cancel, End, MessageBatch, ResponseHead, Wire};

/// What a peer did.
#[derive(Debug)]
pub enum Received {
    /// The callee's head. Comes at most once, before any message; never from an inbound half.
    Head(ResponseHead),
    /// At least one whole message. Its bytes stay charged to the sender until
    /// [`Half::release`].
    Messages(MessageBatch),
    /// The caller will send nothing more. Never from an outbound half.
    HalfClose,
    /// The stream is over, for this half. Nothing follows. Everything that the peer sent before
    /// its end was delivered before (unless the end is a cancel by the caller, which overtakes).
    End(End),
}

/// The number by which a caller was told an end, in its own wire's numbering: a `grpc-status`, an
/// HTTP status. A wire that names ends otherwise has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NativeCode(pub u32);

/// What inbound and outbound halves have in common.
pub trait Half {
    /// The next thing that the peer did. After [`Received::End`] it must not be polled again.
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Received>;

    /// Gives the sender back the room of `bytes` bytes (prefixes included) that the other side
    /// took: window capacity on HTTP/2, budget on TTHeader.
    fn release(&mut self, bytes: usize);

    /// Takes as much of `run` as there is room for. `Ready` when `run` is empty afterwards;
    /// `Pending` when something was left, with the task woken when there is room again. On a half
    /// whose peer is gone it swallows everything: the end comes by `poll_recv`.
    fn poll_send(&mut self, cx: &mut Context<'_>, run: &mut MessageBatch) -> Poll<()>;
}

/// The half that faces the caller: ripcord is the server there.
pub trait Inbound: Half {
    /// Why the stream is not to be carried although its head could be read. To be asked first.
    fn refusal(&mut self) -> Option<End> {
        None
    }

    /// Learns on which wire the stream goes on, once its route is known. A wire may write this hop's
    /// own ends in other words when both sides speak it.
    fn set_callee_wire(&mut self, _wire: &'static Wire) {}

    /// Writes the callee's head. At most once, before any message. A half whose wire needs a head
    /// and got none writes an empty one itself before the first message or a Trailer.
    fn send_head(&mut self, head: ResponseHead);

    /// Tells the caller the end in its native form, after everything sent before, and closes the
    /// half. At most once; not at all for a caller that let go itself. Returns the number that the
    /// caller was told.
    ///
    /// The path of a cancel already contains this hop's name; a hop's own end begins at `node`.
    fn finish(&mut self, end: &End, node: &str) -> Option<NativeCode>;
}

/// The half that faces the callee: ripcord is the client there.
pub trait Outbound: Half {
    /// After the callee's end: ready when its messages, which the caller does not take, hold up
    /// the other streams of its connection, so that the stream is to be ended.
    fn poll_slow(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Half-closes: the request is complete. At most once.
    fn half_close(&mut self);

    /// Lets go: tells the callee, ahead of any data still queued on this stream, and closes the
    /// half. At most once; not after the callee's end was received. The path of `cancel` already
    /// contains this hop's name.
    fn cancel(&mut self, cancel: &Cancel);
}
