//! The tables by which messages are translated: a [`Pairing`] lowered once, when it is loaded.

mod index;
mod lower;
mod missing;
mod names;

use std::sync::Arc;

use super::pairing::{DefaultValue, EnumNumbers, Options, Overflow, Pairing, ProtobufScalar};
use super::pairing::{ThriftScalar, Utf8};

pub(super) use index::Index;

/// No oneof.
pub(super) const NO_ONEOF: u16 = u16::MAX;

/// How to translate every message of a [`Pairing`], in both directions. It is shared by all
/// streams that were opened with it.
#[derive(Debug)]
pub struct Plan {
    pub(super) messages: Box<[MessagePlan]>,
    pub(super) options: Options,
}

impl Plan {
    /// Lowers `pairing`. Indexes of messages stay the same.
    #[must_use]
    pub fn new(pairing: &Pairing, options: Options) -> Self {
        Self {
            messages: pairing.messages.iter().map(lower::message).collect(),
            options,
        }
    }

    /// How many messages it can translate: those of the pairing.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether it can translate no message at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
}

/// A message and a struct.
#[derive(Debug)]
pub(super) struct MessagePlan {
    pub(super) protobuf: Arc<str>,
    pub(super) thrift: Arc<str>,
    pub(super) is_union: bool,
    /// By number. A field's place here is its slot.
    pub(super) fields: Box<[FieldPlan]>,
    /// The slot of a protobuf number.
    pub(super) numbers: Index,
    /// The slot of a thrift id.
    pub(super) ids: Index,
    /// The members of each oneof, as sets of slots.
    pub(super) oneofs: Box<[Slots]>,
    /// The fields for which something is to be done when they are absent.
    pub(super) absent: Absent,
    /// A field that protobuf requires and thrift does not have.
    pub(super) incomplete: Option<Arc<str>>,
}

/// The fields for which something is to be done when they are absent: a zero, a default, a fault.
#[derive(Debug)]
pub(super) struct Absent {
    /// Toward thrift.
    pub(super) thrift: Slots,
    /// Toward thrift, in a message whose reader does not apply defaults.
    pub(super) thrift_top: Slots,
    /// Toward protobuf.
    pub(super) protobuf: Slots,
}

/// A set of slots, 64 to a word.
pub(super) type Slots = Box<[u64]>;

/// A field of both sides, or of the thrift side only.
#[derive(Debug)]
pub(super) struct FieldPlan {
    /// 0: the protobuf side does not have it.
    pub(super) number: u32,
    pub(super) protobuf: Arc<str>,
    pub(super) thrift: Arc<str>,
    /// How it begins in protobuf, as it is written.
    pub(super) tag: Tag,
    /// Another tag by which it can begin: packed or not. 0: none.
    pub(super) other_tag: u32,
    /// How it begins in thrift: type and id.
    pub(super) header: [u8; 3],
    pub(super) shape: Shape,
    /// Its oneof, or [`NO_ONEOF`].
    pub(super) oneof: u16,
    /// Protobuf cannot tell absence from zero.
    pub(super) implicit: bool,
    /// Protobuf requires it (proto2).
    pub(super) must_protobuf: bool,
    /// Thrift requires it.
    pub(super) must_thrift: bool,
    /// A zero of a field with implicit presence is written toward thrift.
    pub(super) zeros: bool,
    pub(super) default: Option<DefaultValue>,
}

impl FieldPlan {
    /// Whether a thrift value of this type is read. Of a field of thrift only, the type may not be
    /// known: it is skipped then, whatever it is.
    #[inline(always)]
    pub(super) fn takes(&self, ty: u8) -> bool {
        let [expected, ..] = self.header;
        expected == ty || expected == 0
    }

    /// Nothing is written toward thrift for a zero.
    pub(super) fn omits_zero(&self) -> bool {
        self.implicit && !self.zeros
    }

    /// Its types on both sides, for people: protobuf's, thrift's.
    pub(super) fn types(&self, plan: &Plan) -> (Arc<str>, Arc<str>) {
        names::types(&self.shape, plan)
    }
}

/// A protobuf tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    /// Number and wire type.
    pub(super) value: u32,
    bytes: [u8; 5],
    len: u8,
}

impl Tag {
    /// Writes it.
    #[inline(always)]
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        // Copies of a fixed length need no call.
        let [first, second, rest @ ..] = &self.bytes;
        match self.len {
            1 => out.push(*first),
            2 => out.extend_from_slice(&[*first, *second]),
            _ => {
                out.extend_from_slice(&[*first, *second]);
                let more = usize::from(self.len).saturating_sub(2);
                out.extend_from_slice(rest.get(..more).unwrap_or_default());
            }
        }
    }
}

/// What a field holds.
#[derive(Debug)]
pub(super) enum Shape {
    Item(Item),
    Container(Container),
    /// It is skipped toward protobuf.
    ThriftOnly,
}

/// What can stand in a container.
#[derive(Debug)]
pub(super) enum Item {
    Scalar(ScalarPlan),
    Message(usize),
    Wrapper(Box<WrapperPlan>),
}

/// A message with one field, and the container that this field stands for.
#[derive(Debug)]
pub(super) struct WrapperPlan {
    pub(super) container: Container,
}

/// What has a count in thrift.
#[derive(Debug)]
pub(super) enum Container {
    List(ListPlan),
    Map(Box<MapPlan>),
}

#[derive(Debug)]
pub(super) struct ListPlan {
    pub(super) element: Item,
    /// The tag of each element that is not packed.
    pub(super) single: Tag,
    /// The tag of a packed run, for scalars that can be packed. It is the tag that is written if
    /// `packed`.
    pub(super) run: Option<Tag>,
    pub(super) packed: bool,
    pub(super) is_set: bool,
    /// On the thrift wire.
    pub(super) element_type: u8,
}

#[derive(Debug)]
pub(super) struct MapPlan {
    /// The tag of each entry.
    pub(super) entry: Tag,
    pub(super) key: Item,
    pub(super) value: Item,
    /// The tags within an entry.
    pub(super) key_tag: Tag,
    pub(super) value_tag: Tag,
    /// On the thrift wire.
    pub(super) key_type: u8,
    pub(super) value_type: u8,
}

/// Two scalar types.
#[derive(Debug)]
pub(super) struct ScalarPlan {
    pub(super) protobuf: ProtobufScalar,
    pub(super) thrift: ThriftScalar,
    pub(super) overflow: Overflow,
    pub(super) utf8: Utf8,
    pub(super) numbers: Option<Box<Numbers>>,
}

/// The numbers of two enums that pair by name, sorted for both directions.
#[derive(Debug)]
pub(super) struct Numbers {
    by_protobuf: Vec<(i32, i32)>,
    by_thrift: Vec<(i32, i32)>,
}

impl Numbers {
    fn new(EnumNumbers(rows): &EnumNumbers) -> Self {
        let mut by_protobuf = rows.clone();
        by_protobuf.sort_unstable();
        let mut by_thrift: Vec<_> = rows.iter().map(|&(p, t)| (t, p)).collect();
        by_thrift.sort_unstable();
        Self {
            by_protobuf,
            by_thrift,
        }
    }

    /// The thrift number for a protobuf number. `None`: no value of that name is on the other side.
    pub(super) fn to_thrift(&self, number: i32) -> Option<i32> {
        look_up(&self.by_protobuf, number)
    }

    /// See [`Numbers::to_thrift`].
    pub(super) fn to_protobuf(&self, number: i32) -> Option<i32> {
        look_up(&self.by_thrift, number)
    }
}

fn look_up(rows: &[(i32, i32)], number: i32) -> Option<i32> {
    let row = rows.binary_search_by_key(&number, |&(from, _)| from).ok()?;
    rows.get(row).map(|&(_, to)| to)
}
