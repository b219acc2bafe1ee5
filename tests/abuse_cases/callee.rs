//! Callees that break their protocol. A row opens one stream by its route, and checks what its
//! caller receives.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use ripcord::wire::ttheader::frame::Kind;

use super::port::noise;
use super::rig::{NODE, Rig, Row};
use crate::kit::h2peer::told;
use crate::kit::h2raw::{
    DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RESET, Raw, SETTINGS, field,
    frame,
};
use crate::kit::spec::Table;
use crate::kit::tt::{Connection, message, said};

/// What a callee does with a connection.
pub(crate) type Behave = fn(TcpStream);

/// A bad callee: its service, the keys of its backend, more keys of its route (`, key: value`), and
/// what it does with each connection.
pub(crate) type Bad = (&'static str, &'static str, &'static str, Behave);

pub(crate) const CALLEES: &[Bad] = &[
    ("GrpcNoise", "protocol: grpc", "", |socket| {
        say(socket, &noise(4096))
    }),
    ("GrpcWindow", "protocol: grpc", "", |socket| {
        say(socket, &frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]));
    }),
    ("GrpcPings", "protocol: grpc", "", pings),
    ("GrpcUpperHead", "protocol: grpc", "", |socket| {
        malformed(socket, HEAD)
    }),
    ("GrpcUpperEnd", "protocol: grpc", "", |socket| {
        malformed(socket, END)
    }),
    ("GrpcEmpty", "protocol: grpc", "", empty),
    ("TtNoise", "protocol: ttheader", "", |socket| {
        say(socket, &noise(4096))
    }),
    ("TtTwice", "protocol: ttheader", "", |socket| {
        twice(socket, 0)
    }),
    ("TtTwiceLate", "protocol: ttheader", "", |socket| {
        twice(socket, 1)
    }),
    ("TtLength", "protocol: ttheader", "", |socket| {
        say(
            socket,
            &[0xff, 0xff, 0xff, 0xff, 0x10, 0, 0, 2, 0, 0, 0, 1, 0, 1],
        );
    }),
];

/// Starts them: their backends and routes.
pub(crate) fn table(callees: &[Bad]) -> Table {
    let mut table = Table::new();
    for &(name, backend, route, behave) in callees {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        std::thread::spawn(move || {
            for connection in socket.incoming().map_while(Result::ok) {
                std::thread::spawn(move || behave(connection));
            }
        });
        let route = format!("match: {{ service: {name} }}, backend: {name}{route}");
        table = table.backend(name, backend, address).route(name, &route);
    }
    table
}

/// Waits for the stream, sends the bytes, and reads until the other side has closed.
pub(crate) fn say(mut socket: TcpStream, bytes: &[u8]) {
    let mut first = [0; 64];
    let _ = socket.read(&mut first);
    let _ = socket.write_all(bytes);
    while socket.read(&mut first).is_ok_and(|n| n > 0) {}
}

/// Floods PINGs, unread, and then serves the stream. A reset shows that everything was read.
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
    // RST_STREAM(INTERNAL_ERROR): the stream lived until now.
    raw.frame(RESET, 0, 1, &2_u32.to_be_bytes());
    while raw.next().is_some() {}
}

/// Where a callee puts a malformed field.
type Place = bool;
const HEAD: Place = true;
const END: Place = false;

/// Waits for two streams. Answers the second one with a field name in upper case.
fn malformed(socket: TcpStream, place: Place) {
    let mut raw = Raw::new(socket);
    raw.send(&frame(SETTINGS, 0, 0, &[]));
    raw.skip(PREFACE.len());
    raw.wait(HEADERS, 1);
    raw.wait(HEADERS, 3);
    let head = [
        &[0x88][..],
        &field("content-type", "application/grpc+thrift"),
    ]
    .concat();
    let bad = field("x-Key", "a");
    if place == HEAD {
        raw.frame(HEADERS, END_HEADERS, 3, &[head, bad].concat());
    } else {
        raw.frame(HEADERS, END_HEADERS, 3, &head);
        let end = [field("grpc-status", "0"), bad].concat();
        raw.frame(HEADERS, END_HEADERS | END_STREAM, 3, &end);
    }
    while raw.next().is_some() {}
}

/// Of two streams, which share the callee's connection, one has a malformed answer. That one is
/// INTERNAL, which nobody retries. The other one is UNAVAILABLE.
fn one_of_two(rig: &Rig, service: &'static str) {
    let address = rig.address();
    let ask = || std::thread::spawn(move || told(address, service, &[]));
    let [one, other] = [ask(), ask()].map(|asking| asking.join().unwrap());
    let mut statuses = [one.1, other.1];
    statuses.sort_unstable();
    assert_eq!(statuses, [INTERNAL, UNAVAILABLE], "{service}");
    let reason = "the callee sent a malformed field on stream 3: upper case in the name \"x-Key\"";
    let line = rig.hop.process.line(service, |line| {
        line["backend"] == *service && line["reason"] == *reason
    });
    assert_eq!(line["level"], "WARN", "{line}");
}

/// Answers the stream's head, and then with empty DATA frames.
fn empty(socket: TcpStream) {
    let mut raw = Raw::new(socket);
    raw.send(&frame(SETTINGS, 0, 0, &[]));
    raw.skip(PREFACE.len());
    raw.wait(HEADERS, 1);
    let head = [
        &[0x88][..],
        &field("content-type", "application/grpc+thrift"),
    ]
    .concat();
    raw.frame(HEADERS, END_HEADERS, 1, &head);
    raw.send(&frame(DATA, 0, 1, &[]).repeat(101));
    while raw.next().is_some() {}
}

/// Answers the first stream with its Header, so many messages, and its Header again. When the right
/// Rst has ended that stream, answers the next one as it should.
fn twice(socket: TcpStream, messages: usize) {
    let wire = Connection::new(socket);
    if wire.was_probe() {
        return;
    }
    let stream = wire.stream(0);
    stream.send(Kind::Header, &[], Bytes::new());
    (0..messages).for_each(|_| stream.send(Kind::Data, &[], message(b"first")));
    stream.send(Kind::Header, &[], Bytes::new());
    let (rst, path) = said(&stream.nth(Kind::Rst, 0));
    assert_eq!((rst.type_id, path.as_str()), (UNEXPECTED_HEADER, NODE));
    serve(&wire, 1);
}

/// Ends a wire's `n`th stream with success.
pub(crate) fn serve(wire: &Connection, n: usize) {
    let stream = wire.stream(n);
    stream.send(Kind::Header, &[], Bytes::new());
    stream.send(Kind::Trailer, &[], Bytes::new());
    until_closed(wire);
}

/// A callee closes nothing of its own.
pub(crate) fn until_closed(wire: &Connection) {
    while !wire.is_closed() {
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A stream to that callee, and the gRPC status that its caller must receive.
pub(crate) fn call(rig: &Rig, service: &str, status: i32) {
    assert_eq!(
        told(rig.address(), service, &[]),
        (200, status),
        "{service}"
    );
}

/// Kitex' code for a Header that must not come. The callee receives it.
const UNEXPECTED_HEADER: i32 = 12002;

pub(crate) const OK: i32 = 0;
const INTERNAL: i32 = 13;
pub(crate) const UNAVAILABLE: i32 = 14;

const VIOLATIONS: &str = "ripcord_violations_total";

const MALFORMED: (&str, &str) = (
    VIOLATIONS,
    r#"side="outbound",wire="grpc",kind="malformed_field""#,
);

pub(crate) const ROWS: &[Row] = &[
    Row {
        abuse: "a gRPC callee says random bytes: UNAVAILABLE",
        counted: (
            VIOLATIONS,
            r#"side="outbound",wire="grpc",kind="frame_size""#,
        ),
        act: |rig| call(rig, "GrpcNoise", UNAVAILABLE),
    },
    Row {
        abuse: "a gRPC callee sets a window of 2^31: UNAVAILABLE",
        counted: (VIOLATIONS, r#"side="outbound",wire="grpc",kind="protocol""#),
        act: |rig| call(rig, "GrpcWindow", UNAVAILABLE),
    },
    Row {
        abuse: "a gRPC callee floods PINGs: answered, and its stream lives until it resets it: INTERNAL",
        counted: ("ripcord_streams_total", r#"route="GrpcPings""#),
        act: |rig| call(rig, "GrpcPings", INTERNAL),
    },
    Row {
        abuse: "a gRPC callee's head has a malformed field: INTERNAL; UNAVAILABLE beside it; named",
        counted: MALFORMED,
        act: |rig| one_of_two(rig, "GrpcUpperHead"),
    },
    Row {
        abuse: "a gRPC callee's trailers have a malformed field: the same",
        counted: MALFORMED,
        act: |rig| one_of_two(rig, "GrpcUpperEnd"),
    },
    Row {
        abuse: "a gRPC callee sends 101 empty DATA frames: UNAVAILABLE; the log says so",
        counted: (
            VIOLATIONS,
            r#"side="outbound",wire="grpc",kind="empty_frames""#,
        ),
        act: |rig| call(rig, "GrpcEmpty", UNAVAILABLE),
    },
    Row {
        abuse: "a TTHeader callee says random bytes: INTERNAL",
        counted: ("ripcord_ttheader_events_total", r#"event="lost_framing""#),
        act: |rig| call(rig, "TtNoise", INTERNAL),
    },
    Row {
        abuse: "a TTHeader callee says the greatest length: INTERNAL",
        counted: ("ripcord_ttheader_events_total", r#"event="lost_framing""#),
        act: |rig| call(rig, "TtLength", INTERNAL),
    },
    Row {
        abuse: "a TTHeader callee says its Header twice: Rst 12002, INTERNAL; the connection lives",
        counted: ("ripcord_ttheader_events_total", r#"event="bad_frames""#),
        act: |rig| {
            call(rig, "TtTwice", INTERNAL);
            call(rig, "TtTwice", OK);
        },
    },
    Row {
        abuse: "a TTHeader callee says its Header again after a message: the same",
        counted: ("ripcord_ttheader_events_total", r#"event="bad_frames""#),
        act: |rig| {
            call(rig, "TtTwiceLate", INTERNAL);
            call(rig, "TtTwiceLate", OK);
        },
    },
];
