//! A worker: one thread, one current-thread runtime, and everything that never leaves it —
//! inbound connections, their streams, and the backend connections that those use.
//!
//! Measured with a prototype, 128 B messages on two workers: 1.21 CPU seconds a million, 3.61 on a work-stealing runtime.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use slab::Slab;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::spawn_local;

use crate::Routes;
use crate::backend::pool::{Pool, PoolConfig};
use crate::bridge::Switch;
use crate::config::Limits;
use crate::listen::{self, Listener};
use crate::net::budget::Budget;
use crate::net::redirect::Own;
use crate::proxy::Tap;
use crate::stream::HopKind;
use crate::telemetry::Telemetry;
use crate::wire::{grpc, ttheader};
use rest::Rest;

mod rest;

/// How often connections to endpoints that are gone, and what a storm left, are looked for.
const SWEEP: Duration = Duration::from_secs(5);

/// Polls of tasks between two looks at the sockets. One read of a connection readies dozens of
/// streams; looking again before they ran (tokio's default is 61) costs a system call and splits
/// what could have been written at once.
const EVENT_INTERVAL: u32 = 256;

/// What streams are told that the drain ended.
const OVER: &str = "the proxy is shutting down";

/// What all workers share; nothing in it is behind a lock on the data path.
pub(crate) struct Shared {
    /// This hop's name.
    pub(crate) node: Arc<str>,
    pub(crate) limits: Limits,
    pub(crate) routes: Arc<Routes>,
    pub(crate) telemetry: Telemetry,
    pub(crate) budget: Arc<Budget>,
    /// The connections to backends, should one be redirected back to a listener.
    pub(crate) own: Arc<Own>,
    pub(crate) ttheader: Arc<ttheader::Counters>,
    /// gRPC streams that were ended for being slow.
    pub(crate) grpc_slow_streams: Arc<AtomicU64>,
    pub(crate) listeners: Vec<Arc<listen::Shared>>,
    /// Where ends are told to an embedder.
    pub(crate) tap: Option<Tap>,
}

/// What a worker is asked to do.
pub(crate) enum Job {
    /// Serve a connection of a listener (by its place in [`Shared::listeners`]).
    Serve(std::net::TcpStream, SocketAddr, usize),
    /// Take no new streams; connections close when their last stream is over.
    Drain,
    /// End what is left, flush, close, and answer.
    Close(oneshot::Sender<()>),
}

/// The acceptor's view of a worker.
pub(crate) struct Handle {
    jobs: mpsc::UnboundedSender<Job>,
    connections: Arc<AtomicUsize>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Handle {
    /// Starts worker number `id`.
    ///
    /// # Errors
    /// The system gave no thread or no runtime.
    pub(crate) fn start(id: usize, shared: Arc<Shared>) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let thread = std::thread::Builder::new()
            .name(format!("worker-{id}"))
            .spawn(move || {
                match tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .event_interval(EVENT_INTERVAL)
                    .global_queue_interval(EVENT_INTERVAL)
                    .build_local(tokio::runtime::LocalOptions::default())
                {
                    Ok(runtime) => runtime.block_on(Worker::new(id, shared, counted).run(queue)),
                    Err(error) => tracing::error!(%error, "no runtime for a worker"),
                }
            })?;
        Ok(Self {
            jobs,
            connections,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Inbound connections that it serves.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Gives it something to do; false when it is gone.
    pub(crate) fn give(&self, job: Job) -> bool {
        let serve = matches!(job, Job::Serve(..));
        // Before the worker can count it down.
        self.connections
            .fetch_add(usize::from(serve), Ordering::Relaxed);
        let given = self.jobs.send(job).is_ok();
        if !given {
            self.connections
                .fetch_sub(usize::from(serve), Ordering::Relaxed);
        }
        given
    }

    /// Waits for its thread.
    pub(crate) fn join(&self) {
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("a worker panicked");
        }
    }
}

/// One worker, seen from its own thread.
pub(crate) struct Worker {
    pub(crate) id: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) pool: Pool,
    listeners: Vec<Rc<Listener>>,
    /// The live streams, to be ended from outside.
    switches: RefCell<Slab<Rc<Switch>>>,
    /// The inbound connections, to be drained.
    drains: RefCell<Slab<Box<dyn Fn()>>>,
    draining: Cell<bool>,
    /// Every stream is being ended, those too that come now.
    ending: Cell<bool>,
    connections: Arc<AtomicUsize>,
    /// Told whenever a stream or a connection is over.
    less: Notify,
    rest: Rest,
    /// Told when the worker closes: for connections that it relays without knowing their calls.
    closing: Notify,
}

impl Worker {
    fn new(id: usize, shared: Arc<Shared>, connections: Arc<AtomicUsize>) -> Rc<Self> {
        let limits = &shared.limits;
        let grpc = listen::grpc_config(&shared, limits, true);
        let pool = Pool::new(PoolConfig {
            http2: listen::callee_http2_config(limits),
            grpc_hop: Rc::new(grpc::StreamConfig {
                to_ripcord: true,
                ..grpc.clone()
            }),
            grpc: Rc::new(grpc),
            ttheader: Rc::new(listen::callee_ttheader_config(&shared, limits)),
            metrics: Arc::clone(&shared.telemetry.metrics),
            own: Arc::clone(&shared.own),
        });
        let listeners = shared
            .listeners
            .iter()
            .map(|l| Rc::new(Listener::new(&shared, l)))
            .collect();
        Rc::new(Self {
            id,
            pool,
            listeners,
            switches: RefCell::default(),
            drains: RefCell::default(),
            draining: Cell::new(false),
            ending: Cell::new(false),
            connections,
            less: Notify::new(),
            rest: Rest::default(),
            closing: Notify::new(),
            shared,
        })
    }

    async fn run(self: Rc<Self>, mut jobs: mpsc::UnboundedReceiver<Job>) {
        let mut sweep = tokio::time::interval(SWEEP);
        loop {
            let job = tokio::select! {
                biased;
                job = jobs.recv() => job,
                _ = sweep.tick() => {
                    self.pool.sweep();
                    if self.rest.is_due() {
                        self.rest();
                    }
                    continue;
                }
            };
            match job {
                Some(Job::Serve(socket, peer, listener)) => self.serve(socket, peer, listener),
                Some(Job::Drain) => self.drain(),
                Some(Job::Close(done)) => {
                    self.close().await;
                    let _ = done.send(());
                    return;
                }
                None => return,
            }
        }
    }

    /// After a storm: gives back what the tables and the allocator keep for the next one.
    fn rest(&self) {
        self.switches.borrow_mut().shrink_to_fit();
        self.drains.borrow_mut().shrink_to_fit();
        self.shared.telemetry.live.shrink(self.id);
        rest::tidy();
    }

    fn serve(self: &Rc<Self>, socket: std::net::TcpStream, peer: SocketAddr, listener: usize) {
        let counted = Counted(Rc::clone(self), self.listeners.get(listener).cloned());
        let (Some(listener), Ok(socket)) = (counted.1.clone(), TcpStream::from_std(socket)) else {
            return;
        };
        let worker = Rc::clone(self);
        spawn_local(async move {
            let _counted = counted;
            listen::connection(worker, listener, socket, peer).await;
        });
    }

    /// A switch for a new stream; it is known to the worker until it is dropped.
    pub(crate) fn switch(self: &Rc<Self>) -> Registered {
        let switch = Rc::new(Switch::default());
        if self.ending.get() {
            // Opened while GOAWAY was under way: nobody would end it before the thread does.
            switch.end(HopKind::DrainOver, OVER);
        }
        let key = self.switches.borrow_mut().insert(Rc::clone(&switch));
        Registered {
            worker: Rc::clone(self),
            key,
            switch,
        }
    }

    /// Registers how an inbound connection is drained, for as long as the guard lives.
    pub(crate) fn on_drain(self: &Rc<Self>, drain: impl Fn() + 'static) -> OnDrain {
        if self.draining.get() {
            drain();
        }
        let key = self.drains.borrow_mut().insert(Box::new(drain));
        OnDrain {
            worker: Rc::clone(self),
            key,
        }
    }

    fn drain(&self) {
        self.draining.set(true);
        for (_, drain) in self.drains.borrow().iter() {
            drain();
        }
    }

    /// Done when the worker closes.
    pub(crate) async fn closing(&self) {
        if !self.ending.get() {
            self.closing.notified().await;
        }
    }

    async fn close(&self) {
        self.drain();
        self.ending.set(true);
        self.closing.notify_waiters();
        for (_, switch) in self.switches.borrow().iter() {
            switch.end(HopKind::DrainOver, OVER);
        }
        let grace = self.shared.limits.cancel_grace;
        let flushed = async {
            while !self.switches.borrow().is_empty() || self.connections.load(Ordering::Relaxed) > 0
            {
                self.less.notified().await;
            }
            self.pool.close().await;
        };
        if tokio::time::timeout(grace, flushed).await.is_err() {
            tracing::warn!(
                worker = self.id,
                ?grace,
                "peers did not take their ends in time; closing"
            );
        }
    }
}

/// A stream's switch, known to its worker until dropped.
pub(crate) struct Registered {
    worker: Rc<Worker>,
    key: usize,
    switch: Rc<Switch>,
}

impl std::ops::Deref for Registered {
    type Target = Switch;
    fn deref(&self) -> &Switch {
        &self.switch
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.worker.switches.borrow_mut().try_remove(self.key);
        self.worker.rest.over();
        self.worker.less.notify_one();
    }
}

/// An inbound connection's way to be drained, known to its worker until dropped.
pub(crate) struct OnDrain {
    worker: Rc<Worker>,
    key: usize,
}

impl Drop for OnDrain {
    fn drop(&mut self) {
        self.worker.drains.borrow_mut().try_remove(self.key);
    }
}

/// Counts an inbound connection down when its task is over, panics included.
struct Counted(Rc<Worker>, Option<Rc<Listener>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
        if let Some(listener) = &self.1 {
            listener.shared.leave();
        }
        self.0.less.notify_one();
    }
}

#[cfg(test)]
mod tests;
