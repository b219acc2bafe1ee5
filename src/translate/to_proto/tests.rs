//! What `to_proto` writes for a thrift IDL: it compiles with protox and pairs with its source. It
//! runs no translation; tests/translation.rs does.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::PathBuf;

use super::*;
use crate::translate::protobuf::{self, Input};
use crate::translate::{Sources, pair, thrift};

/// Everything at once.
const THRIFT: &str = "\
// The license.

namespace go chat.v1
include 'base.thrift'

/* How a
 * chat feels. */
enum Mood { GOOD = 1, // :)
  MoodBad = 2, so_so = 2, AGAIN = -1 }
enum Zero { ONE = 1, NONE = 0 }

exception TooLate { 1: string text, 2: Mood mood }
union Part { 1: string text, 2: list<i32> numbers, 3: Message more, 4: map<string, i64> counts }
/// What is said.
struct Message {
  1: required string text // The text.
  2: optional i32 count
  -1: bool old,
  19500: double big
  3: i64 limit = 10
  4: list<string> tags = ['a']
  5: set<binary> keys
  6: map<i32, list<Message>> groups
  7: map<double, string> odd
  8: list<list<list<i16>>> deep
  9: Mood mood = Mood.GOOD
  10: map<Mood, map<string, Mood>> moods
  11: optional Part part, 12: uuid id
  13: string fooBar, 14: string foo_bar, 15: string value
  16: bool message, 17: bool optional, 18: bool stream, 19: bool Message
  255: base.Base base
}
struct Request {}
struct Empty {}
struct string_2 { 1: string string }

service Chat extends base.Common {
  // Both ways.
  Message talk(1: Message m) (streaming.mode = 'bidirectional')
  Message upload(1: Message m) (streaming.mode = 'client')
  Message watch(1: Message m) (streaming.mode = 'server')
  Message one(1: Message m) (streaming.mode = 'unary')
  Message ask(1: Request r) throws (1: TooLate late, 2: base.Mood mood)
  i64 add(1: i64 a, 2: i64 b = 1, 0: Mood m)
  list<Message> all()
  map<double, list<string>> table(3: string name)
  void nothing()
  oneway void tell(1: Part p)
  Request Request(1: Request r)
  uuid id()
}
";

const BASE: &str = "\
struct Base { 1: string caller, 2: optional map<string, string> extra, 3: base_in inner }
struct base_in {} struct Unused {} struct Request { 1: bool b }
exception Mood { 1: string text }
service Common { Request ping(1: Request r) }
";

const PROTO: &str = include_str!("expected.proto");

fn document(text: &str) -> Document {
    let texts = [("chat.thrift", text), ("base.thrift", BASE)];
    let sources: Sources = texts.into_iter().collect();
    thrift::read(&[PathBuf::from("chat.thrift")], &[], &sources).unwrap()
}

/// Compiles what was written, and pairs it with the document: there is nothing to warn of.
fn pairs(document: &Document, written: &Written) {
    let sources: Sources = [("chat.proto", &*written.text)].into_iter().collect();
    let input = Input::Files {
        files: vec![PathBuf::from("chat.proto")],
        include: Vec::new(),
    };
    let protobuf = protobuf::read(&input, &sources);
    let protobuf = protobuf.unwrap_or_else(|f| panic!("{f:#?}\n{}", written.text));
    let fields = written.fields.iter().map(|(name, target)| {
        let rule = pair::FieldRule {
            to: Some(target.clone()),
            ..Default::default()
        };
        (name.clone(), rule)
    });
    let exceptions = written.exceptions.iter().map(|(name, thrift)| {
        let rule = pair::ExceptionRule {
            thrift: Some(thrift.clone()),
            code: None,
        };
        (name.clone(), rule)
    });
    let options = pair::PairOptions {
        fields: fields.collect(),
        exceptions: exceptions.collect(),
        methods: written.methods.iter().cloned().collect(),
        services: written.services.iter().cloned().collect(),
        ..Default::default()
    };
    let (_, findings) = pair::pair(&protobuf, document, &options);
    let bad = findings
        .iter()
        .filter(|f| f.severity != crate::translate::Severity::Note);
    let bad: Vec<_> = bad.map(|f| &f.text).collect();
    assert!(bad.is_empty(), "{bad:#?}\n{}", written.text);
}

#[test]
fn the_whole_file_is_this() {
    let document = document(THRIFT);
    assert_eq!(package(&document), "chat.v1");
    let written = to_proto(&document, "chat.v1");
    assert_eq!(written.text, PROTO, "{}", written.text);
    let settings = "methods:\n  chat.v1.Chat.id: none\n\
        exceptions:\n  chat.v1.Mood_2: { thrift: Mood }\n\
        fields:\n  chat.v1.AddRequest.m: 0\n  chat.v1.Message.old: -1\n  \
        chat.v1.Message.big: 19500\n  chat.v1.Message.id: none\n";
    assert_eq!(written.settings(), settings);
}

#[test]
fn it_compiles_and_pairs_without_a_warning() {
    let document = document(THRIFT);
    for package in ["chat.v1", "", "google"] {
        let written = to_proto(&document, package);
        pairs(&document, &written);
    }
}

#[test]
fn words_are_written_as_constants_are() {
    let table = [
        ("Color", "COLOR"),
        ("HTTPCode2x", "HTTP_CODE2X"),
        ("so_so", "SO_SO"),
        ("myURL", "MY_URL"),
        ("A", "A"),
        ("", ""),
    ];
    for (name, expected) in table {
        assert_eq!(upper_snake(name), expected);
    }
}
