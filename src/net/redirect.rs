//! Connections that the kernel redirected to a listener (iptables `REDIRECT`): where they were
//! going, and which of them are this process' own.
//!
//! Only Linux keeps the answer (`SO_ORIGINAL_DST`, from its connection tracking).

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rustc_hash::FxHashSet;
use tokio::net::TcpStream;

/// Where a connection was going before it was redirected; `None` when it was not.
#[must_use]
pub fn original_destination(socket: &TcpStream) -> Option<SocketAddr> {
    let here = canonical(socket.local_addr().ok()?);
    let asked = original(socket, here)?;
    // Where connections are tracked, one that was not redirected was going where it is.
    (asked != here).then_some(asked)
}

#[cfg(target_os = "linux")]
fn original(socket: &TcpStream, here: SocketAddr) -> Option<SocketAddr> {
    let socket = socket2::SockRef::from(socket);
    let asked = match here {
        SocketAddr::V4(_) => socket.original_dst_v4(),
        SocketAddr::V6(_) => socket.original_dst_v6(),
    };
    asked.ok()?.as_socket().map(canonical)
}

#[cfg(not(target_os = "linux"))]
fn original(_: &TcpStream, _: SocketAddr) -> Option<SocketAddr> {
    None
}

/// Without the wrapping that an IPv4 address has on an IPv6 socket.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// From and to: one end alone may be that of several connections, also of other processes on the host.
type Ends = (SocketAddr, SocketAddr);

/// The connections that this process opened, by both their ends: one of them that comes in again was
/// redirected back, and would be for ever. It is here before anything is written on it, so whoever
/// has read from an accepted one need not wait for it.
#[derive(Debug, Default)]
pub struct LoopGuard {
    connections: Mutex<FxHashSet<Ends>>,
}

impl LoopGuard {
    /// Knows a connection that was just opened, as long as the guard lives.
    #[must_use]
    pub fn enter(self: &Arc<Self>, socket: &TcpStream) -> LoopGuardEntry {
        let ends = socket.local_addr().and_then(|from| {
            let to = socket.peer_addr()?;
            Ok((canonical(from), canonical(to)))
        });
        let ends = ends.ok();
        self.lock().extend(ends);
        LoopGuardEntry {
            own: Arc::clone(self),
            ends,
        }
    }

    /// Whether a connection from `peer` that was going to `destination` is this process' own.
    #[must_use]
    pub fn has(&self, peer: SocketAddr, destination: SocketAddr) -> bool {
        let ends = (canonical(peer), canonical(destination));
        self.lock().contains(&ends)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, FxHashSet<Ends>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is known to be this process' own, until dropped.
#[derive(Debug)]
pub struct LoopGuardEntry {
    own: Arc<LoopGuard>,
    ends: Option<Ends>,
}

impl Drop for LoopGuardEntry {
    fn drop(&mut self) {
        if let Some(ends) = &self.ends {
            self.own.lock().remove(ends);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_that_was_not_redirected_has_no_other_destination() {
        let listener = crate::net::tcp::listen(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (near, (far, _)) = (near.unwrap(), far.unwrap());
        assert_eq!(original_destination(&far), None);
        assert_eq!(original_destination(&near), None);
    }

    #[tokio::test]
    async fn own_connections_are_known_while_they_live() {
        let listener = crate::net::tcp::listen(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (near, (_far, peer)) = (near.unwrap(), far.unwrap());
        let own = Arc::new(LoopGuard::default());
        assert!(!own.has(peer, address));
        let guard = own.enter(&near);
        assert!(own.has(peer, address));
        // Another process' connection from the same port to somewhere else is not.
        assert!(!own.has(peer, peer));
        drop(guard);
        assert!(!own.has(peer, address));
    }
}
