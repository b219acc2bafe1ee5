//! Backends that speak another protocol than the configuration says. Recognizes one, and describes
//! it in ends, in the log, in metrics and on the `/config` page.
//!
//! The words are here. Each wire knows what the bytes mean ([`wire::answered`]).

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tracing::warn;

use crate::backend::Cluster;
use crate::net::answer::{FirstAnswer, Verdict};
use crate::net::violation::Violation;
use crate::stream::Wire;
use crate::telemetry::{Metrics, Side, log_limit};
use crate::wire::{self, Answered};

/// How an error begins that names its backend and endpoint.
pub(super) const SUBJECT: &str = "backend ";

/// A callee that closes later than this after the dial, without an answer, has another reason.
const SOON: Duration = Duration::from_secs(5);

/// What was found of a backend whose endpoints speak another protocol than the configured one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The last endpoint on which it was found.
    pub endpoint: SocketAddr,
    /// What the endpoint does, and what to set.
    pub text: String,
    /// When it was last found.
    pub at: SystemTime,
    /// How many of the backend's connections showed it.
    pub count: u64,
}

/// The last finding of a backend, if any.
#[derive(Debug, Default)]
pub(super) struct Findings(Mutex<Option<Finding>>);

impl Findings {
    pub(super) fn last(&self) -> Option<Finding> {
        self.lock().clone()
    }

    fn add(&self, endpoint: SocketAddr, text: &str) {
        let mut last = self.lock();
        *last = Some(Finding {
            endpoint,
            text: text.to_owned(),
            at: SystemTime::now(),
            count: last.as_ref().map_or(1, |last| last.count + 1),
        });
    }

    /// The endpoint answered as configured: what was found of it is over.
    fn clear(&self, endpoint: SocketAddr) {
        let mut last = self.lock();
        *last = last.take().filter(|last| last.endpoint != endpoint);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Finding>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Judges the first bytes that come on one connection.
pub(super) struct Judge {
    /// Weak: a silent connection must not keep it alive.
    cluster: Weak<Cluster>,
    backend: Arc<str>,
    wire: &'static Wire,
    address: SocketAddr,
    dialed: Instant,
    metrics: Arc<Metrics>,
    /// Whether the log has its line.
    told: Arc<AtomicBool>,
}

impl Judge {
    pub(super) fn new(
        cluster: &Arc<Cluster>,
        address: SocketAddr,
        metrics: &Arc<Metrics>,
        told: &Arc<AtomicBool>,
    ) -> Self {
        Self {
            cluster: Arc::downgrade(cluster),
            backend: Arc::clone(&cluster.name),
            wire: cluster.wire,
            address,
            dialed: Instant::now(),
            metrics: Arc::clone(metrics),
            told: Arc::clone(told),
        }
    }

    fn refuse(&self, kind: Violation, what: &str) -> Verdict {
        let (backend, endpoint) = (&self.backend, self.address);
        if let Some(cluster) = self.cluster.upgrade() {
            cluster.findings.add(endpoint, what);
        }
        self.metrics
            .violation(Side::Outbound, Some(self.wire), kind);
        let message = "backend speaks another protocol";
        if log_limit::admits(message, backend, what.to_owned()) {
            warn!(%backend, %endpoint, what, "{message}");
        }
        self.told.store(true, Ordering::Relaxed);
        Verdict::Refused(format!("backend {backend} ({endpoint}) {what}"))
    }
}

impl FirstAnswer for Judge {
    fn judge(&mut self, first: &[u8], closed: bool) -> Verdict {
        let (wanted, spoken) = (self.wire, self.wire.spoken);
        let (kind, what, set) = match wire::answered(wanted, first, closed) {
            Answered::More => return Verdict::More,
            Answered::Wanted => {
                if let Some(cluster) = self.cluster.upgrade() {
                    cluster.findings.clear(self.address);
                }
                return Verdict::Expected;
            }
            Answered::Nothing if self.dialed.elapsed() > SOON => return Verdict::Expected,
            // It may as well have just ended: nothing is known of its protocol.
            Answered::Nothing => {
                let (backend, endpoint) = (&self.backend, self.address);
                return Verdict::Refused(format!(
                    "backend {backend} ({endpoint}) closed the connection without an answer; \
                     if it always does: does it speak {spoken}, without TLS?"
                ));
            }
            Answered::Tls => (
                Violation::TLS,
                "answers TLS, which ripcord does not speak".to_owned(),
                ": use a port without TLS".to_owned(),
            ),
            Answered::Http1 => (
                Violation::HTTP1,
                "answers HTTP/1".to_owned(),
                format!(": use the port that speaks {spoken}, without TLS"),
            ),
            Answered::Other(wire) => (
                Violation::OTHER_WIRE,
                format!("answers {}", wire.spoken),
                format!(": set protocol: {wire}"),
            ),
        };
        let text = format!("{what}; this backend's protocol is {wanted}{set}");
        self.refuse(kind, &text)
    }
}

#[cfg(test)]
mod tests;
