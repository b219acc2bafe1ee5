//! Packs metadata into one opaque value. One wire's native form would change the other's entries;
//! the pack carries the exact ones beside it. This is ripcord's own format, so no specification has
//! it.
//!
//! The sender writes the native entries and the pack. The receiver reads both:
//!
//! 1. [`Metadata::unpack`] reads the exact entries of the pack.
//! 2. The receiver renders them: it computes what a peer would have read without the pack.
//! 3. [`Metadata::reconcile`] compares that with the native entries that came. When all rendered
//!    entries are there, the exact ones replace them. What a proxy between added is kept.
//! 4. When one is missing, a proxy changed the native entries or the pack is forged. The native
//!    entries then stand.
//!
//! The format of an entry: scope (0 plain, 1 transit, 2 persist), key length and value length as
//! big-endian u32, key, value.

use std::collections::HashMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::stream::{Entry, Metadata, Scope};

/// The most entries that are read from a pack.
const MAX_ENTRIES: usize = 4096;

impl Metadata {
    /// Packs all entries, in order.
    #[must_use]
    pub fn pack(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.size() + self.len() * 9);
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
    /// `rendered` is what a peer would have read of `packed` without the pack. All of it must be in
    /// `native`. Further native entries, which a proxy between added, come after the exact ones. If
    /// a rendered entry is missing, the pack is forged or the native entries were changed: the
    /// result is `native`.
    #[must_use]
    pub fn reconcile(native: Self, mut packed: Self, rendered: &Self) -> Self {
        // Peers choose the keys, so the hash must not be one that they can attack.
        let mut places: HashMap<Identity<'_>, Vec<usize>> = HashMap::new();
        for (at, entry) in native.iter().enumerate() {
            places.entry(entry.identity()).or_default().push(at);
        }
        let mut explained = vec![false; native.len()];
        for entry in rendered {
            let at = places.get_mut(&entry.identity()).and_then(Vec::pop);
            match at.and_then(|at| explained.get_mut(at)) {
                Some(done) => *done = true,
                None => return native,
            }
        }
        let rest = native.iter().zip(&explained).filter(|(_, done)| !**done);
        for (entry, _) in rest {
            packed.push(entry.scope, entry.key.clone(), entry.value.clone());
        }
        packed
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
    fn a_pack_counts_only_beside_what_it_renders_to() {
        let mut rendered = Metadata::new();
        rendered.push(Scope::Plain, "foo", "1");
        let mut native = rendered.clone();
        native.push(Scope::Plain, "added", "x");
        let exact = Metadata::reconcile(native, sample(), &rendered);
        assert_eq!(exact.len(), 4);
        let mut changed = Metadata::new();
        changed.push(Scope::Plain, "foo", "2");
        assert_eq!(
            Metadata::reconcile(changed.clone(), sample(), &rendered),
            changed
        );
    }
}
