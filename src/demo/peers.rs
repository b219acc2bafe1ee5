//! The demo's own callers and callees: the halves of the proxy in the opposite roles.

use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::spawn_local;

use crate::demo::model_end;
use crate::net::budget::Budget;
use crate::net::http2::{self, Http2Config};
use crate::stream::{
    Cancel, End, Inbound, MessageBatch, Metadata, Outbound, Received, RequestHead, ResponseHead,
};
use crate::wire::{grpc, ttheader};

const BUDGET: usize = 16 << 20;

fn grpc_config(node: &str) -> Rc<grpc::StreamConfig> {
    Rc::new(grpc::StreamConfig {
        node: Rc::from(node),
        max_message: 1 << 20,
        max_metadata: 16 * 1024,
        max_head: 8 * 1024 - 256,
        stream_window: 256 << 10,
        connection_window: 16 << 20,
        slow_receiver_timeout: Duration::from_secs(1),
        budget: Budget::new(BUDGET),
        slow_streams: Arc::default(),
        to_ripcord: false,
        carried: true,
    })
}

fn ttheader_config(node: &str) -> Rc<ttheader::ConnConfig> {
    Rc::new(ttheader::ConnConfig::new(
        node,
        Budget::new(BUDGET),
        ttheader::Counters::new(),
    ))
}

/// An end, and when a peer received it.
pub(super) struct Seen {
    pub(super) at: Instant,
    pub(super) end: End,
}

/// A server with three methods. `Echo` echoes, `Wait` answers once and waits for a cancel, `LetGo`
/// cancels.
pub(super) struct Callee {
    pub(super) address: SocketAddr,
    heard: mpsc::UnboundedReceiver<Seen>,
}

impl Callee {
    /// A callee that speaks gRPC.
    pub(super) async fn grpc() -> anyhow::Result<Self> {
        Self::listen(|socket, heard| async move {
            let connection = grpc::server::Connection::new(grpc_config("model"));
            let control = connection.control();
            let on_request = move |request, respond| {
                if let Some((head, stream)) = connection.accept(request, respond) {
                    spawn_local(handle(head, *stream, heard.clone()));
                }
            };
            http2::serve(socket, &Http2Config::default(), control, on_request).await;
        })
        .await
    }

    /// A callee that speaks TTHeader.
    pub(super) async fn ttheader() -> anyhow::Result<Self> {
        Self::listen(|socket, heard| async move {
            let on_stream = move |head, stream| {
                spawn_local(handle(head, stream, heard.clone()));
            };
            let handle = ttheader::server::ServerHandle::new();
            ttheader::server::serve(socket, ttheader_config("model"), handle, on_stream).await;
        })
        .await
    }

    async fn listen<F>(
        serve: impl Fn(TcpStream, mpsc::UnboundedSender<Seen>) -> F + 'static,
    ) -> anyhow::Result<Self>
    where
        F: Future<Output = ()> + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (hear, heard) = mpsc::unbounded_channel();
        spawn_local(async move {
            while let Ok((socket, _)) = listener.accept().await {
                // As Kitex and every gRPC library do.
                let _ = socket.set_nodelay(true);
                spawn_local(serve(socket, hear.clone()));
            }
        });
        Ok(Self { address, heard })
    }

    /// The next end that a waiting handler received.
    pub(super) async fn heard(&mut self) -> anyhow::Result<Seen> {
        self.heard.recv().await.context("the callee is gone")
    }
}

async fn handle<I: Inbound>(
    head: Box<RequestHead>,
    mut stream: I,
    heard: mpsc::UnboundedSender<Seen>,
) {
    stream.send_head(ResponseHead {
        explicit: true,
        ..ResponseHead::default()
    });
    if head.method == "Wait" {
        send(&mut stream, &["working"]).await;
    }
    loop {
        match poll_fn(|cx| stream.poll_recv(cx)).await {
            Received::Messages(mut run) if head.method == "Echo" => {
                stream.release(run.len());
                poll_fn(|cx| stream.poll_send(cx, &mut run)).await;
            }
            Received::Messages(_) if head.method == "LetGo" => {
                stream.finish(&model_end(), "model");
                return;
            }
            Received::HalfClose if head.method == "Echo" => {
                stream.finish(&End::complete(Metadata::new()), "model");
                return;
            }
            Received::End(end) => {
                let _ = heard.send(Seen {
                    at: Instant::now(),
                    end,
                });
                return;
            }
            Received::Messages(run) => stream.release(run.len()),
            Received::Head(_) | Received::HalfClose => {}
        }
    }
}

async fn send(half: &mut impl crate::stream::Half, texts: &[&'static str]) {
    let mut run = MessageBatch::new();
    for text in texts {
        run.push_message(false, Bytes::from_static(text.as_bytes()));
    }
    poll_fn(|cx| half.poll_send(cx, &mut run)).await;
}

async fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// A caller's stream, on either wire.
pub(super) enum Call {
    Grpc(Box<grpc::client::ClientStream>),
    TtHeader(Box<ttheader::client::ClientStream>),
}

impl Call {
    /// Opens a stream on gRPC.
    pub(super) async fn grpc(address: SocketAddr, head: &RequestHead) -> anyhow::Result<Self> {
        let socket = connect(address).await?;
        let (client, driver) =
            grpc::client::Client::connect(socket, &Http2Config::default(), grpc_config("page"))
                .await?;
        spawn_local(driver);
        Ok(Self::Grpc(Box::new(client.open(head).await?)))
    }

    /// Opens a stream on TTHeader.
    pub(super) async fn ttheader(address: SocketAddr, head: &RequestHead) -> anyhow::Result<Self> {
        let socket = connect(address).await?;
        let (client, driver) = ttheader::client::Client::new(socket, ttheader_config("chat"));
        spawn_local(driver);
        Ok(Self::TtHeader(Box::new(client.open(head)?)))
    }

    /// Sends everything, half-closes, and returns what came back.
    pub(super) async fn exchange(
        self,
        texts: &[&'static str],
    ) -> anyhow::Result<(Vec<String>, End)> {
        match self {
            Self::Grpc(mut stream) => exchange(&mut *stream, texts).await,
            Self::TtHeader(mut stream) => exchange(&mut *stream, texts).await,
        }
    }

    /// Waits for the first message.
    pub(super) async fn first_message(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Grpc(stream) => first_message(&mut **stream).await,
            Self::TtHeader(stream) => first_message(&mut **stream).await,
        }
    }

    /// Sends a message and waits for the end.
    pub(super) async fn end(&mut self) -> anyhow::Result<End> {
        match self {
            Self::Grpc(stream) => end(&mut **stream).await,
            Self::TtHeader(stream) => end(&mut **stream).await,
        }
    }

    /// Cancels the stream.
    pub(super) fn cancel(&mut self, cancel: &Cancel) {
        match self {
            Self::Grpc(stream) => stream.cancel(cancel),
            Self::TtHeader(stream) => stream.cancel(cancel),
        }
    }
}

async fn exchange(
    stream: &mut impl Outbound,
    texts: &[&'static str],
) -> anyhow::Result<(Vec<String>, End)> {
    send(stream, texts).await;
    stream.half_close();
    let mut got = Vec::new();
    loop {
        match poll_fn(|cx| stream.poll_recv(cx)).await {
            Received::Messages(mut run) => {
                stream.release(run.len());
                let mut text = Vec::new();
                while run
                    .pop_message(|piece| text.extend_from_slice(&piece))
                    .is_some()
                {
                    got.push(String::from_utf8(std::mem::take(&mut text))?);
                }
            }
            Received::End(end) => return Ok((got, end)),
            Received::Head(_) | Received::HalfClose => {}
        }
    }
}

async fn first_message(stream: &mut impl Outbound) -> anyhow::Result<()> {
    send(stream, &["work"]).await;
    loop {
        match poll_fn(|cx| stream.poll_recv(cx)).await {
            Received::Messages(_) => return Ok(()),
            Received::End(end) => bail!("ended before its first message: {:?}", end.reason),
            Received::Head(_) | Received::HalfClose => {}
        }
    }
}

async fn end(stream: &mut impl Outbound) -> anyhow::Result<End> {
    send(stream, &["work"]).await;
    loop {
        if let Received::End(end) = poll_fn(|cx| stream.poll_recv(cx)).await {
            return Ok(end);
        }
    }
}
