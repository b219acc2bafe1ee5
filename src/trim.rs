//! Lets a worker rest after it was busy, so that a process goes back to its idle memory after a
//! storm.
//!
//! mimalloc gives pages back to the system only while it is used. It acts at every 1,000th
//! allocation that its fast path cannot serve. Then it frees what a thread keeps for sizes that are
//! no longer needed: a page of each, up to megabytes. At every 10,000th it returns to the system
//! what was free for a second. A thread that is idle after a storm makes no such allocation, and
//! tens of MiB would stay for ever.
//!
//! The call for it, `mi_collect`, needs `unsafe`, which this crate forbids. So [`trim_thread`]
//! makes those allocations, when nobody waits for the worker. With another allocator it only costs
//! its time, about 0.7 ms.

use std::cell::Cell;
use std::hint::black_box;

/// How many streams have to end between two looks (5 s apart) for a worker to count as busy. The
/// number is low on purpose. A storm on a slow machine, or a second worker's smaller share of it,
/// leaves as much memory behind as a quick one.
const BUSY: usize = 100;

/// At how many looks it then rests. What the first frees, a later one returns.
const TIMES: u32 = 4;

/// An allocation above what mimalloc's fast path serves (1 KiB), in bytes.
const LARGE: usize = 2048;

/// Sixteen times 1,000: so often a page of a size that is not needed is passed over (mimalloc 3,
/// `MI_RETIRE_CYCLES`). It is also enough for what happens at every 10,000th.
const ALLOCATIONS: usize = 17_000;

/// How often a worker still has to rest.
#[derive(Debug, Default)]
pub(crate) struct IdleTrim {
    left: Cell<u32>,
}

impl IdleTrim {
    /// To be called at each look. Whether the worker was busy not long ago, and is not now. `over`
    /// is how many streams ended since the last look.
    pub(crate) fn is_due(&self, over: usize) -> bool {
        if over >= BUSY {
            self.left.set(TIMES);
            return false;
        }
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0
    }
}

/// Makes the allocator free what this thread no longer uses.
pub(crate) fn trim_thread() {
    for _ in 0..ALLOCATIONS {
        drop(black_box(Vec::<u8>::with_capacity(LARGE)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_a_few_times_after_it_was_busy() {
        let rest = IdleTrim::default();
        assert!(!rest.is_due(0));
        assert!(!rest.is_due(BUSY));
        assert!(rest.is_due(1));
        assert!((1..TIMES).all(|_| rest.is_due(0)));
        assert!(!rest.is_due(0));
    }

    #[test]
    fn does_not_rest_while_it_is_busy() {
        let rest = IdleTrim::default();
        for _ in 0..3 {
            assert!(!rest.is_due(BUSY));
        }
    }
}
