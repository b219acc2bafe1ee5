//! Opens connections to endpoints, and runs them. Knows no stream.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::{Rc, Weak as RcWeak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, warn};

use crate::backend::Cluster;
use crate::backend::answer::Judge;
use crate::backend::pool::PoolCounters;
use crate::config::Connections;
use crate::net::connection::{ConnectionEnd, Drive};
use crate::net::redirect::{LoopGuard, LoopGuardEntry};
use crate::net::socket::Socket;
use crate::net::tcp;
use crate::net::words;
use crate::stream::OpenError;
use crate::telemetry::{ConnectionGuard, Metrics, Side, log_limit};
use crate::wire::{Client, Dialers};

/// What one worker needs to open connections.
pub(super) struct Connector {
    dialers: Dialers,
    pub(super) metrics: Arc<Metrics>,
    /// Registers every connection while it lives, so that one that is redirected back here is
    /// recognized.
    loop_guard: Arc<LoopGuard>,
    pub(super) counters: PoolCounters,
    drivers: Rc<Drivers>,
}

/// Counts the tasks that drive connections.
#[derive(Default)]
struct Drivers {
    running: std::cell::Cell<usize>,
    idle: tokio::sync::Notify,
}

impl Connector {
    pub(super) fn new(
        dialers: Dialers,
        metrics: Arc<Metrics>,
        loop_guard: Arc<LoopGuard>,
        counters: PoolCounters,
    ) -> Rc<Self> {
        Rc::new(Self {
            dialers,
            metrics,
            loop_guard,
            counters,
            drivers: Rc::default(),
        })
    }

    /// Opens a connection, and spawns the task that drives it. The whole may take the connect
    /// timeout: the socket, and what the wire needs before its first stream.
    ///
    /// Rare, and its state is large: callers box it or spawn it, so that not every stream's task
    /// carries it.
    pub(super) async fn connect(
        &self,
        cluster: &Arc<Cluster>,
        address: SocketAddr,
        calm: &Arc<AtomicBool>,
    ) -> Result<Client, OpenError> {
        let limit = cluster.config.connect_timeout;
        let until = Instant::now() + limit;
        let (socket, own) = self.socket(cluster, address).await?;
        let told = Arc::default();
        let judge = Judge::new(cluster, address, &self.metrics, &told);
        let socket = Socket::judged(socket, Box::new(judge));
        let driver = SpawnDriver {
            connector: self,
            cluster,
            address,
            own,
            told,
            calm: Arc::clone(calm),
        };
        let mut dial = cluster.dial(address);
        dial.until = Some(until);
        let connecting = self.dialers.connect(cluster.wire, socket, &dial, driver);
        match timeout_at(until, connecting).await {
            Ok(connected) => connected.map_err(OpenError::Connection),
            Err(_) => Err(OpenError::Silent(format!(
                "no answer of a {} callee within {limit:?} (connect_timeout)",
                cluster.wire.spoken
            ))),
        }
    }

    /// Opens a socket within the connect timeout.
    pub(super) async fn socket(
        &self,
        cluster: &Cluster,
        address: SocketAddr,
    ) -> Result<(TcpStream, LoopGuardEntry), OpenError> {
        let socket = tcp::connect(address, cluster.config.connect_timeout, &cluster.tcp);
        let socket = socket.await.map_err(|e| {
            let why = words::failed(&e, "the endpoint");
            match e.kind() {
                ErrorKind::TimedOut => OpenError::Silent(why),
                _ => OpenError::Connection(why),
            }
        })?;
        let own = self.loop_guard.enter(&socket);
        Ok((socket, own))
    }

    /// Waits until no connection is driven any more.
    pub(super) async fn finished(&self) {
        while self.drivers.running.get() > 0 {
            self.drivers.idle.notified().await;
        }
    }
}

/// Spawns a new connection's task, and counts it while it runs.
struct SpawnDriver<'a> {
    connector: &'a Connector,
    cluster: &'a Cluster,
    address: SocketAddr,
    own: LoopGuardEntry,
    /// Whether the log already has a line about it.
    told: Arc<AtomicBool>,
    /// Learns that the callee ended a connection for its resets.
    calm: Arc<AtomicBool>,
}

impl Drive for SpawnDriver<'_> {
    fn drive(self, driver: impl Future<Output = ConnectionEnd> + 'static) {
        let (wire, address) = (self.cluster.wire, self.address);
        let metrics = Arc::clone(&self.connector.metrics);
        let counted = metrics.connection(Side::Outbound, wire);
        let guard = Running::new(&self.connector.drivers, counted, self.own);
        let (backend, told) = (Arc::clone(&self.cluster.name), self.told);
        let (calm, counters) = (self.calm, self.connector.counters.clone());
        // Where each stream has a connection of its own, their ends mean nothing.
        let shared = self.cluster.config.connections == Connections::Shared;
        let lookup = self.cluster.lookup.clone().filter(|_| shared);
        spawn_local(async move {
            let _guard = guard;
            // The stream that waits for the connection is opened first. It then learns what the
            // callee's first bytes mean.
            tokio::task::yield_now().await;
            let end = driver.await;
            if let Some(lookup) = lookup {
                // The callee may have moved.
                let _ = lookup.ask();
            }
            if let Some(kind) = end.violation() {
                metrics.violation(Side::Outbound, Some(wire), kind);
            }
            if let ConnectionEnd::Resets(said) = &end {
                calm.store(true, Ordering::Relaxed);
                counters.goaway();
                tell_resets(&backend, address, said);
            } else if end == ConnectionEnd::Closed {
                debug!(%backend, endpoint = %address, "backend connection closed");
            } else if told.load(Ordering::Relaxed) {
                debug!(%backend, endpoint = %address, reason = %end, "backend connection lost");
            } else if log_limit::admits("backend connection lost", &backend, "") {
                warn!(%backend, endpoint = %address, reason = %end, "backend connection lost");
            }
        });
    }
}

/// The line for a callee that ended a connection for its resets.
fn tell_resets(backend: &Arc<str>, endpoint: SocketAddr, said: &str) {
    let message = "backend ended a connection because too many streams on it were canceled";
    if log_limit::admits(message, backend, "") {
        let set = format!("reset_budget of backend {backend}, to netty or to less");
        warn!(%backend, %endpoint, reason = said, set, "{message}");
    }
}

struct Running {
    drivers: RcWeak<Drivers>,
    _counted: ConnectionGuard,
    _own: LoopGuardEntry,
}

impl Running {
    fn new(drivers: &Rc<Drivers>, counted: ConnectionGuard, own: LoopGuardEntry) -> Self {
        drivers.running.set(drivers.running.get() + 1);
        Self {
            drivers: Rc::downgrade(drivers),
            _counted: counted,
            _own: own,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(drivers) = self.drivers.upgrade() {
            drivers.running.set(drivers.running.get() - 1);
            drivers.idle.notify_waiters();
        }
    }
}
