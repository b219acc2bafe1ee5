//! Thrift values, and the binary protocol.

use std::collections::BTreeMap;

/// A value. Doubles are their bits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum T {
    Bool(bool),
    I8(i8),
    I16(i16),
    I32(i32),
    I64(i64),
    Double(u64),
    Text(Vec<u8>),
    Struct(BTreeMap<i16, T>),
    /// With the type of the elements.
    List(u8, Vec<T>),
    Set(u8, Vec<T>),
    Map(u8, u8, Vec<(T, T)>),
}

impl T {
    pub(crate) fn ty(&self) -> u8 {
        match self {
            T::Bool(_) => 2,
            T::I8(_) => 3,
            T::Double(_) => 4,
            T::I16(_) => 6,
            T::I32(_) => 8,
            T::I64(_) => 10,
            T::Text(_) => 11,
            T::Struct(_) => 12,
            T::Map(..) => 13,
            T::Set(..) => 14,
            T::List(..) => 15,
        }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            T::Bool(v) => out.push(u8::from(*v)),
            T::I8(v) => out.extend(v.to_be_bytes()),
            T::I16(v) => out.extend(v.to_be_bytes()),
            T::I32(v) => out.extend(v.to_be_bytes()),
            T::I64(v) => out.extend(v.to_be_bytes()),
            T::Double(v) => out.extend(v.to_be_bytes()),
            T::Text(v) => {
                out.extend((v.len() as u32).to_be_bytes());
                out.extend(v);
            }
            T::Struct(fields) => {
                for (id, value) in fields {
                    out.push(value.ty());
                    out.extend(id.to_be_bytes());
                    value.write(out);
                }
                out.push(0);
            }
            T::List(ty, v) | T::Set(ty, v) => {
                out.push(*ty);
                out.extend((v.len() as u32).to_be_bytes());
                v.iter().for_each(|v| v.write(out));
            }
            T::Map(key, value, v) => {
                out.extend([*key, *value]);
                out.extend((v.len() as u32).to_be_bytes());
                for (key, value) in v {
                    key.write(out);
                    value.write(out);
                }
            }
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    /// Reads a whole struct.
    pub(crate) fn parse(mut input: &[u8]) -> T {
        let value = read(12, &mut input);
        assert!(input.is_empty(), "bytes follow the struct");
        value
    }

    /// With sets and maps in order.
    pub(crate) fn sorted(self) -> T {
        match self {
            T::Struct(fields) => {
                T::Struct(fields.into_iter().map(|(k, v)| (k, v.sorted())).collect())
            }
            T::List(ty, v) => T::List(ty, v.into_iter().map(T::sorted).collect()),
            T::Set(ty, v) => T::Set(ty, v.into_iter().map(T::sorted).collect()),
            T::Map(k, v, entries) => {
                let entries = entries.into_iter();
                let mut entries: Vec<_> = entries.map(|(k, v)| (k.sorted(), v.sorted())).collect();
                entries.sort();
                T::Map(k, v, entries)
            }
            scalar => scalar,
        }
    }
}

fn take<const N: usize>(input: &mut &[u8]) -> [u8; N] {
    let (head, rest) = input.split_at(N);
    *input = rest;
    head.try_into().unwrap()
}

fn read(ty: u8, input: &mut &[u8]) -> T {
    match ty {
        2 => match take(input) {
            [v @ (0 | 1)] => T::Bool(v == 1),
            [v] => panic!("bool {v}"),
        },
        3 => T::I8(i8::from_be_bytes(take(input))),
        4 => T::Double(u64::from_be_bytes(take(input))),
        6 => T::I16(i16::from_be_bytes(take(input))),
        8 => T::I32(i32::from_be_bytes(take(input))),
        10 => T::I64(i64::from_be_bytes(take(input))),
        11 => {
            let len = u32::from_be_bytes(take(input)) as usize;
            let (text, rest) = input.split_at(len);
            *input = rest;
            T::Text(text.to_vec())
        }
        12 => {
            let mut fields = BTreeMap::new();
            loop {
                let [ty] = take(input);
                if ty == 0 {
                    return T::Struct(fields);
                }
                let id = i16::from_be_bytes(take(input));
                let value = read(ty, input);
                assert!(fields.insert(id, value).is_none(), "field {id} twice");
            }
        }
        13 => {
            let [key, value] = take(input);
            let count = u32::from_be_bytes(take(input));
            let entries = (0..count).map(|_| (read(key, input), read(value, input)));
            T::Map(key, value, entries.collect())
        }
        14 | 15 => {
            let [element] = take(input);
            let count = u32::from_be_bytes(take(input));
            let elements = (0..count).map(|_| read(element, input)).collect();
            if ty == 14 {
                T::Set(element, elements)
            } else {
                T::List(element, elements)
            }
        }
        _ => panic!("type {ty}"),
    }
}
