//! A collector of spans (OTLP over HTTP) that accepts everything, answers with an empty success,
//! and is down now and then. Counts what came.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::Result;
use ripcord::net::tcp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::spawn_local;

/// The longest head of a request.
const HEAD: usize = 64 << 10;

const OK: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";

/// Where spans go.
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    up: watch::Sender<bool>,
    pub(crate) requests: Rc<Cell<u64>>,
}

impl Collector {
    pub(crate) fn start() -> Result<Self> {
        let socket = tcp::listen(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = socket.local_addr()?;
        let (up, is_up) = watch::channel(true);
        let requests = Rc::new(Cell::new(0));
        let counted = Rc::clone(&requests);
        spawn_local(async move {
            let mut socket = Some(socket);
            let mut changed = is_up.clone();
            loop {
                if !*changed.borrow_and_update() {
                    socket = None;
                    if changed.changed().await.is_err() {
                        return;
                    }
                    continue;
                }
                let Some(listener) = &socket else {
                    socket = tcp::listen(address).ok();
                    tokio::task::yield_now().await;
                    continue;
                };
                tokio::select! {
                    biased;
                    ended = changed.changed() => if ended.is_err() { return },
                    accepted = listener.accept() => if let Ok((socket, _)) = accepted {
                        spawn_local(serve(socket, is_up.clone(), Rc::clone(&counted)));
                    }
                }
            }
        });
        Ok(Self {
            address,
            up,
            requests,
        })
    }

    /// Takes it away, with its connections, or brings it back.
    pub(crate) fn set_up(&self, up: bool) {
        self.up.send_replace(up);
    }
}

async fn serve(mut socket: TcpStream, mut up: watch::Receiver<bool>, counted: Rc<Cell<u64>>) {
    let answer = async {
        let mut buffer = Vec::new();
        loop {
            let head = loop {
                if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                    break at + 4;
                }
                if buffer.len() > HEAD || socket.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                    return;
                }
            };
            let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
            let length = text.lines().find_map(|l| l.strip_prefix("content-length:"));
            let body: usize = length.and_then(|n| n.trim().parse().ok()).unwrap_or(0);
            while buffer.len() < head + body {
                if socket.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            buffer.drain(..head + body);
            counted.set(counted.get() + 1);
            if socket.write_all(OK).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        biased;
        _ = up.wait_for(|up| !*up) => {}
        () = answer => {}
    }
}
