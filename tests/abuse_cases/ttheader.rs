//! Callers that break TTHeader streaming. A fault ends its stream. Only lost framing ends the
//! connection, and its open streams receive the reason first.

use bytes::{Bytes, BytesMut};
use ripcord::wire::ttheader::frame::{Frame, Kind};
use ripcord::wire::ttheader::header::PROTOCOL_THRIFT_STRUCT;
use ripcord::wire::ttheader::keys;

use super::port::noise;
use super::rig::{Rig, Row};
use crate::kit::tt::{Connection, Stream, message, said};

const EVENTS: &str = "ripcord_ttheader_events_total";
const BAD: (&str, &str) = (EVENTS, r#"event="bad_frames""#);
const LATE: (&str, &str) = (EVENTS, r#"event="late_frames""#);
const LOST: (&str, &str) = (EVENTS, r#"event="lost_framing""#);

const ILLEGAL_FRAME: i32 = 12004;

fn connect(rig: &Rig) -> Connection {
    Connection::connect(&rig.hop.address)
}

fn open<'a>(wire: &'a Connection, id: i32, service: &str) -> Stream<'a> {
    wire.open(id, "Echo", &[(keys::IDL_SERVICE, service)])
}

/// Another stream of the connection is carried there and back.
fn echo(wire: &Connection, id: i32) {
    let stream = open(wire, id, "Storm");
    stream.send(Kind::Data, &[], message(b"still here"));
    assert_eq!(stream.nth(Kind::Data, 0).payload, message(b"still here"));
    stream.send(Kind::Trailer, &[], Bytes::new());
    assert_eq!(stream.nth(Kind::Trailer, 0).payload, Bytes::new());
}

/// A stream that was carried once.
fn carried<'a>(wire: &'a Connection, id: i32) -> Stream<'a> {
    let stream = open(wire, id, "Storm");
    stream.send(Kind::Data, &[], message(b"one"));
    stream.nth(Kind::Data, 0);
    stream
}

/// The framing is lost: open streams receive 12004, then the connection is closed.
fn breaks(rig: &Rig, bytes: &[u8]) {
    let wire = connect(rig);
    let stream = carried(&wire, 1);
    wire.write_bytes(bytes);
    let (exception, _) = said(&stream.nth(Kind::Rst, 0));
    assert_eq!(exception.type_id, ILLEGAL_FRAME, "{exception:?}");
    rig.wait("the connection is not closed", || wire.is_closed());
}

/// Bytes of a frame, changed.
fn bytes(kind: Kind, id: i32, change: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut out = BytesMut::new();
    let mut frame = Frame::new(
        kind,
        id,
        PROTOCOL_THRIFT_STRUCT,
        Bytes::from_static(b"Echo"),
    );
    if kind == Kind::Header {
        frame.info.strings = vec![(keys::IDL_SERVICE.into(), "Storm".into())];
    }
    frame.encode(&mut out).unwrap();
    change(&mut out);
    out
}

pub(crate) const ROWS: &[Row] = &[
    Row {
        abuse: "random bytes between frames: Rst 12004 to what lives, closed",
        counted: LOST,
        act: |rig| breaks(rig, &noise(4096)),
    },
    Row {
        abuse: "a wrong magic: Rst 12004 to what lives, closed",
        counted: LOST,
        act: |rig| breaks(rig, &bytes(Kind::Data, 1, |out| out[4] = 0x11)),
    },
    Row {
        abuse: "a length shorter than its header: Rst 12004 to what lives, closed",
        counted: LOST,
        act: |rig| {
            breaks(
                rig,
                &bytes(Kind::Data, 1, |out| out[..4].copy_from_slice(&[0, 0, 0, 4])),
            )
        },
    },
    Row {
        abuse: "the greatest length: Rst 12004 to what lives, closed",
        counted: LOST,
        act: |rig| {
            breaks(
                rig,
                &bytes(Kind::Data, 1, |out| out[..4].copy_from_slice(&[0xff; 4])),
            )
        },
    },
    Row {
        abuse: "a frame cut by the end of the connection: closed",
        counted: (EVENTS, r#"event="lost_connections""#),
        act: |rig| {
            let wire = connect(rig);
            carried(&wire, 1);
            let whole = bytes(Kind::Data, 1, |_| {});
            wire.write_bytes(&whole[..whole.len() / 2]);
        },
    },
    Row {
        abuse: "an unknown info block in a Header: Rst 12004; the connection lives",
        counted: BAD,
        act: |rig| {
            let wire = connect(rig);
            // The first block's id is behind the 14 fixed bytes, the protocol and the transforms.
            wire.write_bytes(&bytes(Kind::Header, 1, |out| out[16] = 0x77));
            let rst = wire.handle(1, "Echo").nth(Kind::Rst, 0);
            assert_eq!(said(&rst).0.type_id, ILLEGAL_FRAME);
            echo(&wire, 2);
        },
    },
    Row {
        abuse: "an unknown info block in Data: Rst 12004; the connection lives",
        counted: BAD,
        act: |rig| {
            let wire = connect(rig);
            let stream = carried(&wire, 1);
            wire.write_bytes(&bytes(Kind::Data, 1, |out| out[16] = 0x77));
            assert_eq!(said(&stream.nth(Kind::Rst, 0)).0.type_id, ILLEGAL_FRAME);
            echo(&wire, 2);
        },
    },
    Row {
        abuse: "Header twice: Rst 12004; the connection lives",
        counted: BAD,
        act: |rig| {
            let wire = connect(rig);
            let stream = carried(&wire, 1);
            open(&wire, 1, "Storm");
            assert_eq!(said(&stream.nth(Kind::Rst, 0)).0.type_id, ILLEGAL_FRAME);
            echo(&wire, 2);
        },
    },
    Row {
        abuse: "Data before Header: dropped; the connection lives",
        counted: LATE,
        act: |rig| {
            let wire = connect(rig);
            echo(&wire, 1);
            wire.handle(2, "Echo")
                .send(Kind::Data, &[], message(b"early"));
            echo(&wire, 2);
        },
    },
    Row {
        abuse: "frames of a finished stream: dropped; the connection lives",
        counted: LATE,
        act: |rig| {
            let wire = connect(rig);
            echo(&wire, 1);
            let late = wire.handle(1, "Echo");
            late.send(Kind::Data, &[], message(b"late"));
            late.send(Kind::Trailer, &[], Bytes::new());
            late.rst(12007, "late", "a");
            echo(&wire, 2);
            assert_eq!((late.count(Kind::Rst), late.count(Kind::Trailer)), (0, 1));
        },
    },
    Row {
        abuse: "a Header for stream 0: dropped; the connection lives",
        counted: BAD,
        act: |rig| {
            let wire = connect(rig);
            echo(&wire, 1);
            wire.write_bytes(&bytes(Kind::Header, 0, |_| {}));
            echo(&wire, 2);
            assert!(wire.frames().iter().all(|frame| frame.stream_id != 0));
        },
    },
    Row {
        abuse: "a negative stream id: a stream like any other",
        counted: ("ripcord_streams_total", r#"inbound="ttheader""#),
        act: |rig| {
            let wire = connect(rig);
            echo(&wire, -1);
            echo(&wire, i32::MIN);
        },
    },
    Row {
        abuse: "a message over the limit: Rst 12011; the connection lives",
        counted: (EVENTS, r#"event="oversized_messages""#),
        act: |rig| {
            let wire = connect(rig);
            let stream = carried(&wire, 1);
            stream.send(Kind::Data, &[], Bytes::from(vec![0; 1 << 20]));
            assert_eq!(said(&stream.nth(Kind::Rst, 0)).0.type_id, 12011);
            echo(&wire, 2);
        },
    },
    Row {
        abuse: "more streams than allowed: Trailer with an exception; the others live",
        counted: (EVENTS, r#"event="over_limit""#),
        act: |rig| {
            let wire = connect(rig);
            let first = carried(&wire, 1);
            (2..=100).for_each(|id| drop(open(&wire, id, "Storm")));
            let over = open(&wire, 101, "Storm");
            assert_eq!(said(&over.nth(Kind::Trailer, 0)).0.type_id, 6);
            first.send(Kind::Data, &[], message(b"two"));
            first.nth(Kind::Data, 1);
        },
    },
    Row {
        abuse: "50,000 tiny Data on a stalled stream: it alone is ended, Rst 12011; the connection lives",
        counted: (EVENTS, r#"event="slow_streams""#),
        act: |rig| {
            let wire = connect(rig);
            let other = carried(&wire, 2);
            let stalled = open(&wire, 1, "Stall");
            let mut tiny = BytesMut::new();
            let mut frame = stalled.header.clone();
            frame = Frame::new(Kind::Data, 1, PROTOCOL_THRIFT_STRUCT, frame.method());
            frame.payload = message(b"x");
            frame.encode(&mut tiny).unwrap();
            (0..50).for_each(|_| wire.write_bytes(&tiny.repeat(1_000)));
            assert_eq!(said(&stalled.nth(Kind::Rst, 0)).0.type_id, 12011);
            other.send(Kind::Data, &[], message(b"two"));
            other.nth(Kind::Data, 1);
            echo(&wire, 3);
        },
    },
    Row {
        abuse: "a storm of Headers that cannot be read: each answered; the connection lives",
        counted: BAD,
        act: |rig| {
            let wire = connect(rig);
            let bad = bytes(Kind::Header, 7, |out| out[16] = 0x77);
            (0..10).for_each(|_| wire.write_bytes(&bad.repeat(1_000)));
            echo(&wire, 2);
            assert_eq!(wire.handle(7, "Echo").count(Kind::Rst), 10_000);
        },
    },
];
