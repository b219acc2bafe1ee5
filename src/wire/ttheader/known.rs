//! Which peers know the Rst frame, for all threads.
//!
//! Kitex before v0.15.0 does not: `ttstream/frame.go`, `DecodeFrame`, fails with "unexpected frame
//! type: 5", and the connection ends with every stream on it. A callee is asked once, by a probe of
//! its own (`probe.rs`). A caller cannot be asked: what it does after a Rst shows it.
//!
//! A finding counts for connections that were opened up to [`KEPT`] after it. For these it counts
//! as long as they live, since the process at their other end stays the same.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustc_hash::FxHashMap;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::net::connection::Found;
use crate::stream::Exception;
use crate::wire::ttheader::end::CancelForm;

/// How long a finding counts for new connections.
pub(crate) const KEPT: Duration = Duration::from_secs(600);

/// How long before its end a finding is renewed, where new connections are opened anyway.
const AHEAD: Duration = Duration::from_secs(60);

/// Callees, and callers, of which something is known at a time.
const MAX: usize = 4096;

/// What is known of peers. Times are milliseconds since the first question, and never 0.
#[derive(Debug, Default)]
pub(crate) struct Known {
    epoch: OnceLock<Instant>,
    callees: Mutex<FxHashMap<SocketAddr, Arc<Callee>>>,
    /// Callers that do not know the Rst frame, each with the time when that showed. Nothing before
    /// the first one.
    callers: OnceLock<ArcSwap<FxHashMap<IpAddr, u64>>>,
    /// Callers that were gone right after a Rst, which may be chance.
    suspects: Mutex<FxHashMap<IpAddr, u64>>,
}

impl Known {
    pub(crate) fn now(&self) -> u64 {
        let epoch = self.epoch.get_or_init(Instant::now);
        millis(epoch.elapsed()) + 1
    }

    /// The entry of a callee. One that is neither used nor fresh makes room for it.
    pub(crate) fn callee(&self, address: SocketAddr) -> Arc<Callee> {
        let now = self.now();
        let mut callees = lock(&self.callees);
        if let Some(callee) = callees.get(&address) {
            return Arc::clone(callee);
        }
        if callees.len() >= MAX {
            callees.retain(|_, callee| Arc::strong_count(callee) > 1 || callee.is_fresh(now));
        }
        let callee = Arc::new(Callee::default());
        if callees.len() < MAX {
            callees.insert(address, Arc::clone(&callee));
        }
        callee
    }

    /// In which form a caller from that address takes a cancel.
    pub(crate) fn caller_form(&self, address: IpAddr) -> CancelForm {
        let Some(callers) = self.callers.get() else {
            return CancelForm::Rst;
        };
        match callers.load().get(&address) {
            Some(at) if self.now().saturating_sub(*at) < millis(KEPT) => CancelForm::Trailer,
            Some(_) | None => CancelForm::Rst,
        }
    }

    /// Callers from that address do not know the Rst frame. Returns whether that is new.
    pub(crate) fn old_caller(&self, address: IpAddr) -> bool {
        let new = self.caller_form(address) == CancelForm::Rst;
        let now = self.now();
        let is_fresh = |at: u64| now.saturating_sub(at) < millis(KEPT);
        self.callers.get_or_init(ArcSwap::default).rcu(|callers| {
            let mut callers = FxHashMap::clone(callers);
            callers.retain(|_, at| is_fresh(*at));
            if callers.len() < MAX {
                callers.insert(address, now);
            }
            callers
        });
        new
    }

    /// A caller closed its connection right after a Rst, with other streams open. Returns whether
    /// one from that address did so before.
    pub(crate) fn suspect(&self, address: IpAddr) -> bool {
        let now = self.now();
        let mut suspects = lock(&self.suspects);
        suspects.retain(|_, at| now.saturating_sub(*at) < millis(KEPT));
        if suspects.remove(&address).is_some() {
            return true;
        }
        if suspects.len() < MAX {
            suspects.insert(address, now);
        }
        false
    }

    /// What `/config` shows, callees first.
    pub(crate) fn shown(&self) -> Vec<Found> {
        let now = self.now();
        let age = |at: u64| Duration::from_millis(now.saturating_sub(at));
        let mut callees: Vec<_> = lock(&self.callees)
            .iter()
            .filter_map(|(address, callee)| Some((*address, callee.finding()?)))
            .collect();
        callees.sort_unstable_by_key(|(address, _)| *address);
        let callee = |(address, (form, at)): (SocketAddr, (CancelForm, u64))| Found {
            side: "callee",
            address: address.to_string(),
            cancel_as: word(form),
            age: age(at),
        };
        let callers = self.callers.get().map(ArcSwap::load);
        let callers = callers.iter().flat_map(|callers| callers.iter());
        let mut callers: Vec<_> = callers.map(|(ip, at)| (*ip, age(*at))).collect();
        callers.retain(|(_, age)| *age < KEPT);
        callers.sort_unstable();
        let caller = |(address, age): (IpAddr, Duration)| Found {
            side: "caller",
            address: address.to_string(),
            cancel_as: word(CancelForm::Trailer),
            age,
        };
        let callers = callers.into_iter().map(caller);
        callees.into_iter().map(callee).chain(callers).collect()
    }
}

/// The form's word in the file.
pub(crate) const fn word(form: CancelForm) -> &'static str {
    match form {
        CancelForm::Rst => "rst",
        CancelForm::Trailer => "trailer",
    }
}

/// A callee's endpoint.
#[derive(Debug, Default)]
pub(crate) struct Callee {
    /// The last finding: its time, and below it two bits: 0 none, 1 Rst, 2 Trailer.
    finding: AtomicU64,
    probe: Mutex<Probe>,
    hurried: Notify,
}

#[derive(Debug, Default)]
struct Probe {
    phase: Phase,
    waiting: Vec<Waker>,
}

/// How far the question to a callee is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nobody asks.
    #[default]
    Idle,
    /// It will be asked soon, or when somebody hurries.
    Planned,
    /// It was asked.
    Asking,
    /// It could not be asked, and will be asked again.
    Resting,
}

impl Callee {
    /// In which form it takes a cancel on a connection that was opened at that time. `None` when
    /// that is not known.
    pub(crate) fn form(&self, opened: u64) -> Option<CancelForm> {
        let (form, at) = self.finding()?;
        (at + millis(KEPT) >= opened).then_some(form)
    }

    fn finding(&self) -> Option<(CancelForm, u64)> {
        let packed = self.finding.load(Ordering::Acquire);
        let form = match packed & 3 {
            1 => CancelForm::Rst,
            2 => CancelForm::Trailer,
            _ => return None,
        };
        Some((form, packed >> 2))
    }

    fn is_fresh(&self, now: u64) -> bool {
        self.finding()
            .is_some_and(|(_, at)| at + millis(KEPT) >= now)
    }

    /// Remembers what was found. Returns whether it was another, or not known, before.
    pub(crate) fn found(&self, form: CancelForm, now: u64) -> bool {
        let bits = match form {
            CancelForm::Rst => 1,
            CancelForm::Trailer => 2,
        };
        let before = self.form(now);
        self.finding.store(now << 2 | bits, Ordering::Release);
        for waker in std::mem::take(&mut lock(&self.probe).waiting) {
            waker.wake();
        }
        before != Some(form)
    }

    /// Whether a probe has to be planned for a new connection. It then counts as planned.
    pub(crate) fn plan(&self, now: u64) -> bool {
        let renew = self
            .finding()
            .is_none_or(|(_, at)| at + millis(KEPT.saturating_sub(AHEAD)) <= now);
        let mut probe = lock(&self.probe);
        let plan = renew && probe.phase == Phase::Idle;
        if plan {
            probe.phase = Phase::Planned;
        }
        plan
    }

    /// The probe is that far now.
    pub(crate) fn set(&self, phase: Phase) {
        let mut probe = lock(&self.probe);
        probe.phase = phase;
        for waker in std::mem::take(&mut probe.waiting) {
            waker.wake();
        }
    }

    /// Whether a probe may soon tell the form. One that is planned begins now.
    pub(crate) fn hurry(&self) -> bool {
        match lock(&self.probe).phase {
            Phase::Idle | Phase::Resting => false,
            Phase::Asking => true,
            Phase::Planned => {
                self.hurried.notify_one();
                true
            }
        }
    }

    /// Until somebody hurries.
    pub(crate) async fn hurried(&self) {
        self.hurried.notified().await;
    }

    /// Wakes that task when a probe is over.
    pub(crate) fn wait(&self, waker: &Waker) {
        let mut probe = lock(&self.probe);
        if !probe.waiting.iter().any(|known| known.will_wake(waker)) {
            probe.waiting.push(waker.clone());
        }
    }
}

/// Whether this is what Kitex before v0.15.0 says of a Rst, on every open stream of the connection
/// (`ttstream/frame.go`, `EncodeException`: `remote.InternalError`).
pub(crate) fn refuses_rst(said: &Exception) -> bool {
    said.type_id == 6
        && said.text.starts_with("[illegal frame]")
        && said.text.ends_with("unexpected frame type: 5")
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX >> 3)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
