//! iptables redirects connections to ripcord (`deploy/iptables.sh`), which asks where they were going:
//! the applications know nothing of it.

use serde_json::{Value, json};

use super::net::{Net, PodAddress, can_redirect};
use super::pod::{Sidecar, UID, caller, canceled};
use crate::support::lab::{Callee, Caller, say};
use crate::support::process::Process;
use crate::support::scenario::{Kind, Scenario, assert_like, barrier, op, recv, scenario, send};

/// Both services are called where they are; the first two routes also translate, as the caller's wire
/// makes it necessary.
fn table(network: &str) -> String {
    format!(
        "backends:
  kitex: {{ protocol: ttheader, payload: thrift, endpoints: original_destination }}
  grpc: {{ protocol: grpc, endpoints: original_destination }}
routes:
  - {{ name: kitex, match: {{ destination: \":8888\" }}, backend: kitex, rewrite: {{ service: Interop }} }}
  - {{ name: grpc, match: {{ destination: \"{network}:9000\" }}, backend: grpc, rewrite: {{ service: interop.Interop }} }}
  - {{ name: rest, backend: grpc }}
"
    )
}

fn head(listener: &str) -> String {
    format!(
        "listeners: [{{ name: in, address: \"{listener}\", original_destination: on }}]\nlimits: {{ slow_grace: 60s }}"
    )
}

const OUTBOUND: [(&str, &str); 2] = [("OUTBOUND_PORTS", "8888 9000"), ("RIPCORD_UID", UID)];
const INBOUND: [(&str, &str); 2] = [("INBOUND_PORTS", "8888 9000"), ("RIPCORD_UID", UID)];

fn echo() -> Scenario {
    let ops = [send(3, 50), recv(3), op("close_send")];
    scenario("redirected", Kind::Bidi, [op("echo")], ops)
}

/// What differs between IPv4 and IPv6.
struct Family {
    iptables: &'static str,
    pods: [PodAddress; 2],
    /// The callees' network, as a route writes it.
    network: &'static str,
    callees: [(Callee, &'static str); 2],
    /// Where the sidecars listen: for the application beside them, and for all.
    near: &'static str,
    any: &'static str,
}

const IPV4: Family = Family {
    iptables: "iptables",
    pods: [("a", "10.77.0.1"), ("b", "10.77.0.2")],
    network: "10.77.0.0/24",
    callees: [
        (Callee::Kitex, "10.77.0.2:8888"),
        (Callee::GrpcGo, "10.77.0.2:9000"),
    ],
    near: "127.0.0.1:15001",
    any: "0.0.0.0:15006",
};

const IPV6: Family = Family {
    iptables: "ip6tables",
    pods: [("a", "fd77::1"), ("b", "fd77::2")],
    network: "[fd77::/64]",
    callees: [
        (Callee::Kitex, "[fd77::2]:8888"),
        (Callee::GrpcGo, "[fd77::2]:9000"),
    ],
    near: "[::1]:15001",
    any: "[::]:15006",
};

struct World {
    callees: [Process; 2],
    a: Sidecar,
    b: Sidecar,
    net: Net,
    family: &'static Family,
}

impl World {
    fn start(family: &'static Family) -> Option<Self> {
        let net = Net::start(&family.pods)?;
        if !can_redirect(&net, "a", family.iptables) {
            return None;
        }
        let [(_, kitex), (_, grpc)] = family.callees;
        let callees = [
            net.go("b", &["kitex-server", "--addr", kitex]),
            net.go("b", &["grpc-server", "--addr", grpc]),
        ];
        for callee in &callees {
            callee.event("listening", "");
        }
        let table = table(family.network);
        let b = Sidecar::start(&net, "b", "b", &head(family.any), &table);
        let a = Sidecar::start(&net, "a", "a", &head(family.near), &table);
        Some(Self {
            callees,
            a,
            b,
            net,
            family,
        })
    }

    /// Runs the script in a pod.
    fn redirect(&self, pod: &str, variables: &[(&str, &str)], arguments: &[&str]) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/iptables.sh");
        let mut command = self.net.command(pod, "env");
        command.arg(format!("IPTABLES={}", self.family.iptables));
        for (name, value) in variables {
            command.arg(format!("{name}={value}"));
        }
        let output = command.arg(script).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    fn rules(&self, pod: &str) -> String {
        let mut command = self.net.command(pod, self.family.iptables);
        let output = command.args(["-t", "nat", "-S"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn applications_that_know_nothing_of_it_speak_through_two_sidecars() {
    redirected(&IPV4);
}

#[test]
fn applications_speak_through_two_sidecars_over_ipv6() {
    redirected(&IPV6);
}

fn redirected(family: &'static Family) {
    let Some(world) = World::start(family) else {
        return;
    };
    let net = &world.net;
    world.redirect("a", &OUTBOUND, &[]);
    world.redirect("b", &INBOUND, &[]);
    let once = world.rules("a");
    world.redirect("a", &OUTBOUND, &[]);
    assert_eq!(world.rules("a"), once, "a second run changes nothing");

    for kind in [Caller::Mux, Caller::GrpcGo] {
        for (callee, address) in family.callees {
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
        for (_, address) in family.callees {
            let to = |line: &Value| line["duration_ms"].is_number() && line["endpoint"] == address;
            sidecar
                .process
                .lines(&format!("streams to {address}"), 4, to);
        }
    }
    // A connection that was not redirected has no other destination than ripcord.
    for kind in [Caller::Mux, Caller::GrpcGo] {
        let client = caller(net, "a", kind, family.near);
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
    world.redirect("a", &[], &["remove"]);
    let left = world.rules("a");
    assert!(!left.contains("RIPCORD"), "{left}");
    world.redirect("a", &[], &["remove"]);
}

#[test]
fn rules_that_redirect_ripcord_itself_are_noticed() {
    noticed(&IPV4);
}

#[test]
fn rules_that_redirect_ripcord_itself_are_noticed_over_ipv6() {
    noticed(&IPV6);
}

fn noticed(family: &'static Family) {
    let Some(world) = World::start(family) else {
        return;
    };
    let wrong = [("OUTBOUND_PORTS", "8888 9000"), ("RIPCORD_UID", "4242")];
    world.redirect("a", &wrong, &[]);
    for kind in [Caller::Mux, Caller::GrpcGo] {
        for (callee, address) in family.callees {
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
