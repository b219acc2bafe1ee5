//! The topologies of Kitex's `TestProxyCancel`: A, Egress, Ingress, B with real ripcords. Kitex's
//! test logs the canceled path. Here it is asserted, at both ends.
//!
//! "A biz cancel" is in `cancels`, for every kind and phase. Here are the cancels that begin at a
//! hop, and at B.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::kit::lab::{Callee, Caller, client, egress_table, say};
use crate::kit::ripcord::Ripcord;
use crate::kit::scenario::{self, Kind, Scenario, assert_like, scenario, send};
use crate::kit::servers::Servers;
use crate::kit::spec::Table;
use crate::kit::trial::cases;
use crate::kit::tt::Listener;

cases! {
    [Go] {
        a_and_b_hear_that_egress_let_go,
        a_and_b_hear_that_ingress_let_go,
        a_hears_that_b_let_go,
        b_hears_that_a_died,
    }
}

/// A1 (Kitex), A2 (grpc-go), egress, ingress, B1 (Kitex), B2 (grpc-go). The hop that a stream's
/// `x-limit` names ends it.
struct Chain {
    servers: Servers,
    egress: Ripcord,
    ingress: Ripcord,
}

/// The wire between the hops.
const VIAS: [&str; 2] = ["tt", "grpc"];
const CALLERS: [Caller; 2] = [Caller::Mux, Caller::GrpcGo];
const CALLEES: [Callee; 2] = [Callee::Kitex, Callee::GrpcGo];

/// A deadline would travel, and then either hop may be the first.
const LIMIT: &str = "timeouts: { idle: 1s }";

impl Chain {
    fn start() -> Self {
        let servers = Servers::start();
        // The routes that end streams come first.
        let mut limited = Table::new();
        for callee in CALLEES {
            let (key, way) = (callee.key(), callee.way());
            let keys =
                format!("match: {{ metadata: {{ x-limit: ingress, {key} }} }}, {way}, {LIMIT}");
            limited = limited.route(&format!("l{}", callee.route()), &keys);
        }
        let ingress = Ripcord::named("ingress")
            .table(limited)
            .table(servers.table())
            .start();
        let mut limited = Table::new();
        for via in VIAS {
            let keys = format!(
                "match: {{ metadata: {{ x-limit: egress, x-via: {via} }} }}, backend: {via}, {LIMIT}"
            );
            limited = limited.route(&format!("l{via}"), &keys);
        }
        let egress = Ripcord::named("egress")
            .table(limited)
            .table(egress_table(&ingress.address))
            .start();
        Self {
            servers,
            egress,
            ingress,
        }
    }
}

fn in_the_middle(kind: Kind, metadata: Value) -> Scenario {
    scenario::in_the_middle(kind, json!({ "op": "recv" })).with("metadata", metadata)
}

/// What A's application prints when a hop gave up.
fn a_sees_own_end(caller: Caller, between_grpc: bool, path: &str) -> Value {
    if caller.is_ttheader() || !between_grpc {
        return a_sees(caller, 12014, 4, path);
    }
    let names = path.replace(" -> ", ",");
    json!({
        "kind": "error", "code": 4, "message": "!~[ttstream error",
        "trailer": { "ripcord-code": ["12014"], "ripcord-path": [names] },
    })
}

/// What A's application prints of a cancel that began at a hop or at B.
fn a_sees(caller: Caller, code: i64, status: i64, path: &str) -> Value {
    let text =
        format!("[ttstream error, code={code}] [client-side stream] [canceled path: {path}] ");
    if caller.is_ttheader() {
        json!({ "kind": "error", "code": code, "is": ["ErrStreamingCanceled"], "err": format!("~{text}") })
    } else {
        json!({ "kind": "error", "code": status, "message": format!("~{text}") })
    }
}

/// What B's application sees.
fn b_sees(callee: Callee, code: i64, path: &str) -> Value {
    match callee {
        Callee::Kitex => json!({
            "ctx_err": format!("~[ttstream error, code={code}] [server-side stream] [canceled path: {path}] "),
        }),
        Callee::KitexGrpc | Callee::GrpcGo | Callee::Python => {
            json!({ "ctx_err": "context canceled" })
        }
    }
}

/// Every caller, wire, callee and kind, with the hop of that name giving up.
fn a_hop_gives_up(hop: &str, vias: &[&str], path_at_a: &str, path_at_b: &str) {
    let chain = Chain::start();
    let mut running = Vec::new();
    for caller in CALLERS {
        let client = Arc::new(client(caller, &chain.egress.address));
        for via in vias {
            for callee in CALLEES {
                for kind in Kind::ALL {
                    let case = in_the_middle(
                        kind,
                        json!({ "x-limit": hop, "x-via": via, "x-to": callee.route() }),
                    );
                    let id = say(&client, &case);
                    let what = format!("{caller:?} -{via}-> {callee:?} {kind:?}");
                    // The hop that ends the stream speaks gRPC on both sides, and so do those
                    // before it.
                    let to_callee = hop == "egress" || callee == Callee::GrpcGo;
                    let between_grpc = *via == "grpc" && to_callee;
                    let sees = a_sees_own_end(caller, between_grpc, path_at_a);
                    running.push((what, sees, callee, Arc::clone(&client), id));
                }
            }
        }
    }
    for (_, _, callee, _, id) in &running {
        let gate = format!("{id}/ready");
        chain.servers.of(*callee).event("barrier", &gate);
        chain.servers.of(*callee).say(&json!({ "go": gate }));
    }
    for (what, a_sees, callee, client, id) in running {
        assert_like(&what, &client.event("result", &id), &a_sees);
        let seen = chain.servers.of(callee).event("server_end", &id);
        assert_like(&what, &seen, &b_sees(callee, 12014, path_at_b));
    }
}

fn a_and_b_hear_that_egress_let_go() {
    a_hop_gives_up("egress", &VIAS, "egress", "egress -> ingress");
}

fn a_and_b_hear_that_ingress_let_go() {
    a_hop_gives_up("ingress", &VIAS, "ingress -> egress", "ingress");
}

fn a_hears_that_b_let_go() {
    // B is scripted: a Kitex server never sends a Rst.
    let b = Listener::start();
    let ingress = Ripcord::named("ingress")
        .to("protocol: ttheader", &b.address)
        .start();
    let mut wire = None;
    let mut opened = 0;
    for protocol in ["protocol: ttheader", "protocol: grpc, hop: ripcord"] {
        let egress = Ripcord::named("egress")
            .to(protocol, &ingress.address)
            .start();
        for caller in CALLERS {
            let client = client(caller, &egress.address);
            for kind in Kind::ALL {
                let what = format!("{caller:?} over {protocol}, {kind:?}");
                let case = scenario("b lets go", kind, [], [send(1, 5), json!({ "op": "recv" })]);
                let id = say(&client, &case);
                let wire = wire.get_or_insert_with(|| b.accept());
                wire.stream(opened).rst(1204, "B canceled", "B");
                opened += 1;
                let seen = client.event("result", &id);
                assert_like(
                    &what,
                    &seen,
                    &a_sees(caller, 1204, 1, "B -> ingress -> egress"),
                );
                let text = if caller.is_ttheader() {
                    &seen["err"]
                } else {
                    &seen["message"]
                };
                assert!(
                    text.as_str().unwrap().ends_with("] B canceled"),
                    "{what}: {text}"
                );
            }
        }
    }
}

fn b_hears_that_a_died() {
    let chain = Chain::start();
    for caller in CALLERS {
        let client = client(caller, &chain.egress.address);
        let mut running = Vec::new();
        for callee in CALLEES {
            for kind in Kind::ALL {
                let case = in_the_middle(kind, json!({ "x-via": "tt", "x-to": callee.route() }));
                running.push((callee, say(&client, &case)));
            }
        }
        for (callee, id) in &running {
            chain
                .servers
                .of(*callee)
                .event("barrier", &format!("{id}/ready"));
        }
        client.kill();
        let (code, origin) = if caller.is_ttheader() {
            (12013, String::new())
        } else {
            (12011, format!("{} -> ", caller.origin()))
        };
        for (callee, id) in running {
            chain
                .servers
                .of(callee)
                .say(&json!({ "go": format!("{id}/ready") }));
            let seen = chain.servers.of(callee).event("server_end", &id);
            let path = format!("{origin}egress -> ingress");
            assert_like(
                &format!("{caller:?} died, {callee:?}"),
                &seen,
                &b_sees(callee, code, &path),
            );
        }
    }
    assert_eq!(chain.egress.json("/streams")["streams"], json!([]));
    assert_eq!(chain.ingress.json("/streams")["streams"], json!([]));
}
