//! From the info blocks of Header frames to heads and back, and from the strings of Trailers to
//! metadata.
//!
//! The sources are Kitex `ttstream/client_handler.go` (request), `stream_server.go` (response:
//! strings are read raw) and gopkg `cloud/metainfo`. Of frames, only their info blocks are known
//! here.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;

use crate::stream::{
    Cut, Hops, Metadata, Payload, PayloadNaming, RequestHead, ResponseHead, Scope,
};
use crate::wire::ttheader::end::{bound_head, bound_request};
use crate::wire::ttheader::header::Info;
use crate::wire::ttheader::keys;

mod entries;
pub(crate) use entries::{Changed, MAX_VALUE, pack, push, unpacked};
use entries::{HeadersOf, Joined, bounded, exact, int_key, read, write, write_exact};

/// Why a Header frame does not open a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// It has no method (int key 9).
    #[error("header frame names no method")]
    NoMethod,
    /// The service's or the method's name is not UTF-8.
    #[error("header frame's service or method is not UTF-8")]
    NotText,
    /// Its protocol id is not one of streaming.
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
    read(&info.strings, HeadersOf::Request, &mut native);
    Ok(RequestHead {
        service,
        method,
        to: name(info.int(keys::TO_SERVICE)),
        caller: name(info.int(keys::FROM_SERVICE)),
        hops: hops(info),
        payload,
        naming: PayloadNaming::Usual,
        encoding: None,
        timeout: info.int(keys::RPC_TIMEOUT).and_then(timeout),
        destination: None,
        metadata: exact(info, native, HeadersOf::Request),
        cut: cut_of(info),
    })
}

/// Writes the Header frame that opens a stream: its info blocks, and the protocol id for every
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
    let cut = write_exact(&head.metadata, HeadersOf::Request, &mut info.strings);
    let mut cut = head.cut.clone().and(&cut);
    bound_request(&mut info.strings, &mut cut);
    push_cut(&mut info.strings, &cut);
    if service != head.service {
        push(&mut info.strings, keys::CARRIED_SERVICE, &head.service);
    }
    if let Some(hops) = &head.hops {
        push(&mut info.strings, keys::CARRIED_HOPS, hops.as_wire());
        if head.timeout.is_some()
            && let Some(limit) = hops.limit_wire()
        {
            push(&mut info.strings, keys::CARRIED_LIMIT, &limit);
        }
    }
    if let Payload::Other(subtype) = &head.payload {
        push(&mut info.strings, keys::CARRIED_SUBTYPE, subtype);
    }
    (info, protocol_id(&head.payload))
}

fn hops(info: &Info) -> Option<Hops> {
    let names = info.string(keys::CARRIED_HOPS)?;
    let mut hops = Hops::parse(&String::from_utf8_lossy(names))?;
    if let Some(limit) = info.string(keys::CARRIED_LIMIT) {
        hops.read_limit(&String::from_utf8_lossy(limit));
    }
    Some(hops)
}

/// The protocol id for a kind of payload.
const fn protocol_id(payload: &Payload) -> u8 {
    match payload {
        Payload::Thrift => keys::PROTOCOL_THRIFT_STRUCT,
        Payload::Protobuf | Payload::Other(_) => keys::PROTOCOL_PROTOBUF_STRUCT,
    }
}

/// The same in a text for people. The protocol id is always there.
#[must_use]
pub fn payload_text(payload: &Payload, _naming: PayloadNaming) -> Cow<'static, str> {
    format!("TTHeader's protocol id {:#04x}", protocol_id(payload)).into()
}

/// Reads a callee's Header frame.
#[must_use]
pub fn response_head(info: &Info) -> ResponseHead {
    ResponseHead {
        encoding: None,
        metadata: response_metadata(info),
        cut: cut_of(info),
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
    let cut = write_exact(&head.metadata, HeadersOf::Response, &mut info.strings);
    let mut cut = head.cut.clone().and(&cut);
    bound_head(&mut info.strings, &mut cut);
    push_cut(&mut info.strings, &cut);
    info
}

/// The entries of a callee's Header or Trailer.
pub(crate) fn response_metadata(info: &Info) -> Metadata {
    let mut native = Metadata::with_capacity(info.strings.len());
    read(&info.strings, HeadersOf::Response, &mut native);
    exact(info, native, HeadersOf::Response)
}

/// Writes the entries of a Trailer.
pub(crate) fn write_trailers(trailers: &Metadata, out: &mut Vec<(Bytes, Bytes)>) -> Changed {
    write(trailers, HeadersOf::Response, Joined::Each, out)
}

/// The parts that an earlier hop has cut.
pub(crate) fn cut_of(info: &Info) -> Cut {
    let raw = info.string(keys::CUT);
    let text = raw.and_then(|raw| std::str::from_utf8(raw).ok());
    text.map(Cut::parse).unwrap_or_default()
}

/// Names the parts that were cut.
pub(crate) fn push_cut(strings: &mut Vec<(Bytes, Bytes)>, cut: &Cut) {
    if !cut.is_empty() {
        push(strings, keys::CUT, &cut.to_string());
    }
}

/// Removes all fields that only ripcord knows.
pub(crate) fn strip(info: &mut Info) {
    info.strings
        .retain(|(key, _)| !keys::starts_with_no_case(key, keys::PREFIX_RIPCORD));
}

/// A service's name as Kitex has it: `chat.v1.Chat` is `Chat`.
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
