//! The carried fields beside headers that cannot hold every entry as it is.
//!
//! `ripcord-meta-bin` has the entries that HTTP/2 changes. An entry whose value survives may stand in
//! `ripcord-names-bin` instead, with its key alone: a long value needs no second copy.

use std::collections::HashMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::entries::{Carried, Changed, HeadersOf, read_key, shared_name};
use super::put;
use crate::stream::{Cut, Metadata, PACKED_ENTRY, Part};
use crate::wire::grpc::{keys, status};

/// The longest pack of entries in the head of a request or response, in characters. Peers limit
/// header blocks, and a ripcord that does not know the keys alone reads no more.
const MAX_ENTRIES: usize = 3 * 1024;

/// The longest list of keys alone in a head, in characters.
const MAX_NAMES: usize = 2 * 1024;

/// How many characters the carried fields of entries may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    entries: usize,
    names: usize,
}

impl Room {
    /// That of a head.
    pub(crate) const HEAD: Self = Self {
        entries: MAX_ENTRIES,
        names: MAX_NAMES,
    };

    /// Nothing.
    pub(crate) const NONE: Self = Self {
        entries: 0,
        names: 0,
    };

    /// As much as is needed.
    pub(crate) const FREE: Self = Self {
        entries: usize::MAX,
        names: 0,
    };

    /// `size` bytes for both fields, of which `field` go with each.
    pub(crate) fn within(size: usize, field: usize) -> Self {
        let each = |name: &str| field + name.len();
        let names = (size / 2).saturating_sub(each(keys::NAMES));
        let entries = (size - size / 2).saturating_sub(each(keys::META));
        Self { entries, names }
    }

    /// The same for the fields of a head.
    pub(crate) fn of_head_within(size: usize, field: usize) -> Self {
        let Self { entries, names } = Self::within(size, field);
        Self {
            entries: entries.min(MAX_ENTRIES),
            names: names.min(MAX_NAMES),
        }
    }
}

/// The number of bytes whose base64 has at most `chars` characters.
const fn decoded(chars: usize) -> usize {
    chars / 4 * 3
}

/// Writes what the headers beside it changed of `metadata`, within `room`. Returns what did not
/// fit, with its keys.
pub(crate) fn carry(
    metadata: &Metadata,
    changed: &Changed,
    room: Room,
    headers: &mut HeaderMap,
) -> Cut {
    let mut cut = Cut::default();
    if changed.is_empty() {
        return cut;
    }
    let groups = groups(metadata, changed);
    let (pack, left) = metadata.pack_groups(groups, decoded(room.entries));
    say(headers, keys::META, &pack);
    let mut names = Metadata::new();
    let mut free = decoded(room.names);
    for group in left {
        let alone = match *group {
            [at] if changed.is_key_alone(at) => metadata.iter().nth(at),
            _ => None,
        };
        let needed = |key: &Bytes| free.checked_sub(key.len() + PACKED_ENTRY);
        match alone.and_then(|entry| needed(&entry.key).map(|rest| (entry, rest))) {
            Some((entry, rest)) => {
                free = rest;
                names.push(entry.scope, entry.key.clone(), Bytes::new());
            }
            None => {
                cut.insert(Part::Exact);
                let lost = |at: &usize| metadata.iter().nth(*at);
                for entry in group.iter().filter_map(lost) {
                    cut.insert_name(&entry.key);
                }
            }
        }
    }
    say(headers, keys::NAMES, &names.pack());
    cut
}

fn say(headers: &mut HeaderMap, name: &'static str, pack: &[u8]) {
    if !pack.is_empty() {
        let pack = status::encode_bin(pack);
        put(headers, HeaderName::from_static(name), &pack);
    }
}

/// The entries that have to be packed, by their places. Those that share a header are one group.
fn groups(metadata: &Metadata, changed: &Changed) -> Vec<Vec<usize>> {
    let names: Vec<_> = metadata.iter().map(shared_name).collect();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    // Peers choose the names, so the hash must not be one that they can attack.
    let mut named: HashMap<&HeaderName, usize> = HashMap::new();
    for at in changed.places() {
        match names.get(at).and_then(Option::as_ref) {
            None => groups.push(vec![at]),
            Some(name) => {
                named.entry(name).or_insert_with(|| {
                    groups.push(Vec::new());
                    groups.len() - 1
                });
            }
        }
    }
    for (at, name) in names.iter().enumerate() {
        let group = name.as_ref().and_then(|name| named.get(name));
        if let Some(group) = group.and_then(|group| groups.get_mut(*group)) {
            group.push(at);
        }
    }
    groups
}

/// The exact entries, if the carried fields agree with `native`, which was read beside them.
pub(super) fn exact(
    native: Metadata,
    carried: Carried<'_>,
    place: HeadersOf,
    rendered: impl FnOnce(&Metadata) -> Metadata,
) -> Metadata {
    let unpacked = |field: Option<&HeaderValue>| {
        let raw = status::decode_bin(field?.as_bytes())?;
        Metadata::unpack(raw.into())
    };
    let mut out = match unpacked(carried.entries) {
        Some(mut packed) => {
            // These stand in the headers or not at all (`end.rs`, `keep_no_business`).
            packed.retain(|entry| {
                ![keys::BIZ_STATUS, keys::BIZ_EXTRA]
                    .iter()
                    .any(|k| entry.key == *k)
            });
            let beside = [rendered(&packed)];
            Metadata::reconcile(native, packed, &beside)
        }
        None => native,
    };
    let names = unpacked(carried.names).unwrap_or_default();
    for entry in names.into_iter().take(MAX_NAMES / PACKED_ENTRY) {
        if let Some(name) = shared_name(&entry)
            && let Some((scope, key)) = read_key(name.as_str(), place)
        {
            out.rename((scope, key.as_bytes()), (entry.scope, entry.key));
        }
    }
    out
}
