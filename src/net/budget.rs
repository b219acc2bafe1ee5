//! A byte budget that many connections on many threads share.
//!
//! It is one number with one limit. What arrives is charged even over the limit, since it is in
//! memory already. A connection then stops reading until there is room. Knows neither wires nor
//! streams.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// The bytes of memory that received messages occupy, in the whole process.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
    /// The part of `used` that belongs to streams which are being ended to free memory.
    ending: AtomicUsize,
    waiting: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
}

impl Budget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicUsize::new(0),
            ending: AtomicUsize::new(0),
            waiting: AtomicBool::new(false),
            wakers: Mutex::new(Vec::new()),
        })
    }

    /// Counts `bytes` that came into memory.
    pub fn charge(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::SeqCst);
    }

    /// Counts `bytes` that left memory. Wakes the waiting connections if an eighth of the limit is
    /// free: for a few bytes, waking them would be for nothing.
    pub fn credit(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.used.fetch_sub(bytes, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) && !self.is_above_wake() {
            let woken = {
                let mut wakers = self.lock();
                self.waiting.store(false, Ordering::SeqCst);
                std::mem::take(&mut *wakers)
            };
            for waker in woken {
                waker.wake();
            }
        }
    }

    /// Bytes charged now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::SeqCst)
    }

    /// The limit in bytes.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Whether nothing more should be read.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.used() >= self.limit
    }

    /// Whether a connection waits for room, and streams that are being ended will not make enough
    /// of it.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        self.is_over() || (self.waiting.load(Ordering::SeqCst) && self.is_above_wake())
    }

    fn is_above_wake(&self) -> bool {
        self.used() > self.limit - self.limit / 8
    }

    /// How many bytes must go so that a quarter of the limit is free. Streams that are being ended
    /// are not counted.
    #[must_use]
    pub fn excess(&self) -> usize {
        let going = self.ending.load(Ordering::SeqCst);
        self.used()
            .saturating_sub(going)
            .saturating_sub(self.limit / 4 * 3)
    }

    /// A stream that holds `bytes` is being ended. Nobody else then ends one for the same bytes.
    pub fn begin_end(&self, bytes: usize) {
        self.ending.fetch_add(bytes, Ordering::SeqCst);
    }

    /// That stream is gone, with its bytes.
    pub fn finish_end(&self, bytes: usize) {
        self.ending.fetch_sub(bytes, Ordering::SeqCst);
    }

    /// Ready when there is room.
    pub fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_over() {
            return Poll::Ready(());
        }
        {
            let mut wakers = self.lock();
            if !wakers.iter().any(|w| w.will_wake(cx.waker())) {
                wakers.push(cx.waker().clone());
            }
            self.waiting.store(true, Ordering::SeqCst);
        }
        // A credit between the first check and the store would have woken nobody.
        if self.is_over() {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Waker>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn waiters_wake_once_there_is_room() {
        let budget = Budget::new(10);
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(count.clone());
        let mut cx = Context::from_waker(&waker);
        budget.charge(9);
        assert!(budget.poll_room(&mut cx).is_ready());
        budget.charge(9);
        assert!(budget.poll_room(&mut cx).is_pending());
        assert!(budget.poll_room(&mut cx).is_pending());
        budget.credit(4);
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        budget.credit(5);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        budget.credit(9);
        assert_eq!(budget.used(), 0);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }
}
