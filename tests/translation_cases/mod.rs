//! Random schemas and values, and two oracles: prost-reflect for protobuf, and a small model of
//! thrift values that was written for these tests only.

pub(crate) mod mangle;
mod many;
mod rules;
pub(crate) mod schema;
pub(crate) mod thrift;
pub(crate) mod values;

/// Random numbers that a seed repeats. The second number is how many values a random message may
/// still have.
pub(crate) struct Random(pub(crate) u64, pub(crate) usize);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `n` - 1.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}
