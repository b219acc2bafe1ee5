//! Callees that break their protocol. A row opens one stream by its route; what its caller hears is
//! held with the crate's own gRPC halves, so that the end is read as a ripcord reads it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use super::h2raw::{GOAWAY, PING, PREFACE, Raw, SETTINGS, frame, message};
use super::port::noise;
use super::rig::{Rig, Row};
use crate::support::h2peer::H2Caller;

/// What a callee does with a connection.
type Behave = fn(TcpStream);

/// What a bad callee does with each connection, by the name of its service.
const CALLEES: &[(&str, &str, Behave)] = &[
    ("GrpcNoise", "grpc", |socket| say(socket, &noise(4096))),
    ("GrpcHttp1", "grpc", |socket| {
        say(
            socket,
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
        );
    }),
    ("GrpcWindow", "grpc", |socket| {
        say(socket, &frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]));
    }),
    ("GrpcPings", "grpc", pings),
    ("TtNoise", "ttheader", |socket| say(socket, &noise(4096))),
    ("TtLength", "ttheader", |socket| {
        say(
            socket,
            &[0xff, 0xff, 0xff, 0xff, 0x10, 0, 0, 2, 0, 0, 0, 1, 0, 1],
        );
    }),
];

/// Starts them: their backends and routes.
pub(crate) fn table() -> (String, String) {
    let (mut backends, mut routes) = (String::new(), String::new());
    for (name, protocol, behave) in CALLEES {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        std::thread::spawn(move || {
            for connection in socket.incoming().map_while(Result::ok) {
                std::thread::spawn(move || behave(connection));
            }
        });
        backends += &format!("  {name}: {{ protocol: {protocol}, endpoints: [\"{address}\"] }}\n");
        routes +=
            &format!("  - {{ name: {name}, match: {{ service: {name} }}, backend: {name} }}\n");
    }
    (backends, routes)
}

/// Waits for the stream, says the bytes, and reads until the other side has closed.
fn say(mut socket: TcpStream, bytes: &[u8]) {
    let mut first = [0; 64];
    let _ = socket.read(&mut first);
    let _ = socket.write_all(bytes);
    while socket.read(&mut first).is_ok_and(|n| n > 0) {}
}

/// Floods PINGs, unread, and then serves the stream: a reset says that all was heard.
fn pings(socket: TcpStream) {
    let mut raw = Raw::new(socket);
    raw.send(&frame(SETTINGS, 0, 0, &[]));
    for _ in 0..20 {
        raw.send(&frame(PING, 0, 0, &[1; 8]).repeat(1_000));
    }
    raw.skip(PREFACE.len());
    let mut answers = 0;
    while answers < 20_000 {
        let Some(frame) = raw.next() else { return };
        assert_ne!(frame.kind, GOAWAY);
        answers += usize::from((frame.kind, frame.flags) == (PING, 1));
    }
    // :status 200 of the static table, and REFUSED_STREAM is never sent by ripcord's own ends.
    raw.frame(3, 0, 1, &2_u32.to_be_bytes());
    while raw.next().is_some() {}
}

/// A stream to that callee, which must end.
fn call(rig: &Rig, service: &str) {
    let label = format!("route=\"{service}\"");
    let before = rig.metric("ripcord_streams_total", &label);
    let caller = H2Caller::connect(&rig.hop.address);
    caller.open(&format!("/{service}/Echo"), http::HeaderMap::new());
    caller.send(message(b"hello").into());
    rig.wait("the stream does not end", || {
        rig.metric("ripcord_streams_total", &label) > before
    });
}

const VIOLATIONS: &str = "ripcord_violations_total";

pub(crate) const ROWS: &[Row] = &[
    Row {
        abuse: "a gRPC callee says random bytes: UNAVAILABLE or INTERNAL, its connection is closed",
        counted: (
            VIOLATIONS,
            r#"side="outbound",wire="grpc",kind="frame_size""#,
        ),
        act: |rig| call(rig, "GrpcNoise"),
    },
    Row {
        abuse: "a gRPC callee speaks HTTP/1: its connection is closed",
        counted: (
            VIOLATIONS,
            r#"side="outbound",wire="grpc",kind="frame_size""#,
        ),
        act: |rig| call(rig, "GrpcHttp1"),
    },
    Row {
        abuse: "a gRPC callee sets a window of 2^31: its connection is closed",
        counted: (VIOLATIONS, r#"side="outbound",wire="grpc",kind="protocol""#),
        act: |rig| call(rig, "GrpcWindow"),
    },
    Row {
        abuse: "a gRPC callee floods PINGs: answered, and its stream lives until it ends it",
        counted: ("ripcord_streams_total", r#"route="GrpcPings""#),
        act: |rig| call(rig, "GrpcPings"),
    },
    Row {
        abuse: "a TTHeader callee says random bytes: INTERNAL, its connection is closed",
        counted: ("ripcord_ttheader_events_total", r#"event="lost_framing""#),
        act: |rig| call(rig, "TtNoise"),
    },
    Row {
        abuse: "a TTHeader callee says the greatest length: INTERNAL, its connection is closed",
        counted: ("ripcord_ttheader_events_total", r#"event="lost_framing""#),
        act: |rig| call(rig, "TtLength"),
    },
];
