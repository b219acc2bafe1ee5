//! iptables redirects connections to ripcord (`deploy/iptables.sh`), which asks where they were going:
//! the applications know nothing of it.

use serde_json::{Value, json};

use super::net::{Net, has_iptables};
use super::pod::{Sidecar, UID, caller, canceled};
use crate::support::lab::{Callee, Caller, say};
use crate::support::process::Process;
use crate::support::scenario::{Kind, Scenario, assert_like, barrier, op, recv, scenario, send};

/// Both services are called where they are; the first two routes also translate, as the caller's wire
/// makes it necessary.
const EGRESS: &str = "backends:
  kitex: { protocol: ttheader, payload: thrift, endpoints: original_destination }
  grpc: { protocol: grpc, endpoints: original_destination }
routes:
  - { name: kitex, match: { destination: \":8888\" }, backend: kitex, rewrite: { service: Interop } }
  - { name: grpc, match: { destination: \"10.77.0.0/24:9000\" }, backend: grpc, rewrite: { service: interop.Interop } }
  - { name: rest, backend: grpc }
";

fn head(listener: &str) -> String {
    format!(
        "listeners: [{{ name: in, address: \"{listener}\", original_destination: on }}]\nlimits: {{ slow_grace: 60s }}"
    )
}

/// Runs the script in a pod.
fn redirect(net: &Net, pod: &str, variables: &[(&str, &str)], arguments: &[&str]) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/iptables.sh");
    let mut command = net.command(pod, "env");
    for (name, value) in variables {
        command.arg(format!("{name}={value}"));
    }
    let output = command.arg(script).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn rules(net: &Net, pod: &str) -> String {
    let mut command = net.command(pod, "iptables");
    let output = command.args(["-t", "nat", "-S"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

const OUTBOUND: [(&str, &str); 2] = [("OUTBOUND_PORTS", "8888 9000"), ("RIPCORD_UID", UID)];
const INBOUND: [(&str, &str); 2] = [("INBOUND_PORTS", "8888 9000"), ("RIPCORD_UID", UID)];

fn echo() -> Scenario {
    let ops = [send(3, 50), recv(3), op("close_send")];
    scenario("redirected", Kind::Bidi, [op("echo")], ops)
}

const PORTS: [(Callee, &str); 2] = [
    (Callee::Kitex, "10.77.0.2:8888"),
    (Callee::GrpcGo, "10.77.0.2:9000"),
];

struct World {
    callees: [Process; 2],
    a: Sidecar,
    b: Sidecar,
    net: Net,
}

impl World {
    fn start() -> Option<Self> {
        let net =
            Net::start(&[("a", "10.77.0.1"), ("b", "10.77.0.2")]).filter(|_| has_iptables())?;
        let callees = [
            net.go("b", &["kitex-server", "--addr", "10.77.0.2:8888"]),
            net.go("b", &["grpc-server", "--addr", "10.77.0.2:9000"]),
        ];
        for callee in &callees {
            callee.event("listening", "");
        }
        let b = Sidecar::start(&net, "b", "b", &head("0.0.0.0:15006"), EGRESS);
        let a = Sidecar::start(&net, "a", "a", &head("127.0.0.1:15001"), EGRESS);
        Some(Self { callees, a, b, net })
    }
}

#[test]
fn applications_that_know_nothing_of_it_speak_through_two_sidecars() {
    let Some(world) = World::start() else {
        return;
    };
    let net = &world.net;
    redirect(net, "a", &OUTBOUND, &[]);
    redirect(net, "b", &INBOUND, &[]);
    let once = rules(net, "a");
    redirect(net, "a", &OUTBOUND, &[]);
    assert_eq!(rules(net, "a"), once, "a second run changes nothing");

    for kind in [Caller::Mux, Caller::GrpcGo] {
        for (callee, address) in PORTS {
            let what = format!("{kind:?} -> {callee:?}");
            let client = caller(net, "a", kind, address);
            let server = &world.callees[usize::from(callee == Callee::GrpcGo)];
            let id = say(&client, &echo());
            let result = client.event("result", &id);
            assert_like(&what, &result, &json!({ "kind": "ok", "recv": 3 }));
            assert_eq!(server.event("server_end", &id)["recv"], 3, "{what}");

            let script = [recv(1), send(1, 5), op("wait_cancel")];
            let ops = [send(1, 5), recv(1), barrier("cancel"), op("cancel")];
            let id = say(&client, &scenario("cancel", Kind::Bidi, script, ops));
            let gate = format!("{id}/cancel");
            client.event("barrier", &gate);
            client.say(&json!({ "go": gate }));
            let seen = server.event("server_end", &id);
            assert_like(&what, &seen, &canceled(kind, callee));
        }
    }
    // Each sidecar carried each stream, and knows whom to.
    for sidecar in [&world.a, &world.b] {
        for (_, address) in PORTS {
            let to = |line: &Value| line["duration_ms"].is_number() && line["endpoint"] == address;
            sidecar
                .process
                .lines(&format!("streams to {address}"), 4, to);
        }
    }
    // A connection that was not redirected has no other destination than ripcord.
    for kind in [Caller::Mux, Caller::GrpcGo] {
        let client = caller(net, "a", kind, "127.0.0.1:15001");
        let id = say(&client, &echo());
        let result = client.event("result", &id);
        let text = "~was not redirected: it was made to ripcord itself";
        let mut expected = json!({ "kind": "error" });
        if kind.is_ttheader() {
            expected["err"] = json!(text);
        } else {
            expected["message"] = json!(text);
            expected["code"] = json!(12);
        }
        assert_like(&format!("{kind:?}"), &result, &expected);
    }
    redirect(net, "a", &[], &["remove"]);
    assert!(!rules(net, "a").contains("RIPCORD"), "{}", rules(net, "a"));
    redirect(net, "a", &[], &["remove"]);
}

#[test]
fn rules_that_redirect_ripcord_itself_are_noticed() {
    let Some(world) = World::start() else {
        return;
    };
    let wrong = [("OUTBOUND_PORTS", "8888 9000"), ("RIPCORD_UID", "4242")];
    redirect(&world.net, "a", &wrong, &[]);
    for kind in [Caller::Mux, Caller::GrpcGo] {
        for (callee, address) in PORTS {
            let client = caller(&world.net, "a", kind, address);
            let id = say(&client, &echo());
            let result = client.event("result", &id);
            assert_eq!(result["kind"], "error", "{kind:?} -> {callee:?}: {result}");
            println!(
                "{kind:?} -> {callee:?}: {} {}",
                result["err"], result["message"]
            );
        }
    }
    let line = world.a.logged("connection refused");
    let what = line["what"].as_str().unwrap();
    assert!(what.contains("redirected back"), "{line}");
}
