//! What `to_thrift` writes for a protobuf IDL: the thrift reader takes it, and it pairs with its
//! source without a warning. It runs no translation.

use std::path::{Path, PathBuf};

use super::super::pair::{FieldRule, PairOptions, pair};
use super::super::protobuf::{self, Input};
use super::super::{Severity, Sources, thrift};
use super::*;

/// Writes thrift for `a.proto`, reads it, and pairs both. No warning may come of it.
fn round(proto: &str) -> Written {
    let sources: Sources = [("a.proto", proto)].into_iter().collect();
    let input = Input::Files {
        files: vec!["a.proto".into()],
        include: Vec::new(),
    };
    let protobuf = protobuf::read(&input, &sources).unwrap();
    let written = to_thrift(&protobuf);
    let loud = loud(&protobuf);
    assert!(loud.is_empty(), "{loud:#?}\n{}", written.text);
    written
}

/// What is said above a note of the protobuf files and of what is written for them. A schema
/// without a service has none to pair.
fn loud(protobuf: &Protobuf) -> Vec<String> {
    let written = to_thrift(protobuf);
    let sources: Sources = [("a.thrift", &written.text)].into_iter().collect();
    let document = match thrift::read(&[PathBuf::from("a.thrift")], &[], &sources) {
        Ok(document) => document,
        Err(findings) => return vec![format!("{:?}", findings[0])],
    };
    if document.services.is_empty() {
        return Vec::new();
    }
    let rule = |to: &Target| FieldRule {
        to: Some(to.clone()),
        ..FieldRule::default()
    };
    let fields = written.fields.iter();
    let options = PairOptions {
        fields: fields.map(|(name, to)| (name.clone(), rule(to))).collect(),
        services: written.services.iter().cloned().collect(),
        ..PairOptions::default()
    };
    let (_, findings) = pair(protobuf, &document, &options);
    let loud = findings.iter().filter(|f| f.severity > Severity::Note);
    loud.map(|f| format!("{f:?}")).collect()
}

#[test]
fn what_it_writes_pairs_without_a_warning() {
    let proto = "syntax = \"proto3\";
package chat.v1;
import \"google/protobuf/timestamp.proto\";
import \"google/protobuf/struct.proto\";
import \"google/protobuf/empty.proto\";

// Talks.
service Chat {
  // Many each way.
  rpc Both(stream Request) returns (stream Request);
  rpc Get(Request) returns (Reply.Part);
  rpc Watch(google.protobuf.Empty) returns (stream Reply.Part);
  rpc Ping(google.protobuf.Empty) returns (google.protobuf.Empty);
  rpc delete(Request) returns (google.protobuf.Empty);
}
// A request
// of two lines.
message Request {
  string text = 1; // what is said
  uint32 u = 2;
  uint64 v = 3;
  float f = 4;
  bytes b = 5;
  optional int32 maybe = 6;
  repeated Kind kinds = 7;
  map<string, Reply.Part> parts = 8;
  oneof choice { int32 x = 9; string y = 10; }
  google.protobuf.Timestamp at = 11;
  google.protobuf.Struct data = 12;
  string list = 13;
  sint32 high = 70000;
  fixed64 reserved_in_go = 15;
}
message Reply {
  enum Kind { KIND_UNSPECIFIED = 0; option allow_alias = true; KIND_ONE = 1; KIND_ALSO = 1; }
  message Part { Request again = 1; Kind kind = 2; Timestamp at = 3; }
}
message Timestamp { int64 n = 1; }
enum Kind { NONE = 0; SOME = -3; }
";
    let written = round(proto);
    let fields = [("chat.v1.Request.high".to_owned(), Target::Id(14))];
    assert_eq!(written.fields, fields);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/translate/to_thrift");
    let path = folder.join("chat.golden");
    if std::env::var_os("RIPCORD_BLESS").is_some_and(|bless| bless == "1") {
        std::fs::write(&path, &written.text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written.text == expected, "{}", written.text);
}

#[test]
fn proto2_and_clashing_names_pair_too() {
    let proto = "syntax = \"proto2\"; package p;
service string { rpc M(A) returns (A_B); }
message A {
  required int32 must = 1;
  optional string s = 2 [default = \"it's\"];
  optional double d = 3 [default = -1.5];
  optional E e = 4 [default = TWO];
  optional bool flag = 5 [default = true];
  optional group Old = 6 { optional int32 n = 1; }
  message B { optional int32 n = 1; }
  optional B b = 7;
  optional bytes raw = 8 [default = \"x\"];
  repeated int32 packed = 9 [packed = true];
}
message A_B { optional A a = 1; }
enum E { ONE = 1; TWO = 2; }
";
    let written = round(proto);
    assert_eq!(written.fields, [("p.A.old".to_owned(), Target::None)]);
    assert_eq!(
        written.services,
        [("p.string".to_owned(), "string_".to_owned())]
    );
}

/// `RIPCORD_IDLS=FOLDER cargo test --lib public_idls -- --ignored --nocapture`: each folder in it is
/// the root of a repository with `.proto` files. Each file must be read, and pair with what is
/// written for it.
#[test]
#[ignore = "needs files that are not here"]
fn public_idls() {
    let folder = std::env::var_os("RIPCORD_IDLS").expect("RIPCORD_IDLS");
    for root in std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
    {
        let mut files = Vec::new();
        proto_files(&root, &mut files);
        files.sort();
        let sources = Sources::default();
        let (mut read, mut refused, mut faults) = (0, 0, Vec::new());
        for file in files {
            let input = Input::Files {
                include: vec![root.clone()],
                files: vec![file.clone()],
            };
            let protobuf = match protobuf::read(&input, &sources) {
                Ok(protobuf) => protobuf,
                Err(findings) => {
                    refused += 1;
                    println!("{}: {}", file.display(), findings[0].text);
                    continue;
                }
            };
            read += 1;
            faults.extend(
                loud(&protobuf)
                    .into_iter()
                    .map(|f| format!("{}: {f}", file.display())),
            );
        }
        println!("{}: {read} read, {refused} refused", root.display());
        println!("{} findings above a note", faults.len());
        for fault in faults.iter().take(20) {
            println!("{fault}");
        }
    }
}

fn proto_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for path in std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
    {
        if path.is_dir() {
            proto_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "proto") {
            found.push(path);
        }
    }
}
