//! Third-party HTTP/2 proxies between two hops, as processes.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::peers::Peer;
use super::process::{LIMIT, Process};

#[path = "../../benches/proxy/foreign.rs"]
mod configs;

/// Which proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Nginx,
    Haproxy,
    Envoy,
    Nghttpx,
}

/// A running proxy.
pub(crate) struct Foreign {
    _process: Process,
    pub(crate) address: String,
}

impl Kind {
    const fn peer(self) -> Peer {
        match self {
            Self::Nginx => Peer::Nginx,
            Self::Haproxy => Peer::Haproxy,
            Self::Envoy => Peer::Envoy,
            Self::Nghttpx => Peer::Nghttpx,
        }
    }

    /// Starts one in front of `callee`.
    pub(crate) fn start(self, callee: &str) -> Foreign {
        let program = self.peer().name();
        let callee: SocketAddr = callee.parse().unwrap();
        let listen = free();
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("{program}-{}-{next}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let config = |text: String| {
            let file = folder.join("proxy.yaml");
            std::fs::write(&file, text).unwrap();
            file.display().to_string()
        };
        let mut command = Command::new(program);
        match self {
            Self::Nginx => {
                let file = config(configs::nginx(listen, callee, &folder));
                command.args(["-c", &file, "-p"]).arg(&folder);
            }
            Self::Haproxy => {
                let file = config(configs::haproxy(listen, callee));
                command.args(["-f", &file]);
            }
            Self::Envoy => {
                let file = config(configs::envoy(listen, callee));
                command.args(configs::envoy_arguments(file));
            }
            Self::Nghttpx => {
                command.args(configs::nghttpx(listen, callee));
            }
        }
        let process = Process::start(program, command);
        let begun = Instant::now();
        while TcpStream::connect(listen).is_err() {
            assert!(
                begun.elapsed() < 2 * LIMIT,
                "{program} does not listen: {}",
                process.tail()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Foreign {
            _process: process,
            address: listen.to_string(),
        }
    }
}

/// An address that nobody listens on.
fn free() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap()
}
