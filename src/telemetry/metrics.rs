//! Every number that ripcord counts, and their text form for `/metrics`.
//!
//! They are encoded by `prometheus-client`, the client library of the Prometheus project
//! (OpenMetrics text, no `unsafe`). Its `Family` and `Histogram` are not used: one looks up labels
//! behind a lock, the other observes behind one. Here counters are in structs that are looked up
//! once ([`Metrics::series`]). A stream touches only atomics.
//!
//! Every label comes from a closed set or from the configuration, never from a peer.

mod encode;
mod series;
mod violations;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use prometheus_client::registry::Registry;

use crate::net::violation::Violation;
use crate::stream::Wire;
use crate::telemetry::names;
pub use series::Series;

/// The content type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The most series of one process. Streams of any further (listener, route, wires) are counted
/// together under `other`. Only a configuration that keeps changing names gets there. Series stay
/// when a reload removes their route, since counters must not fall.
///
/// So there are at most as many names of routes. Each has at most `names::ERRORS` series of
/// `ripcord_stream_errors_total`, and `names::CLASSES` times `names::CAUSES` of
/// `ripcord_cancels_total`. A series that never counted anything is not shown.
pub const MAX_SERIES: usize = 4096;

/// Every value of the label `error_type`.
pub fn error_types() -> impl Iterator<Item = &'static str> {
    (0..names::ERRORS).map(names::error_name)
}

/// Every value of the label `cause`.
pub fn causes() -> impl Iterator<Item = &'static str> {
    names::CAUSES.into_iter()
}

/// The side of this hop that a connection is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Accepted from a caller.
    Inbound,
    /// Opened to a backend.
    Outbound,
}

impl Side {
    const ALL: [Self; 2] = [Self::Inbound, Self::Outbound];

    const fn name(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

/// The result of a configuration change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reload {
    /// It is effective.
    Applied,
    /// The content was the same.
    Unchanged,
    /// Refused. The last good table stays effective.
    Rejected,
}

impl Reload {
    const ALL: [Self; 3] = [Self::Applied, Self::Unchanged, Self::Rejected];

    const fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Rejected => "rejected",
        }
    }
}

/// A counter or gauge that its owner keeps and `/metrics` reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

type Read = Box<dyn Fn() -> u64 + Send + Sync>;

/// One family of numbers that are read through closures.
struct ReadFamily {
    help: String,
    kind: Kind,
    reads: Vec<(Vec<(String, String)>, Read)>,
}

/// Every number that ripcord counts. Create one per process and share it.
pub struct Metrics {
    registry: Registry,
    state: Arc<State>,
}

/// What the encoder reads.
#[derive(Default)]
struct State {
    series: RwLock<Vec<Arc<Series>>>,
    /// For each wire: the connections from callers, and those to callees.
    connections: Vec<(&'static Wire, [Arc<Connections>; 2])>,
    reloads: [AtomicU64; 3],
    violations: violations::Violations,
    config_version: AtomicU64,
    node: OnceLock<String>,
    /// Whether the file as it is now was refused.
    refused: AtomicBool,
    reads: Mutex<BTreeMap<String, ReadFamily>>,
}

#[derive(Debug, Default)]
struct Connections {
    active: AtomicI64,
    total: AtomicU64,
}

impl Metrics {
    /// All families at zero, for streams on these wires.
    #[must_use]
    pub fn new(wires: &[&'static Wire]) -> Self {
        let state = Arc::new(State {
            connections: wires
                .iter()
                .map(|wire| (*wire, Default::default()))
                .collect(),
            violations: violations::Violations::new(wires),
            ..State::default()
        });
        let mut registry = Registry::default();
        registry.register_collector(Box::new(encode::Encoder(state.clone())));
        Self { registry, state }
    }

    /// The counters of one listener, route and pair of wires. The same names always give the same
    /// counters. Takes a lock: look them up once and keep them.
    ///
    /// `outbound` is `None` for streams that no route takes.
    #[must_use]
    pub fn series(
        &self,
        listener: &Arc<str>,
        route: &Arc<str>,
        inbound: &'static Wire,
        outbound: Option<&'static Wire>,
    ) -> Arc<Series> {
        let wanted = Series::new(listener, route, inbound, outbound);
        let mut all = self
            .state
            .series
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = all.iter().find(|s| s.same(&wanted)) {
            return found.clone();
        }
        let wanted = if all.len() + 1 < MAX_SERIES {
            wanted
        } else {
            let other: Arc<str> = Arc::from("other");
            let rest = Series::new(&other, &other, inbound, None);
            if let Some(found) = all.iter().find(|s| s.same(&rest)) {
                return found.clone();
            }
            rest
        };
        let made = Arc::new(wanted);
        all.push(made.clone());
        made
    }

    /// Counts a connection for as long as the guard lives.
    #[must_use]
    pub fn connection(&self, side: Side, wire: &'static Wire) -> ConnectionGuard {
        let connections = self.state.connections(side, wire);
        connections.active.fetch_add(1, Relaxed);
        connections.total.fetch_add(1, Relaxed);
        ConnectionGuard(connections)
    }

    /// Counts a violation by a peer. `wire` is `None` when it is not known yet.
    pub fn violation(&self, side: Side, wire: Option<&Wire>, kind: Violation) {
        self.state.violations.count(side, wire, kind);
    }

    /// Counts a configuration change.
    pub fn reload(&self, result: Reload) {
        let [applied, unchanged, rejected] = &self.state.reloads;
        let counter = match result {
            Reload::Applied => applied,
            Reload::Unchanged => unchanged,
            Reload::Rejected => rejected,
        };
        counter.fetch_add(1, Relaxed);
        let refused = result == Reload::Rejected;
        self.state.refused.store(refused, Relaxed);
    }

    /// Sets this hop's name. The first call counts.
    pub fn node(&self, name: &str) {
        let _ = self.state.node.set(name.to_owned());
    }

    /// Sets the version of the effective configuration.
    pub fn config_version(&self, version: u64) {
        self.state.config_version.store(version, Relaxed);
    }

    /// Shows a counter that its owner keeps. `_total` is added to a name without it. The same name
    /// and labels again replace the closure.
    pub fn counter_fn(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        let name = name.strip_suffix("_total").unwrap_or(name);
        self.read_fn(name, help, Kind::Counter, labels, Box::new(read));
    }

    /// Shows a gauge that its owner keeps.
    pub fn gauge_fn(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        self.read_fn(name, help, Kind::Gauge, labels, Box::new(read));
    }

    /// `ripcord_buffered_bytes`, from the memory budget, and `ripcord_buffer_limit_bytes`.
    pub fn buffered_bytes_fn(&self, limit: u64, read: impl Fn() -> u64 + Send + Sync + 'static) {
        self.gauge_fn(
            "ripcord_buffered_bytes",
            "Bytes of messages held in memory",
            &[],
            read,
        );
        let help = "What ripcord_buffered_bytes may become: limits.process_buffer";
        self.gauge_fn("ripcord_buffer_limit_bytes", help, &[], move || limit);
    }

    fn read_fn(&self, name: &str, help: &str, kind: Kind, labels: &[(&str, &str)], read: Read) {
        let labels: Vec<(String, String)> = labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let mut reads = self
            .state
            .reads
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let family = reads.entry(name.to_owned()).or_insert_with(|| ReadFamily {
            help: help.to_owned(),
            kind,
            reads: Vec::new(),
        });
        match family.reads.iter_mut().find(|(l, _)| *l == labels) {
            Some((_, old)) => *old = read,
            None => family.reads.push((labels, read)),
        }
    }

    /// Everything as OpenMetrics text ([`CONTENT_TYPE`]).
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(16 * 1024);
        // Writing to a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

impl State {
    /// A wire that is not registered is counted, but never shown as another.
    fn connections(&self, side: Side, wire: &Wire) -> Arc<Connections> {
        let known = self.connections.iter().find(|(known, _)| *known == wire);
        debug_assert!(known.is_some(), "{wire} is not registered");
        known
            .map(|(_, [inbound, outbound])| match side {
                Side::Inbound => inbound,
                Side::Outbound => outbound,
            })
            .cloned()
            .unwrap_or_default()
    }
}

/// One live connection in `ripcord_connections_active`.
#[derive(Debug)]
pub struct ConnectionGuard(Arc<Connections>);

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Relaxed);
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
