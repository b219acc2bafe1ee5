//! When a worker that was busy rests, so that a process goes back to its idle memory after a storm.
//!
//! mimalloc gives pages back to the system only while it is used: every 1,000 allocations that its
//! fast path cannot serve it frees what a thread keeps for sizes that nobody wants any more (a page of
//! each, up to megabytes), every 10,000 it returns to the system what was free for a second. A thread
//! that a storm left idle makes none: tens of MiB stay for ever. The call for it, `mi_collect`, needs
//! `unsafe`, which this crate forbids; so [`trim_thread`] makes those allocations, when nobody waits for the
//! worker. With another allocator it costs its time, about 0.7 ms, and does nothing else.

use std::cell::Cell;
use std::hint::black_box;

/// Streams that end between two looks (5 s) in a worker that is busy. Low: a storm on a slow machine,
/// or the smaller share of it that a second worker had, leaves as much behind as a quick one.
const BUSY: usize = 100;

/// How many looks without that many it rests at. What the first frees, a later one returns.
const TIMES: u32 = 4;

/// More than mimalloc's fast path serves (1 KiB), in bytes.
const LARGE: usize = 2048;

/// Sixteen times a thousand: as often a page of a size that is not wanted is passed over (mimalloc
/// 3, `MI_RETIRE_CYCLES`); and enough for what happens every 10,000.
const ALLOCATIONS: usize = 17_000;

/// How often a worker is still to rest.
#[derive(Debug, Default)]
pub(crate) struct IdleTrim {
    left: Cell<u32>,
}

impl IdleTrim {
    /// At each look: whether the worker was busy not long ago, and is not now. `over` is what ended
    /// since the look before.
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

/// Has the allocator trim_thread up what this thread freed.
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
