//! The connections of one worker to one endpoint: which of them takes the next stream, when another
//! one is opened, and which streams wait.
//!
//! A stream takes the connection with the fewest streams among the first `pool_size`, else the first
//! further one with room. Without room, it waits in a queue, and further connections are opened: as
//! many as the waiting streams need, all at the same time, up to `max_connections`. The place of a
//! stream that is over goes to the stream that has waited longest.
//!
//! A connection whose budget of resets ([`crate::net::resets`]) is spent takes no stream while
//! another one can be opened. Such connections may be more than `max_connections`, up to
//! [`BUDGETED`]. It lives on for its streams, and takes new ones when its budget has come back. When
//! it has no stream, the next new connection replaces it. Beyond that number, streams are opened
//! over the budget: no stream waits or fails for it, and no cancel is ever late for it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use tokio::task::spawn_local;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::connect::Connector;
use super::queue::Queue;
use crate::backend::Cluster;
use crate::net::connection::Room;
use crate::stream::OpenError;
use crate::telemetry::log_limit;
use crate::wire::Client;

/// Sweeps until an unused connection to an original destination is closed. Callers may dial any
/// number of such addresses.
const IDLE_SWEEPS: u8 = 4;

/// Connections that may be opened for the budget of resets, where `max_connections` is less. So many
/// hold 57,600 streams that may all be canceled together, and 9,600 with Netty's figures.
const BUDGETED: usize = 64;

/// The log line for a stream beyond every budget.
const EXCEEDED: &str = "a stream was opened beyond the budget of resets or of small frames";

/// How many connections may be over before the stream that waits for them is opened. Then it fails.
const CLOSED: u64 = 2;

/// After an attempt to open a further connection failed, how long the existing ones have to do.
const AGAIN: Duration = Duration::from_secs(1);
/// How often a connection is left because it refused a stream. A callee that refuses whatever comes
/// is not helped by more connections.
const LEAVE: Duration = Duration::from_secs(1);

/// The connections to one endpoint of one cluster.
pub(super) struct EndpointConnections {
    pub(super) cluster: Weak<Cluster>,
    pub(super) address: SocketAddr,
    connector: Rc<Connector>,
    connections: RefCell<Vec<Client>>,
    /// The streams that wait for a connection.
    queue: Queue,
    /// Connections that are being opened.
    dialing: Cell<usize>,
    /// How many connections were opened.
    opened: Cell<u64>,
    /// How many streams a new connection takes, as the last one did. No limit is known before.
    takes: Cell<usize>,
    failed: RefCell<Failure>,
    /// Whether the endpoint ended a connection for its resets, on any worker.
    calm: Arc<AtomicBool>,
    /// When a connection was last left because it had refused a stream.
    left: Cell<Option<Instant>>,
    /// Sweeps that found it unused. Counted for original destinations only.
    idle: Cell<u8>,
}

/// The attempts to open a connection that failed.
#[derive(Default)]
struct Failure {
    count: u64,
    /// The last one: why, and when.
    last: Option<(OpenError, Instant)>,
}

/// Why another connection is needed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    /// The pool is not complete, or there is none.
    Pool,
    /// The callee allows no more streams on the others.
    Limit,
    /// The others have spent their budgets of resets.
    Budget,
}

/// What the next stream does.
enum Choice {
    /// It takes this connection.
    Take(Client),
    /// It takes this connection, whose budget of resets is spent.
    Exceed(Client),
    /// It waits. Up to so many connections may be opened for those that wait.
    Wait(usize, Need),
}

impl EndpointConnections {
    pub(super) fn new(
        cluster: &Arc<Cluster>,
        address: SocketAddr,
        connector: &Rc<Connector>,
    ) -> Self {
        Self {
            cluster: Arc::downgrade(cluster),
            address,
            connector: Rc::clone(connector),
            connections: RefCell::default(),
            queue: Queue::default(),
            dialing: Cell::default(),
            opened: Cell::default(),
            takes: Cell::new(usize::MAX),
            failed: RefCell::default(),
            calm: cluster.calm(address),
            left: Cell::default(),
            idle: Cell::default(),
        }
    }

    /// How many connections there are.
    pub(super) fn count(&self) -> usize {
        self.connections.borrow().len()
    }

    /// Whether streams wait because each connection has as many as the callee allows.
    pub(super) fn is_full(&self) -> bool {
        let connections = self.connections.borrow();
        let full = connections.iter().all(|c| c.room(None) == Room::Full);
        full && !connections.is_empty() && !self.queue.is_empty()
    }

    /// A stream is about to use it.
    pub(super) fn used(&self) {
        self.idle.set(0);
    }

    /// Whether it is still needed, as one of the many addresses that callers dial.
    pub(super) fn in_use(&self) -> bool {
        let opening = self.dialing.get() > 0 || !self.queue.is_empty();
        let busy = opening || self.connections.borrow().iter().any(|c| c.active() > 0);
        let idle = if busy { 0 } else { self.idle.get() + 1 };
        self.idle.set(idle);
        idle < IDLE_SWEEPS
    }

    /// Opens no new streams on that connection, which has refused one. Its others go on.
    pub(super) fn leave(&self, id: usize) {
        let now = Instant::now();
        if self.left.get().is_some_and(|last| now - last < LEAVE) {
            return;
        }
        self.connections.borrow_mut().retain(|connection| {
            let leaves = connection.id() == id;
            if leaves {
                connection.retire();
                self.left.set(Some(now));
            }
            !leaves
        });
    }

    /// The connection for one more stream, which must be opened on it at once. Waits until there is
    /// one.
    ///
    /// # Errors
    /// Why no connection could be opened.
    pub(super) async fn connection(
        self: &Rc<Self>,
        cluster: &Arc<Cluster>,
    ) -> Result<Client, OpenError> {
        if self.queue.is_empty() {
            match self.choose(cluster) {
                Choice::Take(connection) => return Ok(connection),
                Choice::Exceed(connection) => return Ok(self.exceed(connection)),
                Choice::Wait(..) => {}
            }
        }
        Box::pin(self.wait(cluster)).await
    }

    async fn wait(self: &Rc<Self>, cluster: &Arc<Cluster>) -> Result<Client, OpenError> {
        let _counted = self.connector.counters.waiting();
        let ticket = self.queue.join();
        let failures = self.failed.borrow().count;
        let mut opened = self.opened.get();
        poll_fn(|cx| {
            if let Some(error) = self.failed_since(failures) {
                return Poll::Ready(Err(error));
            }
            let first = ticket.is_first();
            self.discard_unusable();
            if !self.connections.borrow().is_empty() {
                opened = self.opened.get();
            } else if self.opened.get() - opened >= CLOSED {
                let error = "it closes connections before a stream can be opened".to_owned();
                return Poll::Ready(Err(OpenError::Connection(error)));
            }
            match self.choose(cluster) {
                Choice::Take(connection) if first => return Poll::Ready(Ok(connection)),
                Choice::Exceed(connection) if first => {
                    return Poll::Ready(Ok(self.exceed(connection)));
                }
                // The first one takes it, and wakes the next.
                Choice::Take(_) | Choice::Exceed(_) => {}
                Choice::Wait(most, need) => self.dial(cluster, most, need),
            }
            if first {
                let connections = self.connections.borrow();
                connections.iter().for_each(|c| c.on_room(cx.waker()));
            }
            ticket.wait(cx);
            Poll::Pending
        })
        .await
    }

    fn choose(&self, cluster: &Cluster) -> Choice {
        self.discard_unusable();
        let connections = self.connections.borrow();
        let pool_size = cluster.config.pool_size;
        let (pool, further) = connections.split_at(connections.len().min(pool_size));
        let resets = cluster.resets(&self.calm);
        let free = |c: &&Client| c.room(resets.as_ref()) == Room::Free;
        let best = pool.iter().filter(free).min_by_key(|c| c.active());
        if let Some(best) = best.or_else(|| further.iter().find(free)) {
            return match self.is_to_spread(pool, best, pool_size) {
                true => Choice::Wait(pool_size, Need::Pool),
                false => Choice::Take(best.clone()),
            };
        }
        let most = cluster.config.max_connections.max(pool_size);
        let spent = connections
            .iter()
            .filter_map(|c| match c.room(resets.as_ref()) {
                Room::Spent(over) => Some((over, c)),
                Room::Free | Room::Full => None,
            });
        let Some((_, least)) = spent.min_by_key(|(over, _)| *over) else {
            let need = match connections.is_empty() {
                true => Need::Pool,
                false => Need::Limit,
            };
            return Choice::Wait(most, need);
        };
        let most = most.max(BUDGETED);
        let more = connections.len() + self.dialing.get() < most
            && !self.is_to_pause()
            && !self.is_useless_to_dial();
        match more || self.dialing.get() > 0 {
            true => Choice::Wait(most, Need::Budget),
            false => Choice::Exceed(least.clone()),
        }
    }

    /// A stream is opened although that may one day cost others their connection: no caller is
    /// refused for what others might do.
    fn exceed(&self, connection: Client) -> Client {
        self.connector.counters.over_budget();
        let cluster = self.cluster.upgrade();
        if let Some(backend) = cluster.map(|cluster| Arc::clone(&cluster.name))
            && log_limit::admits(EXCEEDED, &backend, "")
        {
            let (endpoint, connections) = (self.address, self.connections.borrow().len());
            warn!(%backend, %endpoint, connections, "{EXCEEDED}");
        }
        connection
    }

    /// Whether a stream should wait for another connection of the pool, although `best` has room: it
    /// already has its part of all streams.
    fn is_to_spread(&self, pool: &[Client], best: &Client, pool_size: usize) -> bool {
        if pool.len() >= pool_size || best.active() == 0 || self.is_to_pause() {
            return false;
        }
        let open: usize = pool.iter().map(Client::active).sum();
        let all = open + self.queue.len().max(1);
        best.active() >= all.div_ceil(pool_size)
    }

    /// Whether no further connection should be opened now.
    fn is_to_pause(&self) -> bool {
        let failed = self.failed.borrow();
        let last = failed.last.as_ref();
        self.dialing.get() == 0 && last.is_some_and(|(_, at)| at.elapsed() < AGAIN)
    }

    /// Whether a further connection would take no stream, as the last one does.
    fn is_useless_to_dial(&self) -> bool {
        let connections = self.connections.borrow();
        self.takes.get() == 0 && connections.iter().any(|c| c.capacity() == 0)
    }

    /// Why the stream that saw so many failures before cannot be opened: there was another one, and
    /// there is no connection to wait for.
    fn failed_since(&self, failures: u64) -> Option<OpenError> {
        let failed = self.failed.borrow();
        let (error, _) = failed.last.as_ref()?;
        let lost = failed.count != failures && self.connections.borrow().is_empty();
        lost.then(|| error.clone())
    }

    /// Opens the connections that the waiting streams need, so that there are no more than `most`.
    fn dial(self: &Rc<Self>, cluster: &Arc<Cluster>, most: usize, need: Need) {
        let there = self.connections.borrow().len();
        if there > 0 && (self.is_to_pause() || self.is_useless_to_dial()) {
            return;
        }
        let waiting = self.queue.len();
        let pool = cluster.config.pool_size.saturating_sub(there).min(waiting);
        let resets = cluster.resets(&self.calm);
        let budget = resets.map_or(usize::MAX, |r| r.burst.min(r.early) as usize);
        let takes = self.takes.get().min(budget).max(1);
        let wanted = waiting.div_ceil(takes).max(pool);
        while self.dialing.get() < wanted && there + self.dialing.get() < most {
            if need == Need::Budget {
                self.connector.counters.budget_connection();
            }
            self.dial_one(cluster);
        }
    }

    /// A task of its own: the stream that needs it may be canceled while others wait for it too.
    fn dial_one(self: &Rc<Self>, cluster: &Arc<Cluster>) {
        self.dialing.set(self.dialing.get() + 1);
        let (this, cluster) = (Rc::clone(self), Arc::clone(cluster));
        spawn_local(async move {
            let connected = this
                .connector
                .connect(&cluster, this.address, &this.calm)
                .await;
            this.dialing.set(this.dialing.get() - 1);
            match connected {
                Ok(connection) => this.add(&cluster, connection),
                Err(error) => {
                    this.fail(&cluster, error);
                    // Streams that wait for a place need not wait for one that ends.
                    tokio::time::sleep(AGAIN).await;
                    this.queue.wake_first();
                }
            }
        });
    }

    fn add(&self, cluster: &Cluster, connection: Client) {
        self.opened.set(self.opened.get() + 1);
        self.takes.set(connection.capacity());
        self.failed.borrow_mut().last = None;
        let resets = cluster.resets(&self.calm);
        let connections = &mut *self.connections.borrow_mut();
        // What is spent comes back slowly, and a new connection has its whole budget.
        connections.retain(|c| {
            let useless = c.active() == 0 && matches!(c.room(resets.as_ref()), Room::Spent(_));
            if useless {
                c.retire();
            }
            !useless
        });
        connections.push(connection);
        self.queue.wake_first();
    }

    fn fail(&self, cluster: &Cluster, error: OpenError) {
        let (backend, endpoint) = (&cluster.name, self.address);
        debug!(%backend, %endpoint, error = error.text(), "cannot open a connection");
        let mut failed = self.failed.borrow_mut();
        failed.count += 1;
        failed.last = Some((error, Instant::now()));
        drop(failed);
        self.queue.wake_all();
    }

    pub(super) fn discard_unusable(&self) {
        self.connections.borrow_mut().retain(Client::is_usable);
    }

    /// Closes idle connections beyond the pool's size, and those with the memory of many streams.
    pub(super) fn discard_spare(&self, pool_size: usize) {
        let connections = &mut *self.connections.borrow_mut();
        let mut surplus = connections.len().saturating_sub(pool_size);
        connections.retain(|connection| {
            let spare = connection.is_spare(surplus > 0);
            if spare {
                connection.retire();
                surplus = surplus.saturating_sub(1);
            }
            !spare
        });
    }

    /// Lets its connections close when their streams are over.
    pub(super) fn retire(&self) {
        self.connections.borrow().iter().for_each(Client::retire);
    }
}

/// A connection that was opened after its endpoint was gone.
impl Drop for EndpointConnections {
    fn drop(&mut self) {
        self.retire();
    }
}
