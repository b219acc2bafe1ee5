//! Lists, sets and maps: repeated fields become values with a count before them.

use super::super::fault::Outcome;
use super::super::repeats::{Entry, Keep};
use super::super::{FaultKind, MAX_DEPTH, Pass, protobuf};
use crate::translate::pairing::Duplicates;
use crate::translate::plan::WrapperPlan;
use crate::translate::plan::{Container, FieldPlan, Item, ListPlan, MapPlan, ScalarPlan};

/// A container that is being written.
pub(super) struct Open {
    /// Where its count is.
    at: usize,
    count: u32,
    /// How many of them were taken out again.
    removed: u32,
    /// Where its entries begin in the stack of entries.
    entries: usize,
    /// With how many entries repeated ones are taken out.
    next: usize,
    /// The level of its elements.
    depth: u32,
}

impl<'p> Pass<'p, '_> {
    /// The elements that lie behind each other at the front of `rest` become a field.
    pub(super) fn container_field(
        &mut self,
        field: &'p FieldPlan,
        container: &'p Container,
        rest: &mut &[u8],
        depth: u32,
    ) -> Outcome<()> {
        let begin = *rest;
        let start = self.out.len();
        self.out.extend_from_slice(&field.header);
        let mut open = self.open(container, depth + 1, begin)?;
        self.elements(container, &mut open, rest)?;
        self.close_field(field, container, open, start, begin)
    }

    /// Ends the container of a field that began at `start`.
    pub(super) fn close_field(
        &mut self,
        field: &FieldPlan,
        container: &Container,
        open: Open,
        start: usize,
        begin: &[u8],
    ) -> Outcome<()> {
        let count = self.close(container, open, begin)?;
        if count == 0 && field.omits_zero() {
            self.out.truncate(start);
        }
        Ok(())
    }

    /// A wrapper message becomes the container that it stands for, at the level `depth`.
    pub(super) fn unwrap_to_thrift(
        &mut self,
        wrapper: &'p WrapperPlan,
        body: &[u8],
        depth: u32,
    ) -> Outcome<()> {
        let mut open = self.open(&wrapper.container, depth, body)?;
        let mut rest = body;
        loop {
            self.elements(&wrapper.container, &mut open, &mut rest)?;
            if rest.is_empty() {
                break;
            }
            let begin = rest;
            let tag = protobuf::tag(&mut rest).map_err(|flaw| self.stop(flaw, begin))?;
            self.skip_protobuf(tag, &mut rest, begin)?;
        }
        self.close(&wrapper.container, open, body).map(drop)
    }

    /// A container without elements.
    pub(super) fn empty_to_thrift(&mut self, container: &Container) {
        match container {
            Container::List(list) => self.out.push(list.element_type),
            Container::Map(map) => self.out.extend_from_slice(&[map.key_type, map.value_type]),
        }
        self.out.extend_from_slice(&[0; 4]);
    }

    /// Begins a container of the level `depth`.
    pub(super) fn open(
        &mut self,
        container: &Container,
        depth: u32,
        begin: &[u8],
    ) -> Outcome<Open> {
        if depth > MAX_DEPTH {
            return Err(self.stop(FaultKind::Depth, begin));
        }
        self.empty_to_thrift(container);
        Ok(Open {
            at: self.out.len() - 4,
            count: 0,
            removed: 0,
            entries: self.scratch.repeats.open(),
            next: 0,
            depth: depth + 1,
        })
    }

    /// Ends it. How many elements it has.
    fn close(&mut self, container: &Container, open: Open, begin: &[u8]) -> Outcome<u32> {
        let mut removed = open.removed;
        match container {
            Container::List(list) if list.is_set => {
                let repeats = &mut self.scratch.repeats;
                removed += repeats.close(open.entries, Keep::First, self.out);
                if removed > 0 && self.plan.options.duplicates == Duplicates::Error {
                    return Err(self.stop(FaultKind::Duplicate, begin));
                }
            }
            Container::List(_) => {}
            Container::Map(_) => {
                let repeats = &mut self.scratch.repeats;
                removed += repeats.close(open.entries, Keep::Last, self.out);
            }
        }
        let count = open.count - removed;
        if let Some(place) = self.out.get_mut(open.at..open.at + 4) {
            place.copy_from_slice(&count.to_be_bytes());
        }
        Ok(count)
    }

    /// Writes the elements at the front of `rest`, up to the first tag that is another field's.
    pub(super) fn elements(
        &mut self,
        container: &'p Container,
        open: &mut Open,
        rest: &mut &[u8],
    ) -> Outcome<()> {
        let index = open.count;
        let written = match container {
            Container::List(list) => self.list_elements(list, open, rest),
            Container::Map(map) => self.map_entries(map, open, rest),
        };
        // A fault is in the element that was not counted any more.
        written.map_err(|stop| stop.element(open.count.max(index)))
    }

    fn list_elements(
        &mut self,
        list: &'p ListPlan,
        open: &mut Open,
        rest: &mut &[u8],
    ) -> Outcome<()> {
        loop {
            let begin = *rest;
            let mut behind = begin;
            if begin.is_empty() {
                return Ok(());
            }
            let tag = protobuf::tag(&mut behind).map_err(|flaw| self.stop(flaw, begin))?;
            if tag == list.single.value {
                *rest = behind;
                self.element(list, open, rest)?;
            } else if list.run.is_some_and(|run| run.value == tag) {
                *rest = behind;
                let packed = protobuf::bytes(rest);
                let mut packed = packed.map_err(|flaw| self.stop(flaw, begin))?;
                while !packed.is_empty() {
                    self.element(list, open, &mut packed)?;
                }
            } else {
                return Ok(());
            }
        }
    }

    #[inline]
    fn element(&mut self, list: &'p ListPlan, open: &mut Open, rest: &mut &[u8]) -> Outcome<()> {
        let begin = *rest;
        let start = self.out.len();
        self.item_to_thrift(&list.element, rest, open.depth)?;
        self.room(0, begin)?;
        if list.is_set {
            let (start, end) = (start as u32, self.out.len() as u32);
            self.scratch.repeats.push(Entry {
                start,
                key: (start, end),
                end,
            });
            let repeats = &mut self.scratch.repeats;
            open.removed += repeats.thin(open.entries, &mut open.next, Keep::First, self.out);
        }
        open.count += 1;
        Ok(())
    }

    fn map_entries(&mut self, map: &'p MapPlan, open: &mut Open, rest: &mut &[u8]) -> Outcome<()> {
        loop {
            let begin = *rest;
            let mut behind = begin;
            if begin.is_empty() {
                return Ok(());
            }
            let tag = protobuf::tag(&mut behind).map_err(|flaw| self.stop(flaw, begin))?;
            if tag != map.entry.value {
                return Ok(());
            }
            *rest = behind;
            let entry = protobuf::bytes(rest).map_err(|flaw| self.stop(flaw, begin))?;
            self.entry(map, open.depth, entry)?;
            self.room(0, begin)?;
            let repeats = &mut self.scratch.repeats;
            open.removed += repeats.thin(open.entries, &mut open.next, Keep::Last, self.out);
            open.count += 1;
        }
    }

    /// An entry of a map: each half may be missing, come again, or come in pieces.
    fn entry(&mut self, map: &'p MapPlan, depth: u32, entry: &[u8]) -> Outcome<()> {
        if let (Item::Scalar(key), Item::Scalar(value)) = (&map.key, &map.value) {
            let start = self.out.len();
            if let Some(end_of_key) = self.usual_entry(map, key, value, entry) {
                self.scratch.repeats.push(Entry {
                    start: start as u32,
                    key: (start as u32, end_of_key as u32),
                    end: self.out.len() as u32,
                });
                return Ok(());
            }
            self.out.truncate(start);
        }
        let (mut key, mut value) = (Half::default(), Half::default());
        let mut rest = entry;
        while !rest.is_empty() {
            let begin = rest;
            let tag = protobuf::tag(&mut rest).map_err(|flaw| self.stop(flaw, begin))?;
            let half = if tag == map.key_tag.value {
                &mut key
            } else if tag == map.value_tag.value {
                &mut value
            } else {
                self.skip_protobuf(tag, &mut rest, begin)?;
                continue;
            };
            half.count += 1;
            half.last = Some(rest);
            protobuf::skip(tag, &mut rest).map_err(|flaw| self.stop(flaw, begin))?;
        }
        let start = self.out.len() as u32;
        self.half(&map.key, key, map.key_tag.value, depth, entry)?;
        let end_of_key = self.out.len() as u32;
        self.half(&map.value, value, map.value_tag.value, depth, entry)?;
        self.scratch.repeats.push(Entry {
            start,
            key: (start, end_of_key),
            end: self.out.len() as u32,
        });
        Ok(())
    }

    /// An entry as most writers write it: the key, then the value. Where the key ends. `None`: it
    /// is another one, or there is a fault in it.
    #[inline]
    fn usual_entry(
        &mut self,
        map: &MapPlan,
        key: &ScalarPlan,
        value: &ScalarPlan,
        entry: &[u8],
    ) -> Option<usize> {
        let mut rest = entry;
        if protobuf::tag(&mut rest) != Ok(map.key_tag.value) {
            return None;
        }
        self.scalar_to_thrift(key, None, false, &mut rest).ok()?;
        let end_of_key = self.out.len();
        if protobuf::tag(&mut rest) != Ok(map.value_tag.value) {
            return None;
        }
        self.scalar_to_thrift(value, None, false, &mut rest).ok()?;
        rest.is_empty().then_some(end_of_key)
    }

    fn half(
        &mut self,
        item: &'p Item,
        half: Half<'_>,
        tag: u32,
        depth: u32,
        entry: &[u8],
    ) -> Outcome<()> {
        match (half.last, item) {
            (Some(mut rest), Item::Scalar(_)) => self.item_to_thrift(item, &mut rest, depth),
            (Some(mut rest), _) if half.count == 1 => self.item_to_thrift(item, &mut rest, depth),
            (Some(_), _) => self.merged([entry].into_iter(), tag, entry, |pass, body| {
                pass.member(item, body, depth)
            }),
            (None, Item::Scalar(scalar)) => {
                let zero = self.zero_to_thrift(scalar);
                zero.map_err(|flaw| self.stop(flaw, entry))
            }
            (None, _) => self.member(item, &[], depth),
        }
    }

    /// One value of a container. `rest` begins with what stands behind the tag.
    fn item_to_thrift(&mut self, item: &'p Item, rest: &mut &[u8], depth: u32) -> Outcome<()> {
        if let Item::Scalar(scalar) = item {
            return self.scalar_to_thrift(scalar, None, false, rest);
        }
        let begin = *rest;
        let body = protobuf::bytes(rest).map_err(|flaw| self.stop(flaw, begin))?;
        self.member(item, body, depth)
    }

    /// A message or wrapper in a container, where a union cannot be left out.
    fn member(&mut self, item: &'p Item, body: &[u8], depth: u32) -> Outcome<()> {
        match self.body(item, body, depth)? {
            true => Ok(()),
            false => Err(self.stop(FaultKind::NoMember, body)),
        }
    }
}

/// The key or value of an entry, as it was met.
#[derive(Default)]
struct Half<'a> {
    count: u32,
    /// What follows its last tag.
    last: Option<&'a [u8]>,
}
