//! The TTHeader block: bounded decoding and encoding of one frame's header.

use bytes::Bytes;

/// The info blocks of one TTHeader frame, as they stood on the wire and in that order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// Int-keyed values (info id 0x10).
    pub ints: Vec<(u16, Bytes)>,
    /// String-keyed values (info id 0x01; the ACL token, 0x11, under `RPC_TRANSIT_gdpr-token`).
    pub strings: Vec<(Bytes, Bytes)>,
}

impl Info {
    /// The value of an int key.
    #[must_use]
    pub fn int(&self, key: u16) -> Option<&Bytes> {
        self.ints.iter().find(|(k, _)| *k == key).map(|(_, v)| v)
    }

    /// The value of a string key (exact, with case).
    #[must_use]
    pub fn string(&self, key: &str) -> Option<&Bytes> {
        self.strings
            .iter()
            .find(|(k, _)| k == key.as_bytes())
            .map(|(_, v)| v)
    }
}
