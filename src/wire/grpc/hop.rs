//! The control stream: what two ripcords with a gRPC connection between them exchange beside the
//! streams (config/README.md, "Carried fields").
//!
//! HTTP/2 has only a number for a cancel. Toward a backend marked `hop: ripcord`, that number is
//! the cause. The text and the exact path are in a [`CancelDetail`]. It goes over one more stream
//! of the same connection, the control stream. It is written before the RST_STREAM and in the same
//! flush.
//!
//! The sender never delays a reset for its detail, and the receiver never waits for one. Without a
//! detail the receiver has the number, and the names in `ripcord-hops`.
//!
//! The first cancel of a connection opens the control stream ([`outbound`]). A connection without
//! cancels pays nothing. No round trip is lost either, since the stream is opened in that same
//! flush. A listener that keeps carried fields serves it ([`inbound`]).
//!
//! Its messages have gRPC's framing. Each is a `Metadata::pack` of the entries named here, in any
//! order. Other entries are ignored. A stream's name in details is the number in its
//! `ripcord-stream` header. Its HTTP/2 id would not do: a proxy between has other ids, and may mix
//! streams of many connections into one.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};

use crate::stream::{Cancel, Cause, Metadata, PREFIX, Path, Payload, Scope, shorten};
use crate::wire::grpc::status::Code;
use crate::wire::grpc::{keys, metadata};

pub(super) mod inbound;
pub(super) mod outbound;

/// `:path` of the control stream.
pub(super) const CONTROL: &str = "/ripcord.v1.Hop/Control";

/// The longest detail, in bytes.
const MAX_DETAIL: usize = 32 * 1024;

/// The longest text in a detail, in bytes: as long as trailers can be.
const MAX_TEXT: usize = 8 * 1024;

/// The key of the stream's name, as in its `ripcord-stream` header: 8 bytes, big-endian.
const STREAM: &str = "stream";
/// The key of the cause's code, decimal.
const CODE: &str = "code";
/// The key of the cause's text.
const TEXT: &str = "text";
/// The key of the path, in the form of `ttscp`.
const PATH: &str = "path";

/// The text and path of one cancel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CancelDetail {
    pub(super) stream: u64,
    pub(super) cause: Cause,
    pub(super) path: Path,
}

impl CancelDetail {
    fn new(stream: u64, cancel: &Cancel) -> Self {
        Self {
            stream,
            cause: cancel.cause.clone(),
            path: cancel.path.clone(),
        }
    }

    /// As one message, prefix included.
    fn encode(&self) -> Bytes {
        let mut entries = Metadata::with_capacity(4);
        let mut push = |key: &'static str, value: Bytes| {
            entries.push(Scope::Plain, Bytes::from_static(key.as_bytes()), value);
        };
        push(STREAM, Bytes::copy_from_slice(&self.stream.to_be_bytes()));
        push(CODE, self.cause.code.to_string().into());
        push(TEXT, cut(&self.cause.text).into());
        push(PATH, self.path.to_wire().into());
        let pack = entries.pack();
        let mut message = BytesMut::with_capacity(PREFIX + pack.len());
        message.put_u8(0);
        message.put_u32(u32::try_from(pack.len()).unwrap_or(u32::MAX));
        message.extend_from_slice(&pack);
        message.freeze()
    }

    /// Reads a detail; `None` when the message is not one.
    fn decode(message: Bytes) -> Option<Self> {
        let entries = Metadata::unpack(message)?;
        let text = |key| std::str::from_utf8(entries.get(Scope::Plain, key)?).ok();
        let stream = entries.get(Scope::Plain, STREAM)?;
        Some(Self {
            stream: u64::from_be_bytes(<[u8; 8]>::try_from(&stream[..]).ok()?),
            cause: Cause {
                code: text(CODE)?.parse().ok()?,
                text: cut(text(TEXT)?),
            },
            path: Path::parse(text(PATH)?),
        })
    }
}

/// As much of `text` as a detail can hold.
fn cut(text: &str) -> String {
    shorten(text, MAX_TEXT).into_owned()
}

/// Writes a stream's name into its request.
pub(super) fn name(request: &mut Request<()>, stream: u64) {
    if let Ok(mut value) = HeaderValue::from_str(&format!("{stream:016x}")) {
        // Each is different, so it should not use up room in HPACK's table.
        value.set_sensitive(true);
        let name = HeaderName::from_static(keys::STREAM);
        let _ = request.headers_mut().try_insert(name, value);
    }
}

/// The stream's name, if another ripcord sent one.
pub(super) fn named(headers: &HeaderMap) -> Option<u64> {
    u64::from_str_radix(headers.get(keys::names::STREAM)?.to_str().ok()?, 16).ok()
}

/// The only answer on a control stream: it is over, or not served at all.
pub(super) fn answer(code: Code) -> Response<()> {
    let mut response = Response::new(());
    metadata::put_payload(response.headers_mut(), &Payload::Protobuf);
    metadata::put(
        response.headers_mut(),
        keys::names::STATUS,
        &code.number().to_string(),
    );
    response
}

#[cfg(test)]
mod tests;
