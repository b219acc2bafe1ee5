//! Keeps a cluster's endpoints equal to what its DNS names resolve to.
//!
//! One task per cluster, on the control thread. It ends when the cluster is dropped. A name that
//! fails to resolve, or resolves to nothing, keeps its last good addresses. The system's resolver
//! is used, so `/etc/hosts`, search domains and the rest apply.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::config::Target;
use crate::net::words;

use super::Cluster;

/// How long one lookup may take. Its answer counts also if it comes later.
const LOOKUP: Duration = Duration::from_secs(5);

/// How many look-ups of one name may have no answer yet. The system's resolver takes a thread for
/// each, and it may hang for ever.
const MOST_OPEN: usize = 2;

/// Asks the system's resolver.
///
/// # Errors
/// The resolver's error.
pub async fn system(name: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found = tokio::net::lookup_host((name.as_str(), port)).await?;
    Ok(found.collect())
}

/// Whether the cluster has a name to resolve.
#[must_use]
pub fn needed(cluster: &Cluster) -> bool {
    cluster.lookup.is_some()
}

/// Resolves at once and then repeatedly, and when a connection has failed (`lookup`), until the
/// cluster is dropped. Ends at once when there is no name to resolve.
pub async fn run<L, F>(cluster: Weak<Cluster>, lookup: L)
where
    L: Fn(String, u16) -> F,
    F: Future<Output = io::Result<Vec<SocketAddr>>>,
{
    let parts = cluster.upgrade().and_then(|cluster| {
        let lookup = cluster.lookup.clone()?;
        Some((Names::new(&cluster), Pause::new(&cluster), lookup))
    });
    let Some((mut names, mut pause, asked)) = parts else {
        return;
    };
    loop {
        asked.begin();
        names.begin();
        let until = Instant::now() + LOOKUP;
        let mut over = false;
        // A name that is resolved does not wait for the others.
        while !over {
            over = names.answered(&lookup, until).await;
            // Only this task holds it: the cluster is gone when nobody else does.
            let Some(held) = cluster.upgrade() else {
                return;
            };
            held.set_unresolved(names.unresolved());
            if held.set_addresses(names.addresses()) {
                let count = held.endpoints().len();
                tracing::info!(backend = %held.name, endpoints = count, "endpoints changed");
            }
        }
        asked.finish();
        // Sooner when a connection has failed: the name may have moved.
        let pause = pause.next(names.are_well());
        let _ = tokio::time::timeout(pause, asked.wanted()).await;
    }
}

/// The time until the next lookup.
struct Pause {
    initial: Duration,
    refresh: Duration,
    failed: Option<Duration>,
}

impl Pause {
    fn new(cluster: &Cluster) -> Self {
        Self {
            initial: cluster.config.backoff.initial,
            refresh: cluster.config.dns_refresh,
            failed: None,
        }
    }

    /// After a failure sooner than usual, then doubled up to the usual time.
    fn next(&mut self, well: bool) -> Duration {
        self.failed = match self.failed {
            _ if well => None,
            None => Some(self.initial),
            Some(last) => Some(last.saturating_mul(2)),
        };
        self.failed.unwrap_or(self.refresh).min(self.refresh)
    }
}

/// The configured endpoints, each with its last addresses.
struct Names<F> {
    backend: Arc<str>,
    targets: Vec<Endpoints<F>>,
}

/// What one target of the configuration stands for.
struct Endpoints<F> {
    target: Target,
    last: Vec<SocketAddr>,
    /// Look-ups of its name that have no answer yet, the oldest first.
    open: Vec<Pin<Box<F>>>,
    phase: Phase,
    /// Why the last look-up failed.
    problem: Option<String>,
}

/// What a name waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Begins,
    Asked,
    Done,
}

impl<F> Endpoints<F>
where
    F: Future<Output = io::Result<Vec<SocketAddr>>>,
{
    fn new(target: Target) -> Self {
        let last = match &target {
            Target::Address(address) => vec![*address],
            Target::Dns { .. } | Target::OriginalDestination => Vec::new(),
        };
        Self {
            target,
            last,
            open: Vec::new(),
            phase: Phase::Done,
            problem: None,
        }
    }

    fn name(&self) -> Option<(&str, u16)> {
        match &self.target {
            Target::Dns { name, port } => Some((name, *port)),
            Target::Address(_) | Target::OriginalDestination => None,
        }
    }

    /// The answer of the newest look-up that has one. The failure of an older one says nothing.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Option<F::Output> {
        let mut answer = None;
        let mut newer = self.open.len();
        self.open.retain_mut(|open| {
            newer -= 1;
            let Poll::Ready(found) = open.as_mut().poll(cx) else {
                return true;
            };
            if newer == 0 || found.is_ok() {
                answer = Some(found);
            }
            false
        });
        answer
    }

    /// The answer, also if an earlier look-up has it only now. Otherwise asks, unless too many
    /// look-ups have no answer yet.
    fn poll<L>(&mut self, cx: &mut Context<'_>, lookup: &L) -> Option<F::Output>
    where
        L: Fn(String, u16) -> F,
    {
        let answer = self.poll_open(cx);
        if self.phase == Phase::Asked {
            return answer;
        }
        self.phase = Phase::Asked;
        if let Some(Ok(found)) = answer {
            return Some(Ok(found));
        }
        let (name, port) = self.name()?;
        if self.open.len() < MOST_OPEN {
            let asked = Box::pin(lookup(name.to_owned(), port));
            self.open.push(asked);
        }
        self.poll_open(cx)
    }

    fn take(&mut self, answer: F::Output, backend: &str) {
        self.phase = Phase::Done;
        match answer {
            Ok(mut found) if !found.is_empty() => {
                // Resolvers rotate their answers. That is no change.
                found.sort_unstable();
                self.last = found;
                self.problem = None;
            }
            Ok(_) => self.fail("no address".to_owned(), backend),
            Err(error) => self.fail(words::unresolved(&error), backend),
        }
    }

    fn fail(&mut self, problem: String, backend: &str) {
        self.phase = Phase::Done;
        let (kept, name) = (self.last.len(), self.name().map_or("", |(name, _)| name));
        if kept > 0 {
            tracing::warn!(
                %backend, name, kept, problem,
                "name not resolved; keeping its last addresses"
            );
        } else {
            tracing::warn!(
                %backend, name, problem,
                "name not resolved; it has no address, so streams cannot reach it"
            );
        }
        self.problem = Some(problem);
    }
}

impl<F> Names<F>
where
    F: Future<Output = io::Result<Vec<SocketAddr>>>,
{
    fn new(cluster: &Cluster) -> Self {
        let targets = cluster.config.endpoints.iter().cloned();
        Self {
            backend: Arc::clone(&cluster.name),
            targets: targets.map(Endpoints::new).collect(),
        }
    }

    /// All names have to be looked up.
    fn begin(&mut self) {
        for target in &mut self.targets {
            if target.name().is_some() {
                target.phase = Phase::Begins;
            }
        }
    }

    /// Waits until another name has its answer, or until it is too late for all others. Returns
    /// whether none is left.
    async fn answered<L>(&mut self, lookup: &L, until: Instant) -> bool
    where
        L: Fn(String, u16) -> F,
    {
        let (backend, targets) = (&self.backend, &mut self.targets);
        let answered = poll_fn(|cx| {
            let (mut some, mut all) = (false, true);
            for target in targets.iter_mut().filter(|t| t.phase != Phase::Done) {
                match target.poll(cx, lookup) {
                    Some(answer) => {
                        target.take(answer, backend);
                        some = true;
                    }
                    None => all = false,
                }
            }
            match some || all {
                true => Poll::Ready(all),
                false => Poll::Pending,
            }
        });
        if let Ok(all) = timeout_at(until, answered).await {
            return all;
        }
        for target in self.targets.iter_mut().filter(|t| t.phase != Phase::Done) {
            target.fail(
                format!("no answer of the resolver within {LOOKUP:?}"),
                backend,
            );
        }
        true
    }

    fn are_well(&self) -> bool {
        self.targets.iter().all(|target| target.problem.is_none())
    }

    /// The names without an address, with the resolver's reason.
    fn unresolved(&self) -> Vec<(String, String)> {
        let unresolved = self.targets.iter().filter_map(|target| {
            let problem = target.problem.as_ref().filter(|_| target.last.is_empty())?;
            Some((target.name()?.0.to_owned(), problem.clone()))
        });
        unresolved.collect()
    }

    fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.targets
            .iter()
            .flat_map(|target| target.last.iter().copied())
    }
}

#[cfg(test)]
mod tests;
