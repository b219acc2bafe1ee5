//! A plain TCP relay, as the cost of a hop that reads nothing. It runs as a process of its own, on
//! one current-thread runtime, like every proxy to which it is compared.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Relays between each pair of addresses (`listen=target`) until it is killed.
pub(crate) async fn run(pairs: &[String]) -> Result<()> {
    let mut listeners = JoinSet::new();
    for pair in pairs {
        let (listen, target) = pair.split_once('=').context("listen=target")?;
        let listener = TcpListener::bind(listen).await?;
        let target: SocketAddr = target.parse()?;
        listeners.spawn_local(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::task::spawn_local(relay(socket, target));
            }
        });
    }
    while listeners.join_next().await.is_some() {}
    Ok(())
}

async fn relay(mut from: TcpStream, target: SocketAddr) -> Result<()> {
    let mut to = TcpStream::connect(target).await?;
    from.set_nodelay(true)?;
    to.set_nodelay(true)?;
    copy_bidirectional_with_sizes(&mut from, &mut to, 64 * 1024, 64 * 1024).await?;
    Ok(())
}
