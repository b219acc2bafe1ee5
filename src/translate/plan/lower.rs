//! From a pair of messages to its tables.

use super::super::pairing::{self, FieldPair, MessagePair, OnlyThrift, Presence, Requiredness};
use super::super::pairing::{DefaultValue, ProtobufScalar, ThriftScalar, Value};
use super::missing::{absent, slots};
use super::{Container, FieldPlan, Index, Item, ListPlan, MapPlan, MessagePlan, NO_ONEOF, Numbers};
use super::{ScalarPlan, Shape, Tag, WrapperPlan};
use crate::translate::pass::thrift::STRUCT;
use crate::translate::pass::thrift::{BOOL, BYTE, DOUBLE, I16, I32, I64, LIST, MAP, SET, STRING};

/// Wire types of protobuf.
const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LEN: u32 = 2;
const FIXED32: u32 = 5;

pub(super) fn message(pair: &MessagePair) -> MessagePlan {
    let mut fields: Vec<FieldPlan> = pair.fields.iter().map(field).collect();
    fields.extend(pair.only_thrift.iter().map(only_thrift));
    fields.sort_by_key(|field| field.number);
    // More fields than a slot can name cannot come from an IDL: thrift has 65,536 ids at most.
    fields.truncate(usize::from(u16::MAX));
    let oneofs = fields.iter().filter(|field| field.oneof != NO_ONEOF);
    let oneofs = oneofs.map(|field| field.oneof + 1).max().unwrap_or(0);
    let both = || (0u16..).zip(&fields);
    MessagePlan {
        protobuf: pair.protobuf.clone(),
        thrift: pair.thrift.clone(),
        is_union: pair.is_union,
        numbers: Index::new(
            both()
                .filter(|(_, field)| field.number != 0)
                .map(|(slot, field)| (field.number, slot)),
        ),
        ids: Index::new(both().map(|(slot, field)| {
            let [_, id @ ..] = field.header;
            (u32::from(u16::from_be_bytes(id)), slot)
        })),
        oneofs: (0..oneofs)
            .map(|oneof| slots(&fields, &|field| field.oneof == oneof))
            .collect(),
        absent: absent(&fields, pair.is_union),
        incomplete: pair.missing_in_thrift.first().map(|(_, name)| name.clone()),
        fields: fields.into(),
    }
}

fn field(pair: &FieldPair) -> FieldPlan {
    let shape = match &pair.value {
        Value::List(_) | Value::Map(_) => Shape::Container(container(pair.number, &pair.value)),
        value => Shape::Item(item(value)),
    };
    let tag = match &shape {
        Shape::Item(item) => tag(pair.number, item_wire(item)),
        Shape::Container(container) => container.tag(),
        Shape::ThriftOnly => Tag::default(),
    };
    let optional = pair.requiredness == Requiredness::Optional;
    FieldPlan {
        number: pair.number,
        protobuf: pair.protobuf.clone(),
        thrift: pair.thrift.clone(),
        tag,
        other_tag: match &shape {
            Shape::Container(Container::List(list)) => match list.run {
                Some(_) if list.packed => list.single.value,
                Some(run) => run.value,
                None => 0,
            },
            _ => 0,
        },
        header: header(thrift_type(&pair.value), pair.id),
        shape,
        oneof: match pair.presence {
            Presence::Oneof(index) => index,
            Presence::Implicit | Presence::Explicit | Presence::Required => NO_ONEOF,
        },
        implicit: pair.presence == Presence::Implicit,
        must_protobuf: pair.presence == Presence::Required,
        must_thrift: pair.requiredness == Requiredness::Required,
        // Where thrift has a default, absence would say that default.
        zeros: !optional || pair.write_zeros || pair.default.is_some(),
        default: pair.default.clone(),
    }
}

fn only_thrift(field: &OnlyThrift) -> FieldPlan {
    let (ty, default) = match field.default.as_deref() {
        Some([ty, value @ ..]) => (*ty, Some(value)),
        Some([]) | None => (0, None),
    };
    FieldPlan {
        number: 0,
        protobuf: "".into(),
        thrift: field.name.clone(),
        tag: Tag::default(),
        other_tag: 0,
        header: header(ty, field.id),
        shape: Shape::ThriftOnly,
        oneof: NO_ONEOF,
        implicit: false,
        must_protobuf: false,
        must_thrift: field.required,
        zeros: false,
        default: default.map(|value| DefaultValue {
            thrift: value.into(),
            protobuf: [].into(),
        }),
    }
}

fn header(ty: u8, id: i16) -> [u8; 3] {
    let [high, low] = id.to_be_bytes();
    [ty, high, low]
}

fn item(value: &Value) -> Item {
    match value {
        Value::Scalar(s) => Item::Scalar(scalar(s)),
        Value::Message(index) => Item::Message(*index),
        Value::Wrapper { number, value } => Item::Wrapper(Box::new(wrapper(*number, value))),
        // A pairing has a wrapper around a container within a container. Without one, the
        // container is read as a wrapper's field 1.
        Value::List(_) | Value::Map(_) => Item::Wrapper(Box::new(wrapper(1, value))),
    }
}

fn wrapper(number: u32, value: &Value) -> WrapperPlan {
    WrapperPlan {
        container: container(number, value),
    }
}

fn container(number: u32, value: &Value) -> Container {
    match value {
        Value::Map(map) => Container::Map(Box::new(self::map(number, map))),
        Value::List(list) => Container::List(self::list(number, list)),
        // A wrapper around something else is read as a wrapper around a list of it.
        Value::Scalar(_) | Value::Message(_) | Value::Wrapper { .. } => {
            let list = pairing::List {
                element: Box::new(value.clone()),
                is_set: false,
                is_packed: false,
            };
            Container::List(self::list(number, &list))
        }
    }
}

fn list(number: u32, list: &pairing::List) -> ListPlan {
    let element = item(&list.element);
    let wire = item_wire(&element);
    ListPlan {
        single: tag(number, wire),
        run: (wire != LEN).then(|| tag(number, LEN)),
        packed: list.is_packed && wire != LEN,
        is_set: list.is_set,
        element_type: thrift_type(&list.element),
        element,
    }
}

fn map(number: u32, map: &pairing::Map) -> MapPlan {
    let (key, value) = (item(&map.key), item(&map.value));
    MapPlan {
        entry: tag(number, LEN),
        key_tag: tag(1, item_wire(&key)),
        value_tag: tag(2, item_wire(&value)),
        key,
        value,
        key_type: thrift_type(&map.key),
        value_type: thrift_type(&map.value),
    }
}

fn scalar(pair: &pairing::Scalar) -> ScalarPlan {
    ScalarPlan {
        protobuf: pair.protobuf,
        thrift: pair.thrift,
        overflow: pair.overflow,
        utf8: pair.utf8,
        numbers: pair.numbers.as_deref().map(|n| Box::new(Numbers::new(n))),
    }
}

fn item_wire(item: &Item) -> u32 {
    match item {
        Item::Scalar(scalar) => wire(scalar.protobuf),
        Item::Message(_) | Item::Wrapper(_) => LEN,
    }
}

fn wire(scalar: ProtobufScalar) -> u32 {
    use ProtobufScalar as P;
    match scalar {
        P::Int32 | P::Int64 | P::Uint32 | P::Uint64 | P::Sint32 | P::Sint64 => VARINT,
        P::Bool | P::Enum => VARINT,
        P::Fixed32 | P::Sfixed32 | P::Float => FIXED32,
        P::Fixed64 | P::Sfixed64 | P::Double => FIXED64,
        P::String | P::Bytes => LEN,
    }
}

fn thrift_type(value: &Value) -> u8 {
    match value {
        Value::Scalar(scalar) => match scalar.thrift {
            ThriftScalar::Bool => BOOL,
            ThriftScalar::I8 => BYTE,
            ThriftScalar::I16 => I16,
            ThriftScalar::I32 | ThriftScalar::Enum => I32,
            ThriftScalar::I64 => I64,
            ThriftScalar::Double => DOUBLE,
            ThriftScalar::String | ThriftScalar::Binary => STRING,
        },
        Value::Message(_) => STRUCT,
        Value::List(list) => match list.is_set {
            true => SET,
            false => LIST,
        },
        Value::Map(_) => MAP,
        Value::Wrapper { value, .. } => match &**value {
            Value::List(_) | Value::Map(_) => thrift_type(value),
            Value::Scalar(_) | Value::Message(_) | Value::Wrapper { .. } => LIST,
        },
    }
}

impl Container {
    /// The tag with which its field begins, as it is written.
    fn tag(&self) -> Tag {
        match self {
            Self::List(list) => match list.run {
                Some(run) if list.packed => run,
                Some(_) | None => list.single,
            },
            Self::Map(map) => map.entry,
        }
    }
}

impl Default for Tag {
    fn default() -> Self {
        tag(0, LEN)
    }
}

fn tag(number: u32, wire: u32) -> Tag {
    let value = number << 3 | wire;
    let (mut bytes, mut len, mut left) = ([0; 5], 0, value);
    for byte in &mut bytes {
        len += 1;
        *byte = (left & 0x7f) as u8;
        left >>= 7;
        if left == 0 {
            break;
        }
        *byte |= 0x80;
    }
    Tag { value, bytes, len }
}
