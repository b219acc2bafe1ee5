//! `validate: thrift` on a route, between real peers. Structs pass, also compressed ones. What is
//! no struct ends its stream on both sides, as in the golden rows.

use bytes::Bytes;
use ripcord::wire::ttheader::frame::Kind as FrameKind;
use serde_json::json;

use super::golden::{base64, check};
use super::limits::Rig;
use crate::kit::h2peer::{H2Caller, headers};
use crate::kit::lab::{Callee, Caller, client, say};
use crate::kit::peers::{address, go};
use crate::kit::ripcord::Ripcord;
use crate::kit::rows::{Row, callee_sees, rows};
use crate::kit::scenario::{Kind, assert_like, op, recv, scenario, send};
use crate::kit::trial::cases;
use crate::kit::tt::{Connection, Listener, message, said};

cases! {
    [Go] {
        structs_pass_also_compressed_ones,
        a_callers_broken_struct_ends_both_sides,
        a_callees_broken_struct_ends_both_sides,
        another_kind_of_payload_is_refused,
    }
}

const CALLEES: [Callee; 3] = [Callee::Kitex, Callee::KitexGrpc, Callee::GrpcGo];

/// `{1: binary}`, whose length reaches beyond the end.
const BROKEN: &[u8] = b"\x0b\0\x01\0\0\0\x09";

fn row(from: &str) -> Row {
    rows(&format!("hop {from} ")).remove(0)
}

fn hop(protocol: &str, callee: &str) -> Ripcord {
    Ripcord::named("hop")
        .backend("callee", &format!("protocol: {protocol}"), callee)
        .route("all", "backend: callee, validate: thrift")
        .start()
}

fn structs_pass_also_compressed_ones() {
    let route = "backend: BACKEND, rewrite: { service: SERVICE }, validate: thrift";
    let rig = Rig::start(&[("checked", route)], "");
    let echo = |n: usize, size: usize| {
        let exchange = json!({ "op": "exchange", "n": n, "size": size, "window": 8 });
        [exchange, op("close_send")]
    };
    let compressed = [
        json!({ "op": "compress", "name": "gzip" }),
        send(3, 9000),
        recv(3),
        op("close_send"),
    ];
    let cases = [
        (
            scenario("small", Kind::Bidi, [op("echo")], echo(200, 100)),
            200,
        ),
        (
            scenario("large", Kind::Bidi, [op("echo")], echo(3, 1 << 20)),
            3,
        ),
        (scenario("gzip", Kind::Bidi, [op("echo")], compressed), 3),
    ];
    for (case, n) in cases {
        for running in rig.start_all("checked", &case, &CALLEES) {
            // Only gRPC libraries compress.
            if case.name == "gzip" && running.pair.caller == Caller::Mux {
                let _ = running.result();
                continue;
            }
            let seen = running.seen();
            let kept = json!({ "kind": "ok", "sent": n, "recv": n });
            assert_like(&seen.what, &seen.caller, &kept);
            assert_eq!(
                seen.caller["sha256"], seen.callee["sha256"],
                "{}",
                seen.what
            );
        }
    }
}

fn a_callers_broken_struct_ends_both_sides() {
    let (kitex, grpc) = (go(&["kitex-server"]), go(&["grpc-server"]));
    let (to_caller, to_callee) = (
        row("invalid_request to caller"),
        row("invalid_request to callee"),
    );
    let callees = [
        (Callee::Kitex, "ttheader", &kitex),
        (Callee::GrpcGo, "grpc", &grpc),
    ];
    for (callee, protocol, server) in callees {
        let hop = hop(protocol, &address(server));
        for caller in ["ttheader", "grpc"] {
            let id = format!("broken {caller} {callee:?}");
            let script =
                base64(&json!({ "id": id, "ops": [recv(1), op("wait_cancel")] }).to_string());
            let good = message(b"good");
            if caller == "ttheader" {
                let wire = Connection::connect(&hop.address);
                let strings = [("isn", "Interop"), ("RPC_TRANSIT_SCRIPT", &script)];
                let stream = wire.open(7, "Bidi", &strings);
                stream.send(FrameKind::Data, &[], good);
                server.event("server_start", &id);
                stream.send(FrameKind::Data, &[], Bytes::from_static(BROKEN));
                let (told, path) = said(&stream.nth(FrameKind::Rst, 0));
                assert_eq!((told.type_id, &*path), (12004, "hop"));
                assert_eq!(to_caller.ttheader.words[..3], ["ttheader", "rst", "12004"]);
                let text = "the caller's message 2 is not a thrift struct: it ends too early, at byte 7 of 7";
                assert_eq!(told.text, text);
            } else {
                // What a gRPC caller receives is in `tests/loss_free.rs`.
                let peer = H2Caller::connect(&hop.address);
                peer.open(
                    "/interop.Interop/Bidi",
                    headers(&[("rpc-transit-script", &script)]),
                );
                let frame = |payload: &[u8]| {
                    let mut out = vec![0];
                    out.extend((payload.len() as u32).to_be_bytes());
                    out.extend(payload);
                    Bytes::from(out)
                };
                peer.send(frame(&good));
                server.event("server_start", &id);
                peer.send(frame(BROKEN));
                server.event("server_end", &id);
            }
            let seen = server.event("server_end", &id);
            assert_like(&id, &seen, &callee_sees(&to_callee, callee, true));
            if callee == Callee::Kitex {
                let err = seen["err"].as_str().unwrap();
                assert!(err.ends_with("it ends too early, at byte 7 of 7"), "{err}");
            }
        }
    }
}

fn a_callees_broken_struct_ends_both_sides() {
    let listener = Listener::start();
    let hop = hop("ttheader", &listener.address);
    let to_caller = row("invalid_response to caller");
    let mut wire = None;
    for (n, caller) in [Caller::Mux, Caller::GrpcGo, Caller::KitexGrpc]
        .into_iter()
        .enumerate()
    {
        let client = client(caller, &hop.address);
        let ops = [send(1, 3), recv(1), json!({ "op": "recv" })];
        let id = say(&client, &scenario("callee breaks", Kind::Bidi, [], ops));
        let wire: &Connection = wire.get_or_insert_with(|| listener.accept());
        let stream = wire.stream(n);
        stream.nth(FrameKind::Data, 0);
        stream.send(FrameKind::Header, &[], Bytes::new());
        stream.send(FrameKind::Data, &[], Bytes::from_static(BROKEN));
        let seen = client.event("result", &id);
        check(&to_caller, caller, &seen, true);
        assert_eq!(seen["recv"], json!(0), "{seen}");
        let (told, path) = said(&stream.nth(FrameKind::Rst, 0));
        assert_eq!((told.type_id, &*path), (12004, "hop"), "{caller:?}");
        assert!(
            told.text
                .starts_with("the callee's message 1 is not a thrift struct"),
            "{told:?}"
        );
    }
}

fn another_kind_of_payload_is_refused() {
    let kitex = go(&["kitex-server"]);
    let hop = hop("ttheader", &address(&kitex));
    let client = client(Caller::GrpcRaw, &hop.address);
    let ops = [send(1, 3), json!({ "op": "recv" })];
    let id = say(&client, &scenario("protobuf", Kind::Bidi, [], ops));
    let seen = client.event("result", &id);
    check(
        &row("payload_mismatch to caller"),
        Caller::GrpcRaw,
        &seen,
        true,
    );
}
