//! Messages of `config/idl` in both forms, written by hand: what a translation has to make is not
//! taken from its own code.

use std::path::PathBuf;

use bytes::Bytes;

use crate::kit::spec::Spec;

/// The folder of the IDL files.
pub(crate) fn idl() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/config/idl"))
}

/// With the schema `chat`; `more` are more of its keys (`, key: value`).
pub(crate) fn with_schema(spec: Spec, more: &str) -> Spec {
    let folder = idl();
    let folder = folder.display();
    spec.set(&format!(
        "schemas: {{ chat: {{ protobuf: {{ files: [\"{folder}/chat.proto\"] }}, \
         thrift: {{ files: [\"{folder}/chat.thrift\"] }}{more} }} }}"
    ))
}

/// A `Line` with a text, a number, a tag, a vote and an author.
pub(crate) struct Line {
    pub(crate) text: &'static str,
    pub(crate) seq: i64,
}

impl Line {
    pub(crate) fn protobuf(&self) -> Bytes {
        let mut out = Vec::new();
        let text = self.text.as_bytes();
        out.extend([0x0a, text.len() as u8]);
        out.extend(text);
        if self.seq != 0 {
            out.push(0x10);
            varint(&mut out, self.seq as u64);
        }
        out.extend(b"\x1a\x02t1\x22\x05\x0a\x01k\x10\x07\x2a\x04\x0a\x02me");
        out.into()
    }

    pub(crate) fn thrift(&self) -> Bytes {
        let mut out = vec![11, 0, 1];
        string(&mut out, self.text);
        out.extend([8, 0, 2]);
        out.extend((self.seq as i32).to_be_bytes());
        out.extend([15, 0, 3, 11, 0, 0, 0, 1]);
        string(&mut out, "t1");
        out.extend([13, 0, 4, 11, 8, 0, 0, 0, 1]);
        string(&mut out, "k");
        out.extend(7_i32.to_be_bytes());
        out.extend([12, 0, 5, 11, 0, 1]);
        string(&mut out, "me");
        out.extend([0, 0]);
        out.into()
    }
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u32).to_be_bytes());
    out.extend(text.as_bytes());
}

fn varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// A `Room` with a name, in thrift.
pub(crate) fn room() -> Bytes {
    let mut out = vec![11, 0, 1];
    string(&mut out, "r");
    out.push(0);
    out.into()
}
