//! Other forms of the same protobuf message, which every reader has to take: two messages whose
//! fields are mixed (scalars and oneofs twice, submessages in pieces, repeated fields apart), and
//! packed runs that are split or not packed at all.

use prost_reflect::{Kind, MessageDescriptor};

use super::Random;

/// A record: its tag and the bytes behind it.
struct Record(u64, Vec<u8>);

/// A mix of two messages of the type `descriptor`.
pub(crate) fn mix(
    descriptor: &MessageDescriptor,
    a: &[u8],
    b: &[u8],
    random: &mut Random,
) -> Vec<u8> {
    let (a, b) = (
        records(descriptor, a, random),
        records(descriptor, b, random),
    );
    let (mut a, mut b) = (a.into_iter().peekable(), b.into_iter().peekable());
    let mut out = Vec::new();
    let blocks = random.one_in(2);
    let mut first = true;
    while a.peek().is_some() || b.peek().is_some() {
        if !blocks || random.one_in(4) {
            first = random.one_in(2);
        }
        let record = if first {
            a.next().or_else(|| b.next())
        } else {
            b.next().or_else(|| a.next())
        };
        let Record(tag, bytes) = record.unwrap();
        put(&mut out, tag);
        out.extend(bytes);
    }
    out
}

fn records(descriptor: &MessageDescriptor, mut input: &[u8], random: &mut Random) -> Vec<Record> {
    let mut all = Vec::new();
    while !input.is_empty() {
        let tag = varint(&mut input);
        let before = input;
        let body = match tag & 7 {
            0 => {
                varint(&mut input);
                None
            }
            1 => {
                input = &input[8..];
                None
            }
            5 => {
                input = &input[4..];
                None
            }
            2 => {
                let len = varint(&mut input) as usize;
                let (body, rest) = input.split_at(len);
                input = rest;
                Some(body)
            }
            wire => panic!("wire type {wire}"),
        };
        let raw = before[..before.len() - input.len()].to_vec();
        let field = descriptor.get_field((tag >> 3) as u32).unwrap();
        match (body, field.kind()) {
            (Some(body), Kind::Message(inner)) => {
                let body = mix(&inner, body, &[], random);
                all.push(Record(tag, with_len(&body)));
            }
            (Some(_), Kind::String | Kind::Bytes) | (None, _) => all.push(Record(tag, raw)),
            (Some(body), kind) => unpack(tag, body, &kind, random, &mut all),
        }
    }
    all
}

/// A packed run, in pieces of any form.
fn unpack(tag: u64, mut body: &[u8], kind: &Kind, random: &mut Random, all: &mut Vec<Record>) {
    let number = tag >> 3;
    let mut piece = Vec::new();
    while !body.is_empty() {
        let before = body;
        let wire = match kind {
            Kind::Fixed32 | Kind::Sfixed32 | Kind::Float => {
                body = &body[4..];
                5
            }
            Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => {
                body = &body[8..];
                1
            }
            _ => {
                varint(&mut body);
                0
            }
        };
        let element = &before[..before.len() - body.len()];
        if random.one_in(3) {
            all.push(Record(tag, with_len(&piece)));
            piece.clear();
            all.push(Record(number << 3 | wire, element.to_vec()));
        } else {
            piece.extend(element);
        }
    }
    all.push(Record(tag, with_len(&piece)));
}

fn with_len(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, body.len() as u64);
    out.extend(body);
    out
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint(input: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (byte, rest) = input.split_first().unwrap();
        *input = rest;
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if *byte < 0x80 {
            return value;
        }
    }
}
