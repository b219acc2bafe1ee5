//! Elements of sets and keys of maps that come more than once.

use std::hash::{BuildHasher, RandomState};

use super::scratch;

/// Up to this many entries are compared pair by pair.
const FEW: usize = 8;

/// With this many entries, repeated ones are taken out before the container ends: a small message
/// can repeat a key very often, and the memory for entries is not that of the message.
const MANY: usize = 4096;

/// Where an entry of a map, or an element of a set, was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) start: u32,
    /// The key. It is the whole element of a set.
    pub(super) key: (u32, u32),
    pub(super) end: u32,
}

impl Entry {
    fn key<'o>(&self, out: &'o [u8]) -> &'o [u8] {
        let (start, end) = self.key;
        out.get(start as usize..end as usize).unwrap_or_default()
    }
}

/// Which of two equal entries stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// The one that came first: sets.
    First,
    /// The one that came last: maps.
    Last,
}

/// The entries of open containers, as a stack.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    entries: Vec<Entry>,
    /// Places in `entries`. `u32::MAX`: none.
    table: Vec<u32>,
    /// Its seed is secret: keys come from peers.
    hasher: RandomState,
    void: Vec<(u32, u32)>,
}

impl Repeats {
    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    pub(super) fn trim(&mut self) {
        scratch::trim(&mut self.entries);
        scratch::trim(&mut self.table);
        scratch::trim(&mut self.void);
    }

    /// Begins a container. Its result goes to [`Repeats::close`].
    #[inline(always)]
    pub(super) fn open(&self) -> usize {
        self.entries.len()
    }

    #[inline(always)]
    pub(super) fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Takes repeated entries out of an open container when it has many. How many. `next` is the
    /// container's own: 0 at first.
    #[inline(always)]
    pub(super) fn thin(
        &mut self,
        base: usize,
        next: &mut usize,
        keep: Keep,
        out: &mut Vec<u8>,
    ) -> u32 {
        match self.entries.len() - base < (*next).max(MANY) {
            true => 0,
            false => self.thin_now(base, next, keep, out),
        }
    }

    #[cold]
    fn thin_now(&mut self, base: usize, next: &mut usize, keep: Keep, out: &mut Vec<u8>) -> u32 {
        let entries = self.entries.get(base..).unwrap_or_default();
        self.void.clear();
        let table = &mut self.table;
        many(entries, keep, out, &mut self.void, table, &self.hasher);
        if !self.void.is_empty() {
            remove(out, &mut self.void);
            self.move_entries(base);
        }
        // The time stays linear: as many come before it is done again.
        *next = (self.entries.len() - base) * 2;
        self.void.len() as u32
    }

    /// Follows what was taken out of the output. Entries and ranges are in the order of places.
    fn move_entries(&mut self, base: usize) {
        let (mut to, mut gone) = (base, 0);
        let mut void = self.void.iter().peekable();
        for at in base..self.entries.len() {
            let Some(&entry) = self.entries.get(at) else {
                break;
            };
            if let Some((start, end)) = void.next_if(|(start, _)| *start == entry.start) {
                gone += end - start;
                continue;
            }
            let (key, end_of_key) = entry.key;
            if let Some(place) = self.entries.get_mut(to) {
                *place = Entry {
                    start: entry.start - gone,
                    key: (key - gone, end_of_key - gone),
                    end: entry.end - gone,
                };
                to += 1;
            }
        }
        self.entries.truncate(to);
    }

    /// Takes repeated entries out of what was written since [`Repeats::open`]. How many.
    pub(super) fn close(&mut self, base: usize, keep: Keep, out: &mut Vec<u8>) -> u32 {
        let entries = self.entries.get(base..).unwrap_or_default();
        self.void.clear();
        match entries.len() {
            0 | 1 => {}
            2..=FEW => few(entries, keep, out, &mut self.void),
            _ => many(
                entries,
                keep,
                out,
                &mut self.void,
                &mut self.table,
                &self.hasher,
            ),
        }
        self.entries.truncate(base);
        if !self.void.is_empty() {
            remove(out, &mut self.void);
        }
        self.void.len() as u32
    }
}

fn few(entries: &[Entry], keep: Keep, out: &[u8], void: &mut Vec<(u32, u32)>) {
    for (at, entry) in entries.iter().enumerate() {
        let key = entry.key(out);
        let mut others = match keep {
            Keep::First => entries.iter().take(at),
            Keep::Last => entries.get(at + 1..).unwrap_or_default().iter().take(FEW),
        };
        if others.any(|other| other.key(out) == key) {
            void.push((entry.start, entry.end));
        }
    }
}

fn many(
    entries: &[Entry],
    keep: Keep,
    out: &[u8],
    void: &mut Vec<(u32, u32)>,
    table: &mut Vec<u32>,
    hasher: &RandomState,
) {
    let size = (entries.len() * 2).next_power_of_two();
    table.clear();
    table.resize(size, u32::MAX);
    for (index, entry) in (0u32..).zip(entries) {
        let key = entry.key(out);
        let mut at = hasher.hash_one(key) as usize;
        loop {
            at &= size - 1;
            let Some(place) = table.get_mut(at) else {
                break;
            };
            match entries.get(*place as usize) {
                None => *place = index,
                Some(other) if other.key(out) != key => {
                    at += 1;
                    continue;
                }
                Some(other) => match keep {
                    Keep::First => void.push((entry.start, entry.end)),
                    Keep::Last => {
                        void.push((other.start, other.end));
                        *place = index;
                    }
                },
            }
            break;
        }
    }
}

/// Takes ranges, which do not overlap, out of `out`.
pub(super) fn remove(out: &mut Vec<u8>, ranges: &mut [(u32, u32)]) {
    ranges.sort_unstable();
    let mut to = match ranges.first() {
        Some(&(start, _)) => start as usize,
        None => return,
    };
    let mut ranges = ranges.iter().peekable();
    while let Some(&(_, end)) = ranges.next() {
        let next = ranges
            .peek()
            .map_or(out.len(), |&&(start, _)| start as usize);
        let end = end as usize;
        if end < next {
            out.copy_within(end..next, to);
            to += next - end;
        }
    }
    out.truncate(to);
}
