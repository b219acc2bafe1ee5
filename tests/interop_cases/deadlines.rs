//! Deadlines and receive timeouts of the caller, as both ends see them.

use serde_json::{Value, json};

use crate::kit::lab::{Callee, Caller, Ends, Pair, Via, lab};
use crate::kit::scenario::{Kind, assert_like, barrier, op, recv, scenario, send};
use crate::kit::trial::cases;

cases! {
    pairs {
        a_callers_deadline_ends_both_sides,
    }
    [Go] {
        a_kitex_receive_timeout_cancels_with_its_own_code,
    }
}

/// The callers' deadline. A hop tells a caller's reset at its deadline from another by a tenth of
/// it.
const TIMEOUT_MS: u32 = 4000;

/// What the caller's library prints when its own time is over.
fn caller_sees(pair: Pair) -> Value {
    if pair.caller.is_ttheader() {
        json!({ "kind": "error", "code": 12015, "is": ["ErrStreamingTimeout"] })
    } else {
        json!({ "kind": "error", "code": 4, "code_kind": "grpc" })
    }
}

/// Who may have been first: the caller, or a hop that knows the deadline from `grpc-timeout`.
fn paths(pair: Pair) -> Vec<String> {
    let nodes = pair.via.nodes();
    let from = |first: usize| nodes[first..].join(" -> ");
    let whole = format!("{} -> {}", pair.caller.origin(), from(0));
    if pair.caller.is_ttheader() {
        // Kitex sends nothing of its deadline before it is over.
        vec![whole]
    } else {
        let hops = (0..nodes.len()).map(from);
        std::iter::once(whole).chain(hops).collect()
    }
}

fn a_callers_deadline_ends_both_sides(ends: Ends) {
    let lab = lab();
    let callers = [
        Caller::Mux,
        Caller::Short,
        Caller::KitexGrpc,
        Caller::GrpcGo,
        Caller::Python,
    ];
    let vias = [Via::One, Via::TtHeader];
    let mut running = Vec::new();
    for pair in lab.pairs(ends, &callers, &vias, &Callee::ALL) {
        for kind in Kind::ALL {
            let (up, down) = kind.middle();
            let script = [
                recv(up),
                send(down, 5),
                op("wait_cancel"),
                barrier("canceled"),
            ];
            let ops = [send(up, 5), recv(down), json!({ "op": "recv" })];
            let case = scenario(format!("deadline {kind:?}"), kind, script, ops)
                .with("timeout_ms", json!(TIMEOUT_MS));
            running.push(lab.start_on(pair, &case));
        }
    }
    for running in running {
        let (pair, what) = (running.pair, running.what.clone());
        let caller = running.client.event("result", &running.id);
        assert_like(&what, &caller, &caller_sees(pair));
        let seen = running.callee_passes("canceled").seen_by_callee();
        match pair.callee {
            Callee::Kitex => {
                let text = seen["ctx_err"].as_str().unwrap_or_default();
                let expected: Vec<_> = paths(pair)
                    .iter()
                    .map(|path| format!("[ttstream error, code=12015] [server-side stream] [canceled path: {path}] stream timeout"))
                    .collect();
                assert!(
                    expected.iter().any(|e| text.starts_with(e)),
                    "{what}: {text:?} is none of {expected:#?}"
                );
                let told = seen["int_header"]["12"]
                    .as_str()
                    .map(|ms| ms.parse::<u32>().unwrap());
                assert_eq!(
                    told.is_some(),
                    !pair.caller.is_ttheader(),
                    "{what}: {told:?}"
                );
                assert!(
                    told.is_none_or(|ms| (1..=TIMEOUT_MS).contains(&ms)),
                    "{what}: {told:?}"
                );
            }
            Callee::KitexGrpc | Callee::GrpcGo => {
                let text = seen["ctx_err"].as_str().unwrap_or_default();
                let own = "context deadline exceeded";
                let reset = if pair.callee == Callee::GrpcGo {
                    "context canceled"
                } else {
                    "error code: CANCEL"
                };
                let told = !pair.caller.is_ttheader();
                assert!(
                    text.contains(reset) || told && text == own,
                    "{what}: {text:?}"
                );
                assert_eq!(seen["deadline_ms"].is_null(), !told, "{what}: {seen}");
            }
            Callee::Python => assert_like(&what, &seen, &json!({ "ctx_err": "not active" })),
        }
    }
}

fn a_kitex_receive_timeout_cancels_with_its_own_code() {
    let lab = lab();
    let vias = [Via::One, Via::TtHeader];
    let script = [recv(1), send(1, 5), op("wait_cancel")];
    let ops = [send(1, 5), recv(1), json!({ "op": "recv" })];
    let case =
        scenario("recv timeout", Kind::Bidi, script, ops).with("recv_timeout_ms", json!(1500));
    let pairs = lab.pairs(
        Ends::Go,
        &[Caller::Mux, Caller::Short],
        &vias,
        &[Callee::Kitex, Callee::GrpcGo],
    );
    let running: Vec<_> = pairs
        .into_iter()
        .map(|pair| lab.start_on(pair, &case))
        .collect();
    for running in running {
        let seen = running.seen();
        let mine = json!({ "kind": "error", "code": 12014, "is": ["ErrStreamingTimeout"] });
        assert_like(&seen.what, &seen.caller, &mine);
        let path = paths(seen.pair).remove(0);
        let theirs = match seen.pair.callee {
            Callee::Kitex => json!({
                "code": 12014, "is": ["ErrStreamingCanceled"],
                "err": format!("~[ttstream error, code=12014] [server-side stream] [canceled path: {path}] "),
            }),
            Callee::KitexGrpc | Callee::GrpcGo | Callee::Python => {
                json!({ "ctx_err": "context canceled" })
            }
        };
        assert_like(&seen.what, &seen.callee, &theirs);
    }
}
