//! Sets and maps with many elements that come again: what stays is the same as with few, and the
//! translated message may be much smaller than the other one.

use std::collections::BTreeMap;
use std::sync::Arc;

use ripcord::translate::pairing::{
    Duplicates, FieldPair, List, Map, Options, Pairing, Presence, ProtobufScalar as P,
    Requiredness, ThriftScalar as S, Value,
};
use ripcord::translate::{Direction, FaultClass, FaultKind, Plan, Translator};

use super::Random;
use super::rules::{field, message};
use super::schema::scalar;

/// The largest message, in bytes. All entries of a test together have more.
const LIMIT: usize = 30 << 10;

fn single(value: Value) -> FieldPair {
    field(1, value, Presence::Implicit, Requiredness::Default)
}

fn set() -> FieldPair {
    single(Value::List(List {
        element: Box::new(Value::Scalar(scalar(P::Int32, S::I16))),
        is_set: true,
        is_packed: true,
    }))
}

fn map() -> FieldPair {
    single(Value::Map(Map {
        key: Box::new(Value::Scalar(scalar(P::Int32, S::I8))),
        value: Box::new(Value::Scalar(scalar(P::Int32, S::I16))),
    }))
}

fn translator(field: FieldPair, options: Options, toward: Direction) -> Translator {
    let pairing = Pairing {
        services: Vec::new(),
        messages: vec![message(vec![field])],
    };
    Translator::new(
        Arc::new(Plan::new(&pairing, options)),
        0,
        toward,
        true,
        LIMIT,
    )
}

fn run(field: FieldPair, toward: Direction, input: &[u8]) -> Result<Vec<u8>, FaultKind> {
    let mut out = Vec::new();
    let mut translator = translator(field, Options::default(), toward);
    let done = translator.translate(input, &mut out);
    done.map(|()| out).map_err(|fault| fault.kind)
}

/// Keys below 128, each many times, and the number of its entry.
fn entries(random: &mut Random) -> Vec<(u8, u16)> {
    (0..30_000)
        .map(|at| (random.below(100) as u8, at % 128))
        .collect()
}

/// The last entry of each key, in the order of the last ones.
fn last(entries: &[(u8, u16)]) -> Vec<(u8, u16)> {
    let places: BTreeMap<u8, usize> = (0..).zip(entries).map(|(at, e)| (e.0, at)).collect();
    let mut places: Vec<usize> = places.into_values().collect();
    places.sort_unstable();
    places.into_iter().map(|at| entries[at]).collect()
}

fn protobuf(entries: &[(u8, u16)]) -> Vec<u8> {
    let bytes = |&(key, value): &(u8, u16)| [10, 4, 8, key, 16, value as u8];
    entries.iter().flat_map(bytes).collect()
}

fn thrift(entries: &[(u8, u16)]) -> Vec<u8> {
    let mut out = vec![13, 0, 1, 3, 6];
    out.extend((entries.len() as u32).to_be_bytes());
    for (key, value) in entries {
        out.push(*key);
        out.extend(value.to_be_bytes());
    }
    out.push(0);
    out
}

#[test]
fn the_last_of_many_entries_wins_both_ways() {
    let entries = entries(&mut Random(7, 0));
    let last = last(&entries);
    assert_eq!(
        run(map(), Direction::ToThrift, &protobuf(&entries)).unwrap(),
        thrift(&last)
    );
    assert_eq!(
        run(map(), Direction::ToProtobuf, &thrift(&entries)).unwrap(),
        protobuf(&last)
    );
}

#[test]
fn the_first_of_many_elements_stays() {
    let mut packed = vec![10, 0xe0, 0xd4, 3];
    packed.extend((0..60_000).map(|at| (at % 100) as u8));
    let mut expected = vec![14, 0, 1, 6, 0, 0, 0, 100];
    expected.extend((0..100_u16).flat_map(u16::to_be_bytes));
    expected.push(0);
    assert_eq!(run(set(), Direction::ToThrift, &packed).unwrap(), expected);

    let options = Options {
        duplicates: Duplicates::Error,
        ..Options::default()
    };
    let mut refuse = translator(set(), options, Direction::ToThrift);
    let fault = refuse.translate(&packed, &mut Vec::new()).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Duplicate);
}

#[test]
fn different_elements_still_have_a_limit() {
    // From 128 on, each has two bytes in both forms.
    let numbers = 128..128 + 16_000_u16;
    let packed: Vec<u8> = numbers
        .flat_map(|n| [n as u8 | 0x80, (n >> 7) as u8])
        .collect();
    let input = [&[10, 0x80, 0xfa, 1][..], &packed].concat();
    let out = run(set(), Direction::ToThrift, &input).unwrap_err();
    assert_eq!(out.class(), FaultClass::TooLarge);
}
