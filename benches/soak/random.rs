//! Seeded randomness and message contents that both ends can make again from a seed.

use bytes::{BufMut, Bytes, BytesMut};

/// SplitMix64: the same seed, the same numbers.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// One of `from..to`.
    pub(crate) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from).max(1)
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let at = self.between(0, of.len() as u64) as usize;
        &of[at]
    }
}

/// Bytes that a message has besides those asked for.
pub(crate) const ENVELOPE: usize = 8;

/// The message of that number in the stream of that seed: a thrift struct `{1: binary}` with `size`
/// bytes in it.
pub(crate) fn message(seed: u64, number: u64, size: usize) -> Bytes {
    let mut out = BytesMut::with_capacity(ENVELOPE + size + 8);
    out.put_slice(&[11, 0, 1]);
    out.put_u32(u32::try_from(size).unwrap_or(u32::MAX));
    let mut random = Random::new(seed ^ number.wrapping_mul(0xD6E8_FEB8_6659_FD93));
    while out.len() < ENVELOPE - 1 + size {
        out.put_u64_le(random.next());
    }
    out.truncate(ENVELOPE - 1 + size);
    out.put_u8(0);
    out.freeze()
}
