//! The streams that are open now, for `/streams`.
//!
//! There is one slab per worker, each behind a lock of its own. The worker takes the lock once at a
//! stream's start and once at its end, and the admin task takes it for a page. So it is practically
//! never contended, and a free mutex costs two atomic operations. A page copies the handles out,
//! and formats them after it released the lock.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use serde_json::{Value, json};
use slab::Slab;
use tokio::time::Instant;

use crate::telemetry::{StreamInfo, Traffic, access, names};

/// The longest text of one field, in bytes.
const MAX_TEXT: usize = 256;

/// The open streams. Clones are handles to the same list.
#[derive(Clone, Debug)]
pub struct LiveStreams {
    shards: Arc<[Mutex<Slab<Arc<LiveStream>>>]>,
}

/// One open stream.
#[derive(Debug)]
pub struct LiveStream {
    /// What is known of the stream since its start.
    pub info: StreamInfo,
    pub(crate) started: Instant,
    pub(crate) started_at: SystemTime,
    endpoint: OnceLock<SocketAddr>,
    /// Where it was opened again; empty until it is. In a box, since few are.
    again: OnceLock<Box<OnceLock<SocketAddr>>>,
    traffic: [AtomicU64; 4],
}

/// A stream's place in the list.
#[derive(Debug)]
pub(crate) struct LiveKey {
    shard: usize,
    key: usize,
}

impl LiveStreams {
    /// An empty list for this many workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        let shards = (0..workers.max(1)).map(|_| Mutex::default()).collect();
        Self { shards }
    }

    pub(crate) fn add(&self, worker: usize, stream: Arc<LiveStream>) -> LiveKey {
        let shard = worker % self.shards.len();
        let key = self.with(shard, |slab| slab.insert(stream)).unwrap_or(0);
        LiveKey { shard, key }
    }

    pub(crate) fn remove(&self, at: &LiveKey) {
        let _ = self.with(at.shard, |slab| slab.try_remove(at.key));
    }

    /// Gives back the memory that only an earlier crowd of streams needed.
    pub(crate) fn shrink(&self, worker: usize) {
        let _ = self.with(worker % self.shards.len(), Slab::shrink_to_fit);
    }

    fn with<T>(&self, shard: usize, f: impl FnOnce(&mut Slab<Arc<LiveStream>>) -> T) -> Option<T> {
        let mut slab = self
            .shards
            .get(shard)?
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Some(f(&mut slab))
    }

    /// The number of open streams.
    #[must_use]
    pub fn len(&self) -> usize {
        (0..self.shards.len())
            .filter_map(|shard| self.with(shard, |slab| slab.len()))
            .sum()
    }

    /// Whether no stream is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `{"total": N, "streams": [...]}` with at most `limit` streams, the oldest first.
    #[must_use]
    pub fn to_json(&self, limit: usize) -> Value {
        let mut all: Vec<(String, Arc<LiveStream>)> = Vec::new();
        for shard in 0..self.shards.len() {
            let _ = self.with(shard, |slab| {
                all.extend(
                    slab.iter()
                        .map(|(key, s)| (format!("{shard}-{key}"), s.clone())),
                );
            });
        }
        let total = all.len();
        all.sort_by_key(|(_, stream)| stream.started);
        all.truncate(limit);
        let now = Instant::now();
        let streams: Vec<Value> = all
            .iter()
            .map(|(id, stream)| stream.to_json(id, now))
            .collect();
        json!({ "total": total, "streams": streams })
    }
}

impl LiveStream {
    pub(crate) fn new(info: StreamInfo) -> Self {
        Self {
            info,
            started: Instant::now(),
            started_at: SystemTime::now(),
            endpoint: OnceLock::new(),
            again: OnceLock::new(),
            traffic: Default::default(),
        }
    }

    /// The endpoint to which it went last.
    #[must_use]
    pub fn endpoint(&self) -> Option<&SocketAddr> {
        let again = self.again.get().and_then(|again| again.get());
        again.or_else(|| self.endpoint.get())
    }

    /// Whether it was opened again, since its first callee did not look at it.
    #[must_use]
    pub fn is_retried(&self) -> bool {
        self.again.get().is_some()
    }

    /// It is about to be opened again.
    pub(crate) fn retried(&self) {
        let _ = self.again.set(Box::default());
    }

    /// It went to `endpoint`.
    pub(crate) fn connected(&self, endpoint: SocketAddr) {
        let _ = match self.again.get() {
            Some(again) => again.set(endpoint),
            None => self.endpoint.set(endpoint),
        };
    }

    /// Sets what has moved on the stream so far: four relaxed stores.
    pub fn set_traffic(&self, traffic: Traffic) {
        let [a, b, c, d] = &self.traffic;
        a.store(traffic.request_messages, Relaxed);
        b.store(traffic.request_bytes, Relaxed);
        c.store(traffic.response_messages, Relaxed);
        d.store(traffic.response_bytes, Relaxed);
    }

    fn to_json(&self, id: &str, now: Instant) -> Value {
        let info = &self.info;
        let [a, b, c, d] = self.traffic.each_ref().map(|n| n.load(Relaxed));
        let age = now.saturating_duration_since(self.started);
        json!({
            "id": id,
            "started_at": access::rfc3339(self.started_at),
            "duration_ms": (age.as_secs_f64() * 1e6).round() / 1e3,
            "listener": &*info.series.listener,
            "route": &*info.series.route,
            "backend": &*info.backend,
            "inbound": info.series.inbound.name,
            "outbound": info.series.outbound.map(|wire| wire.name),
            "peer": info.peer.map(|a| a.to_string()),
            "endpoint": self.endpoint().map(ToString::to_string),
            "retries": u8::from(self.is_retried()),
            "service": names::bounded(&info.service, MAX_TEXT),
            "method": names::bounded(&info.method, MAX_TEXT),
            "caller": info.caller.as_deref().map(|c| names::bounded(c, MAX_TEXT)),
            "request_messages": a,
            "request_bytes": b,
            "response_messages": c,
            "response_bytes": d,
        })
    }
}
