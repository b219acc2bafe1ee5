//! `google.rpc.Status` with a `google.rpc.ErrorInfo`, as protobuf bytes.
//!
//! It is written by hand: three flat messages (`google/rpc/{status,error_details}.proto`,
//! `google/protobuf/any.proto`) are not worth a code generator.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::stream::Status;

/// The type of the one detail that ripcord writes.
const TYPE_URL: &str = "type.googleapis.com/google.rpc.ErrorInfo";

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const BYTES: u32 = 2;
const FIXED32: u32 = 5;

/// A `google.rpc.ErrorInfo`: a reason for programs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorInfo {
    /// The reason: UPPER_SNAKE_CASE, unique within the domain.
    pub reason: String,
    /// Who defines the reason.
    pub domain: String,
    /// More about it, as keys and values in order.
    pub metadata: Vec<(String, String)>,
}

/// Writes a status with one detail.
#[must_use]
pub fn encode_details(code: u32, message: &str, info: &ErrorInfo) -> Bytes {
    let mut value = BytesMut::new();
    put_bytes(&mut value, 1, info.reason.as_bytes());
    put_bytes(&mut value, 2, info.domain.as_bytes());
    for (key, text) in &info.metadata {
        let mut entry = BytesMut::new();
        put_bytes(&mut entry, 1, key.as_bytes());
        put_bytes(&mut entry, 2, text.as_bytes());
        put_bytes(&mut value, 3, &entry);
    }
    let mut any = BytesMut::new();
    put_bytes(&mut any, 1, TYPE_URL.as_bytes());
    put_bytes(&mut any, 2, &value);
    let mut out = BytesMut::new();
    put_varint(&mut out, u64::from(1 << 3 | VARINT));
    put_varint(&mut out, u64::from(code));
    put_bytes(&mut out, 2, message.as_bytes());
    put_bytes(&mut out, 3, &any);
    out.freeze()
}

/// Reads a status and its first `ErrorInfo`. `None` if it is not a `google.rpc.Status`.
#[must_use]
pub fn decode_details(raw: &Bytes) -> Option<(Status, Option<ErrorInfo>)> {
    let mut status = Status {
        code: 0,
        message: String::new(),
        details: Some(raw.clone()),
    };
    let mut info = None;
    fields(raw.clone(), |field| {
        match field {
            // A negative int32 is a varint of ten bytes. Its low half is the number's.
            (1, Value::Varint(code)) => status.code = (code & u64::from(u32::MAX)) as u32,
            (2, Value::Bytes(text)) => status.message = lossy(&text),
            (3, Value::Bytes(any)) if info.is_none() => info = decode_any(any)?,
            _ => {}
        }
        Some(())
    })?;
    Some((status, info))
}

/// Whether `raw` is a `google.rpc.Status` with this code. What is in its details is not looked at.
#[must_use]
pub fn details_agree(raw: &Bytes, code: u32) -> bool {
    let (mut said, mut text) = (0, Some(()));
    let mut check = |bytes: &Bytes| text = text.filter(|()| std::str::from_utf8(bytes).is_ok());
    let read = fields(raw.clone(), |field| {
        match field {
            (0, _) => return None,
            (1, Value::Varint(number)) => said = (number & u64::from(u32::MAX)) as u32,
            (2, Value::Bytes(message)) => check(&message),
            (3, Value::Bytes(any)) => fields(any, |field| {
                match field {
                    (0, _) => return None,
                    (1, Value::Bytes(url)) => check(&url),
                    _ => {}
                }
                Some(())
            })?,
            _ => {}
        }
        Some(())
    });
    read.and(text).is_some() && said == code
}

fn decode_any(any: Bytes) -> Option<Option<ErrorInfo>> {
    let mut url = String::new();
    let mut value = Bytes::new();
    fields(any, |field| {
        match field {
            (1, Value::Bytes(text)) => url = lossy(&text),
            (2, Value::Bytes(inner)) => value = inner,
            _ => {}
        }
        Some(())
    })?;
    if url != TYPE_URL {
        return Some(None);
    }
    let mut info = ErrorInfo::default();
    fields(value, |field| {
        match field {
            (1, Value::Bytes(text)) => info.reason = lossy(&text),
            (2, Value::Bytes(text)) => info.domain = lossy(&text),
            (3, Value::Bytes(entry)) => {
                let mut pair = (String::new(), String::new());
                fields(entry, |field| {
                    match field {
                        (1, Value::Bytes(text)) => pair.0 = lossy(&text),
                        (2, Value::Bytes(text)) => pair.1 = lossy(&text),
                        _ => {}
                    }
                    Some(())
                })?;
                info.metadata.push(pair);
            }
            _ => {}
        }
        Some(())
    })?;
    Some(Some(info))
}

enum Value {
    Varint(u64),
    Bytes(Bytes),
    Fixed,
}

fn fields(mut raw: Bytes, mut each: impl FnMut((u64, Value)) -> Option<()>) -> Option<()> {
    while raw.has_remaining() {
        let tag = varint(&mut raw)?;
        let value = match (tag & 7) as u32 {
            VARINT => Value::Varint(varint(&mut raw)?),
            FIXED64 => take(&mut raw, 8).map(|_| Value::Fixed)?,
            BYTES => {
                let len = usize::try_from(varint(&mut raw)?).ok()?;
                Value::Bytes(take(&mut raw, len)?)
            }
            FIXED32 => take(&mut raw, 4).map(|_| Value::Fixed)?,
            _ => return None,
        };
        each((tag >> 3, value))?;
    }
    Some(())
}

fn take(raw: &mut Bytes, len: usize) -> Option<Bytes> {
    (len <= raw.len()).then(|| raw.split_to(len))
}

fn varint(raw: &mut Bytes) -> Option<u64> {
    let mut out = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = raw.try_get_u8().ok()?;
        out |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(out);
        }
    }
    None
}

fn put_varint(out: &mut BytesMut, mut n: u64) {
    while n >= 0x80 {
        out.put_u8((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.put_u8(n as u8);
}

fn put_bytes(out: &mut BytesMut, field: u32, raw: &[u8]) {
    put_varint(out, u64::from(field << 3 | BYTES));
    put_varint(out, raw.len() as u64);
    out.extend_from_slice(raw);
}

fn lossy(raw: &Bytes) -> String {
    String::from_utf8_lossy(raw).into_owned()
}
