//! A real gRPC server behind a backend with `protocol: ttheader`: the end names it, and tells what
//! to set. Scripted callees of every protocol are in `tests/abuse.rs`. Also a caller that speaks
//! HTTP/2 but not gRPC: the log has a line.

use serde_json::json;

use crate::kit::h2peer::told;
use crate::kit::lab::{Caller, client, say};
use crate::kit::peers::{address, go};
use crate::kit::ripcord::Ripcord;
use crate::kit::scenario::{Kind, assert_like, recv, scenario, send};
use crate::kit::trial::cases;

cases! {
    [] {
        a_request_that_is_not_grpc_has_a_line_at_debug,
    }
    [Go] {
        a_grpc_server_behind_protocol_ttheader_is_named,
    }
}

fn a_grpc_server_behind_protocol_ttheader_is_named() {
    let server = go(&["grpc-server"]);
    let endpoint = address(&server);
    let hop = Ripcord::before("ttheader", &endpoint);
    let text = "answers HTTP/2; this backend's protocol is ttheader: set protocol: grpc";
    let callers = [Caller::Mux, Caller::GrpcGo];
    for caller in callers {
        let client = client(caller, &hop.address);
        let id = say(
            &client,
            &scenario("other", Kind::Bidi, [], [send(1, 3), recv(1)]),
        );
        let seen = client.event("result", &id);
        let all = format!("~backend callee ({endpoint}) {text}");
        assert_like(&format!("{caller:?}"), &seen, &json!({ "err": all }));
    }
    let page = hop.json("/config");
    let finding = &page["backends"]["callee"]["other_protocol"];
    let found = json!({ "endpoint": endpoint, "text": text });
    assert_like("/config", finding, &found);
    // A stream whose connection was refused before anything was written is opened again.
    let connections = callers.len() as u64..=callers.len() as u64 * 2;
    let count = finding["count"].as_u64().unwrap();
    assert!(connections.contains(&count), "{finding}");
}

fn a_request_that_is_not_grpc_has_a_line_at_debug() {
    let hop = Ripcord::named("hop")
        .log_level("debug")
        .to("protocol: grpc", "127.0.0.1:9")
        .start();
    let html = [("content-type", "text/html")];
    assert_eq!(told(hop.socket_address(), "Chat", &html), (415, -1));
    let line = hop.logged("request refused");
    assert_eq!(line["level"], "DEBUG", "{line}");
    assert_eq!(
        line["what"],
        "content-type is not application/grpc: POST \"/Chat/Echo\", content-type \"text/html\""
    );
}
