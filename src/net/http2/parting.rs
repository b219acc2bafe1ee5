//! Who wants to know that the peer takes no new streams (GOAWAY).

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use slab::Slab;

type Told = Rc<dyn Fn()>;

/// The watchers of one connection.
#[derive(Default)]
pub(super) struct Watchers {
    went_away: Cell<bool>,
    watchers: RefCell<Slab<Told>>,
}

impl fmt::Debug for Watchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watchers")
            .field("went_away", &self.went_away)
            .finish_non_exhaustive()
    }
}

impl Watchers {
    pub(super) fn went_away(&self) -> bool {
        self.went_away.get()
    }

    /// The peer takes no new streams.
    pub(super) fn announce(&self) {
        if self.went_away.replace(true) {
            return;
        }
        // A watcher may come or go meanwhile.
        let all: Vec<Told> = self
            .watchers
            .borrow()
            .iter()
            .map(|(_, told)| Rc::clone(told))
            .collect();
        all.iter().for_each(|told| told());
    }

    fn leave(&self, key: usize) {
        let mut watchers = self.watchers.borrow_mut();
        watchers.remove(key);
        if watchers.is_empty() {
            *watchers = Slab::new();
        }
    }
}

/// Keeps a watcher. Dropping it ends the watch.
pub struct GoAwayWatcher {
    control: super::Control,
    key: usize,
}

impl GoAwayWatcher {
    /// Calls `told` when the peer sends GOAWAY; at once when it has.
    pub(super) fn new(control: super::Control, told: Told) -> Self {
        if control.0.watchers.went_away() {
            told();
        }
        let key = control.0.watchers.watchers.borrow_mut().insert(told);
        Self { control, key }
    }
}

impl Drop for GoAwayWatcher {
    fn drop(&mut self) {
        self.control.0.watchers.leave(self.key);
    }
}
