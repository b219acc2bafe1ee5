//! Each rule with bytes that a person can read.

use std::sync::Arc;

use ripcord::translate::pairing::{
    DefaultValue, Duplicates, EnumNumbers, FieldPair, List, Map, MessagePair, OnlyThrift, Options,
    Overflow, Pairing, Presence, ProtobufScalar as P, Requiredness, ThriftScalar as S, Unknown,
    Utf8, Value,
};
use ripcord::translate::{Direction, Fault, FaultClass, FaultKind, Plan, Translator};

use super::schema::{pair, scalar};

const LIMIT: usize = 4096;

pub(super) fn message(fields: Vec<FieldPair>) -> MessagePair {
    MessagePair {
        protobuf: "P".into(),
        thrift: "T".into(),
        is_union: false,
        fields,
        missing_in_thrift: Vec::new(),
        only_thrift: Vec::new(),
    }
}

/// A field whose id is its number.
pub(super) fn field(
    number: u32,
    value: Value,
    presence: Presence,
    requiredness: Requiredness,
) -> FieldPair {
    let mut field = pair(number, value, presence, requiredness);
    field.id = number as i16;
    field
}

fn implicit(number: u32, protobuf: P, thrift: S) -> FieldPair {
    let value = Value::Scalar(scalar(protobuf, thrift));
    field(number, value, Presence::Implicit, Requiredness::Default)
}

pub(super) fn translator(
    messages: Vec<MessagePair>,
    options: Options,
    toward: Direction,
) -> Translator {
    let pairing = Pairing {
        services: Vec::new(),
        messages,
    };
    let plan = Arc::new(Plan::new(&pairing, options));
    Translator::new(plan, 0, toward, true, LIMIT)
}

fn run(messages: &[MessagePair], toward: Direction, input: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::new();
    let mut translator = translator(messages.to_vec(), Options::default(), toward);
    translator.translate(input, &mut out).map(|()| out)
}

pub(super) fn there(messages: &[MessagePair], input: &[u8]) -> Result<Vec<u8>, Fault> {
    run(messages, Direction::ToThrift, input)
}

pub(super) fn back(messages: &[MessagePair], input: &[u8]) -> Result<Vec<u8>, Fault> {
    run(messages, Direction::ToProtobuf, input)
}

#[test]
fn a_number_that_does_not_fit_is_a_fault_or_what_the_schema_says() {
    for (overflow, byte) in [
        (Overflow::Saturate, Some(127)),
        (Overflow::Wrap, Some(44)),
        (Overflow::Error, None),
    ] {
        let mut s = scalar(P::Int32, S::I8);
        s.overflow = overflow;
        let f = field(
            1,
            Value::Scalar(s),
            Presence::Implicit,
            Requiredness::Default,
        );
        let got = there(&[message(vec![f])], &[8, 0xac, 2]);
        match byte {
            Some(byte) => assert_eq!(got.unwrap(), [3, 0, 1, byte, 0]),
            None => {
                let fault = got.unwrap_err();
                assert_eq!(fault.kind, FaultKind::Overflow);
                assert_eq!(fault.kind.class(), FaultClass::Content);
                assert_eq!(
                    fault.to_string(),
                    "f1: the number does not fit, at byte 1 (int32 to i8)"
                );
            }
        }
    }
    let unsigned = [message(vec![implicit(1, P::Uint64, S::I64)])];
    assert_eq!(
        back(&unsigned, &[10, 0, 1, 255, 0, 0, 0, 0, 0, 0, 0, 0])
            .unwrap_err()
            .kind,
        FaultKind::Overflow
    );
}

#[test]
fn an_enum_by_name_never_becomes_another_value() {
    // RED is 1 and 2, BLUE is 2 and 7; protobuf's 7 and thrift's 1 are other values.
    let mut s = scalar(P::Enum, S::Enum);
    s.numbers = Some(Arc::new(EnumNumbers(vec![(0, 0), (1, 2), (2, 7)])));
    let value = Value::Scalar(s);
    let f = field(1, value, Presence::Implicit, Requiredness::Default);
    let messages = [message(vec![f])];
    assert_eq!(there(&messages, &[8, 2]).unwrap(), [8, 0, 1, 0, 0, 0, 7, 0]);
    assert_eq!(back(&messages, &[8, 0, 1, 0, 0, 0, 7, 0]).unwrap(), [8, 2]);
    assert_eq!(there(&messages, &[]).unwrap(), [8, 0, 1, 0, 0, 0, 0, 0]);
    for got in [
        there(&messages, &[8, 7]),
        back(&messages, &[8, 0, 1, 0, 0, 0, 1, 0]),
    ] {
        let fault = got.unwrap_err();
        assert_eq!(fault.kind, FaultKind::NoName);
        assert_eq!(fault.kind.class(), FaultClass::Content);
    }
}

#[test]
fn a_thrift_bool_is_0_or_1_and_a_protobuf_bool_anything() {
    let messages = [message(vec![implicit(1, P::Bool, S::Bool)])];
    assert_eq!(there(&messages, &[8, 0x80, 2]).unwrap(), [2, 0, 1, 1, 0]);
    assert_eq!(back(&messages, &[2, 0, 1, 1, 0]).unwrap(), [8, 1]);
    assert_eq!(back(&messages, &[2, 0, 1, 0, 0]).unwrap(), b"");
    assert_eq!(
        back(&messages, &[2, 0, 1, 2, 0]).unwrap_err().kind,
        FaultKind::Bool
    );
}

#[test]
fn a_text_is_utf8_both_ways() {
    for (utf8, text) in [
        (Utf8::Error, None),
        (Utf8::Bytes, Some(&b"a\xff"[..])),
        (Utf8::Replace, Some("a\u{FFFD}".as_bytes())),
    ] {
        let mut s = scalar(P::String, S::String);
        s.utf8 = utf8;
        let f = field(
            1,
            Value::Scalar(s),
            Presence::Implicit,
            Requiredness::Default,
        );
        let messages = [message(vec![f])];
        let (a, b) = (
            there(&messages, b"\x0a\x02a\xff"),
            back(&messages, b"\x0b\0\x01\0\0\0\x02a\xff\0"),
        );
        match text {
            None => {
                assert_eq!(a.unwrap_err().kind, FaultKind::Utf8);
                assert_eq!(b.unwrap_err().kind, FaultKind::Utf8);
            }
            Some(text) => {
                let len = text.len() as u8;
                assert_eq!(
                    a.unwrap(),
                    [&[11, 0, 1, 0, 0, 0, len][..], text, &[0]].concat()
                );
                assert_eq!(b.unwrap(), [&[10, len][..], text].concat());
            }
        }
    }
}

#[test]
fn a_missing_required_field_has_kitex_text_and_its_path() {
    let value = Value::Scalar(scalar(P::Int32, S::I32));
    let inner = message(vec![field(
        2,
        value,
        Presence::Explicit,
        Requiredness::Required,
    )]);
    let outer = field(
        1,
        Value::Message(1),
        Presence::Explicit,
        Requiredness::Default,
    );
    let messages = [message(vec![outer]), inner];
    let fault = there(&messages, &[10, 0]).unwrap_err();
    assert_eq!(fault.path, "f1.f2");
    assert!(
        fault.to_string().contains("required field t2 is not set"),
        "{fault}"
    );
    let fault = back(&messages, &[12, 0, 1, 0, 0]).unwrap_err();
    assert_eq!(fault.path, "t1.t2");
    assert!(
        fault.to_string().contains("required field t2 is not set"),
        "{fault}"
    );
    // A field of another type does not count.
    assert!(back(&messages, &[12, 0, 1, 2, 0, 2, 1, 0, 0]).is_err());
}

#[test]
fn defaults_are_applied_when_thrift_is_read_and_written_where_the_reader_does_not_apply_them() {
    let value = Value::Scalar(scalar(P::Int32, S::I32));
    let mut f = field(1, value, Presence::Explicit, Requiredness::Optional);
    f.default = Some(DefaultValue {
        thrift: [0, 0, 0, 7].into(),
        protobuf: [8, 7].into(),
    });
    let mut only = message(vec![f]);
    only.only_thrift.push(OnlyThrift {
        id: 9,
        name: "t9".into(),
        required: true,
        default: Some([3, 5].into()),
    });
    let messages = [only];
    assert_eq!(
        there(&messages, &[]).unwrap(),
        [3, 0, 9, 5, 8, 0, 1, 0, 0, 0, 7, 0]
    );
    assert_eq!(back(&messages, &[3, 0, 9, 1, 0]).unwrap(), [8, 7]);
}

#[test]
fn a_union_has_one_member() {
    let member = |number| {
        field(
            number,
            Value::Scalar(scalar(P::Int32, S::I32)),
            Presence::Oneof(0),
            Requiredness::Optional,
        )
    };
    let mut union = message(vec![member(1), member(2)]);
    union.is_union = true;
    let outer = field(
        1,
        Value::Message(1),
        Presence::Explicit,
        Requiredness::Default,
    );
    let messages = [message(vec![outer]), union.clone()];
    // The last one wins; an empty union is left out.
    assert_eq!(
        there(&messages, &[10, 4, 8, 1, 16, 2]).unwrap(),
        [12, 0, 1, 8, 0, 2, 0, 0, 0, 2, 0, 0]
    );
    assert_eq!(there(&messages, &[10, 0]).unwrap(), [0]);
    assert_eq!(there(&[union], &[]).unwrap_err().kind, FaultKind::NoMember);
    assert_eq!(back(&messages, &[12, 0, 1, 0, 0]).unwrap(), b"");
    let two = [12, 0, 1, 8, 0, 1, 0, 0, 0, 1, 8, 0, 2, 0, 0, 0, 2, 0, 0];
    assert_eq!(
        back(&messages, &two).unwrap_err().kind,
        FaultKind::TwoMembers
    );
}

#[test]
fn sets_lose_duplicates_toward_thrift_only() {
    let list = List {
        element: Box::new(Value::Scalar(scalar(P::Int32, S::I8))),
        is_set: true,
        is_packed: true,
    };
    let messages = vec![message(vec![field(
        1,
        Value::List(list),
        Presence::Implicit,
        Requiredness::Default,
    )])];
    assert_eq!(
        there(&messages, &[10, 3, 1, 2, 1]).unwrap(),
        [14, 0, 1, 3, 0, 0, 0, 2, 1, 2, 0]
    );
    assert_eq!(
        back(&messages, &[14, 0, 1, 3, 0, 0, 0, 2, 5, 5, 0]).unwrap(),
        [10, 2, 5, 5]
    );
    let options = Options {
        duplicates: Duplicates::Error,
        ..Options::default()
    };
    let fault = translator(messages.clone(), options, Direction::ToThrift)
        .translate(&[10, 2, 1, 1], &mut Vec::new());
    assert_eq!(fault.unwrap_err().kind, FaultKind::Duplicate);
    // Another type of elements, a negative count, a count beyond the end.
    for (bytes, kind) in [
        (
            &[14, 0, 1, 2, 0, 0, 0, 1, 1, 0][..],
            FaultKind::ElementType {
                expected: 3,
                found: 2,
            },
        ),
        (&[14, 0, 1, 3, 255, 0, 0, 1, 1, 0], FaultKind::Negative),
        (&[14, 0, 1, 3, 1, 0, 0, 1, 1, 0], FaultKind::Count),
        (&[16, 0, 1, 3], FaultKind::ThriftType(16)),
        (&[0, 0], FaultKind::Trailing),
    ] {
        assert_eq!(back(&messages, bytes).unwrap_err().kind, kind);
    }
}

#[test]
fn of_a_map_the_last_key_wins_and_both_halves_are_written() {
    let map = Map {
        key: Box::new(Value::Scalar(scalar(P::Int32, S::I8))),
        value: Box::new(Value::Scalar(scalar(P::Int32, S::I8))),
    };
    let messages = [message(vec![field(
        1,
        Value::Map(map),
        Presence::Implicit,
        Requiredness::Default,
    )])];
    let twice = [10, 4, 8, 1, 16, 2, 10, 2, 16, 5, 10, 4, 16, 3, 8, 1];
    assert_eq!(
        there(&messages, &twice).unwrap(),
        [13, 0, 1, 3, 3, 0, 0, 0, 2, 0, 5, 1, 3, 0]
    );
    let twice = [13, 0, 1, 3, 3, 0, 0, 0, 2, 0, 1, 0, 0, 0];
    assert_eq!(back(&messages, &twice).unwrap(), [10, 4, 8, 0, 16, 0]);
}

#[test]
fn a_thrift_field_twice_is_its_last() {
    let messages = [message(vec![
        implicit(1, P::Int32, S::I8),
        implicit(2, P::Int32, S::I8),
    ])];
    assert_eq!(
        back(&messages, &[3, 0, 1, 1, 3, 0, 2, 2, 3, 0, 1, 3, 0]).unwrap(),
        [16, 2, 8, 3]
    );
    assert_eq!(
        there(&messages, &[8, 1, 16, 2, 8, 0]).unwrap(),
        [3, 0, 1, 0, 3, 0, 2, 2, 0]
    );
}

#[test]
fn unknown_fields_are_counted_or_refused() {
    let messages = vec![message(vec![implicit(1, P::Int32, S::I8)])];
    let input = [2, 0, 1, 1, 11, 0, 7, 0, 0, 0, 1, 65, 0];
    let mut skip = translator(messages.clone(), Options::default(), Direction::ToProtobuf);
    let mut out = Vec::new();
    skip.translate(&input, &mut out).unwrap();
    assert_eq!((out, skip.skipped()), (Vec::new(), 2));
    let options = Options {
        unknown: Unknown::Error,
        ..Options::default()
    };
    let mut refuse = translator(messages, options, Direction::ToProtobuf);
    let fault = refuse.translate(&input, &mut Vec::new()).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unknown(1));
}

#[test]
fn depth_and_size_are_bounded() {
    let child = field(
        1,
        Value::Message(0),
        Presence::Explicit,
        Requiredness::Default,
    );
    let messages = [message(vec![child])];
    for (levels, ok) in [(63, true), (64, false), (1000, false)] {
        let (mut protobuf, mut thrift) = (Vec::new(), Vec::new());
        for _ in 1..levels {
            let mut outer = vec![10];
            let len = protobuf.len();
            match len {
                0..0x80 => outer.push(len as u8),
                _ => outer.extend([len as u8 | 0x80, (len >> 7) as u8]),
            }
            outer.append(&mut protobuf);
            protobuf = outer;
            thrift.extend([12, 0, 1]);
        }
        thrift.resize(thrift.len() + levels, 0);
        for got in [there(&messages, &protobuf), back(&messages, &thrift)] {
            match ok {
                true => drop(got.unwrap()),
                false => assert_eq!(got.unwrap_err().kind, FaultKind::Depth),
            }
        }
    }
    let text = [message(vec![implicit(1, P::Bytes, S::Binary)])];
    let input = [&[10, 0x80, 0x20][..], &[65; 4096]].concat();
    assert_eq!(
        there(&text, &input).unwrap_err().kind.class(),
        FaultClass::TooLarge
    );
}

/// A message of `levels` levels, each in its parent's field 1, with a text in the field 2 of the
/// last one.
fn nested(levels: usize, text: &[u8]) -> Vec<u8> {
    let put = |out: &mut Vec<u8>, body: &[u8]| {
        let len = body.len();
        assert!(len < 1 << 14);
        match len {
            0..0x80 => out.push(len as u8),
            _ => out.extend([len as u8 | 0x80, (len >> 7) as u8]),
        }
        out.extend_from_slice(body);
    };
    let mut message = vec![18];
    put(&mut message, text);
    for _ in 1..levels {
        let mut outer = vec![10];
        put(&mut outer, &message);
        message = outer;
    }
    message
}

#[test]
fn two_messages_behind_each_other_are_one_however_deep() {
    let child = field(
        1,
        Value::Message(0),
        Presence::Explicit,
        Requiredness::Optional,
    );
    let text = Value::Scalar(scalar(P::String, S::String));
    let text = field(2, text, Presence::Explicit, Requiredness::Optional);
    let messages = [message(vec![child, text])];
    for levels in [2, 5, 6, 20, 63] {
        let (first, second) = (nested(levels, &[b'a'; 300]), nested(levels, &[b'b'; 300]));
        let merged = [first, second.clone()].concat();
        // The last text wins.
        assert_eq!(
            there(&messages, &merged).map_err(|fault| fault.to_string()),
            there(&messages, &second).map_err(|fault| fault.to_string()),
            "{levels} levels"
        );
    }
}

#[test]
fn a_fault_leaves_nothing_behind_for_the_next_message() {
    let map = Value::Map(Map {
        key: Box::new(Value::Scalar(scalar(P::Int32, S::I32))),
        value: Box::new(Value::Message(0)),
    });
    let number = field(
        2,
        Value::Scalar(scalar(P::Int32, S::I8)),
        Presence::Explicit,
        Requiredness::Optional,
    );
    let maps = field(1, map, Presence::Implicit, Requiredness::Default);
    let messages = [message(vec![maps, number])];
    // {1: {7: {1: {8: {2: 300}}}}}, with another field 2 before it and behind it: in pieces.
    let inner = [10, 7, 8, 8, 18, 3, 16, 0xac, 2];
    let bad = [&[16, 1, 10, 13, 8, 7, 18, 9][..], &inner, &[16, 2]].concat();
    let good = [10, 4, 8, 7, 18, 0, 10, 4, 8, 7, 18, 0, 16, 1];
    let expected = there(&messages, &good).unwrap();
    let fault = there(&messages, &bad).unwrap_err();
    assert_eq!(
        (&*fault.path, fault.kind),
        ("f1[0].f1[0].f2", FaultKind::Overflow)
    );
    for _ in 0..3 {
        assert_eq!(there(&messages, &good).unwrap(), expected);
        there(&messages, &bad).unwrap_err();
    }
}
