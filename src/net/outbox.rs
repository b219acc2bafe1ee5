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

/// `h2` 0.4.16 to 0.4.18 charge this many bytes, less the length, for a smaller DATA frame that
/// their application has not read.
const SMALL: usize = 256;

/// The charge between two pauses. They bear 25,600 on one connection: twice as much, so that one
/// portion may be unread when the next one comes.
const CHARGE: usize = 12_800;

/// The account of one connection.
#[derive(Debug)]
pub struct Outbox {
    limit: usize,
    queued: Cell<usize>,
    /// Whether small pieces are spread over time.
    spread: Cell<bool>,
    /// The charge of the small pieces since the last pause.
    charge: Cell<usize>,
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
            spread: Cell::new(false),
            charge: Cell::new(0),
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

    /// From now on small pieces are spread over time: when too many were queued, all streams pause
    /// until [`Outbox::paused`] is called. What one stream has to send meanwhile comes together.
    pub fn spread(&self) {
        self.spread.set(true);
    }

    /// Whether all streams pause, so that somebody has to call [`Outbox::paused`].
    #[must_use]
    pub fn pauses(&self) -> bool {
        self.spread.get() && self.charge.get() >= CHARGE
    }

    /// The pause was long enough. Lets in those that wait, as [`Outbox::written`] does.
    pub fn paused(&self) -> bool {
        self.charge.set(0);
        self.written()
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
        if self.pauses() {
            return false;
        }
        if !self.spread.get() {
            self.charge.set(0);
        }
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
        if outbox.queued.get() < outbox.limit && !outbox.pauses() {
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
        let outbox = &self.outbox;
        outbox.queued.set(outbox.queued.get() + bytes);
        let charge = SMALL.saturating_sub(bytes);
        outbox.charge.set(outbox.charge.get() + charge);
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
    /// No more small pieces than the charge allows go out between two pauses.
    #[test]
    fn small_pieces_are_spread_when_they_have_to_be() {
        let cx = Context::from_waker(Waker::noop());
        for (spread, bytes, expected) in [
            (false, 20, 10_000),
            (true, 20, 55),
            (true, 0, 50),
            (true, 255, 10_000),
            (true, 256, 10_000),
        ] {
            let outbox = Outbox::new(1 << 30);
            if spread {
                outbox.spread();
            }
            let mut desk = outbox.desk();
            for _ in 0..2 {
                let mut sent = 0;
                while sent < 10_000 && desk.poll_room(&cx).is_ready() {
                    desk.queue(bytes);
                    sent += 1;
                }
                assert_eq!(sent, expected, "{spread} {bytes}");
                assert_eq!(outbox.pauses(), sent < 10_000);
                // That all is written ends no pause.
                assert!(!outbox.written());
                assert_eq!(outbox.pauses(), sent < 10_000);
                outbox.paused();
                assert!(!outbox.pauses());
            }
        }
    }

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
