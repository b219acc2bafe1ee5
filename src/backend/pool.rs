//! One worker's connections to backends: opened on demand, shared by streams, closed when their
//! endpoint is gone. Nothing here crosses threads. Endpoints and their health are shared
//! ([`Cluster`]).

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::{Rc, Weak as RcWeak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustc_hash::FxHashMap;
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tracing::{debug, warn};

use crate::backend::answer::Judge;
use crate::backend::cluster::LookingUp;
use crate::backend::{Cluster, EndpointGuard, PickHint};
use crate::config::Connections;
use crate::net::connection::{ConnectionEnd, Drive};
use crate::net::redirect::{LoopGuard, LoopGuardEntry};
use crate::net::socket::Socket;
use crate::net::tcp;
use crate::stream::{End, LocalEndKind, OpenError, RequestHead};
use crate::telemetry::{ConnectionGuard, Metrics, Side, log_limit};
use crate::wire::{Client, Dialers, OutboundStream};
use connections::EndpointConnections;

mod connections;

/// How many endpoints are tried for one stream.
const ATTEMPTS: usize = 3;

/// A stream that was opened, and the guard of its endpoint.
pub(crate) type OpenedStream = (OutboundStream, EndpointGuard);

/// A connection to a backend that carries calls, with the guards that count it while it lives.
pub(crate) struct Dialed {
    pub(crate) socket: Socket,
    pub(crate) endpoint: EndpointGuard,
    _counted: ConnectionGuard,
    _own: LoopGuardEntry,
}

/// The connections of one worker.
pub(crate) struct Pool {
    dialers: Dialers,
    metrics: Arc<Metrics>,
    /// Registers every connection while it lives, so that one that is redirected back here is
    /// recognized.
    loop_guard: Arc<LoopGuard>,
    slots: RefCell<FxHashMap<(u64, SocketAddr), Rc<EndpointConnections>>>,
    drivers: Rc<Drivers>,
    /// The next turn among a cluster's endpoints.
    turn: std::cell::Cell<usize>,
}

/// Counts the tasks that drive connections.
#[derive(Default)]
struct Drivers {
    running: std::cell::Cell<usize>,
    idle: tokio::sync::Notify,
}

impl Pool {
    pub(crate) fn new(dialers: Dialers, metrics: Arc<Metrics>, loop_guard: Arc<LoopGuard>) -> Self {
        Self {
            dialers,
            metrics,
            loop_guard,
            slots: RefCell::default(),
            drivers: Rc::default(),
            turn: std::cell::Cell::default(),
        }
    }

    /// Opens a stream on one of the cluster's endpoints.
    ///
    /// # Errors
    /// The end that the caller receives: nothing reached a backend.
    pub(crate) async fn open(
        &self,
        cluster: &Arc<Cluster>,
        head: &RequestHead,
    ) -> Result<OpenedStream, End> {
        if cluster.config.dials_original_destination() {
            return self.open_original(cluster, head).await;
        }
        let mut asked = None;
        let mut opened = self.try_endpoints(cluster, head, &mut asked).await;
        if let (Err(OpenError::Connection(_)), Some(asked)) = (&opened, asked)
            // A name that has moved costs no stream, if its new addresses are known by now.
            && Box::pin(cluster.looked_up(asked)).await
        {
            opened = self.try_endpoints(cluster, head, &mut None).await;
        }
        opened.map_err(|failed| match failed {
            OpenError::Head(error) => unwritable(&error),
            OpenError::Connection(why) => unreachable(cluster, &why),
        })
    }

    /// Tries some endpoints in turn. One that fails asks for a look-up of the cluster's names:
    /// `asked`.
    async fn try_endpoints<'a>(
        &self,
        cluster: &'a Arc<Cluster>,
        head: &RequestHead,
        asked: &mut Option<LookingUp<'a>>,
    ) -> Result<OpenedStream, OpenError> {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let Some(endpoint) = self.pick(cluster, head).await else {
                break;
            };
            match self.open_at(cluster, endpoint.address(), head).await {
                Ok(stream) => {
                    endpoint.opened();
                    return Ok((stream, endpoint));
                }
                Err(OpenError::Head(error)) => return Err(OpenError::Head(error)),
                Err(OpenError::Connection(error)) => {
                    let address = endpoint.address();
                    debug!(backend = %cluster.name, endpoint = %address, %error, "cannot open a stream");
                    last = Some(format!("{address}: {error}"));
                    endpoint.failed();
                    if asked.is_none() {
                        *asked = cluster.look_up();
                    }
                }
            }
        }
        let why = last.unwrap_or_else(|| cluster.no_endpoint());
        Err(OpenError::Connection(why))
    }

    /// Opens a stream once more that the callee at `from` did not look at, on its stream `refused`.
    /// A good endpoint beside that one comes first, then another connection to it.
    ///
    /// # Errors
    /// As those of [`Pool::open`].
    pub(crate) async fn open_again(
        &self,
        cluster: &Arc<Cluster>,
        head: &RequestHead,
        from: SocketAddr,
        refused: &OutboundStream,
    ) -> Result<OpenedStream, End> {
        for _ in 1..ATTEMPTS {
            let turn = self.next_turn();
            let Some(endpoint) = cluster.pick_beside(&PickHint { turn, head }, from) else {
                break;
            };
            match self.open_at(cluster, endpoint.address(), head).await {
                Ok(stream) => {
                    endpoint.opened();
                    return Ok((stream, endpoint));
                }
                Err(OpenError::Head(error)) => return Err(unwritable(&error)),
                Err(OpenError::Connection(_)) => {
                    endpoint.failed();
                    let _ = cluster.look_up();
                }
            }
        }
        if let Some(slot) = self.slots.borrow().get(&(cluster.id, from)) {
            slot.leave(refused.connection());
        }
        self.open(cluster, head).await
    }

    fn next_turn(&self) -> usize {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        turn
    }

    /// Opens a stream to where the caller's connection was going. There is one such place, so there
    /// is no other attempt, and no endpoint to avoid.
    async fn open_original(
        &self,
        cluster: &Arc<Cluster>,
        head: &RequestHead,
    ) -> Result<OpenedStream, End> {
        let Some(address) = head.destination else {
            return Err(End::hop(LocalEndKind::NoRoute, not_redirected(cluster)));
        };
        match self.open_at(cluster, address, head).await {
            Ok(stream) => Ok((stream, EndpointGuard::unlisted(address))),
            Err(OpenError::Head(error)) => Err(unwritable(&error)),
            Err(OpenError::Connection(error)) => {
                Err(unreachable(cluster, &format!("{address}: {error}")))
            }
        }
    }

    /// Opens a connection for calls, which no stream shares.
    ///
    /// # Errors
    /// The end that the caller receives.
    pub(crate) async fn dial(
        &self,
        cluster: &Arc<Cluster>,
        head: &RequestHead,
    ) -> Result<Dialed, String> {
        let endpoint = if cluster.config.dials_original_destination() {
            let address = head.destination.ok_or_else(|| not_redirected(cluster))?;
            EndpointGuard::unlisted(address)
        } else {
            let picked = self.pick(cluster, head).await;
            picked.ok_or_else(|| cannot_reach(cluster, &cluster.no_endpoint()))?
        };
        let address = endpoint.address();
        match self.socket(cluster, address).await {
            Ok((socket, own)) => {
                endpoint.opened();
                Ok(Dialed {
                    socket: Socket::new(socket),
                    endpoint,
                    _counted: self.metrics.connection(Side::Outbound, cluster.wire),
                    _own: own,
                })
            }
            Err(error) => {
                endpoint.failed();
                let _ = cluster.look_up();
                Err(cannot_reach(cluster, &format!("{address}: {error}")))
            }
        }
    }

    /// The next endpoint. A cluster whose names are not resolved yet has the connect timeout for
    /// it.
    async fn pick(&self, cluster: &Cluster, head: &RequestHead) -> Option<EndpointGuard> {
        let turn = self.next_turn();
        let hint = PickHint { turn, head };
        if let Some(endpoint) = cluster.pick(&hint) {
            return Some(endpoint);
        }
        let resolved = async {
            loop {
                let changed = cluster.changed();
                if let Some(endpoint) = cluster.pick(&hint) {
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
    ) -> Result<OutboundStream, OpenError> {
        if cluster.config.connections == Connections::PerStream {
            let connection = Box::pin(self.connect(cluster, address)).await;
            let connection = connection.map_err(OpenError::Connection)?;
            let opened = connection.open(head).await;
            connection.retire();
            return opened;
        }
        let slot = self.slot(cluster, address);
        // A connection may turn out to be closing only when it is used. Then try once more.
        let mut error = String::new();
        for _ in 0..2 {
            let connection = self.connection(cluster, &slot).await;
            match connection.map_err(OpenError::Connection)?.open(head).await {
                Err(OpenError::Connection(e)) => error = e,
                done => return done,
            }
            slot.discard_unusable();
        }
        Err(OpenError::Connection(error))
    }

    fn slot(&self, cluster: &Arc<Cluster>, address: SocketAddr) -> Rc<EndpointConnections> {
        let mut slots = self.slots.borrow_mut();
        let slot = slots
            .entry((cluster.id, address))
            .or_insert_with(|| Rc::new(EndpointConnections::new(cluster, address)));
        slot.used();
        Rc::clone(slot)
    }

    /// A connection with room. A new one is opened when there is none, or not yet enough of them.
    async fn connection(
        &self,
        cluster: &Arc<Cluster>,
        slot: &Rc<EndpointConnections>,
    ) -> Result<Client, String> {
        if let Some(connection) = slot.best(cluster.config.pool_size) {
            return Ok(connection);
        }
        let failures = slot.failed.borrow().0;
        let _opening = match slot.opening.try_lock() {
            Ok(opening) => opening,
            Err(_) => match slot.least().filter(|c| !c.is_full()) {
                // One more is being opened. Until then the existing ones serve.
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
    async fn connect(&self, cluster: &Arc<Cluster>, address: SocketAddr) -> Result<Client, String> {
        let (socket, own) = self.socket(cluster, address).await?;
        let told = Arc::default();
        let judge = Judge::new(cluster, address, &self.metrics, &told);
        let socket = Socket::judged(socket, Box::new(judge));
        let driver = SpawnDriver {
            pool: self,
            cluster,
            address,
            own,
            told,
        };
        self.dialers
            .connect(cluster.wire, socket, &cluster.dial, driver)
            .await
    }

    async fn socket(
        &self,
        cluster: &Cluster,
        address: SocketAddr,
    ) -> Result<(TcpStream, LoopGuardEntry), String> {
        let socket = tcp::connect(address, cluster.config.connect_timeout, &cluster.tcp);
        let socket = socket.await.map_err(|e| e.to_string())?;
        let own = self.loop_guard.enter(&socket);
        Ok((socket, own))
    }

    /// Forgets connections whose endpoint or backend is no longer configured, and those that a
    /// storm left behind. Their streams go on.
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
                slot.connections.borrow().iter().for_each(Client::retire);
            }
            wanted
        });
    }

    /// Releases every connection, and waits until what was queued on them is written.
    pub(crate) async fn close(&self) {
        for slot in self.slots.borrow_mut().drain().map(|(_, slot)| slot) {
            slot.connections.borrow().iter().for_each(Client::retire);
        }
        while self.drivers.running.get() > 0 {
            self.drivers.idle.notified().await;
        }
    }
}

/// Why a connection that was not redirected here cannot use such a backend.
fn not_redirected(cluster: &Cluster) -> String {
    format!(
        "backend {} is where the caller's connection was going, and this one was not redirected: it was made to ripcord itself",
        cluster.name
    )
}

fn unwritable(error: &str) -> End {
    let text = format!("the request cannot be written: {error}");
    End::hop(LocalEndKind::OverLimit, text)
}

fn unreachable(cluster: &Cluster, why: &str) -> End {
    End::hop(LocalEndKind::Unreachable, cannot_reach(cluster, why))
}

fn cannot_reach(cluster: &Cluster, why: &str) -> String {
    format!("backend {} cannot be reached: {why}", cluster.name)
}

/// Spawns a new connection's task, and counts it while it runs.
struct SpawnDriver<'a> {
    pool: &'a Pool,
    cluster: &'a Cluster,
    address: SocketAddr,
    own: LoopGuardEntry,
    /// Whether the log already has a line about it.
    told: Arc<AtomicBool>,
}

impl Drive for SpawnDriver<'_> {
    fn drive(self, driver: impl Future<Output = ConnectionEnd> + 'static) {
        let (wire, address) = (self.cluster.wire, self.address);
        let metrics = Arc::clone(&self.pool.metrics);
        let counted = metrics.connection(Side::Outbound, wire);
        let guard = Running::new(&self.pool.drivers, counted, self.own);
        let (backend, told) = (Arc::clone(&self.cluster.name), self.told);
        let lookup = self.cluster.lookup.clone();
        spawn_local(async move {
            let _guard = guard;
            let end = driver.await;
            if let Some(lookup) = lookup {
                // The callee may have moved.
                let _ = lookup.ask();
            }
            if let Some(kind) = end.violation() {
                metrics.violation(Side::Outbound, Some(wire), kind);
            }
            if end == ConnectionEnd::Closed {
                debug!(%backend, endpoint = %address, "backend connection closed");
            } else if told.load(Ordering::Relaxed) {
                debug!(%backend, endpoint = %address, reason = %end, "backend connection lost");
            } else if log_limit::admits("backend connection lost", &backend, "") {
                warn!(%backend, endpoint = %address, reason = %end, "backend connection lost");
            }
        });
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

#[cfg(test)]
mod tests;
