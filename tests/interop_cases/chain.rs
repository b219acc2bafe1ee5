//! A chain of six hops that changes the protocol at every hop, with Kitex and grpc-go at its ends.
//!
//! `kit::chain` has the shape. Here is what must hold for it: streams, ends, cancels from each node
//! with the path at every node, and one trace.

pub(super) mod cancels;
pub(super) mod ends;
pub(super) mod trace;

use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::kit::Wire;
use crate::kit::chain::{CALLEES, CALLERS, HOPS, Stage, node, wire};
use crate::kit::lab::Caller;
use crate::kit::scenario::{Kind, Scenario, assert_like, barrier, op, recv, scenario, send};
use crate::kit::trial::cases;

cases! {
    [Go] {
        streams_of_every_kind_cross_six_hops_byte_for_byte,
    }
}

/// The chain that most cases share.
fn stage() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(Stage::start)
}

/// A stream that is under way, whose callee waits for a cancel; `limit` is the hop's that gives it
/// up, `last` what the caller does.
fn in_the_middle(kind: Kind, limit: &str, last: Value) -> Scenario {
    let (up, down) = kind.middle();
    let script = [recv(up), send(down, 5), barrier("ready"), op("wait_cancel")];
    let ops = [send(up, 5), recv(down), barrier("now"), last];
    scenario(format!("{kind:?} {limit}"), kind, script, ops)
        .with("metadata", json!({ "x-limit": limit }))
}

/// The path at hop `n` of a cancel that travels toward the callee, and the class that `n` gives it.
/// It began at `origin`, which is the caller (0) or the hop of that number.
fn path_at(caller: Caller, origin: &str, first: usize, n: usize) -> (Vec<String>, i64) {
    let mut path = vec![origin.to_owned()];
    let mut class = 0;
    for hop in first + 1..=n {
        match wire(caller, hop - 1) {
            Wire::TtHeader => class = 12010,
            Wire::Grpc => class = 12011,
        }
        path.push(node(hop));
    }
    (path, class)
}

fn streams_of_every_kind_cross_six_hops_byte_for_byte() {
    let stage = stage();
    let echo = |name: &str, n: usize, size: usize| {
        let exchange = json!({ "op": "exchange", "n": n, "size": size, "window": 8 });
        let ops = [exchange, op("close_send")];
        let case = scenario(name, Kind::Bidi, [op("echo")], ops);
        (case, n, n, n * size)
    };
    let up = [json!({ "op": "recv" }), send(1, 7)];
    let cases = [
        echo("empty", 3, 0),
        echo("one byte", 3, 1),
        echo("a window and a bit", 3, 65_536),
        echo("1 MiB", 2, 1 << 20),
        echo("many", 200, 100),
        (
            scenario("client", Kind::Client, up, [send(50, 1000)]),
            50,
            1,
            7,
        ),
        (
            scenario(
                "server",
                Kind::Server,
                [recv(1), send(50, 1000)],
                [send(1, 10)],
            ),
            1,
            50,
            50_000,
        ),
    ];
    for caller in CALLERS {
        for callee in CALLEES {
            let runs: Vec<_> = cases
                .iter()
                .map(|case| (stage.run(caller, callee, &case.0), case))
                .collect();
            for (run, (case, up, down, bytes)) in runs {
                let (at_caller, at_callee) = (run.caller_end(), stage.callee_end(&run));
                let expected =
                    json!({ "kind": "ok", "sent": up, "recv": down, "recv_bytes": bytes });
                assert_like(&run.what, &at_caller, &expected);
                let expected = json!({ "recv": up, "sent": down });
                assert_like(&run.what, &at_callee, &expected);
                if case.value["method"] == "Bidi" {
                    assert_eq!(at_caller["sha256"], at_callee["sha256"], "{}", run.what);
                }
                for n in 1..=HOPS {
                    let line = stage.chain.access(n, &run.trace);
                    let expected = json!({ "end": "complete", "by": "callee", "request_messages": up, "response_messages": down });
                    assert_like(&format!("{} at r{n}", run.what), &line, &expected);
                }
            }
        }
    }
}
