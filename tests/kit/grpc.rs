//! Raw gRPC peers: the `h2` crate with its header maps. Framing and percent-encoding are by hand.
//!
//! [`callee`] and [`Caller`] serve and open many streams at a time. [`super::h2peer`] has peers for
//! a test that plays one stream step by step.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::scripts::{Fields, Pairs, Scripts, fields, soon};

/// How a callee ends a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Trailers(Pairs),
    Reset(u32),
}

/// The code of a stream that may be opened again: ripcord does so once.
const REFUSED_STREAM: u32 = 7;

/// What a callee does with a stream.
#[derive(Clone, Debug)]
pub(crate) enum Script {
    /// Reads the whole request, then answers. Without headers and messages, the answer is one
    /// block.
    Answer(Option<Pairs>, Vec<Bytes>, End),
    /// Waits until the caller cancels; sends headers before, if there are some.
    Hold(Option<Pairs>, Arc<Mutex<Option<oneshot::Sender<()>>>>),
}

/// What a callee received.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) authority: String,
    pub(crate) headers: HeaderMap,
    pub(crate) messages: Vec<Bytes>,
    /// The caller's RST_STREAM.
    pub(crate) reset: Option<u32>,
}

/// What a caller received.
#[derive(Debug)]
pub(crate) struct Answered {
    /// `None` when head and end were one block.
    pub(crate) headers: Option<HeaderMap>,
    pub(crate) messages: Vec<Bytes>,
    /// The trailers, without `content-type` when they are the head as well.
    pub(crate) trailers: HeaderMap,
}

pub(crate) fn header_map(pairs: &Pairs) -> HeaderMap {
    let mut out = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name).unwrap();
        out.append(name, HeaderValue::from_bytes(value).unwrap());
    }
    out
}

/// The first headers of a request for a stream. `kind` is its content type.
pub(crate) fn request(kind: &str) -> Pairs {
    let pair = |name: &str, value: &str| (name.into(), value.into());
    vec![pair("te", "trailers"), pair("content-type", kind)]
}

/// The fields of a header map, with `-bin` values decoded and comma-joined lists split. An
/// implementation may pad them or not, join them or not.
pub(crate) fn said(headers: &HeaderMap) -> Fields {
    let pairs = headers
        .iter()
        .map(|(n, v)| (n.as_str().as_bytes(), v.as_bytes()));
    let mut out = fields(pairs);
    for (name, values) in &mut out {
        if name.ends_with(b"-bin") {
            *values = values
                .iter()
                .flat_map(|v| v.split(|b| *b == b','))
                .map(|v| unbase64(v).into())
                .collect();
        }
    }
    out
}

/// Base64 by hand, padded or not.
pub(crate) fn unbase64(text: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut out, mut bits, mut have) = (Vec::new(), 0u32, 0);
    for byte in text.trim_ascii().iter().filter(|b| **b != b'=') {
        let six = ALPHABET.iter().position(|b| b == byte).expect("base64");
        bits = (bits << 6) | six as u32;
        have += 6;
        if have >= 8 {
            have -= 8;
            out.push((bits >> have) as u8);
        }
    }
    out
}

/// Encodes a `grpc-message` by hand.
pub(crate) fn percent(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for byte in text.bytes() {
        match byte {
            b'!'..=b'~' if byte != b'%' => out.push(byte),
            _ => out.extend(format!("%{byte:02X}").bytes()),
        }
    }
    out
}

/// Decodes a `grpc-message` by hand. What is no escape stays as it is (PROTOCOL-HTTP2.md: a reader
/// must not fail on it).
pub(crate) fn unpercent(raw: &[u8]) -> String {
    let (mut out, mut at) = (Vec::new(), 0);
    while at < raw.len() {
        let escaped = raw[at..].get(1..3).filter(|_| raw[at] == b'%');
        let byte = escaped
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(byte.unwrap_or(raw[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Messages, each with its prefix.
pub(crate) fn frame(messages: &[Bytes]) -> Bytes {
    let mut out = BytesMut::new();
    for message in messages {
        out.put_u8(0);
        out.put_u32(message.len() as u32);
        out.put_slice(message);
    }
    out.freeze()
}

fn unframe(mut body: Bytes) -> Vec<Bytes> {
    let mut out = Vec::new();
    while !body.is_empty() {
        assert_eq!(body[0], 0, "nobody compressed anything");
        let len = u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize;
        let _ = body.split_to(5);
        out.push(body.split_to(len));
    }
    out
}

/// The whole body.
async fn read(body: &mut RecvStream) -> Result<Bytes, h2::Error> {
    let mut all = BytesMut::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        let _ = body.flow_control().release_capacity(piece.len());
        all.extend_from_slice(&piece);
    }
    Ok(all.freeze())
}

/// A callee. It listens and serves until its runtime ends.
pub(crate) async fn callee(scripts: Scripts<Script, Asked>) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(serve(socket, move |request, respond| {
        let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
        let (script, tell) = scripts
            .take(&method)
            .unwrap_or_else(|| panic!("nobody waits for {method}"));
        if let Script::Answer(_, _, End::Reset(REFUSED_STREAM)) = &script {
            scripts.again(&method, script.clone());
        }
        Some(play(request, respond, script, tell))
    }));
    address
}

/// Serves connections. Each stream is a task, which `stream` makes. When it makes none, the
/// connection is closed.
pub(crate) async fn serve<F, T>(socket: TcpListener, stream: F)
where
    F: FnMut(Request<RecvStream>, SendResponse<Bytes>) -> Option<T> + Clone + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    while let Ok((socket, _)) = socket.accept().await {
        let mut stream = stream.clone();
        tokio::spawn(async move {
            let _ = socket.set_nodelay(true);
            let mut builder = h2::server::Builder::new();
            builder.max_concurrent_streams(100_000);
            let Ok(mut connection) = builder.handshake::<_, Bytes>(socket).await else {
                return;
            };
            while let Some(Ok((request, respond))) = connection.accept().await {
                let Some(task) = stream(request, respond) else {
                    return;
                };
                tokio::spawn(task);
            }
        });
    }
}

async fn play(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    script: Script,
    tell: oneshot::Sender<Asked>,
) {
    let (parts, mut body) = request.into_parts();
    let mut asked = Asked {
        path: parts.uri.path().to_owned(),
        authority: parts.uri.authority().unwrap().to_string(),
        messages: Vec::new(),
        reset: None,
        headers: parts.headers,
    };
    let kind = asked.headers["content-type"].clone();
    let response = |headers: &Pairs| {
        let mut response = Response::new(());
        *response.headers_mut() = header_map(headers);
        response.headers_mut().insert("content-type", kind);
        response
    };
    match script {
        Script::Answer(headers, messages, end) => {
            // A caller that gave up, since another stream of its batch failed, reports that itself.
            let Ok(request) = soon("the request", read(&mut body)).await else {
                return;
            };
            asked.messages = unframe(request);
            if headers.is_none()
                && messages.is_empty()
                && let End::Trailers(trailers) = &end
            {
                let _ = respond.send_response(response(trailers), true);
            } else {
                let headers = response(&headers.unwrap_or_default());
                if let Ok(mut out) = respond.send_response(headers, false) {
                    finish(&mut out, &messages, end).await;
                }
            }
        }
        Script::Hold(headers, opened) => {
            let out = headers.and_then(|headers| {
                let sent = respond.send_response(response(&headers), false);
                sent.ok()
            });
            let _ = opened.lock().unwrap().take().unwrap().send(());
            let reset = match soon("the reset", read(&mut body)).await {
                Err(error) => error.reason(),
                Ok(_) => match out {
                    Some(mut out) => {
                        let reset = std::future::poll_fn(|cx| out.poll_reset(cx));
                        soon("the reset", reset).await.ok()
                    }
                    None => {
                        let reset = std::future::poll_fn(|cx| respond.poll_reset(cx));
                        soon("the reset", reset).await.ok()
                    }
                },
            };
            asked.reset = reset.map(u32::from);
        }
    }
    let _ = tell.send(asked);
}

async fn finish(out: &mut SendStream<Bytes>, messages: &[Bytes], end: End) {
    send(out, frame(messages)).await;
    match end {
        End::Trailers(trailers) => {
            let _ = out.send_trailers(header_map(&trailers));
        }
        End::Reset(code) => out.send_reset(code.into()),
    }
}

/// Sends messages when there is room for them: a reset would drop what is queued.
pub(super) async fn send(out: &mut SendStream<Bytes>, mut bytes: Bytes) {
    while !bytes.is_empty() {
        out.reserve_capacity(bytes.len());
        let room = soon("room", std::future::poll_fn(|cx| out.poll_capacity(cx))).await;
        let Some(Ok(room)) = room else { return };
        let piece = bytes.split_to(room.min(bytes.len()));
        if out.send_data(piece, false).is_err() {
            return;
        }
    }
}

/// A caller with one connection.
#[derive(Clone)]
pub(crate) struct Caller(SendRequest<Bytes>);

/// A stream that a caller opened.
pub(crate) struct Call {
    response: h2::client::ResponseFuture,
    out: SendStream<Bytes>,
}

impl Caller {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let (requests, connection) = h2::client::handshake(socket).await.unwrap();
        tokio::spawn(connection);
        Self(requests)
    }

    pub(crate) async fn open(&self, authority: &str, path: &str, headers: &Pairs) -> Call {
        self.ask(authority, path, header_map(headers)).await
    }

    pub(crate) async fn ask(&self, authority: &str, path: &str, headers: HeaderMap) -> Call {
        let mut request = Request::new(());
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = format!("http://{authority}{path}").parse().unwrap();
        *request.headers_mut() = headers;
        let mut requests = soon("a stream", self.0.clone().ready()).await.unwrap();
        let (response, out) = requests.send_request(request, false).unwrap();
        Call { response, out }
    }
}

/// A whole answer, as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// What came after the headers: a body and trailers, if there were some.
    pub(crate) rest: Option<(Bytes, Option<HeaderMap>)>,
}

impl Call {
    pub(crate) async fn send(&mut self, messages: &[Bytes], half_close: bool) {
        self.send_raw(frame(messages), half_close).await;
    }

    /// Sends bytes that have their framing already.
    pub(crate) async fn send_raw(&mut self, bytes: Bytes, half_close: bool) {
        send(&mut self.out, bytes).await;
        if half_close {
            self.out.send_data(Bytes::new(), true).unwrap();
        }
    }

    pub(crate) fn reset(&mut self, code: u32) {
        self.out.send_reset(code.into());
    }

    /// Waits for the response headers. The body comes with them.
    pub(crate) async fn begun(&mut self) -> Result<RecvStream, h2::Error> {
        let response = soon("the response", &mut self.response).await?;
        Ok(response.into_body())
    }

    /// Receives everything until the end.
    pub(crate) async fn answer(self) -> Answer {
        let response = soon("the response", self.response).await.unwrap();
        let (parts, mut body) = response.into_parts();
        let rest = if body.is_end_stream() {
            None
        } else {
            let bytes = soon("the messages", read(&mut body)).await.unwrap();
            let trailers = soon("the trailers", body.trailers()).await.unwrap();
            Some((bytes, trailers))
        };
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            rest,
        }
    }

    /// The same from a gRPC callee.
    pub(crate) async fn hear(self) -> Answered {
        let mut answer = self.answer().await;
        assert_eq!(answer.status, 200);
        match answer.rest {
            None => {
                answer.headers.remove("content-type");
                Answered {
                    headers: None,
                    messages: Vec::new(),
                    trailers: answer.headers,
                }
            }
            Some((body, trailers)) => Answered {
                headers: Some(answer.headers),
                messages: unframe(body),
                trailers: trailers.expect("trailers"),
            },
        }
    }
}
