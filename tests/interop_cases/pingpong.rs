//! What passes beside TTHeader streams: Kitex's ping-pong calls through the same listener, and
//! compressed gRPC messages.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::kit::lab::{Callee, Caller, Ends, Via, client, lab, say};
use crate::kit::peers::{address, go};
use crate::kit::ripcord::Ripcord;
use crate::kit::scenario::{Kind, Scenario, assert_like, op, recv, ret, scenario, send};
use crate::kit::trial::cases;

cases! {
    pairs {
        compressed_messages_are_inflated_toward_ttheader_and_pass_to_grpc,
    }
    [Go] {
        ping_pong_calls_pass_untouched_through_the_same_listener,
        compressed_messages_pass_from_grpc_to_grpc_as_they_are,
    }
}

fn ping<const N: usize>(name: &str, script: [Value; N], ops: Vec<Value>) -> Scenario {
    Scenario {
        name: name.to_owned(),
        value: json!({ "method": "Ping", "script": script.to_vec(), "ops": ops }),
    }
}

fn ping_pong_calls_pass_untouched_through_the_same_listener() {
    let server = go(&["kitex-server"]);
    let hop = Ripcord::before("ttheader", &address(&server));
    let mut biz = ret("biz", 404, "nope");
    biz["extra"] = json!({ "a": "b" });
    let cases = [
        (
            ping(
                "echo",
                [recv(1), send(1, 7)],
                vec![json!({ "op": "ping", "n": 3, "size": 10 })],
            ),
            json!({ "kind": "ok", "recv": 3, "recv_bytes": 21 }),
        ),
        (
            ping(
                "large",
                [recv(1), send(1, 1 << 20)],
                vec![json!({ "op": "ping", "size": 1 << 20 })],
            ),
            json!({ "kind": "ok", "recv_bytes": 1 << 20 }),
        ),
        (
            ping(
                "biz",
                [recv(1), biz],
                vec![json!({ "op": "ping", "size": 10 })],
            ),
            json!({ "kind": "biz", "biz": { "code": 404, "message": "nope", "extra": { "a": "b" } } }),
        ),
        (
            ping(
                "failure",
                [recv(1), ret("failure", 3, "declared")],
                vec![json!({ "op": "ping", "size": 10 })],
            ),
            json!({ "kind": "error", "code": 3, "code_kind": "failure", "message": "declared" }),
        ),
    ];
    for (transport, pool) in [
        ("pingpong", "mux"),
        ("framed", "long"),
        ("ttheader", "short"),
    ] {
        let arguments = [
            "kitex-client",
            "--transport",
            transport,
            "--pool",
            pool,
            "--addr",
            &hop.address,
        ];
        let client = Arc::new(go(&arguments));
        let began: Vec<_> = cases
            .iter()
            .map(|(case, expected)| {
                let case = case
                    .clone()
                    .with("transit", json!({ "TK": "one hop" }))
                    .with("persist", json!({ "PK": "for ever" }));
                (case.name.clone(), say(&client, &case), expected)
            })
            .collect();
        // Streams beside them, on the same listener.
        let beside = (transport == "ttheader").then(|| {
            let case = scenario(
                "beside",
                Kind::Bidi,
                [op("echo")],
                [send(1, 5), recv(1), op("close_send")],
            );
            say(&client, &case)
        });
        for (name, id, expected) in began {
            let what = format!("{transport} {name}");
            assert_like(&what, &client.event("result", &id), expected);
            let metainfo =
                json!({ "transit": { "TK": "one hop" }, "persist": { "PK": "for ever" } });
            assert_like(&what, &server.event("server_end", &id), &metainfo);
        }
        if let Some(id) = beside {
            assert_like(
                "beside",
                &client.event("result", &id),
                &json!({ "kind": "ok", "recv": 1 }),
            );
        }
    }
}

fn compressed_messages_are_inflated_toward_ttheader_and_pass_to_grpc(ends: Ends) {
    let lab = lab();
    let gzip = json!({ "op": "compress", "name": "gzip" });
    let exchange = json!({ "op": "exchange", "n": 3, "size": 50_000 });
    let case = scenario(
        "gzip",
        Kind::Bidi,
        [op("echo")],
        [gzip, exchange, op("close_send")],
    );
    let callers = [
        Caller::GrpcGo,
        Caller::GrpcRaw,
        Caller::KitexGrpc,
        Caller::Python,
    ];
    for pair in lab.pairs(
        ends,
        &callers,
        &[Via::One, Via::TtHeader, Via::Grpc],
        &Callee::ALL,
    ) {
        let seen = lab.start_on(pair, &case).seen();
        assert_like(
            &seen.what,
            &seen.caller,
            &json!({ "kind": "ok", "recv": 3, "recv_bytes": 150_000 }),
        );
        assert_like(
            &seen.what,
            &seen.callee,
            &json!({ "recv": 3, "recv_bytes": 150_000 }),
        );
    }
}

fn compressed_messages_pass_from_grpc_to_grpc_as_they_are() {
    let server = go(&["grpc-server"]);
    let hop = Ripcord::before("grpc", &address(&server));
    let client = client(Caller::GrpcGo, &hop.address);
    let gzip = json!({ "op": "compress", "name": "gzip" });
    let exchange = json!({ "op": "exchange", "n": 3, "size": 50_000 });
    let ops = [gzip, exchange, op("close_send")];
    let id = say(&client, &scenario("gzip", Kind::Bidi, [op("echo")], ops));
    assert_like(
        "gzip",
        &client.event("result", &id),
        &json!({ "kind": "ok", "recv_bytes": 150_000 }),
    );
    let line = hop.process.line("an access-log line", |line| {
        !line["request_bytes"].is_null()
    });
    for bytes in ["request_bytes", "response_bytes"] {
        assert!(line[bytes].as_u64().unwrap() < 15_000, "{line}");
    }
}
