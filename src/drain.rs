//! The drain of one worker: one trigger, and everybody who watches it.
//!
//! Streams and connections watch for as long as they live, so that the drain is over when nobody
//! watches. Everything here stays on its worker's thread.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use slab::Slab;
use tokio::sync::Notify;

/// The phase of a drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// New streams and connections are accepted.
    #[default]
    Open,
    /// New ones are refused; open ones go on.
    Draining,
    /// Open ones are being ended.
    Ending,
}

/// What a watcher does when the drain enters a phase. Called at once when that phase has begun
/// before.
pub(crate) trait Watch {
    /// New streams and connections have to be refused.
    fn draining(&self) {}

    /// Its stream or connection has to end.
    fn ending(&self) {}

    /// Whether its end counts as work done ([`Drain::take_done`]). A stream's does.
    fn is_work(&self) -> bool {
        false
    }
}

/// A worker's drain: its phase and its watchers.
#[derive(Default)]
pub(crate) struct Drain {
    phase: Cell<Phase>,
    watchers: RefCell<Slab<Rc<dyn Watch>>>,
    /// Notified when a watcher is gone.
    gone: Notify,
    /// Streams that ended since [`Drain::take_done`] was last called.
    done: Cell<usize>,
    /// Notified when the last phase begins.
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

    /// Begins the drain: new streams and connections are refused.
    pub(crate) fn begin(&self) {
        if self.phase.get() < Phase::Draining {
            self.phase.set(Phase::Draining);
            self.each(|watcher| watcher.draining());
        }
    }

    /// Ends the open streams and connections.
    pub(crate) fn end(&self) {
        self.begin();
        if self.phase.get() < Phase::Ending {
            self.phase.set(Phase::Ending);
            self.ending.notify_waiters();
            self.each(|watcher| watcher.ending());
        }
    }

    /// Completes when open streams are being ended.
    pub(crate) async fn ending(&self) {
        if self.phase.get() < Phase::Ending {
            self.ending.notified().await;
        }
    }

    /// Completes when nobody watches any more.
    pub(crate) async fn empty(&self) {
        while !self.watchers.borrow().is_empty() {
            self.gone.notified().await;
        }
    }

    /// How many streams ended since the last call.
    pub(crate) fn take_done(&self) -> usize {
        self.done.take()
    }

    /// Gives back the memory that many watchers needed.
    pub(crate) fn shrink(&self) {
        self.watchers.borrow_mut().shrink_to_fit();
    }

    /// A watcher may hold the last handle of another watcher. So it is called without the borrow.
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

/// A registered watcher; dropping it ends the watch.
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

/// A watcher that calls a function when new streams have to be refused.
pub(crate) struct OnDraining<F>(pub(crate) F);

impl<F: Fn()> Watch for OnDraining<F> {
    fn draining(&self) {
        (self.0)();
    }
}

/// A watcher that does nothing: the drain only waits for it.
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
