//! Reports the state of the process to the service manager: sd_notify(3), one datagram to the
//! socket that `NOTIFY_SOCKET` names. Without that variable nothing happens.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Streams are accepted. `Type=notify` waits for this before it starts dependent services.
pub(crate) const READY: &str = "READY=1";

/// The process drains.
pub(crate) const STOPPING: &str = "STOPPING=1";

/// Sends `state`. A failure is only logged.
pub(crate) fn tell(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(error) = send(&socket, state) {
        tracing::warn!(%error, ?socket, state, "the service manager could not be told");
    }
}

/// A name that begins with `@` is an abstract one.
fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    let sent = UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)?;
    debug_assert_eq!(sent, state.len(), "a datagram is sent whole");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_may_have_a_path_or_an_abstract_name() {
        let name = format!("ripcord-notify-{}", std::process::id());
        let path = std::env::temp_dir().join(&name);
        let _ = std::fs::remove_file(&path);
        let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
        for (socket, named) in [
            (UnixDatagram::bind(&path), path.clone().into_os_string()),
            (
                UnixDatagram::bind_addr(&abstract_name),
                format!("@{name}").into(),
            ),
        ] {
            let socket = socket.unwrap();
            send(&named, READY).unwrap();
            let mut got = [0; 64];
            let length = socket.recv(&mut got).unwrap();
            assert_eq!(&got[..length], READY.as_bytes());
        }
        std::fs::remove_file(&path).unwrap();
        assert!(send(path.as_os_str(), READY).is_err());
    }
}
