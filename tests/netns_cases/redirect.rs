//! iptables redirects connections to ripcord (`deploy/iptables.sh`), which asks where they were
//! going. The applications know nothing of it.

use serde_json::{Value, json};

use super::net::{Net, PodAddress, UID};
use super::pod::{caller, canceled};
use crate::kit::lab::{Callee, Caller, say};
use crate::kit::process::Process;
use crate::kit::ripcord::Ripcord;
use crate::kit::scenario::{Kind, Scenario, assert_like, barrier, op, recv, scenario, send};
use crate::kit::spec::Table;
use crate::kit::trial::cases;

cases! {
    [Go, Namespaces, Setpriv, Iptables] {
        applications_that_know_nothing_of_it_speak_through_two_sidecars,
        rules_that_redirect_ripcord_itself_are_noticed,
    }
    [Go, Namespaces, Setpriv, Ip6tables] {
        applications_speak_through_two_sidecars_over_ipv6,
        rules_that_redirect_ripcord_itself_are_noticed_over_ipv6,
    }
}

/// Both services are called where they are; the first two routes also translate, as the caller's
/// wire makes it necessary.
fn table(network: &str) -> Table {
    let to_grpc = format!(
        "match: {{ destination: \"{network}:9000\" }}, backend: grpc, rewrite: {{ service: interop.Interop }}"
    );
    Table::new()
        .backend_with(
            "kitex",
            "protocol: ttheader, payload: thrift, endpoints: original_destination",
        )
        .backend_with("grpc", "protocol: grpc, endpoints: original_destination")
        .route(
            "kitex",
            "match: { destination: \":8888\" }, backend: kitex, rewrite: { service: Interop }",
        )
        .route("grpc", &to_grpc)
        .route("rest", "backend: grpc")
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
    a: Ripcord,
    b: Ripcord,
    net: Net,
    family: &'static Family,
}

impl World {
    fn start(family: &'static Family) -> Self {
        let net = Net::start(&family.pods);
        let [(_, kitex), (_, grpc)] = family.callees;
        let callees = [
            net.go("b", &["kitex-server", "--addr", kitex]),
            net.go("b", &["grpc-server", "--addr", grpc]),
        ];
        for callee in &callees {
            callee.event("listening", "");
        }
        let sidecar = |pod: &str, address: &str| {
            let sidecar = net.named(pod, pod);
            let sidecar = sidecar.listens("in", address, "original_destination: on");
            sidecar.table(table(family.network)).start()
        };
        let (b, a) = (sidecar("b", family.any), sidecar("a", family.near));
        Self {
            callees,
            a,
            b,
            net,
            family,
        }
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

fn applications_that_know_nothing_of_it_speak_through_two_sidecars() {
    redirected(&IPV4);
}

fn applications_speak_through_two_sidecars_over_ipv6() {
    redirected(&IPV6);
}

fn redirected(family: &'static Family) {
    let world = World::start(family);
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

fn rules_that_redirect_ripcord_itself_are_noticed() {
    noticed(&IPV4);
}

fn rules_that_redirect_ripcord_itself_are_noticed_over_ipv6() {
    noticed(&IPV6);
}

fn noticed(family: &'static Family) {
    let world = World::start(family);
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
