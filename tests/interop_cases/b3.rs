//! Trace context for a callee whose application reads only B3.

use serde_json::{Value, json};

use crate::kit::lab::{Caller, client, say};
use crate::kit::peers::{address, go};
use crate::kit::ripcord::Ripcord;
use crate::kit::scenario::{Kind, assert_like, op, recv, scenario, send};
use crate::kit::trial::cases;

cases! {
    [Go] {
        a_grpc_callee_receives_the_forms_of_b3,
    }
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

fn a_grpc_callee_receives_the_forms_of_b3() {
    let server = go(&["grpc-server"]);
    let keys = "protocol: grpc, trace_context: [b3, b3multi]";
    let hop = Ripcord::named("hop").to(keys, address(&server)).start();
    let client = client(Caller::GrpcGo, &hop.address);
    let single = format!("{TRACE}-{SPAN}-1");
    for (from, seen) in [
        (
            json!({ "traceparent": format!("00-{TRACE}-{SPAN}-01") }),
            json!({
                "b3": [single], "x-b3-traceid": [TRACE], "x-b3-spanid": [SPAN],
                "x-b3-sampled": ["1"], "traceparent": null,
            }),
        ),
        // "Do not sample", and nothing else.
        (
            json!({ "b3": "0" }),
            json!({ "b3": ["0"], "x-b3-sampled": ["0"], "x-b3-traceid": null }),
        ),
    ] {
        let ops = [send(1, 5), recv(1), op("close_send")];
        let case = scenario("b3", Kind::Bidi, [op("echo")], ops).with("metadata", from);
        let id = say(&client, &case);
        let ok = json!({ "kind": "ok" });
        assert_like("b3", &client.event("result", &id), &ok);
        let end: Value = server.event("server_end", &id);
        assert_like("b3", &end["metadata"], &seen);
    }
}
