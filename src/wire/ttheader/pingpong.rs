//! Ping-pong (one request, one reply): as much of a first frame as routing and a refusal need.
//!
//! Here are the header, the message's name and its sequence id. Arguments and results pass through
//! the relay unread. The sources are Kitex
//! `remote/codec/{default_codec,thrift/thrift,protobuf/protobuf}.go` (v0.16.3).

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

use crate::stream::{Payload, RequestHead};
use crate::wire::ttheader::header::{self, BlockError, Fixed, FramingError, Info, META, Prelude};
use crate::wire::ttheader::metadata;
use crate::wire::ttheader::{exception, keys};

/// The longest header that is read, in bytes.
const MAX_HEADER: usize = 64 * 1024;

/// The longest message name that is read, in bytes.
const MAX_NAME: usize = 1024;

const THRIFT_MAGIC: u16 = 0x8001;
const PROTOBUF_MAGIC: u16 = 0x9001;
const EXCEPTION: u16 = 3;
const ONEWAY: u16 = 4;

/// Kitex `remote.InternalError`.
const INTERNAL_ERROR: i32 = 6;

/// Why a connection's first bytes are no ping-pong request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PingPongError {
    /// They are no TTHeader frame.
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// The header cannot be read.
    #[error(transparent)]
    Block(#[from] BlockError),
}

/// Whether `first` begins a connection that speaks TTHeader without its streaming flag.
#[must_use]
pub fn speaks(first: &[u8]) -> bool {
    matches!(first, [_, _, _, _, 0x10, 0x00, _, flags, ..] if flags & 0x02 == 0)
}

/// A connection's first request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Whom it addresses, for routing.
    pub head: RequestHead,
    prelude: Prelude,
    /// Whether the message has a length of its own around it.
    framed: bool,
    magic: u16,
    kind: u16,
    name: Bytes,
    seq: i32,
}

/// Reads the beginning of the first request; `None` when more bytes are needed.
///
/// # Errors
/// It is no ping-pong request.
pub fn parse(first: &[u8]) -> Result<Option<Request>, PingPongError> {
    let Some(fixed) = first.first_chunk::<META>() else {
        return Ok(None);
    };
    let fixed = Fixed::parse(fixed)?;
    if fixed.block > MAX_HEADER {
        return Err(BlockError::TooLong(fixed.block).into());
    }
    let Some((_, rest)) = first.split_at_checked(META) else {
        return Ok(None);
    };
    let Some((block, payload)) = rest.split_at_checked(fixed.block) else {
        return Ok(None);
    };
    let (protocol, info) = header::decode(&Bytes::copy_from_slice(block))?;
    let whole = payload.len() >= fixed.payload;
    let payload = payload.get(..fixed.payload).unwrap_or(payload);
    let message = match Message::read(payload) {
        Some(message) => message,
        None if whole || payload.len() > MAX_NAME + 16 => Message::default(),
        None => return Ok(None),
    };
    Ok(Some(Request {
        head: request_head(&info, protocol, &message),
        prelude: Prelude {
            flags: fixed.flags,
            seq: fixed.seq,
            protocol,
        },
        framed: message.framed,
        magic: message.magic,
        kind: message.kind,
        name: Bytes::copy_from_slice(message.name),
        seq: message.seq,
    }))
}

fn request_head(info: &Info, protocol: u8, message: &Message<'_>) -> RequestHead {
    // The rules of streams for keys apply here too. Only the payload's kind differs.
    let mut named = info.clone();
    if info.int(keys::TO_METHOD).is_none_or(Bytes::is_empty) {
        let name = Bytes::copy_from_slice(message.name);
        named.ints.push((keys::TO_METHOD, name));
    }
    let mut head = metadata::request_head(&named, keys::PROTOCOL_THRIFT_STRUCT).unwrap_or_default();
    head.payload = if protocol == 0x04 {
        Payload::Protobuf
    } else {
        Payload::Thrift
    };
    head
}

impl Request {
    /// The reply that refuses it: an exception with its name and sequence id. Empty for a one-way
    /// request, which has no reply.
    #[must_use]
    pub fn refusal(&self, text: &str) -> Bytes {
        if self.kind == ONEWAY {
            return Bytes::new();
        }
        let name = std::str::from_utf8(&self.name).unwrap_or_default();
        let message = if self.magic == PROTOBUF_MAGIC {
            protobuf_exception(&self.name, self.seq, text)
        } else {
            exception::encode(name, self.seq, INTERNAL_ERROR, text)
        };
        let mut info = Info::default();
        if self.framed {
            info.ints
                .push((keys::TRANSPORT_TYPE, Bytes::from_static(b"framed")));
        }
        let frame = if self.framed { 4 } else { 0 };
        let mut out = BytesMut::new();
        if header::encode(&mut out, self.prelude, &info, frame + message.len()).is_err() {
            return Bytes::new();
        }
        if self.framed {
            out.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
        }
        out.put_slice(&message);
        out.freeze()
    }
}

/// The beginning of a thrift binary or Kitex protobuf message. It is the same in both.
#[derive(Default)]
struct Message<'a> {
    framed: bool,
    magic: u16,
    kind: u16,
    name: &'a [u8],
    seq: i32,
}

impl<'a> Message<'a> {
    fn read(mut payload: &'a [u8]) -> Option<Self> {
        let mut magic = payload.try_get_u16().ok()?;
        let framed = magic != THRIFT_MAGIC && magic != PROTOBUF_MAGIC;
        if framed {
            payload.try_get_u16().ok()?;
            magic = payload.try_get_u16().ok()?;
        }
        let kind = payload.try_get_u16().ok()?;
        let len = payload.try_get_u32().ok()? as usize;
        if len > MAX_NAME || (magic != THRIFT_MAGIC && magic != PROTOBUF_MAGIC) {
            return None;
        }
        let (name, mut rest) = payload.split_at_checked(len)?;
        Some(Self {
            framed,
            magic,
            kind,
            name,
            seq: rest.try_get_i32().ok()?,
        })
    }
}

/// Kitex's `ErrorProto { TypeID int32 = 1, Message string = 2 }` in its message envelope.
fn protobuf_exception(name: &[u8], seq: i32, text: &str) -> Bytes {
    const TYPE_ID: u8 = 1 << 3;
    const MESSAGE: u8 = 2 << 3 | 2;
    let mut out = BytesMut::new();
    out.put_u16(PROTOBUF_MAGIC);
    out.put_u16(EXCEPTION);
    out.put_u32(u32::try_from(name.len()).unwrap_or(0));
    out.put_slice(name);
    out.put_i32(seq);
    out.put_u8(TYPE_ID);
    out.put_u8(INTERNAL_ERROR as u8);
    out.put_u8(MESSAGE);
    let mut len = text.len();
    while len >= 0x80 {
        out.put_u8((len & 0x7F) as u8 | 0x80);
        len >>= 7;
    }
    out.put_u8(len as u8);
    out.put_slice(text.as_bytes());
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(framed: bool, magic: u16, kind: u16) -> BytesMut {
        let mut message = BytesMut::new();
        message.put_u16(magic);
        message.put_u16(kind);
        message.put_u32(4);
        message.put_slice(b"Echo");
        message.put_i32(-9);
        message.put_slice(b"args");
        let info = Info {
            ints: vec![(keys::TO_SERVICE, "demo.Echo".into())],
            strings: vec![(keys::IDL_SERVICE.into(), "EchoService".into())],
        };
        let prelude = Prelude {
            flags: 0,
            seq: 77,
            protocol: if magic == PROTOBUF_MAGIC { 4 } else { 0 },
        };
        let mut out = BytesMut::new();
        let extra = if framed { 4 } else { 0 };
        header::encode(&mut out, prelude, &info, message.len() + extra).unwrap();
        if framed {
            out.put_u32(message.len() as u32);
        }
        out.put_slice(&message);
        out
    }

    #[test]
    fn a_request_is_read_and_refused_in_its_own_form() {
        for (framed, magic) in [
            (false, THRIFT_MAGIC),
            (true, THRIFT_MAGIC),
            (true, PROTOBUF_MAGIC),
        ] {
            let wire = request(framed, magic, 1);
            assert!(speaks(&wire));
            let parsed = parse(&wire).unwrap().unwrap();
            assert_eq!(parsed.head.service, "EchoService");
            assert_eq!(parsed.head.method, "Echo");
            assert_eq!(parsed.head.to.as_deref(), Some("demo.Echo"));

            let reply = parsed.refusal("no route");
            let fixed = Fixed::parse(reply.first_chunk().unwrap()).unwrap();
            assert_eq!((fixed.seq, fixed.total()), (77, reply.len()));
            let mut payload = reply.slice(META + fixed.block..);
            if framed {
                assert_eq!(payload.get_u32() as usize, payload.len());
            }
            let message = Message::read(&payload).unwrap();
            assert_eq!(
                (message.kind, message.name, message.seq),
                (EXCEPTION, &b"Echo"[..], -9)
            );
            if magic == THRIFT_MAGIC {
                let decoded = exception::decode(&payload).unwrap();
                assert_eq!(decoded.exception.text, "no route");
                assert_eq!(decoded.exception.type_id, INTERNAL_ERROR);
            } else {
                assert!(payload.ends_with(b"\x08\x06\x12\x08no route"));
            }
        }
    }

    #[test]
    fn every_split_point() {
        let wire = request(true, THRIFT_MAGIC, 1);
        let enough = wire.len() - 4;
        for split in 0..wire.len() {
            let parsed = parse(&wire[..split]).unwrap();
            assert_eq!(parsed.is_some(), split >= enough, "{split}");
        }
    }

    #[test]
    fn odd_requests() {
        let oneway = parse(&request(false, THRIFT_MAGIC, ONEWAY))
            .unwrap()
            .unwrap();
        assert_eq!(oneway.refusal("x"), "");
        // A payload that is no message does not matter to the relay.
        let mut wire = request(false, THRIFT_MAGIC, 1);
        let at = wire.len() - 20;
        wire[at..].fill(0);
        let parsed = parse(&wire).unwrap().unwrap();
        assert_eq!(parsed.head.method, "");
        assert!(parse(b"GET / HTTP/1.1\r\n").is_err());
        assert!(!speaks(&[0; 7]));
    }
}
