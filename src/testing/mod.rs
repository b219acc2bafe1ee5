//! In-memory halves for tests of everything that knows no wire, and a paused clock.

pub mod wire;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::stream::{
    Boundary, Cancel, End, Forget, Half, Inbound, MessageBatch, NativeCode, Outbound, Received,
    ResponseHead,
};

/// Runs a test on one thread, as a worker runs its streams, and on a paused clock.
#[cfg(test)]
pub(crate) fn local<T>(test: impl AsyncFnOnce() -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build_local(tokio::runtime::LocalOptions::default());
    runtime.unwrap().block_on(test())
}

/// A half whose peer is played by a test through a [`Remote`].
#[derive(Debug)]
pub struct MemoryHalf(Rc<RefCell<Shared>>);

/// The peer's side of a [`MemoryHalf`]. Clones play the same peer.
#[derive(Clone, Debug)]
pub struct Remote(Rc<RefCell<Shared>>);

#[derive(Debug, Default)]
struct Shared {
    incoming: VecDeque<Received>,
    recv_waker: Option<Waker>,
    send_waker: Option<Waker>,
    /// Bytes that may still be sent to the peer.
    room: usize,
    heard: Heard,
    slow: bool,
    refused: bool,
    /// What is to be forgotten once the request is written.
    kept: Option<Weak<dyn Forget>>,
}

/// Everything that a half did toward its peer.
#[derive(Debug, Default)]
pub struct Heard {
    /// The payloads that it sent, in order.
    pub messages: Vec<Vec<u8>>,
    /// The response heads that it sent.
    pub heads: Vec<ResponseHead>,
    /// How many half-closes it sent.
    pub half_closes: usize,
    /// The cancels that it sent to a callee.
    pub cancels: Vec<Cancel>,
    /// The ends that it sent to a caller.
    pub ends: Vec<End>,
    /// The bytes that it released to the peer.
    pub released: usize,
    /// Polls after the end was delivered: always a mistake.
    pub polls_after_end: usize,
    ended: bool,
    partial: Vec<u8>,
}

/// A half and its peer. The peer takes `room` bytes before it is full.
#[must_use]
pub fn memory_half(room: usize) -> (MemoryHalf, Remote) {
    let shared = Rc::new(RefCell::new(Shared {
        room,
        ..Shared::default()
    }));
    (MemoryHalf(Rc::clone(&shared)), Remote(shared))
}

impl Remote {
    /// The peer does something.
    pub fn does(&self, what: Received) {
        let mut shared = self.0.borrow_mut();
        shared.incoming.push_back(what);
        if let Some(waker) = shared.recv_waker.take() {
            waker.wake();
        }
    }

    /// The peer sends one message.
    pub fn sends(&self, payload: &[u8]) {
        let mut run = MessageBatch::new();
        run.push_message(false, Bytes::copy_from_slice(payload));
        self.does(Received::Messages(run));
    }

    /// The peer takes `bytes` more bytes.
    pub fn takes(&self, bytes: usize) {
        let mut shared = self.0.borrow_mut();
        shared.room += bytes;
        if let Some(waker) = shared.send_waker.take() {
            waker.wake();
        }
    }

    /// The peer's messages block its connection. The half's next poll shows it.
    pub fn is_held_up(&self) {
        self.0.borrow_mut().slow = true;
    }

    /// The request is written to the peer, a callee, which may have looked at it from now on.
    pub fn is_written(&self) {
        let kept = self.0.borrow_mut().kept.take();
        if let Some(kept) = kept.and_then(|kept| kept.upgrade()) {
            kept.forget();
        }
    }

    /// The peer, a callee, ends a stream that it did not look at.
    pub fn refuses(&self, end: End) {
        self.0.borrow_mut().refused = true;
        self.does(Received::End(end));
    }

    /// What the peer received so far.
    #[must_use]
    pub fn heard(&self) -> std::cell::Ref<'_, Heard> {
        std::cell::Ref::map(self.0.borrow(), |shared| &shared.heard)
    }
}

impl Heard {
    fn take(&mut self, piece: &[u8]) {
        self.partial.extend_from_slice(piece);
        while let Some((&[_, a, b, c, d], rest)) = self.partial.split_first_chunk::<5>() {
            let len = u32::from_be_bytes([a, b, c, d]) as usize;
            let Some(payload) = rest.get(..len) else {
                return;
            };
            self.messages.push(payload.to_vec());
            self.partial.drain(..5 + len);
        }
    }
}

impl Half for MemoryHalf {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        let mut shared = self.0.borrow_mut();
        if shared.heard.ended {
            shared.heard.polls_after_end += 1;
        }
        match shared.incoming.pop_front() {
            Some(received) => {
                shared.heard.ended = matches!(received, Received::End(_));
                Poll::Ready(received)
            }
            None => {
                shared.recv_waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn release(&mut self, bytes: usize) {
        self.0.borrow_mut().heard.released += bytes;
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, run: &mut MessageBatch) -> Poll<()> {
        let mut shared = self.0.borrow_mut();
        while let Some(piece) = run.take_piece(shared.room) {
            shared.room -= piece.len();
            shared.heard.take(&piece);
        }
        if run.is_empty() {
            return Poll::Ready(());
        }
        shared.send_waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Inbound for MemoryHalf {
    fn send_head(&mut self, head: ResponseHead) {
        self.0.borrow_mut().heard.heads.push(head);
    }

    fn unfinished(&self, rest: &MessageBatch) -> usize {
        let mut boundary = Boundary::default();
        boundary.advance(&self.0.borrow().heard.partial);
        boundary.lacking(rest.pieces())
    }

    fn finish(&mut self, end: &End, _node: &str) -> Option<NativeCode> {
        self.0.borrow_mut().heard.ends.push(end.clone());
        None
    }
}

impl Outbound for MemoryHalf {
    fn forget_written(&self, kept: Weak<dyn Forget>) {
        self.0.borrow_mut().kept = Some(kept);
    }

    fn refused(&self) -> bool {
        self.0.borrow().refused
    }

    fn poll_slow(&mut self, _: &mut Context<'_>) -> Poll<()> {
        if self.0.borrow().slow {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn half_close(&mut self) {
        self.0.borrow_mut().heard.half_closes += 1;
    }

    fn cancel(&mut self, cancel: &Cancel) {
        self.0.borrow_mut().heard.cancels.push(cancel.clone());
    }
}
