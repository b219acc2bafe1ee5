//! What a ripcord must never do to a TTHeader peer: a second Header, a closed connection with open
//! streams, silence. Also the callee's cancel in every phase. The TTHeader callee is scripted.

use bytes::Bytes;
use ripcord::wire::ttheader::frame::Kind as FrameKind;
use serde_json::{Value, json};

use crate::kit::h2peer::{Ended, H2Callee, H2Caller, Play, headers};
use crate::kit::lab::{Caller, client, say};
use crate::kit::ripcord::Ripcord;
use crate::kit::scenario::{Kind, assert_like, barrier, op, recv, scenario, send};
use crate::kit::trial::cases;
use crate::kit::tt::{Connection, Listener, Stream, message, said};

cases! {
    [Go] {
        a_ttheader_callees_cancel_reaches_every_caller_in_every_phase,
        a_grpc_callees_reset_reaches_every_caller_also_behind_a_message,
        a_callers_cancel_overtakes_what_waits_for_a_slow_callee,
    }
    [] {
        a_second_header_a_second_end_and_late_frames_of_a_callee_go_no_further,
        a_bad_stream_does_not_take_its_callers_connection_along,
        a_lost_backend_leaves_the_callers_connection_and_its_other_streams,
        a_short_pool_callers_rst_is_read_although_it_closes_at_once,
        two_callers_may_use_the_same_stream_ids,
        a_half_close_and_a_cancel_are_two_things_to_a_grpc_callee,
        a_reset_in_the_middle_of_a_message_is_a_cancel_and_no_end,
    }
}

const CALLERS: [Caller; 4] = [
    Caller::Mux,
    Caller::Short,
    Caller::KitexGrpc,
    Caller::GrpcGo,
];

/// How far the callee has come when it cancels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Nothing,
    Header,
    Message,
    HalfClosed,
}

fn canceled(caller: Caller, code: i64, status: i64, path: &str, text: &str) -> Value {
    let text = format!(
        "[ttstream error, code={code}] [client-side stream] [canceled path: {path}] {text}"
    );
    if caller.is_ttheader() {
        json!({ "kind": "error", "code": code, "is": ["ErrStreamingCanceled"], "err": text })
    } else {
        json!({
            "kind": "error", "code": status, "message": text,
            "trailer": { "ripcord-code": [code.to_string()], "ripcord-path": [path.replace(" -> ", ",")] },
        })
    }
}

fn play(stream: &Stream<'_>, phase: Phase) {
    match phase {
        Phase::Nothing => {}
        Phase::Header => stream.send(FrameKind::Header, &[], Bytes::new()),
        Phase::Message => {
            stream.send(FrameKind::Header, &[("h", "v")], Bytes::new());
            stream.send(FrameKind::Data, &[], message(b"x"));
        }
        Phase::HalfClosed => {
            stream.nth(FrameKind::Trailer, 0);
        }
    }
}

fn a_ttheader_callees_cancel_reaches_every_caller_in_every_phase() {
    let listener = Listener::start();
    let hop = Ripcord::before("ttheader", &listener.address);
    let mut wire = None;
    let mut opened = 0;
    for caller in CALLERS {
        let client = client(caller, &hop.address);
        for kind in Kind::ALL {
            for phase in [
                Phase::Nothing,
                Phase::Header,
                Phase::Message,
                Phase::HalfClosed,
            ] {
                let what = format!("{caller:?} {kind:?} {phase:?}");
                let down = usize::from(phase == Phase::Message && kind != Kind::Client);
                let close = if phase == Phase::HalfClosed {
                    op("close_send")
                } else {
                    send(0, 0)
                };
                // When a message and its stream's cancel are both there, a waiting Kitex reader
                // takes one of them by chance (`container/pipe.go`, waitCtx). So it has to have
                // read the message before.
                let waits = down > 0 && caller.is_ttheader();
                let read = if waits { barrier("read") } else { send(0, 0) };
                let ops = [send(1, 3), close, recv(down), read, json!({ "op": "recv" })];
                let id = say(&client, &scenario("callee cancels", kind, [], ops));
                let wire: &Connection = wire.get_or_insert_with(|| listener.accept());
                let stream = wire.stream(opened);
                opened += 1;
                let phase = if kind == Kind::Client && phase == Phase::Message {
                    Phase::Header
                } else {
                    phase
                };
                play(&stream, phase);
                if waits {
                    let gate = format!("{id}/read");
                    client.event("barrier", &gate);
                    client.say(&json!({ "go": gate }));
                }
                stream.rst(1204, "no longer", "B");
                let seen = client.event("result", &id);
                assert_like(
                    &what,
                    &seen,
                    &canceled(caller, 1204, 1, "B -> hop", "no longer"),
                );
                assert_eq!(seen["recv"], json!(down), "{what}");
                assert_eq!(
                    stream.count(FrameKind::Rst),
                    0,
                    "{what}: a Rst was answered with a Rst"
                );
            }
        }
    }
}

fn a_grpc_callees_reset_reaches_every_caller_also_behind_a_message() {
    let callee = H2Callee::start(
        |headers| match headers.get("x-case").map(|v| v.as_bytes()) {
            Some(b"first") => Play::Reset(8),
            _ => Play::MessageReset(message(b"x"), 8),
        },
    );
    let hop = Ripcord::before("grpc", &callee.address);
    let text = "stream terminated by RST_STREAM with error code: CANCEL";
    for caller in CALLERS {
        let client = client(caller, &hop.address);
        for (case, down) in [("first", 0), ("second", 1)] {
            let ops = [recv(down), send(1, 3), json!({ "op": "recv" })];
            let case =
                scenario(case, Kind::Bidi, [], ops).with("metadata", json!({ "x-case": case }));
            let id = say(&client, &case);
            let seen = client.event("result", &id);
            let what = format!("{caller:?} {}", case.name);
            assert_like(
                &what,
                &seen,
                &canceled(caller, 12011, 1, "non-ttstream path -> hop", text),
            );
            assert_eq!(seen["recv"], json!(down), "{what}");
        }
    }
}

/// Every frame that a caller got, for one stream: the Header first and once, one end, nothing
/// behind it.
fn well_formed(wire: &Connection, id: i32) {
    let kinds: Vec<_> = wire
        .frames()
        .iter()
        .filter(|f| f.stream_id == id)
        .map(|f| f.kind)
        .collect();
    let headers = kinds.iter().filter(|k| **k == FrameKind::Header).count();
    let ends = kinds
        .iter()
        .filter(|k| matches!(k, FrameKind::Trailer | FrameKind::Rst))
        .count();
    assert!(headers <= 1 && ends == 1, "stream {id}: {kinds:?}");
    if headers == 1 {
        assert_eq!(kinds[0], FrameKind::Header, "stream {id}: {kinds:?}");
    }
    assert!(
        matches!(kinds.last(), Some(FrameKind::Trailer | FrameKind::Rst)),
        "stream {id}: {kinds:?}"
    );
}

fn a_second_header_a_second_end_and_late_frames_of_a_callee_go_no_further() {
    let listener = Listener::start();
    let hop = Ripcord::before("ttheader", &listener.address);
    let caller = Connection::connect(&hop.address);
    let first = caller.open(1, "Bidi", &[("isn", "Interop")]);
    let callee = listener.accept();
    let stream = callee.stream(0);
    stream.send(FrameKind::Header, &[], Bytes::new());
    first.nth(FrameKind::Header, 0);
    stream.send(FrameKind::Header, &[], Bytes::new());
    stream.send(FrameKind::Trailer, &[], Bytes::new());
    stream.send(FrameKind::Trailer, &[], stream.exception(6, "late"));
    stream.send(FrameKind::Data, &[], message(b"late"));
    stream.rst(12007, "later still", "B");
    // A stream that is opened afterwards ends after all of that.
    let second = caller.open(2, "Bidi", &[("isn", "Interop")]);
    let stream = callee.stream(1);
    stream.send(FrameKind::Trailer, &[], Bytes::new());
    second.nth(FrameKind::Trailer, 0);
    well_formed(&caller, 1);
    well_formed(&caller, 2);
    assert!(!caller.is_closed() && !callee.is_closed());
}

fn a_bad_stream_does_not_take_its_callers_connection_along() {
    let listener = Listener::start();
    let hop = Ripcord::before("ttheader", &listener.address);
    let caller = Connection::connect(&hop.address);
    let bad = caller.open(1, "Bidi", &[("isn", "Interop")]);
    let good = caller.open(2, "Bidi", &[("isn", "Interop")]);
    let callee = listener.accept();
    let (one, two) = (callee.stream(0), callee.stream(1));
    // A frame of a type that nobody knows, in the first stream.
    let mut frame = ripcord::wire::ttheader::frame::Frame::new(
        FrameKind::Data,
        one.id,
        0x10,
        Bytes::from("Bidi"),
    );
    frame.info.ints.retain(|(key, _)| *key != 27);
    frame.info.ints.push((27, Bytes::from("9")));
    callee.write(&frame);
    let (exception, path) = said(&bad.nth(FrameKind::Rst, 0));
    assert_eq!((exception.type_id, path.as_str()), (12004, "hop"));
    two.send(FrameKind::Header, &[], Bytes::new());
    two.send(FrameKind::Trailer, &[], Bytes::new());
    good.nth(FrameKind::Trailer, 0);
    well_formed(&caller, 1);
    well_formed(&caller, 2);
    assert!(!caller.is_closed());
}

fn a_lost_backend_leaves_the_callers_connection_and_its_other_streams() {
    let (lost, kept) = (Listener::start(), Listener::start());
    let hop = Ripcord::named("hop")
        .backend("lost", "protocol: ttheader", &lost.address)
        .backend("kept", "protocol: ttheader", &kept.address)
        .route("lost", "match: { service: Lost }, backend: lost")
        .route("kept", "backend: kept")
        .start();
    let caller = Connection::connect(&hop.address);
    let streams: Vec<_> = (1..=5)
        .map(|id| caller.open(id, "Bidi", &[("isn", "Lost")]))
        .collect();
    let other = caller.open(6, "Bidi", &[("isn", "Kept")]);
    let (callee, healthy) = (lost.accept(), kept.accept());
    callee.stream(4);
    drop(callee);
    for stream in &streams {
        let (exception, path) = said(&stream.nth(FrameKind::Rst, 0));
        assert_eq!((exception.type_id, path.as_str()), (12013, "hop"));
        well_formed(&caller, stream.id);
    }
    let stream = healthy.stream(0);
    stream.send(FrameKind::Trailer, &[], Bytes::new());
    other.nth(FrameKind::Trailer, 0);
    assert!(!caller.is_closed());
}

fn a_short_pool_callers_rst_is_read_although_it_closes_at_once() {
    let listener = Listener::start();
    let hop = Ripcord::before("ttheader", &listener.address);
    let mut callee = None;
    for n in 0..20 {
        let caller = Connection::connect(&hop.address);
        let stream = caller.open(1, "Bidi", &[("isn", "Interop")]);
        let callee: &Connection = callee.get_or_insert_with(|| listener.accept());
        let seen = callee.stream(n);
        stream.rst(12007, "short", "A");
        drop(caller);
        let (exception, path) = said(&seen.nth(FrameKind::Rst, 0));
        assert_eq!(
            (exception.type_id, exception.text.as_str(), path.as_str()),
            (12007, "short", "A,hop")
        );
    }
}

fn two_callers_may_use_the_same_stream_ids() {
    let listener = Listener::start();
    let hop = Ripcord::before("ttheader", &listener.address);
    let (a, b) = (
        Connection::connect(&hop.address),
        Connection::connect(&hop.address),
    );
    let one = a.open(-5, "Bidi", &[("isn", "A")]);
    let callee = listener.accept();
    callee.stream(0);
    let two = b.open(-5, "Bidi", &[("isn", "B")]);
    let (first, second) = (callee.stream(0), callee.stream(1));
    assert_ne!(first.id, second.id);
    assert_eq!(second.header.info.string("isn").unwrap(), "B");
    second.send(FrameKind::Trailer, &[], second.exception(6, "two"));
    first.send(FrameKind::Trailer, &[], first.exception(6, "one"));
    assert_eq!(said(&one.nth(FrameKind::Trailer, 0)).0.text, "one");
    assert_eq!(said(&two.nth(FrameKind::Trailer, 0)).0.text, "two");
}

fn a_callers_cancel_overtakes_what_waits_for_a_slow_callee() {
    // The callee's window is full long before the last message.
    let callee = H2Callee::start(|_| Play::Stall);
    let hop = Ripcord::before("grpc", &callee.address);
    let client = client(Caller::Mux, &hop.address);
    let ops = [send(1, 3), barrier("go"), send(2, 80_000), op("cancel")];
    let id = say(&client, &scenario("overtakes", Kind::Bidi, [], ops));
    callee.opened();
    client.event("barrier", &format!("{id}/go"));
    client.say(&json!({ "go": format!("{id}/go") }));
    assert_eq!(callee.ended(), Ended::Reset(8));
    client.event("result", &id);
}

fn a_half_close_and_a_cancel_are_two_things_to_a_grpc_callee() {
    let callee = H2Callee::start(|_| Play::Hold);
    let hop = Ripcord::before("grpc", &callee.address);
    let caller = Connection::connect(&hop.address);
    let stream = caller.open(1, "Bidi", &[("isn", "Interop")]);
    callee.opened();
    stream.send(FrameKind::Data, &[], message(b"x"));
    stream.send(FrameKind::Trailer, &[], Bytes::new());
    assert_eq!(callee.ended(), Ended::HalfClosed);
    stream.rst(12007, "after all", "A");
    assert_eq!(callee.ended(), Ended::Reset(8));
    let stream = caller.open(2, "Bidi", &[("isn", "Interop")]);
    callee.opened();
    stream.send(FrameKind::Data, &[], message(b"x"));
    stream.rst(12007, "at once", "A");
    assert_eq!(callee.ended(), Ended::Reset(8));
}

fn a_reset_in_the_middle_of_a_message_is_a_cancel_and_no_end() {
    let listener = Listener::start();
    let hop = Ripcord::before("ttheader", &listener.address);
    let caller = H2Caller::connect(&hop.address);
    caller.open("/interop.Interop/Bidi", headers(&[]));
    // The first half of a message of 100 bytes.
    caller.send(Bytes::from_static(b"\0\0\0\0\x64half"));
    let callee = listener.accept();
    let stream = callee.stream(0);
    caller.reset(8);
    let (exception, path) = said(&stream.nth(FrameKind::Rst, 0));
    assert_eq!(
        (exception.type_id, path.as_str()),
        (12011, "non-ttstream path,hop")
    );
    assert_eq!(
        (
            stream.count(FrameKind::Data),
            stream.count(FrameKind::Trailer)
        ),
        (0, 0)
    );
}
