//! From HTTP headers to heads and metadata, and back.
//!
//! The sources are PROTOCOL-HTTP2.md and gopkg `cloud/metainfo/http.go`. What HTTP headers cannot
//! hold (case, bytes) is in carried fields beside them: see `wire/grpc/metadata/packed.rs`.

use std::borrow::Cow;

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, TE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::stream::{Cut, Hops, Payload, PayloadNaming, RequestHead, ResponseHead};
use crate::wire::grpc::end::Wording;
use crate::wire::grpc::keys;
use crate::wire::grpc::metadata::refusal::Refused;
use crate::wire::grpc::status::{self, Code};

mod refusal;
pub use refusal::Refusal;

mod entries;
use entries::write_exact;
pub(crate) use entries::{HeadersOf, exact, write, write_exact_within};

mod packed;
pub(crate) use packed::{Room, carry};

/// Characters that a path cannot hold as they are. `/` is allowed, since a service's name may have
/// it.
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The same for a method, which is what follows the last `/`.
const METHOD: &AsciiSet = &PATH.add(b'/');

/// The headers of a request or response that are about the call, the first of each name, found in
/// one pass. A lookup by name would parse and hash it, and most heads have few of these headers.
#[derive(Default)]
struct Fields<'a> {
    content_type: Option<&'a HeaderValue>,
    host: Option<&'a HeaderValue>,
    timeout: Option<&'a HeaderValue>,
    encoding: Option<&'a HeaderValue>,
    caller: Option<&'a HeaderValue>,
    hops: Option<&'a HeaderValue>,
    limit: Option<&'a HeaderValue>,
    to: Option<&'a HeaderValue>,
    call: Option<&'a HeaderValue>,
    cut: Option<&'a HeaderValue>,
    from: Option<&'a HeaderValue>,
    /// Whether the `te` header is `trailers`; `None` without one.
    te: Option<bool>,
}

impl<'a> Fields<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        let mut found = Self::default();
        for (name, value) in headers {
            let field = match name.as_str() {
                "content-type" => &mut found.content_type,
                "host" => &mut found.host,
                keys::TIMEOUT => &mut found.timeout,
                keys::ENCODING => &mut found.encoding,
                keys::SOURCE_SERVICE => &mut found.caller,
                keys::HOPS => &mut found.hops,
                keys::LIMIT => &mut found.limit,
                keys::TO => &mut found.to,
                keys::CALL => &mut found.call,
                keys::CUT => &mut found.cut,
                keys::FROM => &mut found.from,
                "te" => {
                    found.te = Some(found.te == Some(true) || says_trailers(value));
                    continue;
                }
                _ => continue,
            };
            field.get_or_insert(value);
        }
        found
    }

    fn hops(&self) -> Option<Hops> {
        let mut hops = Hops::parse(&status::decode_message(self.hops?.as_bytes()))?;
        if let Some(limit) = self.limit.and_then(|raw| raw.to_str().ok()) {
            hops.read_limit(limit);
        }
        Some(hops)
    }
}

/// Reads a request. Refuses what is not gRPC, as a gRPC server does.
pub fn request_head(parts: &http::request::Parts) -> Result<RequestHead, Refusal> {
    let fields = Fields::of(&parts.headers);
    if parts.method != Method::POST {
        return Err(Refused::Method.into());
    }
    let Some((payload, naming)) = fields.content_type.and_then(payload_of) else {
        return Err(Refused::ContentType.into());
    };
    if fields.te == Some(false) {
        return Err(Refused::Te.into());
    }
    let path = parts.uri.path();
    let Some((service, method)) = path
        .strip_prefix('/')
        .and_then(|path| path.rsplit_once('/'))
        .filter(|(_, method)| !method.is_empty())
    else {
        return Err(Refused::Path(path.to_owned()).into());
    };
    let call = fields.call.and_then(exact_text);
    let (service, method) = call
        .as_deref()
        .and_then(|text| text.split_once('\0'))
        .filter(|(service, method)| self::path(service, method).0 == path)
        .unwrap_or((service, method));
    let timeout = match fields.timeout {
        Some(raw) => match status::parse_timeout(raw.as_bytes()) {
            Some(timeout) => Some(timeout),
            None => return Err(Refused::Timeout.into()),
        },
        None => None,
    };
    let to = match parts.uri.authority() {
        Some(authority) => Some(authority.as_str().to_owned()),
        None => fields.host.map(lossy),
    };
    let to = fields
        .to
        .and_then(exact_text)
        .filter(|exact| to.as_deref() == Some(authority(Some(exact)).as_str()))
        .or(to);
    Ok(RequestHead {
        service: service.to_owned(),
        method: method.to_owned(),
        to,
        caller: caller_of(&fields),
        hops: fields.hops(),
        payload,
        naming,
        encoding: fields.encoding.and_then(encoding_of),
        timeout,
        destination: None,
        metadata: exact(&parts.headers, HeadersOf::Request),
        cut: fields.cut.map(cut_of).unwrap_or_default(),
    })
}

/// The longest list of names beside which a ripcord says what it reads. An older ripcord that adds
/// its name to such a list makes it longer for certain: it is far from what cuts one (512 bytes, 64
/// names of at least two bytes each).
const MAX_ANNOUNCED: usize = 126;

/// Begins the value of [`keys::READS`]. Behind it stands the length of [`keys::HOPS`].
const READS: &str = "plain-ends;hops=";

fn put_reads(headers: &mut HeaderMap, len: usize) {
    if let Ok(value) = HeaderValue::try_from(format!("{READS}{len}")) {
        let _ = headers.try_insert(keys::names::READS, value);
    }
}

/// Whether another ripcord sent this request, and says what it reads. A proxy may stand between.
/// Beside it, the wording of local ends that the caller reads: any caller that is no ripcord reads
/// the plain one, and so does a ripcord that announces it.
pub(crate) fn caller_reads(headers: &HeaderMap) -> (bool, Wording) {
    let Some(hops) = headers.get(keys::names::HOPS) else {
        return (false, Wording::Plain);
    };
    let said = headers
        .get(keys::names::READS)
        .and_then(|said| said.to_str().ok()?.strip_prefix(READS)?.parse().ok());
    match said == Some(hops.len()) {
        true => (true, Wording::Plain),
        false => (false, Wording::Kitex),
    }
}

/// Writes a request over plain HTTP/2, addressed to `head.to`. What is not a valid authority is
/// replaced by `localhost`.
#[must_use]
pub fn request(head: &RequestHead) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.version_mut() = http::Version::HTTP_2;
    let (path, escaped) = path(&head.service, &head.method);
    let authority = authority(head.to.as_deref());
    let exact_to = head.to.as_deref().filter(|to| authority.as_str() != *to);
    *request.uri_mut() = uri(authority, path);
    let headers = request.headers_mut();
    put(headers, TE, "trailers");
    put(
        headers,
        CONTENT_TYPE,
        &content_type(&head.payload, head.naming),
    );
    if let Some(timeout) = head.timeout {
        put(
            headers,
            keys::names::TIMEOUT,
            &status::format_timeout(timeout),
        );
    }
    if let Some(encoding) = &head.encoding {
        put(headers, keys::names::ENCODING, encoding);
    }
    let caller = head.caller.as_deref().unwrap_or_default();
    let written = source_service(caller);
    let exact_from =
        (written.as_ref().map(HeaderValue::as_bytes) != Some(caller.as_bytes())).then_some(caller);
    if let Some(value) = written.filter(|value| !value.is_empty()) {
        let _ = headers.try_insert(keys::names::SOURCE_SERVICE, value);
    }
    if let Some(hops) = &head.hops {
        let hops = status::encode_message(hops.as_wire());
        put(headers, keys::names::HOPS, &hops);
        if hops.len() <= MAX_ANNOUNCED {
            put_reads(headers, hops.len());
        }
    }
    if head.timeout.is_some()
        && let Some(limit) = head.hops.as_ref().and_then(Hops::limit_wire)
    {
        put(headers, keys::names::LIMIT, &limit);
    }
    let cut = write_exact(&head.metadata, HeadersOf::Request, headers);
    put_cut(headers, &head.cut.clone().and(&cut));
    let carry = |headers: &mut HeaderMap, name, text: &str| {
        put(
            headers,
            HeaderName::from_static(name),
            &status::encode_bin(text.as_bytes()),
        );
    };
    if let Some(from) = exact_from {
        carry(headers, keys::FROM, from);
    }
    if let Some(to) = exact_to {
        carry(headers, keys::TO, to);
    }
    if escaped {
        carry(
            headers,
            keys::CALL,
            &format!("{}\0{}", head.service, head.method),
        );
    }
    request
}

/// Reads a callee's headers. `explicit` is true: whoever calls it has to check for a Trailers-Only
/// block.
#[must_use]
pub fn response_head(headers: &HeaderMap) -> ResponseHead {
    let fields = Fields::of(headers);
    ResponseHead {
        encoding: fields.encoding.and_then(encoding_of),
        metadata: exact(headers, HeadersOf::Response),
        cut: fields.cut.map(cut_of).unwrap_or_default(),
        explicit: true,
    }
}

/// What earlier hops have cut of these headers or trailers.
pub(crate) fn cut(headers: &HeaderMap) -> Cut {
    headers.get(keys::CUT).map(cut_of).unwrap_or_default()
}

/// Writes a callee's headers.
#[must_use]
pub fn response(head: &ResponseHead, payload: &Payload) -> Response<()> {
    response_and_cut(head, payload).0
}

/// The same, with what is cut of them, here or by a hop before.
pub(crate) fn response_and_cut(head: &ResponseHead, payload: &Payload) -> (Response<()>, Cut) {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::OK;
    *response.version_mut() = http::Version::HTTP_2;
    let headers = response.headers_mut();
    put_payload(headers, payload);
    if let Some(encoding) = &head.encoding {
        put(headers, keys::names::ENCODING, encoding);
    }
    let cut = write_exact(&head.metadata, HeadersOf::Response, headers);
    let cut = head.cut.clone().and(&cut);
    put_cut(headers, &cut);
    (response, cut)
}

/// Whether the content type is gRPC's.
#[must_use]
pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).and_then(payload_of).is_some()
}

/// The kind of payload in a content type, and how it is named; `None` if it is not gRPC's.
fn payload_of(content_type: &HeaderValue) -> Option<(Payload, PayloadNaming)> {
    use PayloadNaming::{Named, Unnamed};
    // The spelling of most peers first, without a copy in lower case.
    match content_type.as_bytes() {
        b"application/grpc" => return Some((Payload::Protobuf, Unnamed)),
        b"application/grpc+proto" => return Some((Payload::Protobuf, Named)),
        b"application/grpc+thrift" => return Some((Payload::Thrift, Named)),
        _ => {}
    }
    let raw = content_type.to_str().ok()?.to_ascii_lowercase();
    let rest = raw.trim().strip_prefix("application/grpc")?;
    let subtype = match rest.chars().next() {
        None | Some(';') => "",
        Some('+') => rest.get(1..)?.split(';').next().unwrap_or_default().trim(),
        Some(_) => return None,
    };
    Some(match subtype {
        "" => (Payload::Protobuf, Unnamed),
        "proto" => (Payload::Protobuf, Named),
        "thrift" => (Payload::Thrift, Named),
        other => (Payload::Other(other.into()), Named),
    })
}

/// The content type for a kind of payload.
#[must_use]
pub fn content_type(payload: &Payload, naming: PayloadNaming) -> Cow<'static, str> {
    use PayloadNaming::{Named, Unnamed, Usual};
    match (payload, naming) {
        (Payload::Protobuf, Usual | Unnamed) | (Payload::Thrift | Payload::Other(_), Unnamed) => {
            "application/grpc".into()
        }
        (Payload::Protobuf, Named) => "application/grpc+proto".into(),
        (Payload::Thrift, Usual | Named) => "application/grpc+thrift".into(),
        (Payload::Other(subtype), Usual | Named) => format!("application/grpc+{subtype}").into(),
    }
}

/// Writes the content type of a response.
pub(crate) fn put_payload(headers: &mut HeaderMap, payload: &Payload) {
    put(
        headers,
        CONTENT_TYPE,
        &content_type(payload, PayloadNaming::Usual),
    );
}

/// Writes one of ripcord's own headers, if its value can be written. Blanks at its ends cannot (RFC
/// 9113, 8.2.1).
pub(crate) fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value.trim_ascii()) {
        let _ = headers.try_insert(name, value);
    }
}

fn cut_of(raw: &HeaderValue) -> Cut {
    raw.to_str().map(Cut::parse).unwrap_or_default()
}

/// Names the parts that were cut.
pub(crate) fn put_cut(headers: &mut HeaderMap, cut: &Cut) {
    if !cut.is_empty() {
        let name = HeaderName::from_static(keys::CUT);
        put(headers, name, &cut.to_string());
    }
}

/// Removes all headers that only ripcord knows.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let ours = |name: &&HeaderName| name.as_str().starts_with(keys::PREFIX_RIPCORD);
    let names: Vec<HeaderName> = headers.keys().filter(ours).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// The path of a call, and whether part of it had to be escaped.
fn path(service: &str, method: &str) -> (String, bool) {
    let mut path = String::with_capacity(service.len() + method.len() + 2);
    path.push('/');
    path.extend(utf8_percent_encode(service, PATH));
    path.push('/');
    path.extend(utf8_percent_encode(method, METHOD));
    // An escape has three bytes in place of one.
    let escaped = path.len() != service.len() + method.len() + 2;
    (path, escaped)
}

/// A caller's name as a header holds it: without blanks at its ends.
fn source_service(caller: &str) -> Option<HeaderValue> {
    HeaderValue::from_bytes(caller.trim_ascii().as_bytes()).ok()
}

fn caller_of(fields: &Fields<'_>) -> Option<String> {
    let native = fields.caller.map(lossy).unwrap_or_default();
    let is_it = |exact: &String| {
        let written = source_service(exact);
        written.map(|value| lossy(&value)).unwrap_or_default() == native
    };
    let exact = fields.from.and_then(exact_text).filter(is_it);
    Some(exact.unwrap_or(native)).filter(|name| !name.is_empty())
}

fn authority(to: Option<&str>) -> Authority {
    // User information is no part of `:authority` (RFC 9113, 8.3.1).
    let is_host = |to: &&str| !to.bytes().any(|b| b == b'@');
    let host = to.filter(is_host).unwrap_or_default();
    Authority::try_from(host).unwrap_or_else(|_| Authority::from_static("localhost"))
}

/// The value of a carried field, not checked yet.
fn exact_text(raw: &HeaderValue) -> Option<String> {
    String::from_utf8(status::decode_bin(raw.as_bytes())?).ok()
}

fn uri(authority: Authority, path: String) -> Uri {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority);
    parts.path_and_query =
        Some(PathAndQuery::try_from(path).unwrap_or_else(|_| PathAndQuery::from_static("/")));
    Uri::from_parts(parts).unwrap_or_default()
}

fn encoding_of(raw: &HeaderValue) -> Option<Box<str>> {
    let raw = raw.to_str().ok()?;
    (raw != "identity" && !raw.is_empty()).then(|| raw.into())
}

fn says_trailers(value: &HeaderValue) -> bool {
    value
        .as_bytes()
        .split(|b| *b == b',')
        .any(|part| part.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

fn lossy(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

impl Refused {
    pub(crate) const fn code(&self) -> Option<Code> {
        match self {
            Self::Method | Self::ContentType => None,
            Self::Te | Self::Timeout => Some(Code::Internal),
            Self::Path(_) => Some(Code::Unimplemented),
        }
    }
}

#[cfg(test)]
mod tests;
