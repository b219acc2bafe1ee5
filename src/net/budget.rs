//! A byte budget that many connections on many threads share.
//!
//! Owns one number against one limit. What arrives is charged even when that goes over the limit
//! (it is in memory already); a connection then stops reading until there is room. Knows neither
//! wires nor streams.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// The bytes that received messages keep in memory, of the whole process.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
    /// What of `used` belongs to streams that are being ended for it.
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

    /// Counts `bytes` that left it, and wakes who waits if an eighth is free now: waking everyone
    /// for a few bytes would wake them for nothing.
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

    /// The limit.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Whether no more should be read.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.used() >= self.limit
    }

    /// Whether someone waits for room and is not about to get it.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        self.is_over() || (self.waiting.load(Ordering::SeqCst) && self.is_above_wake())
    }

    fn is_above_wake(&self) -> bool {
        self.used() > self.limit - self.limit / 8
    }

    /// How much has to go so that a quarter is free again, streams that are being ended left out.
    #[must_use]
    pub fn excess(&self) -> usize {
        let going = self.ending.load(Ordering::SeqCst);
        self.used()
            .saturating_sub(going)
            .saturating_sub(self.limit / 4 * 3)
    }

    /// A stream that holds `bytes` is being ended, so that nobody else ends one for the same bytes.
    pub fn begin_end(&self, bytes: usize) {
        self.ending.fetch_add(bytes, Ordering::SeqCst);
    }

    /// It is gone, with what it held.
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
        // A credit between the first look and the store would have woken nobody.
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
