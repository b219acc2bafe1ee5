//! One stream's place on its connection: its state, what was received and waits to be taken, and
//! whom to wake. Knows no socket and no frame layout.

use std::cell::RefCell;
use std::task::{Context, Poll, Waker};

use crate::stream::{End, MessageBatch, Received, ResponseHead};
use crate::wire::ttheader::state::State;

/// SharedConnection by the connection's table and the stream's half.
#[derive(Debug)]
pub(crate) struct StreamSlot {
    pub(crate) id: i32,
    /// The protocol id that its frames carry.
    pub(crate) protocol: u8,
    pub(crate) method: Box<str>,
    /// A Data frame up to its payload.
    pub(crate) template: Box<[u8]>,
    pub(crate) inner: RefCell<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) state: State,
    /// Messages that wait to be taken.
    pub(crate) run: MessageBatch,
    pub(crate) head: Option<Box<ResponseHead>>,
    pub(crate) half_close: bool,
    pub(crate) end: Option<Box<End>>,
    /// Bytes charged to the stream: in `run`, or taken and not yet released.
    pub(crate) held: usize,
    /// The memory that those keep.
    pub(crate) pinned: usize,
    /// What of it the process' budget was told to be on its way out.
    pub(crate) ending: usize,
    /// It is in the connection's list of waiters.
    pub(crate) waiting: bool,
    /// Bytes that it had to send when it began to wait.
    pub(crate) wants: usize,
    /// It came up in that list and may write now.
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
    /// Roughly the memory that a stream takes before any message.
    pub(crate) fn cost(&self) -> usize {
        size_of::<Self>() + self.template.len() + self.method.len()
    }
}

impl Inner {
    /// What the peer did next, in the order in which it did it.
    pub(crate) fn poll_recv(&mut self, cx: &Context<'_>) -> Poll<Received> {
        if let Some(mut head) = self.head.take() {
            // A head right before its end is not worth a response of its own.
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

    /// Sets the end. One that overtakes drops what was not taken yet; returns how much that was.
    pub(crate) fn set_end(&mut self, end: End, overtakes: bool) -> usize {
        let dropped = if overtakes {
            self.half_close = false;
            self.run.clear()
        } else {
            0
        };
        self.end = Some(Box::new(end));
        self.wake_recv();
        // A half that waits for room learns that its messages are swallowed now.
        self.wake_send();
        dropped
    }

    /// Takes `bytes` off the account; returns the memory that they kept.
    pub(crate) fn credit(&mut self, bytes: usize) -> (usize, usize) {
        let bytes = bytes.min(self.held);
        let pinned = if bytes == self.held {
            self.pinned
        } else {
            // Which piece kept how much is not known here; in proportion, it adds up.
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
