//! TTHeader ping-pong traffic passes through untouched, so that ripcord can stand in front of a
//! Kitex port that serves both.
//!
//! A connection is routed by its first request and then relayed byte for byte, both ways: every
//! request on it goes where the first one went. Kitex keeps a connection to one service, so that
//! is what its callers expect.

use std::net::SocketAddr;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tracing::{debug, warn};

use crate::backend::pool::not_redirected;
use crate::config::Protocol;
use crate::listen::{self, Origin};
use crate::net::tcp;
use crate::stream::RequestHead;
use crate::telemetry::{Side, Violation, Wire, flood};
use crate::wire::ttheader::pingpong::{self, Request};
use crate::worker::Worker;

/// Relays one connection whose first frame is a ping-pong request.
pub(crate) async fn ping_pong(
    worker: &Worker,
    listener: &listen::Shared,
    mut socket: TcpStream,
    mut first: BytesMut,
    from: Origin,
) {
    let peer = from.peer;
    let metrics = &worker.shared.telemetry.metrics;
    let _counted = metrics.connection(Side::Inbound, Wire::TtHeader);
    let limit = listener.config.limits.handshake_timeout;
    let request = match tokio::time::timeout(limit, read_request(&mut socket, &mut first)).await {
        Ok(Ok(mut request)) => {
            request.head.destination = from.destination;
            request
        }
        Ok(Err(error)) => {
            listener.count_refused();
            if flood::admits("no ping-pong request could be read", &listener.name, "") {
                warn!(%peer, listener = %listener.name, %error, "no ping-pong request could be read");
            }
            return;
        }
        Err(_) => {
            listener.count_refused();
            metrics.violation(Side::Inbound, None, Violation::HandshakeTimeout);
            let line = "no whole ping-pong request within the handshake timeout";
            if flood::admits(line, &listener.name, "") {
                warn!(%peer, listener = %listener.name, "{line}");
            }
            return;
        }
    };
    match connect(worker, &request.head).await {
        Ok((mut backend, endpoint)) => {
            let _counted = metrics.connection(Side::Outbound, Wire::TtHeader);
            let _own = worker.shared.own.enter(&backend);
            debug!(%peer, %endpoint, method = %request.head.method, "relaying a ping-pong connection");
            let relay = async {
                backend.write_all(&first).await?;
                copy_bidirectional(&mut socket, &mut backend).await
            };
            tokio::select! {
                relayed = relay => if let Err(error) = relayed {
                    debug!(%peer, %endpoint, %error, "ping-pong connection lost");
                },
                () = worker.closing() => debug!(%peer, %endpoint, "ping-pong connection closed by the drain"),
            }
        }
        Err(text) => {
            if flood::admits("ping-pong request refused", &listener.name, "") {
                warn!(%peer, listener = %listener.name, reason = %text, "ping-pong request refused");
            }
            let _ = socket.write_all(&request.refusal(&text)).await;
            let _ = socket.shutdown().await;
        }
    }
}

/// Reads until the first request's header is there; keeps every byte in `first`.
async fn read_request(socket: &mut TcpStream, first: &mut BytesMut) -> Result<Request, String> {
    loop {
        if let Some(request) = pingpong::parse(first).map_err(|e| e.to_string())? {
            return Ok(request);
        }
        if socket.read_buf(first).await.map_err(|e| e.to_string())? == 0 {
            return Err("closed in the middle of its first request".to_owned());
        }
    }
}

async fn connect(worker: &Worker, head: &RequestHead) -> Result<(TcpStream, SocketAddr), String> {
    let route = worker.shared.routes.load().table.find(head);
    let Some(route) = route else {
        return Err(format!(
            "no route for service {:?}, method {:?}",
            head.service, head.method
        ));
    };
    let backend = &route.backend;
    if backend.config.protocol != Protocol::TtHeader {
        return Err(format!(
            "backend {} does not speak TTHeader, and ping-pong is not translated",
            backend.name
        ));
    }
    let options = tcp::TcpOptions::from(&backend.config.keepalive);
    if backend.config.dials_original_destination() {
        let address = head.destination.ok_or_else(|| not_redirected(backend))?;
        let dialed = tcp::connect(address, backend.config.connect_timeout, &options).await;
        return dialed.map(|socket| (socket, address)).map_err(|error| {
            let name = &backend.name;
            format!("backend {name} cannot be reached: {address}: {error}")
        });
    }
    let endpoint = worker
        .pool
        .pick(backend)
        .await
        .ok_or_else(|| format!("backend {} has no endpoint", backend.name))?;
    match tcp::connect(endpoint.address, backend.config.connect_timeout, &options).await {
        Ok(socket) => {
            endpoint.report_success();
            Ok((socket, endpoint.address))
        }
        Err(error) => {
            endpoint.report_failure();
            Err(format!(
                "backend {} cannot be reached: {}: {error}",
                backend.name, endpoint.address
            ))
        }
    }
}
