//! TCP socket options and connecting.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// What makes a dead peer's connection fail in bounded time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    /// Silence before the first keepalive probe.
    pub keepalive_idle: Duration,
    /// Time between probes.
    pub keepalive_interval: Duration,
    /// Probes before the connection is given up.
    pub keepalive_count: u32,
    /// How long written data may stay unacknowledged (`TCP_USER_TIMEOUT`).
    pub user_timeout: Duration,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            keepalive_idle: Duration::from_secs(15),
            keepalive_interval: Duration::from_secs(5),
            keepalive_count: 3,
            user_timeout: Duration::from_secs(30),
        }
    }
}

/// Sets `TCP_NODELAY`, keepalive and the user timeout. A system that lacks one of them is not an
/// error: the connection works without.
pub fn tune(socket: &TcpStream, options: &TcpOptions) {
    let _ = socket.set_nodelay(true);
    let socket = SockRef::from(socket);
    let keepalive = TcpKeepalive::new()
        .with_time(options.keepalive_idle)
        .with_interval(options.keepalive_interval)
        .with_retries(options.keepalive_count);
    let _ = socket.set_tcp_keepalive(&keepalive);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(options.user_timeout));
}

/// Connects within `timeout` and tunes the socket.
///
/// # Errors
/// The system's, or `TimedOut`.
pub async fn connect(
    address: SocketAddr,
    timeout: Duration,
    options: &TcpOptions,
) -> io::Result<TcpStream> {
    let socket = tokio::time::timeout(timeout, TcpStream::connect(address))
        .await
        .map_err(|_| {
            io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no connection within {timeout:?}"),
            )
        })??;
    tune(&socket, options);
    Ok(socket)
}
