//! The connections of one worker to one endpoint, and which of them takes the next stream.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::backend::Cluster;
use crate::wire::Client;

/// Connections to one endpoint that may be opened beyond the pool's size, because the callee allows
/// no more streams on the others.
const MAX_FULL: usize = 64;

/// Sweeps until an unused connection to an original destination is closed. Callers may dial any
/// number of such addresses.
const IDLE_SWEEPS: u8 = 4;

/// How often a connection is left because it refused a stream. A callee that refuses whatever comes
/// is not helped by more connections.
const LEAVE: Duration = Duration::from_secs(1);

/// The connections to one endpoint of one cluster.
pub(super) struct EndpointConnections {
    pub(super) cluster: Weak<Cluster>,
    pub(super) address: SocketAddr,
    pub(super) connections: RefCell<Vec<Client>>,
    /// Held while a connection is opened, so that a burst of streams opens one and not many.
    pub(super) opening: tokio::sync::Mutex<()>,
    /// How many attempts to open one failed, and why the last did. The other streams of a burst
    /// then need not try one after the other.
    pub(super) failed: RefCell<(u64, String)>,
    /// When a connection was last left because it had refused a stream.
    left: Cell<Option<Instant>>,
    /// Sweeps that found it unused. Counted for original destinations only.
    idle: Cell<u8>,
}

impl EndpointConnections {
    pub(super) fn new(cluster: &Arc<Cluster>, address: SocketAddr) -> Self {
        Self {
            cluster: Arc::downgrade(cluster),
            address,
            connections: RefCell::default(),
            opening: tokio::sync::Mutex::new(()),
            failed: RefCell::default(),
            left: Cell::default(),
            idle: Cell::default(),
        }
    }

    /// A stream is about to use it.
    pub(super) fn used(&self) {
        self.idle.set(0);
    }

    /// Whether it is still needed, as one of the many addresses that callers dial.
    pub(super) fn in_use(&self) -> bool {
        let opening = self.opening.try_lock().is_err();
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

    /// The usable connection with the fewest streams. `None` when a further one should be opened.
    pub(super) fn best(&self, pool_size: usize) -> Option<Client> {
        self.discard_unusable();
        let connections = self.connections.borrow();
        let best = connections.iter().min_by_key(|c| c.active())?;
        let more = connections.len() < pool_size && best.active() > 0;
        let full = best.is_full() && connections.len() < pool_size.max(MAX_FULL);
        (!more && !full).then(|| best.clone())
    }

    /// The usable connection with the fewest streams.
    pub(super) fn least(&self) -> Option<Client> {
        self.discard_unusable();
        let connections = self.connections.borrow();
        connections.iter().min_by_key(|c| c.active()).cloned()
    }

    pub(super) fn discard_unusable(&self) {
        self.connections.borrow_mut().retain(Client::is_usable);
    }

    pub(super) fn discard_swollen(&self) {
        self.connections.borrow_mut().retain(|connection| {
            let swollen = connection.is_swollen();
            if swollen {
                connection.retire();
            }
            !swollen
        });
    }
}
