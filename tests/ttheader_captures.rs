//! What real Kitex peers put on the wire (`tests/data/captures`), against this crate's codec. Every
//! frame decodes to what the capture says, and encodes to the same bytes again.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use ripcord::stream::MessageBatch;
use ripcord::wire::ttheader::frame::{Decoder, Event, Frame, FrameLimits};
use ripcord::wire::ttheader::header::{self, Fixed, Info, META, Prelude};
use ripcord::wire::ttheader::pingpong;
use serde_json::Value;

const LIMITS: FrameLimits = FrameLimits {
    header: 1 << 16,
    message: 1 << 26,
    control: 1 << 20,
};

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn frames() -> Vec<(String, Value)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/captures");
    let mut paths: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let mut frames = Vec::new();
    for path in paths {
        for (n, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            let line: Value = serde_json::from_str(line).unwrap();
            if line.get("hex").is_some() {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                frames.push((format!("{name}:{}", n + 1), line));
            }
        }
    }
    assert!(frames.len() > 500, "only {} frames", frames.len());
    frames
}

/// The frame's bytes; what the capture left out of a long payload is zeros.
fn bytes(line: &Value) -> BytesMut {
    let mut bytes = BytesMut::from(&hex(line["hex"].as_str().unwrap())[..]);
    let cut = line["hex_cut"].as_u64().unwrap_or(0) as usize;
    bytes.resize(bytes.len() + cut, 0);
    bytes
}

fn map(value: &Value) -> BTreeMap<String, String> {
    let entries = value.as_object().into_iter().flatten();
    entries
        .map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned()))
        .collect()
}

fn assert_info(place: &str, info: &Info, line: &Value) {
    let text = |b: &Bytes| match std::str::from_utf8(b) {
        Ok(text) => text.to_owned(),
        Err(_) => format!(
            "latin1:{}",
            b.iter().map(|c| char::from(*c)).collect::<String>()
        ),
    };
    let strings: BTreeMap<_, _> = info
        .strings
        .iter()
        .map(|(k, v)| (text(k), text(v)))
        .collect();
    assert_eq!(strings, map(&line["str"]), "{place}");
    let ints: BTreeMap<_, _> = info
        .ints
        .iter()
        .map(|(k, v)| (k.to_string(), text(v)))
        .collect();
    let expected: BTreeMap<_, _> = map(&line["int"])
        .into_iter()
        .map(|(k, v)| (k.split(' ').next().unwrap().to_owned(), v))
        .collect();
    assert_eq!(ints, expected, "{place}");
}

#[test]
fn every_captured_frame_decodes_and_encodes_to_itself() {
    for (place, line) in frames() {
        let wire = bytes(&line);
        let fixed = Fixed::parse(wire.first_chunk().unwrap()).unwrap();
        assert_eq!(fixed.total(), wire.len(), "{place}");
        assert_eq!(
            i64::from(fixed.seq),
            line["id"].as_i64().unwrap(),
            "{place}"
        );
        let block = Bytes::copy_from_slice(&wire[META..META + fixed.block]);
        let (protocol, info) = header::decode(&block).unwrap();
        assert_info(&place, &info, &line);
        let prelude = Prelude {
            flags: fixed.flags,
            seq: fixed.seq,
            protocol,
        };
        let mut again = BytesMut::new();
        header::encode(&mut again, prelude, &info, fixed.payload).unwrap();
        assert_eq!(again, wire[..META + fixed.block], "{place}");
    }
}

#[test]
fn every_captured_stream_frame_is_found_by_the_decoder() {
    for (place, line) in frames() {
        let wire = bytes(&line);
        let kind = line["frame"].as_str().unwrap();
        if kind == "PingPong" {
            assert_eq!(
                (
                    ripcord::wire::ttheader::adapter::speaks(&wire),
                    pingpong::speaks(&wire)
                ),
                (false, true),
                "{place}"
            );
            let request = pingpong::parse(&wire).unwrap().unwrap();
            if line["dir"] == ">" {
                assert_eq!(request.head.method, "Ping", "{place}");
                assert_eq!(request.head.service, "Interop", "{place}");
            }
            continue;
        }
        assert_eq!(
            (
                ripcord::wire::ttheader::adapter::speaks(&wire),
                pingpong::speaks(&wire)
            ),
            (true, false),
            "{place}"
        );
        let payload_len = line["payload_len"].as_u64().unwrap() as usize;
        let mut decoder = Decoder::new(LIMITS, wire);
        let event = decoder.next_event().unwrap().unwrap();
        let (found, id, len) = match event {
            Event::Frame(Frame {
                kind,
                stream_id,
                info,
                payload,
                ..
            }) => {
                assert_info(&place, &info, &line);
                (kind, stream_id, payload.len())
            }
            Event::Data { stream_id, len } => {
                let mut run = MessageBatch::new();
                decoder.take_data(&mut run);
                assert_eq!(run.len(), len + 5, "{place}");
                (ripcord::wire::ttheader::frame::Kind::Data, stream_id, len)
            }
            other => panic!("{place}: {other:?}"),
        };
        assert_eq!(format!("{found:?}"), kind, "{place}");
        assert_eq!(i64::from(id), line["id"].as_i64().unwrap(), "{place}");
        assert_eq!(len, payload_len, "{place}");
        assert_eq!(decoder.next_event(), Ok(None), "{place}");
    }
}
