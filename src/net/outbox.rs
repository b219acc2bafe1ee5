//! What the streams of one HTTP/2 connection gave to `h2` and the socket did not take yet.
//!
//! `h2` bounds that for each stream only: of a caller that grants windows and reads nothing, ten
//! thousand streams would hold ten thousand times the bound. An [`Outbox`] is the connection's. What
//! is queued goes out at once while the socket takes it, so nothing is subtracted piece by piece:
//! the count begins anew whenever all is written.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// How many of those that wait are let in at once. Each may queue what `h2` takes of one stream.
const LET_IN: usize = 16;

/// The account of one connection.
#[derive(Debug)]
pub struct Outbox {
    limit: usize,
    queued: Cell<usize>,
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
}

impl Outbox {
    /// Lets streams queue until `limit` bytes wait; the piece that goes over is the last.
    #[must_use]
    pub fn new(limit: usize) -> Rc<Self> {
        Rc::new(Self {
            limit,
            queued: Cell::new(0),
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
        }
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
    /// Ready when the stream may queue a piece; wakes its task otherwise when it may.
    pub fn poll_room(&mut self, cx: &Context<'_>) -> Poll<()> {
        let outbox = &self.outbox;
        if outbox.queued.get() < outbox.limit {
            return Poll::Ready(());
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

    /// A piece of `bytes` bytes was queued.
    pub fn queue(&self, bytes: usize) {
        self.outbox.queued.set(self.outbox.queued.get() + bytes);
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        if self.place > 0 {
            self.outbox.waiting.borrow_mut().remove(&self.place);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
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
        let cx = Context::from_waker(&waker);
        let woken = || count.0.swap(0, Ordering::SeqCst);
        let outbox = Outbox::new(100);
        let mut desks: Vec<_> = (0..LET_IN + 3).map(|_| outbox.desk()).collect();
        assert!(desks[0].poll_room(&cx).is_ready());
        desks[0].queue(99);
        assert!(desks[0].poll_room(&cx).is_ready());
        desks[0].queue(1);
        for desk in &mut desks {
            assert!(desk.poll_room(&cx).is_pending());
            assert!(desk.poll_room(&cx).is_pending());
        }
        // One that is gone neither holds its task nor a place.
        drop(desks.remove(1));
        assert_eq!(woken(), 0);
        assert!(outbox.written());
        assert_eq!(woken(), LET_IN);
        assert!(desks[0].poll_room(&cx).is_ready());
        assert!(!outbox.written());
        assert_eq!(woken(), 2);
        assert!(outbox.waiting.borrow().is_empty());
    }
}
