//! The counters of one (listener, route, inbound wire, outbound wire): atomics only.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use crate::stream::{End, Reason, Wire};
use crate::telemetry::{Outcome, names};

/// Upper bounds of the duration buckets, in seconds. Streams live from a millisecond to hours.
pub(super) const BOUNDS: [f64; 14] = [
    0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0,
];

/// Names and counters of one (listener, route, inbound wire, outbound wire).
#[derive(Debug)]
pub struct Series {
    /// The listener's name.
    pub listener: Arc<str>,
    /// The route's name; empty when no route matched.
    pub route: Arc<str>,
    /// The caller's wire.
    pub inbound: &'static Wire,
    /// The callee's wire.
    pub outbound: Option<&'static Wire>,
    pub(super) ends: [AtomicU64; names::ENDS.len()],
    pub(super) active: AtomicI64,
    pub(super) retries: AtomicU64,
    pub(super) skipped: AtomicU64,
    pub(super) messages: [AtomicU64; 2],
    pub(super) bytes: [AtomicU64; 2],
    pub(super) duration: Durations,
    /// In the order of [`names::error_name`].
    pub(super) errors: [AtomicU64; names::ERRORS],
    /// For each class in the order of [`names::CLASSES`], the causes in the order of
    /// [`names::CAUSES`].
    pub(super) cancels: [[AtomicU64; names::CAUSES.len()]; names::CLASSES.len()],
}

/// A histogram of durations without a lock. A scrape may see an observation's bucket before its
/// sum. Prometheus allows that.
#[derive(Debug, Default)]
pub(super) struct Durations {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

impl Series {
    pub(super) fn new(
        listener: &Arc<str>,
        route: &Arc<str>,
        inbound: &'static Wire,
        outbound: Option<&'static Wire>,
    ) -> Self {
        Self {
            listener: listener.clone(),
            route: route.clone(),
            inbound,
            outbound,
            ends: Default::default(),
            active: AtomicI64::new(0),
            retries: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            messages: Default::default(),
            bytes: Default::default(),
            duration: Durations::default(),
            errors: std::array::from_fn(|_| AtomicU64::new(0)),
            cancels: Default::default(),
        }
    }

    pub(super) fn same(&self, other: &Self) -> bool {
        self.inbound == other.inbound
            && self.outbound == other.outbound
            && self.listener == other.listener
            && self.route == other.route
    }

    pub(crate) fn opened(&self) {
        self.active.fetch_add(1, Relaxed);
    }

    pub(crate) fn closed(&self) {
        self.active.fetch_sub(1, Relaxed);
    }

    pub(crate) fn retried(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    /// Counts fields that a translation skipped, since the IDL does not know them.
    pub(crate) fn skipped_fields(&self, count: u64) {
        self.skipped.fetch_add(count, Relaxed);
    }

    /// Counts a finished stream. Touches atomics only.
    pub(crate) fn finished(&self, outcome: &Outcome<'_>, micros: u64) {
        self.count_end(outcome.end);
        if let Some(counter) = self.ends.get(names::end_index(outcome.end)) {
            counter.fetch_add(1, Relaxed);
        }
        let traffic = &outcome.traffic;
        let [requests, responses] = &self.messages;
        requests.fetch_add(traffic.request_messages, Relaxed);
        responses.fetch_add(traffic.response_messages, Relaxed);
        let [requests, responses] = &self.bytes;
        requests.fetch_add(traffic.request_bytes, Relaxed);
        responses.fetch_add(traffic.response_bytes, Relaxed);
        self.duration.observe(micros);
    }

    fn count_end(&self, end: &End) {
        if let Reason::Canceled(cancel) = &end.reason {
            let class = self.cancels.get(names::class_index(cancel.class));
            let counter =
                class.and_then(|causes| causes.get(names::cause_index(cancel.cause.code)));
            if let Some(counter) = counter {
                counter.fetch_add(1, Relaxed);
            }
        }
        if let Some(counter) = names::error_index(end).and_then(|at| self.errors.get(at)) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// The outbound wire's label.
    pub(crate) const fn outbound_name(&self) -> &'static str {
        match self.outbound {
            Some(wire) => wire.name,
            None => "none",
        }
    }
}

impl Durations {
    #[expect(clippy::cast_precision_loss, reason = "exact below 285 years")]
    fn observe(&self, micros: u64) {
        let seconds = micros as f64 / 1e6;
        let at = BOUNDS.partition_point(|bound| *bound < seconds);
        if let Some(bucket) = self.buckets.get(at) {
            bucket.fetch_add(1, Relaxed);
        }
        self.micros.fetch_add(micros, Relaxed);
    }

    /// Sum in seconds, count, and each bucket's bound and own count.
    #[expect(clippy::cast_precision_loss, reason = "exact below 285 years")]
    pub(super) fn read(&self) -> (f64, u64, [(f64, u64); BOUNDS.len() + 1]) {
        let mut buckets = [(f64::INFINITY, 0); BOUNDS.len() + 1];
        for (slot, bound) in buckets.iter_mut().zip(BOUNDS) {
            slot.0 = bound;
        }
        let mut count = 0;
        for (slot, bucket) in buckets.iter_mut().zip(&self.buckets) {
            slot.1 = bucket.load(Relaxed);
            count += slot.1;
        }
        (self.micros.load(Relaxed) as f64 / 1e6, count, buckets)
    }
}
