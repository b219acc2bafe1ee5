//! The topologies of Kitex's `TestProxyCancel`: A, Egress, Ingress, B with real ripcords. Kitex's
//! test logs the canceled path; here it is asserted, at both ends.
//!
//! "A biz cancel" is in `cancels`, for every kind and phase. What is left is the cancel that begins
//! at a hop, and at B.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::lab::{Callee, Caller, address, callee_table, client, go, say};
use crate::support::process::Process;
use crate::support::ripcord::Ripcord;
use crate::support::scenario::{Kind, Scenario, assert_like, barrier, op, recv, scenario, send};
use crate::support::tt::Listener;

/// A1 (Kitex), A2 (grpc-go), egress, ingress, B1 (Kitex), B2 (grpc-go). A hop gives up a stream
/// whose `x-limit` names it.
struct Chain {
    kitex: Process,
    grpc: Process,
    egress: Ripcord,
    ingress: Ripcord,
}

/// The wire between the hops.
const VIAS: [&str; 2] = ["tt", "grpc"];
const CALLERS: [Caller; 2] = [Caller::Mux, Caller::GrpcGo];
const CALLEES: [(Callee, &str); 2] = [(Callee::Kitex, "kt"), (Callee::GrpcGo, "gg")];

/// A deadline would travel, and then either hop may be the first.
const LIMIT: &str = "timeouts: { idle: 1s }";

impl Chain {
    fn start() -> Option<Self> {
        let (kitex, grpc) = (go(&["kitex-server"])?, go(&["grpc-server"])?);
        let table = callee_table(&address(&kitex), &address(&grpc), None);
        // The routes that give up come first.
        let limited = table.replace(
            "routes:\n",
            &format!(
                "routes:
  - {{ name: lkt, match: {{ metadata: {{ x-limit: ingress, x-to: kt }} }}, backend: kt, rewrite: {{ service: Interop }}, {LIMIT} }}
  - {{ name: lgg, match: {{ metadata: {{ x-limit: ingress, x-to: gg }} }}, backend: gg, rewrite: {{ service: interop.Interop }}, {LIMIT} }}
"
            ),
        );
        let ingress = Ripcord::start("ingress", &limited, "");
        let address = &ingress.address;
        let egress = format!(
            "backends:
  tt: {{ protocol: ttheader, endpoints: [\"{address}\"] }}
  grpc: {{ protocol: grpc, hop: ripcord, endpoints: [\"{address}\"] }}
routes:
  - {{ name: ltt, match: {{ metadata: {{ x-limit: egress, x-via: tt }} }}, backend: tt, {LIMIT} }}
  - {{ name: lgrpc, match: {{ metadata: {{ x-limit: egress, x-via: grpc }} }}, backend: grpc, {LIMIT} }}
  - {{ name: tt, match: {{ metadata: {{ x-via: tt }} }}, backend: tt }}
  - {{ name: grpc, match: {{ metadata: {{ x-via: grpc }} }}, backend: grpc }}
"
        );
        let egress = Ripcord::start("egress", &egress, "");
        Some(Self {
            kitex,
            grpc,
            egress,
            ingress,
        })
    }

    fn server(&self, callee: Callee) -> &Process {
        if callee.is_kitex() {
            &self.kitex
        } else {
            &self.grpc
        }
    }
}

fn in_the_middle(kind: Kind, metadata: Value) -> Scenario {
    let (up, down) = match kind {
        Kind::Bidi => (1, 1),
        Kind::Client => (2, 0),
        Kind::Server => (1, 2),
    };
    let script = [recv(up), send(down, 5), barrier("ready"), op("wait_cancel")];
    let ops = [send(up, 5), recv(down), json!({ "op": "recv" })];
    scenario(format!("{kind:?}"), kind, script, ops).with("metadata", metadata)
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
    let Some(chain) = Chain::start() else { return };
    let mut running = Vec::new();
    for caller in CALLERS {
        let client = Arc::new(client(caller, &chain.egress.address).unwrap());
        for via in vias {
            for (callee, to) in CALLEES {
                for kind in Kind::ALL {
                    let case =
                        in_the_middle(kind, json!({ "x-limit": hop, "x-via": via, "x-to": to }));
                    let id = say(&client, &case);
                    let what = format!("{caller:?} -{via}-> {callee:?} {kind:?}");
                    running.push((what, caller, callee, Arc::clone(&client), id));
                }
            }
        }
    }
    for (_, _, callee, _, id) in &running {
        let gate = format!("{id}/ready");
        chain.server(*callee).event("barrier", &gate);
        chain.server(*callee).say(&json!({ "go": gate }));
    }
    for (what, caller, callee, client, id) in running {
        assert_like(
            &what,
            &client.event("result", &id),
            &a_sees(caller, 12014, 4, path_at_a),
        );
        let seen = chain.server(callee).event("server_end", &id);
        assert_like(&what, &seen, &b_sees(callee, 12014, path_at_b));
    }
}

#[test]
fn a_and_b_hear_that_egress_let_go() {
    a_hop_gives_up("egress", &VIAS, "egress", "egress -> ingress");
}

#[test]
fn a_and_b_hear_that_ingress_let_go() {
    a_hop_gives_up("ingress", &VIAS, "ingress -> egress", "ingress");
}

#[test]
fn a_hears_that_b_let_go() {
    // B is scripted: a Kitex server never sends a Rst.
    let b = Listener::start();
    let table = format!(
        "backends: {{ b: {{ protocol: ttheader, endpoints: [\"{}\"] }} }}
routes: [{{ name: all, backend: b }}]
",
        b.address
    );
    let ingress = Ripcord::start("ingress", &table, "");
    let mut wire = None;
    let mut opened = 0;
    for protocol in ["ttheader", "grpc"] {
        let table = format!(
            "backends: {{ next: {{ protocol: {protocol}, hop: ripcord, endpoints: [\"{}\"] }} }}
routes: [{{ name: all, backend: next }}]
",
            ingress.address
        );
        let egress = Ripcord::start(
            "egress",
            &table.replace("ttheader, hop: ripcord", "ttheader"),
            "",
        );
        for caller in CALLERS {
            let Some(client) = client(caller, &egress.address) else {
                return;
            };
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

#[test]
fn b_hears_that_a_died() {
    let Some(chain) = Chain::start() else { return };
    for caller in CALLERS {
        let client = client(caller, &chain.egress.address).unwrap();
        let mut running = Vec::new();
        for (callee, to) in CALLEES {
            for kind in Kind::ALL {
                let case = in_the_middle(kind, json!({ "x-via": "tt", "x-to": to }));
                running.push((callee, say(&client, &case)));
            }
        }
        for (callee, id) in &running {
            chain
                .server(*callee)
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
                .server(callee)
                .say(&json!({ "go": format!("{id}/ready") }));
            let seen = chain.server(callee).event("server_end", &id);
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
