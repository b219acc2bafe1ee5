//! TCP socket options, listening and connecting.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// How many connections may wait to be accepted. The kernel caps it (`net.core.somaxconn`). Beyond
/// it, a connection waits seconds until a lost SYN is sent again. That happens with the library's
/// 128 when a thousand callers reconnect at once.
const BACKLOG: u32 = 4096;

/// What makes a dead peer's connection fail in bounded time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpOptions {
    /// Keepalive by the kernel: silence before the first probe, time between probes, and probes
    /// until the connection is considered dead.
    pub keepalive: Option<(Duration, Duration, usize)>,
    /// How long written data may stay unacknowledged (`TCP_USER_TIMEOUT`).
    pub user_timeout: Option<Duration>,
}

/// Sets `TCP_NODELAY`, keepalive and the user timeout. When the system lacks one of them, the
/// connection works without.
pub fn tune(socket: &TcpStream, options: &TcpOptions) {
    let _ = socket.set_nodelay(true);
    let socket = SockRef::from(socket);
    if let Some((idle, interval, count)) = options.keepalive {
        let keepalive = TcpKeepalive::new()
            .with_time(idle)
            .with_interval(interval)
            .with_retries(u32::try_from(count).unwrap_or(u32::MAX));
        let _ = socket.set_tcp_keepalive(&keepalive);
    }
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(options.user_timeout);
}

/// Listens at `address`.
///
/// # Errors
/// The system's error.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Connects within `timeout` and tunes the socket.
///
/// # Errors
/// The system's error, or `TimedOut`.
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
