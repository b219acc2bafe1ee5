//! SIGTERM while streams run: who is spared, what the rest is told, in which order connections go.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;

use super::golden::check;
use super::limits::Rig;
use crate::support::lab::Callee;
use crate::support::process::LIMIT;
use crate::support::scenario::{Kind, assert_like, barrier, op, recv, scenario, send};
use crate::support::table::{callee_sees, rows};

const ROUTE: [(&str, &str); 1] = [("drain", "backend: BACKEND, rewrite: { service: SERVICE }")];
const CALLEES: [Callee; 3] = [Callee::Kitex, Callee::KitexGrpc, Callee::GrpcGo];

#[test]
fn streams_that_end_in_time_are_spared() {
    let Some(rig) = Rig::start(&ROUTE, "drain: { timeout: 20s }") else {
        return;
    };
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

#[test]
fn streams_that_do_not_end_in_time_are_ended_at_both_sides() {
    let Some(rig) = Rig::start(&ROUTE, "drain: { timeout: 500ms }") else {
        return;
    };
    let mut running = Vec::new();
    for (kind, up, down) in [
        (Kind::Bidi, 1, 1),
        (Kind::Server, 1, 2),
        (Kind::Client, 2, 0),
    ] {
        let script = [recv(up), send(down, 5), barrier("ready"), op("wait_cancel")];
        let ops = [send(up, 5), recv(down), json!({ "op": "recv" })];
        let case = scenario(format!("{kind:?}"), kind, script, ops);
        running.extend(rig.start_all("drain", &case, &CALLEES));
    }
    for running in &running {
        running.callee_passes("ready");
    }
    rig.hop.process.signal("TERM");
    let (to_caller, to_callee) = (
        rows("hop drain_over to caller ").remove(0),
        rows("hop drain_over to callee ").remove(0),
    );
    for running in running {
        let seen = running.seen();
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

/// One HTTP/2 frame: its type, flags and payload.
fn frame(socket: &mut TcpStream) -> Option<(u8, u8, Vec<u8>)> {
    let mut head = [0; 9];
    socket.read_exact(&mut head).ok()?;
    let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; len as usize];
    socket.read_exact(&mut payload).ok()?;
    Some((head[3], head[4], payload))
}

#[test]
fn grpc_callers_get_goaway_in_two_steps() {
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const GOAWAY: u8 = 7;
    let Some(rig) = Rig::start(&ROUTE, "drain: { timeout: 20s }") else {
        return;
    };
    let mut socket = TcpStream::connect(&rig.hop.address).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .unwrap();
    while frame(&mut socket).unwrap().0 != SETTINGS {}
    rig.hop.process.signal("TERM");
    let mut goaways = Vec::new();
    while let Some((kind, flags, payload)) = frame(&mut socket) {
        if kind == GOAWAY {
            goaways.push((
                u32::from_be_bytes(payload[..4].try_into().unwrap()),
                payload[4..8].to_vec(),
            ));
        } else if kind == PING && flags == 0 {
            let mut answer = b"\0\0\x08\x06\x01\0\0\0\0".to_vec();
            answer.extend(payload);
            socket.write_all(&answer).unwrap();
        }
    }
    assert_eq!(goaways, [(0x7fff_ffff, vec![0; 4]), (0, vec![0; 4])]);
    assert_eq!(rig.hop.process.exit_code(), Some(0));
}
