//! The wires, by their words in the file.

use std::fmt;

use super::hints;
use super::walk::{NodeRef, Walk};

/// A wire, by its word in the file. `crate::wire` has a wire of that name for each; a test checks
/// it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Protocol(&'static str);

impl Protocol {
    /// gRPC over HTTP/2 without TLS.
    pub const GRPC: Self = Self("grpc");
    /// Kitex TTHeader streaming.
    pub const TTHEADER: Self = Self("ttheader");
    /// The wire of `crate::testing`. Error messages do not offer it.
    #[cfg(feature = "memory-wire")]
    pub const MEMORY: Self = Self("memory");

    /// The offered words as text, for a missing key.
    pub(super) const WORDS: &str = "grpc or ttheader";

    /// The wires that error messages offer.
    const OFFERED: [Self; 2] = [Self::GRPC, Self::TTHEADER];

    /// Every wire of this build.
    pub const ALL: &[Self] = &[
        Self::GRPC,
        Self::TTHEADER,
        #[cfg(feature = "memory-wire")]
        Self::MEMORY,
    ];

    /// Its word in the file, which is its wire's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0
    }

    /// Reads a wire's word, or one of the `more` words.
    pub(super) fn read<T: Copy>(
        walk: &mut Walk,
        at: &NodeRef<'_>,
        more: &[(&'static str, T)],
        wrap: impl Fn(Self) -> T,
    ) -> Option<T> {
        if let Some(known) = Self::ALL.iter().find(|known| walk.is(at, known.0)) {
            return Some(wrap(*known));
        }
        let known = |word| more.iter().any(|(offered, _)| *offered == word);
        let tried = hints::PROTOCOLS.iter();
        let mut tried = tried.filter(|(word, _)| walk.is(at, word) && !known(*word));
        if let Some((_, hint)) = tried.next() {
            let words = more.iter().map(|(word, _)| *word);
            let words = words.chain(Self::OFFERED.map(Self::name));
            let allowed = words.collect::<Vec<_>>().join(", ");
            let found = at.quoted();
            let message = format!("unknown protocol {found}; allowed: {allowed} ({hint})");
            return walk.refuse(at, message);
        }
        let offered = Self::OFFERED.map(|protocol| (protocol.0, wrap(protocol)));
        walk.choice(at, "protocol", &[more, &offered].concat())
    }
}

impl Default for Protocol {
    fn default() -> Self {
        Self::GRPC
    }
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
