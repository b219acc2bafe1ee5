//! From entries to the strings of a frame and back without loss: a pack stands beside strings that
//! cannot hold everything.
//!
//! The source for metainfo is gopkg `cloud/metainfo`. The `ripcord-*` keys are those of
//! `wire/ttheader/keys.rs`.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::{Bytes, BytesMut};

use crate::stream::{Cut, Entry, Metadata, Part, Scope};
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

/// The entries that the strings change, as groups of places. Empty for most heads. Those that share
/// a string are one group.
#[derive(Debug, Default)]
pub(crate) struct Changed(Vec<Vec<usize>>);

impl Changed {
    /// All `count` entries, each for itself.
    pub(crate) fn all(count: usize) -> Self {
        Self((0..count).map(|at| vec![at]).collect())
    }
}

/// A string to be: its key, its values, and the places of their entries.
struct Row {
    key: Bytes,
    values: Vec<Bytes>,
    places: Vec<usize>,
    /// Whether [`read`] makes the same entries of it.
    exact: bool,
}

/// Writes entries as strings. Repeated keys are joined, since a Kitex peer reads a map.
pub(crate) fn write(
    metadata: &Metadata,
    place: HeadersOf,
    joined: Joined,
    out: &mut Vec<(Bytes, Bytes)>,
) -> Changed {
    let mut changed = Changed::default();
    if metadata.is_empty() {
        return changed;
    }
    let mut rows: Vec<Row> = Vec::with_capacity(metadata.len());
    // Peers choose the keys, so the hash must not be one that they can attack. Most heads need
    // none.
    let mut index: HashMap<Bytes, usize> = HashMap::new();
    for (at, entry) in metadata.iter().enumerate() {
        let fits = entry.value.len() <= MAX_VALUE;
        if place == HeadersOf::Request
            && entry.scope == Scope::Plain
            && int_key(&entry.key).is_some()
        {
            if !fits {
                changed.0.push(vec![at]);
            }
            continue;
        }
        if is_hop_only(&entry.key) {
            continue;
        }
        let Some(key) = string_key(entry, place).filter(|key| key.len() <= MAX_VALUE) else {
            changed.0.push(vec![at]);
            continue;
        };
        if index.is_empty() && rows.len() >= INDEX_ABOVE {
            index.extend(rows.iter().enumerate().map(|(i, row)| (row.key.clone(), i)));
        }
        let found = if rows.len() < INDEX_ABOVE {
            rows.iter().position(|row| row.key == key)
        } else {
            index.get(&key).copied()
        };
        let is_new = found.is_none();
        if is_new {
            if !index.is_empty() {
                index.insert(key.clone(), rows.len());
            }
            rows.push(Row {
                key,
                values: Vec::with_capacity(1),
                places: Vec::with_capacity(1),
                exact: true,
            });
        }
        let last = rows.len().saturating_sub(1);
        if let Some(row) = rows.get_mut(found.unwrap_or(last)) {
            // Crumbs of a cookie are one value, in one piece or in many.
            row.exact &= fits && keeps_its_meaning(entry, place);
            row.exact &= is_new || is_cookie(&row.key, joined);
            row.places.push(at);
            if fits {
                row.values.push(entry.value.clone());
            }
        }
    }
    for row in rows {
        if !row.values.is_empty() {
            let by: &[u8] = if is_cookie(&row.key, joined) {
                b"; "
            } else {
                b","
            };
            out.push((row.key, join(row.values, by)));
        }
        if !row.exact {
            changed.0.push(row.places);
        }
    }
    changed
}

/// How repeated keys are joined.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joined {
    /// With commas, and cookies as RFC 9113 (8.2.3) has it, with `; `.
    Each,
    /// With commas, cookies too. Only read, from a ripcord that joined so.
    Commas,
}

fn is_cookie(key: &[u8], joined: Joined) -> bool {
    let name = [keys::PREFIX_PERSIST, keys::PREFIX_TRANSIT]
        .into_iter()
        .find_map(|prefix| key.strip_prefix(prefix))
        .unwrap_or(key);
    joined == Joined::Each && name.eq_ignore_ascii_case(b"cookie")
}

/// Up to so many keys are found by comparing each.
const INDEX_ABOVE: usize = 16;

/// Values joined, as many as fit.
fn join(values: Vec<Bytes>, by: &[u8]) -> Bytes {
    let mut values = values.into_iter();
    let first = values.next().unwrap_or_default();
    if values.len() == 0 {
        return first;
    }
    let mut joined = BytesMut::from(&first[..]);
    for value in values {
        if joined.len() + by.len() + value.len() > MAX_VALUE {
            break;
        }
        joined.extend_from_slice(by);
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
fn rendered(metadata: &Metadata, place: HeadersOf, joined: Joined) -> Metadata {
    let mut strings = Vec::with_capacity(metadata.len());
    write(metadata, place, joined, &mut strings);
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

/// The pack of what the strings change of `metadata`, in base64; `None` when that is nothing.
/// Also what has no room in it.
pub(crate) fn pack(metadata: &Metadata, changed: Changed) -> (Option<String>, Cut) {
    let mut cut = Cut::default();
    if changed.0.is_empty() {
        return (None, cut);
    }
    let (pack, left) = metadata.pack_groups(changed.0, MAX_VALUE / 4 * 3);
    if !left.is_empty() {
        cut.insert(Part::Exact);
    }
    let pack = (!pack.is_empty()).then(|| STANDARD_NO_PAD.encode(pack));
    (pack, cut)
}

/// Whether the key lists a gRPC peer's own compressions. Messages are decompressed toward TTHeader,
/// and nobody there can ask for compressed ones.
fn is_hop_only(key: &[u8]) -> bool {
    key.eq_ignore_ascii_case(b"grpc-accept-encoding")
}

/// Writes the entries, and a pack of what the strings change. Returns what had to be cut.
pub(super) fn write_exact(
    metadata: &Metadata,
    place: HeadersOf,
    out: &mut Vec<(Bytes, Bytes)>,
) -> Cut {
    let changed = write(metadata, place, Joined::Each, out);
    let (pack, cut) = pack(metadata, changed);
    if let Some(pack) = pack {
        push(out, keys::CARRIED_META, &pack);
    }
    cut
}

/// `native`, with the carried entries in place of what they render to.
pub(super) fn exact(info: &Info, native: Metadata, place: HeadersOf) -> Metadata {
    let Some(packed) = unpacked(info) else {
        return native;
    };
    let joined = [Joined::Each, Joined::Commas];
    let beside = joined.map(|joined| rendered(&packed, place, joined));
    Metadata::reconcile(native, packed, &beside)
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
