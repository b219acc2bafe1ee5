//! What a callee's trailers say by themselves, without the fields that only ripcord knows.
//!
//! The sources are PROTOCOL-HTTP2.md ("Responses") and http-grpc-status-mapping.md.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};

use crate::stream::{Code, Status, shorten};
use crate::wire::grpc::status::{decode_bin, decode_message, details_agree, of_http};
use crate::wire::grpc::{keys, metadata};

/// The most bytes of a foreign content type in a text.
const MAX_TYPE: usize = 64;

/// The status that the trailers have, and whether the callee sent one at all.
pub(super) fn status(http_status: u16, trailers: &HeaderMap) -> (Status, bool) {
    let message = trailers.get(keys::MESSAGE).map(|raw| raw.as_bytes());
    let mut out = Status {
        code: Code::Unknown.number(),
        message: message.map(decode_message).unwrap_or_default(),
        details: None,
    };
    match trailers.get(keys::STATUS) {
        Some(raw) => {
            let number = raw.to_str().ok().and_then(|n| n.parse::<u32>().ok());
            if let Some(number) = number.filter(|n| *n <= Status::MAX_CODE) {
                out.code = number;
            }
            (out, true)
        }
        None if http_status == 200 && foreign_type(trailers).is_none() => {
            if out.message.is_empty() {
                "server closed the stream without sending grpc-status".clone_into(&mut out.message);
            }
            (out, false)
        }
        None => {
            out.code = of_http(http_status).number();
            if out.message.is_empty() {
                out.message = match foreign_type(trailers) {
                    Some(kind) => format!(
                        "the callee answered HTTP {http_status} with {kind}, which is not gRPC (is it an HTTP proxy?)"
                    ),
                    None => format!("the callee answered HTTP {http_status}"),
                };
            }
            (out, false)
        }
    }
}

/// The content type of an answer that is not gRPC's.
fn foreign_type(headers: &HeaderMap) -> Option<String> {
    let kind = headers.get(CONTENT_TYPE)?;
    if metadata::is_grpc(headers) {
        return None;
    }
    let kind = String::from_utf8_lossy(kind.as_bytes());
    Some(shorten(kind.trim(), MAX_TYPE).into_owned())
}

/// The details, if they agree with the status. Beside OK there are none: they would turn success
/// into failure (grpc-go).
pub(super) fn details(raw: &HeaderValue, code: u32) -> Option<Bytes> {
    let details = Bytes::from(decode_bin(raw.as_bytes())?);
    (code != 0 && details_agree(&details, code)).then_some(details)
}
