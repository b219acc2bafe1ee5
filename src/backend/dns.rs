//! Keeps a cluster's endpoints equal to what its DNS names resolve to.
//!
//! One task per cluster, on the control thread. It ends when the cluster is dropped. A name that
//! fails to resolve, or resolves to nothing, keeps its last good addresses. The system's resolver
//! is used, so `/etc/hosts`, search domains and the rest apply.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::config::Target;
use crate::net::words;

use super::Cluster;

/// How long one lookup may take.
const LOOKUP: Duration = Duration::from_secs(5);

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

/// Resolves at once and then repeatedly, and when a connection has failed (`lookup`), until the cluster is dropped. Ends at once when there is
/// no name to resolve.
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
        let well = names.resolve(&lookup).await;
        // Only this task holds it: the cluster is gone when nobody else does.
        let Some(held) = cluster.upgrade() else {
            return;
        };
        held.set_unresolved(names.unresolved.clone());
        if held.set_addresses(names.addresses()) {
            let count = held.endpoints().len();
            tracing::info!(backend = %held.name, endpoints = count, "endpoints changed");
        }
        drop(held);
        asked.finish();
        // Sooner when a connection has failed: the name may have moved.
        let _ = tokio::time::timeout(pause.next(well), asked.wanted()).await;
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
struct Names {
    backend: Arc<str>,
    targets: Vec<(Target, Vec<SocketAddr>)>,
    /// Those without an address, with the resolver's reason.
    unresolved: Vec<(String, String)>,
}

impl Names {
    fn new(cluster: &Cluster) -> Self {
        let targets = cluster.config.endpoints.iter().cloned();
        Self {
            backend: Arc::clone(&cluster.name),
            targets: targets.map(|t| (t, Vec::new())).collect(),
            unresolved: Vec::new(),
        }
    }

    /// Looks up all names, one after the other. Returns whether all succeeded.
    async fn resolve<L, F>(&mut self, lookup: &L) -> bool
    where
        L: Fn(String, u16) -> F,
        F: Future<Output = io::Result<Vec<SocketAddr>>>,
    {
        let mut well = true;
        self.unresolved.clear();
        for (target, last) in &mut self.targets {
            match target {
                Target::Address(address) => *last = vec![*address],
                Target::OriginalDestination => {}
                Target::Dns { name, port } => {
                    let answer = tokio::time::timeout(LOOKUP, lookup(name.clone(), *port)).await;
                    let problem = match answer {
                        Ok(Ok(mut found)) if !found.is_empty() => {
                            // Resolvers rotate their answers. That is no change.
                            found.sort_unstable();
                            *last = found;
                            continue;
                        }
                        Ok(Ok(_)) => "no address".to_owned(),
                        Ok(Err(error)) => words::unresolved(&error),
                        Err(_) => "no answer in time".to_owned(),
                    };
                    well = false;
                    let (backend, kept) = (&self.backend, last.len());
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
                        self.unresolved.push((name.clone(), problem));
                    }
                }
            }
        }
        well
    }

    fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.targets
            .iter()
            .flat_map(|(_, last)| last.iter().copied())
    }
}

#[cfg(test)]
mod tests;
