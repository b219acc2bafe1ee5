//! One worker's connections to backends: opened on demand, shared by streams, closed when their
//! endpoint is gone. Nothing here crosses threads; endpoints and their health are shared
//! ([`Cluster`]).

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::{Rc, Weak as RcWeak};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use tokio::task::spawn_local;
use tracing::{debug, warn};

use crate::backend::{Cluster, Endpoint};
use crate::config::{Connections, Hop, Protocol};
use crate::net::http2::{ConnectionEnd, Http2Config};
use crate::net::redirect::{Own, OwnGuard};
use crate::net::tcp;
use crate::stream::{End, HopKind, RequestHead};
use crate::telemetry::{ConnectionGuard, Metrics, Side, Violation, Wire, flood};
use crate::wire::{grpc, ttheader};
use slot::{Connection, Failure, Slot};

mod slot;

/// How many endpoints are tried for one stream.
const ATTEMPTS: usize = 3;

/// A stream that was opened, on one of the wires; boxed, as it is moved through several futures.
pub(crate) enum Opened {
    /// On gRPC.
    Grpc(Box<grpc::client::ClientStream>),
    /// On TTHeader.
    TtHeader(Box<ttheader::client::ClientStream>),
}

/// What every backend connection of a process has in common.
pub(crate) struct PoolConfig {
    pub(crate) http2: Http2Config,
    pub(crate) grpc: Rc<grpc::StreamConfig>,
    /// The same, toward another ripcord.
    pub(crate) grpc_hop: Rc<grpc::StreamConfig>,
    pub(crate) ttheader: Rc<ttheader::ConnConfig>,
    pub(crate) metrics: Arc<Metrics>,
    /// Where every connection is made known while it lives.
    pub(crate) own: Arc<Own>,
}

/// The connections of one worker.
pub(crate) struct Pool {
    config: PoolConfig,
    slots: RefCell<FxHashMap<(u64, SocketAddr), Rc<Slot>>>,
    drivers: Rc<Drivers>,
    /// Whose turn it is among a cluster's endpoints.
    turn: std::cell::Cell<usize>,
}

/// Counts the tasks that drive connections.
#[derive(Default)]
struct Drivers {
    running: std::cell::Cell<usize>,
    idle: tokio::sync::Notify,
}

impl Pool {
    pub(crate) fn new(config: PoolConfig) -> Self {
        Self {
            config,
            slots: RefCell::default(),
            drivers: Rc::default(),
            turn: std::cell::Cell::default(),
        }
    }

    /// Opens a stream on one of the cluster's endpoints.
    ///
    /// # Errors
    /// The end that the caller is to be told: nothing reached a backend.
    pub(crate) async fn open(
        &self,
        cluster: &Arc<Cluster>,
        head: &RequestHead,
    ) -> Result<(Opened, SocketAddr), End> {
        if cluster.config.dials_original_destination() {
            return self.open_original(cluster, head).await;
        }
        let mut last = String::from("it has no endpoint");
        for _ in 0..ATTEMPTS {
            let Some(endpoint) = self.pick(cluster).await else {
                break;
            };
            match self.open_at(cluster, endpoint.address, head).await {
                Ok(opened) => {
                    endpoint.report_success();
                    return Ok((opened, endpoint.address));
                }
                Err(Failure::Head(error)) => return Err(unwritable(&error)),
                Err(Failure::Endpoint(error)) => {
                    debug!(backend = %cluster.name, endpoint = %endpoint.address, %error, "cannot open a stream");
                    endpoint.report_failure();
                    last = format!("{}: {error}", endpoint.address);
                }
            }
        }
        Err(unreachable(cluster, &last))
    }

    /// Opens a stream where the caller's connection was going. There is one place only, so no other
    /// attempt, and nothing to leave alone.
    async fn open_original(
        &self,
        cluster: &Arc<Cluster>,
        head: &RequestHead,
    ) -> Result<(Opened, SocketAddr), End> {
        let Some(address) = head.destination else {
            return Err(End::hop(HopKind::NoRoute, not_redirected(cluster)));
        };
        match self.open_at(cluster, address, head).await {
            Ok(opened) => Ok((opened, address)),
            Err(Failure::Head(error)) => Err(unwritable(&error)),
            Err(Failure::Endpoint(error)) => {
                Err(unreachable(cluster, &format!("{address}: {error}")))
            }
        }
    }

    /// The next endpoint; a cluster whose names are not resolved yet has the connect timeout for it.
    pub(crate) async fn pick(&self, cluster: &Cluster) -> Option<Arc<Endpoint>> {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        if let Some(endpoint) = cluster.pick(turn) {
            return Some(endpoint);
        }
        let resolved = async {
            loop {
                let changed = cluster.changed();
                if let Some(endpoint) = cluster.pick(turn) {
                    return endpoint;
                }
                changed.await;
            }
        };
        Box::pin(tokio::time::timeout(
            cluster.config.connect_timeout,
            resolved,
        ))
        .await
        .ok()
    }

    async fn open_at(
        &self,
        cluster: &Arc<Cluster>,
        address: SocketAddr,
        head: &RequestHead,
    ) -> Result<Opened, Failure> {
        if cluster.config.connections == Connections::PerStream {
            let connection = Box::pin(self.connect(cluster, address)).await;
            let connection = connection.map_err(Failure::Endpoint)?;
            let opened = connection.open(head).await;
            connection.retire();
            return opened;
        }
        let slot = self.slot(cluster, address);
        // A connection may turn out to be going away only when it is used: then once more.
        let mut error = String::new();
        for _ in 0..2 {
            let connection = self.connection(cluster, &slot).await;
            match connection.map_err(Failure::Endpoint)?.open(head).await {
                Err(Failure::Endpoint(e)) => error = e,
                done => return done,
            }
            slot.discard_unusable();
        }
        Err(Failure::Endpoint(error))
    }

    fn slot(&self, cluster: &Arc<Cluster>, address: SocketAddr) -> Rc<Slot> {
        let mut slots = self.slots.borrow_mut();
        let slot = slots
            .entry((cluster.id, address))
            .or_insert_with(|| Rc::new(Slot::new(cluster, address)));
        slot.used();
        Rc::clone(slot)
    }

    /// A connection with room, opened when there is none or not yet enough of them.
    async fn connection(
        &self,
        cluster: &Arc<Cluster>,
        slot: &Rc<Slot>,
    ) -> Result<Connection, String> {
        if let Some(connection) = slot.best(cluster.config.pool_size) {
            return Ok(connection);
        }
        let failures = slot.failed.borrow().0;
        let _opening = match slot.opening.try_lock() {
            Ok(opening) => opening,
            Err(_) => match slot.least().filter(|c| !c.is_full()) {
                // One more is on its way; until then those that are there do.
                Some(connection) => return Ok(connection),
                None => slot.opening.lock().await,
            },
        };
        if let Some(connection) = slot.best(cluster.config.pool_size) {
            return Ok(connection);
        }
        if slot.failed.borrow().0 != failures {
            return Err(slot.failed.borrow().1.clone());
        }
        match Box::pin(self.connect(cluster, slot.address)).await {
            Ok(connection) => {
                slot.connections.borrow_mut().push(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                *slot.failed.borrow_mut() = (failures + 1, error.clone());
                slot.least().ok_or(error)
            }
        }
    }

    /// Rare, and its state is large: callers box it, so that not every stream's task carries it.
    async fn connect(
        &self,
        cluster: &Arc<Cluster>,
        address: SocketAddr,
    ) -> Result<Connection, String> {
        let config = &cluster.config;
        let options = tcp::TcpOptions::from(&config.keepalive);
        let socket = tcp::connect(address, config.connect_timeout, &options)
            .await
            .map_err(|e| e.to_string())?;
        let own = self.config.own.enter(&socket);
        match config.protocol {
            Protocol::Grpc => {
                let mut http2 = self.config.http2.clone();
                if let Some(ping) = &config.keepalive.http2 {
                    http2.ping_interval = Some(ping.interval);
                    http2.ping_timeout = ping.timeout;
                }
                let grpc = match config.hop {
                    Hop::None => Rc::clone(&self.config.grpc),
                    Hop::Ripcord => Rc::clone(&self.config.grpc_hop),
                };
                let (client, driver) = grpc::client::Client::connect(socket, &http2, grpc)
                    .await
                    .map_err(|e| e.to_string())?;
                self.drive(cluster, address, Wire::Grpc, own, driver);
                Ok(Connection::Grpc(client))
            }
            Protocol::TtHeader => {
                let (client, driver) =
                    ttheader::client::Client::new(socket, Rc::clone(&self.config.ttheader));
                self.drive(cluster, address, Wire::TtHeader, own, async move {
                    driver.await;
                    ConnectionEnd::Closed
                });
                Ok(Connection::TtHeader(Rc::new(client)))
            }
        }
    }

    fn drive(
        &self,
        cluster: &Cluster,
        address: SocketAddr,
        wire: Wire,
        own: OwnGuard,
        driver: impl Future<Output = ConnectionEnd> + 'static,
    ) {
        let guard = Running::new(
            &self.drivers,
            self.config.metrics.connection(Side::Outbound, wire),
            own,
        );
        let backend = Arc::clone(&cluster.name);
        let metrics = Arc::clone(&self.config.metrics);
        spawn_local(async move {
            let _guard = guard;
            let end = driver.await;
            let kind = match &end {
                ConnectionEnd::Closed | ConnectionEnd::Handshake | ConnectionEnd::Failed(_) => None,
                ConnectionEnd::Keepalive => Some(Violation::Keepalive),
                ConnectionEnd::Grace => Some(Violation::Unread),
                ConnectionEnd::Violation(code, _) => Some(Violation::of_http2(*code)),
            };
            if let Some(kind) = kind {
                metrics.violation(Side::Outbound, Some(wire), kind);
            }
            match end {
                ConnectionEnd::Closed => {
                    debug!(%backend, endpoint = %address, "backend connection closed")
                }
                end => {
                    if flood::admits("backend connection lost", &backend, "") {
                        warn!(%backend, endpoint = %address, reason = %end, "backend connection lost");
                    }
                }
            }
        });
    }

    /// Forgets connections whose endpoint or backend is no longer configured, or that a storm left
    /// behind; their streams go on.
    pub(crate) fn sweep(&self) {
        self.slots.borrow_mut().retain(|_, slot| {
            slot.discard_unusable();
            slot.discard_swollen();
            let wanted = slot.cluster.upgrade().is_some_and(|cluster| {
                if cluster.config.dials_original_destination() {
                    return slot.in_use();
                }
                cluster.has(slot.address)
            });
            if !wanted {
                slot.connections
                    .borrow()
                    .iter()
                    .for_each(Connection::retire);
            }
            wanted
        });
    }

    /// Lets go of every connection and waits until what was queued on them is written.
    pub(crate) async fn close(&self) {
        for slot in self.slots.borrow_mut().drain().map(|(_, slot)| slot) {
            slot.connections
                .borrow()
                .iter()
                .for_each(Connection::retire);
        }
        while self.drivers.running.get() > 0 {
            self.drivers.idle.notified().await;
        }
    }
}

/// Why a stream that came by a connection of its own accord cannot take such a backend.
pub(crate) fn not_redirected(cluster: &Cluster) -> String {
    format!(
        "backend {} is where the caller's connection was going, and this one was not redirected: it was made to ripcord itself",
        cluster.name
    )
}

fn unwritable(error: &str) -> End {
    let text = format!("the request cannot be written: {error}");
    End::hop(HopKind::OverLimit, text)
}

fn unreachable(cluster: &Cluster, why: &str) -> End {
    let text = format!("backend {} cannot be reached: {why}", cluster.name);
    End::hop(HopKind::Unreachable, text)
}

struct Running {
    drivers: RcWeak<Drivers>,
    _counted: ConnectionGuard,
    _own: OwnGuard,
}

impl Running {
    fn new(drivers: &Rc<Drivers>, counted: ConnectionGuard, own: OwnGuard) -> Self {
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

#[cfg(test)]
mod tests;
