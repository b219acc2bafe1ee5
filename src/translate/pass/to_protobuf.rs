//! From a thrift struct to a protobuf message.

use super::fault::{Outcome, Stop};
use super::protobuf::{close, open};
use super::repeats::{Entry, Keep, remove};
use super::scratch::Seen;
use super::{FaultKind, MAX_DEPTH, Pass, thrift};
use crate::translate::plan::{Container, FieldPlan, Item, ListPlan, MapPlan, MessagePlan};
use crate::translate::plan::{NO_ONEOF, Shape, Tag};

impl<'p> Pass<'p, '_> {
    /// A struct of the level `depth` becomes a message, without a length. Whether it has one of the
    /// fields that the plan knows.
    pub(super) fn write_message(
        &mut self,
        message: &'p MessagePlan,
        rest: &mut &[u8],
        depth: u32,
    ) -> Outcome<bool> {
        if depth > MAX_DEPTH {
            return Err(self.stop(FaultKind::Depth, rest));
        }
        if let Some(name) = &message.incomplete {
            return Err(self.stop(FaultKind::Required(name.clone()), rest));
        }
        let mut seen = Seen::open(message.fields.len(), &mut self.scratch.seen);
        let places = self.scratch.places.len();
        let void = self.scratch.void.len();
        if self.thorough {
            let places = places + message.fields.len();
            self.scratch.places.resize(places, (0, 0));
        }
        self.fields_to_protobuf(message, rest, depth, &mut seen, places)?;
        let any = !seen.is_empty(&self.scratch.seen);
        self.absent_to_protobuf(message, &seen, rest)?;
        seen.close(&mut self.scratch.seen);
        if self.thorough {
            if let Some(ranges) = self.scratch.void.get_mut(void..) {
                remove(self.out, ranges);
            }
            self.scratch.void.truncate(void);
            self.scratch.places.truncate(places);
        }
        Ok(any)
    }

    fn fields_to_protobuf(
        &mut self,
        message: &'p MessagePlan,
        rest: &mut &[u8],
        depth: u32,
        seen: &mut Seen,
        places: usize,
    ) -> Outcome<()> {
        loop {
            let begin = *rest;
            let ty = thrift::fixed(rest).map_err(|flaw| self.stop(flaw, begin))?;
            let [ty] = ty;
            if ty == thrift::STOP {
                return Ok(());
            }
            let id = thrift::fixed(rest).map_err(|flaw| self.stop(flaw, begin))?;
            let id = u16::from_be_bytes(id);
            let slot = message.ids.get(u32::from(id));
            let field = slot.and_then(|slot| Some((slot, message.fields.get(slot)?)));
            let Some((slot, field)) = field.filter(|(_, field)| field.takes(ty)) else {
                thrift::known(ty).map_err(|flaw| self.stop(flaw, begin))?;
                thrift::skip(ty, rest, depth + 1).map_err(|flaw| self.stop(flaw, begin))?;
                self.unknown(i32::from(id as i16), begin)?;
                continue;
            };
            let again = seen.insert(slot, &mut self.scratch.seen);
            if again && !self.thorough {
                return Err(Stop::Again);
            }
            let start = self.out.len();
            let written = match &field.shape {
                Shape::Item(Item::Scalar(scalar)) => self
                    .scalar_to_protobuf(scalar, Some(&field.tag), field.implicit, rest)
                    .map(|()| true),
                Shape::Item(item) => self.item_field_to_protobuf(field, item, rest, depth),
                Shape::Container(container) => self
                    .container_to_protobuf(container, rest, depth + 1)
                    .map(|()| true),
                Shape::ThriftOnly => thrift::known(ty)
                    .and_then(|()| thrift::skip(ty, rest, depth + 1))
                    .map_err(|flaw| self.stop(flaw, begin))
                    .map(|()| !message.is_union),
            };
            let present = written.map_err(|stop| {
                stop.within(&field.thrift, || {
                    let (protobuf, thrift) = field.types(self.plan);
                    (thrift, protobuf)
                })
            })?;
            self.room(0, begin)?;
            if self.thorough {
                self.replace(places + slot, start, again);
            }
            if !present {
                seen.remove(slot, &mut self.scratch.seen);
            } else if field.oneof != NO_ONEOF {
                let members = message.oneofs.get(usize::from(field.oneof));
                let members = members.map(|m| &**m).unwrap_or_default();
                if seen.any_but(members, slot, &self.scratch.seen) {
                    return Err(self.stop(FaultKind::TwoMembers, begin));
                }
            }
        }
    }

    /// Notes where a field was written. What was written before for the same field is void.
    #[cold]
    fn replace(&mut self, place: usize, start: usize, again: bool) {
        let now = (start as u32, self.out.len() as u32);
        if let Some(place) = self.scratch.places.get_mut(place) {
            let before = std::mem::replace(place, now);
            if again {
                self.scratch.void.push(before);
            }
        }
    }

    /// A struct or wrapped container becomes a field. `false`: it is a union without a member,
    /// which counts as absent.
    fn item_field_to_protobuf(
        &mut self,
        field: &'p FieldPlan,
        item: &'p Item,
        rest: &mut &[u8],
        depth: u32,
    ) -> Outcome<bool> {
        let start = self.out.len();
        let present = self.item_to_protobuf(item, &field.tag, rest, depth + 1)?;
        if !present {
            self.out.truncate(start);
        }
        Ok(present)
    }

    /// One value with its tag. A struct or container has the level `depth`. `false`: it is a union
    /// without a member.
    fn item_to_protobuf(
        &mut self,
        item: &'p Item,
        tag: &Tag,
        rest: &mut &[u8],
        depth: u32,
    ) -> Outcome<bool> {
        if let Item::Scalar(scalar) = item {
            return self
                .scalar_to_protobuf(scalar, Some(tag), false, rest)
                .map(|()| true);
        }
        tag.put(self.out);
        let at = open(self.out, 0);
        let present = match item {
            Item::Message(index) => {
                let message = self.message(*index, rest)?;
                self.write_message(message, rest, depth)? || !message.is_union
            }
            Item::Wrapper(wrapper) => {
                self.container_to_protobuf(&wrapper.container, rest, depth)?;
                true
            }
            Item::Scalar(_) => true,
        };
        close(self.out, at, 0);
        Ok(present)
    }

    /// A container of the level `depth`. Nothing is written for an empty one.
    fn container_to_protobuf(
        &mut self,
        container: &'p Container,
        rest: &mut &[u8],
        depth: u32,
    ) -> Outcome<()> {
        if depth > MAX_DEPTH {
            return Err(self.stop(FaultKind::Depth, rest));
        }
        match container {
            Container::List(list) => self.list_to_protobuf(list, rest, depth),
            Container::Map(map) => self.map_to_protobuf(map, rest, depth),
        }
    }

    fn list_to_protobuf(
        &mut self,
        list: &'p ListPlan,
        rest: &mut &[u8],
        depth: u32,
    ) -> Outcome<()> {
        let begin = *rest;
        let [ty] = thrift::fixed(rest).map_err(|flaw| self.stop(flaw, begin))?;
        let count = thrift::count(rest, thrift::least(ty));
        let count = count.map_err(|flaw| self.stop(flaw, begin))?;
        if count == 0 {
            return Ok(());
        }
        self.same_type(list.element_type, ty, begin)?;
        match (&list.element, list.run) {
            (Item::Scalar(scalar), Some(run)) if list.packed => {
                run.put(self.out);
                // Each element has one byte at least.
                let at = open(self.out, count as usize);
                for index in 0..count {
                    self.scalar_to_protobuf(scalar, None, false, rest)
                        .and_then(|()| self.room(0, begin))
                        .map_err(|stop| stop.element(index))?;
                }
                close(self.out, at, count as usize);
            }
            (element, _) => {
                for index in 0..count {
                    self.item_to_protobuf(element, &list.single, rest, depth + 1)
                        .and_then(|_| self.room(0, begin))
                        .map_err(|stop| stop.element(index))?;
                }
            }
        }
        Ok(())
    }

    fn map_to_protobuf(&mut self, map: &'p MapPlan, rest: &mut &[u8], depth: u32) -> Outcome<()> {
        let begin = *rest;
        let [key, value] = thrift::fixed(rest).map_err(|flaw| self.stop(flaw, begin))?;
        let count = thrift::count(rest, thrift::least(key) + thrift::least(value));
        let count = count.map_err(|flaw| self.stop(flaw, begin))?;
        if count == 0 {
            return Ok(());
        }
        self.same_type(map.key_type, key, begin)?;
        self.same_type(map.value_type, value, begin)?;
        let (entries, mut next) = (self.scratch.repeats.open(), 0);
        for index in 0..count {
            self.entry_to_protobuf(map, rest, depth + 1)
                .and_then(|()| self.room(0, begin))
                .map_err(|stop| stop.element(index))?;
            let repeats = &mut self.scratch.repeats;
            repeats.thin(entries, &mut next, Keep::Last, self.out);
        }
        let repeats = &mut self.scratch.repeats;
        repeats.close(entries, Keep::Last, self.out);
        Ok(())
    }

    fn entry_to_protobuf(&mut self, map: &'p MapPlan, rest: &mut &[u8], depth: u32) -> Outcome<()> {
        let start = self.out.len();
        map.entry.put(self.out);
        let at = open(self.out, 0);
        let key = self.out.len();
        self.item_to_protobuf(&map.key, &map.key_tag, rest, depth)?;
        let end_of_key = self.out.len();
        self.item_to_protobuf(&map.value, &map.value_tag, rest, depth)?;
        let end = self.out.len();
        close(self.out, at, 0);
        // A longer length moves everything behind it.
        let moved = self.out.len() - end;
        self.scratch.repeats.push(Entry {
            start: start as u32,
            key: ((key + moved) as u32, (end_of_key + moved) as u32),
            end: self.out.len() as u32,
        });
        Ok(())
    }

    fn same_type(&self, expected: u8, found: u8, begin: &[u8]) -> Outcome<()> {
        if expected == found {
            return Ok(());
        }
        thrift::known(found).map_err(|flaw| self.stop(flaw, begin))?;
        Err(self.stop(FaultKind::ElementType { expected, found }, begin))
    }

    /// Does what is to be done for the fields that were not seen.
    fn absent_to_protobuf(
        &mut self,
        message: &'p MessagePlan,
        seen: &Seen,
        rest: &[u8],
    ) -> Outcome<()> {
        for (index, word) in message.absent.protobuf.iter().enumerate() {
            let mut absent = word & !seen.word(index, &self.scratch.seen);
            while absent != 0 {
                let slot = index * 64 + absent.trailing_zeros() as usize;
                absent &= absent - 1;
                let Some(field) = message.fields.get(slot) else {
                    continue;
                };
                let name = match (field.must_thrift, &field.default) {
                    (true, _) => &field.thrift,
                    (false, Some(default)) => {
                        self.out.extend_from_slice(&default.protobuf);
                        self.room(0, rest)?;
                        continue;
                    }
                    (false, None) => &field.protobuf,
                };
                let stop = self.stop(FaultKind::Required(name.clone()), rest);
                return Err(stop.within(name, || {
                    let (protobuf, thrift) = field.types(self.plan);
                    (thrift, protobuf)
                }));
            }
        }
        Ok(())
    }
}
