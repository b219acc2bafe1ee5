//! TCP socket options, listening and connecting.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// How many connections may wait to be accepted; the kernel caps it (`net.core.somaxconn`). Past
/// it, a connection waits for a lost SYN to be sent again, seconds long: with the library's 128 a
/// thousand callers that reconnect at once do.
const BACKLOG: u32 = 4096;

/// What makes a dead peer's connection fail in bounded time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    /// Keepalive by the kernel: silence before the first probe, time between probes, probes before
    /// the connection is given up.
    pub keepalive: Option<(Duration, Duration, usize)>,
    /// How long written data may stay unacknowledged (`TCP_USER_TIMEOUT`).
    pub user_timeout: Option<Duration>,
}

/// Sets `TCP_NODELAY`, keepalive and the user timeout. A system that lacks one of them is not an
/// error: the connection works without.
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
/// The system's.
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
