//! The translation of a message alone, beside decode and encode by prost-reflect's
//! `DynamicMessage`: `cargo bench --bench translate`.
//!
//! One process measures both, in turns. It prints the median of 5 turns each, in nanoseconds per
//! message, and the ratio.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prost_reflect::prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use ripcord::translate::pairing::{
    FieldPair, List, Map, MessagePair, Options, Overflow, Pairing, Presence, ProtobufScalar as P,
    Requiredness, Scalar, ThriftScalar as S, Utf8, Value,
};
use ripcord::translate::{Direction, Plan, Translator};

/// A realistic schema: texts, nested messages, a map, a list of structs.
const PROTO: &str = r#"
syntax = "proto3";
message Event {
  string id = 1;
  int64 time = 2;
  User user = 3;
  string text = 4;
  map<string, string> labels = 5;
  repeated Item items = 6;
  bool urgent = 7;
  Kind kind = 8;
  repeated int64 related = 9;
  double score = 10;
}
enum Kind { KIND_UNSPECIFIED = 0; KIND_CHAT = 1; }
message User { int64 id = 1; string name = 2; optional string mail = 3; }
message Item { int32 id = 1; string name = 2; double price = 3; repeated string tags = 4; }
"#;

fn pairing() -> Pairing {
    let scalar = |protobuf, thrift| {
        Value::Scalar(Scalar {
            protobuf,
            thrift,
            overflow: Overflow::Error,
            utf8: Utf8::Error,
            numbers: None,
        })
    };
    let field = |number: u32, name: &str, value| FieldPair {
        number,
        id: number as i16,
        protobuf: name.into(),
        thrift: name.into(),
        presence: match value {
            Value::Message(_) => Presence::Explicit,
            _ => Presence::Implicit,
        },
        value,
        requiredness: Requiredness::Default,
        default: None,
        write_zeros: false,
    };
    let list = |element, is_packed| {
        Value::List(List {
            element: Box::new(element),
            is_set: false,
            is_packed,
        })
    };
    let message = |name: &str, fields| MessagePair {
        protobuf: name.into(),
        thrift: name.into(),
        is_union: false,
        fields,
        missing_in_thrift: Vec::new(),
        only_thrift: Vec::new(),
    };
    let text = || scalar(P::String, S::String);
    let mut mail = field(3, "mail", text());
    (mail.presence, mail.requiredness) = (Presence::Explicit, Requiredness::Optional);
    let labels = Value::Map(Map {
        key: Box::new(text()),
        value: Box::new(text()),
    });
    Pairing {
        services: Vec::new(),
        messages: vec![
            message(
                "Event",
                vec![
                    field(1, "id", text()),
                    field(2, "time", scalar(P::Int64, S::I64)),
                    field(3, "user", Value::Message(1)),
                    field(4, "text", text()),
                    field(5, "labels", labels),
                    field(6, "items", list(Value::Message(2), false)),
                    field(7, "urgent", scalar(P::Bool, S::Bool)),
                    field(8, "kind", scalar(P::Enum, S::Enum)),
                    field(9, "related", list(scalar(P::Int64, S::I64), true)),
                    field(10, "score", scalar(P::Double, S::Double)),
                ],
            ),
            message(
                "User",
                vec![
                    field(1, "id", scalar(P::Int64, S::I64)),
                    field(2, "name", text()),
                    mail,
                ],
            ),
            message(
                "Item",
                vec![
                    field(1, "id", scalar(P::Int32, S::I32)),
                    field(2, "name", text()),
                    field(3, "price", scalar(P::Double, S::Double)),
                    field(4, "tags", list(text(), false)),
                ],
            ),
        ],
    }
}

/// The fields of a message behind each other.
#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn int(mut self, number: u64, value: u64) -> Self {
        self.varint(number << 3);
        self.varint(value);
        self
    }

    fn double(mut self, number: u64, value: f64) -> Self {
        self.varint(number << 3 | 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn bytes(mut self, number: u64, value: impl AsRef<[u8]>) -> Self {
        self.varint(number << 3 | 2);
        self.varint(value.as_ref().len() as u64);
        self.0.extend(value.as_ref());
        self
    }

    fn message(self, number: u64, fields: Fields) -> Self {
        self.bytes(number, fields.0)
    }
}

fn entry(key: &str, value: &str) -> Fields {
    Fields::default().bytes(1, key).bytes(2, value)
}

fn item(id: u64, name: &str, price: f64) -> Fields {
    Fields::default().int(1, id).bytes(2, name).double(3, price)
}

/// A message of about 128 bytes.
fn small() -> Vec<u8> {
    let related = [1, 300].map(|id| Fields::default().int(0, id).0.split_off(1));
    Fields::default()
        .bytes(1, "msg-0001")
        .int(2, 1_764_500_000_123)
        .message(3, Fields::default().int(1, 42).bytes(2, "Ada"))
        .bytes(4, "hello there, how are you?")
        .message(5, entry("lang", "en"))
        .message(6, item(1, "first", 9.5))
        .message(6, item(2, "second", 0.25).bytes(4, "red"))
        .int(7, 1)
        .int(8, 1)
        .bytes(9, related.concat())
        .0
}

/// A message of about 1 KiB.
fn large() -> Vec<u8> {
    let user = Fields::default()
        .int(1, 42_000_000)
        .bytes(2, "Ada Lovelace")
        .bytes(3, "ada@example.com");
    let mut event = Fields::default()
        .bytes(1, "msg-00000000-0000-0001")
        .int(2, 1_764_500_000_123)
        .message(3, user)
        .bytes(4, "The quick brown fox jumps over the lazy dog. ".repeat(4));
    for n in 0..8 {
        event = event.message(5, entry(&format!("label-{n}"), &format!("some value {n}")));
    }
    for n in 0..12 {
        let item = item(n, &format!("item number {n}"), n as f64 + 0.25);
        event = event.message(6, item.bytes(4, "red").bytes(4, "large"));
    }
    let related = [1, 300, 70_000, 123_456_789_012];
    let related = related.map(|id| Fields::default().int(0, id).0.split_off(1));
    event
        .int(7, 1)
        .int(8, 1)
        .bytes(9, related.concat())
        .double(10, 0.75)
        .0
}

fn time(turn: Duration, mut run: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut count = 0u32;
    while start.elapsed() < turn {
        (0..100).for_each(|_| run());
        count += 100;
    }
    start.elapsed().as_nanos() as f64 / f64::from(count)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn measure(
    name: &str,
    descriptor: &MessageDescriptor,
    protobuf: &[u8],
    plan: &Arc<Plan>,
    turn: Duration,
) {
    let new = |toward| Translator::new(plan.clone(), 0, toward, false, 1 << 20);
    let (mut there, mut back) = (new(Direction::ToThrift), new(Direction::ToProtobuf));
    let (mut thrift, mut out) = (Vec::new(), Vec::new());
    there.translate(protobuf, &mut thrift).unwrap();
    let (mut dynamic, mut to_thrift, mut to_protobuf) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5 {
        dynamic.push(time(turn, || {
            let read = DynamicMessage::decode(descriptor.clone(), black_box(protobuf)).unwrap();
            out.clear();
            read.encode(&mut out).unwrap();
        }));
        to_thrift.push(time(turn, || {
            out.clear();
            there.translate(black_box(protobuf), &mut out).unwrap();
        }));
        to_protobuf.push(time(turn, || {
            out.clear();
            back.translate(black_box(&thrift), &mut out).unwrap();
        }));
    }
    let (dynamic, a, b) = (median(dynamic), median(to_thrift), median(to_protobuf));
    println!(
        "{name}: protobuf {} B, thrift {} B; DynamicMessage {dynamic:.0} ns; to thrift {a:.0} ns, \
         {:.1} times faster; to protobuf {b:.0} ns, {:.1} times faster",
        protobuf.len(),
        thrift.len(),
        dynamic / a,
        dynamic / b,
    );
}

fn main() {
    let smoke = std::env::args().any(|argument| argument == "--smoke");
    let turn = Duration::from_millis(if smoke { 1 } else { 200 });
    let file = protox::file::File::from_source("event.proto", PROTO).unwrap();
    let mut pool = DescriptorPool::new();
    pool.add_file_descriptor_proto(file.file_descriptor_proto().clone())
        .unwrap();
    let descriptor = pool.get_message_by_name("Event").unwrap();
    let plan = Arc::new(Plan::new(&pairing(), Options::default()));
    measure("128 B", &descriptor, &small(), &plan, turn);
    measure("1 KiB", &descriptor, &large(), &plan, turn);
}
