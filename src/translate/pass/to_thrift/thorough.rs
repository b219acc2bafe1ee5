//! The thorough way: a first look at a message records where each field is, and then the fields
//! are written one by one. It takes every form that protobuf allows: fields that come again,
//! messages in pieces, elements of a repeated field between other fields.

use super::super::fault::Outcome;
use super::super::scratch::Seen;
use super::super::{FaultKind, Pass, protobuf};
use crate::translate::plan::{FieldPlan, Item, MessagePlan, NO_ONEOF, Shape};

/// No run, no slot.
const NONE: u32 = u32::MAX;

/// Messages in pieces may take so many bytes for each byte of the whole message.
const MERGED: usize = 4;

/// So many bytes they may take in any case: of a message of 16 KiB, every level may be in pieces.
const MERGED_ALWAYS: usize = 1 << 20;

/// What was found of a field.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Slot {
    /// Its first and last run. For a oneof: the slot of the member that counts.
    first: u32,
    last: u32,
    /// What follows its last tag.
    value: u32,
    count: u32,
}

const EMPTY: Slot = Slot {
    first: NONE,
    last: NONE,
    value: 0,
    count: 0,
};

/// Occurrences of one field behind each other.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Run {
    start: u32,
    end: u32,
    /// The next run of the field.
    next: u32,
}

impl<'p> Pass<'p, '_> {
    /// Writes the fields of a message, in the order of the plan.
    #[cold]
    pub(super) fn thoroughly(
        &mut self,
        message: &'p MessagePlan,
        input: &[u8],
        depth: u32,
        seen: &mut Seen,
    ) -> Outcome<()> {
        let base = self.scratch.slots.len();
        let runs = self.scratch.runs.len();
        let slots = base + message.fields.len() + message.oneofs.len();
        self.scratch.slots.resize(slots, EMPTY);
        self.record(message, input, base, seen)?;
        // A message has few of its fields, often: only those are looked at.
        for index in 0..message.fields.len().div_ceil(64) {
            let mut there = seen.word(index, &self.scratch.seen);
            while there != 0 {
                let slot = index * 64 + there.trailing_zeros() as usize;
                there &= there - 1;
                let found = self.scratch.slots.get(base + slot);
                let found = found.copied().unwrap_or(EMPTY);
                let Some(field) = message.fields.get(slot) else {
                    continue;
                };
                if found.count == 0 {
                    // Another member of its oneof came later.
                    seen.remove(slot, &mut self.scratch.seen);
                    continue;
                }
                let written = self.found(field, found, input, depth);
                written.map_err(|stop| stop.within(&field.protobuf, || field.types(self.plan)))?;
                self.room(0, input)?;
            }
        }
        self.scratch.slots.truncate(base);
        self.scratch.runs.truncate(runs);
        Ok(())
    }

    /// The first look.
    fn record(
        &mut self,
        message: &'p MessagePlan,
        input: &[u8],
        base: usize,
        seen: &mut Seen,
    ) -> Outcome<()> {
        let place = |rest: &[u8]| (input.len() - rest.len()) as u32;
        let mut rest = input;
        while !rest.is_empty() {
            let begin = rest;
            let Some((slot, field)) = self.next_field(message, &mut rest)? else {
                continue;
            };
            let value = place(rest);
            // The wire type is in the tag's last three bits, which are in its first byte.
            let tag = begin.first().map_or(0, |&byte| u32::from(byte) & 7);
            protobuf::skip(tag, &mut rest).map_err(|flaw| self.stop(flaw, begin))?;
            let (start, end) = (place(begin), place(rest));
            let scratch = &mut *self.scratch;
            if field.oneof != NO_ONEOF {
                let oneof = base + message.fields.len() + usize::from(field.oneof);
                if let Some(current) = scratch.slots.get_mut(oneof) {
                    let before = std::mem::replace(&mut current.first, slot as u32);
                    if before != NONE
                        && before != slot as u32
                        && let Some(before) = scratch.slots.get_mut(base + before as usize)
                    {
                        *before = EMPTY;
                    }
                }
            }
            let Some(found) = scratch.slots.get_mut(base + slot) else {
                continue;
            };
            seen.insert(slot, &mut scratch.seen);
            found.value = value;
            found.count += 1;
            if let Some(run) = scratch.runs.get_mut(found.last as usize)
                && run.end == start
            {
                run.end = end;
                continue;
            }
            let run = scratch.runs.len() as u32;
            match scratch.runs.get_mut(found.last as usize) {
                Some(last) => last.next = run,
                None => found.first = run,
            }
            found.last = run;
            scratch.runs.push(Run {
                start,
                end,
                next: NONE,
            });
        }
        Ok(())
    }

    fn found(
        &mut self,
        field: &'p FieldPlan,
        found: Slot,
        input: &[u8],
        depth: u32,
    ) -> Outcome<()> {
        let mut value = input.get(found.value as usize..).unwrap_or_default();
        match &field.shape {
            Shape::Item(Item::Scalar(scalar)) => {
                self.scalar_to_thrift(scalar, Some(field.header), field.omits_zero(), &mut value)
            }
            Shape::Item(item) if found.count == 1 => {
                self.item_field(field, item, &mut value, depth)
            }
            Shape::Item(item) => {
                let mut buffer = self.scratch.buffer();
                let mut run = found.first;
                let mut first = input;
                let mut gathered = Ok(());
                while let Some((piece, next)) = self.piece(run, input) {
                    if run == found.first {
                        first = piece;
                    }
                    gathered =
                        gathered.and_then(|()| self.gather(piece, field.tag.value, &mut buffer));
                    run = next;
                }
                self.with_merged(gathered, buffer, first, |pass, body| {
                    pass.body_field(field, item, body, depth)
                })
            }
            Shape::Container(container) => {
                let start = self.out.len();
                self.out.extend_from_slice(&field.header);
                let mut open = self.open(container, depth + 1, input)?;
                let mut run = found.first;
                while let Some((mut piece, next)) = self.piece(run, input) {
                    self.elements(container, &mut open, &mut piece)?;
                    run = next;
                }
                self.close_field(field, container, open, start, input)
            }
            Shape::ThriftOnly => Ok(()),
        }
    }

    /// The bytes of a run, and the run behind it.
    fn piece<'a>(&self, run: u32, input: &'a [u8]) -> Option<(&'a [u8], u32)> {
        let run = self.scratch.runs.get(run as usize)?;
        let piece = input.get(run.start as usize..run.end as usize)?;
        Some((piece, run.next))
    }

    /// Puts the values that have this tag in `pieces` together: pieces of one message, behind each
    /// other, are that message.
    pub(super) fn merged<'a>(
        &mut self,
        mut pieces: impl Iterator<Item = &'a [u8]>,
        tag: u32,
        begin: &[u8],
        write: impl FnOnce(&mut Self, &[u8]) -> Outcome<()>,
    ) -> Outcome<()> {
        let mut buffer = self.scratch.buffer();
        let gathered = pieces.try_for_each(|piece| self.gather(piece, tag, &mut buffer));
        self.with_merged(gathered, buffer, begin, write)
    }

    fn gather(&mut self, mut piece: &[u8], wanted: u32, buffer: &mut Vec<u8>) -> Outcome<()> {
        while !piece.is_empty() {
            let begin = piece;
            let tag = protobuf::tag(&mut piece).map_err(|flaw| self.stop(flaw, begin))?;
            if tag == wanted {
                let body = protobuf::bytes(&mut piece);
                buffer.extend_from_slice(body.map_err(|flaw| self.stop(flaw, begin))?);
            } else {
                protobuf::skip(tag, &mut piece).map_err(|flaw| self.stop(flaw, begin))?;
            }
        }
        Ok(())
    }

    fn with_merged(
        &mut self,
        gathered: Outcome<()>,
        buffer: Vec<u8>,
        begin: &[u8],
        write: impl FnOnce(&mut Self, &[u8]) -> Outcome<()>,
    ) -> Outcome<()> {
        self.merged += buffer.len();
        let most = self.len.saturating_mul(MERGED).max(MERGED_ALWAYS);
        let written = match gathered {
            Ok(()) if self.merged > most => Err(self.stop(FaultKind::Pieces, begin)),
            Ok(()) => {
                let at = begin.as_ptr().addr().wrapping_sub(self.begins);
                write(self, &buffer).map_err(|stop| stop.at(at.min(self.len)))
            }
            Err(stop) => Err(stop),
        };
        self.merged -= buffer.len();
        self.scratch.recycle(buffer);
        written
    }
}
