//! Small pairs of files, and what becomes of them: the findings, then the table. The expected texts
//! are in `tests/*.golden`; `RIPCORD_BLESS=1` rewrites them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::super::protobuf::{self, Input, Protobuf};
use super::super::{Sources, thrift};
use super::table::table;
use super::*;

mod any_schema;
mod cases;
mod values;

/// Reads `a.proto` and `b.thrift`.
fn sides(proto: &str, idl: &str) -> (Protobuf, Document) {
    let sources: Sources = [("a.proto", proto), ("b.thrift", idl)]
        .into_iter()
        .collect();
    let input = Input::Files {
        files: vec!["a.proto".into()],
        include: Vec::new(),
    };
    let protobuf = protobuf::read(&input, &sources).unwrap_or_else(|f| panic!("{}", lines(&f)));
    let document = thrift::read(&[PathBuf::from("b.thrift")], &[], &sources);
    let document = document.unwrap_or_else(|f| panic!("{}", lines(&f)));
    (protobuf, document)
}

fn lines(findings: &[Finding]) -> String {
    let mut out = String::new();
    for finding in findings {
        let severity = format!("{:?}", finding.severity).to_lowercase();
        let places = finding.places.iter().map(|p| format!(" {p}"));
        let places: String = places.collect();
        let _ = writeln!(out, "{severity}:{places}: {}", finding.text);
    }
    out
}

/// What `check` and `schema` say of two files.
fn said(proto: &str, idl: &str, options: &PairOptions) -> String {
    let (protobuf, document) = sides(proto, idl);
    let (pairing, findings) = pair(&protobuf, &document, options);
    format!("{}\n{}", lines(&findings), table(&pairing))
}

/// Compares what is said with the golden text `name`.
fn golden(name: &str, said: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/translate/pair/tests");
    let path = folder.join(format!("{name}.golden"));
    if std::env::var_os("RIPCORD_BLESS").is_some_and(|bless| bless == "1") {
        std::fs::write(&path, said).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(said == expected, "{}:\n{said}", path.display());
}

/// A protobuf file with one unary method `M(A) returns (R)`, and the messages that `text` has.
fn unary_proto(text: &str) -> String {
    format!(
        "syntax = \"proto3\"; package p; service S {{ rpc M(A) returns (R); }} message R {{}}\n\
         {text}"
    )
}

/// Its thrift side.
fn unary_thrift(text: &str) -> String {
    format!("{text}\nstruct R {{}} service S {{ R M(1: A a) }}")
}

/// [`said`] of the messages and structs of a method that protobuf callers call, so that `A` goes to
/// thrift only (`Callers::Protobuf`), or to protobuf only (`Callers::Thrift`), or both ways.
fn said_of(proto: &str, idl: &str, options: &PairOptions) -> String {
    said(&unary_proto(proto), &unary_thrift(idl), options)
}
