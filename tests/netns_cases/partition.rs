//! A partition in mid stream. Both sides receive an end within the bound of the keepalive settings.
//! When the partition is over, new streams work.

use std::time::{Duration, Instant};

use serde_json::json;

use super::net::Net;
use super::pod::{by, caller, services};
use crate::kit::lab::{Callee, Caller, egress_table, say};
use crate::kit::process::LIMIT;
use crate::kit::scenario::{Kind, assert_like, barrier, op, recv, scenario, send};
use crate::kit::trial::cases;

cases! {
    [Go, Namespaces, Setpriv] {
        a_partition_in_mid_stream_is_heard_on_both_sides_and_heals,
    }
}

/// Toward backends and toward callers: an idle connection is dead after 2 s and 3 probes 1 s apart,
/// one with unacknowledged data after 5 s.
const KEEPALIVE: &str =
    "keepalive: { tcp: { idle: 2s, interval: 1s, count: 3 }, user_timeout: 5s }";

/// What that promises.
const BOUND: Duration = Duration::from_secs(5);

/// What a busy machine may take on top. Without keepalive it would be 15 minutes, or for ever.
const MARGIN: Duration = Duration::from_secs(40);

fn a_partition_in_mid_stream_is_heard_on_both_sides_and_heals() {
    let net = Net::start(&[("a", "10.77.0.1"), ("b", "10.77.0.2")]);
    let services = services(&net, "b");
    let b = net
        .named("b", "b")
        .listens("in", "10.77.0.2:15006", KEEPALIVE);
    let _b = b.table(services.table()).start();
    let a = net
        .named("a", "a")
        .listens("in", "127.0.0.1:15001", KEEPALIVE);
    let connecting = format!("{KEEPALIVE}, connect_timeout: 1s");
    let table = egress_table("10.77.0.2:15006").each_backend(&connecting);
    let _a = a.table(table).start();
    let callers = [Caller::Mux, Caller::GrpcGo].map(|kind| {
        let process = caller(&net, "a", kind, "127.0.0.1:15001");
        (kind, process)
    });

    // One half of the streams stays idle; in the other the caller goes on sending.
    let mut running = Vec::new();
    for (kind, client) in &callers {
        for via in ["tt", "grpc"] {
            for callee in [Callee::Kitex, Callee::GrpcGo] {
                for more in [0, 3] {
                    let script = [recv(1), send(1, 5), op("wait_cancel")];
                    let ops = [
                        send(1, 5),
                        recv(1),
                        barrier("cut"),
                        send(more, 5),
                        json!({ "op": "recv" }),
                    ];
                    let case = scenario("partition", Kind::Bidi, script, ops);
                    let id = say(client, &by(case, via, callee));
                    client.event("barrier", &format!("{id}/cut"));
                    let what = format!("{kind:?} -{via}-> {callee:?}, {more} more");
                    running.push((what, *kind, client, via, callee, id));
                }
            }
        }
    }
    net.wire(&json!({ "cut": ["b"] }));
    let cut = Instant::now();
    for (_, _, client, _, _, id) in &running {
        client.say(&json!({ "go": format!("{id}/cut") }));
    }
    let mut latest = Duration::ZERO;
    for (what, kind, client, via, callee, id) in &running {
        let result = client.event("result", id);
        let expected = if kind.is_ttheader() {
            json!({ "kind": "error", "code": 12013, "code_kind": "ttstream", "err": "~[canceled path: a]" })
        } else {
            // Between two gRPC peers a hop says its own end without Kitex's prefix.
            let message = match *via {
                "grpc" => "!~[ttstream error",
                _ => "~[canceled path: a]",
            };
            json!({
                "kind": "error", "code": 14, "code_kind": "grpc", "message": message,
                "trailer": { "ripcord-code": ["12013"], "ripcord-path": ["a"] },
            })
        };
        assert_like(&format!("caller: {what}"), &result, &expected);
        let seen = services.of(*callee).event("server_end", id);
        // The gRPC part has the names that came with the request, TTHeader what ripcord itself saw.
        let expected = match (*callee, *via) {
            (Callee::Kitex, "tt") => {
                json!({ "code": 12013, "err": "~[canceled path: b]" })
            }
            (Callee::Kitex, _) => {
                // A Kitex caller does not send its name in a TTHeader Header.
                let name = if kind.is_ttheader() {
                    ""
                } else {
                    kind.origin()
                };
                let path = format!("~[canceled path: {name} -> a -> b]");
                json!({ "code": 12011, "err": path })
            }
            _ => json!({ "ctx_err": "context canceled" }),
        };
        assert_like(&format!("callee: {what}"), &seen, &expected);
        latest = latest.max(cut.elapsed());
    }
    println!(
        "the last of {} streams heard it after {latest:?}",
        running.len()
    );
    assert!(latest < BOUND + MARGIN, "heard only after {latest:?}");

    let echo = |name: &str| {
        let ops = [send(2, 5), recv(2), op("close_send")];
        scenario(name, Kind::Bidi, [op("echo")], ops)
    };
    for (kind, client) in &callers {
        for via in ["tt", "grpc"] {
            let id = say(client, &by(echo("unreachable"), via, Callee::Kitex));
            let result = client.event("result", &id);
            let what = format!("{kind:?} -{via}-> during the partition");
            // Kitex keeps the type of an exception to itself.
            let (code, key) = if kind.is_ttheader() {
                (12001, "err")
            } else {
                (14, "message")
            };
            let text = "~cannot be reached: 10.77.0.2:15006";
            let expected = json!({ "kind": "error", "code": code, (key): text });
            assert_like(&what, &result, &expected);
        }
    }
    net.wire(&json!({ "cut": [] }));
    // A hop that failed is left alone for a while when there is another one; here there is none.
    for (kind, client) in &callers {
        for via in ["tt", "grpc"] {
            let began = Instant::now();
            loop {
                let id = say(client, &by(echo("healed"), via, Callee::GrpcGo));
                let result = client.event("result", &id);
                if result["kind"] == "ok" {
                    assert_eq!(result["recv"], 2, "{result}");
                    break;
                }
                // Streams share an attempt to connect that may have begun before.
                assert!(began.elapsed() < LIMIT, "{kind:?} -{via}->: {result}");
            }
        }
    }
}
