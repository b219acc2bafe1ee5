//! The streams that wait for a connection, in the order in which they came.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::task::{Context, Waker};

/// A queue of waiting streams. Only the first one is woken when there may be room.
#[derive(Debug, Default)]
pub(super) struct Queue {
    next: Cell<u64>,
    waiting: RefCell<BTreeMap<u64, Waker>>,
}

impl Queue {
    /// How many streams wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.borrow().len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.borrow().is_empty()
    }

    /// Takes the last place. The ticket keeps it until it is dropped.
    pub(super) fn join(&self) -> Ticket<'_> {
        let number = self.next.replace(self.next.get() + 1);
        let nobody = Waker::noop().clone();
        self.waiting.borrow_mut().insert(number, nobody);
        Ticket {
            queue: self,
            number,
        }
    }

    /// There may be room: the first stream looks again.
    pub(super) fn wake_first(&self) {
        let waiting = self.waiting.borrow();
        if let Some((_, waker)) = waiting.first_key_value() {
            waker.wake_by_ref();
        }
    }

    /// Something happened that concerns all of them.
    pub(super) fn wake_all(&self) {
        self.waiting.borrow().values().for_each(Waker::wake_by_ref);
    }
}

/// One stream's place in the queue.
#[derive(Debug)]
pub(super) struct Ticket<'a> {
    queue: &'a Queue,
    number: u64,
}

impl Ticket<'_> {
    /// Whether no other stream came before.
    pub(super) fn is_first(&self) -> bool {
        let waiting = self.queue.waiting.borrow();
        waiting.first_key_value().map(|(number, _)| *number) == Some(self.number)
    }

    /// Wakes this task when the stream is the first and there may be room.
    pub(super) fn wait(&self, cx: &Context<'_>) {
        if let Some(waker) = self.queue.waiting.borrow_mut().get_mut(&self.number) {
            waker.clone_from(cx.waker());
        }
    }
}

/// The stream waits no longer: it has its connection, or it is over. The next one looks.
impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let first = self.is_first();
        self.queue.waiting.borrow_mut().remove(&self.number);
        if first {
            self.queue.wake_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_stream_that_has_waited_longest_is_woken_and_the_next_when_it_is_gone() {
        let queue = Queue::default();
        let woken: Vec<Arc<Woken>> = (0..4).map(|_| Arc::default()).collect();
        let mut tickets: Vec<_> = woken
            .iter()
            .map(|woken| {
                let ticket = queue.join();
                let waker = Waker::from(Arc::clone(woken));
                ticket.wait(&Context::from_waker(&waker));
                ticket
            })
            .collect();
        let seen = || -> Vec<usize> {
            let counts = woken.iter().map(|w| w.0.load(Ordering::Relaxed));
            counts.collect()
        };
        assert!(tickets[0].is_first() && !tickets[1].is_first());
        queue.wake_first();
        assert_eq!(seen(), [1, 0, 0, 0]);
        // One that is canceled in the middle wakes nobody, and is never woken.
        drop(tickets.remove(1));
        assert_eq!(seen(), [1, 0, 0, 0]);
        // The first one was woken for a place and is canceled before it takes it.
        drop(tickets.remove(0));
        assert_eq!(seen(), [1, 0, 1, 0]);
        queue.wake_all();
        assert_eq!(seen(), [1, 0, 2, 1]);
        assert_eq!(queue.len(), 2);
        drop(tickets);
        assert!(queue.is_empty());
    }
}
