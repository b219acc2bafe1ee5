//! Which protocol a new connection speaks, by its first bytes.

use std::io;

use bytes::BytesMut;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::telemetry::Violation;

/// What the first bytes of a connection say.
pub(super) enum Spoken {
    Http2,
    Streaming,
    PingPong,
    /// Neither: what it is, and a text for the log.
    Foreign(Violation, &'static str),
    /// It closed without saying anything: a health check.
    Nothing,
}

/// Bytes that tell the protocols apart (as one Kitex port does).
const TELLING: usize = 8;

const HTTP2: &[u8] = b"PRI * HT";

/// Reads until it can be told; what was read stays in `first`.
pub(super) async fn sniff(socket: &mut TcpStream, first: &mut BytesMut) -> io::Result<Spoken> {
    while first.len() < TELLING {
        if socket.read_buf(first).await? == 0 {
            let nothing = first.is_empty();
            return Ok(if nothing {
                Spoken::Nothing
            } else {
                Spoken::Foreign(Violation::Truncated, "closed after a few bytes")
            });
        }
    }
    Ok(match first.get(..TELLING) {
        Some(HTTP2) => Spoken::Http2,
        Some(&[_, _, _, _, 0x10, 0x00, _, flags]) if flags & 0x02 != 0 => Spoken::Streaming,
        Some(&[_, _, _, _, 0x10, 0x00, _, _]) => Spoken::PingPong,
        Some(&[0x16, 0x03, ..]) => {
            Spoken::Foreign(Violation::Tls, "TLS, which this listener does not speak")
        }
        Some(text) if is_http1(text) => Spoken::Foreign(Violation::Http1, "HTTP/1"),
        _ => Spoken::Foreign(Violation::Foreign, "neither HTTP/2 nor TTHeader"),
    })
}

fn is_http1(first: &[u8]) -> bool {
    [
        b"GET ".as_slice(),
        b"POST ",
        b"PUT ",
        b"HEAD ",
        b"DELETE ",
        b"OPTIONS ",
        b"PATCH ",
        b"CONNECT ",
    ]
    .iter()
    .any(|method| first.starts_with(method))
}
