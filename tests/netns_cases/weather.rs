//! Latency and loss between two pods: every stream arrives whole, and a cancel travels.

use serde_json::json;

use super::net::Net;
use super::pod::{by, caller, canceled, services};
use crate::kit::lab::{Callee, Caller, egress_table, say};
use crate::kit::scenario::{Kind, assert_like, barrier, op, recv, scenario, send};
use crate::kit::trial::cases;

cases! {
    [Go, Namespaces, Setpriv] {
        streams_of_every_kind_arrive_whole_through_latency_and_loss,
    }
}

const MESSAGES: usize = 8;
const SIZE: usize = 3000;

fn streams_of_every_kind_arrive_whole_through_latency_and_loss() {
    let net = Net::start(&[("a", "10.77.0.1"), ("b", "10.77.0.2")]);
    let services = services(&net, "b");
    let b = net.named("b", "b").listens("in", "10.77.0.2:15006", "");
    let _b = b.table(services.table()).start();
    let a = net.named("a", "a").listens("in", "127.0.0.1:15001", "");
    let _a = a.table(egress_table("10.77.0.2:15006")).start();
    let callers = [Caller::Mux, Caller::GrpcGo].map(|kind| {
        let process = caller(&net, "a", kind, "127.0.0.1:15001");
        (kind, process)
    });
    net.wire(&json!({ "delay_ms": 40, "loss": 0.02 }));

    let mut running = Vec::new();
    for (kind, client) in &callers {
        for via in ["tt", "grpc"] {
            for callee in [Callee::Kitex, Callee::GrpcGo] {
                for shape in Kind::ALL {
                    let what = format!("{kind:?} -{via}-> {callee:?} {shape:?}");
                    let (up, down) = match shape {
                        Kind::Bidi => (MESSAGES, MESSAGES),
                        Kind::Client => (MESSAGES, 1),
                        Kind::Server => (1, MESSAGES),
                    };
                    let (script, ops) = match shape {
                        Kind::Bidi => (
                            vec![op("echo")],
                            vec![
                                json!({ "op": "exchange", "n": up, "size": SIZE }),
                                op("close_send"),
                            ],
                        ),
                        Kind::Client => (vec![recv(up), send(1, SIZE)], vec![send(up, SIZE)]),
                        Kind::Server => (vec![recv(1), send(down, SIZE)], vec![send(1, SIZE)]),
                    };
                    let case = scenario("weather", shape, [], [])
                        .with("script", json!(script))
                        .with("ops", json!(ops));
                    let id = say(client, &by(case, via, callee));
                    running.push((what, client, callee, id, up, down));
                }
            }
        }
    }
    for (what, client, callee, id, up, down) in running {
        let caller = client.event("result", &id);
        let expected = json!({
            "kind": "ok", "recv": down, "recv_bytes": down * SIZE, "corrupt": null, "out_of_order": null,
        });
        assert_like(&what, &caller, &expected);
        let callee = services.of(callee).event("server_end", &id);
        let expected = json!({
            "recv": up, "recv_bytes": up * SIZE, "corrupt": null, "out_of_order": null, "ctx_err": null,
        });
        assert_like(&what, &callee, &expected);
    }

    for (kind, client) in &callers {
        for via in ["tt", "grpc"] {
            for callee in [Callee::Kitex, Callee::GrpcGo] {
                let script = [recv(1), send(1, 5), op("wait_cancel")];
                let ops = [send(1, 5), recv(1), barrier("cancel"), op("cancel")];
                let case = scenario("cancel", Kind::Bidi, script, ops);
                let id = say(client, &by(case, via, callee));
                let gate = format!("{id}/cancel");
                client.event("barrier", &gate);
                client.say(&json!({ "go": gate }));
                client.event("result", &id);
                let seen = services.of(callee).event("server_end", &id);
                let what = format!("{kind:?} -{via}-> {callee:?}: {seen}");
                assert_like(&what, &seen, &canceled(*kind, callee));
            }
        }
    }
    let counted = net.wire(&json!({}));
    assert!(counted["lost"].as_u64() > Some(0), "{counted}");
    assert_eq!(counted["overflow"], 0, "{counted}");
    println!("the wire: {counted}");
}
