//! Peers that fall silent and send no end. One has vanished, with its machine or its network: its
//! kernel acknowledges nothing any more. Another one hangs: its kernel still does. The other side
//! of the stream receives an end within the time of the keepalive settings.
//!
//! A peer vanishes by a filter on its socket, which drops whatever arrives before the kernel looks
//! at it. Nothing is acknowledged, no probe is answered, and no FIN or RST is sent.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ripcord::wire::ttheader::frame::Kind;
use ripcord::wire::ttheader::keys;
use socket2::{SockFilter, SockRef};

use super::callee::{self, Bad, OK, UNAVAILABLE, call, serve};
use super::rig::{Rig, Row};
use crate::kit::Wire;
use crate::kit::h2peer::Ended;
use crate::kit::h2raw::{GOAWAY, HEADERS, PING, PREFACE, RESET, Raw, SETTINGS, frame};
use crate::kit::process::LIMIT;
use crate::kit::tt::{Connection, message, said};

/// How a vanished peer is noticed, on both sides.
const KEEPALIVE: &str = "keepalive: { tcp: { idle: 1s, interval: 1s, count: 2 }, \
                         user_timeout: 4s, http2: { interval: 1s, timeout: 2s } }";

/// Silence until a PING is sent, a second more when something came just before the timer, and how
/// long its answer may take.
const PINGED: Duration = Duration::from_secs(4);

/// What the kernel takes: the user timeout, at the first probe after it.
const PROBED: Duration = Duration::from_secs(5);

/// What a busy machine may take on top. Without keepalive it would be minutes, or for ever.
const MARGIN: Duration = Duration::from_secs(20);

/// No peer is given up before this.
const PATIENT: Duration = Duration::from_secs(1);

const FIRST_RESPONSE: &str = ", timeouts: { first_response: 1s }";

const CALLEES: &[Bad] = &[
    ("GrpcGone", "protocol: grpc", "", |socket| {
        let raw = opened(socket);
        vanish(&raw.0);
        std::thread::sleep(LIMIT);
    }),
    ("GrpcHangs", "protocol: grpc", "", |socket| {
        let mut raw = opened(socket);
        while raw.next().is_some() {}
    }),
    ("GrpcQuiet", "protocol: grpc", "", quiet),
    ("TtGone", "protocol: ttheader", "", |socket| {
        let wire = Connection::new(socket);
        if wire.was_probe() {
            return;
        }
        wire.stream(0);
        vanish(wire.socket());
        std::thread::sleep(LIMIT);
    }),
    ("TtHangs", "protocol: ttheader", FIRST_RESPONSE, |socket| {
        let wire = Connection::new(socket);
        if wire.was_probe() {
            return;
        }
        let (rst, _) = said(&wire.stream(0).nth(Kind::Rst, 0));
        assert_eq!(rst.type_id, 12014);
        serve(&wire, 1);
    }),
];

pub(crate) fn rig() -> Rig {
    let callees = callee::table(CALLEES).each_backend(KEEPALIVE);
    Rig::with(Wire::Grpc, callees, KEEPALIVE, "")
}

/// From now on nothing arrives at the socket.
fn vanish(socket: &TcpStream) {
    // What both sides sent is acknowledged by then: a kernel that sends again is alive.
    std::thread::sleep(Duration::from_millis(200));
    let drop_all = SockFilter::new(0x06, 0, 0, 0);
    SockRef::from(socket).attach_filter(&[drop_all]).unwrap();
}

/// A gRPC callee's connection whose first stream is open.
fn opened(socket: TcpStream) -> Raw {
    let mut raw = Raw::new(socket);
    raw.send(&frame(SETTINGS, 0, 0, &[]));
    raw.skip(PREFACE.len());
    raw.wait(HEADERS, 1);
    raw
}

/// Answers PINGs, four of them, and sends nothing else. Then resets its stream.
fn quiet(socket: TcpStream) {
    let mut raw = opened(socket);
    answer_pings(&mut raw, 4);
    raw.frame(RESET, 0, 1, &2_u32.to_be_bytes());
    while raw.next().is_some() {}
}

fn answer_pings(raw: &mut Raw, mut count: usize) {
    while count > 0 {
        let frame = raw.next().expect("the connection ended");
        assert_ne!(frame.kind, GOAWAY);
        if (frame.kind, frame.flags) == (PING, 0) {
            raw.frame(PING, 1, 0, &frame.payload);
            count -= 1;
        }
    }
}

/// The callee of a caller's stream receives its loss, in time.
fn callee_hears(rig: &Rig, since: Instant, bound: Duration) {
    assert_eq!(rig.stalled.ended(), Ended::Reset(8));
    in_time(since, bound);
}

fn in_time(since: Instant, bound: Duration) {
    let took = since.elapsed();
    println!("    heard after {took:.1?}");
    assert!(took >= PATIENT && took <= bound + MARGIN, "after {took:?}");
}

/// A gRPC caller with a stream that a callee holds.
fn grpc_caller(rig: &Rig) -> Raw {
    let mut raw = Raw::open(rig.address());
    raw.echo(1);
    raw.headers(3, "Stall");
    rig.stalled.opened();
    raw
}

fn ttheader_caller(rig: &Rig) -> Connection {
    let wire = Connection::connect(&rig.hop.address);
    wire.open(1, "Echo", &[(keys::IDL_SERVICE, "Stall")]);
    rig.stalled.opened();
    wire
}

const VIOLATIONS: &str = "ripcord_violations_total";
const CALLER: (&str, &str) = (VIOLATIONS, r#"side="inbound",wire="grpc",kind="keepalive""#);
const CALLEE: (&str, &str) = (
    VIOLATIONS,
    r#"side="outbound",wire="grpc",kind="keepalive""#,
);
const LOST: (&str, &str) = (
    "ripcord_ttheader_events_total",
    r#"event="lost_connections""#,
);

pub(crate) const ROWS: &[Row] = &[
    Row {
        abuse: "a gRPC caller vanishes: its callee hears CANCEL within the keepalive; closed",
        counted: CALLER,
        act: |rig| {
            let raw = grpc_caller(rig);
            vanish(&raw.0);
            callee_hears(rig, Instant::now(), PINGED);
        },
    },
    Row {
        abuse: "a gRPC caller answers no PING: the same; the connection is closed",
        counted: CALLER,
        act: |rig| {
            let mut raw = grpc_caller(rig);
            callee_hears(rig, Instant::now(), PINGED);
            // It was pinged, and it does not receive a reason.
            let frames: Vec<_> = std::iter::from_fn(|| raw.next()).collect();
            assert!(frames.iter().any(|f| (f.kind, f.flags) == (PING, 0)));
            assert!(frames.iter().all(|f| f.kind != GOAWAY), "{frames:?}");
        },
    },
    Row {
        abuse: "a gRPC caller says nothing but answers to PINGs: lives; not counted",
        counted: ("", ""),
        act: |rig| {
            let before = rig.metric(CALLER.0, CALLER.1);
            let mut raw = grpc_caller(rig);
            answer_pings(&mut raw, 4);
            raw.echo(5);
            assert_eq!(rig.metric(CALLER.0, CALLER.1), before);
            raw.frame(RESET, 0, 3, &8_u32.to_be_bytes());
            assert_eq!(rig.stalled.ended(), Ended::Reset(8));
        },
    },
    Row {
        abuse: "a TTHeader caller vanishes: its callee hears CANCEL within TCP's keepalive; closed",
        counted: LOST,
        act: |rig| {
            let wire = ttheader_caller(rig);
            vanish(wire.socket());
            callee_hears(rig, Instant::now(), PROBED);
        },
    },
    Row {
        abuse: "a TTHeader caller hangs: TTHeader has no pings, lives until a timeout; not counted",
        counted: ("", ""),
        act: |rig| {
            let wire = ttheader_caller(rig);
            std::thread::sleep(PROBED + Duration::from_secs(1));
            let stream = wire.open(2, "Echo", &[(keys::IDL_SERVICE, "Storm")]);
            stream.send(Kind::Data, &[], message(b"still here"));
            stream.nth(Kind::Data, 0);
            stream.send(Kind::Trailer, &[], Bytes::new());
            stream.nth(Kind::Trailer, 0);
            wire.handle(1, "Echo").rst(12007, "enough", "");
            assert_eq!(rig.stalled.ended(), Ended::Reset(8));
        },
    },
    Row {
        abuse: "a gRPC callee vanishes: UNAVAILABLE within the keepalive",
        counted: CALLEE,
        act: |rig| {
            let since = Instant::now();
            call(rig, "GrpcGone", UNAVAILABLE);
            in_time(since, PINGED);
        },
    },
    Row {
        abuse: "a gRPC callee answers no PING: the same",
        counted: CALLEE,
        act: |rig| {
            let since = Instant::now();
            call(rig, "GrpcHangs", UNAVAILABLE);
            in_time(since, PINGED);
        },
    },
    Row {
        abuse: "a gRPC callee says nothing but answers to PINGs: lives until it resets: INTERNAL",
        counted: ("ripcord_streams_total", r#"route="GrpcQuiet""#),
        act: |rig| {
            let before = rig.metric(CALLEE.0, CALLEE.1);
            call(rig, "GrpcQuiet", 13);
            assert_eq!(rig.metric(CALLEE.0, CALLEE.1), before);
        },
    },
    Row {
        abuse: "a TTHeader callee vanishes: UNAVAILABLE within TCP's keepalive",
        counted: LOST,
        act: |rig| {
            let since = Instant::now();
            call(rig, "TtGone", UNAVAILABLE);
            in_time(since, PROBED);
        },
    },
    Row {
        abuse: "a TTHeader callee hangs: first_response, Rst 12014, DEADLINE_EXCEEDED; lives",
        counted: (
            "ripcord_stream_errors_total",
            r#"error_type="first_response""#,
        ),
        act: |rig| {
            call(rig, "TtHangs", 4);
            call(rig, "TtHangs", OK);
        },
    },
];
