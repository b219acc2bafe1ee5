//! Pairs of small IDLs, each with its table and findings in a golden file beside this one. They
//! translate no messages.

use super::*;

#[test]
fn scalars() {
    let kinds = [
        "int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64", "sfixed32",
        "sfixed64", "bool", "float", "double", "string", "bytes", "E",
    ];
    let types = [
        "bool", "i8", "i16", "i32", "i64", "double", "string", "binary", "E",
    ];
    let mut proto = String::from("enum E { E_ZERO = 0; } message A {\n");
    let mut idl = String::from("enum E { ZERO = 0 } struct A {\n");
    let mut number = 0;
    for kind in kinds {
        for ty in types {
            number += 1;
            let _ = writeln!(proto, "{kind} f{number} = {number};");
            let _ = writeln!(idl, "{number}: {ty} f{number}");
        }
    }
    proto.push('}');
    idl.push('}');
    let (protobuf, document) = sides(&unary_proto(&proto), &unary_thrift(&idl));
    let (pairing, findings) = pair(&protobuf, &document, &PairOptions::default());
    // A matrix: one row for each protobuf type, one column for each thrift type.
    let mut out = format!("{:9}{}\n", "", types.map(|t| format!("{t:7}")).join(""));
    let a = pairing
        .messages
        .iter()
        .find(|m| &*m.protobuf == "p.A")
        .unwrap();
    for (row, kind) in kinds.iter().enumerate() {
        let _ = write!(out, "{kind:9}");
        for column in 0..types.len() {
            let number = u32::try_from(row * types.len() + column + 1).unwrap();
            let of = findings
                .iter()
                .filter(|f| f.text.contains(&format!("`p.A.f{number}`")));
            let worst = of.map(|f| f.severity).max();
            let is_paired = a.fields.iter().any(|f| f.number == number);
            assert_eq!(is_paired, worst != Some(Severity::Error), "{number}");
            let word = worst.map_or("yes".into(), |s| format!("{s:?}").to_lowercase());
            let _ = write!(out, "{word:7}");
        }
        out.push('\n');
    }
    let cells: Vec<_> = out.lines().map(str::trim_end).collect();
    golden("scalars", &(cells.join("\n") + "\n"));
}

#[test]
fn narrowing_is_told_for_the_ways_that_messages_go() {
    let proto = "message A {\n  int64 n = 1;\n  uint32 u = 2;\n  float f = 3;\n  string s = 4;\n  \
                 bytes b = 5;\n}";
    let idl = "struct A {\n  1: i32 n\n  2: i64 u\n  3: double f\n  4: binary s\n  5: string b\n}";
    let mut out = String::new();
    for callers in [Callers::Protobuf, Callers::Thrift, Callers::Both] {
        let options = PairOptions {
            callers,
            ..PairOptions::default()
        };
        let (protobuf, document) = sides(&unary_proto(proto), &unary_thrift(idl));
        let (_, findings) = pair(&protobuf, &document, &options);
        let _ = writeln!(out, "callers: {callers:?}\n{}", lines(&findings));
    }
    golden("narrowing", &out);
}

#[test]
fn containers() {
    let proto = "message A {
  repeated int32 list = 1;
  repeated string set = 2;
  map<string, int64> map = 3;
  repeated Entry entries = 4;
  repeated Strings lists = 5;
  map<int32, Strings> map_of_lists = 6;
  Strings one = 7;
  repeated int32 loose = 8 [packed = false];
  map<string, B> structs = 9;
  repeated Bad bad_entries = 10;
  repeated int32 not_nested = 11;
  map<string, string> double_keys = 12;
  map<string, string> enum_keys = 13;
  Deep deep = 14;
  int32 single = 15;
  repeated B not_repeated = 16;
}
message B { A again = 1; }
message Entry { B key = 1; double value = 2; }
message Bad { int32 key = 1; repeated int32 value = 2; }
message Strings { repeated string values = 3; }
message Deep { repeated Strings values = 1; }";
    let idl = "enum E { ONE = 1 }
struct B { 1: optional A again }
struct A {
  1: list<i32> list
  2: set<string> set
  3: map<string, i64> map
  4: map<B, double> entries
  5: list<list<string>> lists
  6: map<i32, set<string>> map_of_lists
  7: optional list<string> one
  8: list<i32> loose
  9: map<string, B> structs
  10: map<i32, list<i32>> bad_entries
  11: list<list<i32>> not_nested
  12: map<double, string> double_keys
  13: map<E, string> enum_keys
  14: list<list<string>> deep
  15: list<i32> single
  16: B not_repeated
}";
    golden("containers", &said_of(proto, idl, &PairOptions::default()));
}

#[test]
fn presence() {
    let proto = "message A {
  int32 implicit_default = 1;
  int32 implicit_required = 2;
  int32 implicit_optional = 3;
  optional int32 explicit_default = 4;
  optional int32 explicit_required = 5;
  optional int32 explicit_optional = 6;
  B message_required = 7;
  oneof choice { int32 a = 8; int32 b = 9; B c = 10; }
  repeated int32 list_optional = 11;
}
message B {}";
    let idl = "struct B {}
struct A {
  1: i32 implicit_default
  2: required i32 implicit_required
  3: optional i32 implicit_optional
  4: i32 explicit_default
  5: required i32 explicit_required
  6: optional i32 explicit_optional
  7: required B message_required
  8: optional i32 a
  9: i32 b
  10: required B c
  11: optional list<i32> list_optional
}";
    golden("presence", &said_of(proto, idl, &PairOptions::default()));
}

#[test]
fn unions() {
    let proto = "message A { U u = 1; Loose loose = 2; Two two = 3; }
message U { oneof of { int32 n = 1; Strings list = 2; string only_here = 4; } }
message Strings { repeated string of = 1; }
message Loose { oneof of { int32 n = 1; } string s = 2; }
message Two { oneof a { int32 n = 1; } oneof b { string s = 2; } }";
    let idl = "union U { 1: i32 n, 2: list<string> list, 3: string only_there }
union Loose { 1: i32 n, 2: string s }
union Two { 1: i32 n, 2: string s }
struct A { 1: U u, 2: Loose loose, 3: Two two }";
    golden("unions", &said_of(proto, idl, &PairOptions::default()));
}

#[test]
fn fields_on_one_side() {
    let proto = "message A {
  string text = 1;
  string extra = 2;
  string moved = 3;
  string quiet = 4;
  string last = 6;
  string first = 7;
}";
    let idl = "namespace go base
struct Base { 1: string log_id }
struct A {
  1: string text
  0: string zero
  5: string moved
  6: string first
  7: string last
  19001: string reserved
  30: required string must
  31: required string may = \"x\"
  32: string silent
  255: optional Base base
}";
    let rule = FieldRule {
        to: Some(Target::None),
        ..FieldRule::default()
    };
    let fields = ["p.A.quiet", "p.A.silent"].map(|name| (name.to_owned(), rule.clone()));
    let options = PairOptions {
        fields: fields.into_iter().collect(),
        ..PairOptions::default()
    };
    golden("one_side", &said_of(proto, idl, &options));
}

#[test]
fn names_decide_where_the_schema_says_so() {
    let proto = "message A { string userName = 1; int64 count = 2; int32 other = 3; E e = 4; }
enum E { E_UNSPECIFIED = 0; E_RED = 1; E_BLUE = 2; E_HERE = 3; }";
    let idl = "enum E { RED = 0, BLUE = 1, THERE = 7 }
struct A { 2: string user_name, 1: i16 count, 9: i32 another, 4: E e }";
    let rule = FieldRule {
        to: Some(Target::Name("another".into())),
        ..FieldRule::default()
    };
    let count = FieldRule {
        overflow: Some(crate::translate::pairing::Overflow::Saturate),
        zeros: Some(true),
        ..FieldRule::default()
    };
    let options = PairOptions {
        fields_by: FieldsBy::ByName,
        enums_by: EnumsBy::ByName,
        fields: [("p.A.other".into(), rule), ("p.A.count".into(), count)].into(),
        ..PairOptions::default()
    };
    golden("by_name", &said_of(proto, idl, &options));
}

#[test]
fn enums_by_number() {
    let proto =
        "message A { Same a = 1; Other b = 2; Moved c = 3; int32 d = 4; Same e = 5; X f = 6; }
enum X { X_UNSPECIFIED = 0; X_XRAY = 1; X_TAXI = 2; }
enum Same { SAME_UNSPECIFIED = 0; SAME_ONE = 1; }
enum Other { OTHER_UNSPECIFIED = 0; HERE = 1; }
enum Moved { MOVED_RED = 0; MOVED_BLUE = 1; }";
    let idl = "enum Same { ONE = 1 } enum Other { THERE = 2 } enum Moved { RED = 1, BLUE = 0 }
enum X { XRAY = 1, TAXI = 2 }
struct A { 1: Same a, 2: Other b, 3: Moved c, 4: Same d, 5: i64 e, 6: X f }";
    golden("enums", &said_of(proto, idl, &PairOptions::default()));
}

#[test]
fn wrong_entries_are_told() {
    let rule = |to| FieldRule {
        to: Some(to),
        ..FieldRule::default()
    };
    let code = ExceptionRule {
        thrift: Some("Nope".into()),
        code: Some(17),
    };
    let fields = [
        ("p.A.nope", Target::Id(1)),
        ("p.A.a", Target::Id(9)),
        ("p.A.b", Target::Name("x".into())),
        ("p.A.c", Target::Id(1)),
        ("p.A.left", Target::None),
    ];
    let options = PairOptions {
        services: [("p.Nope".into(), "S".into())].into(),
        methods: [("p.S.Nope".into(), Target::None)].into(),
        fields: fields.map(|(n, t)| (n.to_owned(), rule(t))).into(),
        enums: [("p.Nope".into(), EnumsBy::ByName)].into(),
        exceptions: [("p.Nope".into(), code)].into(),
        ..PairOptions::default()
    };
    let proto = "message A { int32 a = 1; int32 b = 2; int32 c = 3; }";
    golden("wrong", &said_of(proto, "struct A { 1: i32 x }", &options));
    let options = PairOptions {
        services: [("p.S".into(), "Nope".into())].into(),
        ..PairOptions::default()
    };
    golden(
        "no_service",
        &said_of(proto, "struct A { 1: i32 x }", &options),
    );
}

#[test]
fn proto2() {
    let proto = "syntax = \"proto2\"; package p;
service S { rpc M(A) returns (A); }
message A {
  required int32 must = 1;
  required int32 alone = 2;
  optional int32 seven = 3 [default = 7];
  optional int32 eight = 4 [default = 8];
  optional group Old = 5 { optional int32 n = 1; }
  optional E e = 6;
  extensions 100 to 200;
}
enum E { ONE = 1; }
extend A { optional int32 more = 100; }";
    let idl = "enum E { ONE = 1, TWO = 2 } struct O { 1: i32 n }
struct A { 1: i32 must, 3: optional i32 seven = 7, 4: optional i32 eight, 5: optional O old
  6: optional E e }
service S { A M(1: A a) }";
    golden("proto2", &said(proto, idl, &PairOptions::default()));
}

#[test]
fn well_known_types_are_structs_and_types_may_hold_themselves() {
    let proto = "syntax = \"proto3\"; package p;
import \"google/protobuf/timestamp.proto\";
import \"google/protobuf/wrappers.proto\";
import \"google/protobuf/struct.proto\";
import \"google/protobuf/any.proto\";
import \"google/protobuf/empty.proto\";
service S { rpc M(A) returns (google.protobuf.Empty); }
message A {
  google.protobuf.Timestamp at = 1;
  google.protobuf.StringValue text = 2;
  google.protobuf.Struct data = 3;
  google.protobuf.Any any = 4;
  google.protobuf.Int32Value wrong = 5;
  repeated A children = 6;
}";
    let idl = "struct Time { 1: i64 seconds, 2: i32 nanos }
struct Text { 1: string value }
union Value { 1: i32 null, 2: double number, 3: string text, 4: bool flag, 5: Struct object
  6: List list }
struct List { 1: list<Value> values }
struct Struct { 1: map<string, Value> fields }
struct Any { 1: string type_url, 2: binary value }
struct A { 1: optional Time at, 2: optional Text text, 3: optional Struct data, 4: optional Any any
  5: optional i32 wrong, 6: list<A> children }
service S { void M(1: A a) }";
    golden("well_known", &said(proto, idl, &PairOptions::default()));
}

#[test]
fn services() {
    let proto = "syntax = \"proto3\"; package chat.v1;
import \"google/protobuf/empty.proto\";
service Chat {
  rpc GetUser(A) returns (A);
  rpc Both(stream A) returns (stream A);
  rpc Up(stream A) returns (A);
  rpc Down(A) returns (stream A);
  rpc Alone(A) returns (A);
  rpc Add(Two) returns (Number);
  rpc List(google.protobuf.Empty) returns (Numbers);
  rpc Wrong(A) returns (A);
  rpc WrongStream(stream A) returns (stream A);
  rpc Nothing(A) returns (google.protobuf.Empty);
  rpc Something(A) returns (A);
  rpc Forget(A) returns (google.protobuf.Empty);
  rpc Risky(A) returns (A);
  rpc Renamed(A) returns (A);
  rpc TwoResults(A) returns (Two);
}
service Other { rpc X(A) returns (A); }
message A { string text = 1; }
message Two { int32 left = 1; int32 right = 2; }
message Number { int64 value = 1; }
message Numbers { repeated int64 values = 4; }
message Failed { string why = 1; }
message Odd { string why = 1; }";
    let idl = "struct A { 1: string text }
exception Failed { 1: string why } exception Denied { 1: string why } exception Alone { 1: i32 n }
service ChatService {
  A getUser(1: A a)
  A both(1: A a) (streaming.mode = \"bidirectional\")
  A up(1: A a) (streaming.mode = \"client\")
  A down(1: A a) (streaming.mode = \"server\")
  i64 add(1: i32 left, 2: i32 right)
  list<i64> list()
  A wrong(1: A a) (streaming.mode = \"server\")
  A wrong_stream(1: A a)
  void nothing(1: A a)
  void something(1: A a)
  oneway void forget(1: A a)
  A risky(1: A a) throws (1: Failed failed, 2: Denied denied, 3: Alone alone)
  A old_name(1: A a)
  A only_there(1: A a)
  i32 two_results(1: A a)
}";
    let rule = ExceptionRule {
        thrift: Some("Denied".into()),
        code: Some(7),
    };
    let renamed = Target::Name("old_name".into());
    let options = PairOptions {
        services: [("chat.v1.Chat".into(), "ChatService".into())].into(),
        methods: [("chat.v1.Chat.Renamed".into(), renamed)].into(),
        exceptions: [("chat.v1.Odd".into(), rule)].into(),
        ..PairOptions::default()
    };
    golden("services", &said(proto, idl, &options));
}
