//! Batches of messages.
//!
//! The neutral form of a message: a flag byte (1 = compressed), the length as big-endian u32, the
//! payload. That is gRPC's own framing. It was chosen since one wire can then write a batch as it
//! is, and many small messages are one buffer. A [`MessageBatch`] holds whole messages only, so
//! that a bridge can drop it or hand it over at any time.

use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes before each payload: flag and length.
pub const PREFIX: usize = 5;

/// Pieces below this many bytes are copied together. Larger ones are never copied.
pub const GATHER_BELOW: usize = 4096;

/// How large a gathered buffer grows before the next one begins.
const GATHERED: usize = 16 * 1024;

/// One message taken from a [`MessageBatch`].
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// Whether the payload is compressed.
    pub compressed: bool,
    /// The payload's length in bytes.
    pub len: usize,
}

impl Message {
    const fn from_prefix([flag, length @ ..]: [u8; PREFIX]) -> Self {
        Self {
            compressed: flag != 0,
            len: u32::from_be_bytes(length) as usize,
        }
    }
}

/// Whole messages in order, in as few pieces as their sizes allow.
#[derive(Debug, Default)]
pub struct MessageBatch {
    /// The first piece. Most batches have only this one, and need no allocation of their own.
    first: Bytes,
    /// The pieces after the first. In a box: each stream has room for some batches, and most of
    /// them never have two pieces.
    #[expect(clippy::box_collection, reason = "a quarter of the size of a queue")]
    chunks: Option<Box<VecDeque<Bytes>>>,
    /// Small pieces gathered by copying; they come after all others.
    tail: BytesMut,
    bytes: usize,
    messages: u64,
}

impl MessageBatch {
    /// A batch without messages; allocates nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Its bytes, prefixes included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// How many messages were put in, as far as they were counted. For statistics.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Counts `n` messages that pieces given to [`MessageBatch::push_bytes`] completed.
    pub fn note_messages(&mut self, n: usize) {
        self.messages += n as u64;
    }

    /// Appends one message. A payload of [`GATHER_BELOW`] bytes or more is not copied.
    pub fn push_message(&mut self, compressed: bool, payload: Bytes) {
        let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        self.push_prefix(compressed, len);
        self.push_bytes(payload);
    }

    /// Appends a prefix. The caller then appends its payload with [`MessageBatch::push_bytes`].
    pub fn push_prefix(&mut self, compressed: bool, len: u32) {
        self.grow_tail(PREFIX + (len as usize).min(GATHER_BELOW));
        self.tail.put_u8(u8::from(compressed));
        self.tail.put_u32(len);
        self.bytes += PREFIX;
        self.messages += 1;
    }

    /// Appends bytes that are already in the neutral form: a piece of a batch. Small pieces are
    /// copied together once there are two of them.
    pub fn push_bytes(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        if self.bytes == 0 {
            self.bytes = piece.len();
            self.first = piece;
            return;
        }
        if piece.len() < GATHER_BELOW {
            self.compact();
            self.push_slice(&piece);
        } else {
            self.bytes += piece.len();
            self.seal();
            self.push_chunk(piece);
        }
    }

    /// Appends small bytes by copying.
    pub fn push_slice(&mut self, piece: &[u8]) {
        self.bytes += piece.len();
        self.grow_tail(piece.len());
        self.tail.extend_from_slice(piece);
        if self.tail.len() >= GATHERED {
            self.seal();
        }
    }

    /// Copies a lone small piece, so that it does not keep a large read buffer alive. For batches
    /// that have to wait.
    pub fn compact(&mut self) {
        if self.first.len() == self.bytes && self.bytes < GATHER_BELOW {
            self.tail.extend_from_slice(&self.first);
            self.first = Bytes::new();
        }
    }

    /// Moves everything of `other` to the end of this batch.
    pub fn append(&mut self, other: &mut Self) {
        if self.is_empty() {
            std::mem::swap(self, other);
            return;
        }
        let messages = std::mem::take(&mut other.messages);
        while let Some(piece) = other.take_piece(usize::MAX) {
            self.push_bytes(piece);
        }
        self.messages += messages;
    }

    /// Appends what `other` holds, which keeps it. Pieces of [`GATHER_BELOW`] bytes or more are
    /// shared. Smaller ones are copied together, so that none of them keeps a large read buffer in
    /// memory.
    pub fn append_copy(&mut self, other: &Self) {
        for piece in other.shared() {
            if piece.len() < GATHER_BELOW {
                self.append_small(piece);
            } else {
                self.push_bytes(piece.clone());
            }
        }
        self.append_small(&other.tail);
        self.messages += other.messages;
    }

    /// Copies `piece`, with no room for more than it.
    fn append_small(&mut self, piece: &[u8]) {
        if piece.is_empty() {
            return;
        }
        self.bytes += piece.len();
        self.tail.extend_from_slice(piece);
        if self.tail.len() >= GATHERED {
            self.seal();
        }
    }

    /// The memory that it occupies, in bytes. A shared piece counts as the read buffer that it may
    /// keep alive.
    #[must_use]
    pub fn memory(&self) -> usize {
        let whole = |piece: &Bytes| piece.len().next_multiple_of(GATHERED);
        self.shared().map(whole).sum::<usize>() + self.tail.capacity()
    }

    /// The pieces that were not copied into the tail.
    fn shared(&self) -> impl Iterator<Item = &Bytes> {
        std::iter::once(&self.first).chain(self.chunks.iter().flat_map(|chunks| chunks.iter()))
    }

    /// The bytes in their pieces, for reading; some pieces may be empty.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let shared = self.shared().map(|piece| &piece[..]);
        shared.chain(std::iter::once(&self.tail[..]))
    }

    /// Takes up to `max` bytes from the front as one piece, without copying.
    pub fn take_piece(&mut self, max: usize) -> Option<Bytes> {
        if max == 0 || self.bytes == 0 {
            return None;
        }
        if self.first.is_empty() {
            let chunk = self.chunks.as_mut().and_then(|chunks| chunks.pop_front());
            self.first = match chunk {
                Some(chunk) => chunk,
                None => self.tail.split().freeze(),
            };
        }
        let piece = if self.first.len() <= max {
            std::mem::take(&mut self.first)
        } else {
            self.first.split_to(max)
        };
        self.bytes -= piece.len();
        Some(piece)
    }

    /// Takes the first message. Its payload goes to `piece` in one or more pieces, or in none for
    /// an empty message. `None` when the batch is empty.
    pub fn pop_message(&mut self, mut piece: impl FnMut(Bytes)) -> Option<Message> {
        if self.bytes < PREFIX {
            return None;
        }
        let mut prefix = [0u8; PREFIX];
        let mut have = 0;
        while have < PREFIX {
            let mut part = self.take_piece(PREFIX - have)?;
            let n = part.len();
            if let Some(to) = prefix.get_mut(have..have + n) {
                part.copy_to_slice(to);
            }
            have += n;
        }
        let message = Message::from_prefix(prefix);
        let mut left = message.len;
        while left > 0 {
            let part = self.take_piece(left)?;
            left -= part.len();
            piece(part);
        }
        self.messages = self.messages.saturating_sub(1);
        Some(message)
    }

    /// The first message, without taking it. `None` when the batch is empty.
    #[must_use]
    pub fn peek_message(&self) -> Option<Message> {
        if let Some(prefix) = self.first.first_chunk::<PREFIX>() {
            return Some(Message::from_prefix(*prefix));
        }
        if self.bytes < PREFIX {
            return None;
        }
        let all = self.pieces().flatten();
        let mut prefix = [0u8; PREFIX];
        for (to, from) in prefix.iter_mut().zip(all) {
            *to = *from;
        }
        Some(Message::from_prefix(prefix))
    }

    /// Takes the first message and copies its payload to the end of `to`. For small messages.
    pub fn pop_message_into(&mut self, to: &mut BytesMut) -> Option<Message> {
        let message = self.peek_message()?;
        let taken = PREFIX + message.len;
        let Some(payload) = self.first.get(PREFIX..taken) else {
            return self.pop_message(|piece| to.extend_from_slice(&piece));
        };
        to.extend_from_slice(payload);
        self.first.advance(taken);
        self.bytes -= taken;
        self.messages = self.messages.saturating_sub(1);
        Some(message)
    }

    /// Drops everything, buffers included. Returns how many bytes there were.
    pub fn clear(&mut self) -> usize {
        std::mem::take(self).bytes
    }

    /// Makes room for more than the next piece. A second one is likely to follow, and growing by
    /// doubling would copy everything a few times.
    fn grow_tail(&mut self, next: usize) {
        if self.tail.capacity() - self.tail.len() < next {
            self.tail.reserve((next * 8).clamp(64, GATHERED));
        }
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            let sealed = self.tail.split().freeze();
            self.push_chunk(sealed);
        }
    }

    fn push_chunk(&mut self, chunk: Bytes) {
        self.chunks.get_or_insert_default().push_back(chunk);
    }
}

/// Finds the message boundaries in bytes of the neutral form, which come in any pieces.
#[derive(Clone, Copy, Debug, Default)]
pub struct Boundary {
    prefix: [u8; PREFIX],
    have: u8,
    /// Bytes of the current payload that are still to come.
    left: u32,
}

/// What one step of [`Boundary::advance`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Advance {
    /// Bytes of the piece up to its last message boundary; `None` when there is no boundary in it.
    pub whole: Option<usize>,
    /// How many messages ended in the piece.
    pub messages: usize,
    /// The longest payload announced in the piece, in bytes.
    pub longest: usize,
    /// A flag byte other than 0 and 1: the framing is lost.
    pub bad_flag: Option<u8>,
    /// Whether a message with the compressed flag began in the piece.
    pub compressed: bool,
}

impl Boundary {
    /// Whether the bytes so far end at a boundary.
    #[must_use]
    pub const fn at_boundary(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    /// Bytes of the current payload that are still to come.
    #[must_use]
    pub const fn left(&self) -> usize {
        self.left as usize
    }

    /// How many bytes the message lacks in which the bytes so far end, 0 at a boundary. `rest` are
    /// the bytes that follow; they are read when the length is not known yet.
    #[must_use]
    pub fn lacking<'a>(&self, rest: impl Iterator<Item = &'a [u8]>) -> usize {
        if self.have == 0 {
            return self.left();
        }
        let mut prefix = self.prefix;
        let missing = prefix.iter_mut().skip(usize::from(self.have));
        let found = missing.zip(rest.flatten()).map(|(to, from)| *to = *from);
        let found = found.count();
        let [_, length @ ..] = prefix;
        found + u32::from_be_bytes(length) as usize
    }

    /// Takes the next piece.
    pub fn advance(&mut self, piece: &[u8]) -> Advance {
        let mut found = Advance::default();
        let mut at = 0;
        while at < piece.len() {
            if self.left == 0 {
                let rest = piece.get(at..).unwrap_or_default();
                let length = if self.have == 0
                    && let Some((head, _)) = rest.split_first_chunk::<PREFIX>()
                {
                    at += PREFIX;
                    *head
                } else {
                    let Some(&byte) = rest.first() else { break };
                    if let Some(slot) = self.prefix.get_mut(usize::from(self.have)) {
                        *slot = byte;
                    }
                    self.have += 1;
                    at += 1;
                    if usize::from(self.have) < PREFIX {
                        continue;
                    }
                    self.have = 0;
                    self.prefix
                };
                let [flag, length @ ..] = length;
                if flag > 1 {
                    found.bad_flag = Some(flag);
                    return found;
                }
                found.compressed |= flag == 1;
                self.left = u32::from_be_bytes(length);
                found.longest = found.longest.max(self.left());
            }
            let here = u32::try_from(piece.len() - at).unwrap_or(u32::MAX);
            let step = self.left.min(here);
            self.left -= step;
            at += step as usize;
            if self.left == 0 {
                found.whole = Some(at);
                found.messages += 1;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests;
