//! `google.rpc.Status` with a `google.rpc.ErrorInfo` and a `google.rpc.BadRequest`, as protobuf bytes.
//!
//! It is written by hand: a few flat messages (`google/rpc/{status,error_details}.proto`,
//! `google/protobuf/any.proto`) are not worth a code generator.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::stream::Status;

/// The type of the detail that ripcord writes beside each end.
const TYPE_URL: &str = "type.googleapis.com/google.rpc.ErrorInfo";

/// The type of the detail that names a field of the caller's message.
const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";

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

/// A field of the caller's message, and what is wrong with it: a `google.rpc.BadRequest` with one
/// violation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadField {
    /// The path of the field.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

impl BadField {
    /// What is wrong with the field at this path.
    #[must_use]
    pub fn new(field: &str, description: &str) -> Self {
        Self {
            field: field.to_owned(),
            description: description.to_owned(),
        }
    }

    /// A status that has it as its only detail.
    #[must_use]
    pub fn encode(&self, code: u32) -> Bytes {
        let mut out = BytesMut::new();
        put_varint(&mut out, u64::from(1 << 3 | VARINT));
        put_varint(&mut out, u64::from(code));
        put_bytes(&mut out, 3, &self.any());
        out.freeze()
    }

    /// The first one among the details of a status.
    #[must_use]
    pub fn decode(raw: &Bytes) -> Option<Self> {
        let mut found = None;
        fields(raw.clone(), |field| {
            if let (3, Value::Bytes(any)) = field {
                let (url, value) = typed(any)?;
                if found.is_none() && url == BAD_REQUEST {
                    found = Self::of(value);
                }
            }
            Some(())
        })?;
        found
    }

    fn of(value: Bytes) -> Option<Self> {
        let (mut violation, mut found) = (None, (String::new(), String::new()));
        fields(value, |field| {
            if let (1, Value::Bytes(first)) = field {
                violation.get_or_insert(first);
            }
            Some(())
        })?;
        fields(violation?, |field| {
            match field {
                (1, Value::Bytes(text)) => found.0 = lossy(&text),
                (2, Value::Bytes(text)) => found.1 = lossy(&text),
                _ => {}
            }
            Some(())
        })?;
        let (field, description) = found;
        Some(Self { field, description })
    }

    fn any(&self) -> BytesMut {
        let (mut violation, mut value) = (BytesMut::new(), BytesMut::new());
        put_bytes(&mut violation, 1, self.field.as_bytes());
        put_bytes(&mut violation, 2, self.description.as_bytes());
        put_bytes(&mut value, 1, &violation);
        any(BAD_REQUEST, &value)
    }
}

fn any(url: &str, value: &[u8]) -> BytesMut {
    let mut any = BytesMut::new();
    put_bytes(&mut any, 1, url.as_bytes());
    put_bytes(&mut any, 2, value);
    any
}

/// The type and the bytes of an `Any`.
fn typed(any: Bytes) -> Option<(String, Bytes)> {
    let (mut url, mut value) = (String::new(), Bytes::new());
    fields(any, |field| {
        match field {
            (1, Value::Bytes(text)) => url = lossy(&text),
            (2, Value::Bytes(inner)) => value = inner,
            _ => {}
        }
        Some(())
    })?;
    Some((url, value))
}

/// Writes a status with one detail.
#[must_use]
pub fn encode_details(code: u32, message: &str, info: &ErrorInfo) -> Bytes {
    encode_details_with(code, message, info, None)
}

/// Writes a status with one detail, and with what is wrong with a field, if there is such.
#[must_use]
pub fn encode_details_with(
    code: u32,
    message: &str,
    info: &ErrorInfo,
    bad: Option<&BadField>,
) -> Bytes {
    let mut value = BytesMut::new();
    put_bytes(&mut value, 1, info.reason.as_bytes());
    put_bytes(&mut value, 2, info.domain.as_bytes());
    for (key, text) in &info.metadata {
        let mut entry = BytesMut::new();
        put_bytes(&mut entry, 1, key.as_bytes());
        put_bytes(&mut entry, 2, text.as_bytes());
        put_bytes(&mut value, 3, &entry);
    }
    let mut out = BytesMut::new();
    put_varint(&mut out, u64::from(1 << 3 | VARINT));
    put_varint(&mut out, u64::from(code));
    put_bytes(&mut out, 2, message.as_bytes());
    put_bytes(&mut out, 3, &any(TYPE_URL, &value));
    if let Some(bad) = bad {
        put_bytes(&mut out, 3, &bad.any());
    }
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
    let (url, value) = typed(any)?;
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
