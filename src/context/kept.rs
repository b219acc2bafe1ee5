//! The memory of the requests that one worker keeps until their callees answer.

use std::cell::Cell;
use std::sync::Arc;

use crate::bridge::Room;
use crate::net::budget::Budget;

/// The part of the process' budget that the copies of all workers may take. Copies are a help; what
/// streams have to hold comes first.
const PART: usize = 8;

/// How far the process' budget may lag behind a worker's copies, in bytes. All threads write to the
/// budget, so it receives changes in bulk.
const GRAIN: usize = 16 * 1024;

/// The account of one worker's copies.
#[derive(Debug)]
pub(crate) struct KeptBytes {
    budget: Arc<Budget>,
    limit: usize,
    used: Cell<usize>,
    /// What of `used` the process' budget has.
    charged: Cell<usize>,
}

impl KeptBytes {
    /// The account of one of `workers` workers.
    pub(crate) fn new(budget: &Arc<Budget>, workers: usize) -> Self {
        Self {
            limit: budget.limit() / PART / workers.max(1),
            budget: Arc::clone(budget),
            used: Cell::new(0),
            charged: Cell::new(0),
        }
    }

    fn set(&self, used: usize) {
        self.used.set(used);
        let charged = self.charged.get();
        if used >= charged + GRAIN {
            self.budget.charge(used - charged);
        } else if charged > 0 && (charged >= used + GRAIN || used == 0) {
            self.budget.credit(charged - used);
        } else {
            return;
        }
        self.charged.set(used);
    }
}

impl Room for KeptBytes {
    /// There is none when the copies take their part, or when the process has no room for anything.
    fn take(&self, bytes: usize) -> bool {
        let used = self.used.get() + bytes;
        if used > self.limit || self.budget.is_over() {
            return false;
        }
        self.set(used);
        true
    }

    fn give_back(&self, bytes: usize) {
        self.set(self.used.get().saturating_sub(bytes));
    }
}

impl Drop for KeptBytes {
    fn drop(&mut self) {
        self.budget.credit(self.charged.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_take_an_eighth_of_the_budget_at_most_and_only_while_there_is_room() {
        let budget = Budget::new(8 << 20);
        let kept = KeptBytes::new(&budget, 2);
        assert!(kept.take(512 << 10));
        assert!(!kept.take(1));
        assert_eq!(budget.used(), 512 << 10);
        kept.give_back(512 << 10);
        assert_eq!(budget.used(), 0);
        // Changes of less than the grain stay here.
        assert!(kept.take(1000));
        assert_eq!(budget.used(), 0);
        budget.charge(8 << 20);
        assert!(!kept.take(1));
        drop(kept);
        assert_eq!(budget.used(), 8 << 20);
    }
}
