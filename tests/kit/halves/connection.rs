//! A connection of a peer that is made of the crate's own halves, on either wire, with limits that
//! no test reaches. In the kit, only this file serves and dials through the crate.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ripcord::net::budget::Budget;
use ripcord::net::http2::{self, ConnectionEnd, Http2Config};
use ripcord::stream::{End, Inbound, Metadata, Outbound, Payload, Received, RequestHead};
use ripcord::wire::{grpc, ttheader};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::spawn_local;

use super::Wire::{self, Grpc, TtHeader};

/// Longer than any test.
const NEVER: Duration = Duration::from_secs(3600);

/// Bytes that a connection may receive unread.
const CONNECTION_WINDOW: u32 = 256 << 20;

/// How peers differ.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Bytes that a stream may receive unread.
    pub(crate) stream_window: u32,
    /// Whether fields of ripcord beside the native end are read and written.
    pub(crate) carried: bool,
    /// Whether an HTTP/2 connection takes any number of streams and of resets.
    pub(crate) many: bool,
}

impl Settings {
    fn http2(self) -> Http2Config {
        let config = Http2Config {
            stream_window: self.stream_window,
            connection_window: CONNECTION_WINDOW,
            ..Http2Config::default()
        };
        if !self.many {
            return config;
        }
        Http2Config {
            max_streams: 1 << 20,
            pending_resets: 1 << 20,
            ..config
        }
    }

    fn grpc(self) -> Rc<grpc::StreamConfig> {
        Rc::new(grpc::StreamConfig {
            node: Rc::from("peer"),
            max_message: 4 << 20,
            max_metadata: 16 << 10,
            max_head: 8 * 1024 - 256,
            stream_window: self.stream_window,
            connection_window: CONNECTION_WINDOW,
            slow_receiver_timeout: NEVER,
            budget: Budget::new(usize::MAX),
            slow_streams: Arc::default(),
            carried: self.carried,
            to_ripcord: false,
        })
    }

    fn ttheader(self) -> Rc<ttheader::ConnConfig> {
        let budget = Budget::new(usize::MAX);
        let mut config = ttheader::ConnConfig::new("peer", budget, ttheader::Counters::new());
        (config.slow_receiver_timeout, config.lone_grace) = (NEVER, NEVER);
        config.connection_budget = usize::MAX;
        config.max_streams = usize::MAX;
        config.carried = self.carried;
        Rc::new(config)
    }
}

/// What a callee does with each stream.
pub(crate) trait Serve: Clone + Unpin + 'static {
    async fn stream(self, head: RequestHead, stream: impl Inbound);
}

/// Serves a connection to its end, each stream as a task.
pub(crate) async fn serve<IO>(wire: Wire, socket: IO, settings: Settings, serve: impl Serve)
where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
{
    match wire {
        Grpc => {
            let connection = grpc::server::Connection::new(settings.grpc());
            let control = connection.control();
            let on_request = move |request, respond| {
                if let Some((head, stream)) = connection.accept(request, respond) {
                    spawn_local(serve.clone().stream(*head, *stream));
                }
            };
            http2::serve(socket, &settings.http2(), control, on_request).await;
        }
        TtHeader => {
            let on_stream = move |head: Box<RequestHead>, stream| {
                spawn_local(serve.clone().stream(*head, stream));
            };
            let handle = ttheader::server::ServerHandle::new();
            ttheader::server::serve(socket, settings.ttheader(), handle, on_stream).await;
        }
    }
}

/// A caller's connection.
#[derive(Clone)]
pub(crate) enum Client {
    Grpc(grpc::client::Client),
    TtHeader(Rc<ttheader::client::Client>),
}

/// What a caller does with its stream.
pub(crate) trait Call {
    type Output;
    async fn stream(self, stream: impl Outbound) -> Self::Output;
}

impl Client {
    /// Opens a connection on that socket, until `dropped` is ready. `broken` receives the error of
    /// an HTTP/2 connection that ended with one.
    pub(crate) async fn connect<IO>(
        wire: Wire,
        socket: IO,
        settings: Settings,
        dropped: impl Future<Output = ()> + 'static,
        broken: impl FnOnce() + 'static,
    ) -> Self
    where
        IO: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        match wire {
            Grpc => {
                let http2 = settings.http2();
                let connecting = grpc::client::Client::connect(socket, &http2, settings.grpc());
                let (client, driver) = connecting.await.unwrap();
                spawn_local(async move {
                    tokio::select! {
                        biased;
                        () = dropped => {}
                        end = driver => if end != ConnectionEnd::Closed { broken() },
                    }
                });
                Self::Grpc(client)
            }
            TtHeader => {
                let (client, driver) = ttheader::client::Client::new(socket, settings.ttheader());
                spawn_local(async move {
                    tokio::select! { biased; () = dropped => {}, () = driver => {} }
                });
                Self::TtHeader(Rc::new(client))
            }
        }
    }

    /// Opens a stream.
    pub(crate) async fn open<C: Call>(&self, head: &RequestHead, call: C) -> C::Output {
        match self {
            Self::Grpc(client) => call.stream(client.open(head).await.unwrap()).await,
            Self::TtHeader(client) => call.stream(client.open(head).unwrap()).await,
        }
    }
}

/// The head of a caller's stream.
pub(crate) fn head(service: &str, method: &str) -> RequestHead {
    RequestHead {
        service: service.to_owned(),
        method: method.to_owned(),
        payload: Payload::Thrift,
        to: Some("callee".to_owned()),
        ..RequestHead::default()
    }
}

/// A callee's stream: sends back what comes, and ends with the caller. Returns the end if it was
/// ended before.
pub(crate) async fn echo(stream: &mut impl Inbound) -> Option<End> {
    loop {
        match poll_fn(|cx| stream.poll_recv(cx)).await {
            Received::Messages(mut run) => {
                stream.release(run.len());
                poll_fn(|cx| stream.poll_send(cx, &mut run)).await;
            }
            Received::HalfClose => {
                stream.finish(&End::complete(Metadata::new()), "peer");
                return None;
            }
            Received::End(end) => return Some(end),
            Received::Head(_) => {}
        }
    }
}

/// A socket that listens on any port.
pub(crate) fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}
