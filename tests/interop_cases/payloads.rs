//! What arrives when nothing goes wrong: payloads byte for byte, headers, trailers, metainfo, the
//! half-close.

use serde_json::json;

use crate::kit::lab::{Callee, Caller, Ends, Seen, Via, lab};
use crate::kit::scenario::{Kind, Scenario, assert_like, op, recv, scenario, send};
use crate::kit::trial::cases;

cases! {
    pairs {
        payloads_arrive_byte_for_byte,
    }
    [Go] {
        ten_thousand_small_messages_arrive_in_order,
    }
}

const VIAS: [Via; 3] = [Via::One, Via::TtHeader, Via::Grpc];

/// Runs every scenario on every pair, all at once for each pair.
fn run(ends: Ends, scenarios: &[Scenario], vias: &[Via], check: impl Fn(&Scenario, &Seen)) {
    let lab = lab();
    for pair in lab.pairs(ends, &Caller::ALL, vias, &Callee::ALL) {
        let running: Vec<_> = scenarios
            .iter()
            .map(|s| (s, lab.start_on(pair, s)))
            .collect();
        for (scenario, running) in running {
            check(scenario, &running.seen());
        }
    }
}

fn payloads_arrive_byte_for_byte(ends: Ends) {
    let echo = |name: &str, n: usize, size: usize| {
        let exchange = json!({ "op": "exchange", "n": n, "size": size, "window": 8 });
        scenario(name, Kind::Bidi, [op("echo")], [exchange, op("close_send")])
            .with("expect", json!([n, n * size]))
    };
    let all = [
        echo("empty", 2, 0),
        echo("one byte", 2, 1),
        echo("a window and a bit", 3, 65_536),
        echo("1 MiB", 2, 1 << 20),
        scenario(
            "client",
            Kind::Client,
            [recv_all(), send(1, 7)],
            [send(5, 1000)],
        ),
        scenario(
            "server",
            Kind::Server,
            [recv(1), send(5, 1000)],
            [send(1, 10)],
        ),
    ];
    run(ends, &all, &VIAS, |scenario, seen| {
        let (up, down, bytes) = match scenario.name.as_str() {
            "client" => (5, 1, 7),
            "server" => (1, 5, 5000),
            _ => {
                let n = scenario.value["expect"][0].clone();
                (
                    n.as_u64().unwrap(),
                    n.as_u64().unwrap(),
                    scenario.value["expect"][1].as_u64().unwrap(),
                )
            }
        };
        assert_like(
            &seen.what,
            &seen.caller,
            &json!({ "kind": "ok", "sent": up, "recv": down, "recv_bytes": bytes }),
        );
        assert_like(
            &seen.what,
            &seen.callee,
            &json!({ "recv": up, "sent": down }),
        );
        if scenario.value["expect"].is_array() {
            assert_eq!(
                seen.caller["sha256"], seen.callee["sha256"],
                "{}",
                seen.what
            );
        }
    });
}

fn recv_all() -> serde_json::Value {
    json!({ "op": "recv" })
}

fn ten_thousand_small_messages_arrive_in_order() {
    let lab = lab();
    let exchange = json!({ "op": "exchange", "n": 10_000, "size": 16, "window": 64 });
    let many = scenario(
        "10000",
        Kind::Bidi,
        [op("echo")],
        [exchange, op("close_send")],
    );
    let callers = [Caller::Mux, Caller::GrpcGo];
    let callees = [Callee::Kitex, Callee::GrpcGo];
    let pairs = lab.pairs(Ends::Go, &callers, &[Via::One], &callees);
    let running: Vec<_> = pairs
        .into_iter()
        .map(|pair| lab.start_on(pair, &many))
        .collect();
    for running in running {
        let seen = running.seen();
        assert_like(
            &seen.what,
            &seen.caller,
            &json!({ "kind": "ok", "recv": 10_000, "recv_bytes": 160_000 }),
        );
        assert_eq!(
            seen.caller["sha256"], seen.callee["sha256"],
            "{}",
            seen.what
        );
    }
}
