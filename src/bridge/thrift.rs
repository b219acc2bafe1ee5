//! Checks whether messages are thrift structs in the binary protocol, where they lie.
//!
//! The rules are those of the Apache Thrift binary protocol and of gopkg `protocol/thrift` (types;
//! at most 64 levels of nesting). Field ids and types belong to the IDL and are not checked.
//! Nothing is copied and nothing is allocated per message. The work for one message is bounded by
//! its length, whatever is in it.

/// How deep structs and containers may nest within the struct.
const MAX_DEPTH: usize = 64;

const STOP: u8 = 0;
const BOOL: u8 = 2;
const BYTE: u8 = 3;
const DOUBLE: u8 = 4;
const I16: u8 = 6;
const I32: u8 = 8;
const I64: u8 = 10;
const STRING: u8 = 11;
const STRUCT: u8 = 12;
const MAP: u8 = 13;
const SET: u8 = 14;
const LIST: u8 = 15;

/// What is wrong with a message, and how far into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}, at byte {at} of {len}")]
pub struct Malformed {
    /// What is wrong.
    pub fault: Fault,
    /// How many bytes into the message it was found.
    pub at: usize,
    /// The message's length in bytes.
    pub len: usize,
}

/// The ways in which bytes are not a struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The message ends within a value, or a length or count reaches beyond its end.
    #[error("it ends too early")]
    Short,
    /// A length or a count is negative.
    #[error("a length is negative")]
    Negative,
    /// A type number that thrift does not have.
    #[error("no type has the number {0}")]
    Type(u8),
    /// More levels of nesting than allowed.
    #[error("it is nested deeper than 64 levels")]
    Deep,
    /// Bytes follow the end of the struct.
    #[error("bytes follow the struct")]
    Trailing,
}

/// Walks over structs. One walker serves many messages and keeps its stack of levels between them.
#[derive(Debug, Default)]
pub struct Walker {
    levels: Vec<Level>,
}

/// A struct or container that is not finished.
#[derive(Debug)]
enum Level {
    /// A field or the end of the struct comes next.
    Struct,
    /// So many values are left. In a map, keys and values alternate.
    Values { left: u64, next: u8, then: u8 },
}

impl Walker {
    /// Checks the message that the next `len` bytes of `pieces` hold. Pieces may be empty. Bytes
    /// after the message stay in `pieces`.
    ///
    /// # Errors
    /// Why it is not exactly one struct.
    pub fn walk<'a>(
        &mut self,
        pieces: &mut Pieces<'a, impl Iterator<Item = &'a [u8]>>,
        len: usize,
    ) -> Result<(), Malformed> {
        let mut at = Reader { pieces, left: len };
        self.levels.clear();
        let found = self.one(&mut at);
        found.map_err(|fault| Malformed {
            fault,
            at: len - at.left,
            len,
        })
    }

    fn one<'a>(
        &mut self,
        at: &mut Reader<'_, 'a, impl Iterator<Item = &'a [u8]>>,
    ) -> Result<(), Fault> {
        self.levels.push(Level::Struct);
        while let Some(level) = self.levels.last_mut() {
            let kind = match level {
                Level::Struct => {
                    let [kind] = at.take()?;
                    if kind == STOP {
                        self.levels.pop();
                        continue;
                    }
                    at.skip(2)?;
                    kind
                }
                Level::Values { left: 0, .. } => {
                    self.levels.pop();
                    continue;
                }
                Level::Values { left, next, then } => {
                    *left -= 1;
                    std::mem::swap(next, then);
                    *then
                }
            };
            self.value(at, kind)?;
        }
        if at.left > 0 {
            return Err(Fault::Trailing);
        }
        Ok(())
    }

    fn value<'a>(
        &mut self,
        at: &mut Reader<'_, 'a, impl Iterator<Item = &'a [u8]>>,
        kind: u8,
    ) -> Result<(), Fault> {
        let level = match kind {
            STRING => {
                let len = at.length()?;
                return at.skip(len);
            }
            STRUCT => Level::Struct,
            MAP => {
                let [key, value] = at.take()?;
                let count = at.length()?;
                match (count, fixed(key), fixed(value)) {
                    // Without entries the types of a map mean nothing.
                    (0, ..) => return Ok(()),
                    (_, Some(key), Some(value)) => {
                        return at.skip(count.saturating_mul(key + value));
                    }
                    _ => at.values(count.saturating_mul(2), key, value)?,
                }
            }
            SET | LIST => {
                let [value] = at.take()?;
                let count = at.length()?;
                match (count, fixed(value)) {
                    (0, _) => return Ok(()),
                    (_, Some(value)) => return at.skip(count.saturating_mul(value)),
                    _ => at.values(count, value, value)?,
                }
            }
            other => match fixed(other) {
                Some(len) => return at.skip(len),
                None => return Err(Fault::Type(other)),
            },
        };
        if self.levels.len() > MAX_DEPTH {
            return Err(Fault::Deep);
        }
        self.levels.push(level);
        Ok(())
    }
}

/// The size of a value of this type; `None` when the size varies.
const fn fixed(kind: u8) -> Option<usize> {
    match kind {
        BOOL | BYTE => Some(1),
        I16 => Some(2),
        I32 => Some(4),
        I64 | DOUBLE => Some(8),
        _ => None,
    }
}

/// Bytes in several pieces, read from the front.
#[derive(Debug)]
pub struct Pieces<'a, I> {
    now: &'a [u8],
    rest: I,
}

impl<'a, I: Iterator<Item = &'a [u8]>> Pieces<'a, I> {
    /// Begins at the first of `pieces`.
    pub fn new(pieces: impl IntoIterator<Item = &'a [u8], IntoIter = I>) -> Self {
        Self {
            now: &[],
            rest: pieces.into_iter(),
        }
    }

    /// The next `N` bytes; `None` when fewer are left.
    pub fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        if let Some((head, rest)) = self.now.split_first_chunk::<N>() {
            self.now = rest;
            return Some(*head);
        }
        let mut out = [0; N];
        for byte in &mut out {
            *byte = self.byte()?;
        }
        Some(out)
    }

    fn byte(&mut self) -> Option<u8> {
        loop {
            if let Some((first, rest)) = self.now.split_first() {
                self.now = rest;
                return Some(*first);
            }
            self.now = self.rest.next()?;
        }
    }

    fn skip(&mut self, mut n: usize) -> Option<()> {
        loop {
            if let Some(rest) = self.now.get(n..) {
                self.now = rest;
                return Some(());
            }
            n -= self.now.len();
            self.now = self.rest.next()?;
        }
    }
}

/// The bytes of one message within the pieces.
struct Reader<'p, 'a, I> {
    pieces: &'p mut Pieces<'a, I>,
    left: usize,
}

impl<'a, I: Iterator<Item = &'a [u8]>> Reader<'_, 'a, I> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        self.left = self.left.checked_sub(N).ok_or(Fault::Short)?;
        self.pieces.take().ok_or(Fault::Short)
    }

    fn skip(&mut self, n: usize) -> Result<(), Fault> {
        self.left = self.left.checked_sub(n).ok_or(Fault::Short)?;
        self.pieces.skip(n).ok_or(Fault::Short)
    }

    fn length(&mut self) -> Result<usize, Fault> {
        let length = i32::from_be_bytes(self.take()?);
        usize::try_from(length).map_err(|_| Fault::Negative)
    }

    /// Checks that so many values fit into what is left of the message: each takes at least one
    /// byte.
    fn values(&self, left: usize, next: u8, then: u8) -> Result<Level, Fault> {
        if left > self.left {
            return Err(Fault::Short);
        }
        Ok(Level::Values {
            left: left as u64,
            next,
            then,
        })
    }
}

#[cfg(test)]
mod tests;
