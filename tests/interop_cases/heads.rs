//! Heads, and how many fields a block has: what gRPC libraries take of a callee's answer, and what a
//! callee takes of a request. The sizes of ends are in `sizes.rs`.

use serde_json::json;

use super::sizes::{GRPC_CALLEES, GRPC_CALLERS, VALUE, VIAS, request, run};
use crate::kit::lab::{Caller, Ends, Seen, client, say};
use crate::kit::peers::{address, grpcio};
use crate::kit::ripcord::Ripcord;
use crate::kit::scenario::{Kind, Scenario, assert_like, op, recv, scenario, send};
use crate::kit::trial::cases;

cases! {
    pairs {
        a_grpc_caller_is_told_as_much_of_a_head_as_it_takes,
        a_grpc_caller_is_told_at_most_a_hundred_fields,
    }
    [Go, Grpcio] {
        a_request_over_what_its_callee_announced_ends_at_the_hop,
    }
}

/// `n` fields of `size` bytes each, in a head (`send_header`) or in trailers.
fn fields(place: &str, n: usize, size: usize) -> Scenario {
    let fields = json!({ "op": place, "n": n, "size": size });
    let script = match place {
        "trailer" => [op("echo"), fields],
        _ => [fields, op("echo")],
    };
    let ops = [send(1, 5), recv(1), op("close_send")];
    scenario(
        format!("{place} {n} of {size} bytes"),
        Kind::Bidi,
        script,
        ops,
    )
}

/// How many of the script's fields the caller received in its `place`, and what was cut there.
#[track_caller]
fn received<'a>(seen: &'a Seen, place: &str) -> (usize, &'a str) {
    let ok = json!({ "kind": "ok", "recv": 1 });
    assert_like(&seen.what, &seen.caller, &ok);
    let got = seen.caller[place].as_object().unwrap();
    let count = got.keys().filter(|key| key.starts_with("t-")).count();
    let mark = got.get("ripcord-cut").and_then(|mark| mark[0].as_str());
    (count, mark.unwrap_or_default())
}

/// The call succeeds, whatever the callee says in its head.
fn a_grpc_caller_is_told_as_much_of_a_head_as_it_takes(ends: Ends) {
    for n in [7, 8, 10, 17, 60] {
        let script = fields("send_header", n, VALUE);
        run(ends, &GRPC_CALLERS, &VIAS, &GRPC_CALLEES, &script, |seen| {
            let (got, mark) = received(seen, "header");
            assert_eq!(got, 7, "{}: {mark}", seen.what);
            let named = mark.contains("headers,names=t-00");
            assert_eq!(named, n > 7, "{}: {mark}", seen.what);
        });
    }
}

/// Node's clients refuse 128 fields, however small.
fn a_grpc_caller_is_told_at_most_a_hundred_fields(ends: Ends) {
    for (script, place, part) in [
        (fields("send_header", 150, 1), "header", "headers"),
        (fields("trailer", 150, 1), "trailer", "trailers"),
    ] {
        run(ends, &GRPC_CALLERS, &VIAS, &GRPC_CALLEES, &script, |seen| {
            let (got, mark) = received(seen, place);
            assert!((90..=99).contains(&got), "{}: {got}", seen.what);
            let named = mark.contains(&format!("{part},names=t-0"));
            assert!(named, "{}: {mark}", seen.what);
        });
    }
}

/// grpcio announces 16 KiB. A request is never cut.
fn a_request_over_what_its_callee_announced_ends_at_the_hop() {
    let server = grpcio(&["grpc-server"]);
    let hop = Ripcord::named("hop")
        .set("limits: { metadata_size: 64KiB }")
        .to("protocol: grpc", address(&server))
        .start();
    for caller in [Caller::GrpcGo, Caller::Python] {
        let client = client(caller, &hop.address);
        let result = |scenario| client.event("result", &say(&client, scenario));
        let small = request(1_000);
        assert_like("small", &result(&small), &json!({ "kind": "ok" }));
        let told = json!({
            "kind": "error", "code": 8,
            "message": "~and the callee takes 16384 (SETTINGS_MAX_HEADER_LIST_SIZE)",
            "trailer": { "ripcord-end": ["over_limit"] },
        });
        let large = request(30_000);
        assert_like("large", &result(&large), &told);
        assert_like("small", &result(&small), &json!({ "kind": "ok" }));
    }
}
