//! From a field's number or id to its slot.

/// Numbers below this are found in an array.
const DENSE: u32 = 256;

/// Where each number of a message is in its table of fields.
#[derive(Debug)]
pub(in crate::translate) struct Index {
    /// By number. `u16::MAX`: none.
    dense: Box<[u16]>,
    /// The others, sorted.
    sparse: Box<[(u32, u16)]>,
}

impl Index {
    /// Of numbers and slots.
    pub(super) fn new(numbers: impl Iterator<Item = (u32, u16)>) -> Self {
        let (low, mut high): (Vec<_>, Vec<_>) = numbers.partition(|&(number, _)| number < DENSE);
        let len = low.iter().map(|&(number, _)| number + 1).max();
        let mut dense = vec![u16::MAX; len.unwrap_or(0) as usize];
        for (number, slot) in low {
            if let Some(place) = dense.get_mut(number as usize) {
                *place = slot;
            }
        }
        high.sort_unstable();
        Self {
            dense: dense.into(),
            sparse: high.into(),
        }
    }

    /// The slot of a number.
    #[inline]
    pub(in crate::translate) fn get(&self, number: u32) -> Option<usize> {
        match self.dense.get(number as usize) {
            Some(&u16::MAX) => None,
            Some(&slot) => Some(usize::from(slot)),
            None if self.sparse.is_empty() => None,
            None => {
                let at = self
                    .sparse
                    .binary_search_by_key(&number, |&(n, _)| n)
                    .ok()?;
                self.sparse.get(at).map(|&(_, slot)| usize::from(slot))
            }
        }
    }
}
