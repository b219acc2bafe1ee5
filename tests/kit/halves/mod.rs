//! Peers made of the crate's own halves: callers and callees with limits that no test reaches.
//! Those of [`callee`] and [`callers`] record every end, on sockets with a [`tap`]. Those of
//! [`flood`] send without end, or never read.

mod callee;
mod callers;
mod connection;
pub(crate) mod flood;
mod tap;

use std::thread::JoinHandle;

use tokio::sync::watch;

pub(crate) use super::Wire;
pub(crate) use callee::Callee;
pub(crate) use callers::{CALLER, CAUSE, Callers, Storm, TEXT, Then, Traffic};
pub(crate) use tap::Heard;

/// Runs on a thread and a runtime of its own, as a worker runs its streams.
pub(crate) fn on_thread<T: Send + 'static, F: Future<Output = T>>(
    run: impl FnOnce() -> F + Send + 'static,
) -> JoinHandle<T> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(tokio::runtime::LocalOptions::default());
        runtime.unwrap().block_on(run())
    })
}

/// A thread with a runtime of its own. It gets one signal, and ends when it is dropped.
pub(crate) struct Thread<C> {
    command: Option<watch::Sender<Option<C>>>,
    thread: Option<JoinHandle<()>>,
}

impl<C: Send + Sync + 'static> Thread<C> {
    pub(crate) fn start<F: Future<Output = ()>>(
        run: impl FnOnce(watch::Receiver<Option<C>>) -> F + Send + 'static,
    ) -> Self {
        let (command, told) = watch::channel(None);
        let thread = on_thread(move || run(told));
        Self {
            command: Some(command),
            thread: Some(thread),
        }
    }

    pub(crate) fn tell(&self, command: C) {
        self.command.as_ref().unwrap().send_replace(Some(command));
    }

    pub(crate) fn join(&mut self) {
        self.command = None;
        if let Some(thread) = self.thread.take() {
            let done = thread.join();
            assert!(done.is_ok() || std::thread::panicking(), "a peer panicked");
        }
    }
}

impl<C> Drop for Thread<C> {
    fn drop(&mut self) {
        self.command = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
