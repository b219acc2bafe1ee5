//! The thrift binary message of type EXCEPTION in a Trailer or a Rst.
//!
//! The sources are gopkg `protocol/thrift/{binary,exception}.go` and Kitex `ttstream/frame.go`
//! (`EncodeException`, `decodeException`): strict version, unknown fields skipped. Text that is not
//! UTF-8 is replaced, not refused.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::stream::Exception;

/// The first 16 bits of a strict message. The last byte is its type.
const VERSION_1: u32 = 0x8001_0000;
const VERSION_MASK: u32 = 0xffff_0000;
const TYPE_EXCEPTION: u32 = 3;

/// How deep containers of unknown fields may nest (gopkg's limit is 64).
const MAX_DEPTH: usize = 32;

const STOP: u8 = 0;
const BOOL: u8 = 2;
const BYTE: u8 = 3;
const DOUBLE: u8 = 4;
const I16: u8 = 6;
const I32: u8 = 8;
const I64: u8 = 10;
const STRING: u8 = 11;
const STRUCT: u8 = 12;
const MAP: u8 = 13;
const SET: u8 = 14;
const LIST: u8 = 15;

/// Why a payload is not an exception message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExceptionError {
    /// It ends too early, or a length reaches beyond its end.
    #[error("exception message is too short")]
    Short,
    /// It does not begin with the strict version.
    #[error("exception message has no strict thrift version")]
    Version,
    /// It is a message of another type.
    #[error("thrift message type want Exception, but got {0}")]
    Type(u8),
    /// A field has an unknown type, or containers nest too deep.
    #[error("exception message has an unreadable field")]
    Field,
}

/// A decoded exception message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExceptionMessage {
    /// The method's name.
    pub name: String,
    /// The sequence id. In streaming it is the stream id.
    pub seq: i32,
    /// The exception in the message.
    pub exception: Exception,
}

/// Writes an exception message.
#[must_use]
pub fn encode(name: &str, seq: i32, type_id: i32, text: &str) -> Bytes {
    let mut out = BytesMut::with_capacity(name.len() + text.len() + 32);
    out.put_u32(VERSION_1 | TYPE_EXCEPTION);
    put_string(&mut out, name);
    out.put_i32(seq);
    out.put_u8(STRING);
    out.put_i16(1);
    put_string(&mut out, text);
    out.put_u8(I32);
    out.put_i16(2);
    out.put_i32(type_id);
    out.put_u8(STOP);
    out.freeze()
}

/// Reads an exception message. Bytes after it are ignored, as in Kitex.
pub fn decode(payload: &Bytes) -> Result<ExceptionMessage, ExceptionError> {
    let mut at = payload.clone();
    let version = at.try_get_u32().map_err(|_| ExceptionError::Short)?;
    if version & VERSION_MASK != VERSION_1 {
        return Err(ExceptionError::Version);
    }
    let [_, _, _, kind] = version.to_be_bytes();
    if u32::from(kind) != TYPE_EXCEPTION {
        return Err(ExceptionError::Type(kind));
    }
    let name = string(&mut at)?;
    let seq = at.try_get_i32().map_err(|_| ExceptionError::Short)?;
    let mut exception = Exception {
        type_id: 0,
        text: String::new(),
    };
    loop {
        let field = at.try_get_u8().map_err(|_| ExceptionError::Short)?;
        if field == STOP {
            break;
        }
        let id = at.try_get_i16().map_err(|_| ExceptionError::Short)?;
        match (field, id) {
            (STRING, 1) => exception.text = string(&mut at)?,
            (I32, 2) => {
                exception.type_id = at.try_get_i32().map_err(|_| ExceptionError::Short)?;
            }
            (other, _) => skip(&mut at, other, MAX_DEPTH)?,
        }
    }
    Ok(ExceptionMessage {
        name,
        seq,
        exception,
    })
}

fn put_string(out: &mut BytesMut, text: &str) {
    out.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(text.as_bytes());
}

fn string(at: &mut Bytes) -> Result<String, ExceptionError> {
    let len = length(at)?;
    let raw = take(at, len)?;
    Ok(String::from_utf8_lossy(&raw).into_owned())
}

fn length(at: &mut Bytes) -> Result<usize, ExceptionError> {
    let len = at.try_get_i32().map_err(|_| ExceptionError::Short)?;
    usize::try_from(len).map_err(|_| ExceptionError::Field)
}

fn take(at: &mut Bytes, len: usize) -> Result<Bytes, ExceptionError> {
    if len > at.len() {
        return Err(ExceptionError::Short);
    }
    Ok(at.split_to(len))
}

fn skip(at: &mut Bytes, field: u8, depth: usize) -> Result<(), ExceptionError> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(ExceptionError::Field);
    };
    match field {
        BOOL | BYTE => take(at, 1)?,
        I16 => take(at, 2)?,
        I32 => take(at, 4)?,
        I64 | DOUBLE => take(at, 8)?,
        STRING => {
            let len = length(at)?;
            take(at, len)?
        }
        STRUCT => loop {
            let inner = at.try_get_u8().map_err(|_| ExceptionError::Short)?;
            if inner == STOP {
                break Bytes::new();
            }
            take(at, 2)?;
            skip(at, inner, depth)?;
        },
        MAP => {
            let [key, value] = [0; 2].map(|_: u8| at.try_get_u8());
            let key = key.map_err(|_| ExceptionError::Short)?;
            let value = value.map_err(|_| ExceptionError::Short)?;
            for _ in 0..length(at)? {
                skip(at, key, depth)?;
                skip(at, value, depth)?;
            }
            Bytes::new()
        }
        SET | LIST => {
            let inner = at.try_get_u8().map_err(|_| ExceptionError::Short)?;
            for _ in 0..length(at)? {
                skip(at, inner, depth)?;
            }
            Bytes::new()
        }
        _ => return Err(ExceptionError::Field),
    };
    Ok(())
}

#[cfg(test)]
mod tests;
