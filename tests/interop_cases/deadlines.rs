//! Deadlines and receive timeouts of the caller, as both ends see them.

use serde_json::{Value, json};

use super::golden::base64;
use crate::kit::chain::new_trace;
use crate::kit::grpc;
use crate::kit::h2peer::headers;
use crate::kit::lab::{Callee, Caller, Ends, Pair, Via, lab};
use crate::kit::scenario::{Kind, assert_like, barrier, op, recv, scenario, send};
use crate::kit::trial::cases;

cases! {
    pairs {
        a_callers_deadline_ends_both_sides,
        a_cancel_shortly_before_the_deadline_is_a_cancel,
    }
    [Go] {
        a_hops_own_limit_is_that_hops_at_every_hop,
        a_caller_that_waits_and_every_access_log_name_the_owner,
        a_kitex_receive_timeout_cancels_with_its_own_code,
    }
}

/// The callers' deadline.
const TIMEOUT_MS: u32 = 4000;

/// When a caller cancels that does not wait for it.
const CANCEL_MS: u32 = 3700;

/// What the caller's library prints when its own time is over.
fn caller_sees(pair: Pair) -> Value {
    if pair.caller.is_ttheader() {
        json!({ "kind": "error", "code": 12015, "is": ["ErrStreamingTimeout"] })
    } else {
        json!({ "kind": "error", "code": 4, "code_kind": "grpc" })
    }
}

/// Whose limit it was, and the hops. It is the same whether the caller's clock was first or a hop's,
/// which knows the deadline from `grpc-timeout`.
fn path(pair: Pair) -> String {
    format!(
        "{} -> {}",
        pair.caller.origin(),
        pair.via.nodes().join(" -> ")
    )
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
    let vias = [Via::One, Via::TtHeader, Via::Grpc, Via::PlainGrpc];
    let mut running = Vec::new();
    // Of a Kitex caller's deadline nothing is on the wire before it is over, and then the cause of its
    // cancel, which a plain reset cannot carry.
    let is_told = |pair: &Pair| !(pair.caller.is_ttheader() && pair.via == Via::PlainGrpc);
    let pairs = lab.pairs(ends, &callers, &vias, &Callee::ALL);
    for pair in pairs.into_iter().filter(is_told) {
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
            // One by one: in a burst, heads are read late, and the hops' clocks run behind.
            let run = lab.start_on(pair, &case);
            run.started();
            running.push(run);
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
                let path = path(pair);
                let expected = format!(
                    "[ttstream error, code=12015] [server-side stream] [canceled path: {path}] stream timeout"
                );
                assert!(
                    text.starts_with(&expected),
                    "{what}: {text:?} is not {expected:?}"
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

fn a_cancel_shortly_before_the_deadline_is_a_cancel(ends: Ends) {
    let lab = lab();
    let callers = [Caller::KitexGrpc, Caller::GrpcGo, Caller::Python];
    let vias = [Via::One, Via::TtHeader, Via::Grpc, Via::PlainGrpc];
    let script = [recv(1), op("wait_cancel")];
    let ops = [
        send(1, 5),
        json!({ "op": "sleep", "ms": CANCEL_MS }),
        op("cancel"),
    ];
    let case =
        scenario("late cancel", Kind::Bidi, script, ops).with("timeout_ms", json!(TIMEOUT_MS));
    let callees = [Callee::Kitex, Callee::GrpcGo];
    let pairs = lab.pairs(ends, &callers, &vias, &callees);
    let running: Vec<_> = pairs
        .into_iter()
        .map(|pair| lab.start_on(pair, &case))
        .collect();
    for running in running {
        let seen = running.seen();
        let text = seen.callee["ctx_err"].as_str().unwrap_or_default();
        let expected = match seen.pair.callee {
            Callee::Kitex => format!(
                "[ttstream error, code=12011] [server-side stream] [canceled path: {}] ",
                path(seen.pair)
            ),
            Callee::KitexGrpc | Callee::GrpcGo | Callee::Python => "context canceled".to_owned(),
        };
        assert!(
            text.starts_with(&expected),
            "{}: {text:?} is not {expected:?}",
            seen.what
        );
    }
}

/// The first hop's limit is shorter than the caller's. Whichever hop's clock is first, the path
/// begins with the first hop.
fn a_hops_own_limit_is_that_hops_at_every_hop() {
    let lab = lab();
    let vias = [Via::TtHeader, Via::Grpc, Via::PlainGrpc];
    let script = [recv(1), op("wait_cancel")];
    let ops = [send(1, 5), json!({ "op": "recv" })];
    let case = scenario("egress limit", Kind::Bidi, script, ops)
        .with("timeout_ms", json!(60_000))
        .with("metadata", json!({ "x-limit": "egress" }));
    let callers = [Caller::Mux, Caller::GrpcGo];
    let pairs = lab.pairs(Ends::Go, &callers, &vias, &[Callee::Kitex]);
    let running: Vec<_> = pairs
        .into_iter()
        .map(|pair| lab.start_on(pair, &case))
        .collect();
    for running in running {
        let seen = running.seen();
        let theirs = "[ttstream error, code=12015] [server-side stream] \
                      [canceled path: egress -> ingress] stream timeout";
        let text = seen.callee["ctx_err"].as_str().unwrap_or_default();
        assert!(text.starts_with(theirs), "{}: {text:?}", seen.what);
        let text = seen.caller["err"].as_str().unwrap_or_default();
        let mine = "stream timeout";
        assert!(text.ends_with(mine), "{}: {text:?}", seen.what);
        if seen.pair.via != Via::PlainGrpc {
            assert!(!text.contains("ingress"), "{}: {text:?}", seen.what);
        }
    }
}

/// Callers without a clock of their own, so that the clocks of the two hops race.
fn a_caller_that_waits_and_every_access_log_name_the_owner() {
    let lab = lab();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let caller = runtime.block_on(grpc::Caller::connect(lab.egress.socket_address()));
    let callees = [Callee::Kitex, Callee::GrpcGo];
    for (limit, path) in [
        ("caller", &["app", "egress", "ingress"][..]),
        ("egress", &["egress", "ingress"]),
    ] {
        let mut calls = Vec::new();
        for (callee, via) in callees
            .iter()
            .flat_map(|callee| ["tt", "grpc", "plain"].map(|via| (callee, via)))
        {
            for n in 0..4 {
                let trace = new_trace();
                let script = json!({ "id": trace, "ops": [recv(1), op("wait_cancel")] });
                let headers = headers(&[
                    ("content-type", "application/grpc+thrift"),
                    ("te", "trailers"),
                    ("source-service", "app"),
                    (
                        "grpc-timeout",
                        if limit == "caller" { "1500m" } else { "60S" },
                    ),
                    ("traceparent", &format!("00-{trace}-00000000000000aa-00")),
                    ("x-to", callee.route()),
                    ("x-via", via),
                    ("x-limit", limit),
                    ("rpc-transit-script", &base64(&script.to_string())),
                ]);
                let call = caller.ask("lab", "/interop.Interop/Bidi", headers);
                let what = format!("{limit}'s limit, {via}, {callee:?}, {n}");
                calls.push((what, trace, runtime.block_on(call)));
            }
        }
        for (what, trace, call) in calls {
            let trailers = runtime.block_on(call.hear()).trailers;
            let said = |key| trailers.get(key).unwrap().to_str().unwrap();
            assert_eq!(said("grpc-status"), "4", "{what}");
            assert_eq!(said("ripcord-code"), "12015", "{what}");
            let passed = path[..path.len() - 1].join(",");
            assert_eq!(said("ripcord-path"), passed, "{what}");
            for (hop, len, by) in [
                (&lab.egress, path.len() - 1, limit),
                (&lab.ingress, path.len(), ""),
            ] {
                let line = hop.process.line(&what, |line| {
                    line["trace_id"] == *trace && line["duration_ms"].is_number()
                });
                // What the first hop set is the caller's to the second.
                let by = if by == "egress" { "hop" } else { "caller" };
                let expected = json!({
                    "end": "hop", "by": by, "error_type": "deadline", "cause": 12015,
                    "text": "stream timeout", "path": path[..len],
                });
                assert_like(&what, &line, &expected);
            }
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
        let path = path(seen.pair);
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
