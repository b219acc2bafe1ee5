//! What a stream's task needs of its process and of its worker. `listen`, `proxy` and `relay` use
//! it, and it uses none of them.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_local;

use crate::Routes;
use crate::backend::pool::{Pool, PoolCounters};
use crate::config::Limits;
use crate::drain::Drain;
use crate::net::bounds::Bounds;
use crate::net::redirect::LoopGuard;
use crate::telemetry::{Tap, Telemetry};
use crate::trim::{self, IdleTrim};
use crate::wire::{Counters, Dialers};

/// How often each worker looks for connections whose endpoints are gone, and for what a storm left
/// behind.
const SWEEP: Duration = Duration::from_secs(5);

/// What all workers share. The data path takes no lock for any of it.
pub(crate) struct Process {
    /// This hop's name (`node`).
    pub(crate) node: Arc<str>,
    pub(crate) limits: Limits,
    pub(crate) routes: Arc<Routes>,
    pub(crate) telemetry: Telemetry,
    /// The counters of the wires.
    pub(crate) counters: Counters,
    /// The counters of all workers' connections to backends.
    pub(crate) pool_counters: PoolCounters,
    /// The bounds of connections to backends.
    pub(crate) bounds: Bounds,
    /// Knows the connections to backends, in case one is redirected back to a listener.
    pub(crate) loop_guard: Arc<LoopGuard>,
    /// Receives the ends of streams, for a program that embeds ripcord.
    pub(crate) tap: Option<Tap>,
}

/// One worker's part. It never leaves its thread.
pub(crate) struct Context {
    /// The worker's number, from 0.
    pub(crate) worker: usize,
    pub(crate) process: Arc<Process>,
    pub(crate) pool: Pool,
    pub(crate) drain: Rc<Drain>,
    trim: IdleTrim,
}

impl Context {
    /// The context of worker number `worker`.
    pub(crate) fn new(worker: usize, process: Arc<Process>) -> Rc<Self> {
        let dialers = Dialers::new(&process.bounds, &process.counters);
        let metrics = Arc::clone(&process.telemetry.metrics);
        Rc::new(Self {
            worker,
            pool: Pool::new(
                dialers,
                metrics,
                Arc::clone(&process.loop_guard),
                process.pool_counters.clone(),
            ),
            drain: Rc::default(),
            trim: IdleTrim::default(),
            process,
        })
    }

    /// Gives back at intervals what is no longer used, for as long as the context lives.
    pub(crate) fn sweep(self: &Rc<Self>) {
        let context = Rc::downgrade(self);
        spawn_local(async move {
            let mut look = tokio::time::interval(SWEEP);
            loop {
                look.tick().await;
                let Some(context) = context.upgrade() else {
                    return;
                };
                context.pool.sweep();
                if context.trim.is_due(context.drain.take_done()) {
                    context.drain.shrink();
                    context.process.telemetry.live.shrink(context.worker);
                    trim::trim_thread();
                }
            }
        });
    }

    /// Ends every stream and connection, and waits until their last bytes are written, but no
    /// longer than `cancel_grace`.
    pub(crate) async fn close(&self) {
        self.drain.end();
        let grace = self.process.limits.cancel_grace;
        let flushed = async {
            self.drain.empty().await;
            self.pool.close().await;
        };
        if tokio::time::timeout(grace, flushed).await.is_err() {
            tracing::warn!(
                worker = self.worker,
                ?grace,
                "peers did not take their ends in time; closing"
            );
        }
    }
}
