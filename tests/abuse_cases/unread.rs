//! Peers that read nothing while an end or a cancel waits for them. After `cancel_grace` their
//! connection is closed, and counted. The route's deadline ends the streams, with more bytes on the
//! way to the peer than sockets can hold. And a peer that takes half a message when its stream ends.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Condvar, Mutex};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use ripcord::wire::ttheader::frame::{Frame, Kind};
use ripcord::wire::ttheader::header::PROTOCOL_THRIFT_STRUCT;
use ripcord::wire::ttheader::keys;

use super::callee::{self, Bad, until_closed};
use super::rig::{Rig, Row};
use crate::kit::Wire;
use crate::kit::h2raw::{DATA, END_STREAM, GOAWAY, HEADERS, PREFACE, Raw, SETTINGS, WINDOW};
use crate::kit::process::LIMIT;
use crate::kit::tt::{self, message, said};

const DEADLINE: &str = ", timeouts: { stream: 2s }";

const CALLEES: &[Bad] = &[
    ("TtFloods", "protocol: ttheader", DEADLINE, floods),
    ("GrpcUnread", "protocol: grpc", DEADLINE, |socket| {
        let mut raw = Raw::new(socket);
        endless_windows(&mut raw);
        std::thread::sleep(LIMIT);
    }),
    ("TtHalf", "protocol: ttheader", DEADLINE, |socket| {
        let wire = tt::Connection::new(socket);
        for n in 0..2 {
            let stream = wire.stream(n);
            stream.send(Kind::Header, &[], Bytes::new());
            stream.send(Kind::Data, &[], message(&[0; HALF]));
            stream.nth(Kind::Rst, 0);
            *CANCELED.0.lock().unwrap() += 1;
            CANCELED.1.notify_all();
        }
        until_closed(&wire);
    }),
    ("TtUnread", "protocol: ttheader", DEADLINE, |socket| {
        std::thread::sleep(LIMIT);
        drop(socket);
    }),
];

pub(crate) fn rig() -> Rig {
    let callees = callee::table(CALLEES);
    Rig::with(Wire::Grpc, callees, "", ", cancel_grace: 500ms")
}

/// What one message holds; with it a gRPC DATA frame is as long as it may be.
const PIECE: usize = 64 << 10;

/// A message of twice HTTP/2's first window.
const HALF: usize = 128 << 10;

/// How many cancels the callee `TtHalf` has received.
static CANCELED: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// A stream to `TtHalf`, as far as its window lets the message through, when the callee has received
/// the deadline.
fn half_taken(rig: &Rig) -> Raw {
    let before = *CANCELED.0.lock().unwrap();
    let mut raw = Raw::connect(rig.address());
    raw.send(PREFACE);
    raw.frame(SETTINGS, 0, 0, &[]);
    raw.headers(1, "TtHalf");
    let mut taken = 0;
    while taken < 65_535 {
        taken += raw.wait(DATA, 1).payload.len();
    }
    let canceled = CANCELED.0.lock().unwrap();
    let waited = CANCELED
        .1
        .wait_timeout_while(canceled, LIMIT, |n| *n == before);
    assert!(!waited.unwrap().1.timed_out(), "the callee is not canceled");
    raw
}

/// Answers a stream with messages until it is ended, and so the next.
fn floods(socket: TcpStream) {
    let wire = tt::Connection::new(socket);
    if wire.was_probe() {
        return;
    }
    for n in 0..2 {
        let stream = wire.stream(n);
        stream.send(Kind::Header, &[], Bytes::new());
        while stream.count(Kind::Rst) == 0 {
            stream.send(Kind::Data, &[], message(&[0; PIECE]));
        }
    }
    until_closed(&wire);
}

/// Settings and windows of 2 GiB: HTTP/2 never stops the other side.
fn endless_windows(raw: &mut Raw) {
    raw.frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    raw.frame(WINDOW, 0, 0, &(0x7fff_ffff_u32 - 0xffff).to_be_bytes());
}

/// Waits until it is counted.
fn counted(rig: &Rig, (name, labels): (&str, &str), before: u64) {
    rig.wait("the connection is not given up", || {
        rig.metric(name, labels) > before
    });
}

/// A caller's stream to a callee that reads nothing. It receives its deadline, and its connection
/// stays open.
fn to_unread(rig: &Rig, service: &str) {
    let wire = tt::Connection::connect(&rig.hop.address);
    let stream = wire.open(1, "Echo", &[(keys::IDL_SERVICE, service)]);
    while stream.count(Kind::Rst) == 0 {
        stream.send(Kind::Data, &[], message(&[0; PIECE]));
    }
    assert_eq!(said(&stream.nth(Kind::Rst, 0)).0.type_id, 12015);
    let stream = wire.open(2, "Echo", &[(keys::IDL_SERVICE, "Storm")]);
    stream.send(Kind::Data, &[], message(b"still here"));
    stream.nth(Kind::Data, 0);
    stream.send(Kind::Trailer, &[], Bytes::new());
    stream.nth(Kind::Trailer, 0);
}

const VIOLATIONS: &str = "ripcord_violations_total";
const CALLER: (&str, &str) = (VIOLATIONS, r#"side="inbound",wire="grpc",kind="unread""#);
const CALLEE: (&str, &str) = (VIOLATIONS, r#"side="outbound",wire="grpc",kind="unread""#);
const GRACE: (&str, &str) = ("ripcord_ttheader_events_total", r#"event="grace_closes""#);

const NOTHING: (&str, &str) = ("", "");

pub(crate) const ROWS: &[Row] = &[
    Row {
        abuse: "a gRPC caller does not read while its end waits: closed after cancel_grace",
        counted: CALLER,
        act: |rig| {
            let before = rig.metric(CALLER.0, CALLER.1);
            let mut raw = Raw::connect(rig.address());
            raw.send(PREFACE);
            endless_windows(&mut raw);
            raw.headers(1, "TtFloods");
            raw.wait(DATA, 1);
            counted(rig, CALLER, before);
            while let Some(frame) = raw.next() {
                assert_ne!(frame.kind, GOAWAY, "{frame:?}");
            }
        },
    },
    Row {
        abuse: "a gRPC caller takes half a message, and the rest when its stream ends: its status",
        counted: NOTHING,
        act: |rig| {
            let mut raw = half_taken(rig);
            raw.frame(WINDOW, 0, 0, &(HALF as u32).to_be_bytes());
            raw.frame(WINDOW, 0, 1, &(HALF as u32).to_be_bytes());
            let mut taken = 65_535;
            while taken < HALF + 5 {
                taken += raw.wait(DATA, 1).payload.len();
            }
            let end = raw.wait(HEADERS, 1);
            assert_eq!(end.flags & END_STREAM, END_STREAM, "{end:?}");
        },
    },
    Row {
        abuse: "a gRPC caller takes half a message and not the rest: RST_STREAM(CANCEL) in 100 ms",
        counted: NOTHING,
        act: |rig| {
            let mut raw = half_taken(rig);
            let began = Instant::now();
            assert_eq!(raw.reset(1), 8);
            assert!(began.elapsed().as_millis() >= 50, "it is not waited for");
        },
    },
    Row {
        abuse: "a TTHeader caller does not read while its end waits: closed after cancel_grace",
        counted: GRACE,
        act: |rig| {
            let before = rig.metric(GRACE.0, GRACE.1);
            let method = Bytes::from_static(b"Echo");
            let mut header = Frame::new(Kind::Header, 1, PROTOCOL_THRIFT_STRUCT, method);
            header.info.strings = vec![(keys::IDL_SERVICE.into(), "TtFloods".into())];
            let mut bytes = BytesMut::new();
            header.encode(&mut bytes).unwrap();
            let mut socket = TcpStream::connect(rig.address()).unwrap();
            socket.set_read_timeout(Some(LIMIT)).unwrap();
            socket.write_all(&bytes).unwrap();
            counted(rig, GRACE, before);
            let end = socket.read_to_end(&mut Vec::new());
            let reset = |e: std::io::Error| e.kind() == std::io::ErrorKind::ConnectionReset;
            assert!(end.is_ok() || end.is_err_and(reset), "it is not closed");
        },
    },
    Row {
        abuse: "a gRPC callee does not read while a cancel waits: closed; its caller: Rst 12015",
        counted: CALLEE,
        act: |rig| to_unread(rig, "GrpcUnread"),
    },
    Row {
        abuse: "a TTHeader callee does not read while a cancel waits: closed; its caller: Rst 12015",
        counted: GRACE,
        act: |rig| to_unread(rig, "TtUnread"),
    },
];
