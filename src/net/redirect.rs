//! Connections that the kernel redirected to a listener (iptables `REDIRECT`): where they were
//! going, and which of them this process opened itself.
//!
//! Only Linux knows the original destination (`SO_ORIGINAL_DST`, from its connection tracking).

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rustc_hash::FxHashSet;
use tokio::net::TcpStream;

/// Where a connection was going before it was redirected; `None` when it was not redirected.
#[must_use]
pub fn original_destination(socket: &TcpStream) -> Option<SocketAddr> {
    let here = canonical(socket.local_addr().ok()?);
    let asked = original(socket, here)?;
    // With connection tracking, the destination of a connection that was not redirected is this
    // address.
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

/// An address without the IPv6 form that an IPv4 address has on an IPv6 socket.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Source and destination. One of them alone may belong to several connections, also of other
/// processes on the host.
type Ends = (SocketAddr, SocketAddr);

/// The connections that this process opened, by both their addresses. One of them that comes in
/// again was redirected back here, and would be so for ever. It is registered before anything is
/// written on it. So once an accepted connection has been read from, the answer is known.
#[derive(Debug, Default)]
pub struct LoopGuard {
    connections: Mutex<FxHashSet<Ends>>,
}

impl LoopGuard {
    /// Registers a connection that was just opened, until the guard is dropped.
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

    /// Whether this process opened the connection from `peer` to `destination`.
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

/// The registration of one connection; dropping it ends it.
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
