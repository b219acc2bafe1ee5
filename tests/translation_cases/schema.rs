//! Random pairs of messages: the text of a `.proto` file and the pairing beside it.

use std::fmt::Write as _;

use prost_reflect::DescriptorPool;
use ripcord::translate::Pairing;
use ripcord::translate::pairing::{
    DefaultValue, FieldPair, List, Map, MessagePair, Overflow, Presence, ProtobufScalar as P,
    Requiredness, Scalar, ThriftScalar as S, Utf8, Value,
};

use super::Random;

pub(crate) struct Schema {
    pub(crate) pool: DescriptorPool,
    pub(crate) pairing: Pairing,
    pub(crate) text: String,
}

/// The last messages are unions.
const UNIONS: usize = 2;

pub(crate) fn scalar(protobuf: P, thrift: S) -> Scalar {
    Scalar {
        protobuf,
        thrift,
        overflow: Overflow::Error,
        utf8: Utf8::Error,
        numbers: None,
    }
}

pub(crate) fn random(random: &mut Random) -> Schema {
    let count = 3 + random.below(4) + UNIONS;
    let mut maker = Maker {
        random,
        count,
        wrappers: 0,
        extra: String::new(),
    };
    let mut text = String::from("syntax = \"proto3\";\nenum En { EZ = 0; EA = 1; EB = 2; }\n");
    let mut messages = Vec::new();
    for index in 0..count {
        let (body, pair) = maker.message(index);
        writeln!(text, "message M{index} {{\n{body}}}").unwrap();
        messages.push(pair);
    }
    text.push_str(&maker.extra);
    Schema {
        pool: compile(&text),
        pairing: Pairing {
            services: Vec::new(),
            messages,
        },
        text,
    }
}

/// Compiles the text of a file.
pub(crate) fn compile(text: &str) -> DescriptorPool {
    let file =
        protox::file::File::from_source("t.proto", text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let mut pool = DescriptorPool::new();
    pool.add_file_descriptor_proto(file.file_descriptor_proto().clone())
        .unwrap_or_else(|e| panic!("{e}\n{text}"));
    pool
}

struct Maker<'r> {
    random: &'r mut Random,
    count: usize,
    wrappers: usize,
    extra: String,
}

impl Maker<'_> {
    fn message(&mut self, index: usize) -> (String, MessagePair) {
        let is_union = index >= self.count - UNIONS;
        let mut body = String::new();
        let mut fields = Vec::new();
        let mut number = 0;
        let mut next = |random: &mut Random| {
            number += 1 + if random.one_in(9) {
                random.below(300) as u32
            } else {
                0
            };
            number
        };
        let members = if is_union {
            3
        } else {
            [0, 0, 3][self.random.below(3)]
        };
        let plain = if is_union {
            0
        } else if self.random.one_in(6) {
            90
        } else {
            self.random.below(12)
        };
        for _ in 0..plain {
            let number = next(self.random);
            let (line, field) = self.field(number);
            body.push_str(&line);
            fields.push(field);
        }
        if members > 0 {
            body.push_str("oneof o {\n");
            for member in 0..members {
                let number = next(self.random);
                // One is a scalar, so that values can end.
                let (name, value) = match member {
                    0 => self.scalar(),
                    _ => self.item(false),
                };
                writeln!(body, "{name} f{number} = {number};").unwrap();
                let optional = Requiredness::Optional;
                fields.push(pair(number, value, Presence::Oneof(0), optional));
            }
            body.push_str("}\n");
        }
        let name = format!("M{index}");
        let pair = MessagePair {
            protobuf: name.as_str().into(),
            thrift: name.as_str().into(),
            is_union,
            fields,
            missing_in_thrift: Vec::new(),
            only_thrift: Vec::new(),
        };
        (body, pair)
    }

    fn field(&mut self, number: u32) -> (String, FieldPair) {
        match self.random.below(8) {
            0 | 1 => self.list(number),
            2 | 3 => self.map(number),
            4 => {
                let (name, value) = self.item(false);
                let presence = match value {
                    Value::Scalar(_) => Presence::Implicit,
                    _ => Presence::Explicit,
                };
                let line = format!("{name} f{number} = {number};\n");
                (line, pair(number, value, presence, Requiredness::Default))
            }
            _ => self.scalar_field(number),
        }
    }

    fn scalar_field(&mut self, number: u32) -> (String, FieldPair) {
        let (name, value) = self.scalar();
        let explicit = self.random.one_in(2);
        let label = if explicit { "optional " } else { "" };
        let line = format!("{label}{name} f{number} = {number};\n");
        let presence = if explicit {
            Presence::Explicit
        } else {
            Presence::Implicit
        };
        let requiredness = match self.random.below(3) {
            0 => Requiredness::Default,
            1 if !explicit => Requiredness::Required,
            _ => Requiredness::Optional,
        };
        let plain =
            matches!(&value, Value::Scalar(s) if (s.protobuf, s.thrift) == (P::Sfixed32, S::I32));
        let mut field = pair(number, value, presence, requiredness);
        field.write_zeros = self.random.one_in(3);
        if plain && requiredness != Requiredness::Required {
            let mut bytes = Vec::new();
            let mut tag = number << 3 | 5;
            while tag >= 0x80 {
                bytes.push(tag as u8 | 0x80);
                tag >>= 7;
            }
            bytes.push(tag as u8);
            bytes.extend(7i32.to_le_bytes());
            field.default = Some(DefaultValue {
                thrift: 7i32.to_be_bytes().into(),
                protobuf: bytes.into(),
            });
        }
        (line, field)
    }

    fn list(&mut self, number: u32) -> (String, FieldPair) {
        let (line, value) = self.list_value(number, true);
        (
            line,
            pair(number, value, Presence::Implicit, Requiredness::Default),
        )
    }

    fn list_value(&mut self, number: u32, wrapped: bool) -> (String, Value) {
        let (name, element) = self.item(wrapped);
        let is_packed = self.random.one_in(2);
        let can_pack =
            matches!(&element, Value::Scalar(s) if !matches!(s.protobuf, P::String | P::Bytes));
        let option = match can_pack {
            true => format!(" [packed = {is_packed}]"),
            false => String::new(),
        };
        let line = format!("repeated {name} f{number} = {number}{option};\n");
        let list = List {
            element: Box::new(element),
            is_set: self.random.one_in(3),
            is_packed: is_packed && can_pack,
        };
        (line, Value::List(list))
    }

    fn map(&mut self, number: u32) -> (String, FieldPair) {
        let (value_name, value) = self.item(true);
        let (key_name, key) = loop {
            let (name, key) = self.item(false);
            let fits = matches!(&key, Value::Scalar(s) if !matches!(s.protobuf, P::Float | P::Double | P::Bytes | P::Enum));
            if fits || self.random.one_in(4) {
                break (name, key);
            }
        };
        let forbidden = !matches!(&key, Value::Scalar(s) if !matches!(s.protobuf, P::Float | P::Double | P::Bytes | P::Enum));
        let line = if forbidden || self.random.one_in(5) {
            self.wrappers += 1;
            let entry = self.wrappers;
            writeln!(
                self.extra,
                "message E{entry} {{ {key_name} key = 1; {value_name} value = 2; }}"
            )
            .unwrap();
            format!("repeated E{entry} f{number} = {number};\n")
        } else {
            format!("map<{key_name}, {value_name}> f{number} = {number};\n")
        };
        let map = Map {
            key: Box::new(key),
            value: Box::new(value),
        };
        let requiredness = [Requiredness::Default, Requiredness::Optional][self.random.below(2)];
        (
            line,
            pair(number, Value::Map(map), Presence::Implicit, requiredness),
        )
    }

    fn item(&mut self, wrapped: bool) -> (String, Value) {
        match self.random.below(8) {
            0 | 1 => {
                let index = self.random.below(self.count);
                (format!("M{index}"), Value::Message(index))
            }
            2 if wrapped => {
                let number = 1 + self.random.below(3) as u32;
                self.wrappers += 1;
                let name = format!("W{}", self.wrappers);
                let (line, value) = self.list_value(number, false);
                writeln!(self.extra, "message {name} {{ {line} }}").unwrap();
                let value = Box::new(value);
                (name, Value::Wrapper { number, value })
            }
            _ => self.scalar(),
        }
    }

    fn scalar(&mut self) -> (String, Value) {
        let ints = [S::I8, S::I16, S::I32, S::I64];
        let int = ints[self.random.below(4)];
        let (name, protobuf, thrift) = match self.random.below(18) {
            0 => ("int32", P::Int32, int),
            1 => ("int64", P::Int64, int),
            2 => ("uint32", P::Uint32, int),
            3 => ("uint64", P::Uint64, int),
            4 => ("sint32", P::Sint32, int),
            5 => ("sint64", P::Sint64, int),
            6 => ("fixed32", P::Fixed32, int),
            7 => ("fixed64", P::Fixed64, int),
            8 | 9 => ("sfixed32", P::Sfixed32, int),
            10 => ("sfixed64", P::Sfixed64, int),
            11 => ("bool", P::Bool, S::Bool),
            12 => ("En", P::Enum, S::Enum),
            13 => ("float", P::Float, S::Double),
            14 => ("double", P::Double, S::Double),
            15 => ("bytes", P::Bytes, S::Binary),
            _ => ("string", P::String, S::String),
        };
        (name.into(), Value::Scalar(scalar(protobuf, thrift)))
    }
}

pub(crate) fn pair(
    number: u32,
    value: Value,
    presence: Presence,
    requiredness: Requiredness,
) -> FieldPair {
    FieldPair {
        number,
        // The ids go down: nothing may depend on one order in both.
        id: (1000 - number as i32) as i16,
        protobuf: format!("f{number}").into(),
        thrift: format!("t{number}").into(),
        value,
        presence,
        requiredness,
        default: None,
        write_zeros: false,
    }
}
