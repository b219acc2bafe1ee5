//! What the pools of all workers count.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::telemetry::Metrics;

/// The counters of a process. Clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct PoolCounters(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    waiting: AtomicU64,
    budget_connections: AtomicU64,
    over_budget: AtomicU64,
    goaways: AtomicU64,
}

impl PoolCounters {
    /// Shows them in `/metrics`.
    pub(crate) fn register(&self, metrics: &Metrics) {
        let counts = Arc::clone(&self.0);
        let help = "Streams that wait for a connection to their backend, or for a place on one";
        metrics.gauge_fn("ripcord_waiting_streams", help, &[], move || {
            counts.waiting.load(Relaxed)
        });
        let counts = Arc::clone(&self.0);
        let help =
            "Connections opened since the others had spent a budget: of resets, or of small frames";
        metrics.counter_fn(
            "ripcord_reset_budget_connections_total",
            help,
            &[],
            move || counts.budget_connections.load(Relaxed),
        );
        let counts = Arc::clone(&self.0);
        let help =
            "Streams opened on connections that had spent a budget: of resets, or of small frames";
        metrics.counter_fn(
            "ripcord_reset_budget_exceeded_total",
            help,
            &[],
            move || counts.over_budget.load(Relaxed),
        );
        let counts = Arc::clone(&self.0);
        let help = "Connections that a callee ended because too many streams were reset";
        metrics.counter_fn("ripcord_reset_goaways_total", help, &[], move || {
            counts.goaways.load(Relaxed)
        });
    }

    /// A stream waits as long as the guard lives.
    pub(super) fn waiting(&self) -> Waiting<'_> {
        self.0.waiting.fetch_add(1, Relaxed);
        Waiting(&self.0)
    }

    /// A connection is opened because the others have spent their budget.
    pub(super) fn budget_connection(&self) {
        self.0.budget_connections.fetch_add(1, Relaxed);
    }

    /// A stream is opened although the budget is spent.
    pub(super) fn over_budget(&self) {
        self.0.over_budget.fetch_add(1, Relaxed);
    }

    /// A callee ended a connection for its resets.
    pub(super) fn goaway(&self) {
        self.0.goaways.fetch_add(1, Relaxed);
    }
}

/// Counts a stream that waits.
pub(super) struct Waiting<'a>(&'a Counts);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}
