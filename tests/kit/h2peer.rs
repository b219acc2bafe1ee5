//! Scripted HTTP/2 peers: a callee that ends streams in ways that no gRPC library offers, and a
//! caller that resets with any number. Each has a thread and a runtime of its own.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::grpc;
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
    /// Response headers and these bytes as they are. The callee reads until the caller has sent two
    /// messages of three bytes, and ends the stream then.
    After(Bytes, Finish),
    /// The connection is closed.
    Drop,
    /// Nothing is sent. The callee observes how the caller ends the stream.
    Hold,
    /// Nothing is sent, and the body is not read either.
    Stall,
}

/// How a callee ends a stream on which it has sent something.
#[derive(Clone, Debug)]
pub(crate) enum Finish {
    Reset(u32),
    Trailers(HeaderMap),
    /// Not at all.
    Hold,
}

/// How a caller ended a stream that the callee held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    HalfClosed,
    Reset(u32),
    Lost,
}

/// A callee on a thread of its own.
pub(crate) struct H2Callee {
    pub(crate) address: String,
    heard: Receiver<Heard>,
}

/// What a callee received.
#[derive(Debug)]
pub(crate) enum Heard {
    Opened(HeaderMap),
    Ended(Ended),
}

/// The headers with these pairs.
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
    /// Starts a callee. `play` decides what to do with a stream, by its request headers.
    pub(crate) fn start(play: impl Fn(&HeaderMap) -> Play + Clone + Send + 'static) -> Self {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let (sender, heard) = channel();
        runtime(async move {
            let socket = TcpListener::from_std(socket).unwrap();
            grpc::serve(socket, move |request, respond| {
                let _ = sender.send(Heard::Opened(request.headers().clone()));
                match play(request.headers()) {
                    Play::Drop => None,
                    play => Some(perform(play, request, respond, sender.clone())),
                }
            })
            .await;
        });
        Self { address, heard }
    }

    /// The next thing that it received.
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

async fn perform(
    play: Play,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    heard: Sender<Heard>,
) {
    let kind = request.headers().get("content-type").cloned();
    let kind = kind.unwrap_or(HeaderValue::from_static("application/grpc+thrift"));
    let response = |status: u16| {
        let mut response = Response::new(());
        *response.status_mut() = status.try_into().unwrap();
        let kind = kind.clone();
        response.headers_mut().insert("content-type", kind);
        response
    };
    let ended = match play {
        Play::Only(status, more) => {
            let mut response = response(status);
            response.headers_mut().extend(more);
            let _ = respond.send_response(response, true);
            return;
        }
        Play::Reset(code) => return respond.send_reset(code.into()),
        Play::MessageReset(message, code) => {
            let mut body = respond.send_response(response(200), false).unwrap();
            body.send_data(grpc::frame(&[message]), false).unwrap();
            // When the caller has answered, it has seen the message.
            let _ = request.into_body().data().await;
            return body.send_reset(code.into());
        }
        Play::After(bytes, finish) => {
            let mut out = respond.send_response(response(200), false).unwrap();
            grpc::send(&mut out, bytes).await;
            return after(request.into_body(), out, finish).await;
        }
        Play::Drop => return,
        Play::Stall => {
            let _unread = request;
            reset(&mut respond).await
        }
        Play::Hold => {
            let mut body = request.into_body();
            loop {
                match body.data().await {
                    None => {
                        let _ = heard.send(Heard::Ended(Ended::HalfClosed));
                        break reset(&mut respond).await;
                    }
                    Some(Ok(bytes)) => {
                        let _ = body.flow_control().release_capacity(bytes.len());
                    }
                    Some(Err(error)) => match error.reason() {
                        Some(code) if error.is_reset() => break Ended::Reset(code.into()),
                        Some(_) | None => break Ended::Lost,
                    },
                }
            }
        }
    };
    let _ = heard.send(Heard::Ended(ended));
}

async fn after(mut body: RecvStream, mut out: h2::SendStream<Bytes>, finish: Finish) {
    let two = 2 * (5 + 3);
    let mut read = 0;
    while read < two || matches!(finish, Finish::Hold) {
        let Some(Ok(bytes)) = body.data().await else {
            break;
        };
        read += bytes.len();
        let _ = body.flow_control().release_capacity(bytes.len());
    }
    match finish {
        Finish::Reset(code) => out.send_reset(code.into()),
        Finish::Trailers(trailers) => drop(out.send_trailers(trailers)),
        Finish::Hold => drop(std::future::poll_fn(|cx| out.poll_reset(cx)).await),
    }
}

async fn reset(respond: &mut SendResponse<Bytes>) -> Ended {
    let reset = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
    reset.map_or(Ended::Lost, |code| Ended::Reset(code.into()))
}

/// A caller with one connection.
pub(crate) struct H2Caller {
    commands: UnboundedSender<Command>,
}

enum Command {
    Open(String, HeaderMap),
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

    /// Opens a stream. The next calls are about it.
    pub(crate) fn open(&self, path: &str, more: HeaderMap) {
        self.give(Command::Open(path.to_owned(), request(more)));
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

/// The headers of a request for a stream, and more of them.
fn request(more: HeaderMap) -> HeaderMap {
    let mut all = grpc::header_map(&grpc::request("application/grpc+thrift"));
    all.extend(more);
    all
}

async fn call(address: &str, mut wanted: UnboundedReceiver<Command>) {
    let caller = grpc::Caller::connect(address.parse().unwrap()).await;
    let mut current: Option<grpc::Call> = None;
    while let Some(command) = wanted.recv().await {
        match (command, &mut current) {
            (Command::Open(path, headers), current) => {
                *current = Some(caller.ask("ripcord", &path, headers).await);
            }
            (Command::Send(bytes), Some(call)) => call.send_raw(bytes, false).await,
            (Command::Reset(code), Some(call)) => call.reset(code),
            (Command::Send(_) | Command::Reset(_), None) => panic!("no stream is open"),
        }
        // The connection's task writes it.
        tokio::task::yield_now().await;
    }
    // The test dropped it. With the runtime the connection is lost, and all streams.
}

/// Sends a stream with one message. Returns the HTTP status and the gRPC status (-1 for none) with
/// which it ends.
pub(crate) fn told(
    address: SocketAddr,
    service: &str,
    more: &[(&'static str, &str)],
) -> (u16, i32) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let answer = runtime.block_on(async {
        let caller = grpc::Caller::connect(address).await;
        let path = format!("/{service}/Echo");
        let mut call = caller.ask("ripcord", &path, request(headers(more))).await;
        // The stream may be over already.
        let message = grpc::frame(&[Bytes::from_static(b"hello")]);
        call.send_raw(message, false).await;
        call.answer().await
    });
    let status = |headers: &HeaderMap| headers.get("grpc-status")?.to_str().ok()?.parse().ok();
    let trailers = answer.rest.and_then(|(_, trailers)| trailers);
    let status = status(&answer.headers).or_else(|| status(&trailers?));
    (answer.status, status.unwrap_or(-1))
}
