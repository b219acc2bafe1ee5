//! The translation of one message: bytes of one form in, bytes of the other form out, by the
//! tables of a [`Plan`]. No message is built in memory.
//!
//! Each direction has a quick way and a thorough way. The quick way writes each field where it
//! meets it. Every usual writer's messages are of the form that it needs: each field once, the
//! elements of a repeated field behind each other. At the first field that comes again, it gives
//! up, and the thorough way translates the message from its beginning. So the time is at most twice
//! that of the thorough way, whose time is linear in the length of the message.

mod fault;
mod protobuf;
mod repeats;
mod scalar;
mod scratch;
pub(super) mod thrift;
mod to_protobuf;
mod to_thrift;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use self::fault::{Outcome, Stop};
use self::scratch::Scratch;
use super::pairing::Unknown;
use super::plan::{MessagePlan, Plan};

pub use self::fault::{Fault, FaultClass, FaultKind};

/// How deep structs and containers nest, the message itself included.
const MAX_DEPTH: u32 = 63;

/// The longest message, in bytes, on either side. Places in it fit 32 bits.
const MAX_LEN: usize = i32::MAX as usize;

/// Which way messages are translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Protobuf comes, thrift goes.
    ToThrift,
    /// Thrift comes, protobuf goes.
    ToProtobuf,
}

/// Translates the messages of one direction of a stream.
///
/// It keeps no buffers: all translators of a thread share what one message needs at a time.
#[derive(Debug)]
pub struct Translator {
    plan: Arc<Plan>,
    message: u32,
    toward: Direction,
    top_level_defaults: bool,
    limit: usize,
    skipped: u64,
}

impl Translator {
    /// For the messages of the pair `message`, an index into the pairing that `plan` was made of.
    ///
    /// `top_level_defaults`: the reader does not apply the IDL's defaults to the fields of the
    /// message itself (Kitex' streams), so they are written. `limit`: the largest message to write,
    /// in bytes.
    #[must_use]
    pub fn new(
        plan: Arc<Plan>,
        message: usize,
        toward: Direction,
        top_level_defaults: bool,
        limit: usize,
    ) -> Self {
        Self {
            plan,
            message: u32::try_from(message).unwrap_or(u32::MAX),
            toward,
            top_level_defaults,
            limit,
            skipped: 0,
        }
    }

    /// How many fields were skipped so far because the IDL does not have them, or has them with
    /// another type.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Translates one message and appends it to `out`.
    ///
    /// # Errors
    /// A message that cannot be translated. `out` is then as it was before.
    pub fn translate(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        scratch::with(|scratch| self.run(input, out, scratch))
    }

    /// Translates one message, which lies in these pieces, and appends it to `out`.
    ///
    /// # Errors
    /// A message that cannot be translated. `out` is then as it was before.
    pub fn translate_pieces(&mut self, pieces: &[Bytes], out: &mut BytesMut) -> Result<(), Fault> {
        scratch::with(|scratch| {
            let mut translated = std::mem::take(&mut scratch.translated);
            translated.clear();
            let result = match pieces {
                [piece] => self.run(piece, &mut translated, scratch),
                pieces => {
                    let mut joined = std::mem::take(&mut scratch.joined);
                    joined.clear();
                    pieces.iter().for_each(|p| joined.extend_from_slice(p));
                    let result = self.run(&joined, &mut translated, scratch);
                    scratch.joined = joined;
                    result
                }
            };
            if result.is_ok() {
                out.extend_from_slice(&translated);
            }
            scratch.translated = translated;
            result
        })
    }

    fn run(&mut self, input: &[u8], out: &mut Vec<u8>, scratch: &mut Scratch) -> Result<(), Fault> {
        let start = out.len();
        let mut pass = Pass {
            plan: &self.plan,
            end: start.saturating_add(self.limit).min(MAX_LEN),
            out,
            scratch,
            skipped: 0,
            thorough: false,
            defaults: self.top_level_defaults,
            merged: 0,
            begins: input.as_ptr().addr(),
            len: input.len(),
        };
        let result = match pass.top(self.message, self.toward, input) {
            Err(Stop::Again) => {
                pass.out.truncate(start);
                pass.thorough = true;
                pass.skipped = 0;
                pass.top(self.message, self.toward, input)
            }
            result => result,
        };
        let skipped = pass.skipped;
        match result {
            Ok(()) => {
                self.skipped += skipped;
                Ok(())
            }
            Err(stop) => {
                out.truncate(start);
                Err(stop.into_fault())
            }
        }
    }
}

/// The translation of one message, at work.
struct Pass<'p, 's> {
    plan: &'p Plan,
    scratch: &'s mut Scratch,
    out: &'s mut Vec<u8>,
    /// Where `out` ends at most.
    end: usize,
    skipped: u64,
    /// The quick way did not succeed.
    thorough: bool,
    /// Defaults are written into the message itself.
    defaults: bool,
    /// How many bytes of messages in pieces are put together at the moment.
    merged: usize,
    /// Where the message begins in memory, and its length: faults tell places in it.
    begins: usize,
    len: usize,
}

impl<'p> Pass<'p, '_> {
    fn top(&mut self, message: u32, toward: Direction, input: &[u8]) -> Outcome<()> {
        self.scratch.clear();
        let message = self.message(message as usize, input)?;
        if input.len() > MAX_LEN {
            return Err(self.stop(FaultKind::TooLarge, input));
        }
        let wrote = match toward {
            Direction::ToThrift => self.write_struct(message, input, 1)?,
            Direction::ToProtobuf => {
                let mut rest = input;
                self.write_message(message, &mut rest, 1)?;
                if !rest.is_empty() {
                    return Err(self.stop(FaultKind::Trailing, rest));
                }
                true
            }
        };
        match wrote || !message.is_union {
            true => self.room(0, input),
            false => Err(self.stop(FaultKind::NoMember, input)),
        }
    }

    /// A message of the plan. Without it, the pairing was not complete.
    fn message(&self, index: usize, rest: &[u8]) -> Outcome<&'p MessagePlan> {
        let message = self.plan.messages.get(index);
        message.ok_or_else(|| self.stop(FaultKind::Types, rest))
    }

    /// A fault where `rest` begins.
    #[cold]
    fn stop(&self, kind: impl Into<FaultKind>, rest: &[u8]) -> Stop {
        let offset = rest.as_ptr().addr().wrapping_sub(self.begins);
        // Bytes that were put together lie elsewhere. Who did that knows the place.
        Stop::new(kind.into(), if offset <= self.len { offset } else { 0 })
    }

    /// Fails if `more` bytes cannot be written.
    #[inline(always)]
    fn room(&self, more: usize, rest: &[u8]) -> Outcome<()> {
        match self.out.len().saturating_add(more) <= self.end {
            true => Ok(()),
            false => Err(self.stop(FaultKind::TooLarge, rest)),
        }
    }

    /// Counts a field that was skipped.
    fn unknown(&mut self, number: i32, rest: &[u8]) -> Outcome<()> {
        match self.plan.options.unknown {
            Unknown::Skip => {
                self.skipped += 1;
                Ok(())
            }
            Unknown::Error => Err(self.stop(FaultKind::Unknown(number), rest)),
        }
    }
}
