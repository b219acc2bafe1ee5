//! Random messages, and what they are in thrift by the rules.

use std::collections::{BTreeMap, HashMap};

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor};
use prost_reflect::{ReflectMessage, Value as V};
use ripcord::translate::pairing::{
    FieldPair, List, Map, Presence, ProtobufScalar as P, Requiredness, Scalar, ThriftScalar as S,
    Value,
};

use super::Random;
use super::schema::Schema;
use super::thrift::T;

/// How deep random messages go.
const DEEP: u32 = 4;

impl Schema {
    pub(crate) fn descriptor(&self, index: usize) -> MessageDescriptor {
        self.pool.get_message_by_name(&format!("M{index}")).unwrap()
    }

    /// A random message. Everything in it has a place in thrift.
    pub(crate) fn message(&self, index: usize, random: &mut Random, depth: u32) -> DynamicMessage {
        if depth == 0 {
            random.1 = 300;
        }
        let descriptor = self.descriptor(index);
        let pair = &self.pairing.messages[index];
        let mut message = DynamicMessage::new(descriptor.clone());
        let chosen = random.below(3);
        let members = pair
            .fields
            .iter()
            .filter(|f| matches!(f.presence, Presence::Oneof(_)));
        let members: Vec<u32> = members.map(|f| f.number).collect();
        let member = if depth < DEEP && random.1 > 0 {
            members.get(chosen)
        } else {
            members.first()
        };
        for field in &pair.fields {
            let set = match field.presence {
                Presence::Oneof(_) => member == Some(&field.number),
                _ => depth < DEEP && random.1 > 0 && random.one_in(2),
            };
            if set {
                random.1 = random.1.saturating_sub(1);
                let descriptor = descriptor.get_field(field.number).unwrap();
                let value = self.value(&field.value, &descriptor, random, depth);
                message.set_field(&descriptor, value);
            }
        }
        message
    }

    fn value(&self, value: &Value, field: &FieldDescriptor, random: &mut Random, depth: u32) -> V {
        let count = match random.below(12) {
            0 => 40,
            n => n % 4,
        };
        let count = count.min(random.1);
        random.1 -= count;
        match value {
            Value::List(list) => {
                let items = (0..count).map(|_| self.single(&list.element, field, random, depth));
                V::List(items.collect())
            }
            Value::Map(map) if field.is_map() => {
                let entry = message_of(field);
                let (key, value) = (entry.get_field(1).unwrap(), entry.get_field(2).unwrap());
                let mut entries = HashMap::new();
                for _ in 0..count {
                    let k = self.single(&map.key, &key, random, depth);
                    entries.insert(to_key(&k), self.single(&map.value, &value, random, depth));
                }
                V::Map(entries)
            }
            Value::Map(map) => {
                let entry = message_of(field);
                let (key, value) = (entry.get_field(1).unwrap(), entry.get_field(2).unwrap());
                let entries = (0..count).map(|_| {
                    let mut message = DynamicMessage::new(entry.clone());
                    message.set_field(&key, self.single(&map.key, &key, random, depth));
                    message.set_field(&value, self.single(&map.value, &value, random, depth));
                    V::Message(message)
                });
                V::List(entries.collect())
            }
            single => self.single(single, field, random, depth),
        }
    }

    fn single(&self, value: &Value, field: &FieldDescriptor, random: &mut Random, depth: u32) -> V {
        match value {
            Value::Scalar(scalar) => random_scalar(scalar, random),
            Value::Message(index) => V::Message(self.message(*index, random, depth + 1)),
            Value::Wrapper { number, value } => {
                let descriptor = message_of(field);
                let inner = descriptor.get_field(*number).unwrap();
                let mut message = DynamicMessage::new(descriptor);
                message.set_field(&inner, self.value(value, &inner, random, depth + 1));
                V::Message(message)
            }
            Value::List(_) | Value::Map(_) => unreachable!(),
        }
    }

    /// What a message is in thrift.
    pub(crate) fn expected(&self, index: usize, message: &DynamicMessage, top: bool) -> T {
        let mut fields = BTreeMap::new();
        for pair in &self.pairing.messages[index].fields {
            let descriptor = message.descriptor().get_field(pair.number).unwrap();
            if let Some(value) = self.expected_field(pair, &descriptor, message, top) {
                fields.insert(pair.id, value);
            }
        }
        T::Struct(fields)
    }

    fn expected_field(
        &self,
        pair: &FieldPair,
        descriptor: &FieldDescriptor,
        message: &DynamicMessage,
        top: bool,
    ) -> Option<T> {
        let implicit = pair.presence == Presence::Implicit;
        let optional = pair.requiredness == Requiredness::Optional;
        let zeros = !optional || pair.write_zeros || pair.default.is_some();
        if message.has_field(descriptor) || (implicit && zeros) {
            return Some(self.expected_value(&pair.value, &message.get_field(descriptor)));
        }
        (!implicit && top && pair.default.is_some()).then_some(T::I32(7))
    }

    fn expected_value(&self, pair: &Value, value: &V) -> T {
        match (pair, value) {
            (Value::Scalar(scalar), value) => to_thrift(scalar, value),
            (Value::Message(index), V::Message(message)) => self.expected(*index, message, false),
            (Value::Wrapper { number, value }, V::Message(message)) => {
                let field = message.descriptor().get_field(*number).unwrap();
                self.expected_value(value, &message.get_field(&field))
            }
            (Value::List(list), V::List(values)) => self.expected_list(list, values),
            (Value::Map(map), value) => self.expected_map(map, value),
            _ => unreachable!(),
        }
    }

    fn expected_list(&self, list: &List, values: &[V]) -> T {
        let ty = type_of(&list.element);
        let values = values.iter().map(|v| self.expected_value(&list.element, v));
        if !list.is_set {
            return T::List(ty, values.collect());
        }
        let mut once = Vec::new();
        for value in values {
            if !once.contains(&value) {
                once.push(value);
            }
        }
        T::Set(ty, once)
    }

    fn expected_map(&self, map: &Map, value: &V) -> T {
        let entries: Vec<(V, V)> = match value {
            V::Map(entries) => entries
                .iter()
                .map(|(k, v)| (of_key(k), v.clone()))
                .collect(),
            V::List(entries) => entries
                .iter()
                .map(|entry| {
                    let entry = entry.as_message().unwrap();
                    let get = |number| entry.get_field_by_number(number).unwrap().into_owned();
                    (get(1), get(2))
                })
                .collect(),
            _ => unreachable!(),
        };
        let mut last: Vec<(T, T)> = Vec::new();
        for (key, value) in entries {
            let key = self.expected_value(&map.key, &key);
            last.retain(|(k, _)| *k != key);
            last.push((key, self.expected_value(&map.value, &value)));
        }
        T::Map(type_of(&map.key), type_of(&map.value), last)
    }
}

pub(crate) fn message_of(field: &FieldDescriptor) -> MessageDescriptor {
    match field.kind() {
        Kind::Message(message) => message,
        kind => panic!("{kind:?}"),
    }
}

fn type_of(value: &Value) -> u8 {
    match value {
        Value::Scalar(s) => match s.thrift {
            S::Bool => 2,
            S::I8 => 3,
            S::Double => 4,
            S::I16 => 6,
            S::I32 | S::Enum => 8,
            S::I64 => 10,
            S::String | S::Binary => 11,
        },
        Value::Message(_) => 12,
        Value::Map(_) => 13,
        Value::List(list) => {
            if list.is_set {
                14
            } else {
                15
            }
        }
        Value::Wrapper { value, .. } => type_of(value),
    }
}

fn range(scalar: &Scalar) -> (i128, i128) {
    let (a, b) = match scalar.protobuf {
        P::Int32 | P::Sint32 | P::Sfixed32 | P::Enum => {
            (i128::from(i32::MIN), i128::from(i32::MAX))
        }
        P::Uint32 | P::Fixed32 => (0, i128::from(u32::MAX)),
        P::Uint64 | P::Fixed64 => (0, i128::from(u64::MAX)),
        _ => (i128::from(i64::MIN), i128::from(i64::MAX)),
    };
    let (c, d) = match scalar.thrift {
        S::I8 => (i128::from(i8::MIN), i128::from(i8::MAX)),
        S::I16 => (i128::from(i16::MIN), i128::from(i16::MAX)),
        S::I32 | S::Enum => (i128::from(i32::MIN), i128::from(i32::MAX)),
        _ => (i128::from(i64::MIN), i128::from(i64::MAX)),
    };
    (a.max(c), b.min(d))
}

fn random_scalar(scalar: &Scalar, random: &mut Random) -> V {
    let text = |random: &mut Random| {
        let len = if random.one_in(8) {
            200
        } else {
            random.below(12)
        };
        (0..len)
            .map(|_| ['a', 'z', 'é', '中', '😀'][random.below(5)])
            .collect::<String>()
    };
    let (least, most) = range(scalar);
    let int = match random.below(8) {
        0 => least,
        1 => most,
        2..=4 => (random.below(4) as i128).clamp(least, most),
        _ => least + i128::from(random.next()) % (most - least + 1),
    };
    match scalar.protobuf {
        P::Int32 | P::Sint32 | P::Sfixed32 => V::I32(int as i32),
        P::Int64 | P::Sint64 | P::Sfixed64 => V::I64(int as i64),
        P::Uint32 | P::Fixed32 => V::U32(int as u32),
        P::Uint64 | P::Fixed64 => V::U64(int as u64),
        P::Enum => V::EnumNumber(int as i32),
        P::Bool => V::Bool(random.one_in(2)),
        P::Float => V::F32(random.below(100) as f32 / 8.0),
        P::Double => V::F64(random.below(100) as f64 / 7.0),
        P::String => V::String(text(random)),
        P::Bytes => V::Bytes((0..random.below(20)).map(|_| random.next() as u8).collect()),
    }
}

fn to_thrift(scalar: &Scalar, value: &V) -> T {
    let int = match value {
        V::Bool(v) => return T::Bool(*v),
        V::F32(v) => return T::Double(f64::from(*v).to_bits()),
        V::F64(v) => return T::Double(v.to_bits()),
        V::String(v) => return T::Text(v.clone().into_bytes()),
        V::Bytes(v) => return T::Text(v.to_vec()),
        V::I32(v) | V::EnumNumber(v) => i128::from(*v),
        V::I64(v) => i128::from(*v),
        V::U32(v) => i128::from(*v),
        V::U64(v) => i128::from(*v),
        _ => unreachable!(),
    };
    match scalar.thrift {
        S::I8 => T::I8(int.try_into().unwrap()),
        S::I16 => T::I16(int.try_into().unwrap()),
        S::I32 | S::Enum => T::I32(int.try_into().unwrap()),
        S::I64 => T::I64(int.try_into().unwrap()),
        _ => unreachable!(),
    }
}

fn to_key(value: &V) -> MapKey {
    match value {
        V::Bool(v) => MapKey::Bool(*v),
        V::I32(v) => MapKey::I32(*v),
        V::I64(v) => MapKey::I64(*v),
        V::U32(v) => MapKey::U32(*v),
        V::U64(v) => MapKey::U64(*v),
        V::String(v) => MapKey::String(v.clone()),
        _ => unreachable!(),
    }
}

fn of_key(key: &MapKey) -> V {
    key.clone().into()
}
