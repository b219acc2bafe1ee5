//! `cancel_as`, of backends and listeners: in which form TTHeader peers take a cancel.

use super::protocol::Protocol;
use super::walk::{NodeRef, Walk};

/// In which form a peer takes a cancel, and an end that this hop decided in mid stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CancelAs {
    /// What is found out about each endpoint. Backends only.
    Auto,
    /// A Rst frame. A listener's caller that does not know it is found out.
    Rst,
    /// A Trailer with an exception, for Kitex before v0.15.0.
    Trailer,
}

impl CancelAs {
    /// Its word in the file.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Rst => "rst",
            Self::Trailer => "trailer",
        }
    }
}

/// Reads it for peers of that protocol; `None` means any. A listener has no `auto`.
pub(super) fn read(
    walk: &mut Walk,
    at: &NodeRef<'_>,
    protocol: Option<Protocol>,
    auto: bool,
) -> Option<CancelAs> {
    let all = [CancelAs::Auto, CancelAs::Rst, CancelAs::Trailer];
    let words = all.map(|one| (one.word(), one));
    let offered = words.get(usize::from(!auto)..).unwrap_or_default();
    let found = walk.choice(at, "cancel_as", offered)?;
    // What a default may be is allowed, so that the effective configuration loads.
    let only_here = match found {
        CancelAs::Auto => false,
        CancelAs::Rst => auto,
        CancelAs::Trailer => true,
    };
    if only_here && protocol.is_some_and(|protocol| protocol == Protocol::GRPC) {
        let word = found.word();
        let message = format!(
            "bad cancel_as \"{word}\": gRPC has one form of a cancel; allowed: protocol: ttheader, or no cancel_as"
        );
        walk.error(at.node.place, &at.path, message);
    }
    Some(found)
}
