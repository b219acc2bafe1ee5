//! Scripted HTTP/2 peers: a callee that ends streams in ways that no gRPC library offers, and a
//! caller that resets with any number. Each has a thread and a runtime of its own.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::process::LIMIT;

/// How a callee's stream ends.
#[derive(Clone, Debug)]
pub(crate) enum Play {
    /// Trailers-Only, with this HTTP status.
    Only(u16, HeaderMap),
    /// RST_STREAM.
    Reset(u32),
    /// Response headers, then a whole message of these bytes, then RST_STREAM.
    MessageReset(Bytes, u32),
    /// The connection is closed.
    Drop,
    /// Nothing; it is heard how the caller ends.
    Hold,
    /// Nothing, and the body is not read either.
    Stall,
}

/// How a caller ended a stream that the callee held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    HalfClosed,
    Reset(u32),
    Lost,
}

/// A callee.
pub(crate) struct H2Callee {
    pub(crate) address: String,
    heard: Receiver<Heard>,
}

/// What a callee heard.
#[derive(Debug)]
pub(crate) enum Heard {
    Opened(HeaderMap),
    Ended(Ended),
}

/// Headers of these pairs.
pub(crate) fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        (
            HeaderName::try_from(*name).unwrap(),
            HeaderValue::try_from(*value).unwrap(),
        )
    };
    pairs.iter().map(pair).collect()
}

fn runtime(run: impl Future<Output = ()> + Send + 'static) {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(run);
    });
}

impl H2Callee {
    /// `play` says what to do with a stream, by its request headers.
    pub(crate) fn start(play: impl Fn(&HeaderMap) -> Play + Clone + Send + 'static) -> Self {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let (sender, heard) = channel();
        runtime(async move {
            let socket = TcpListener::from_std(socket).unwrap();
            while let Ok((stream, _)) = socket.accept().await {
                tokio::spawn(connection(stream, play.clone(), sender.clone()));
            }
        });
        Self { address, heard }
    }

    /// The next thing that it heard.
    pub(crate) fn heard(&self) -> Heard {
        self.heard
            .recv_timeout(LIMIT)
            .expect("the scripted callee hears nothing")
    }

    /// Waits until the next stream is there.
    pub(crate) fn opened(&self) -> HeaderMap {
        match self.heard() {
            Heard::Opened(headers) => headers,
            Heard::Ended(ended) => panic!("{ended:?} before a stream"),
        }
    }

    /// How the stream that it holds ended.
    pub(crate) fn ended(&self) -> Ended {
        match self.heard() {
            Heard::Ended(ended) => ended,
            Heard::Opened(headers) => panic!("another stream: {headers:?}"),
        }
    }
}

async fn connection(socket: TcpStream, play: impl Fn(&HeaderMap) -> Play, heard: Sender<Heard>) {
    let Ok(mut connection) = h2::server::handshake(socket).await else {
        return;
    };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let _ = heard.send(Heard::Opened(request.headers().clone()));
        let response = |status: u16| {
            let mut response = Response::new(());
            *response.status_mut() = status.try_into().unwrap();
            let kind = HeaderValue::from_static("application/grpc+thrift");
            response.headers_mut().insert("content-type", kind);
            response
        };
        match play(request.headers()) {
            Play::Only(status, more) => {
                let mut response = response(status);
                response.headers_mut().extend(more);
                let _ = respond.send_response(response, true);
            }
            Play::Reset(code) => respond.send_reset(code.into()),
            Play::MessageReset(message, code) => {
                let mut framed = vec![0];
                framed.extend((message.len() as u32).to_be_bytes());
                framed.extend(&message);
                let mut body = respond.send_response(response(200), false).unwrap();
                body.send_data(framed.into(), false).unwrap();
                tokio::spawn(async move {
                    // When the caller has answered, it has seen the message.
                    let _ = request.into_body().data().await;
                    body.send_reset(code.into());
                });
            }
            Play::Drop => return,
            Play::Stall => {
                let heard = heard.clone();
                tokio::spawn(async move {
                    let _unread = request;
                    let reset = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
                    let ended = reset.map_or(Ended::Lost, |code| Ended::Reset(code.into()));
                    let _ = heard.send(Heard::Ended(ended));
                });
            }
            Play::Hold => {
                let heard = heard.clone();
                tokio::spawn(async move {
                    let mut body = request.into_body();
                    let ended = loop {
                        match body.data().await {
                            None => {
                                let _ = heard.send(Heard::Ended(Ended::HalfClosed));
                                let reset = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
                                break reset.map_or(Ended::Lost, |code| Ended::Reset(code.into()));
                            }
                            Some(Ok(bytes)) => {
                                let _ = body.flow_control().release_capacity(bytes.len());
                            }
                            Some(Err(error)) => {
                                break match error.reason() {
                                    Some(code) if error.is_reset() => Ended::Reset(code.into()),
                                    Some(_) | None => Ended::Lost,
                                };
                            }
                        }
                    };
                    let _ = heard.send(Heard::Ended(ended));
                });
            }
        }
    }
}

/// A caller with one connection.
pub(crate) struct H2Caller {
    commands: UnboundedSender<Command>,
}

enum Command {
    Open(Request<()>),
    Send(Bytes),
    Reset(u32),
}

impl H2Caller {
    pub(crate) fn connect(address: &str) -> Self {
        let (commands, wanted) = unbounded_channel();
        let address = address.to_owned();
        runtime(async move { call(&address, wanted).await });
        Self { commands }
    }

    /// Opens a stream; the next calls are about it.
    pub(crate) fn open(&self, path: &str, more: HeaderMap) {
        let mut request = Request::new(());
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = format!("http://ripcord{path}").parse().unwrap();
        *request.headers_mut() = headers(&[
            ("te", "trailers"),
            ("content-type", "application/grpc+thrift"),
        ]);
        request.headers_mut().extend(more);
        self.give(Command::Open(request));
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&self, bytes: Bytes) {
        self.give(Command::Send(bytes));
    }

    pub(crate) fn reset(&self, code: u32) {
        self.give(Command::Reset(code));
    }

    fn give(&self, command: Command) {
        assert!(
            self.commands.send(command).is_ok(),
            "the scripted caller is gone"
        );
    }
}

async fn call(address: &str, mut wanted: UnboundedReceiver<Command>) {
    let socket = TcpStream::connect(address).await.unwrap();
    let (mut requests, connection) = h2::client::handshake(socket).await.unwrap();
    let driver = tokio::spawn(connection);
    let mut current = None;
    while let Some(command) = wanted.recv().await {
        match (command, &mut current) {
            (Command::Open(request), current) => {
                requests = requests.ready().await.unwrap();
                let opened = requests.send_request(request, false).unwrap();
                *current = Some(opened);
            }
            (Command::Send(bytes), Some((_, body))) => body.send_data(bytes, false).unwrap(),
            (Command::Reset(code), Some((_, body))) => body.send_reset(code.into()),
            (Command::Send(_) | Command::Reset(_), None) => panic!("no stream is open"),
        }
        // The connection's task writes it.
        tokio::time::sleep(Duration::ZERO).await;
    }
    // Dropped by the test: the connection is lost, streams and all.
    driver.abort();
}
