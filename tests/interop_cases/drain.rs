//! SIGTERM while streams run: which streams may finish, what the others receive, and in which order
//! connections close.

use std::net::TcpStream;

use bytes::Bytes;
use ripcord::wire::ttheader::frame::Kind as FrameKind;
use serde_json::json;

use super::golden::check;
use super::limits::Rig;
use crate::kit::h2raw::{Raw, SETTINGS};
use crate::kit::lab::Callee;
use crate::kit::ripcord::Ripcord;
use crate::kit::rows::{callee_sees, own_end, rows};
use crate::kit::scenario::{Kind, assert_like, barrier, in_the_middle, op, recv, scenario, send};
use crate::kit::trial::cases;
use crate::kit::tt::{Connection, Listener, said};

cases! {
    [Go] {
        streams_that_end_in_time_are_spared,
        streams_that_do_not_end_in_time_are_ended_at_both_sides,
        grpc_callers_get_goaway_in_two_steps,
    }
    [] {
        a_ttheader_caller_is_refused_new_streams_and_keeps_the_old,
    }
}

const ROUTE: [(&str, &str); 1] = [("drain", "backend: BACKEND, rewrite: { service: SERVICE }")];
const CALLEES: [Callee; 3] = [Callee::Kitex, Callee::KitexGrpc, Callee::GrpcGo];

fn streams_that_end_in_time_are_spared() {
    let rig = Rig::start(&ROUTE, "drain: { timeout: 20s }");
    let ops = [
        send(1, 5),
        recv(1),
        barrier("after"),
        send(3, 50_000),
        recv(3),
        op("close_send"),
    ];
    let case = scenario("spared", Kind::Bidi, [op("echo")], ops);
    let running = rig.start_all("drain", &case, &CALLEES);
    for running in &running {
        running
            .client
            .event("barrier", &format!("{}/after", running.id));
    }
    rig.hop.process.signal("TERM");
    rig.hop.logged("draining");
    assert!(rig.hop.ask("/readyz").starts_with("HTTP/1.1 503"));
    assert!(rig.hop.ask("/healthz").starts_with("HTTP/1.1 200"));
    assert!(
        TcpStream::connect(&rig.hop.address).is_err(),
        "a connection was taken"
    );
    for running in running {
        running.caller_passes("after");
        let seen = running.seen();
        assert_like(
            &seen.what,
            &seen.caller,
            &json!({ "kind": "ok", "recv": 4, "recv_bytes": 150_005 }),
        );
    }
    assert_eq!(rig.hop.process.exit_code(), Some(0));
}

fn streams_that_do_not_end_in_time_are_ended_at_both_sides() {
    let rig = Rig::start(&ROUTE, "drain: { timeout: 500ms }");
    let mut running = Vec::new();
    for kind in Kind::ALL {
        let case = in_the_middle(kind, json!({ "op": "recv" }));
        running.extend(rig.start_all("drain", &case, &CALLEES));
    }
    for running in &running {
        running.callee_passes("ready");
    }
    rig.hop.process.signal("TERM");
    let to_callee = rows("hop drain_over to callee ").remove(0);
    for running in running {
        let seen = running.seen();
        let to_caller = own_end("drain_over", seen.pair.caller, seen.pair.callee);
        check(&to_caller, seen.pair.caller, &seen.caller, true);
        let mut expected = callee_sees(&to_callee, seen.pair.callee, true);
        if !seen.what.contains("Bidi") {
            expected = json!({ "ctx_err": expected["ctx_err"] });
        }
        assert_like(&seen.what, &seen.callee, &expected);
    }
    assert_eq!(rig.hop.process.exit_code(), Some(0));
    let lines = rig.hop.process.all();
    let streams = lines
        .iter()
        .filter(|line| !line["duration_ms"].is_null())
        .count();
    assert_eq!(streams, 27, "each stream has its line in the access log");
}

/// An HTTP/2 connection without streams, behind its preface.
fn idle_connection(hop: &Ripcord) -> Raw {
    let mut raw = Raw::open(hop.socket_address());
    raw.wait(SETTINGS, 0);
    raw
}

fn grpc_callers_get_goaway_in_two_steps() {
    let rig = Rig::start(&ROUTE, "drain: { timeout: 20s }");
    let mut socket = idle_connection(&rig.hop);
    rig.hop.process.signal("TERM");
    let goaways: Vec<_> = std::iter::from_fn(|| socket.next_goaway()).collect();
    assert_eq!(goaways, [(0x7fff_ffff, 0), (0, 0)]);
    assert_eq!(rig.hop.process.exit_code(), Some(0));
}

fn a_ttheader_caller_is_refused_new_streams_and_keeps_the_old() {
    let listener = Listener::start();
    let hop = Ripcord::before("ttheader", &listener.address);
    let caller = Connection::connect(&hop.address);
    let old = caller.open(1, "Bidi", &[("isn", "Interop")]);
    let callee = listener.accept();
    let stream = callee.stream(0);
    // TTHeader has no GOAWAY. This one shows that the worker is draining.
    let mut socket = idle_connection(&hop);
    hop.process.signal("TERM");
    socket.next_goaway().unwrap();
    let new = caller.open(2, "Bidi", &[("isn", "Interop")]);
    let refusal = said(&new.nth(FrameKind::Trailer, 0)).0;
    assert_eq!(refusal.type_id, 12006);
    assert!(refusal.text.ends_with("draining"), "{}", refusal.text);
    assert_eq!(new.count(FrameKind::Header), 1);
    assert!(!caller.is_closed());
    stream.send(FrameKind::Header, &[], Bytes::new());
    stream.send(FrameKind::Trailer, &[], Bytes::new());
    assert!(old.nth(FrameKind::Trailer, 0).payload.is_empty());
    assert_eq!(hop.process.exit_code(), Some(0));
}
