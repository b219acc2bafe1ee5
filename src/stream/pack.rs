//! Packs metadata into one opaque value. One wire's native form would change the other's entries;
//! the pack carries the exact ones beside it. This is ripcord's own format, so no specification has
//! it.
//!
//! The sender writes the native entries and packs those that they change ([`Metadata::pack_groups`]).
//! The receiver reads both:
//!
//! 1. [`Metadata::unpack`] reads the exact entries of the pack.
//! 2. The receiver renders them: it computes what a peer would have read without the pack.
//! 3. [`Metadata::reconcile`] compares that with the native entries that came. When all rendered
//!    entries are there, the exact ones replace them. The other native entries are kept.
//! 4. When one is missing, a proxy changed the native entries or the pack is forged. The native
//!    entries then stand.
//!
//! Entries that share a native field are packed together or not at all, so their order survives.
//! The order of entries with different keys means nothing on any wire, and is not kept.
//!
//! The format of an entry: scope (0 plain, 1 transit, 2 persist), key length and value length as
//! big-endian u32, key, value.

use std::collections::HashMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::stream::{Entry, Metadata, Scope};

/// The most entries that are read from a pack.
const MAX_ENTRIES: usize = 4096;

/// Bytes of a packed entry beside its key and value.
pub const ENTRY: usize = 9;

impl Metadata {
    /// Packs all entries, in order.
    #[must_use]
    pub fn pack(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.size() + self.len() * ENTRY);
        for entry in self {
            out.put_u8(match entry.scope {
                Scope::Plain => 0,
                Scope::Transit => 1,
                Scope::Persist => 2,
            });
            out.put_u32(u32::try_from(entry.key.len()).unwrap_or(u32::MAX));
            out.put_u32(u32::try_from(entry.value.len()).unwrap_or(u32::MAX));
            out.extend_from_slice(&entry.key);
            out.extend_from_slice(&entry.value);
        }
        out.freeze()
    }

    /// Packs groups of entries, given by their places, within `room` bytes. Small groups come
    /// first, so that as many as possible are packed. The entries keep their order. Returns the
    /// groups that do not fit, too.
    #[must_use]
    pub fn pack_groups(
        &self,
        mut groups: Vec<Vec<usize>>,
        mut room: usize,
    ) -> (Bytes, Vec<Vec<usize>>) {
        let size = |group: &Vec<usize>| -> usize {
            let entries = group.iter().filter_map(|at| self.entries().get(*at));
            entries.map(|e| e.key.len() + e.value.len() + ENTRY).sum()
        };
        groups.sort_by_cached_key(size);
        let (mut packed, mut left) = (Vec::new(), Vec::new());
        for group in groups {
            match room.checked_sub(size(&group)) {
                Some(rest) => {
                    room = rest;
                    packed.extend(group);
                }
                None => left.push(group),
            }
        }
        packed.sort_unstable();
        let mut chosen = Self::with_capacity(packed.len());
        for entry in packed.iter().filter_map(|at| self.entries().get(*at)) {
            chosen.push(entry.scope, entry.key.clone(), entry.value.clone());
        }
        (chosen.pack(), left)
    }

    /// Reads a pack; `None` for anything that [`Metadata::pack`] does not write.
    #[must_use]
    pub fn unpack(mut packed: Bytes) -> Option<Self> {
        let mut out = Self::new();
        while packed.has_remaining() {
            let scope = match packed.try_get_u8().ok()? {
                0 => Scope::Plain,
                1 => Scope::Transit,
                2 => Scope::Persist,
                _ => return None,
            };
            let key = packed.try_get_u32().ok()? as usize;
            let value = packed.try_get_u32().ok()? as usize;
            if key.checked_add(value)? > packed.remaining() || out.len() == MAX_ENTRIES {
                return None;
            }
            let key = packed.split_to(key);
            out.push(scope, key, packed.split_to(value));
        }
        Some(out)
    }

    /// The exact entries of `packed`, if the entries in `native` are what they render to.
    ///
    /// `rendered` is what a peer would have read of `packed` without the pack, in each way in which
    /// it may have been written. All of one must be in `native`. Further native entries come after
    /// the exact ones, and malformed fields stay. If a rendered entry is missing, the pack is forged or the native entries were
    /// changed: the result is `native`.
    #[must_use]
    pub fn reconcile(native: Self, mut packed: Self, rendered: &[Self]) -> Self {
        let Some(explained) = rendered.iter().find_map(|way| native.explained(way)) else {
            return native;
        };
        let rest = native.iter().zip(&explained).filter(|(_, done)| !**done);
        for (entry, _) in rest {
            packed.push(entry.scope, entry.key.clone(), entry.value.clone());
        }
        for (name, value) in native.malformed() {
            packed.push_malformed(name.clone(), value.clone());
        }
        packed
    }

    /// Which entries are among `rendered`; `None` if one of those is missing.
    fn explained(&self, rendered: &Self) -> Option<Vec<bool>> {
        // Peers choose the keys, so the hash must not be one that they can attack.
        let mut places: HashMap<Identity<'_>, Vec<usize>> = HashMap::new();
        for (at, entry) in self.iter().enumerate() {
            places.entry(entry.identity()).or_default().push(at);
        }
        let mut explained = vec![false; self.len()];
        for entry in rendered {
            let at = places.get_mut(&entry.identity())?.pop()?;
            *explained.get_mut(at)? = true;
        }
        Some(explained)
    }
}

/// Scope, key and value of an entry.
type Identity<'a> = (Scope, &'a [u8], &'a [u8]);

impl Entry {
    fn identity(&self) -> Identity<'_> {
        (self.scope, &self.key, &self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Metadata {
        let mut md = Metadata::new();
        md.push(Scope::Plain, "Foo", "1");
        md.push(Scope::Persist, "é", Bytes::from_static(b"\0\xff"));
        md.push(Scope::Transit, "K", "");
        md
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        assert_eq!(Metadata::unpack(sample().pack()), Some(sample()));
        let packed = sample().pack();
        for end in 1..packed.len() {
            let cut = Metadata::unpack(packed.slice(..end));
            assert!(cut.is_none_or(|md| md.len() < 3));
        }
        assert_eq!(Metadata::unpack(Bytes::from_static(&[9])), None);
        assert_eq!(
            Metadata::unpack(Bytes::from_static(&[
                0, 255, 255, 255, 255, 255, 255, 255, 255
            ])),
            None
        );
    }

    #[test]
    fn small_groups_are_packed_first_and_whole_groups_only() {
        let mut md = Metadata::new();
        for (key, value) in [("A", "1"), ("B", "2"), ("a", "3"), ("C", "44444444")] {
            md.push(Scope::Plain, key, value);
        }
        let groups = || vec![vec![3], vec![0, 2], vec![1]];
        let keys = |room| {
            let (pack, left) = md.pack_groups(groups(), room);
            assert!(pack.len() <= room);
            let packed = Metadata::unpack(pack).unwrap();
            let keys: Vec<_> = packed.iter().map(|e| e.key.clone()).collect();
            (keys.concat(), left)
        };
        assert_eq!(keys(100), (b"ABaC".to_vec(), vec![]));
        // 11 bytes for B, 18 for C, 22 for A and a.
        assert_eq!(keys(50), (b"BC".to_vec(), vec![vec![0, 2]]));
        assert_eq!(keys(28), (b"B".to_vec(), vec![vec![3], vec![0, 2]]));
        assert_eq!(keys(0).1.len(), 3);
    }

    #[test]
    fn a_pack_counts_only_beside_what_it_renders_to() {
        let mut rendered = Metadata::new();
        rendered.push(Scope::Plain, "foo", "1");
        let mut native = rendered.clone();
        native.push(Scope::Plain, "added", "x");
        native.push_malformed("bad-bin", "!");
        let exact = Metadata::reconcile(native, sample(), &[rendered.clone()]);
        assert_eq!(exact.len(), 4);
        assert_eq!(exact.malformed().len(), 1);
        let mut changed = Metadata::new();
        changed.push(Scope::Plain, "foo", "2");
        assert_eq!(
            Metadata::reconcile(changed.clone(), sample(), &[rendered.clone()]),
            changed
        );
    }
}
