//! The header blocks that came last, as raw bytes, kept for the case that `h2` refuses one of them.
//!
//! One buffer serves all connections of a thread. `h2` finds a broken block in the same poll in
//! which it was read, so nearly always before another connection needs the buffer.

use std::cell::{Cell, RefCell};

use super::field;

/// The most bytes that are kept. What is over them is not looked at.
const KEPT: usize = 32 * 1024;

/// The most blocks that are kept.
const LOOKED_AT: usize = 512;

/// Flags of HEADERS (RFC 9113, 6.2).
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// The bytes of a stream's priority, before the fields.
const PRIORITY_LEN: usize = 5;

thread_local! {
    static BLOCKS: RefCell<Blocks> = const {
        RefCell::new(Blocks {
            owner: 0,
            bytes: Vec::new(),
            found: Vec::new(),
        })
    };
    static NEXT: Cell<u64> = const { Cell::new(1) };
}

/// The blocks of one connection.
struct Blocks {
    /// Whose they are.
    owner: u64,
    bytes: Vec<u8>,
    found: Vec<Block>,
}

impl Blocks {
    fn is_long(&self) -> bool {
        self.bytes.len() >= KEPT / 2 || self.found.len() >= LOOKED_AT
    }

    fn add(&mut self, bytes: &[u8]) {
        let room = KEPT.saturating_sub(self.bytes.len());
        let kept = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        self.bytes.extend_from_slice(kept);
    }
}

/// Where one block is.
struct Block {
    stream: u32,
    flags: u8,
    begin: usize,
}

/// A number for a connection; unlike that of any other on this thread.
pub(super) fn next_id() -> u64 {
    NEXT.replace(NEXT.get() + 1)
}

/// The beginning of a block on `stream` of connection `id`.
pub(super) fn begin(id: u64, stream: u32, flags: u8, bytes: &[u8]) {
    BLOCKS.with_borrow_mut(|blocks| {
        if blocks.owner != id || blocks.is_long() {
            blocks.owner = id;
            blocks.bytes.clear();
            blocks.found.clear();
        }
        blocks.found.push(Block {
            stream,
            flags,
            begin: blocks.bytes.len(),
        });
        blocks.add(bytes);
    });
}

/// More of the block that began last on connection `id`.
pub(super) fn add(id: u64, bytes: &[u8]) {
    BLOCKS.with_borrow_mut(|blocks| {
        if blocks.owner == id {
            blocks.add(bytes);
        }
    });
}

/// The stream whose block has a malformed field, and what is wrong. `None` when no block that is
/// still known has one.
pub(super) fn find_malformed(id: u64) -> Option<(u32, String)> {
    BLOCKS.with_borrow(|blocks| {
        if blocks.owner != id {
            return None;
        }
        let ends = blocks.found.iter().skip(1).map(|next| next.begin);
        let ends = ends.chain([blocks.bytes.len()]);
        blocks.found.iter().zip(ends).find_map(|(block, end)| {
            let payload = blocks.bytes.get(block.begin..end)?;
            let what = field::malformed(fields(payload, block.flags)?)?;
            Some((block.stream, what))
        })
    })
}

/// A block without the padding and priority that a HEADERS frame may have.
fn fields(payload: &[u8], flags: u8) -> Option<&[u8]> {
    let (padding, rest) = match flags & PADDED {
        0 => (0, payload),
        _ => payload
            .split_first()
            .map(|(n, rest)| (usize::from(*n), rest))?,
    };
    let skipped = match flags & PRIORITY {
        0 => 0,
        _ => PRIORITY_LEN,
    };
    rest.get(skipped..rest.len().checked_sub(padding)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAD: &[u8] = b"\0\x05x-Key\x01v";

    #[test]
    fn padding_and_priority_are_not_part_of_the_fields() {
        let priority = [[0; 5].as_slice(), BAD].concat();
        let padded = [&[3], BAD, &[0; 3]].concat();
        let both = [&[3], priority.as_slice(), &[0; 3]].concat();
        for (flags, payload) in [
            (0, BAD.to_vec()),
            (0x20, priority),
            (8, padded),
            (0x28, both),
        ] {
            assert_eq!(fields(&payload, flags), Some(BAD), "{flags}");
        }
        assert_eq!(fields(&[9, 0, 0], 8), None);
        assert_eq!(fields(&[0; 3], 0x20), None);
        assert_eq!(fields(&[], 8), None);
    }

    #[test]
    fn another_connection_takes_the_buffer() {
        let [one, other] = [next_id(), next_id()];
        begin(one, 3, 0, &[0x88; 10]);
        begin(one, 5, 0, &[]);
        add(one, BAD);
        assert_eq!(find_malformed(one).unwrap().0, 5);
        assert_eq!(find_malformed(other), None);
        begin(other, 1, 0, &[]);
        add(one, BAD);
        add(other, &[0x88]);
        assert_eq!((find_malformed(one), find_malformed(other)), (None, None));
    }

    #[test]
    fn the_buffer_is_bounded_and_forgets_the_oldest_blocks() {
        let id = next_id();
        begin(id, 1, 0, &[]);
        (0..10).for_each(|_| add(id, &[0x88; KEPT / 4]));
        BLOCKS.with_borrow(|blocks| assert_eq!(blocks.bytes.len(), KEPT));
        begin(id, 3, 0, BAD);
        assert_eq!(find_malformed(id).unwrap().0, 3);
        for stream in 0..10_000 {
            begin(id, stream, 0, &[]);
        }
        BLOCKS.with_borrow(|blocks| assert!(blocks.found.len() < 1_000));
    }
}
