//! HTTP headers to heads and metadata and back.
//!
//! Follows PROTOCOL-HTTP2.md and gopkg `cloud/metainfo/http.go`. What HTTP headers cannot write
//! (case, bytes, order) rides in one `ripcord-meta-bin` header: see `grpc/keys.rs`.

use http::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, TE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::grpc::status::{self, Code};
use crate::grpc::{keys, metadata::refusal::Refused};
use crate::stream::{Entry, Metadata, Payload, RequestHead, ResponseHead, Scope};

mod refusal;
pub use refusal::Refusal;

/// The longest pack that is put into a request's or a response's headers: peers cap header blocks.
const MAX_PACK: usize = 3 * 1024;

/// Begins a transit key that is already one hop old.
const UPSTREAM: &[u8] = b"UPSTREAM_";

/// Among more entries than these the live K of an `UPSTREAM_K` is not looked for.
const MAX_UPSTREAM: usize = 256;

/// What a path segment cannot hold as it is. `/` is kept: a service's name may have some.
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

/// Reads a request; refuses as a gRPC server does what is not gRPC.
pub fn request_head(parts: &http::request::Parts) -> Result<RequestHead, Refusal> {
    let headers = &parts.headers;
    if parts.method != Method::POST {
        return Err(Refused::Method.into());
    }
    let Some(payload) = payload(headers) else {
        return Err(Refused::ContentType.into());
    };
    if headers.contains_key(TE) && !headers.get_all(TE).iter().any(says_trailers) {
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
    let timeout = match headers.get(keys::TIMEOUT) {
        Some(raw) => match status::parse_timeout(raw.as_bytes()) {
            Some(timeout) => Some(timeout),
            None => return Err(Refused::Timeout.into()),
        },
        None => None,
    };
    let to = match parts.uri.authority() {
        Some(authority) => Some(authority.as_str().to_owned()),
        None => headers.get(HOST).map(lossy),
    };
    Ok(RequestHead {
        service: service.to_owned(),
        method: method.to_owned(),
        to,
        caller: headers
            .get(keys::SOURCE_SERVICE)
            .map(lossy)
            .filter(|name| !name.is_empty()),
        payload,
        encoding: encoding(headers),
        timeout,
        metadata: exact(headers, Place::Request),
    })
}

/// Writes a request. An authority that is none is replaced by `localhost`.
#[must_use]
pub fn request(head: &RequestHead, scheme: &Scheme, authority: &str) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.version_mut() = http::Version::HTTP_2;
    *request.uri_mut() = uri(head, scheme, authority);
    let headers = request.headers_mut();
    put(headers, TE, "trailers");
    put_payload(headers, &head.payload);
    if let Some(timeout) = head.timeout {
        put(
            headers,
            HeaderName::from_static(keys::TIMEOUT),
            &status::format_timeout(timeout),
        );
    }
    if let Some(encoding) = &head.encoding {
        put(headers, HeaderName::from_static(keys::ENCODING), encoding);
    }
    if let Some(caller) = &head.caller {
        put(
            headers,
            HeaderName::from_static(keys::SOURCE_SERVICE),
            caller,
        );
    }
    write_exact(&head.metadata, Place::Request, headers);
    request
}

/// Reads a callee's headers. `explicit` is true; a Trailers-Only block is the caller's to see.
#[must_use]
pub fn response_head(headers: &HeaderMap) -> ResponseHead {
    ResponseHead {
        encoding: encoding(headers),
        metadata: exact(headers, Place::Response),
        explicit: true,
    }
}

/// Writes a callee's headers.
#[must_use]
pub fn response(head: &ResponseHead, payload: &Payload) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::OK;
    *response.version_mut() = http::Version::HTTP_2;
    let headers = response.headers_mut();
    put_payload(headers, payload);
    if let Some(encoding) = &head.encoding {
        put(headers, HeaderName::from_static(keys::ENCODING), encoding);
    }
    write_exact(&head.metadata, Place::Response, headers);
    response
}

/// The kind of payload that the content type says; `None` if it is not gRPC's.
#[must_use]
pub fn payload(headers: &HeaderMap) -> Option<Payload> {
    let raw = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let raw = raw.to_ascii_lowercase();
    let rest = raw.trim().strip_prefix("application/grpc")?;
    let subtype = match rest.chars().next() {
        None | Some(';') => "",
        Some('+') => rest.get(1..)?.split(';').next().unwrap_or_default().trim(),
        Some(_) => return None,
    };
    Some(match subtype {
        "" | "proto" => Payload::Protobuf,
        "thrift" => Payload::Thrift,
        other => Payload::Other(other.into()),
    })
}

/// Writes the content type.
pub(crate) fn put_payload(headers: &mut HeaderMap, payload: &Payload) {
    match payload {
        Payload::Protobuf => put(headers, CONTENT_TYPE, "application/grpc"),
        Payload::Thrift => put(headers, CONTENT_TYPE, "application/grpc+thrift"),
        Payload::Other(subtype) => {
            put(
                headers,
                CONTENT_TYPE,
                &format!("application/grpc+{subtype}"),
            );
        }
    }
}

/// Which headers: only a request's have metainfo in them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A request's.
    Request,
    /// A response's headers or trailers.
    Response,
}

impl Place {
    /// Headers of this wire, and what the head has a field for.
    fn is_reserved(self, name: &str) -> bool {
        keys::is_reserved(name)
            || match self {
                Self::Request => keys::is_carried(name) || name == keys::SOURCE_SERVICE,
                Self::Response => name.starts_with(keys::PREFIX_RIPCORD),
            }
    }
}

/// Headers to entries, the carried ones where they count.
pub(crate) fn exact(headers: &HeaderMap, place: Place) -> Metadata {
    let native = read(headers, place);
    let packed = headers
        .get(keys::META)
        .and_then(|raw| status::decode_bin(raw.as_bytes()))
        .and_then(|raw| Metadata::unpack(raw.into()));
    match packed {
        Some(packed) => {
            let beside = rendered(&packed, place);
            Metadata::reconcile(native, packed, &beside)
        }
        None => native,
    }
}

/// What a peer reads of `metadata` when it has only the headers.
pub(crate) fn rendered(metadata: &Metadata, place: Place) -> Metadata {
    let mut headers = HeaderMap::with_capacity(metadata.len());
    write(metadata, place, &mut headers);
    read(&headers, place)
}

/// Writes the entries, and their pack where the headers do not say all of it.
fn write_exact(metadata: &Metadata, place: Place, headers: &mut HeaderMap) {
    if !write(metadata, place, headers) {
        let pack = status::encode_bin(&metadata.pack());
        if pack.len() <= MAX_PACK {
            put(headers, HeaderName::from_static(keys::META), &pack);
        }
    }
}

fn read(headers: &HeaderMap, place: Place) -> Metadata {
    let mut out = Metadata::with_capacity(headers.len());
    for (name, value) in headers {
        let name = name.as_str();
        let value = value.as_bytes();
        if place.is_reserved(name) {
            continue;
        }
        let metainfo = match place {
            Place::Request => metainfo(name),
            Place::Response => None,
        };
        if let Some((scope, rest)) = metainfo {
            if !rest.is_empty() && !value.is_empty() {
                let key = rest.replace('-', "_").to_ascii_uppercase();
                out.push(scope, key, value.to_vec());
            }
        } else if name.ends_with("-bin") {
            for part in value.split(|b| *b == b',') {
                if let Some(raw) = status::decode_bin(part.trim_ascii()) {
                    out.push(Scope::Plain, name.to_owned(), status::encode_bin(&raw));
                }
            }
        } else {
            out.push(Scope::Plain, name.to_owned(), value.to_vec());
        }
    }
    out
}

/// Entries to headers; drops what HTTP/2 has no form for. Whether the headers say all of it.
pub(crate) fn write(metadata: &Metadata, place: Place, headers: &mut HeaderMap) -> bool {
    let mut exact = true;
    let mut last: Option<HeaderName> = None;
    for entry in metadata {
        let Some(name) = name_of(entry, place, metadata) else {
            exact = false;
            continue;
        };
        // A header map keeps the values of one name together, wherever they stood.
        let again = headers.contains_key(&name);
        exact &= !again || last.as_ref() == Some(&name);
        exact &= is_exact(entry, &name, place);
        if entry.scope == Scope::Plain && name.as_str().ends_with("-bin") {
            let parts: Option<Vec<_>> = entry
                .value
                .split(|b| *b == b',')
                .map(|part| status::decode_bin(part.trim_ascii()))
                .collect();
            // A TTHeader peer knows nothing of `-bin`: its bytes are the value then.
            for raw in parts.unwrap_or_else(|| vec![entry.value.to_vec()]) {
                let text = status::encode_bin(&raw);
                exact &= text.as_bytes() == entry.value;
                exact &= append(headers, name.clone(), text.as_bytes());
            }
        } else {
            let value = entry.value.trim_ascii();
            exact &= value.len() == entry.value.len();
            exact &= append(headers, name.clone(), value);
        }
        last = Some(name);
    }
    exact
}

/// The header under which an entry is written, if it can be.
fn name_of(entry: &Entry, place: Place, among: &Metadata) -> Option<HeaderName> {
    let metainfo = |prefix: &str, key: &[u8]| {
        if key.is_empty() || entry.value.is_empty() {
            return None;
        }
        let key = std::str::from_utf8(key).ok()?.replace('_', "-");
        HeaderName::from_bytes(format!("{prefix}{key}").as_bytes()).ok()
    };
    match entry.scope {
        Scope::Plain => HeaderName::from_bytes(&entry.key)
            .ok()
            .filter(|name| !place.is_reserved(name.as_str())),
        Scope::Persist => metainfo(keys::PREFIX_PERSIST, &entry.key),
        // To its receiver an `UPSTREAM_K` is a K that goes no further, which is just what a gRPC
        // receiver makes of the K it gets.
        Scope::Transit => match entry.key.strip_prefix(UPSTREAM) {
            Some(key) if among.len() <= MAX_UPSTREAM => {
                let live = std::str::from_utf8(key).ok()?;
                match among.get(Scope::Transit, live) {
                    Some(_) => None,
                    None => metainfo(keys::PREFIX_TRANSIT, key),
                }
            }
            Some(_) | None => metainfo(keys::PREFIX_TRANSIT, &entry.key),
        },
    }
}

/// Whether [`read`] makes the same key of the header.
fn is_exact(entry: &Entry, name: &HeaderName, place: Place) -> bool {
    match (entry.scope, place) {
        (Scope::Plain, Place::Request) => {
            name.as_str().as_bytes() == entry.key && metainfo(name.as_str()).is_none()
        }
        (Scope::Plain, Place::Response) => name.as_str().as_bytes() == entry.key,
        (Scope::Transit | Scope::Persist, Place::Request) => {
            !entry.key.starts_with(UPSTREAM)
                && !entry
                    .key
                    .iter()
                    .any(|b| *b == b'-' || b.is_ascii_lowercase())
        }
        (Scope::Transit | Scope::Persist, Place::Response) => false,
    }
}

fn metainfo(name: &str) -> Option<(Scope, &str)> {
    let persist = name.strip_prefix(keys::PREFIX_PERSIST);
    let transit = name.strip_prefix(keys::PREFIX_TRANSIT);
    persist
        .map(|rest| (Scope::Persist, rest))
        .or(transit.map(|rest| (Scope::Transit, rest)))
}

/// Fails for values with control characters, and when the map is full (32,768 names).
fn append(headers: &mut HeaderMap, name: HeaderName, value: &[u8]) -> bool {
    HeaderValue::from_bytes(value).is_ok_and(|value| headers.try_append(name, value).is_ok())
}

/// Writes a header of our own, if its value can be written.
pub(crate) fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        let _ = headers.try_insert(name, value);
    }
}

fn uri(head: &RequestHead, scheme: &Scheme, authority: &str) -> Uri {
    let path = format!(
        "/{}/{}",
        utf8_percent_encode(&head.service, PATH),
        utf8_percent_encode(&head.method, PATH)
    );
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme.clone());
    parts.authority = Some(
        Authority::try_from(authority)
            .unwrap_or_else(|_| Authority::from_static("localhost")),
    );
    parts.path_and_query =
        Some(PathAndQuery::try_from(path).unwrap_or_else(|_| PathAndQuery::from_static("/")));
    Uri::from_parts(parts).unwrap_or_default()
}

fn encoding(headers: &HeaderMap) -> Option<Box<str>> {
    let raw = headers.get(keys::ENCODING)?.to_str().ok()?;
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
