//! From entries to the strings of a frame and back without loss: a pack stands beside strings that
//! cannot hold everything.
//!
//! The source for metainfo is gopkg `cloud/metainfo`. The `ripcord-*` keys are those of
//! `wire/ttheader/keys.rs`.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::{Bytes, BytesMut};

use crate::stream::{Entry, Metadata, Scope};
use crate::wire::ttheader::header::Info;
use crate::wire::ttheader::keys;

/// The longest value that an info block holds, in bytes.
pub(crate) const MAX_VALUE: usize = u16::MAX as usize;

/// Which strings. A request's are metainfo, a response's are read raw.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeadersOf {
    /// The Header of a request.
    Request,
    /// The Header or Trailer of a response.
    Response,
}

/// Reads strings as entries, without those that have another meaning.
pub(super) fn read(strings: &[(Bytes, Bytes)], place: HeadersOf, out: &mut Metadata) {
    for (key, value) in strings {
        let scoped = |prefix: &[u8]| {
            (place == HeadersOf::Request && key.starts_with(prefix)).then_some(prefix.len())
        };
        let (scope, prefix) = if let Some(n) = scoped(keys::PREFIX_PERSIST) {
            (Scope::Persist, n)
        } else if let Some(n) = scoped(keys::PREFIX_TRANSIT) {
            (Scope::Transit, n)
        } else {
            (Scope::Plain, 0)
        };
        if scope == Scope::Plain {
            // What only the proxy reads (`ripcord-int-N`, ...) stays in a request.
            let ours = keys::starts_with_no_case(key, keys::PREFIX_RIPCORD);
            let kept = ours && place == HeadersOf::Request && !is_carried(key);
            if (!kept && keys::is_reserved(key)) || is_hop_only(key) {
                continue;
            }
        } else if key.len() == prefix || value.is_empty() {
            continue;
        }
        out.push(scope, key.slice(prefix..), value.clone());
    }
}

/// Writes entries as strings. Repeated keys are joined with commas, since a Kitex peer reads a map.
/// Returns whether the strings hold everything.
pub(crate) fn write(metadata: &Metadata, place: HeadersOf, out: &mut Vec<(Bytes, Bytes)>) -> bool {
    let mut exact = true;
    let mut rows: Vec<(Bytes, Vec<Bytes>)> = Vec::with_capacity(metadata.len());
    // Peers choose the keys, so the hash must not be one that they can attack. Most heads need
    // none.
    let mut index: HashMap<Bytes, usize> = HashMap::new();
    for entry in metadata {
        if place == HeadersOf::Request
            && entry.scope == Scope::Plain
            && int_key(&entry.key).is_some()
        {
            // Int keys are read before the strings.
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

/// Up to so many keys are found by comparing each.
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

/// The key under which an entry is written, if it may be written.
fn string_key(entry: &Entry, place: HeadersOf) -> Option<Bytes> {
    match entry.scope {
        Scope::Plain => {
            let ours = keys::starts_with_no_case(&entry.key, keys::PREFIX_RIPCORD);
            let kept = ours && place == HeadersOf::Request && !is_carried(&entry.key);
            (kept || !(keys::is_reserved(&entry.key) || is_hop_only(&entry.key)))
                .then(|| entry.key.clone())
        }
        Scope::Transit | Scope::Persist if entry.key.is_empty() || entry.value.is_empty() => None,
        Scope::Transit => Some([keys::PREFIX_TRANSIT, &entry.key].concat().into()),
        Scope::Persist => Some([keys::PREFIX_PERSIST, &entry.key].concat().into()),
    }
}

/// Whether [`read`] makes the same entry of the key from [`string_key`].
fn keeps_its_meaning(entry: &Entry, place: HeadersOf) -> bool {
    match (entry.scope, place) {
        (Scope::Plain, HeadersOf::Request) => {
            !entry.key.starts_with(keys::PREFIX_PERSIST)
                && !entry.key.starts_with(keys::PREFIX_TRANSIT)
        }
        (Scope::Plain, HeadersOf::Response)
        | (Scope::Transit | Scope::Persist, HeadersOf::Request) => true,
        (Scope::Transit | Scope::Persist, HeadersOf::Response) => false,
    }
}

/// What a peer reads of `metadata` from the strings alone.
pub(crate) fn rendered(metadata: &Metadata, place: HeadersOf) -> Metadata {
    let mut strings = Vec::with_capacity(metadata.len());
    write(metadata, place, &mut strings);
    let mut out = Metadata::with_capacity(strings.len());
    if place == HeadersOf::Request {
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

/// The pack of `metadata` in base64, if it fits.
pub(crate) fn pack(metadata: &Metadata) -> Option<String> {
    let mut exact = std::borrow::Cow::Borrowed(metadata);
    if exact.iter().any(|e| is_hop_only(&e.key)) {
        exact.to_mut().retain(|e| !is_hop_only(&e.key));
    }
    Some(STANDARD_NO_PAD.encode(exact.pack())).filter(|pack| pack.len() <= MAX_VALUE)
}

/// Whether the key lists a gRPC peer's own compressions. Messages are decompressed toward TTHeader,
/// and nobody there can ask for compressed ones.
fn is_hop_only(key: &[u8]) -> bool {
    key.eq_ignore_ascii_case(b"grpc-accept-encoding")
}

/// Writes the entries, and their pack if the strings do not hold everything.
pub(super) fn write_exact(metadata: &Metadata, place: HeadersOf, out: &mut Vec<(Bytes, Bytes)>) {
    if !write(metadata, place, out)
        && let Some(pack) = pack(metadata)
    {
        push(out, keys::CARRIED_META, &pack);
    }
}

/// `native`, or the carried entries if they render to it.
pub(super) fn exact(info: &Info, native: Metadata, place: HeadersOf) -> Metadata {
    match unpacked(info) {
        Some(packed) => {
            let beside = rendered(&packed, place);
            Metadata::reconcile(native, packed, &beside)
        }
        None => native,
    }
}

/// The carried entries, not checked yet.
pub(crate) fn unpacked(info: &Info) -> Option<Metadata> {
    let raw = info.string(keys::CARRIED_META)?;
    Metadata::unpack(STANDARD_NO_PAD.decode(raw).ok()?.into())
}

/// Appends one of ripcord's own strings.
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
        keys::CARRIED_HOPS,
        keys::CARRIED_LIMIT,
        keys::CUT,
    ]
    .iter()
    .any(|name| key.eq_ignore_ascii_case(name.as_bytes()))
}

pub(super) fn int_key(key: &[u8]) -> Option<u16> {
    let number = key.strip_prefix(keys::PREFIX_INT.as_bytes())?;
    let number = std::str::from_utf8(number).ok()?.parse().ok()?;
    (!keys::is_own_int(number)).then_some(number)
}

/// As much of `value` as an info block holds.
pub(crate) fn bounded(value: &str) -> &[u8] {
    let mut end = value.len().min(MAX_VALUE);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    value.as_bytes().get(..end).unwrap_or_default()
}
