//! Messages through plans: random schemas and values against two oracles, and arbitrary bytes.
//!
//! `RIPCORD_TRANSLATION_SCHEMAS` sets how many schemas are tried; `RIPCORD_TRANSLATION_SEED` the
//! first seed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod translation_cases;

use std::sync::Arc;

use prost_reflect::DynamicMessage;
use prost_reflect::prost::Message as _;
use ripcord::translate::pairing::Options;
use ripcord::translate::{Direction, Fault, FaultClass, Plan, Translator};
use translation_cases::schema::{self, Schema};
use translation_cases::thrift::T;
use translation_cases::{Random, mangle};

const LIMIT: usize = 1 << 20;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// Calls `each` with random schemas, their plans and a source of randomness.
fn schemas(each: impl Fn(&Schema, &Arc<Plan>, &mut Random)) {
    let first = number("RIPCORD_TRANSLATION_SEED", 1);
    for seed in first..first + number("RIPCORD_TRANSLATION_SCHEMAS", 60) {
        let mut random = Random(seed, 0);
        let schema = schema::random(&mut random);
        let plan = Arc::new(Plan::new(&schema.pairing, Options::default()));
        each(&schema, &plan, &mut random);
    }
}

fn translate(
    plan: &Arc<Plan>,
    index: usize,
    toward: Direction,
    top: bool,
    input: &[u8],
) -> Result<Vec<u8>, Fault> {
    let mut out = b"before".to_vec();
    let mut translator = Translator::new(plan.clone(), index, toward, top, LIMIT);
    let result = translator.translate(input, &mut out);
    let rest = out.strip_prefix(b"before").unwrap();
    match result {
        Ok(()) => Ok(rest.to_vec()),
        Err(fault) => {
            assert_eq!(rest, b"", "something was left behind");
            Err(fault)
        }
    }
}

#[test]
fn protobuf_messages_become_the_structs_that_the_rules_say() {
    schemas(|schema, plan, random| {
        for round in 0..40 {
            let index = random.below(plan.len());
            let descriptor = schema.descriptor(index);
            let a = schema.message(index, random, 0).encode_to_vec();
            let b = schema.message(index, random, 0).encode_to_vec();
            let input = match round % 3 {
                0 => a,
                _ => mangle::mix(&descriptor, &a, &b, random),
            };
            let read = DynamicMessage::decode(descriptor, &*input).unwrap();
            let top = random.one_in(2);
            let got = translate(plan, index, Direction::ToThrift, top, &input)
                .unwrap_or_else(|fault| panic!("{fault}\n{read}\n{}", schema.text));
            let (got, expected) = (T::parse(&got), schema.expected(index, &read, top));
            assert_eq!(
                got.sorted(),
                expected.sorted(),
                "M{index}\n{}\n{read}",
                schema.text
            );
        }
    });
}

#[test]
fn what_came_from_protobuf_goes_back_equal() {
    schemas(|schema, plan, random| {
        for _ in 0..40 {
            let index = random.below(plan.len());
            let message = schema.message(index, random, 0);
            let there = schema.expected(index, &message, false);
            let back = translate(plan, index, Direction::ToProtobuf, false, &there.bytes())
                .unwrap_or_else(|fault| panic!("{fault}\n{message}\n{}", schema.text));
            let back = DynamicMessage::decode(schema.descriptor(index), &*back).unwrap();
            let again = schema.expected(index, &back, false);
            // What was absent in thrift and has a default is that default now, at any level: the
            // third translation has nothing left to fill in.
            let third =
                translate(plan, index, Direction::ToProtobuf, false, &again.bytes()).unwrap();
            let third = DynamicMessage::decode(schema.descriptor(index), &*third).unwrap();
            assert_eq!(back, third);
            if !schema.text.contains("sfixed32") {
                assert_eq!(again.sorted(), there.sorted(), "M{index}\n{}", schema.text);
            }
        }
    });
}

#[test]
fn arbitrary_bytes_end_in_a_fault_or_in_a_bounded_message() {
    schemas(|schema, plan, random| {
        for round in 0..200 {
            let index = random.below(plan.len());
            let message = schema.message(index, random, 0);
            let mut input = match round % 4 {
                0 => (0..random.below(60)).map(|_| random.next() as u8).collect(),
                1 => message.encode_to_vec(),
                _ => schema.expected(index, &message, false).bytes(),
            };
            for _ in 0..random.below(4) {
                let at = random.below(input.len() + 1);
                match random.below(4) {
                    0 => input.truncate(at),
                    1 => input.insert(at, random.next() as u8),
                    2 => input.extend_from_within(at..),
                    _ if at < input.len() => input[at] ^= 1 << random.below(8),
                    _ => {}
                }
            }
            if let Ok(out) = translate(plan, index, Direction::ToThrift, true, &input) {
                T::parse(&out);
            }
            if let Ok(out) = translate(plan, index, Direction::ToProtobuf, true, &input) {
                DynamicMessage::decode(schema.descriptor(index), &*out).unwrap();
            }
            // Of a map, prost-reflect takes any wire type for a length.
            if !schema.text.contains("map<")
                && DynamicMessage::decode(schema.descriptor(index), &*input).is_ok()
                && let Err(fault) = translate(plan, index, Direction::ToThrift, false, &input)
            {
                assert_ne!(
                    fault.kind.class(),
                    FaultClass::Malformed,
                    "{fault}, M{index}, {input:?}\n{}",
                    schema.text
                );
            }
            let limit = random.below(64);
            let mut out = Vec::new();
            let mut small = Translator::new(plan.clone(), index, Direction::ToThrift, true, limit);
            if small.translate(&input, &mut out).is_ok() {
                assert!(out.len() <= limit);
            }
        }
    });
}
