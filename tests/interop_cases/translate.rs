//! `translate` between real peers: grpc-go with protobuf, and Kitex with thrift, in both directions
//! and all kinds of streams. A cancel crosses a translation as it crosses ripcord without one.

use serde_json::json;

use crate::kit::lab::{Caller, client, client_with, pass, say};
use crate::kit::peers::{address, go};
use crate::kit::process::Process;
use crate::kit::ripcord::Ripcord;
use crate::kit::scenario::{Kind, Scenario, assert_like, barrier, op, recv, scenario, send};
use crate::kit::trial::cases;

cases! {
    [Go] {
        a_protobuf_caller_reaches_kitex,
        a_kitex_caller_reaches_a_protobuf_service,
        a_protobuf_callers_cancel_reaches_kitex,
    }
}

const PROTOBUF: &[&str] = &["--assume", "protobuf"];

fn hop(backend: &str, callee: &str) -> Ripcord {
    let idl = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/idl");
    Ripcord::named("hop")
        .set(&format!(
            "schemas: {{ interop: {{ protobuf: {{ files: [\"{idl}/interop.proto\"] }}, \
             thrift: {{ files: [\"{idl}/interop.thrift\"] }} }} }}"
        ))
        .backend("callee", backend, callee)
        .route("all", "backend: callee, translate: interop")
        .start()
}

/// A scenario of each kind, with the messages of its caller and its callee.
fn kinds() -> [(Scenario, usize, usize); 3] {
    let exchange = json!({ "op": "exchange", "n": 50, "size": 300, "window": 4 });
    let up = [op("recv"), send(1, 7)];
    let bidi = [exchange, op("close_send")];
    [
        (scenario("bidi", Kind::Bidi, [op("echo")], bidi), 50, 50),
        (
            scenario("client", Kind::Client, up, [send(20, 1000)]),
            20,
            1,
        ),
        (
            scenario(
                "server",
                Kind::Server,
                [recv(1), send(30, 1000)],
                [send(1, 10)],
            ),
            1,
            30,
        ),
    ]
}

fn carried(client: &Process, server: &Process) {
    for (case, up, down) in kinds() {
        let id = say(client, &case);
        let (caller, callee) = (client.event("result", &id), server.event("server_end", &id));
        let expected = json!({ "kind": "ok", "sent": up, "recv": down });
        assert_like(&case.name, &caller, &expected);
        let expected = json!({ "sent": down, "recv": up });
        assert_like(&case.name, &callee, &expected);
        for of in [&caller, &callee] {
            assert!(
                of["corrupt"].is_null() && of["out_of_order"].is_null(),
                "{of}"
            );
        }
    }
}

fn a_protobuf_caller_reaches_kitex() {
    let kitex = go(&["kitex-server"]);
    let hop = hop("protocol: ttheader, payload: thrift", &address(&kitex));
    let client = client_with(Caller::GrpcRaw, &hop.address, PROTOBUF);
    carried(&client, &kitex);
}

fn a_kitex_caller_reaches_a_protobuf_service() {
    let server = go(&["grpc-server", "--assume", "protobuf"]);
    let hop = hop("protocol: grpc, payload: protobuf", &address(&server));
    for caller in [Caller::Mux, Caller::KitexGrpc] {
        let client = client(caller, &hop.address);
        carried(&client, &server);
    }
}

fn a_protobuf_callers_cancel_reaches_kitex() {
    let kitex = go(&["kitex-server"]);
    let hop = hop("protocol: ttheader, payload: thrift", &address(&kitex));
    let client = client_with(Caller::GrpcRaw, &hop.address, PROTOBUF);
    let script = [recv(1), send(1, 5), barrier("ready"), op("wait_cancel")];
    let ops = [send(1, 5), recv(1), barrier("now"), op("cancel")];
    let id = say(&client, &scenario("cancel", Kind::Bidi, script, ops));
    pass(&kitex, &id, "ready");
    pass(&client, &id, "now");
    let seen = kitex.event("server_end", &id);
    assert_eq!(seen["recv"], json!(1), "{seen}");
    let err = seen["err"].as_str().unwrap_or_default();
    assert!(err.contains("non-ttstream path -> hop"), "{seen}");
}
