//! Reading thrift IDL from texts in memory: the model, the faults with their places, and that no
//! text panics. It knows no protobuf.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::fmt::Write as _;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::translate::Severity;

mod faults;
mod model;

/// Reads `main.thrift` and `other.thrift`, if there is one, of these texts.
fn read_texts(texts: &[(&str, &str)]) -> Result<Document, Vec<Finding>> {
    let sources: Sources = texts.iter().copied().collect();
    read(&[PathBuf::from("main.thrift")], &[], &sources)
}

fn document(text: &str) -> Document {
    match read_texts(&[("main.thrift", text)]) {
        Ok(document) => document,
        Err(findings) => panic!("{text}\n{}", shown(&findings)),
    }
}

/// Findings, one a line: places, then the text.
fn shown(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        for place in &finding.places {
            write!(text, "{place} ").unwrap();
        }
        writeln!(text, "{}", finding.text).unwrap();
    }
    text
}

/// A document, as short as can be: one line for each struct, enum value and function.
fn outline(document: &Document) -> String {
    let mut text = String::new();
    for s in &document.structs {
        write!(text, "{:?} {}", s.kind, s.name).unwrap();
        fields(document, &s.fields, &mut text);
        text.push('\n');
    }
    for e in &document.enums {
        write!(text, "enum {}", e.name).unwrap();
        for v in &e.values {
            write!(text, " {}={}", v.name, v.number).unwrap();
        }
        text.push('\n');
    }
    for s in &document.services {
        for f in &s.functions {
            let oneway = if f.oneway { "oneway " } else { "" };
            let result = f.result.as_ref();
            let result = result.map_or("void".to_owned(), |r| ty(document, r));
            write!(text, "{}.{} {oneway}{result}", s.name, f.name).unwrap();
            fields(document, &f.arguments, &mut text);
            if !f.throws.is_empty() {
                text.push_str(" throws");
                fields(document, &f.throws, &mut text);
            }
            if let Some(mode) = f.streaming {
                write!(text, " {mode:?}").unwrap();
            }
            text.push('\n');
        }
    }
    text
}

fn fields(document: &Document, fields: &[Field], text: &mut String) {
    for f in fields {
        let requiredness = match f.requiredness {
            crate::translate::pairing::Requiredness::Default => "",
            crate::translate::pairing::Requiredness::Required => "required ",
            crate::translate::pairing::Requiredness::Optional => "optional ",
        };
        let ty = ty(document, &f.ty);
        write!(text, " {}:{requiredness}{ty} {}", f.id, f.name).unwrap();
        if let Some(default) = &f.default {
            write!(text, "={default:?}").unwrap();
        }
        text.push(',');
    }
}

fn ty(document: &Document, of: &Type) -> String {
    match of {
        Type::Enum(i) => document.enums[*i].name.to_string(),
        Type::Struct(i) => document.structs[*i].name.to_string(),
        Type::List(e) => format!("list<{}>", ty(document, e)),
        Type::Set(e) => format!("set<{}>", ty(document, e)),
        Type::Map(k, v) => format!("map<{},{}>", ty(document, k), ty(document, v)),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// Words and marks of the language, so that random texts get somewhere.
fn likely() -> impl Strategy<Value = String> {
    let words = "include cpp_include namespace const typedef enum senum struct union exception \
                 service extends throws oneway async void required optional list set map cpp_type \
                 i8 i16 i32 i64 double string binary uuid bool byte true false A B C a b c A.B b.C \
                 { } ( ) [ ] < > , ; : = * & 1 2 -1 0x1F 010 1.5 1e9 99999999999 \"x\" 'y' \
                 // /* */ # \" \n \u{feff} é xsd_attrs";
    let words: Vec<&str> = words.split(' ').collect();
    let word = proptest::sample::select(words);
    proptest::collection::vec(word, 0..60).prop_map(|words| words.join(" "))
}

proptest! {
    /// No text panics, and each fault has a place within the text.
    #[test]
    fn any_text_is_read_or_refused(text in prop_oneof!["\\PC*", "(?s).*", likely()]) {
        let lines = u32::try_from(text.matches('\n').count()).unwrap() + 1;
        let texts = [("main.thrift", &*text), ("b.thrift", "const i32 C = 1")];
        if let Err(findings) = read_texts(&texts) {
            prop_assert!(!findings.is_empty());
            for place in findings.iter().flat_map(|f| &f.places) {
                prop_assert!((1..=lines).contains(&place.line), "{findings:?}");
                prop_assert!(place.column >= 1);
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let sources: Sources = [("main.thrift", bytes.as_slice())].into_iter().collect();
        let _ = read(&[PathBuf::from("main.thrift")], &[], &sources);
    }
}
