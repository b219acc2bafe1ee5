//! What a gRPC caller is told, read from the wire with the `h2` crate.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request};

use super::h2raw::message;
use super::process::LIMIT;

/// A stream with one message: the HTTP status and the gRPC status (-1 for none) that it ends with.
pub(crate) fn told(
    address: SocketAddr,
    service: &str,
    more: &[(&'static str, &str)],
) -> (u16, i32) {
    let mut request = Request::post(format!("http://ripcord/{service}/Echo"))
        .header("te", "trailers")
        .header("content-type", "application/grpc+thrift")
        .body(())
        .unwrap();
    for (name, value) in more {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let answer = async {
        let socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let (requests, connection) = h2::client::handshake(socket).await.unwrap();
        let driver = tokio::spawn(connection);
        let mut requests = requests.ready().await.unwrap();
        let (response, mut body) = requests.send_request(request, false).unwrap();
        // The stream may be over already.
        let _ = body.send_data(Bytes::from(message(b"hello")), false);
        let (head, mut body) = response.await.unwrap().into_parts();
        while let Some(data) = body.data().await {
            let _ = body.flow_control().release_capacity(data.unwrap().len());
        }
        let trailers = body.trailers().await.unwrap().unwrap_or_default();
        let status = |headers: &HeaderMap| headers.get("grpc-status")?.to_str().ok()?.parse().ok();
        let status = status(&head.headers).or_else(|| status(&trailers));
        driver.abort();
        (head.status.as_u16(), status.unwrap_or(-1))
    };
    runtime
        .block_on(async { tokio::time::timeout(LIMIT, answer).await })
        .expect("an answer")
}
