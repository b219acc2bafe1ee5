//! From entries to HTTP headers and back without loss: a pack stands beside headers that cannot
//! hold everything.
//!
//! The sources are PROTOCOL-HTTP2.md ("Custom-Metadata") and gopkg `cloud/metainfo/http.go`. The
//! `ripcord-*` names are those of `wire/grpc/keys.rs`.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::stream::{Entry, Metadata, Scope};
use crate::wire::grpc::metadata::put;
use crate::wire::grpc::{keys, status};

/// The longest pack that is put into the headers of a request or response. Peers limit header
/// blocks.
const MAX_PACK: usize = 3 * 1024;

/// The end of a header's name whose value is base64 (PROTOCOL-HTTP2.md, "Custom-Metadata").
const BINARY: &str = "-bin";

/// The beginning of a transit key that is already one hop old.
const UPSTREAM: &[u8] = b"UPSTREAM_";

/// With more entries than these, the live K of an `UPSTREAM_K` is not looked for.
const MAX_UPSTREAM: usize = 256;

/// Which headers. Only a request's contain metainfo.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeadersOf {
    /// The headers of a request.
    Request,
    /// The headers or trailers of a response.
    Response,
}

impl HeadersOf {
    /// Whether the name belongs to this wire, or the head has a field for it.
    fn is_reserved(self, name: &str) -> bool {
        keys::is_reserved(name)
            || match self {
                Self::Request => keys::is_carried(name) || name == keys::SOURCE_SERVICE,
                Self::Response => name.starts_with(keys::PREFIX_RIPCORD),
            }
    }
}

/// Reads headers as entries. The pack replaces them if it counts.
pub(crate) fn exact(headers: &HeaderMap, place: HeadersOf) -> Metadata {
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

/// What a peer reads of `metadata` from the headers alone.
pub(crate) fn rendered(metadata: &Metadata, place: HeadersOf) -> Metadata {
    let mut headers = HeaderMap::with_capacity(metadata.len());
    write(metadata, place, &mut headers);
    read(&headers, place)
}

/// Writes the entries, and their pack if the headers do not hold everything.
pub(super) fn write_exact(metadata: &Metadata, place: HeadersOf, headers: &mut HeaderMap) {
    if !write(metadata, place, headers) {
        let pack = status::encode_bin(&metadata.pack());
        if pack.len() <= MAX_PACK {
            put(headers, HeaderName::from_static(keys::META), &pack);
        }
    }
}

/// Metainfo under a name that ends in `-bin` is base64, as every such header (Kitex
/// `nphttp2/grpc/http_util.go`, `encodeMetadataHeader`). What is no base64 stays as it is.
fn read(headers: &HeaderMap, place: HeadersOf) -> Metadata {
    let mut out = Metadata::with_capacity(headers.len());
    for (name, value) in headers {
        let name = name.as_str();
        let value = value.as_bytes();
        if place.is_reserved(name) {
            continue;
        }
        let metainfo = match place {
            HeadersOf::Request => metainfo(name),
            HeadersOf::Response => None,
        };
        if let Some((scope, rest)) = metainfo {
            if !rest.is_empty() && !value.is_empty() {
                let key = rest.replace('-', "_").to_ascii_uppercase();
                let raw = name.ends_with(BINARY).then(|| status::decode_bin(value));
                out.push(scope, key, raw.flatten().unwrap_or_else(|| value.to_vec()));
            }
        } else if name.ends_with(BINARY) {
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

/// Writes entries as headers, and drops what HTTP/2 has no form for. Returns whether the headers
/// hold everything.
pub(crate) fn write(metadata: &Metadata, place: HeadersOf, headers: &mut HeaderMap) -> bool {
    let mut exact = true;
    let mut last: Option<HeaderName> = None;
    for entry in metadata {
        let Some(name) = name_of(entry, place, metadata) else {
            exact = false;
            continue;
        };
        // A header map keeps the values of one name together, so their order among other names is
        // lost.
        let again = headers.contains_key(&name);
        exact &= !again || last.as_ref() == Some(&name);
        exact &= is_exact(entry, &name, place);
        if !name.as_str().ends_with(BINARY) {
            let value = entry.value.trim_ascii();
            exact &= value.len() == entry.value.len();
            exact &= append(headers, name.clone(), value);
        } else if entry.scope == Scope::Plain {
            let parts: Option<Vec<_>> = entry
                .value
                .split(|b| *b == b',')
                .map(|part| status::decode_bin(part.trim_ascii()))
                .collect();
            // A TTHeader peer does not know `-bin`: its bytes are then the value.
            for raw in parts.unwrap_or_else(|| vec![entry.value.to_vec()]) {
                let text = status::encode_bin(&raw);
                exact &= text.as_bytes() == entry.value;
                exact &= append(headers, name.clone(), text.as_bytes());
            }
        } else {
            let text = status::encode_bin(&entry.value);
            exact &= append(headers, name.clone(), text.as_bytes());
        }
        last = Some(name);
    }
    exact
}

/// The header name for an entry, if it can be written.
fn name_of(entry: &Entry, place: HeadersOf, among: &Metadata) -> Option<HeaderName> {
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
        // To its receiver, an `UPSTREAM_K` is a K that goes no further. That is also what a gRPC
        // receiver makes of the K that it gets.
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
fn is_exact(entry: &Entry, name: &HeaderName, place: HeadersOf) -> bool {
    match (entry.scope, place) {
        (Scope::Plain, HeadersOf::Request) => {
            name.as_str().as_bytes() == entry.key && metainfo(name.as_str()).is_none()
        }
        (Scope::Plain, HeadersOf::Response) => name.as_str().as_bytes() == entry.key,
        (Scope::Transit | Scope::Persist, HeadersOf::Request) => {
            !entry.key.starts_with(UPSTREAM)
                && !entry
                    .key
                    .iter()
                    .any(|b| *b == b'-' || b.is_ascii_lowercase())
        }
        (Scope::Transit | Scope::Persist, HeadersOf::Response) => false,
    }
}

fn metainfo(name: &str) -> Option<(Scope, &str)> {
    let persist = name.strip_prefix(keys::PREFIX_PERSIST);
    let transit = name.strip_prefix(keys::PREFIX_TRANSIT);
    persist
        .map(|rest| (Scope::Persist, rest))
        .or(transit.map(|rest| (Scope::Transit, rest)))
}

/// Appends a header. Fails for values with control characters, and when the map is full (32,768
/// names).
fn append(headers: &mut HeaderMap, name: HeaderName, value: &[u8]) -> bool {
    HeaderValue::from_bytes(value).is_ok_and(|value| headers.try_append(name, value).is_ok())
}
