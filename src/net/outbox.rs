//! What the streams of one HTTP/2 connection gave to `h2` and the socket did not take yet.
//!
//! `h2` bounds that for each stream only: of a caller that grants windows and reads nothing, ten
//! thousand streams would hold ten thousand times the bound. An [`Outbox`] is the connection's.
//! What is queued goes out at once while the socket takes it, so nothing is subtracted piece by
//! piece: the count begins anew whenever all is written.
//!
//! It also holds small pieces back from a peer that bears few of them ([`super::unread`]).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::net::connection::Pace;
use crate::net::unread::{Part, Unread};

/// How many of those that wait are let in at once. Each may queue what `h2` takes of one stream.
const LET_IN: usize = 16;

/// The account of one connection.
#[derive(Debug)]
pub struct Outbox {
    limit: usize,
    queued: Cell<usize>,
    /// The small frames that the peer may not have read.
    unread: Unread,
    /// Who waits for room, by the order in which they came.
    waiting: RefCell<BTreeMap<u64, Waker>>,
    next: Cell<u64>,
}

/// A stream's access to its connection's outbox.
#[derive(Debug)]
pub struct Desk {
    outbox: Rc<Outbox>,
    /// Its place among those that wait, if it was there.
    place: u64,
    /// What is unread of it, if that is counted.
    part: Option<Box<Part>>,
}

impl Outbox {
    /// Lets streams queue until `limit` bytes wait; the piece that goes over is the last.
    #[must_use]
    pub fn new(limit: usize) -> Rc<Self> {
        Rc::new(Self {
            limit,
            queued: Cell::new(0),
            unread: Unread::default(),
            waiting: RefCell::default(),
            next: Cell::new(1),
        })
    }

    /// Access for one stream.
    #[must_use]
    pub fn desk(self: &Rc<Self>) -> Desk {
        Desk {
            outbox: Rc::clone(self),
            place: 0,
            part: None,
        }
    }

    /// The account of small frames.
    #[must_use]
    pub fn unread(&self) -> &Unread {
        &self.unread
    }

    /// Counts small frames from now on while `pace` says that the peer bears few of them.
    pub fn follow(&self, pace: Arc<dyn Pace>) {
        self.unread.follow(pace);
    }

    /// Bytes that wait, as far as they were counted since all was written.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queued.get()
    }

    /// All was written: lets in those that came first. Whether others still wait, so that this has
    /// to be said again though those let in may have nothing to write any more.
    pub fn written(&self) -> bool {
        self.queued.set(0);
        let mut waiting = self.waiting.borrow_mut();
        for _ in 0..LET_IN {
            let Some((_, waker)) = waiting.pop_first() else {
                return false;
            };
            waker.wake();
        }
        !waiting.is_empty()
    }
}

impl Desk {
    /// Ready when the stream, which has `len` bytes to send, may queue a piece; wakes its task
    /// otherwise when it may.
    pub fn poll_room(&mut self, cx: &mut Context<'_>, len: usize) -> Poll<()> {
        let outbox = &self.outbox;
        if outbox.queued.get() < outbox.limit {
            return match self.part() {
                Some((unread, part)) => unread.poll_room(part, len, cx),
                None => Poll::Ready(()),
            };
        }
        let mut waiting = outbox.waiting.borrow_mut();
        match waiting.get_mut(&self.place) {
            Some(waker) => waker.clone_from(cx.waker()),
            None => {
                self.place = outbox.next.get();
                outbox.next.set(self.place + 1);
                waiting.insert(self.place, cx.waker().clone());
            }
        }
        Poll::Pending
    }

    /// Whether pieces of less than [`SMALL`](super::unread::SMALL) bytes should be joined.
    #[must_use]
    pub fn joins(&self) -> bool {
        self.outbox.unread.counts()
    }

    /// A piece of `bytes` bytes was queued, in which so many messages end.
    pub fn queue(&mut self, bytes: usize, messages: u64) {
        let outbox = &self.outbox;
        outbox.queued.set(outbox.queued.get() + bytes);
        if let Some((unread, part)) = self.part() {
            unread.sent(part, bytes, messages);
        }
    }

    /// The peer sent so many messages on the stream.
    #[inline]
    pub fn heard(&mut self, messages: u64) {
        if let Some(part) = &mut self.part {
            self.outbox.unread.answered(part, messages);
        }
    }

    fn part(&mut self) -> Option<(&Unread, &mut Part)> {
        let unread = &self.outbox.unread;
        match unread.counts() {
            true => Some((unread, self.part.get_or_insert_default())),
            false => None,
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        if self.place > 0 {
            self.outbox.waiting.borrow_mut().remove(&self.place);
        }
        if let Some(part) = &mut self.part {
            self.outbox.unread.stop_waiting(part);
            self.outbox.unread.read(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn those_that_wait_are_let_in_in_turns() {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        let woken = || count.0.swap(0, Ordering::SeqCst);
        let outbox = Outbox::new(100);
        let mut desks: Vec<_> = (0..LET_IN + 3).map(|_| outbox.desk()).collect();
        assert!(desks[0].poll_room(&mut cx, 1).is_ready());
        desks[0].queue(99, 1);
        assert!(desks[0].poll_room(&mut cx, 1).is_ready());
        desks[0].queue(1, 1);
        for desk in &mut desks {
            assert!(desk.poll_room(&mut cx, 1).is_pending());
            assert!(desk.poll_room(&mut cx, 1).is_pending());
        }
        // One that is gone neither holds its task nor a place.
        drop(desks.remove(1));
        assert_eq!(woken(), 0);
        assert!(outbox.written());
        assert_eq!(woken(), LET_IN);
        assert!(desks[0].poll_room(&mut cx, 1).is_ready());
        assert!(!outbox.written());
        assert_eq!(woken(), 2);
        assert!(outbox.waiting.borrow().is_empty());
    }
}
