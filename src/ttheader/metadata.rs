//! The info blocks of Header frames to heads and back, and the strings of Trailers to metadata.
//!
//! Follows Kitex `ttstream/client_handler.go` (request), `stream_server.go` (response: strings are
//! seen raw) and gopkg `cloud/metainfo`. Knows nothing of frames but their info blocks.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::{Bytes, BytesMut};

use crate::stream::{Entry, Metadata, Payload, RequestHead, ResponseHead, Scope};
use crate::ttheader::header::Info;
use crate::ttheader::keys;

/// The longest value that an info block holds.
pub(crate) const MAX_VALUE: usize = u16::MAX as usize;

/// Why a Header frame does not open a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// No method (int key 9).
    #[error("header frame names no method")]
    NoMethod,
    /// The service's or the method's name is not UTF-8.
    #[error("header frame's service or method is not UTF-8")]
    NotText,
    /// A protocol id that streaming does not have.
    #[error("protocol id {0:#04x} is not one of streaming")]
    Protocol(u8),
}

/// Reads the Header frame that opens a stream.
pub fn request_head(info: &Info, protocol: u8) -> Result<RequestHead, HeadError> {
    let mut payload = match protocol {
        keys::PROTOCOL_THRIFT_STRUCT => Payload::Thrift,
        keys::PROTOCOL_PROTOBUF_STRUCT => Payload::Protobuf,
        other => return Err(HeadError::Protocol(other)),
    };
    let method = text(info.int(keys::TO_METHOD))?;
    if method.is_empty() {
        return Err(HeadError::NoMethod);
    }
    let mut service = text(info.string(keys::IDL_SERVICE))?;
    if let Some(full) = info.string(keys::CARRIED_SERVICE)
        && let Ok(full) = std::str::from_utf8(full)
        && without_package(full) == service
    {
        service = full.to_owned();
    }
    if payload == Payload::Protobuf
        && let Some(subtype) = info.string(keys::CARRIED_SUBTYPE)
        && let Ok(subtype) = std::str::from_utf8(subtype)
    {
        payload = Payload::Other(subtype.into());
    }
    let mut native = Metadata::with_capacity(info.strings.len());
    for (key, value) in &info.ints {
        if !keys::is_own_int(*key) {
            native.push(
                Scope::Plain,
                format!("{}{key}", keys::PREFIX_INT),
                value.clone(),
            );
        }
    }
    read(&info.strings, Place::Request, &mut native);
    Ok(RequestHead {
        service,
        method,
        to: name(info.int(keys::TO_SERVICE)),
        caller: name(info.int(keys::FROM_SERVICE)),
        payload,
        encoding: None,
        timeout: info.int(keys::RPC_TIMEOUT).and_then(timeout),
        metadata: exact(info, native, Place::Request),
    })
}

/// Writes the Header frame that opens a stream: its info blocks, and the protocol id of every
/// frame of the stream.
#[must_use]
pub fn request_info(head: &RequestHead) -> (Info, u8) {
    let mut info = Info::default();
    let mut int = |key: u16, value: &str| {
        info.ints
            .push((key, Bytes::copy_from_slice(bounded(value))));
    };
    int(keys::TO_METHOD, &head.method);
    int(keys::FRAME_TYPE, keys::FRAME_HEADER);
    if let Some(to) = &head.to {
        int(keys::TO_SERVICE, to);
    }
    if let Some(caller) = &head.caller {
        int(keys::FROM_SERVICE, caller);
    }
    if let Some(timeout) = head.timeout {
        let ms = timeout.as_nanos().div_ceil(1_000_000).max(1);
        int(keys::RPC_TIMEOUT, &ms.to_string());
    }
    for entry in &head.metadata {
        if let Some(key) = int_key(&entry.key)
            && entry.scope == Scope::Plain
            && entry.value.len() <= MAX_VALUE
        {
            info.ints.push((key, entry.value.clone()));
        }
    }
    let service = without_package(&head.service);
    if !service.is_empty() {
        push(&mut info.strings, keys::IDL_SERVICE, service);
    }
    write_exact(&head.metadata, Place::Request, &mut info.strings);
    if service != head.service {
        push(&mut info.strings, keys::CARRIED_SERVICE, &head.service);
    }
    let protocol = match &head.payload {
        Payload::Thrift => keys::PROTOCOL_THRIFT_STRUCT,
        Payload::Protobuf => keys::PROTOCOL_PROTOBUF_STRUCT,
        Payload::Other(subtype) => {
            push(&mut info.strings, keys::CARRIED_SUBTYPE, subtype);
            keys::PROTOCOL_PROTOBUF_STRUCT
        }
    };
    (info, protocol)
}

/// Reads a callee's Header frame.
#[must_use]
pub fn response_head(info: &Info) -> ResponseHead {
    ResponseHead {
        encoding: None,
        metadata: response_metadata(info),
        explicit: true,
    }
}

/// Writes a callee's Header frame.
#[must_use]
pub fn response_info(head: &ResponseHead, method: &str) -> Info {
    let mut info = Info {
        ints: vec![
            (keys::TO_METHOD, Bytes::copy_from_slice(bounded(method))),
            (
                keys::FRAME_TYPE,
                Bytes::from_static(keys::FRAME_HEADER.as_bytes()),
            ),
        ],
        strings: Vec::with_capacity(head.metadata.len()),
    };
    write_exact(&head.metadata, Place::Response, &mut info.strings);
    info
}

/// The entries of a callee's Header or Trailer.
pub(crate) fn response_metadata(info: &Info) -> Metadata {
    let mut native = Metadata::with_capacity(info.strings.len());
    read(&info.strings, Place::Response, &mut native);
    exact(info, native, Place::Response)
}

/// Which way the strings go: only a request's are metainfo, a response's are seen raw.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A request's Header.
    Request,
    /// A response's Header or Trailer.
    Response,
}

/// Strings to entries, without those that mean something else.
fn read(strings: &[(Bytes, Bytes)], place: Place, out: &mut Metadata) {
    for (key, value) in strings {
        let scoped = |prefix: &[u8]| {
            (place == Place::Request && key.starts_with(prefix)).then_some(prefix.len())
        };
        let (scope, prefix) = if let Some(n) = scoped(keys::PREFIX_PERSIST) {
            (Scope::Persist, n)
        } else if let Some(n) = scoped(keys::PREFIX_TRANSIT) {
            (Scope::Transit, n)
        } else {
            (Scope::Plain, 0)
        };
        if scope == Scope::Plain {
            // What only the proxy reads (`ripcord-hops`, ...) stays in a request.
            let ours = keys::starts_with_no_case(key, keys::PREFIX_RIPCORD);
            let kept = ours && place == Place::Request && !is_carried(key);
            if !kept && (is_foreign(key) || keys::is_reserved(key)) {
                continue;
            }
        } else if key.len() == prefix || value.is_empty() {
            continue;
        }
        out.push(scope, key.slice(prefix..), value.clone());
    }
}

/// Entries to strings: repeated keys joined with commas, since a Kitex peer reads a map. Whether
/// the strings say all of it.
pub(crate) fn write(metadata: &Metadata, place: Place, out: &mut Vec<(Bytes, Bytes)>) -> bool {
    let mut exact = true;
    let mut rows: Vec<(Bytes, Vec<Bytes>)> = Vec::with_capacity(metadata.len());
    // Keys come from peers, so not a hash that they can aim at; most heads need none at all.
    let mut index: HashMap<Bytes, usize> = HashMap::new();
    for entry in metadata {
        if place == Place::Request && entry.scope == Scope::Plain && int_key(&entry.key).is_some() {
            // Read back before the strings.
            exact &= rows.is_empty() && entry.value.len() <= MAX_VALUE;
            continue;
        }
        let Some(key) = string_key(entry, place) else {
            exact = false;
            continue;
        };
        if key.len() > MAX_VALUE || entry.value.len() > MAX_VALUE {
            exact = false;
            continue;
        }
        exact &= keeps_its_meaning(entry, place);
        if index.is_empty() && rows.len() >= INDEX_ABOVE {
            index.extend(
                rows.iter()
                    .enumerate()
                    .map(|(i, (key, _))| (key.clone(), i)),
            );
        }
        let found = if rows.len() < INDEX_ABOVE {
            rows.iter().position(|(k, _)| *k == key)
        } else {
            index.get(&key).copied()
        };
        match found.and_then(|i| rows.get_mut(i)) {
            Some((_, values)) => {
                exact = false;
                values.push(entry.value.clone());
            }
            None => {
                if !index.is_empty() {
                    index.insert(key.clone(), rows.len());
                }
                rows.push((key, vec![entry.value.clone()]));
            }
        }
    }
    for (key, values) in rows {
        out.push((key, join(values)));
    }
    exact
}

/// Up to so many keys are found by looking at each.
const INDEX_ABOVE: usize = 16;

/// Values joined with commas, as many as fit.
fn join(values: Vec<Bytes>) -> Bytes {
    let mut values = values.into_iter();
    let first = values.next().unwrap_or_default();
    if values.len() == 0 {
        return first;
    }
    let mut joined = BytesMut::from(&first[..]);
    for value in values {
        if joined.len() + 1 + value.len() > MAX_VALUE {
            break;
        }
        joined.extend_from_slice(b",");
        joined.extend_from_slice(&value);
    }
    joined.freeze()
}

/// The key under which an entry is written, if it may be.
fn string_key(entry: &Entry, place: Place) -> Option<Bytes> {
    match entry.scope {
        Scope::Plain => {
            let ours = keys::starts_with_no_case(&entry.key, keys::PREFIX_RIPCORD);
            let kept = ours && place == Place::Request && !is_carried(&entry.key);
            (kept || !(keys::is_reserved(&entry.key) || is_hop_only(&entry.key)))
                .then(|| entry.key.clone())
        }
        Scope::Transit | Scope::Persist if entry.key.is_empty() || entry.value.is_empty() => None,
        Scope::Transit => Some([keys::PREFIX_TRANSIT, &entry.key].concat().into()),
        Scope::Persist => Some([keys::PREFIX_PERSIST, &entry.key].concat().into()),
    }
}

/// Whether [`read`] makes the same entry of what [`string_key`] makes of it.
fn keeps_its_meaning(entry: &Entry, place: Place) -> bool {
    match (entry.scope, place) {
        (Scope::Plain, Place::Request) => {
            !is_foreign(&entry.key)
                && !entry.key.starts_with(keys::PREFIX_PERSIST)
                && !entry.key.starts_with(keys::PREFIX_TRANSIT)
        }
        (Scope::Plain, Place::Response) => !is_foreign(&entry.key),
        (Scope::Transit | Scope::Persist, Place::Request) => true,
        (Scope::Transit | Scope::Persist, Place::Response) => false,
    }
}

/// Names that belong to HTTP/2 or gRPC themselves.
fn is_foreign(key: &[u8]) -> bool {
    keys::starts_with_no_case(key, b"grpc-") || key.starts_with(b":")
}

/// What a peer reads of `metadata` when it has only the strings.
pub(crate) fn rendered(metadata: &Metadata, place: Place) -> Metadata {
    let mut strings = Vec::with_capacity(metadata.len());
    write(metadata, place, &mut strings);
    let mut out = Metadata::with_capacity(strings.len());
    if place == Place::Request {
        for entry in metadata {
            if entry.scope == Scope::Plain
                && int_key(&entry.key).is_some()
                && entry.value.len() <= MAX_VALUE
            {
                out.push(Scope::Plain, entry.key.clone(), entry.value.clone());
            }
        }
    }
    read(&strings, place, &mut out);
    out
}

/// The pack of `metadata`, base64, if it fits.
pub(crate) fn pack(metadata: &Metadata) -> Option<String> {
    let mut exact = std::borrow::Cow::Borrowed(metadata);
    if exact.iter().any(|e| is_hop_only(&e.key)) {
        exact.to_mut().retain(|e| !is_hop_only(&e.key));
    }
    Some(STANDARD_NO_PAD.encode(exact.pack())).filter(|pack| pack.len() <= MAX_VALUE)
}

/// What a gRPC peer says of its own compressors: messages are decompressed toward TTHeader.
fn is_hop_only(key: &[u8]) -> bool {
    key == b"grpc-accept-encoding"
}

/// Writes the entries, and their pack where the strings do not say all of it.
fn write_exact(metadata: &Metadata, place: Place, out: &mut Vec<(Bytes, Bytes)>) {
    if !write(metadata, place, out)
        && let Some(pack) = pack(metadata)
    {
        push(out, keys::CARRIED_META, &pack);
    }
}

/// `native`, or the carried entries that render to it.
fn exact(info: &Info, native: Metadata, place: Place) -> Metadata {
    match unpacked(info) {
        Some(packed) => {
            let beside = rendered(&packed, place);
            Metadata::reconcile(native, packed, &beside)
        }
        None => native,
    }
}

/// The carried entries, believed or not.
pub(crate) fn unpacked(info: &Info) -> Option<Metadata> {
    let raw = info.string(keys::CARRIED_META)?;
    Metadata::unpack(STANDARD_NO_PAD.decode(raw).ok()?.into())
}

/// Appends a string of our own.
pub(crate) fn push(out: &mut Vec<(Bytes, Bytes)>, key: &'static str, value: &str) {
    out.push((
        Bytes::from_static(key.as_bytes()),
        Bytes::copy_from_slice(bounded(value)),
    ));
}

fn is_carried(key: &[u8]) -> bool {
    [
        keys::CARRIED_STATUS,
        keys::CARRIED_DETAILS,
        keys::CARRIED_END,
        keys::CARRIED_PROCESSED,
        keys::CARRIED_META,
        keys::CARRIED_SERVICE,
        keys::CARRIED_SUBTYPE,
        keys::CUT,
    ]
    .iter()
    .any(|name| key.eq_ignore_ascii_case(name.as_bytes()))
}

fn int_key(key: &[u8]) -> Option<u16> {
    let number = key.strip_prefix(keys::PREFIX_INT.as_bytes())?;
    let number = std::str::from_utf8(number).ok()?.parse().ok()?;
    (!keys::is_own_int(number)).then_some(number)
}

/// `chat.v1.Chat` is `Chat` to Kitex.
fn without_package(service: &str) -> &str {
    service.rsplit_once('.').map_or(service, |(_, last)| last)
}

fn timeout(value: &Bytes) -> Option<Duration> {
    let ms: u64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    (ms > 0).then(|| Duration::from_millis(ms))
}

fn text(value: Option<&Bytes>) -> Result<String, HeadError> {
    let raw = value.map_or(&[][..], |v| v);
    match std::str::from_utf8(raw) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(HeadError::NotText),
    }
}

fn name(value: Option<&Bytes>) -> Option<String> {
    let name = String::from_utf8_lossy(value?).into_owned();
    (!name.is_empty()).then_some(name)
}

/// As much of `value` as an info block holds.
pub(crate) fn bounded(value: &str) -> &[u8] {
    let mut end = value.len().min(MAX_VALUE);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    value.as_bytes().get(..end).unwrap_or_default()
}
