//! Local ends at real peers: limits, refusals and lost backends, each compared with its rows of the
//! golden table.

use serde_json::json;

use super::golden::check;
use crate::kit::lab::{Callee, Caller, Pair, Running, Via, client, say};
use crate::kit::peers::address;
use crate::kit::process::Process;
use crate::kit::ripcord::Ripcord;
use crate::kit::rows::{Row, callee_sees, own_end, rows};
use crate::kit::scenario::{
    self, Kind, Scenario, assert_like, barrier, op, recv, ret, scenario, send,
};
use crate::kit::servers::Servers;
use crate::kit::trial::cases;

cases! {
    [Go] {
        the_hops_time_limits_end_both_sides,
        a_kitex_server_that_does_not_know_the_method_does_not_leave_the_caller_waiting,
        an_unknown_method_and_an_unknown_service_are_named,
        refusals_say_why,
        a_message_over_the_limit_ends_its_stream_alone,
        a_killed_callee_ends_its_callers_streams,
        a_callee_that_drops_its_connection_ends_all_streams_on_it,
        a_killed_caller_cancels_its_streams_at_the_callee,
    }
}

const CALLERS: [Caller; 3] = [Caller::Mux, Caller::GrpcGo, Caller::KitexGrpc];
const CALLEES: [Callee; 3] = [Callee::Kitex, Callee::KitexGrpc, Callee::GrpcGo];

/// A hop with one route for each limit and callee, and real peers around it.
pub(crate) struct Rig {
    servers: Servers,
    pub(crate) hop: Ripcord,
    callers: Vec<(Caller, std::sync::Arc<Process>)>,
}

impl Rig {
    /// `routes` are (name, what stands in every such route); the route is taken by `x-limit`.
    pub(crate) fn start(routes: &[(&str, &str)], more: &str) -> Self {
        let servers = Servers::start();
        let grpc = address(&servers.grpc);
        let mut table = servers
            .backends()
            .backend(
                "nobody",
                "protocol: grpc, connect_timeout: 1s",
                "127.0.0.1:1",
            )
            .backend("protobuf", "protocol: grpc, payload: protobuf", grpc);
        for (name, route) in routes {
            for callee in CALLEES {
                let (to, key) = (callee.route(), callee.key());
                let route = route
                    .replace("BACKEND", to)
                    .replace("SERVICE", callee.service());
                let keys = format!("match: {{ metadata: {{ x-limit: {name}, {key} }} }}, {route}");
                table = table.route(&format!("{name}-{to}"), &keys);
            }
        }
        let hop = Ripcord::named("hop").set(more).table(table).start();
        let start = |caller| (caller, client(caller, &hop.address).into());
        let callers = CALLERS.map(start).into();
        Self {
            servers,
            hop,
            callers,
        }
    }

    /// Starts a scenario between every two peers.
    pub(crate) fn start_all(
        &self,
        limit: &str,
        case: &Scenario,
        callees: &[Callee],
    ) -> Vec<Running<'_>> {
        let mut out = Vec::new();
        for (caller, client) in &self.callers {
            for &callee in callees {
                let metadata = json!({ "x-limit": limit, "x-to": callee.route() });
                let case = case.clone().with("metadata", metadata);
                let pair = Pair {
                    caller: *caller,
                    via: Via::One,
                    callee,
                };
                out.push(Running {
                    what: format!("{limit}, {}: {}", pair.name(), case.name),
                    pair,
                    id: say(client, &case),
                    client: std::sync::Arc::clone(client),
                    server: self.servers.of(callee),
                });
            }
        }
        out
    }
}

fn row(from: &str) -> Row {
    rows(&format!("{from} ")).remove(0)
}

/// Both ends of streams that the hop ended print what the two rows have. The callee stays in its
/// handler until the caller has received the end, so that its own end cannot be the one.
fn both_sides(running: Vec<Running<'_>>, kind: &str) {
    let to_callee = row(&format!("hop {kind} to callee"));
    for running in running {
        let pair = running.pair;
        let caller = running.client.event("result", &running.id);
        let to_caller = own_end(kind, pair.caller, pair.callee);
        check(&to_caller, pair.caller, &caller, true);
        let seen = running.callee_passes("canceled").seen_by_callee();
        let mut expected = callee_sees(&to_callee, pair.callee, true);
        if kind == "deadline" && pair.callee != Callee::Kitex {
            // It received the deadline over gRPC, so it has a timer of its own.
            let late = seen["ctx_err"] == "context deadline exceeded";
            expected = if late {
                json!({})
            } else {
                json!({ "ctx_err": expected["ctx_err"] })
            };
        }
        assert_like(&running.what, &seen, &expected);
    }
}

fn the_hops_time_limits_end_both_sides() {
    let base = "backend: BACKEND, rewrite: { service: SERVICE }, timeouts";
    let routes = [
        ("deadline", format!("{base}: {{ stream: 1s }}")),
        ("idle", format!("{base}: {{ idle: 1s }}")),
        (
            "first_response",
            format!("{base}: {{ first_response: 1s }}"),
        ),
    ];
    let routes: Vec<_> = routes
        .iter()
        .map(|(name, route)| (*name, route.as_str()))
        .collect();
    let rig = Rig::start(&routes, "");
    let talks = scenario(
        "talks",
        Kind::Bidi,
        [recv(1), send(1, 5), op("wait_cancel"), barrier("canceled")],
        [send(1, 5), recv(1), json!({ "op": "recv" })],
    );
    // Not even a header comes back.
    let silent = scenario(
        "silent",
        Kind::Bidi,
        [op("wait_cancel"), barrier("canceled")],
        [send(1, 5), json!({ "op": "recv" })],
    );
    // Deadlines travel. A gRPC callee's own clock may be first, and then the text is its own.
    let deadline = rig.start_all("deadline", &talks, &[Callee::Kitex]);
    let idle = rig.start_all("idle", &talks, &CALLEES);
    let first = rig.start_all("first_response", &silent, &CALLEES);
    both_sides(deadline, "deadline");
    both_sides(idle, "idle");
    both_sides(first, "first_response");
}

fn a_kitex_server_that_does_not_know_the_method_does_not_leave_the_caller_waiting() {
    let route = "backend: BACKEND, rewrite: { service: Nope, method: Nope }, timeouts: { first_response: 1s }";
    let rig = Rig::start(&[("unknown", route)], "");
    let case = scenario(
        "unknown",
        Kind::Bidi,
        [],
        [send(1, 5), json!({ "op": "recv" })],
    );
    let row = row("hop first_response to caller");
    for running in rig.start_all("unknown", &case, &[Callee::Kitex]) {
        let caller = running.pair.caller;
        check(&row, caller, &running.result(), true);
    }
}

fn an_unknown_method_and_an_unknown_service_are_named() {
    let routes = [
        (
            "method",
            "backend: BACKEND, rewrite: { service: interop.Interop, method: Nope }",
        ),
        (
            "service",
            "backend: BACKEND, rewrite: { service: no.Such, method: Nope }",
        ),
    ];
    let rig = Rig::start(&routes, "");
    let case = scenario(
        "unknown",
        Kind::Bidi,
        [],
        [send(1, 5), json!({ "op": "recv" })],
    );
    for (limit, code, text) in [
        ("method", 1, "unknown method Nope"),
        ("service", 20, "unknown service Such"),
    ] {
        for running in rig.start_all(limit, &case, &[Callee::KitexGrpc]) {
            let (what, caller) = (running.what.clone(), running.pair.caller);
            let expected = if caller.is_ttheader() {
                json!({ "kind": "error", "code": 12001, "err": format!("~{text}") })
            } else {
                json!({ "kind": "error", "code": code, "message": format!("~{text}") })
            };
            assert_like(&what, &running.result(), &expected);
        }
    }
}

fn refusals_say_why() {
    let routes = [
        ("unreachable", "backend: nobody"),
        ("payload_mismatch", "backend: protobuf"),
    ];
    let rig = Rig::start(&routes, "");
    let case = scenario(
        "refused",
        Kind::Bidi,
        [],
        [send(1, 5), json!({ "op": "recv" })],
    );
    for kind in ["unreachable", "payload_mismatch", "no_route"] {
        let row = row(&format!("hop {kind} to caller"));
        for running in rig.start_all(kind, &case, &[Callee::GrpcGo]) {
            let caller = running.pair.caller;
            check(&row, caller, &running.result(), true);
        }
    }
}

fn a_message_over_the_limit_ends_its_stream_alone() {
    let route = "backend: BACKEND, rewrite: { service: SERVICE }";
    let rig = Rig::start(&[("size", route)], "limits: { max_message: 64KiB }");
    let good = scenario(
        "good",
        Kind::Bidi,
        [op("echo")],
        [send(1, 5), recv(1), barrier("end"), op("close_send")],
    );
    let others = rig.start_all("size", &good, &CALLEES);
    for running in &others {
        running.started();
    }
    let up = scenario(
        "up",
        Kind::Bidi,
        [op("wait_cancel"), barrier("canceled")],
        [send(1, 100_000), json!({ "op": "recv" })],
    );
    both_sides(rig.start_all("size", &up, &CALLEES), "message_too_large");
    // Kitex compresses for whoever takes it, and the limit is for what is on the wire.
    let down_from = [Callee::Kitex, Callee::GrpcGo];
    let down = scenario(
        "down",
        Kind::Bidi,
        [
            recv(1),
            send(1, 100_000),
            op("wait_cancel"),
            barrier("canceled"),
        ],
        [send(1, 5), json!({ "op": "recv" })],
    );
    both_sides(
        rig.start_all("size", &down, &down_from),
        "message_too_large",
    );
    for running in others {
        running.caller_passes("end");
        let seen = running.seen();
        assert_like(
            &seen.what,
            &seen.caller,
            &json!({ "kind": "ok", "recv": 1 }),
        );
    }
}

/// Streams in the middle on every pair, standing in `wait_cancel`.
fn in_the_middle<'a>(rig: &'a Rig, limit: &str, callees: &[Callee]) -> Vec<Running<'a>> {
    let mut out = Vec::new();
    for kind in Kind::ALL {
        let case = scenario::in_the_middle(kind, json!({ "op": "recv" }));
        out.extend(rig.start_all(limit, &case, callees));
    }
    for running in &out {
        running.callee_passes("ready");
    }
    out
}

fn a_killed_callee_ends_its_callers_streams() {
    let route = "backend: BACKEND, rewrite: { service: SERVICE }";
    let rig = Rig::start(&[("lost", route)], "");
    for (callees, server) in [
        (&CALLEES[..2], &rig.servers.kitex),
        (&CALLEES[2..], &rig.servers.grpc),
    ] {
        let running = in_the_middle(&rig, "lost", callees);
        server.kill();
        for running in running {
            let pair = running.pair;
            let row = own_end("backend_lost", pair.caller, pair.callee);
            check(&row, pair.caller, &running.result(), true);
        }
    }
    assert_eq!(rig.hop.json("/streams")["streams"], json!([]));
}

fn a_callee_that_drops_its_connection_ends_all_streams_on_it() {
    let route = "backend: BACKEND, rewrite: { service: SERVICE }";
    let rig = Rig::start(&[("lost", route)], "");
    let running = in_the_middle(&rig, "lost", &[Callee::GrpcGo]);
    let drops = scenario(
        "drops",
        Kind::Bidi,
        [ret("drop_conn", 0, "")],
        [json!({ "op": "recv" })],
    );
    let dropped = rig.start_all("lost", &drops, &[Callee::GrpcGo]).remove(0);
    for running in running {
        let pair = running.pair;
        let row = own_end("backend_lost", pair.caller, pair.callee);
        check(&row, pair.caller, &running.result(), true);
    }
    // Its own end went out with the connection, or was lost with it.
    dropped.result();
}

fn a_killed_caller_cancels_its_streams_at_the_callee() {
    let route = "backend: BACKEND, rewrite: { service: SERVICE }";
    let rig = Rig::start(&[("lost", route)], "");
    let running = in_the_middle(&rig, "lost", &CALLEES);
    for (_, client) in &rig.callers {
        client.kill();
    }
    for running in running {
        let caller = running.pair.caller;
        let (code, path) = if caller.is_ttheader() {
            (12013, "hop".to_owned())
        } else {
            (12011, format!("{} -> hop", caller.origin()))
        };
        let seen = running.server.event("server_end", &running.id);
        let expected = match running.pair.callee {
            Callee::Kitex => json!({
                "ctx_err": format!("~[ttstream error, code={code}] [server-side stream] [canceled path: {path}] "),
            }),
            Callee::KitexGrpc => {
                json!({ "ctx_err": "~RSTStream Frame received with error code: CANCEL" })
            }
            Callee::GrpcGo | Callee::Python => json!({ "ctx_err": "context canceled" }),
        };
        assert_like(&running.what, &seen, &expected);
    }
}
