//! The server. Every method of `storm.Storm` sends its response headers at once, echoes each
//! message, and prints how the stream ended. The stream's name is its metadata `x-id`.
//!
//! With `--hold` it reads no message before stdin says `{"cmd":"read"}`.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use serde_json::json;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::sync::watch;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::codegen::{Body, Service, StdError};
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Request, Response, Status, Streaming};

use crate::codec::Raw;
use crate::lines::{emit, now_us, stdin};

/// Serves until stdin ends.
pub(crate) async fn run(hold: bool) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let (release, released) = watch::channel(!hold);
    let storm = Storm {
        released: Arc::new(released),
    };
    let serve = tonic::transport::Server::builder()
        .add_service(storm)
        .serve_with_incoming(TcpListenerStream::new(listener));
    emit(&json!({ "event": "listening", "addr": address }));
    let mut lines = stdin();
    let commands = async {
        while let Some(line) = lines.recv().await {
            if line["cmd"] == "read" {
                release.send_replace(true);
            }
        }
    };
    tokio::select! {
        () = commands => {}
        served = serve => served.expect("serving"),
    }
}

#[derive(Clone)]
struct Storm {
    released: Arc<watch::Receiver<bool>>,
}

impl NamedService for Storm {
    const NAME: &'static str = "storm.Storm";
}

type Answer =
    Pin<Box<dyn Future<Output = Result<http::Response<tonic::body::Body>, Infallible>> + Send>>;

impl<B> Service<http::Request<B>> for Storm
where
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Answer {
        let storm = self.clone();
        Box::pin(async move { Ok(Grpc::new(Raw).streaming(storm, request).await) })
    }
}

impl StreamingService<Bytes> for Storm {
    type Response = Bytes;
    type ResponseStream = ReceiverStream<Result<Bytes, Status>>;
    type Future =
        Pin<Box<dyn Future<Output = Result<Response<Self::ResponseStream>, Status>> + Send>>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let released = (*self.released).clone();
        Box::pin(async move { Ok(Response::new(ReceiverStream::new(echo(request, released)))) })
    }
}

fn echo(
    request: Request<Streaming<Bytes>>,
    mut released: watch::Receiver<bool>,
) -> Receiver<Result<Bytes, Status>> {
    let id = request
        .metadata()
        .get("x-id")
        .and_then(|id| id.to_str().ok());
    let id = id.unwrap_or_default().to_owned();
    let (answers, stream) = channel(16);
    tokio::spawn(async move {
        let mut messages = request.into_inner();
        let mut received = 0;
        let held = released.wait_for(|released| *released);
        tokio::select! {
            _ = held => {}
            () = answers.closed() => {}
        }
        let err = loop {
            let message = tokio::select! {
                message = messages.message() => message,
                () = answers.closed() => break "canceled".to_owned(),
            };
            match message {
                Ok(Some(message)) => {
                    received += 1;
                    if answers.send(Ok(message)).await.is_err() {
                        break "canceled".to_owned();
                    }
                }
                Ok(None) => break "EOF".to_owned(),
                Err(status) => break status.to_string(),
            }
        };
        emit(
            &json!({ "event": "server_end", "id": id, "at_us": now_us(), "recv": received, "err": err }),
        );
    });
    stream
}
