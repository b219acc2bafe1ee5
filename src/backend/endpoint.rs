//! One address of a backend: its health, and how many streams use it now.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::backend::cluster::mix;
use crate::config::Backoff;
use crate::stream::{End, Initiator};

/// One address that streams may be sent to.
#[derive(Debug)]
pub struct Endpoint {
    /// Its IP address and port.
    pub address: SocketAddr,
    backoff: Backoff,
    seed: u64,
    /// The time from which `retry_at` counts.
    born: Instant,
    /// Failures since the last success.
    failures: AtomicU32,
    /// Until when it is avoided, in microseconds after `born`; 0 when it is well.
    retry_at: AtomicU64,
    /// Streams and calls that have a guard now.
    open: AtomicUsize,
    /// Whether it ended a connection for its resets. Every worker's pool reads it.
    calm: Arc<AtomicBool>,
    /// Finished streams and calls, by who ended them: caller, callee, hop.
    ended: [AtomicU64; 3],
}

impl Endpoint {
    pub(super) fn new(address: SocketAddr, backoff: Backoff, seed: u64) -> Self {
        Self {
            address,
            backoff,
            seed,
            born: Instant::now(),
            failures: AtomicU32::new(0),
            retry_at: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            calm: Arc::default(),
            ended: Default::default(),
        }
    }

    /// Failures since the last success.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }

    /// How much longer it is avoided; `None` when it is not.
    #[must_use]
    pub fn backoff_left(&self) -> Option<Duration> {
        // Most have never failed: no look at the clock.
        let until = Some(self.retry_at.load(Ordering::Relaxed)).filter(|until| *until > 0)?;
        let left = until.checked_sub(self.now())?;
        (left > 0).then(|| Duration::from_micros(left))
    }

    /// Streams and calls that use it now on all workers, those included that are being opened.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// How many streams and calls `by` ended.
    #[must_use]
    pub fn ended(&self, by: Initiator) -> u64 {
        self.ended_by(by).load(Ordering::Relaxed)
    }

    /// Whether it ended a connection because too many streams were reset on it.
    pub(super) const fn calm(&self) -> &Arc<AtomicBool> {
        &self.calm
    }

    /// A connection could not be opened. Changes nothing while the endpoint is avoided already: one
    /// lost connection ends many streams, and that is one failure.
    pub(super) fn report_failure(&self) {
        let now = self.now();
        let until = self.retry_at.load(Ordering::Relaxed);
        if until > now {
            return;
        }
        let failures = self.failures.load(Ordering::Relaxed).saturating_add(1);
        let next = now.saturating_add(self.delay(failures)).max(1);
        let swapped =
            self.retry_at
                .compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed);
        if swapped.is_ok() {
            self.failures.store(failures, Ordering::Relaxed);
        }
    }

    /// A stream was opened.
    pub(super) fn report_success(&self) {
        // Reads first: this is called for each stream, and a store would take the cache line.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.retry_at.store(0, Ordering::Relaxed);
        }
    }

    const fn ended_by(&self, by: Initiator) -> &AtomicU64 {
        let [caller, callee, hop] = &self.ended;
        match by {
            Initiator::Caller => caller,
            Initiator::Callee => callee,
            Initiator::Hop => hop,
        }
    }

    fn now(&self) -> u64 {
        let elapsed = Instant::now().saturating_duration_since(self.born);
        u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
    }

    /// Doubles with each failure up to the maximum. Up to a quarter is subtracted at random, so
    /// that hops that lost the same callee do not return at once.
    fn delay(&self, failures: u32) -> u64 {
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1).min(31));
        let initial = self.backoff.initial;
        let full = initial.saturating_mul(doubled.unwrap_or(u32::MAX));
        let full = u64::try_from(full.min(self.backoff.max).as_micros()).unwrap_or(u64::MAX);
        let quarter = full / 4;
        let jitter = mix(self.seed.wrapping_add(u64::from(failures)));
        full - jitter.checked_rem(quarter + 1).unwrap_or(0)
    }
}

/// The endpoint that was picked for one stream or call. It lives as long as the stream and learns
/// how it ended, for the benefit of the next pick.
///
/// One pointer, since each stream's task keeps it.
#[derive(Debug)]
pub struct EndpointGuard(Arc<Endpoint>);

impl EndpointGuard {
    pub(super) fn new(endpoint: Arc<Endpoint>) -> Self {
        endpoint.open.fetch_add(1, Ordering::Relaxed);
        Self(endpoint)
    }

    /// For an address that the caller chose. It is in no backend's list.
    pub(super) fn unlisted(address: SocketAddr) -> Self {
        Self::new(Arc::new(Endpoint::new(address, Backoff::default(), 0)))
    }

    /// The endpoint's address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    #[cfg(test)]
    pub(super) const fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0
    }

    /// The connection or stream could not be opened.
    pub fn failed(self) {
        self.0.report_failure();
    }

    /// The stream or call was opened.
    pub fn opened(&self) {
        self.0.report_success();
    }

    /// The stream is over, with the end that won.
    pub fn ended(self, end: &End) {
        self.ended_by(end.by);
    }

    /// It is over, and only who ended it is known.
    pub fn ended_by(self, by: Initiator) {
        self.0.ended_by(by).fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for EndpointGuard {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
