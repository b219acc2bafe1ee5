//! A worker: one thread, one current-thread runtime, a value that never leaves it, and jobs that
//! run with that value. What the jobs do is not known here.
//!
//! Measured with a prototype, 128 B messages on two workers: 1.21 CPU seconds per million messages,
//! and 3.61 on a work-stealing runtime.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;
use tokio::task::spawn_local;

/// Polls of tasks between two looks at the sockets (tokio's default is 61). One read of a
/// connection makes dozens of streams ready. To look again before they ran costs a system call, and
/// splits what could be written at once.
const EVENT_INTERVAL: u32 = 256;

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Makes a job's task, on the worker's thread.
type Job<C> = Box<dyn FnOnce(Rc<C>) -> Task + Send>;

/// A worker whose jobs run with a `C`, as other threads see it.
pub(crate) struct Handle<C> {
    /// `None` when it has to end.
    jobs: Mutex<Option<mpsc::UnboundedSender<Job<C>>>>,
    /// Jobs that were given to it and are not done.
    running: Arc<AtomicUsize>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl<C: 'static> Handle<C> {
    /// Starts worker number `id`. `make` makes its value, on its thread and within its runtime.
    ///
    /// # Errors
    /// The system gave no thread.
    pub(crate) fn start(
        id: usize,
        make: impl FnOnce() -> Rc<C> + Send + 'static,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new()
            .name(format!("worker-{id}"))
            .spawn(move || {
                match tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .event_interval(EVENT_INTERVAL)
                    .global_queue_interval(EVENT_INTERVAL)
                    .build_local(tokio::runtime::LocalOptions::default())
                {
                    Ok(runtime) => runtime.block_on(async { run(make(), queue).await }),
                    Err(error) => tracing::error!(%error, "no runtime for a worker"),
                }
            })?;
        Ok(Self {
            jobs: Mutex::new(Some(jobs)),
            running: Arc::default(),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// The number of its jobs that are not done yet.
    pub(crate) fn load(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// Gives it a job, to run beside its others. Returns false when the worker has ended.
    pub(crate) fn give<F>(&self, job: impl FnOnce(Rc<C>) -> F + Send + 'static) -> bool
    where
        F: Future<Output = ()> + 'static,
    {
        // Counted at once, so that whoever gives the next job sees it.
        let counted = Counted::new(&self.running);
        let job: Job<C> = Box::new(move |value| {
            // Called inside of the task, so that the task keeps what the job makes only once.
            Box::pin(async move {
                let _counted = counted;
                job(value).await;
            })
        });
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok())
    }

    /// Ends the worker and what its jobs left running, and waits for its thread.
    pub(crate) fn join(&self) {
        let take = PoisonError::into_inner;
        drop(self.jobs.lock().unwrap_or_else(take).take());
        let thread = self.thread.lock();
        let thread = thread.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("a worker panicked");
        }
    }
}

/// Each job runs in a task of its own, so that a panic ends only that job.
async fn run<C>(value: Rc<C>, mut queue: mpsc::UnboundedReceiver<Job<C>>) {
    while let Some(job) = queue.recv().await {
        spawn_local(job(Rc::clone(&value)));
    }
}

/// Counts a job that is not done; a panic ends the count too.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(running: &Arc<AtomicUsize>) -> Self {
        running.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(running))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn jobs_share_the_workers_value_and_a_panic_ends_only_its_own() {
        let worker = Handle::start(0, || Rc::new(Cell::new(0))).unwrap();
        assert!(worker.give(async |value: Rc<Cell<i32>>| value.set(value.get() + 1)));
        assert!(worker.give(async |_: Rc<Cell<i32>>| panic!("a job")));
        let (tell, told) = oneshot::channel();
        assert!(worker.give(async move |value: Rc<Cell<i32>>| tell.send(value.get()).unwrap()));
        assert_eq!(told.await.unwrap(), 1);
        assert!(worker.give(|_| std::future::pending()));
        worker.join();
        assert_eq!(worker.load(), 0);
        assert!(!worker.give(async |_: Rc<Cell<i32>>| {}));
    }
}
