//! From a protobuf message to a thrift struct.

mod containers;
mod thorough;

use super::fault::{Outcome, Stop};
use super::scratch::Seen;
use super::{FaultKind, MAX_DEPTH, Pass, protobuf, thrift};
use crate::translate::plan::{FieldPlan, Item, MessagePlan, NO_ONEOF, Shape};

pub(super) use self::thorough::{Run, Slot};

impl<'p> Pass<'p, '_> {
    /// A message becomes a struct of the level `depth`. Whether one of its fields was written.
    pub(super) fn write_struct(
        &mut self,
        message: &'p MessagePlan,
        input: &[u8],
        depth: u32,
    ) -> Outcome<bool> {
        if depth > MAX_DEPTH {
            return Err(self.stop(FaultKind::Depth, input));
        }
        let mut seen = Seen::open(message.fields.len(), &mut self.scratch.seen);
        let start = self.out.len();
        match self.thorough {
            false => self.quickly(message, input, depth, &mut seen)?,
            true => self.thoroughly(message, input, depth, &mut seen)?,
        }
        self.absent_to_thrift(message, &seen, depth, input)?;
        seen.close(&mut self.scratch.seen);
        let wrote = self.out.len() > start;
        self.out.push(thrift::STOP);
        Ok(wrote)
    }

    /// Writes each field where it is met.
    fn quickly(
        &mut self,
        message: &'p MessagePlan,
        input: &[u8],
        depth: u32,
        seen: &mut Seen,
    ) -> Outcome<()> {
        let mut rest = input;
        while !rest.is_empty() {
            let begin = rest;
            let Some((slot, field)) = self.next_field(message, &mut rest)? else {
                continue;
            };
            if seen.insert(slot, &mut self.scratch.seen) {
                return Err(Stop::Again);
            }
            if field.oneof != NO_ONEOF {
                let members = message.oneofs.get(usize::from(field.oneof));
                let members = members.map(|m| &**m).unwrap_or_default();
                if seen.any_but(members, slot, &self.scratch.seen) {
                    return Err(Stop::Again);
                }
            }
            let written = match &field.shape {
                Shape::Item(Item::Scalar(scalar)) => {
                    self.scalar_to_thrift(scalar, Some(field.header), field.omits_zero(), &mut rest)
                }
                Shape::Item(item) => self.item_field(field, item, &mut rest, depth),
                Shape::Container(container) => {
                    rest = begin;
                    self.container_field(field, container, &mut rest, depth)
                }
                Shape::ThriftOnly => Ok(()),
            };
            written.map_err(|stop| stop.within(&field.protobuf, || field.types(self.plan)))?;
            self.room(0, begin)?;
        }
        Ok(())
    }

    /// Reads a tag. `None`: it was of no field that the plan has, and its value was skipped.
    #[inline(always)]
    fn next_field(
        &mut self,
        message: &'p MessagePlan,
        rest: &mut &[u8],
    ) -> Outcome<Option<(usize, &'p FieldPlan)>> {
        let begin = *rest;
        let tag = protobuf::tag(rest).map_err(|flaw| self.stop(flaw, begin))?;
        let slot = message.numbers.get(tag >> 3);
        if let Some(slot) = slot
            && let Some(field) = message.fields.get(slot)
            && (tag == field.tag.value || tag == field.other_tag)
        {
            return Ok(Some((slot, field)));
        }
        self.skip_protobuf(tag, rest, begin)?;
        Ok(None)
    }

    /// Skips and counts the value of an unknown field.
    pub(super) fn skip_protobuf(
        &mut self,
        tag: u32,
        rest: &mut &[u8],
        begin: &[u8],
    ) -> Outcome<()> {
        protobuf::skip(tag, rest).map_err(|flaw| self.stop(flaw, begin))?;
        self.unknown((tag >> 3) as i32, begin)
    }

    /// A message or wrapper becomes a field. `rest` begins with its length.
    fn item_field(
        &mut self,
        field: &'p FieldPlan,
        item: &'p Item,
        rest: &mut &[u8],
        depth: u32,
    ) -> Outcome<()> {
        let begin = *rest;
        let body = protobuf::bytes(rest).map_err(|flaw| self.stop(flaw, begin))?;
        self.body_field(field, item, body, depth)
    }

    /// A message or wrapper becomes a field. A union without a member is left out.
    fn body_field(
        &mut self,
        field: &'p FieldPlan,
        item: &'p Item,
        body: &[u8],
        depth: u32,
    ) -> Outcome<()> {
        let start = self.out.len();
        self.out.extend_from_slice(&field.header);
        if self.body(item, body, depth + 1)? {
            return Ok(());
        }
        self.out.truncate(start);
        match field.must_thrift {
            true => Err(self.stop(FaultKind::NoMember, body)),
            false => Ok(()),
        }
    }

    /// A message or wrapper, which stands at the level `depth` in thrift, without its length.
    /// `false`: it is a union without a member.
    fn body(&mut self, item: &'p Item, body: &[u8], depth: u32) -> Outcome<bool> {
        match item {
            Item::Message(index) => {
                let message = self.message(*index, body)?;
                let wrote = self.write_struct(message, body, depth)?;
                Ok(wrote || !message.is_union)
            }
            Item::Wrapper(wrapper) => self.unwrap_to_thrift(wrapper, body, depth).map(|()| true),
            Item::Scalar(_) => Err(self.stop(FaultKind::Types, body)),
        }
    }

    /// Does what is to be done for the fields that were not seen.
    #[inline(always)]
    fn absent_to_thrift(
        &mut self,
        message: &'p MessagePlan,
        seen: &Seen,
        depth: u32,
        input: &[u8],
    ) -> Outcome<()> {
        let defaults = self.defaults && depth == 1;
        let wanted = match defaults {
            true => &message.absent.thrift_top,
            false => &message.absent.thrift,
        };
        for (index, word) in wanted.iter().enumerate() {
            let mut absent = word & !seen.word(index, &self.scratch.seen);
            while absent != 0 {
                let slot = index * 64 + absent.trailing_zeros() as usize;
                absent &= absent - 1;
                if let Some(field) = message.fields.get(slot) {
                    self.absent_field_to_thrift(field, defaults, input)?;
                }
            }
        }
        Ok(())
    }

    fn absent_field_to_thrift(
        &mut self,
        field: &'p FieldPlan,
        defaults: bool,
        input: &[u8],
    ) -> Outcome<()> {
        let stop = |pass: &Self, kind: FaultKind| {
            let name = match field.number {
                0 => &field.thrift,
                _ => &field.protobuf,
            };
            let stop = pass.stop(kind, input);
            stop.within(name, || field.types(pass.plan))
        };
        if field.must_protobuf {
            return Err(stop(self, FaultKind::Required(field.protobuf.clone())));
        }
        let default = field.default.as_ref();
        // What thrift alone has can only be its default. Another required field was left out by
        // the sender.
        let default = default.filter(|_| match field.shape {
            Shape::ThriftOnly => true,
            Shape::Item(_) | Shape::Container(_) => defaults && !field.must_thrift,
        });
        match (&field.shape, default) {
            (Shape::Item(Item::Scalar(scalar)), _) if field.implicit => {
                self.out.extend_from_slice(&field.header);
                let zero = self.zero_to_thrift(scalar);
                zero.map_err(|flaw| stop(self, flaw.into()))?;
            }
            (Shape::Container(container), _) if field.implicit => {
                self.out.extend_from_slice(&field.header);
                self.empty_to_thrift(container);
            }
            (_, Some(default)) => {
                self.out.extend_from_slice(&field.header);
                self.out.extend_from_slice(&default.thrift);
            }
            (_, None) => return Err(stop(self, FaultKind::Required(field.thrift.clone()))),
        }
        self.room(0, input)
    }
}
