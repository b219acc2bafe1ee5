//! What the translation of a message needs beside its input and output. It is kept between
//! messages, once for each thread.

use std::cell::Cell;

use super::repeats::Repeats;
use super::to_thrift::{Run, Slot};

/// How many bytes are kept of a buffer after a message.
const KEPT: usize = 64 << 10;

/// Stacks: each level of the message uses their ends, and takes off what it put there.
#[derive(Default)]
pub(super) struct Scratch {
    /// A message that came in pieces.
    pub(super) joined: Vec<u8>,
    /// A message that goes elsewhere when it is complete.
    pub(super) translated: Vec<u8>,
    /// Which fields of large messages were seen.
    pub(super) seen: Vec<u64>,
    /// For the thorough way: the fields of open messages, and where they are.
    pub(super) slots: Vec<Slot>,
    pub(super) runs: Vec<Run>,
    /// For the thorough way toward protobuf: where fields were written, and what became void.
    pub(super) places: Vec<(u32, u32)>,
    pub(super) void: Vec<(u32, u32)>,
    /// Of sets and maps.
    pub(super) repeats: Repeats,
    /// Messages that came in pieces and were put together.
    merged: Vec<Vec<u8>>,
}

impl Scratch {
    /// Forgets a message that ended early.
    pub(super) fn clear(&mut self) {
        self.seen.clear();
        self.slots.clear();
        self.runs.clear();
        self.places.clear();
        self.void.clear();
        self.repeats.clear();
    }

    /// An empty buffer.
    pub(super) fn buffer(&mut self) -> Vec<u8> {
        self.merged.pop().unwrap_or_default()
    }

    /// Takes a buffer back.
    pub(super) fn recycle(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.merged.push(buffer);
    }

    /// Gives up what only an unusual message needed.
    fn trim(&mut self) {
        trim(&mut self.joined);
        trim(&mut self.translated);
        trim(&mut self.slots);
        trim(&mut self.runs);
        trim(&mut self.places);
        trim(&mut self.void);
        trim(&mut self.seen);
        self.repeats.trim();
        if self.merged.len() > 1 || self.merged.iter().any(|b| b.capacity() > KEPT) {
            self.merged.iter_mut().for_each(trim);
            self.merged.truncate(8);
        }
    }
}

/// Frees a stack that has become large.
#[inline(always)]
pub(super) fn trim<T>(stack: &mut Vec<T>) {
    if stack.capacity() > KEPT / size_of::<T>() {
        *stack = Vec::new();
    }
}

thread_local! {
    static KEPT_SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// Runs `f` with this thread's scratch.
pub(super) fn with<T>(f: impl FnOnce(&mut Scratch) -> T) -> T {
    let mut scratch = KEPT_SCRATCH.take().unwrap_or_default();
    let result = f(&mut scratch);
    scratch.trim();
    KEPT_SCRATCH.set(Some(scratch));
    result
}

/// The set of fields that were seen in one message.
pub(super) struct Seen {
    /// Of the first 64 slots.
    first: u64,
    /// Where the words of the other slots begin in [`Scratch::seen`].
    base: usize,
}

impl Seen {
    /// Nothing was seen of so many fields.
    #[inline(always)]
    pub(super) fn open(fields: usize, words: &mut Vec<u64>) -> Self {
        let base = words.len();
        if fields > 64 {
            words.resize(base + fields / 64, 0);
        }
        Self { first: 0, base }
    }

    /// Gives its words back.
    #[inline(always)]
    pub(super) fn close(self, words: &mut Vec<u64>) {
        words.truncate(self.base);
    }

    /// Adds a slot. Whether it was there.
    #[inline(always)]
    pub(super) fn insert(&mut self, slot: usize, words: &mut [u64]) -> bool {
        let bit = 1 << (slot % 64);
        let word = if slot < 64 {
            &mut self.first
        } else if let Some(word) = words.get_mut(self.base + slot / 64 - 1) {
            word
        } else {
            return false;
        };
        let was = *word & bit != 0;
        *word |= bit;
        was
    }

    /// Takes a slot out.
    pub(super) fn remove(&mut self, slot: usize, words: &mut [u64]) {
        if slot < 64 {
            self.first &= !(1 << slot);
        } else if let Some(word) = words.get_mut(self.base + slot / 64 - 1) {
            *word &= !(1 << (slot % 64));
        }
    }

    /// Whether nothing was seen.
    #[inline(always)]
    pub(super) fn is_empty(&self, words: &[u64]) -> bool {
        self.first == 0 && words.iter().skip(self.base).all(|&word| word == 0)
    }

    /// The bits of the 64 slots from 64 times `index` on.
    #[inline(always)]
    pub(super) fn word(&self, index: usize, words: &[u64]) -> u64 {
        match index {
            0 => self.first,
            _ => words.get(self.base + index - 1).copied().unwrap_or(0),
        }
    }

    /// Whether one of these slots is in it, other than `but`.
    pub(super) fn any_but(&self, slots: &[u64], but: usize, words: &[u64]) -> bool {
        slots.iter().enumerate().any(|(index, &wanted)| {
            let mut common = wanted & self.word(index, words);
            if but / 64 == index {
                common &= !(1 << (but % 64));
            }
            common != 0
        })
    }
}
