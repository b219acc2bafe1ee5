//! Defaults, as bytes.

use super::*;
use crate::translate::pairing::{DefaultValue, FieldPair};

fn field<'p>(pairing: &'p Pairing, name: &str) -> &'p FieldPair {
    let a = pairing
        .messages
        .iter()
        .find(|m| &*m.protobuf == "p.A")
        .unwrap();
    a.fields.iter().find(|f| &*f.protobuf == name).unwrap()
}

fn bytes(pairing: &Pairing, name: &str) -> (Vec<u8>, Vec<u8>) {
    let DefaultValue { thrift, protobuf } = field(pairing, name).default.clone().unwrap();
    (thrift.to_vec(), protobuf.to_vec())
}

#[test]
fn defaults_are_written_in_both_forms() {
    let proto = unary_proto(
        "message A {
  optional int32 n = 1;
  sint64 z = 2;
  uint32 zero = 3;
  string s = 4;
  repeated sint32 list = 5;
  map<string, bool> map = 6;
  B b = 7;
  optional E e = 8;
  double d = 9;
  fixed32 f = 10;
  repeated string texts = 11;
  Ints wrapped = 12;
  float half = 13;
}
message Ints { repeated int32 of = 2; }
message B { int32 x = 1; string y = 2; int32 here = 3; }
enum E { E_UNSPECIFIED = 0; E_ONE = 5; }",
    );
    let idl = unary_thrift(
        "enum E { ONE = 1 }
struct B { 1: i32 x, 2: string y, 4: i32 there }
struct A {
  1: optional i32 n = 300
  2: i64 z = -2
  3: i32 zero = 0
  4: string s = \"hi\"
  5: list<i32> list = [1, -1]
  6: map<string, bool> map = { \"k\": true }
  7: B b = { \"x\": 0, \"y\": \"why\", \"there\": 3 }
  8: E e = E.ONE
  9: double d = 1.5
  10: i64 f = 258
  11: list<string> texts = [\"\", \"a\"]
  12: list<i32> wrapped = [150]
  13: double half = 0.5
  14: i16 only = 7
}",
    );
    let options = PairOptions {
        enums_by: EnumsBy::ByName,
        ..PairOptions::default()
    };
    let (protobuf, document) = sides(&proto, &idl);
    let (pairing, findings) = pair(&protobuf, &document, &options);
    let errors = findings.iter().any(|f| f.severity == Severity::Error);
    assert!(!errors, "{}", lines(&findings));
    let of = |name| bytes(&pairing, name);
    assert_eq!(of("n"), (vec![0, 0, 1, 44], vec![8, 0xac, 2]));
    assert_eq!(of("z"), ((-2i64).to_be_bytes().to_vec(), vec![0x10, 3]));
    assert_eq!(of("zero"), (vec![0; 4], vec![]));
    assert_eq!(of("s"), (b"\0\0\0\x02hi".to_vec(), b"\x22\x02hi".to_vec()));
    let list = vec![8, 0, 0, 0, 2, 0, 0, 0, 1, 255, 255, 255, 255];
    assert_eq!(of("list"), (list, vec![0x2a, 2, 2, 1]));
    let map = b"\x0b\x02\0\0\0\x01\0\0\0\x01k\x01".to_vec();
    assert_eq!(of("map"), (map, b"\x32\x05\x0a\x01k\x10\x01".to_vec()));
    let b = b"\x08\0\x01\0\0\0\0\x0b\0\x02\0\0\0\x03why\x08\0\x04\0\0\0\x03\0".to_vec();
    assert_eq!(of("b"), (b, b"\x3a\x05\x12\x03why".to_vec()));
    assert_eq!(of("e"), (vec![0, 0, 0, 1], vec![0x40, 5]));
    let d = 1.5f64;
    let mut tagged = vec![0x49];
    tagged.extend(d.to_le_bytes());
    assert_eq!(of("d"), (d.to_be_bytes().to_vec(), tagged));
    let f = 258i64.to_be_bytes().to_vec();
    assert_eq!(of("f"), (f, vec![0x55, 2, 1, 0, 0]));
    let texts = b"\x0b\0\0\0\x02\0\0\0\0\0\0\0\x01a".to_vec();
    assert_eq!(of("texts"), (texts, b"\x5a\0\x5a\x01a".to_vec()));
    let wrapped = vec![8, 0, 0, 0, 1, 0, 0, 0, 150];
    assert_eq!(of("wrapped"), (wrapped, vec![0x62, 4, 0x12, 2, 0x96, 1]));
    let half = 0.5f64.to_be_bytes().to_vec();
    assert_eq!(of("half"), (half, vec![0x6d, 0, 0, 0, 0x3f]));
    let a = pairing
        .messages
        .iter()
        .find(|m| &*m.protobuf == "p.A")
        .unwrap();
    assert_eq!(a.only_thrift[0].default.as_deref(), Some(&[6, 0, 7][..]));
    // Zero is written where the reader would take its default for it.
    assert!(field(&pairing, "z").write_zeros);
    assert!(!field(&pairing, "zero").write_zeros);
    assert!(!field(&pairing, "n").write_zeros);
    let hidden = findings
        .iter()
        .filter(|f| f.text.contains("is not used for messages"));
    assert_eq!(hidden.count(), 8);
}

#[test]
fn a_default_that_protobuf_cannot_hold_is_an_error() {
    let proto = unary_proto("message A { uint32 n = 1; }");
    let idl = unary_thrift("struct A { 1: i32 n = -1 }");
    let (protobuf, document) = sides(&proto, &idl);
    let (_, findings) = pair(&protobuf, &document, &PairOptions::default());
    let error = findings
        .iter()
        .find(|f| f.severity == Severity::Error)
        .unwrap();
    assert_eq!(
        error.text,
        "the default of `A.n` cannot be used: protobuf's type cannot hold -1"
    );
}
