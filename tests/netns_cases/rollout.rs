//! Changes under load, as a platform makes them: a ConfigMap that is swapped, and a rolling restart
//! of everything, where the new process is ready before the old one goes.
//!
//! No stream may be lost that ends within the drain timeout, and no new stream, since somebody is
//! always ready for it. There are two exceptions. Both exist because TTHeader has no GOAWAY. Both
//! concern Kitex callers that share or keep connections, at a sidecar that drains while its callers
//! stay:
//!
//! - A stream that is opened beside older ones is refused (12006).
//! - A stream whose Header crosses the closing of an idle connection finds it closed (12004, EOF,
//!   or 12006, a broken pipe).
//!
//! No callee has seen either, and they may be tried again. They are counted.

use std::sync::Arc;

use serde_json::{Value, json};

use super::load::{Load, Outcome, all_well};
use super::net::{Net, PodAddress};
use super::pod::{by, caller, services};
use crate::kit::lab::{Callee, Caller, egress_table, say};
use crate::kit::process::Process;
use crate::kit::ripcord::Ripcord;
use crate::kit::scenario::{Kind, Scenario, op, recv, scenario, send};
use crate::kit::servers::Servers;
use crate::kit::spec::Spec;
use crate::kit::trial::cases;

cases! {
    [Go, Namespaces, Setpriv] {
        a_config_map_that_is_swapped_under_load_fails_no_stream,
    }
    [Go, Namespaces, Setpriv, Iptables] {
        a_rolling_restart_of_everything_spares_what_can_be_spared,
    }
}

/// The caller's pod, and two that can serve.
const PODS: [PodAddress; 3] = [("a", "10.77.0.1"), ("b", "10.77.0.2"), ("c", "10.77.0.3")];

const LANES: [(Caller, &str, Callee); 7] = [
    (Caller::GrpcGo, "tt", Callee::Kitex),
    (Caller::GrpcGo, "grpc", Callee::GrpcGo),
    (Caller::KitexGrpc, "grpc", Callee::Kitex),
    (Caller::Mux, "tt", Callee::GrpcGo),
    (Caller::Mux, "grpc", Callee::Kitex),
    (Caller::Short, "tt", Callee::Kitex),
    (Caller::Long, "tt", Callee::Kitex),
];

/// A sidecar in a pod, not started yet.
fn sidecar(net: &Net, pod: &str, node: &str, address: &str) -> Spec {
    let sidecar = net.named(pod, node).listens("in", address, "");
    sidecar.set("drain: { timeout: 60s }")
}

const TO_B: &str = "10.77.0.2:15006";
const TO_C: &str = "10.77.0.3:15006";

/// An exchange that takes a moment, so that whatever happens meets streams in every phase.
fn short() -> Scenario {
    let ops = [
        send(1, 20),
        recv(1),
        json!({ "op": "sleep", "ms": 20 }),
        send(2, 200),
        recv(2),
        op("close_send"),
    ];
    scenario("short", Kind::Bidi, [op("echo")], ops)
}

/// One that waits in its middle.
fn held() -> Scenario {
    let ops = [
        send(1, 20),
        recv(1),
        json!({ "op": "barrier", "name": "held" }),
        send(2, 200),
        recv(2),
        op("close_send"),
    ];
    scenario("held", Kind::Bidi, [op("echo")], ops)
}

type Lanes = Vec<(String, Arc<Process>, Scenario)>;

fn lanes(net: &Net, scenario: &Scenario) -> Lanes {
    let mut lanes = Lanes::new();
    for (kind, via, callee) in LANES {
        let client = caller(net, "a", kind, "127.0.0.1:15001");
        let name = format!("{kind:?} -{via}-> {callee:?}");
        lanes.push((name, Arc::new(client), by(scenario.clone(), via, callee)));
    }
    lanes
}

/// Opens one stream on each lane, which then waits.
fn hold(lanes: &Lanes) -> Vec<(String, Arc<Process>, String)> {
    let mut streams = Vec::new();
    for (name, client, short) in lanes {
        let held = held().with("metadata", short.value["metadata"].clone());
        streams.push((name.clone(), Arc::clone(client), say(client, &held)));
    }
    for (_, client, id) in &streams {
        client.event("barrier", &format!("{id}/held"));
    }
    streams
}

/// Lets them go on, and asserts that each comes to its end.
fn release(streams: Vec<(String, Arc<Process>, String)>) {
    for (lane, client, id) in streams {
        client.say(&json!({ "go": format!("{id}/held") }));
        let result = client.event("result", &id);
        assert_eq!(result["kind"], "ok", "held, {lane}: {result}");
        assert_eq!(result["recv"], 3, "held, {lane}: {result}");
    }
}

/// Ends services as their libraries do, with what they have open first.
fn stop(services: &Servers) {
    for process in [&services.kitex, &services.grpc] {
        process.say(&json!({ "cmd": "stop" }));
    }
    for process in [&services.kitex, &services.grpc] {
        process.event("stopped", "");
    }
}

/// Adds a rule for the caller's connections within its pod.
fn nat(net: &Net, rule: &str) {
    let mut command = net.command("a", "iptables");
    command.args([
        "-w",
        "-t",
        "nat",
        "-A",
        "OUTPUT",
        "-d",
        "127.0.0.1",
        "-p",
        "tcp",
    ]);
    let output = command.args(rule.split(' ')).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// How many streams a sidecar carried.
fn carried(sidecar: &Ripcord) -> usize {
    let lines = sidecar.process.all();
    lines
        .iter()
        .filter(|l| l["duration_ms"].is_number())
        .count()
}

fn a_config_map_that_is_swapped_under_load_fails_no_stream() {
    let net = Net::start(&PODS);
    let (b, c) = (services(&net, "b"), services(&net, "c"));
    let at_b = sidecar(&net, "b", "b", TO_B).table(b.table()).start();
    let at_c = sidecar(&net, "c", "c", TO_C).table(c.table()).start();
    let a = sidecar(&net, "a", "a", "127.0.0.1:15001");
    let a = a.table(egress_table(TO_B)).start();
    let lanes = lanes(&net, &short());
    let held = hold(&lanes);
    let load = Load::start(&lanes);
    load.turn();
    for to in [TO_C, TO_B, TO_C, TO_B] {
        let before = (carried(&at_b), carried(&at_c));
        a.publish(&egress_table(to));
        load.turn();
        let after = (carried(&at_b), carried(&at_c));
        let more = if to == TO_B {
            after.0 - before.0
        } else {
            after.1 - before.1
        };
        assert!(more > 0, "{to} has no streams: {before:?}, then {after:?}");
    }
    release(held);
    let streams = all_well(&load.finish());
    println!(
        "{streams} streams through 4 swaps; {} at b, {} at c",
        carried(&at_b),
        carried(&at_c)
    );
}

fn a_rolling_restart_of_everything_spares_what_can_be_spared() {
    let net = Net::start(&PODS);
    let b = services(&net, "b");
    let at_b = sidecar(&net, "b", "b", TO_B).table(b.table()).start();
    let a = sidecar(&net, "a", "a", "127.0.0.1:15001");
    let a = a.table(egress_table(TO_B)).start();
    // The kernel tracks connections from the first rule that redirects. One that is older would be
    // taken for new at its next packet, and redirected in its middle.
    nat(&net, "--dport 1 -j REDIRECT --to-ports 1");
    let lanes = lanes(&net, &short());
    let load = Load::start(&lanes);
    load.turn();

    // The callee's pod. Its successor is ready, and in the endpoints, before it gets SIGTERM. A
    // `preStop` sleep serves for the wait in between.
    let held_b = hold(&lanes);
    let c = services(&net, "c");
    let at_c = sidecar(&net, "c", "c", TO_C).table(c.table()).start();
    a.publish(&egress_table(TO_C));
    load.turn();
    at_b.terminate();
    load.turn();
    release(held_b);
    assert_eq!(at_b.process.exit_code(), Some(0));
    stop(&b);

    // The caller's sidecar: its successor listens beside it and gets the new connections.
    let held_a = hold(&lanes);
    let new = sidecar(&net, "a", "a2", "127.0.0.1:15002");
    let new = new.table(egress_table(TO_C)).start();
    nat(&net, "--dport 15001 -j REDIRECT --to-ports 15002");
    load.turn();
    a.terminate();
    load.turn();
    release(held_a);
    assert_eq!(a.process.exit_code(), Some(0));
    load.turn();

    // The services behind the sidecar that stays.
    let again = services(&net, "c");
    let held_c = hold(&lanes);
    at_c.publish(&again.table());
    load.turn();
    let streams = hold(&lanes);
    release(held_c);
    stop(&c);
    load.turn();
    release(streams);

    // Kitex's words for a connection that its peer has closed, as it reads and as it writes.
    let crossed = ["EOF peer close", "broken pipe when flush"];
    // And for a dial that nobody took. Seen once, 2 of 4,236 on a busy machine, at its short pool.
    // Likely, but not shown: the kernel's tracking sent them by the rule of an earlier connection
    // from the same port.
    let dialed = |o: &Outcome| {
        o.lane.starts_with("Short") && says(o, "dial tcp") && says(o, "closed by peer")
    };
    let (lost, rest): (Vec<Outcome>, Vec<Outcome>) = load.finish().into_iter().partition(|o| {
        says(o, "draining") || dialed(o) || crossed.iter().any(|text| says(o, text))
    });
    let spared = all_well(&rest);
    let servers = [&b, &c, &again].map(|s| [&s.kitex, &s.grpc]);
    for one in &lost {
        let what = format!("{}: {}", one.lane, one.result);
        assert!(
            one.lane.starts_with("Mux") || one.lane.starts_with("Long") || dialed(one),
            "{what}"
        );
        assert_eq!(one.result["recv"], 0, "{what}");
        let seen = servers
            .iter()
            .flatten()
            .any(|s| s.has("server_start", &one.id));
        assert!(!seen, "lost and yet served: {what}");
    }
    let dials = lost.iter().filter(|o| dialed(o)).count();
    assert!(dials <= MAX_DIALS, "{dials} dials met a closed listener");
    let refused = lost.iter().filter(|o| says(o, "draining")).count();
    println!(
        "{spared} streams spared; {refused} refused, {} crossed the close of a connection; {} carried by the new sidecar",
        lost.len() - refused,
        carried(&new)
    );
}

/// Of some 4,000 streams.
const MAX_DIALS: usize = 5;

/// Whether a stream failed, and with that text.
fn says(outcome: &Outcome, text: &str) -> bool {
    let result: &Value = &outcome.result;
    result["kind"] == "error" && result["err"].as_str().is_some_and(|t| t.contains(text))
}
