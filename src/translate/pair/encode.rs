//! Defaults of thrift IDL as bytes, in both forms.

use super::super::pairing::{MessagePair, Presence, ProtobufScalar, Scalar, Value};
use super::super::thrift::{Const, Document, Type};
use super::fields::is_zero;
use super::scalars::protobuf_range;

/// How deep a default may be.
const MAX_DEPTH: usize = 63;

const TOO_DEEP: &str = "it is too deep";

/// The type byte of a type in thrift's binary protocol. A uuid has 16.
pub(super) fn type_byte(ty: &Type) -> u8 {
    match ty {
        Type::Bool => 2,
        Type::I8 => 3,
        Type::Double => 4,
        Type::I16 => 6,
        Type::I32 | Type::Enum(_) => 8,
        Type::I64 => 10,
        Type::String | Type::Binary => 11,
        Type::Struct(_) => 12,
        Type::Map(..) => 13,
        Type::Set(_) => 14,
        Type::List(_) => 15,
        Type::Uuid => 16,
    }
}

fn int(value: &Const) -> Result<i64, String> {
    match value {
        Const::Int(n) => Ok(*n),
        Const::Bool(b) => Ok((*b).into()),
        _ => Err("it is no number".into()),
    }
}

fn fits<T: TryFrom<i64>>(value: &Const) -> Result<T, String> {
    let number = int(value)?;
    T::try_from(number).map_err(|_| format!("{number} does not fit"))
}

fn double(value: &Const) -> Result<f64, String> {
    match value {
        Const::Double(d) => Ok(*d),
        // An IDL's integers are small.
        #[allow(clippy::cast_precision_loss)]
        Const::Int(n) => Ok(*n as f64),
        _ => Err("it is no number".into()),
    }
}

fn boolean(value: &Const) -> Result<bool, String> {
    match value {
        Const::Bool(b) => Ok(*b),
        Const::Int(0) => Ok(false),
        Const::Int(1) => Ok(true),
        _ => Err("it is no bool".into()),
    }
}

fn text(value: &Const) -> Result<&str, String> {
    match value {
        Const::String(s) => Ok(s),
        _ => Err("it is no text".into()),
    }
}

/// The elements of a list. An empty map is an empty list too.
fn elements(value: &Const) -> Result<&[Const], String> {
    match value {
        Const::List(list) => Ok(list),
        Const::Map(map) if map.is_empty() => Ok(&[]),
        _ => Err("it is no list".into()),
    }
}

fn entries(value: &Const) -> Result<&[(Const, Const)], String> {
    match value {
        Const::Map(map) => Ok(map),
        Const::List(list) if list.is_empty() => Ok(&[]),
        _ => Err("it is no map".into()),
    }
}

fn count(n: usize) -> Result<[u8; 4], String> {
    i32::try_from(n)
        .map(i32::to_be_bytes)
        .map_err(|_| "it is too long".into())
}

/// Appends a value in thrift's binary protocol, without a type byte.
///
/// # Errors
/// The value is not of this type.
pub(super) fn thrift(
    document: &Document,
    ty: &Type,
    value: &Const,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(TOO_DEEP.into());
    }
    match ty {
        Type::Bool => out.push(boolean(value)?.into()),
        Type::I8 => out.extend(fits::<i8>(value)?.to_be_bytes()),
        Type::I16 => out.extend(fits::<i16>(value)?.to_be_bytes()),
        Type::I32 | Type::Enum(_) => out.extend(fits::<i32>(value)?.to_be_bytes()),
        Type::I64 => out.extend(int(value)?.to_be_bytes()),
        Type::Double => out.extend(double(value)?.to_bits().to_be_bytes()),
        Type::String | Type::Binary => {
            let text = text(value)?;
            out.extend(count(text.len())?);
            out.extend(text.as_bytes());
        }
        Type::Uuid => return Err("a uuid has no default here".into()),
        Type::List(element) | Type::Set(element) => {
            let list = elements(value)?;
            out.push(type_byte(element));
            out.extend(count(list.len())?);
            for value in list {
                thrift(document, element, value, out, depth + 1)?;
            }
        }
        Type::Map(key, element) => {
            let map = entries(value)?;
            out.extend([type_byte(key), type_byte(element)]);
            out.extend(count(map.len())?);
            for (k, v) in map {
                thrift(document, key, k, out, depth + 1)?;
                thrift(document, element, v, out, depth + 1)?;
            }
        }
        Type::Struct(at) => {
            let item = document
                .structs
                .get(*at)
                .ok_or("its type is not declared")?;
            for (name, value) in entries(value)? {
                let name = text(name)?;
                let field = item.fields.iter().find(|f| *f.name == *name);
                let field = field.ok_or_else(|| format!("there is no field `{name}`"))?;
                out.push(type_byte(&field.ty));
                out.extend(field.id.to_be_bytes());
                thrift(document, &field.ty, value, out, depth + 1)?;
            }
            out.push(0);
        }
    }
    Ok(())
}

/// Appends a field in protobuf's form, with its tag. Nothing is written for a zero with implicit
/// presence, nor for an empty container.
///
/// # Errors
/// The value is not of this type, or protobuf's type cannot hold it.
pub(super) fn protobuf(
    messages: &[MessagePair],
    number: u32,
    pair: (&Value, Presence),
    value: &Const,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(TOO_DEEP.into());
    }
    match pair.0 {
        Value::Scalar(_) => {
            if pair.1 == Presence::Implicit && is_zero(value) {
                return Ok(());
            }
            element(messages, number, pair.0, value, out, depth)?;
        }
        Value::Message(_) | Value::Wrapper { .. } => {
            element(messages, number, pair.0, value, out, depth)?;
        }
        Value::List(list) => {
            let values = elements(value)?;
            match (&*list.element, list.is_packed) {
                (Value::Scalar(scalar), true) => {
                    if values.is_empty() {
                        return Ok(());
                    }
                    let mut run = Vec::new();
                    for value in values {
                        payload(scalar, value, &mut run)?;
                    }
                    delimited(number, &run, out);
                }
                _ => {
                    for value in values {
                        element(messages, number, &list.element, value, out, depth)?;
                    }
                }
            }
        }
        Value::Map(map) => {
            for (k, v) in entries(value)? {
                let mut entry = Vec::new();
                element(messages, 1, &map.key, k, &mut entry, depth)?;
                element(messages, 2, &map.value, v, &mut entry, depth)?;
                delimited(number, &entry, out);
            }
        }
    }
    Ok(())
}

/// Appends one value with its tag, a zero too.
fn element(
    messages: &[MessagePair],
    number: u32,
    pair: &Value,
    value: &Const,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), String> {
    match pair {
        Value::Scalar(scalar) => {
            tag(number, wire_type(scalar.protobuf), out);
            payload(scalar, value, out)
        }
        Value::Message(at) => {
            let mut body = Vec::new();
            let message = messages.get(*at).ok_or("its type is not paired")?;
            for (name, value) in entries(value)? {
                let name = text(name)?;
                // What only thrift has is dropped here as everywhere.
                if let Some(field) = message.fields.iter().find(|f| *f.thrift == *name) {
                    let pair = (&field.value, field.presence);
                    protobuf(messages, field.number, pair, value, &mut body, depth + 1)?;
                }
            }
            delimited(number, &body, out);
            Ok(())
        }
        Value::Wrapper {
            number: inner,
            value: pair,
        } => {
            let mut body = Vec::new();
            let pair = (&**pair, Presence::Implicit);
            protobuf(messages, *inner, pair, value, &mut body, depth + 1)?;
            delimited(number, &body, out);
            Ok(())
        }
        Value::List(_) | Value::Map(_) => Err("a container lies within another one".into()),
    }
}

fn wire_type(scalar: ProtobufScalar) -> u32 {
    use ProtobufScalar as P;
    match scalar {
        P::Fixed64 | P::Sfixed64 | P::Double => 1,
        P::String | P::Bytes => 2,
        P::Fixed32 | P::Sfixed32 | P::Float => 5,
        P::Int32 | P::Int64 | P::Uint32 | P::Uint64 | P::Sint32 | P::Sint64 => 0,
        P::Bool | P::Enum => 0,
    }
}

fn varint(mut n: u64, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n.to_le_bytes()[0] | 0x80);
        n >>= 7;
    }
    out.push(n.to_le_bytes()[0]);
}

fn tag(number: u32, wire_type: u32, out: &mut Vec<u8>) {
    varint(u64::from(number) << 3 | u64::from(wire_type), out);
}

fn delimited(number: u32, body: &[u8], out: &mut Vec<u8>) {
    tag(number, 2, out);
    varint(body.len() as u64, out);
    out.extend(body);
}

/// Appends the value of a scalar, without a tag.
fn payload(scalar: &Scalar, value: &Const, out: &mut Vec<u8>) -> Result<(), String> {
    use ProtobufScalar as P;
    let number = || {
        let mut number = int(value)?;
        if let Some(numbers) = &scalar.numbers {
            let row = numbers
                .0
                .iter()
                .find(|(_, thrift)| i64::from(*thrift) == number);
            let row = row.ok_or_else(|| format!("{number} has no counterpart in protobuf"))?;
            number = row.0.into();
        }
        let range = protobuf_range(scalar.protobuf);
        match range.is_some_and(|(least, most)| (least..=most).contains(&number.into())) {
            true => Ok(number),
            false => Err(format!("protobuf's type cannot hold {number}")),
        }
    };
    match scalar.protobuf {
        P::Int32 | P::Int64 | P::Uint32 | P::Uint64 | P::Enum => {
            varint(number()?.cast_unsigned(), out);
        }
        P::Sint32 | P::Sint64 => {
            let n = number()?;
            varint((n << 1 ^ n >> 63).cast_unsigned(), out);
        }
        P::Fixed32 | P::Sfixed32 => {
            let [a, b, c, d, ..] = number()?.to_le_bytes();
            out.extend([a, b, c, d]);
        }
        P::Fixed64 | P::Sfixed64 => out.extend(number()?.to_le_bytes()),
        P::Bool => out.push(boolean(value)?.into()),
        #[allow(clippy::cast_possible_truncation)]
        P::Float => out.extend((double(value)? as f32).to_bits().to_le_bytes()),
        P::Double => out.extend(double(value)?.to_bits().to_le_bytes()),
        P::String | P::Bytes => {
            let text = text(value)?;
            varint(text.len() as u64, out);
            out.extend(text.as_bytes());
        }
    }
    Ok(())
}
