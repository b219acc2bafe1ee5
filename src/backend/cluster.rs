//! The endpoints of one backend: picking one, and leaving failed ones alone for a while.
//!
//! Shared by all workers without locks: the list is behind an `ArcSwap`, an endpoint's state is
//! atomics. Owns no connection (each worker's pool does) and knows no wire.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use rustc_hash::FxHashMap;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::config::{Backend, Backoff, Target};

/// One address that streams may be sent to.
#[derive(Debug)]
pub struct Endpoint {
    /// Where it is.
    pub address: SocketAddr,
    backoff: Backoff,
    seed: u64,
    /// What `retry_at` counts from.
    born: Instant,
    /// Failures without a success in between.
    failures: AtomicU32,
    /// Microseconds after `born` until which it is left alone; 0 when it is well.
    retry_at: AtomicU64,
    removed: AtomicBool,
}

impl Endpoint {
    fn new(address: SocketAddr, backoff: Backoff, seed: u64) -> Self {
        Self {
            address,
            backoff,
            seed,
            born: Instant::now(),
            failures: AtomicU32::new(0),
            retry_at: AtomicU64::new(0),
            removed: AtomicBool::new(false),
        }
    }

    /// A connection could not be opened, or was lost without an answer. While the endpoint is
    /// already left alone this changes nothing: the many streams that one lost connection ends are
    /// one failure.
    pub fn report_failure(&self) {
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

    /// A connection was opened, or a stream was answered.
    pub fn report_success(&self) {
        // Read first: this is called for each stream, and a store would take the cache line.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.retry_at.store(0, Ordering::Relaxed);
        }
    }

    /// Failures without a success in between.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }

    /// For how long it is still to be left alone.
    #[must_use]
    pub fn backoff_left(&self) -> Option<Duration> {
        let until = self.retry_at.load(Ordering::Relaxed);
        let left = until.checked_sub(self.now())?;
        (left > 0).then(|| Duration::from_micros(left))
    }

    /// Whether it is no longer one of its backend's: connections to it take no new streams.
    #[must_use]
    pub fn removed(&self) -> bool {
        self.removed.load(Ordering::Relaxed)
    }

    fn now(&self) -> u64 {
        let elapsed = Instant::now().saturating_duration_since(self.born);
        u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
    }

    /// Doubled with each failure up to the maximum, less up to a quarter, so that hops that lost
    /// the same callee do not come back at once.
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

/// One step of SplitMix64: spreads the bits of a counter.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A backend at work.
#[derive(Debug)]
pub struct Cluster {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Unlike any other of this process, also one of the same name before or after a reload: what
    /// a worker's pool is keyed by.
    pub id: u64,
    /// Its configuration.
    pub config: Backend,
    endpoints: ArcSwap<Vec<Arc<Endpoint>>>,
    changed: Notify,
    seed: u64,
}

impl Cluster {
    /// A cluster whose fixed addresses are there at once; names are for `dns::run`. `seed` makes
    /// the jitter repeatable, and different from other hops'.
    #[must_use]
    pub fn new(name: &str, config: &Backend, seed: u64) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let cluster = Self {
            name: name.into(),
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            config: config.clone(),
            endpoints: ArcSwap::default(),
            changed: Notify::new(),
            seed: name.bytes().fold(seed, |s, b| mix(s ^ u64::from(b))),
        };
        let fixed = config.endpoints.iter().filter_map(|target| match target {
            Target::Address(address) => Some(*address),
            Target::Dns { .. } | Target::OriginalDestination => None,
        });
        cluster.set_addresses(fixed);
        Arc::new(cluster)
    }

    /// The endpoint for a stream: round robin by `turn`, a counter of the caller's own (the next
    /// one also for the next attempt). Endpoints that failed are passed over unless all have;
    /// `None` when there is none at all.
    #[must_use]
    pub fn pick(&self, turn: usize) -> Option<Arc<Endpoint>> {
        let endpoints = self.endpoints.load();
        let first = turn.checked_rem(endpoints.len())?;
        let (before, from) = endpoints.split_at_checked(first)?;
        let mut order = from.iter().chain(before);
        let well = order.clone().find(|e| e.backoff_left().is_none());
        well.or_else(|| order.next()).cloned()
    }

    /// The endpoints, in the order that they are picked in.
    pub fn endpoints(&self) -> Guard<Arc<Vec<Arc<Endpoint>>>> {
        self.endpoints.load()
    }

    /// Whether an address is one of its endpoints.
    #[must_use]
    pub fn has(&self, address: SocketAddr) -> bool {
        self.endpoints.load().iter().any(|e| e.address == address)
    }

    /// Completes when the endpoints change after the call, e.g. when a name is first resolved.
    pub fn changed(&self) -> impl Future<Output = ()> + '_ {
        self.changed.notified()
    }

    /// Replaces the endpoints by these addresses; those that were there before keep their state
    /// and identity. Returns whether anything changed.
    pub fn set_addresses(&self, addresses: impl IntoIterator<Item = SocketAddr>) -> bool {
        let old = self.endpoints.load_full();
        let known: FxHashMap<SocketAddr, &Arc<Endpoint>> =
            old.iter().map(|e| (e.address, e)).collect();
        let mut new: Vec<Arc<Endpoint>> = Vec::new();
        let mut seen = rustc_hash::FxHashSet::default();
        for address in addresses {
            if !seen.insert(address) {
                continue;
            }
            new.push(known.get(&address).map_or_else(
                || {
                    let seed = mix(self.seed ^ self.salt(address));
                    Arc::new(Endpoint::new(address, self.config.backoff.clone(), seed))
                },
                |e| Arc::clone(e),
            ));
        }
        let same = |(a, b): (&Arc<Endpoint>, &Arc<Endpoint>)| Arc::ptr_eq(a, b);
        if new.len() == old.len() && new.iter().zip(old.iter()).all(same) {
            return false;
        }
        for gone in old.iter().filter(|e| !seen.contains(&e.address)) {
            gone.removed.store(true, Ordering::Relaxed);
        }
        self.endpoints.store(Arc::new(new));
        self.changed.notify_waiters();
        true
    }

    fn salt(&self, address: SocketAddr) -> u64 {
        let ip = match address.ip() {
            std::net::IpAddr::V4(v4) => u64::from(v4.to_bits()),
            std::net::IpAddr::V6(v6) => {
                let bits = v6.to_bits().to_be_bytes();
                bits.iter().fold(0, |s, b| mix(s ^ u64::from(*b)))
            }
        };
        ip ^ (u64::from(address.port()) << 40)
    }
}

#[cfg(test)]
mod tests;
