//! Whatever two schemas say, pairing ends with findings.

use proptest::prelude::*;

use super::*;

const KINDS: &[&str] = &[
    "int32", "int64", "uint32", "uint64", "sint32", "fixed64", "bool", "float", "double", "string",
    "bytes", "E", "M0", "M1", "M2", "U",
];
const TYPES: &[&str] = &[
    "bool", "i8", "i16", "i32", "i64", "double", "string", "binary", "E", "M0", "M1", "M2", "U",
];

fn proto_field() -> impl Strategy<Value = String> {
    let kind = proptest::sample::select(KINDS);
    let key = proptest::sample::select(&["int32", "string", "bool", "uint64"][..]);
    (0..5, kind, key).prop_map(|(label, kind, key)| match label {
        0 => kind.to_owned(),
        1 => format!("optional {kind}"),
        2 => format!("repeated {kind}"),
        3 => format!("map<{key}, {kind}>"),
        _ => "repeated Entry".to_owned(),
    })
}

fn thrift_type() -> impl Strategy<Value = String> {
    let leaf = proptest::sample::select(TYPES).prop_map(str::to_owned);
    leaf.prop_recursive(3, 6, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|t| format!("list<{t}>")),
            inner.clone().prop_map(|t| format!("set<{t}>")),
            (inner.clone(), inner).prop_map(|(k, v)| format!("map<{k}, {v}>")),
        ]
    })
}

fn protos() -> impl Strategy<Value = String> {
    let fields = proptest::collection::vec((1..12u32, proto_field()), 0..6);
    proptest::collection::vec(fields, 3).prop_map(|messages| {
        let mut out = String::from(
            "syntax = \"proto3\"; package p; service S { rpc A(M0) returns (M1); \
             rpc B(stream M2) returns (stream U); }\n\
             enum E { E_ZERO = 0; E_ONE = 1; E_SIX = 6; }\n\
             message Entry { string key = 1; M1 value = 2; }\n\
             message U { oneof of { int32 n = 1; M0 m = 2; } }\n",
        );
        for (at, fields) in messages.iter().enumerate() {
            let _ = writeln!(out, "message M{at} {{");
            let mut seen = BTreeSet::new();
            for (number, ty) in fields.iter().filter(|(n, _)| seen.insert(*n)) {
                let _ = writeln!(out, "  {ty} f{number} = {number};");
            }
            out.push_str("}\n");
        }
        out
    })
}

fn idls() -> impl Strategy<Value = String> {
    let word = proptest::sample::select(&["", "optional ", "required "][..]);
    let fields = proptest::collection::vec((1..12u32, word, thrift_type()), 0..6);
    proptest::collection::vec(fields, 3).prop_map(|structs| {
        let mut out = String::from("enum E { ONE = 1, SIX = 7 } union U { 1: i32 n, 2: M0 m }\n");
        for (at, fields) in structs.iter().enumerate() {
            let _ = writeln!(out, "struct M{at} {{");
            let mut seen = BTreeSet::new();
            for (id, word, ty) in fields.iter().filter(|(n, ..)| seen.insert(*n)) {
                let default = match &**ty {
                    "i32" | "i8" => " = 7",
                    "string" => " = \"x\"",
                    "list<i64>" => " = [1]",
                    _ => "",
                };
                let _ = writeln!(out, "  {id}: {word}{ty} f{id}{default}");
            }
            out.push_str("}\n");
        }
        out.push_str(
            "service S { M1 a(1: M0 m), U b(1: M2 m) (streaming.mode = \"bidirectional\") }\n",
        );
        out
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_two_schemas_pair_or_are_refused(
        proto in protos(),
        idl in idls(),
        by_name in any::<bool>(),
        callers in proptest::sample::select(&[Callers::Protobuf, Callers::Thrift, Callers::Both][..]),
    ) {
        let (protobuf, document) = sides(&proto, &idl);
        let options = PairOptions {
            fields_by: if by_name { FieldsBy::ByName } else { FieldsBy::ById },
            enums_by: if by_name { EnumsBy::ByName } else { EnumsBy::ByNumber },
            callers,
            ..PairOptions::default()
        };
        let (pairing, findings) = pair(&protobuf, &document, &options);
        prop_assert_eq!(pairing.messages.is_empty(), false);
        for finding in &findings {
            prop_assert!(!finding.text.is_empty());
            prop_assert!(finding.places.iter().all(|p| p.line > 0), "{:?}", finding);
        }
        prop_assert!(!table(&pairing).is_empty());
    }
}
