//! Request and response metadata, in order, each entry with its scope.
//!
//! A plain key is what the wire had: lower case on gRPC, any bytes on TTHeader. A metainfo key
//! ([`Scope::Transit`], [`Scope::Persist`]) has TTHeader's spelling without its prefix (`ABC_DEF`).
//! A `-bin` value stays base64 text (unpadded), which every wire can write.

use bytes::Bytes;

/// How far an entry travels (gopkg `metainfo`). Plain entries are the application's own. Transit
/// entries live for one hop, persistent ones for the whole chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// An ordinary header or trailer.
    Plain,
    /// `RPC_TRANSIT_K` / `rpc-transit-k`.
    Transit,
    /// `RPC_PERSIST_K` / `rpc-persist-k`.
    Persist,
}

/// One key with one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// How far the entry travels.
    pub scope: Scope,
    /// The key, without the prefix of its scope.
    pub key: Bytes,
    /// The value; any bytes.
    pub value: Bytes,
}

/// An ordered multimap of metadata.
///
/// Beside its entries it may have malformed fields: a `-bin` name with a value that is no base64.
/// Only a wire that can write them as they came passes them on ([`Wire::verbatim`]); on the others
/// the stream ends ([`Metadata::malformed`]). They are no entries: nothing reads or counts them.
///
/// [`Wire::verbatim`]: crate::stream::Wire::verbatim
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    entries: Vec<Entry>,
    /// In a box: hardly any metadata has some.
    #[expect(clippy::box_collection, reason = "a third of the size of a vector")]
    malformed: Option<Box<Vec<(Bytes, Bytes)>>>,
}

impl Metadata {
    /// Without entries; allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            entries: Vec::new(),
            malformed: None,
        }
    }

    /// Room for `n` entries.
    #[must_use]
    pub fn with_capacity(n: usize) -> Self {
        Self {
            entries: Vec::with_capacity(n),
            malformed: None,
        }
    }

    /// Appends an entry. Earlier ones with the same key stay.
    pub fn push(&mut self, scope: Scope, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.entries.push(Entry {
            scope,
            key: key.into(),
            value: value.into(),
        });
    }

    /// The first value of `key` in `scope`. Plain keys match without case, metainfo keys with case.
    #[must_use]
    pub fn get(&self, scope: Scope, key: &str) -> Option<&Bytes> {
        self.entries
            .iter()
            .find(|e| e.is(scope, key))
            .map(|e| &e.value)
    }

    /// Removes every entry of `key` in `scope` and returns the first value.
    pub fn remove(&mut self, scope: Scope, key: &str) -> Option<Bytes> {
        let first = self.get(scope, key).cloned()?;
        self.entries.retain(|e| !e.is(scope, key));
        Some(first)
    }

    /// Keeps the entries that `keep` accepts.
    pub fn retain(&mut self, keep: impl FnMut(&Entry) -> bool) {
        self.entries.retain(keep);
    }

    /// The entries, in order.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Gives the first entry of `key` in `scope` another scope and key. Keys match with case.
    pub fn rename(&mut self, (scope, key): (Scope, &[u8]), to: (Scope, Bytes)) {
        let mut entries = self.entries.iter_mut();
        if let Some(entry) = entries.find(|e| e.scope == scope && e.key == key) {
            (entry.scope, entry.key) = to;
        }
    }

    /// The entries, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Entry> {
        self.entries.iter()
    }

    /// Appends a malformed field, as it came.
    pub fn push_malformed(&mut self, name: impl Into<Bytes>, value: impl Into<Bytes>) {
        let field = (name.into(), value.into());
        self.malformed.get_or_insert_default().push(field);
    }

    /// The malformed fields, names and values, in order.
    #[must_use]
    pub fn malformed(&self) -> &[(Bytes, Bytes)] {
        self.malformed.as_ref().map_or(&[], |fields| fields)
    }

    /// What is wrong with it, for people: the name of its first malformed field.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let (name, _) = self.malformed().first()?;
        let name = String::from_utf8_lossy(name);
        Some(format!("the value of {name} is not base64"))
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The number of entries and malformed fields.
    #[must_use]
    pub fn fields(&self) -> usize {
        self.entries.len() + self.malformed().len()
    }

    /// Whether there are no entries and no malformed fields.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.malformed.is_none()
    }

    /// The bytes of all keys and values, malformed fields included.
    #[must_use]
    pub fn size(&self) -> usize {
        let entries = self.entries.iter().map(|e| e.key.len() + e.value.len());
        let malformed = self
            .malformed()
            .iter()
            .map(|(name, value)| name.len() + value.len());
        entries.chain(malformed).sum()
    }
}

impl Entry {
    fn is(&self, scope: Scope, key: &str) -> bool {
        self.scope == scope
            && match scope {
                Scope::Plain => self.key.eq_ignore_ascii_case(key.as_bytes()),
                Scope::Transit | Scope::Persist => self.key == key.as_bytes(),
            }
    }
}

impl<'a> IntoIterator for &'a Metadata {
    type Item = &'a Entry;
    type IntoIter = std::slice::Iter<'a, Entry>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Metadata {
    type Item = Entry;
    type IntoIter = std::vec::IntoIter<Entry>;
    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}
