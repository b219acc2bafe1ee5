//! Keepalive pings toward a real gRPC server, which ends connections that ping too much.

use std::time::Duration;

use serde_json::json;

use crate::kit::lab::{Caller, client, pass, say};
use crate::kit::peers::{address, go};
use crate::kit::process::Process;
use crate::kit::ripcord::Ripcord;
use crate::kit::scenario::{Kind, assert_like, barrier, op, recv, scenario, send};
use crate::kit::trial::cases;

cases! {
    [Go] {
        a_grpc_go_server_bears_pings_as_often_as_it_allows,
        a_grpc_go_server_that_complains_of_pings_is_asked_half_as_often,
    }
}

/// The shortest interval that can be configured, and that the server is started with.
const SECOND: Duration = Duration::from_secs(1);

/// grpc-go ends a connection at its third ping too many.
const STRIKES: u32 = 3;

/// A ripcord that pings each second, in front of that server.
fn hop(server: &Process) -> Ripcord {
    let keys = "protocol: grpc, keepalive: { http2: { interval: 1s, timeout: 5s } }";
    Ripcord::named("hop")
        .backend("pinged", keys, address(server))
        .route("pinged", "backend: pinged")
        .start()
}

/// While a stream is open, and while none is.
fn a_grpc_go_server_bears_pings_as_often_as_it_allows() {
    let server = go(&["grpc-server", "-min-ping", "1s"]);
    let hop = hop(&server);
    let caller = client(Caller::GrpcGo, &hop.address);
    let talk = [
        send(1, 5),
        recv(1),
        barrier("silence"),
        send(1, 5),
        recv(1),
        op("close_send"),
    ];
    for _ in 0..2 {
        let case = scenario("pinged", Kind::Bidi, [op("echo")], talk.clone());
        let id = say(&caller, &case);
        caller.event("barrier", &format!("{id}/silence"));
        // Nothing must happen in this time. It is longer than a server bears that counts each ping.
        std::thread::sleep(SECOND * (STRIKES + 3));
        pass(&caller, &id, "silence");
        let result = caller.event("result", &id);
        assert_like("pinged", &result, &json!({ "kind": "ok", "recv": 2 }));
        std::thread::sleep(SECOND * (STRIKES + 2));
    }
    let lost = |line: &serde_json::Value| line["message"] == "backend connection lost";
    assert!(!hop.process.all().iter().any(lost));
    assert_eq!(hop.metric("ripcord_connections_active", "outbound"), 1);
}

/// It has its default enforcement: a ping in five minutes.
fn a_grpc_go_server_that_complains_of_pings_is_asked_half_as_often() {
    let server = go(&["grpc-server"]);
    let hop = hop(&server);
    let caller = client(Caller::GrpcGo, &hop.address);
    for interval in ["2s", "4s"] {
        let silent = [op("wait_cancel")];
        let case = scenario("silent", Kind::Bidi, silent, [json!({ "op": "recv" })]);
        let id = say(&caller, &case);
        let result = caller.event("result", &id);
        let text = "~the callee sent GOAWAY ENHANCE_YOUR_CALM: too many pings";
        let expected = json!({ "kind": "error", "code": 14, "message": text });
        assert_like(interval, &result, &expected);
        let line = hop
            .process
            .line(interval, |line| line["interval"] == *interval);
        assert_eq!(line["backend"], "pinged", "{line}");
        assert_eq!(line["endpoint"], address(&server), "{line}");
    }
}
