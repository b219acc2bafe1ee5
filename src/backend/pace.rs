//! What the endpoints of one backend bear, by what they complained of and by what they answered,
//! for all workers and each new connection. One that complains of too many pings (GOAWAY
//! `too_many_pings`, gRFC A8) is asked half as often from then on. One that bears few small DATA
//! frames (it was asked, or it sent GOAWAY `too_many_data_frames`) is sent fewer of them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustc_hash::FxHashMap;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::net::connection;

/// The most that the time between pings grows to, unless the configuration says more.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// How long an answer counts. The next connection asks again after that.
const KEPT: Duration = Duration::from_secs(600);

/// How many endpoints are remembered before those without a complaint are forgotten. Callers may
/// dial any number of original destinations.
const REMEMBERED: usize = 1024;

/// The paces of one backend's endpoints.
#[derive(Debug, Default)]
pub(super) struct Paces(Mutex<FxHashMap<SocketAddr, Arc<Pace>>>);

impl Paces {
    /// The pace of the endpoint at `address`.
    pub(super) fn of(&self, backend: &Arc<str>, address: SocketAddr) -> Arc<Pace> {
        let mut paces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if paces.len() >= REMEMBERED {
            paces.retain(|_, pace| Arc::strong_count(pace) > 1 || pace.complained());
        }
        let pace = paces.entry(address).or_insert_with(|| {
            Arc::new(Pace {
                backend: Arc::clone(backend),
                address,
                complaints: AtomicU32::new(0),
                bears_few: AtomicBool::new(false),
                complained_of_small: AtomicBool::new(false),
                asked: Mutex::default(),
            })
        });
        Arc::clone(pace)
    }
}

/// The pace of one endpoint.
#[derive(Debug)]
pub(super) struct Pace {
    backend: Arc<str>,
    address: SocketAddr,
    /// Complaints of pings.
    complaints: AtomicU32,
    /// Whether it bears only few small frames.
    bears_few: AtomicBool,
    /// Whether it complained of them. It may still bear as many as it is asked for.
    complained_of_small: AtomicBool,
    /// When it was asked last.
    asked: Mutex<Option<Instant>>,
}

impl Pace {
    fn complained(&self) -> bool {
        self.complaints.load(Ordering::Relaxed) > 0 || self.bears_few.load(Ordering::Relaxed)
    }
}

impl connection::Pace for Pace {
    fn interval(&self, configured: Duration) -> Duration {
        let complaints = self.complaints.load(Ordering::Relaxed);
        let factor = 1_u32.checked_shl(complaints).unwrap_or(u32::MAX);
        let slowed = configured.saturating_mul(factor);
        slowed.min(LONGEST.max(configured))
    }

    fn slower(&self, configured: Duration) {
        self.complaints.fetch_add(1, Ordering::Relaxed);
        warn!(
            backend = %self.backend,
            endpoint = %self.address,
            interval = ?self.interval(configured),
            "too many pings, says the callee; keepalive.http2.interval is doubled for new connections to it"
        );
    }

    fn bears_few(&self) -> bool {
        self.bears_few.load(Ordering::Relaxed)
    }

    fn is_to_ask(&self) -> bool {
        if self.complained_of_small.load(Ordering::Relaxed) {
            return false;
        }
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let ask = asked.is_none_or(|at| at.elapsed() >= KEPT);
        if ask {
            *asked = Some(Instant::now());
        }
        ask
    }

    fn answered(&self, bears: bool) {
        if self.complained_of_small.load(Ordering::Relaxed) {
            return;
        }
        let bore = !self.bears_few.swap(!bears, Ordering::Relaxed);
        if bears != bore {
            info!(
                backend = %self.backend,
                endpoint = %self.address,
                bears_few = !bears,
                "found out whether a callee ends connections for small DATA frames that are not read"
            );
        }
    }

    fn too_many_small(&self) {
        self.complained_of_small.store(true, Ordering::Relaxed);
        if !self.bears_few.swap(true, Ordering::Relaxed) {
            warn!(
                backend = %self.backend,
                endpoint = %self.address,
                "too many small DATA frames that are not read, says the callee; fewer are sent to it from now on"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use connection::Pace as _;

    #[test]
    fn each_complaint_doubles_the_time_between_pings_of_that_endpoint_alone() {
        let paces = Paces::default();
        let five = Duration::from_secs(300);
        let [one, other] = ["127.0.0.1:1", "127.0.0.1:2"].map(|a| a.parse().unwrap());
        let name: Arc<str> = "b".into();
        let at = |address| paces.of(&name, address).interval(five);
        for factor in [1, 2, 4, 8] {
            assert_eq!(at(one), five * factor);
            paces.of(&name, one).slower(five);
        }
        assert_eq!(at(other), five);
        for _ in 0..100 {
            paces.of(&name, one).slower(five);
        }
        assert_eq!(at(one), LONGEST);
    }

    #[test]
    fn endpoints_that_complained_are_remembered_longest() {
        let paces = Paces::default();
        let five = Duration::from_secs(300);
        let name: Arc<str> = "b".into();
        let address = |n: u32| SocketAddr::new(n.to_be_bytes().into(), 1);
        paces.of(&name, address(0)).slower(five);
        for n in 1..10_000 {
            paces.of(&name, address(n));
        }
        assert!(paces.0.lock().unwrap().len() <= REMEMBERED);
        assert_eq!(paces.of(&name, address(0)).interval(five), five * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_is_asked_by_one_connection_in_ten_minutes() {
        let paces = Paces::default();
        let name: Arc<str> = "b".into();
        let pace = paces.of(&name, "127.0.0.1:1".parse().unwrap());
        assert!(pace.is_to_ask() && !pace.is_to_ask());
        assert!(!pace.bears_few());
        pace.answered(false);
        assert!(pace.bears_few());
        tokio::time::advance(KEPT).await;
        assert!(pace.bears_few() && pace.is_to_ask());
        pace.answered(true);
        assert!(!pace.bears_few());
        // Later versions of h2 bear what is asked of them, and not much more. The complaint counts.
        pace.too_many_small();
        tokio::time::advance(KEPT).await;
        assert!(pace.bears_few() && !pace.is_to_ask());
        pace.answered(true);
        assert!(pace.bears_few());
    }
}
