//! From entries to HTTP headers and back without loss: a pack stands beside headers that cannot
//! hold everything.
//!
//! The sources are PROTOCOL-HTTP2.md ("Custom-Metadata") and gopkg `cloud/metainfo/http.go`. The
//! `ripcord-*` names are those of `wire/grpc/keys.rs`.

use std::cell::OnceCell;
use std::collections::HashSet;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::stream::{Cut, Entry, Metadata, Scope};
use crate::wire::grpc::metadata::packed::{self, Room};
use crate::wire::grpc::{keys, status};

/// The end of a header's name whose value is base64 (PROTOCOL-HTTP2.md, "Custom-Metadata").
const BINARY: &str = "-bin";

/// The beginning of a transit key that is already one hop old.
const UPSTREAM: &[u8] = b"UPSTREAM_";

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

/// Reads headers as entries. The carried fields replace them if they count.
pub(crate) fn exact(headers: &HeaderMap, place: HeadersOf) -> Metadata {
    let (native, carried) = read(headers, place);
    packed::exact(native, carried, place, |packed| rendered(packed, place))
}

/// The carried fields among headers, the first of each name, not checked yet.
#[derive(Default)]
pub(super) struct Carried<'a> {
    pub(super) entries: Option<&'a HeaderValue>,
    pub(super) names: Option<&'a HeaderValue>,
}

impl<'a> Carried<'a> {
    fn see(&mut self, name: &str, value: &'a HeaderValue) {
        match name {
            keys::META => {
                self.entries.get_or_insert(value);
            }
            keys::NAMES => {
                self.names.get_or_insert(value);
            }
            _ => {}
        }
    }
}

/// What a peer reads of `metadata` from the headers alone.
pub(crate) fn rendered(metadata: &Metadata, place: HeadersOf) -> Metadata {
    let mut headers = HeaderMap::with_capacity(metadata.len());
    write(metadata, place, &mut headers);
    read(&headers, place).0
}

/// Writes the entries, and beside them what the headers change. Returns what had to be cut.
pub(super) fn write_exact(metadata: &Metadata, place: HeadersOf, headers: &mut HeaderMap) -> Cut {
    let changed = write(metadata, place, headers);
    packed::carry(metadata, &changed, Room::HEAD, headers)
}

/// Writes what the headers change beside headers that have the entries already, as far as `room`
/// allows. Returns what had to be cut.
pub(crate) fn write_exact_within(
    metadata: &Metadata,
    place: HeadersOf,
    room: Room,
    headers: &mut HeaderMap,
) -> Cut {
    let changed = write(metadata, place, &mut HeaderMap::new());
    packed::carry(metadata, &changed, room, headers)
}

/// How a header changes its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// The value is as it was.
    Key,
    /// The value is another, or there is no header.
    Whole,
}

/// The entries that the headers change, by their places, in order. Empty for most heads.
#[derive(Debug, Default)]
pub(crate) struct Changed(Vec<(usize, Change)>);

impl Changed {
    /// Whether the headers hold everything.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn places(&self) -> impl Iterator<Item = usize> {
        self.0.iter().map(|(at, _)| *at)
    }

    /// Whether nothing but the key of the entry at this place is changed.
    pub(super) fn is_key_alone(&self, at: usize) -> bool {
        let found = self.0.binary_search_by_key(&at, |(at, _)| *at);
        found.is_ok_and(|i| {
            self.0
                .get(i)
                .is_some_and(|(_, change)| *change == Change::Key)
        })
    }
}

/// The values of a header whose name ends in `-bin`: base64, several with commas between.
fn binary(value: &[u8]) -> Option<Vec<Vec<u8>>> {
    let parts = value.split(|b| *b == b',');
    parts
        .map(|part| status::decode_bin(part.trim_ascii()))
        .collect()
}

/// Metainfo under a name that ends in `-bin` is base64, as every such header (Kitex
/// `nphttp2/grpc/http_util.go`, `encodeMetadataHeader`).
fn read(headers: &HeaderMap, place: HeadersOf) -> (Metadata, Carried<'_>) {
    let mut out = Metadata::with_capacity(headers.len());
    let mut carried = Carried::default();
    for (name, value) in headers {
        let name = name.as_str();
        if place.is_reserved(name) {
            carried.see(name, value);
            continue;
        }
        let value = value.as_bytes();
        let metainfo = match place {
            HeadersOf::Request => metainfo(name),
            HeadersOf::Response => None,
        };
        if let Some((scope, rest)) = metainfo {
            if !rest.is_empty() && !value.is_empty() {
                let raw = match name.ends_with(BINARY) {
                    true => status::decode_bin(value),
                    false => Some(value.to_vec()),
                };
                match raw {
                    Some(raw) => out.push(scope, metainfo_key(rest), raw),
                    None => out.push_malformed(name.to_owned(), value.to_vec()),
                }
            }
        } else if name.ends_with(BINARY) {
            match binary(value) {
                Some(parts) => parts.iter().for_each(|raw| {
                    out.push(Scope::Plain, name.to_owned(), status::encode_bin(raw));
                }),
                None => out.push_malformed(name.to_owned(), value.to_vec()),
            }
        } else {
            out.push(Scope::Plain, name.to_owned(), value.to_vec());
        }
    }
    (out, carried)
}

/// Writes entries as headers, and drops what HTTP/2 has no form for.
pub(crate) fn write(metadata: &Metadata, place: HeadersOf, headers: &mut HeaderMap) -> Changed {
    let mut changed = Changed::default();
    let live = Live::default();
    for (at, entry) in metadata.iter().enumerate() {
        let Some(name) = name_of(entry, place, metadata, &live) else {
            changed.0.push((at, Change::Whole));
            continue;
        };
        let keeps_key = is_exact(entry, &name, place);
        let keeps_value = write_value(entry, name, headers);
        if !keeps_value {
            changed.0.push((at, Change::Whole));
        } else if !keeps_key {
            changed.0.push((at, Change::Key));
        }
    }
    for (name, value) in metadata.malformed() {
        let name = HeaderName::from_bytes(name).ok();
        if let Some(name) = name.filter(|name| !place.is_reserved(name.as_str())) {
            append(headers, name, value);
        }
    }
    changed
}

/// Writes the value of an entry. Returns whether a peer reads the same one.
fn write_value(entry: &Entry, name: HeaderName, headers: &mut HeaderMap) -> bool {
    if !name.as_str().ends_with(BINARY) {
        let value = entry.value.trim_ascii();
        let whole = value.len() == entry.value.len();
        return append(headers, name, value) && whole;
    }
    if entry.scope != Scope::Plain {
        let text = status::encode_bin(&entry.value);
        return append(headers, name, text.as_bytes());
    }
    let mut exact = true;
    // A TTHeader peer does not know `-bin`: its bytes are then the value.
    for raw in binary(&entry.value).unwrap_or_else(|| vec![entry.value.to_vec()]) {
        let text = status::encode_bin(&raw);
        exact &= text.as_bytes() == entry.value;
        exact &= append(headers, name.clone(), text.as_bytes());
    }
    exact
}

/// The keys of the transit entries, collected when they are first asked for.
#[derive(Default)]
struct Live<'a>(OnceCell<HashSet<&'a [u8]>>);

impl<'a> Live<'a> {
    fn has(&self, metadata: &'a Metadata, key: &[u8]) -> bool {
        let collect = || {
            let transit = metadata.iter().filter(|e| e.scope == Scope::Transit);
            transit.map(|entry| &*entry.key).collect()
        };
        self.0.get_or_init(collect).contains(key)
    }
}

/// The header name for an entry, if it can be written.
fn name_of<'a>(
    entry: &Entry,
    place: HeadersOf,
    among: &'a Metadata,
    live: &Live<'a>,
) -> Option<HeaderName> {
    let name = shared_name(entry)?;
    match entry.scope {
        Scope::Plain => (!place.is_reserved(name.as_str())).then_some(name),
        Scope::Transit | Scope::Persist if entry.value.is_empty() => None,
        Scope::Persist => Some(name),
        // Where the K itself is there, an `UPSTREAM_K` gives way.
        Scope::Transit => match entry.key.strip_prefix(UPSTREAM) {
            Some(key) if live.has(among, key) => None,
            Some(_) | None => Some(name),
        },
    }
}

/// The header name that an entry has or would have, whatever else there is. Entries with the same
/// one depend on each other.
///
/// To its receiver, an `UPSTREAM_K` is a K that goes no further. That is also what a gRPC receiver
/// makes of the K that it gets. So both have one name.
pub(super) fn shared_name(entry: &Entry) -> Option<HeaderName> {
    let metainfo = |prefix: &str, key: &[u8]| {
        let key = std::str::from_utf8(key).ok()?.replace('_', "-");
        let name = (!key.is_empty()).then(|| format!("{prefix}{key}"))?;
        HeaderName::from_bytes(name.as_bytes()).ok()
    };
    match entry.scope {
        Scope::Plain => HeaderName::from_bytes(&entry.key).ok(),
        Scope::Persist => metainfo(keys::PREFIX_PERSIST, &entry.key),
        Scope::Transit => {
            let key = entry.key.strip_prefix(UPSTREAM).unwrap_or(&entry.key);
            metainfo(keys::PREFIX_TRANSIT, key)
        }
    }
}

/// Scope and key that [`read`] makes of a name.
pub(super) fn read_key(name: &str, place: HeadersOf) -> Option<(Scope, String)> {
    if place.is_reserved(name) {
        return None;
    }
    let metainfo = match place {
        HeadersOf::Request => metainfo(name),
        HeadersOf::Response => None,
    };
    Some(match metainfo {
        Some((scope, rest)) => (scope, metainfo_key(rest)),
        None => (Scope::Plain, name.to_owned()),
    })
}

/// The key of metainfo, as gopkg `cloud/metainfo` makes it of a header's name.
fn metainfo_key(rest: &str) -> String {
    rest.replace('-', "_").to_ascii_uppercase()
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
