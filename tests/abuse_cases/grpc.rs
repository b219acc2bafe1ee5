//! Callers that break HTTP/2 or gRPC. The codes are those of RFC 9113, section 7.

use super::port::noise;
use super::rig::{Rig, Row};
use crate::kit::h2peer::told;
use crate::kit::h2raw::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RESET, Raw,
    SETTINGS, WINDOW, field, frame, message, request,
};

const VIOLATIONS: &str = "ripcord_violations_total";
const PROTOCOL: (&str, &str) = (VIOLATIONS, r#"side="inbound",wire="grpc",kind="protocol""#);
const FLOW: (&str, &str) = (
    VIOLATIONS,
    r#"side="inbound",wire="grpc",kind="flow_control""#,
);
const SIZE: (&str, &str) = (
    VIOLATIONS,
    r#"side="inbound",wire="grpc",kind="frame_size""#,
);
const FLOOD: (&str, &str) = (VIOLATIONS, r#"side="inbound",wire="grpc",kind="flood""#);
const MALFORMED: (&str, &str) = (
    VIOLATIONS,
    r#"side="inbound",wire="grpc",kind="malformed_field""#,
);
const NOT_GRPC: (&str, &str) = (VIOLATIONS, r#"side="inbound",wire="grpc",kind="not_grpc""#);
const MALFORMED_REQUEST: (&str, &str) = (
    VIOLATIONS,
    r#"side="inbound",wire="grpc",kind="malformed_request""#,
);
const NOTHING: (&str, &str) = ("", "");

/// Frames that break the connection, and the code that it then receives.
fn breaks(rig: &Rig, code: u32, bytes: &[u8]) {
    let mut raw = Raw::open(rig.address());
    raw.echo(1);
    raw.send(bytes);
    assert_eq!(raw.goaway(), Some(code));
}

pub(crate) const ROWS: &[Row] = &[
    Row {
        abuse: "random bytes after the preface: FRAME_SIZE_ERROR, closed",
        counted: SIZE,
        act: |rig| breaks(rig, 6, &noise(4096)),
    },
    Row {
        abuse: "a frame of 16 MiB less a byte: FRAME_SIZE_ERROR, closed",
        counted: SIZE,
        act: |rig| breaks(rig, 6, &[0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 3]),
    },
    Row {
        abuse: "PING of 7 bytes: PROTOCOL_ERROR (h2 has no finer code), closed",
        counted: PROTOCOL,
        act: |rig| breaks(rig, 1, &frame(PING, 0, 0, &[0; 7])),
    },
    Row {
        abuse: "SETTINGS of 5 bytes: PROTOCOL_ERROR (h2 has no finer code), closed",
        counted: PROTOCOL,
        act: |rig| breaks(rig, 1, &frame(SETTINGS, 0, 0, &[0; 5])),
    },
    Row {
        abuse: "a stream window of 2^31: PROTOCOL_ERROR (h2 has no finer code), closed",
        counted: PROTOCOL,
        act: |rig| breaks(rig, 1, &frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0])),
    },
    Row {
        abuse: "a connection window over 2^31: FLOW_CONTROL_ERROR, closed",
        counted: FLOW,
        act: |rig| breaks(rig, 3, &frame(WINDOW, 0, 0, &[0x7f, 0xff, 0xff, 0xff])),
    },
    Row {
        abuse: "DATA before HEADERS: PROTOCOL_ERROR, closed",
        counted: PROTOCOL,
        act: |rig| breaks(rig, 1, &frame(DATA, 0, 3, &message(b"early"))),
    },
    Row {
        abuse: "HEADERS on stream 0: PROTOCOL_ERROR, closed",
        counted: PROTOCOL,
        act: |rig| {
            breaks(
                rig,
                1,
                &frame(HEADERS, END_HEADERS, 0, &request("/Storm/Echo")),
            )
        },
    },
    Row {
        abuse: "DATA on stream 0: PROTOCOL_ERROR, closed",
        counted: PROTOCOL,
        act: |rig| breaks(rig, 1, &frame(DATA, 0, 0, &message(b"nobody's"))),
    },
    Row {
        abuse: "HEADERS on a server's stream: PROTOCOL_ERROR, closed",
        counted: PROTOCOL,
        act: |rig| {
            breaks(
                rig,
                1,
                &frame(HEADERS, END_HEADERS, 4, &request("/Storm/Echo")),
            )
        },
    },
    Row {
        abuse: "another frame within a header block: PROTOCOL_ERROR, closed",
        counted: PROTOCOL,
        act: |rig| {
            let half = frame(HEADERS, 0, 3, &request("/Storm/Echo"));
            breaks(rig, 1, &[half, frame(PING, 0, 0, &[0; 8])].concat());
        },
    },
    Row {
        abuse: "HPACK of an index that is not there: PROTOCOL_ERROR (h2 has no finer code), closed",
        counted: PROTOCOL,
        act: |rig| breaks(rig, 1, &frame(HEADERS, END_HEADERS, 3, &[0xff, 0x7f])),
    },
    Row {
        abuse: "a field name with upper case: PROTOCOL_ERROR, closed (h2 knows no stream error here)",
        counted: MALFORMED,
        act: |rig| malformed(rig, "x-Key", "v", "upper case in the name \"x-Key\""),
    },
    Row {
        abuse: "a field name with a blank: the same",
        counted: MALFORMED,
        act: |rig| malformed(rig, "x key", "v", "a blank in the name \"x key\""),
    },
    Row {
        abuse: "a field value with a line feed: the same",
        counted: MALFORMED,
        act: |rig| {
            malformed(
                rig,
                "x-key",
                "a\nb",
                "a line feed in the value of \"x-key\"",
            )
        },
    },
    Row {
        abuse: "CONTINUATION without end: ENHANCE_YOUR_CALM, closed",
        counted: FLOOD,
        act: |rig| {
            let block: Vec<u8> = (0..100).flat_map(|_| field("a", "b")).collect();
            let mut bytes = frame(HEADERS, 0, 3, &request("/Storm/Echo"));
            for _ in 0..1_000 {
                bytes.extend(frame(CONTINUATION, 0, 3, &block));
            }
            breaks(rig, 11, &bytes);
        },
    },
    Row {
        abuse: "a frame cut by the end of the connection: closed; not counted, connections die so",
        counted: NOTHING,
        act: |rig| {
            let mut raw = Raw::open(rig.address());
            raw.echo(1);
            raw.send(&frame(HEADERS, END_HEADERS, 3, &request("/Storm/Echo"))[..20]);
            raw.shut();
            while raw.next().is_some() {}
        },
    },
    Row {
        abuse: "no `te`: carried, as grpc-go does",
        counted: ("ripcord_streams_total", r#"inbound="grpc""#),
        act: |rig| {
            let mut raw = Raw::open(rig.address());
            let block = request("/Storm/Echo");
            let te = field("te", "trailers").len();
            raw.frame(HEADERS, END_HEADERS, 1, &block[..block.len() - te]);
            raw.frame(DATA, END_STREAM, 1, &message(b"hello"));
            raw.wait(DATA, 1);
            raw.echo(3);
        },
    },
    Row {
        abuse: "`te` that is not trailers: RST_STREAM(PROTOCOL_ERROR); lives; h2 says so",
        counted: MALFORMED_REQUEST,
        act: |rig| {
            let mut raw = Raw::open(rig.address());
            let mut block = request("/Storm/Echo");
            block.truncate(block.len() - field("te", "trailers").len());
            block.extend(field("te", "gzip"));
            raw.frame(HEADERS, END_HEADERS, 1, &block);
            assert_eq!(raw.reset(1), 1);
            raw.echo(3);
        },
    },
    Row {
        abuse: "a foreign content type: 415, with a text; the connection lives",
        counted: NOT_GRPC,
        act: |rig| {
            let mut block = vec![0x83, 0x86];
            block.extend(field(":path", "/Storm/Echo"));
            block.extend(field(":authority", "ripcord"));
            block.extend(field("content-type", "text/html"));
            block.extend(field("te", "trailers"));
            explained(
                rig,
                &block,
                "The content-type of this request is not application/grpc.",
            );
            let html = [("content-type", "text/html")];
            assert_eq!(told(rig.address(), "Storm", &html), (415, -1));
        },
    },
    Row {
        abuse: "GET: 405, with a text; the connection lives",
        counted: NOT_GRPC,
        act: |rig| {
            // :method GET of the static table.
            let mut block = vec![0x82, 0x86];
            block.extend(field(":path", "/"));
            block.extend(field(":authority", "ripcord"));
            explained(rig, &block, "The method of this request is not POST.");
        },
    },
    Row {
        abuse: "GET from a caller without room for a text: 405 alone; the connection lives",
        counted: NOT_GRPC,
        act: |rig| {
            let mut raw = Raw::connect(rig.address());
            raw.send(PREFACE);
            // SETTINGS_INITIAL_WINDOW_SIZE is 0.
            raw.frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
            let mut block = vec![0x82, 0x86];
            block.extend(field(":path", "/"));
            block.extend(field(":authority", "ripcord"));
            raw.frame(HEADERS, END_HEADERS | END_STREAM, 1, &block);
            assert_eq!(raw.wait(HEADERS, 1).flags & END_STREAM, 0);
            let end = raw.wait(DATA, 1);
            assert_eq!((end.flags & END_STREAM, end.payload.len()), (1, 0));
            raw.frame(PING, 0, 0, &[7; 8]);
            assert_eq!(raw.wait(PING, 0).payload, [7; 8]);
        },
    },
    Row {
        abuse: "metadata over the limit: RESOURCE_EXHAUSTED; the connection lives",
        counted: ("ripcord_stream_errors_total", r#"error_type="over_limit""#),
        act: |rig| {
            let mut block = request("/Storm/Echo");
            for _ in 0..60 {
                block.extend(field("x-long", &"v".repeat(100)));
            }
            answered(rig, &block);
            let long = "v".repeat(6_000);
            assert_eq!(told(rig.address(), "Storm", &[("x-long", &long)]), (200, 8));
            let lines = rig
                .hop
                .process
                .lines("access lines", 2, |line| line["error_type"] == "over_limit");
            assert!(
                lines.iter().all(|line| line["grpc_status"] == 8),
                "{lines:?}"
            );
        },
    },
    Row {
        abuse: "HEADERS twice: RST_STREAM(PROTOCOL_ERROR); the connection lives",
        counted: ("ripcord_cancels_total", ""),
        act: |rig| {
            let mut raw = Raw::open(rig.address());
            raw.headers(1, "Storm");
            raw.frame(DATA, 0, 1, &message(b"first"));
            raw.wait(DATA, 1);
            raw.headers(1, "Storm");
            assert_eq!(raw.reset(1), 1);
            raw.echo(3);
        },
    },
    Row {
        abuse: "DATA on a finished stream: RST_STREAM(STREAM_CLOSED); lives; h2 counts it, not told",
        counted: NOTHING,
        act: |rig| {
            let mut raw = Raw::open(rig.address());
            raw.echo(1);
            raw.frame(DATA, END_STREAM, 1, &message(b"late"));
            assert_eq!(raw.reset(1), 5);
            raw.echo(3);
        },
    },
    Row {
        abuse: "20,000 DATA on a finished stream: one RST_STREAM, the rest dropped; lives; not counted",
        counted: NOTHING,
        act: |rig| {
            let mut raw = Raw::open(rig.address());
            raw.echo(1);
            raw.frame(DATA, END_STREAM, 1, &message(b"late"));
            assert_eq!(raw.reset(1), 5);
            let late = frame(DATA, 0, 1, &message(b"late"));
            (0..20).for_each(|_| raw.send(&late.repeat(1_000)));
            raw.headers(3, "Storm");
            raw.frame(DATA, END_STREAM, 3, &message(b"still here"));
            // `h2` forgot the stream, and remembers it since it reset it.
            while let frame = raw.next().expect("the connection ended")
                && (frame.kind, frame.stream) != (DATA, 3)
            {
                assert!(frame.kind != RESET && frame.kind != GOAWAY, "{frame:?}");
            }
        },
    },
    Row {
        abuse: "DATA on each of 300 finished streams: ENHANCE_YOUR_CALM, closed",
        counted: FLOOD,
        act: |rig| {
            // `remembered` of net/http2: 200 with the limits of the rig.
            let streams = (1..601).step_by(2);
            let mut raw = Raw::open(rig.address());
            streams.clone().for_each(|stream| raw.echo(stream));
            for stream in streams {
                raw.frame(DATA, END_STREAM, stream, &message(b"late"));
            }
            assert_eq!(raw.goaway(), Some(11));
        },
    },
    Row {
        abuse: "`te` that is not trailers, again and again: ENHANCE_YOUR_CALM, closed",
        counted: FLOOD,
        act: |rig| {
            let mut block = request("/Storm/Echo");
            block.truncate(block.len() - field("te", "trailers").len());
            block.extend(field("te", "gzip"));
            let stream = |n: u32| frame(HEADERS, END_HEADERS, 3 + 2 * n, &block);
            breaks(rig, 11, &(0..300).flat_map(stream).collect::<Vec<_>>());
        },
    },
    Row {
        abuse: "an HPACK bomb: ENHANCE_YOUR_CALM, closed",
        counted: FLOOD,
        act: |rig| {
            // An entry of 100 bytes is added to the table (RFC 7541, 6.2.1), then referred to by
            // one byte each.
            let mut block = request("/Storm/Echo");
            block.extend([0x40, 1, b'x', 100]);
            block.extend([b'v'; 100]);
            block.extend([0x80 | 62; 10_000]);
            breaks(rig, 11, &frame(HEADERS, END_HEADERS, 3, &block));
        },
    },
];

pub(crate) const FLOODS: &[Row] = &[
    Row {
        abuse: "rapid resets: ENHANCE_YOUR_CALM, closed; the log names caller, listener and setting",
        counted: (VIOLATIONS, r#"side="inbound",wire="grpc",kind="resets""#),
        act: |rig| {
            let mut bytes = Vec::new();
            for stream in (3..6_000).step_by(2) {
                bytes.extend(frame(HEADERS, END_HEADERS, stream, &request("/Storm/Echo")));
                bytes.extend(frame(RESET, 0, stream, &8_u32.to_be_bytes()));
            }
            let mut raw = Raw::open(rig.address());
            raw.echo(1);
            raw.send(&bytes);
            assert_eq!(raw.goaway(), Some(11));
            blamed(
                rig,
                &raw,
                "the caller reset more than 100 streams before they were looked at (limits.max_resets)",
            );
        },
    },
    Row {
        abuse: "100 empty DATA frames are dropped; the 101st: ENHANCE_YOUR_CALM, closed; the log says so",
        counted: (
            VIOLATIONS,
            r#"side="inbound",wire="grpc",kind="empty_frames""#,
        ),
        act: |rig| {
            let mut raw = Raw::open(rig.address());
            raw.headers(1, "Storm");
            raw.send(&frame(DATA, 0, 1, &[]).repeat(100));
            raw.echo(3);
            raw.frame(DATA, 0, 1, &[]);
            assert_eq!(raw.goaway(), Some(11));
            let text = "the caller sent its 101st empty DATA frame that does not end a stream";
            blamed(rig, &raw, text);
        },
    },
    Row {
        abuse: "20,000 PINGs, answers unread: answered when read, the connection lives; not counted",
        counted: NOTHING,
        act: |rig| flood(rig, &frame(PING, 0, 0, &[1; 8]), (PING, 1)),
    },
    Row {
        abuse: "20,000 SETTINGS, answers unread: answered, the connection lives; not counted",
        counted: NOTHING,
        act: |rig| flood(rig, &frame(SETTINGS, 0, 0, &[]), (SETTINGS, 1)),
    },
    Row {
        abuse: "50,000 tiny DATA on a stalled stream: held within its window; the connection lives",
        counted: ("ripcord_cancels_total", ""),
        act: |rig| {
            // The first stream's answer shows that the connection's window is open.
            let mut raw = Raw::open(rig.address());
            raw.echo(1);
            raw.headers(3, "Stall");
            let tiny = frame(DATA, 0, 3, &message(b""));
            for _ in 0..50 {
                raw.send(&tiny.repeat(1_000));
            }
            raw.echo(5);
            raw.frame(RESET, 0, 3, &8_u32.to_be_bytes());
            raw.echo(7);
        },
    },
    Row {
        abuse: "DATA beyond the stream's window: RST_STREAM(FLOW_CONTROL_ERROR), the connection lives",
        counted: ("ripcord_cancels_total", ""),
        act: |rig| {
            let mut raw = Raw::open(rig.address());
            raw.echo(1);
            raw.headers(3, "Stall");
            for _ in 0..80 {
                raw.frame(DATA, 0, 3, &message(&[0; 8 * 1024]));
            }
            assert_eq!(raw.reset(3), 3);
            raw.echo(5);
        },
    },
];

/// The log says who lost its connection, where, and why.
fn blamed(rig: &Rig, raw: &Raw, reason: &str) {
    let caller = raw.0.local_addr().unwrap().to_string();
    let line = rig
        .hop
        .process
        .line(reason, |line| line["reason"] == *reason);
    assert_eq!(line["level"], "WARN", "{line}");
    assert_eq!(line["peer"], *caller, "{line}");
    assert_eq!(line["listener"], "in", "{line}");
}

/// A request whose head has that field ends the connection, and the log names the field.
fn malformed(rig: &Rig, name: &str, value: &str, what: &str) {
    let mut raw = Raw::open(rig.address());
    raw.echo(1);
    let mut block = request("/Storm/Echo");
    block.extend(field(name, value));
    raw.frame(HEADERS, END_HEADERS, 3, &block);
    assert_eq!(raw.goaway(), Some(1));
    let reason = format!("the caller sent a malformed field on stream 3: {what}");
    blamed(rig, &raw, &reason);
}

/// The stream is answered with its end, and the next one is carried.
fn answered(rig: &Rig, block: &[u8]) {
    let mut raw = Raw::open(rig.address());
    raw.frame(HEADERS, END_HEADERS, 1, block);
    let answer = raw.wait(HEADERS, 1);
    assert_ne!(answer.flags & END_STREAM, 0, "{answer:?}");
    raw.echo(3);
}

/// The answer has this text, and the connection lives.
fn explained(rig: &Rig, block: &[u8], why: &str) {
    let mut raw = Raw::open(rig.address());
    raw.frame(HEADERS, END_HEADERS | END_STREAM, 1, block);
    assert_eq!(raw.wait(HEADERS, 1).flags & END_STREAM, 0);
    let body = raw.wait(DATA, 1);
    assert_ne!(body.flags & END_STREAM, 0, "{body:?}");
    let text = String::from_utf8(body.payload).unwrap();
    assert!(
        text.starts_with("This is ripcord") && text.contains(why),
        "{text}"
    );
    raw.echo(3);
}

/// Many of one frame; afterwards each has its answer, and a stream is carried.
fn flood(rig: &Rig, one: &[u8], answer: (u8, u8)) {
    const TIMES: usize = 20_000;
    let mut raw = Raw::open(rig.address());
    raw.echo(1);
    for _ in 0..TIMES / 1_000 {
        raw.send(&one.repeat(1_000));
    }
    let mut answers = 0;
    while answers < TIMES {
        let frame = raw.next().expect("the connection ended");
        answers += usize::from((frame.kind, frame.flags) == answer);
    }
    raw.echo(3);
}
