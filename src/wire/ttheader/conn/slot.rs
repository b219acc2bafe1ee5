//! One stream's place on its connection: its state, the received messages that wait, and the wakers
//! of its half. Knows no socket and no frame layout.

use std::cell::RefCell;
use std::task::{Context, Poll, Waker};

use crate::stream::{End, MessageBatch, Received, ResponseHead};
use crate::wire::ttheader::state::State;

/// A stream, shared by the connection's stream table and the stream's half.
#[derive(Debug)]
pub(crate) struct StreamSlot {
    pub(crate) id: i32,
    /// The protocol id in its frames.
    pub(crate) protocol: u8,
    pub(crate) method: Box<str>,
    /// The beginning of its Data frames, up to the payload.
    pub(crate) template: Box<[u8]>,
    pub(crate) inner: RefCell<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) state: State,
    /// Received messages that the half has not taken.
    pub(crate) run: MessageBatch,
    pub(crate) head: Option<Box<ResponseHead>>,
    pub(crate) half_close: bool,
    pub(crate) end: Option<Box<End>>,
    /// The connection was lost before anything of the stream was written.
    pub(crate) unwritten: bool,
    /// Bytes charged to the stream: in `run`, or taken and not yet released.
    pub(crate) held: usize,
    /// The memory that those bytes occupy.
    pub(crate) pinned: usize,
    /// The part of that memory which the process' budget counts as being freed.
    pub(crate) ending: usize,
    /// Whether it is in the connection's list of waiters.
    pub(crate) waiting: bool,
    /// Bytes that it had to send when it began to wait.
    pub(crate) wants: usize,
    /// Whether its turn in that list has come and it may write now.
    pub(crate) granted: bool,
    recv_waker: Option<Waker>,
    send_waker: Option<Waker>,
}

impl StreamSlot {
    pub(crate) fn new(
        id: i32,
        protocol: u8,
        method: Box<str>,
        template: Box<[u8]>,
        state: State,
    ) -> Self {
        Self {
            id,
            protocol,
            method,
            template,
            inner: RefCell::new(Inner {
                state,
                run: MessageBatch::new(),
                head: None,
                half_close: false,
                end: None,
                unwritten: false,
                held: 0,
                pinned: 0,
                ending: 0,
                waiting: false,
                wants: 0,
                granted: false,
                recv_waker: None,
                send_waker: None,
            }),
        }
    }
}

impl StreamSlot {
    /// About the memory that a stream takes before any message.
    pub(crate) fn cost(&self) -> usize {
        size_of::<Self>() + self.template.len() + self.method.len()
    }
}

impl Inner {
    /// What the peer did next, in order.
    pub(crate) fn poll_recv(&mut self, cx: &Context<'_>) -> Poll<Received> {
        if let Some(mut head) = self.head.take() {
            // A head right before its end needs no frame of its own.
            head.explicit &= self.end.is_none() || !self.run.is_empty();
            return Poll::Ready(Received::Head(*head));
        }
        if !self.run.is_empty() {
            return Poll::Ready(Received::Messages(std::mem::take(&mut self.run)));
        }
        if std::mem::take(&mut self.half_close) {
            return Poll::Ready(Received::HalfClose);
        }
        if let Some(end) = self.end.take() {
            return Poll::Ready(Received::End(*end));
        }
        remember(&mut self.recv_waker, cx);
        Poll::Pending
    }

    pub(crate) fn wait_to_send(&mut self, cx: &Context<'_>) {
        remember(&mut self.send_waker, cx);
    }

    pub(crate) fn wake_recv(&mut self) {
        if let Some(waker) = self.recv_waker.take() {
            waker.wake();
        }
    }

    pub(crate) fn wake_send(&mut self) {
        if let Some(waker) = self.send_waker.take() {
            waker.wake();
        }
    }

    /// Sets the end. An end that overtakes drops the messages that were not taken. Returns how many
    /// bytes these were.
    pub(crate) fn set_end(&mut self, end: End, overtakes: bool) -> usize {
        let dropped = if overtakes {
            self.half_close = false;
            self.run.clear()
        } else {
            0
        };
        self.end = Some(Box::new(end));
        self.wake_recv();
        // A half that waits for room has to learn that its messages are now swallowed.
        self.wake_send();
        dropped
    }

    /// Takes `bytes` off the account. Returns them, and the memory that they occupied.
    pub(crate) fn credit(&mut self, bytes: usize) -> (usize, usize) {
        let bytes = bytes.min(self.held);
        let pinned = if bytes == self.held {
            self.pinned
        } else {
            // It is not known here which piece occupied how much. In proportion, the sum is right.
            (self.pinned as u64 * bytes as u64 / self.held.max(1) as u64) as usize
        };
        self.held -= bytes;
        self.pinned -= pinned;
        (bytes, pinned)
    }
}

fn remember(slot: &mut Option<Waker>, cx: &Context<'_>) {
    if !slot.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
        *slot = Some(cx.waker().clone());
    }
}
