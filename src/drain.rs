//! Draining one worker: one trigger, and everybody who watches it.
//!
//! Streams and connections watch for as long as they live, so that whoever drains knows when all of
//! them are gone. Everything here stays on its worker's thread.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use slab::Slab;
use tokio::sync::Notify;

/// How far a drain is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Everything is taken.
    #[default]
    Open,
    /// Nothing new is taken; what there is goes on.
    Draining,
    /// What there is, is being ended.
    Ending,
}

/// What somebody does when the drain goes on. Called at once where it is that far already.
pub(crate) trait Watch {
    /// Nothing new is to be taken.
    fn draining(&self) {}

    /// What there is, is to end.
    fn ending(&self) {}

    /// Whether its end is work done ([`Drain::take_done`]): a stream's is.
    fn is_work(&self) -> bool {
        false
    }
}

/// A worker's drain.
#[derive(Default)]
pub(crate) struct Drain {
    phase: Cell<Phase>,
    watchers: RefCell<Slab<Rc<dyn Watch>>>,
    /// Told when one of them is gone.
    gone: Notify,
    /// How much work was done since this was asked last.
    done: Cell<usize>,
    /// Told when the last phase begins.
    ending: Notify,
}

impl Drain {
    /// Registers a watcher for as long as the guard lives.
    pub(crate) fn watch(self: &Rc<Self>, watcher: Rc<dyn Watch>) -> Watcher {
        let phase = self.phase.get();
        if phase >= Phase::Draining {
            watcher.draining();
        }
        if phase >= Phase::Ending {
            watcher.ending();
        }
        let key = self.watchers.borrow_mut().insert(watcher);
        Watcher {
            drain: Rc::clone(self),
            key,
        }
    }

    /// Has nothing new taken.
    pub(crate) fn begin(&self) {
        if self.phase.get() < Phase::Draining {
            self.phase.set(Phase::Draining);
            self.each(|watcher| watcher.draining());
        }
    }

    /// Has what there is ended.
    pub(crate) fn end(&self) {
        self.begin();
        if self.phase.get() < Phase::Ending {
            self.phase.set(Phase::Ending);
            self.ending.notify_waiters();
            self.each(|watcher| watcher.ending());
        }
    }

    /// Done when what there is, is being ended.
    pub(crate) async fn ending(&self) {
        if self.phase.get() < Phase::Ending {
            self.ending.notified().await;
        }
    }

    /// Done when nobody watches any more.
    pub(crate) async fn empty(&self) {
        while !self.watchers.borrow().is_empty() {
            self.gone.notified().await;
        }
    }

    /// How many streams are gone since this was asked last.
    pub(crate) fn take_done(&self) -> usize {
        self.done.take()
    }

    /// Gives back the room that a storm of watchers left behind.
    pub(crate) fn shrink(&self) {
        self.watchers.borrow_mut().shrink_to_fit();
    }

    /// A watcher that is told may be the last handle of something that watches itself, and so must
    /// not be told under the borrow.
    fn each(&self, tell: impl Fn(&dyn Watch)) {
        let all: Vec<_> = self
            .watchers
            .borrow()
            .iter()
            .map(|(_, w)| Rc::clone(w))
            .collect();
        all.iter().for_each(|watcher| tell(&**watcher));
    }
}

/// Someone who watches, until dropped.
pub(crate) struct Watcher {
    drain: Rc<Drain>,
    key: usize,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let gone = self.drain.watchers.borrow_mut().try_remove(self.key);
        if gone.is_some_and(|watcher| watcher.is_work()) {
            self.drain.done.set(self.drain.done.get() + 1);
        }
        self.drain.gone.notify_one();
    }
}

/// Watches with a function that is called when nothing new is to be taken.
pub(crate) struct OnDraining<F>(pub(crate) F);

impl<F: Fn()> Watch for OnDraining<F> {
    fn draining(&self) {
        (self.0)();
    }
}

/// Watches only so that it is waited for.
pub(crate) struct Present;

impl Watch for Present {}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Told(RefCell<Vec<&'static str>>);

    impl Watch for Told {
        fn draining(&self) {
            self.0.borrow_mut().push("draining");
        }

        fn ending(&self) {
            self.0.borrow_mut().push("ending");
        }
    }

    #[tokio::test]
    async fn watchers_are_told_each_phase_once_and_waited_for() {
        let drain = Rc::new(Drain::default());
        let (early, late, last) = <(Rc<Told>, Rc<Told>, Rc<Told>)>::default();
        let first = drain.watch(early.clone());
        drain.begin();
        let second = drain.watch(late.clone());
        drain.end();
        drain.ending().await;
        let third = drain.watch(last.clone());
        for watcher in [early, late, last] {
            assert_eq!(*watcher.0.borrow(), ["draining", "ending"]);
        }
        drop((first, second));
        let waiting = drain.empty();
        tokio::pin!(waiting);
        tokio::select! {
            biased;
            () = &mut waiting => panic!("one still watches"),
            () = tokio::task::yield_now() => {}
        }
        drop(third);
        waiting.await;
        assert_eq!(drain.take_done(), 0);
    }
}
