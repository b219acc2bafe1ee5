//! A waker that remembers that it woke.
//!
//! One task polls several sources. When one of them wakes it, the task would have to poll all. A
//! [`WakeFlag`] stands between the task and one source, so that a source that did not wake the task
//! is not polled. With `h2` each poll costs a lock and a lookup.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

#[derive(Debug)]
struct Inner {
    woken: AtomicBool,
    task: Waker,
}

impl Wake for Inner {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

/// Stands between a task and one source that wakes it.
#[derive(Debug, Default)]
pub struct WakeFlag(Option<(Arc<Inner>, Waker)>);

impl WakeFlag {
    /// The waker with which to poll the source, if it must be polled: the first time, after it woke
    /// the task, and when another task asks. `None` when a poll would find nothing.
    ///
    /// The source has to be polled until it is pending. Otherwise its waker is not registered.
    pub fn take(&mut self, cx: &Context<'_>) -> Option<&Waker> {
        let known = self
            .0
            .as_ref()
            .is_some_and(|(inner, _)| inner.task.will_wake(cx.waker()));
        if !known {
            let inner = Arc::new(Inner {
                woken: AtomicBool::new(true),
                task: cx.waker().clone(),
            });
            self.0 = Some((Arc::clone(&inner), Waker::from(inner)));
        }
        let (inner, waker) = self.0.as_ref()?;
        // Only one task clears it, and a load is cheaper than a swap when nothing came.
        let woken = inner.woken.load(Ordering::Acquire);
        if woken {
            inner.woken.store(false, Ordering::Relaxed);
        }
        woken.then_some(waker)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_source_is_asked_at_first_and_when_it_woke() {
        let task = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&task));
        let cx = Context::from_waker(&waker);
        let mut flag = WakeFlag::default();
        let source = flag.take(&cx).cloned().unwrap();
        assert!(flag.take(&cx).is_none());
        source.wake_by_ref();
        source.wake();
        assert_eq!(task.0.load(Ordering::SeqCst), 2);
        assert!(flag.take(&cx).is_some());
        assert!(flag.take(&cx).is_none());
    }

    #[test]
    fn another_task_asks_anew() {
        let (one, two) = (
            Waker::from(Arc::new(Count(AtomicUsize::new(0)))),
            Waker::from(Arc::new(Count(AtomicUsize::new(0)))),
        );
        let mut flag = WakeFlag::default();
        assert!(flag.take(&Context::from_waker(&one)).is_some());
        assert!(flag.take(&Context::from_waker(&two)).is_some());
        assert!(flag.take(&Context::from_waker(&two)).is_none());
    }
}
