//! The callers of a storm: raw peers, one connection each.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;
use ripcord::wire::ttheader::frame::Kind as Frame;
use ripcord::wire::ttheader::header::PROTOCOL_THRIFT_STRUCT;
use serde_json::json;

use super::super::golden::base64;
use super::callee::Kind;
use crate::kit::Wire;
use crate::kit::frames::{exception, message};
use crate::kit::grpc;
use crate::kit::scripts::soon;
use crate::kit::streams;

/// Microseconds since 1970, as the callees print them.
pub(super) fn now_us() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(now.unwrap().as_micros()).unwrap()
}

/// A connection.
#[derive(Clone)]
pub(super) struct Caller {
    connection: Connection,
    kind: Kind,
}

#[derive(Clone)]
enum Connection {
    Grpc(grpc::Caller),
    TtHeader(streams::Connection),
}

/// A stream whose callee has answered.
pub(super) enum Stream {
    Grpc(grpc::Call, RecvStream),
    TtHeader(streams::Stream),
}

impl Caller {
    pub(super) async fn connect(wire: Wire, address: SocketAddr, kind: Kind) -> Self {
        let connection = match wire {
            Wire::Grpc => Connection::Grpc(grpc::Caller::connect(address).await),
            Wire::TtHeader => Connection::TtHeader(streams::Connection::connect(address).await),
        };
        Self { connection, kind }
    }

    /// Opens a stream and waits for its callee's head; `None` when it ended in place of that.
    pub(super) async fn open(&self, id: &str) -> Option<Stream> {
        let ops = [json!({ "op": "send_header" }), json!({ "op": "echo" })];
        let script = base64(&json!({ "id": id, "ops": ops }).to_string());
        let method = self.kind.method();
        match &self.connection {
            Connection::Grpc(caller) => {
                let mut headers = grpc::header_map(&grpc::request("application/grpc+thrift"));
                add(&mut headers, "x-id", id);
                add(&mut headers, "rpc-transit-script", &script);
                let path = format!("/{}/{method}", self.kind.service());
                let mut call = caller.ask("ripcord", &path, headers).await;
                let body = call.begun().await.ok()?;
                // A Trailers-Only answer is an end.
                (!body.is_end_stream()).then_some(Stream::Grpc(call, body))
            }
            Connection::TtHeader(connection) => {
                let mut stream = connection.stream(method, PROTOCOL_THRIFT_STRUCT);
                let strings = [
                    ("isn", self.kind.service()),
                    ("x-id", id),
                    ("RPC_TRANSIT_SCRIPT", &script),
                ];
                let strings = strings.map(|(key, value)| (key.into(), value.into()));
                stream.send(Frame::Header, &[], &strings.to_vec(), Bytes::new());
                let frame = stream.next().await?;
                (frame.kind == Frame::Header).then_some(Stream::TtHeader(stream))
            }
        }
    }
}

fn add(headers: &mut HeaderMap, name: &'static str, value: &str) {
    headers.insert(name, value.parse().unwrap());
}

impl Stream {
    /// Whether a message comes back.
    pub(super) async fn echo(&mut self) -> bool {
        let said = message(b"still here");
        match self {
            Self::Grpc(call, body) => {
                let said = grpc::frame(&[said]);
                call.send_raw(said.clone(), false).await;
                let mut heard = 0;
                while heard < said.len() {
                    let Some(Ok(bytes)) = soon("the echo", body.data()).await else {
                        return false;
                    };
                    heard += bytes.len();
                    let _ = body.flow_control().release_capacity(bytes.len());
                }
                true
            }
            Self::TtHeader(stream) => {
                stream.data(&[said]);
                let frame = stream.next().await;
                frame.is_some_and(|frame| frame.kind == Frame::Data)
            }
        }
    }

    /// Sends a small message, and does not wait.
    pub(super) async fn say(&mut self) {
        let said = message(b"tick");
        match self {
            Self::Grpc(call, _) => call.send_raw(grpc::frame(&[said]), false).await,
            Self::TtHeader(stream) => stream.data(&[said]),
        }
    }

    /// How many answers to `say` come, up to that many. Fewer come when the stream has ended.
    pub(super) async fn answers(&mut self, count: usize) -> usize {
        let size = 5 + message(b"tick").len();
        let (mut bytes, mut frames) = (0, 0);
        match self {
            Self::Grpc(_, body) => {
                while bytes < count * size {
                    let Some(Ok(piece)) = soon("an answer", body.data()).await else {
                        break;
                    };
                    bytes += piece.len();
                    let _ = body.flow_control().release_capacity(piece.len());
                }
                bytes / size
            }
            Self::TtHeader(stream) => {
                while frames < count {
                    let frame = stream.next().await;
                    if !frame.is_some_and(|frame| frame.kind == Frame::Data) {
                        break;
                    }
                    frames += 1;
                }
                frames
            }
        }
    }

    /// Cancels, and returns when.
    pub(super) fn cancel(self) -> u64 {
        let now = now_us();
        match self {
            Self::Grpc(mut call, _) => call.reset(8),
            Self::TtHeader(stream) => {
                let payload = exception(b"Hold", stream.id, 12007, "enough");
                stream.send(Frame::Rst, &[], &Vec::new(), payload);
            }
        }
        now
    }
}
