//! Violations of peers, counted by side, wire and kind, each from a closed set. A TTHeader
//! connection has its own counters (`ripcord_ttheader_events_total`). A violation by one stream is
//! that stream's end.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Side;
use crate::net::violation::Violation;
use crate::stream::Wire;

/// One counter for each side, wire and kind that can happen. The kinds are those that each wire
/// lists, those of a connection whose wire is not known yet, and those of a callee that speaks
/// another protocol.
#[derive(Debug, Default)]
pub(super) struct Violations {
    rows: Vec<([&'static str; 3], AtomicU64)>,
    /// Violations of a kind that their wire does not list. None is lost, and a test finds them.
    unnamed: AtomicU64,
}

/// The label while the wire is not known.
const NONE: &str = "none";

impl Violations {
    pub(super) fn new(wires: &[&'static Wire]) -> Self {
        let before =
            Violation::BEFORE_DETECTION.map(|kind| [Side::Inbound.name(), NONE, kind.name()]);
        let mut labels = Vec::from(before);
        for wire in wires {
            let of = |side: Side, kinds: &'static [&'static str]| {
                kinds
                    .iter()
                    .map(move |kind| [side.name(), wire.name, *kind])
            };
            labels.extend(of(Side::Inbound, wire.caller_violations));
            labels.extend(of(Side::Outbound, wire.callee_violations));
            let answered = Violation::ANSWERED.map(Violation::name);
            labels.extend(answered.map(|kind| [Side::Outbound.name(), wire.name, kind]));
        }
        Self {
            rows: labels
                .into_iter()
                .map(|row| (row, AtomicU64::new(0)))
                .collect(),
            unnamed: AtomicU64::new(0),
        }
    }

    pub(super) fn count(&self, side: Side, wire: Option<&Wire>, kind: Violation) {
        let wanted = [
            side.name(),
            wire.map_or(NONE, |wire| wire.name),
            kind.name(),
        ];
        let row = self.rows.iter().find(|(labels, _)| *labels == wanted);
        debug_assert!(row.is_some(), "{wanted:?} is named by no wire");
        row.map_or(&self.unnamed, |(_, counter)| counter)
            .fetch_add(1, Relaxed);
    }

    /// Labels (side, wire, kind) and value of each counter.
    pub(super) fn read(&self) -> impl Iterator<Item = ([&'static str; 3], u64)> {
        let unnamed = self.unnamed.load(Relaxed);
        let unnamed = (unnamed > 0).then_some(([NONE, NONE, "unnamed"], unnamed));
        let rows = self.rows.iter();
        rows.map(|(labels, counter)| (*labels, counter.load(Relaxed)))
            .chain(unnamed)
    }
}
