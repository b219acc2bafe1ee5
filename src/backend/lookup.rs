//! Look-ups of a backend's names before their time: a connection that fails may mean that the name
//! has other addresses by now.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

/// How often connections that fail may bring about a look-up.
const AT_MOST: Duration = Duration::from_secs(1);

/// Who asks for a look-up, and who makes it, on two threads.
#[derive(Debug)]
pub(super) struct Lookup {
    /// The time from which `last` counts.
    born: Instant,
    /// When the last one began, in microseconds after `born`, plus one; 0 before the first.
    last: AtomicU64,
    /// It was asked for, and is not over.
    pending: AtomicBool,
    asked: Notify,
    done: Notify,
}

impl Default for Lookup {
    fn default() -> Self {
        Self {
            born: Instant::now(),
            last: AtomicU64::new(0),
            pending: AtomicBool::new(false),
            asked: Notify::new(),
            done: Notify::new(),
        }
    }
}

impl Lookup {
    /// Asks for a look-up. The future is ready when one is over. `None` when the last one began
    /// less than a second ago: its answer is as good as another one's.
    pub(super) fn ask(&self) -> Option<Notified<'_>> {
        // Before `pending` is read, so that no end is missed.
        let done = self.done.notified();
        if !self.pending.load(Ordering::SeqCst) {
            if self.is_recent() {
                return None;
            }
            self.pending.store(true, Ordering::SeqCst);
            self.asked.notify_one();
        }
        Some(done)
    }

    /// A look-up begins.
    pub(super) fn begin(&self) {
        self.last.store(self.now() + 1, Ordering::SeqCst);
    }

    /// A look-up is over, and the endpoints are set.
    pub(super) fn finish(&self) {
        self.pending.store(false, Ordering::SeqCst);
        self.done.notify_waiters();
    }

    /// Waits until a look-up is asked for.
    pub(super) async fn wanted(&self) {
        loop {
            self.asked.notified().await;
            // One that was asked for while another ran has its answer.
            if self.pending.load(Ordering::SeqCst) {
                return;
            }
        }
    }

    fn is_recent(&self) -> bool {
        let last = self.last.load(Ordering::SeqCst);
        last > 0 && u128::from(self.now() + 1 - last) < AT_MOST.as_micros()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_micros()).unwrap_or(u64::MAX - 1)
    }
}
