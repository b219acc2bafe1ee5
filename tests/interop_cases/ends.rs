//! The ends that a callee sends, as the caller's application reads them.

use serde_json::{Value, json};

use crate::kit::lab::{Callee, Caller, Ends, Pair, Via, lab};
use crate::kit::scenario::{Kind, Scenario, assert_like, barrier, op, recv, ret, scenario, send};
use crate::kit::trial::cases;

cases! {
    pairs {
        a_business_error_arrives_with_its_text_and_extra,
        a_status_arrives_or_is_named,
        status_details_arrive,
        a_plain_error_arrives,
        a_grpc_callees_cancelled_is_a_cancel,
        headers_trailers_and_metainfo_arrive,
        trailers_of_a_failure_arrive,
        a_half_close_is_not_an_end,
        a_callee_that_ends_early_is_a_success,
    }
}

const CALLERS: [Caller; 6] = [
    Caller::Mux,
    Caller::Short,
    Caller::KitexGrpc,
    Caller::GrpcGo,
    Caller::GrpcRaw,
    Caller::Python,
];
const VIAS: [Via; 3] = [Via::One, Via::TtHeader, Via::Grpc];

/// Runs what `cases` makes for a pair, on all pairs, and asserts what the caller saw.
fn run(ends: Ends, vias: &[Via], cases: impl Fn(Pair) -> Vec<(Scenario, Value)>) {
    let lab = lab();
    for pair in lab.pairs(ends, &CALLERS, vias, &Callee::ALL) {
        let running: Vec<_> = cases(pair)
            .into_iter()
            .map(|(scenario, expected)| (lab.start_on(pair, &scenario), expected))
            .collect();
        for (running, expected) in running {
            let seen = running.seen();
            assert_like(&seen.what, &seen.caller, &expected);
        }
    }
}

/// A stream of that kind whose handler takes one message and returns so.
fn returns(name: &str, kind: Kind, how: Value) -> Scenario {
    scenario(
        format!("{name} {kind:?}"),
        kind,
        [recv(1), how],
        [send(1, 10)],
    )
}

fn a_business_error_arrives_with_its_text_and_extra(ends: Ends) {
    let text = "no % such é thing";
    run(ends, &VIAS, |_| {
        let biz = |extra: bool| {
            let mut op = ret("biz", 555, text);
            if extra {
                op["extra"] = json!({ "a": "b", "ü": "\"q\"" });
            }
            op
        };
        let mut out = Vec::new();
        for kind in Kind::ALL {
            let extra = json!({ "a": "b", "ü": "\"q\"" });
            let plain = json!({ "kind": "biz", "biz": { "code": 555, "message": text } });
            let full =
                json!({ "kind": "biz", "biz": { "code": 555, "message": text, "extra": extra } });
            out.push((returns("biz", kind, biz(false)), plain));
            out.push((returns("biz extra", kind, biz(true)), full));
        }
        out
    });
}

/// What a caller sees of a status that the callee's handler returned.
fn status(pair: Pair, code: i64, go_name: &str, text: &str) -> Value {
    // How the callee's library puts it on its wire.
    let said = match pair.callee {
        Callee::Kitex => None,
        Callee::KitexGrpc => Some(format!("{text} [biz error]")),
        Callee::GrpcGo | Callee::Python => Some(text.to_owned()),
    };
    match (said, pair.caller.is_ttheader()) {
        (Some(said), false) => {
            json!({ "kind": "error", "code": code, "code_kind": "grpc", "message": said })
        }
        (Some(said), true) => json!({
            "kind": "error", "code": 12001,
            "err": format!("[ttstream error, code=12001] [client-side stream] rpc error: code = {go_name} desc = {said}"),
        }),
        (None, true) => json!({
            "kind": "error", "code": 12001,
            "err": format!("[ttstream error, code=12001] [client-side stream] biz error: rpc error: code = {code} desc = {text}"),
        }),
        (None, false) => json!({
            "kind": "error", "code": 13, "code_kind": "grpc",
            "message": format!("[ttstream error, code=12001] [client-side stream] biz error: rpc error: code = {code} desc = {text}"),
        }),
    }
}

fn a_status_arrives_or_is_named(ends: Ends) {
    const STATUSES: [(i64, &str); 15] = [
        (2, "Unknown"),
        (3, "InvalidArgument"),
        (4, "DeadlineExceeded"),
        (5, "NotFound"),
        (6, "AlreadyExists"),
        (7, "PermissionDenied"),
        (8, "ResourceExhausted"),
        (9, "FailedPrecondition"),
        (10, "Aborted"),
        (11, "OutOfRange"),
        (12, "Unimplemented"),
        (13, "Internal"),
        (14, "Unavailable"),
        (15, "DataLoss"),
        (16, "Unauthenticated"),
    ];
    run(ends, &VIAS, |pair| {
        let one = |(code, name): (i64, &str)| {
            let text = format!("said {code}");
            let scenario = returns(
                &format!("status {code}"),
                Kind::Bidi,
                ret("status", code, &text),
            );
            (scenario, status(pair, code, name, &text))
        };
        let mut out: Vec<_> = STATUSES.into_iter().map(one).collect();
        for kind in [Kind::Client, Kind::Server] {
            let scenario = returns("status 5", kind, ret("status", 5, "gone"));
            out.push((scenario, status(pair, 5, "NotFound", "gone")));
        }
        out
    });
}

fn status_details_arrive(ends: Ends) {
    run(ends, &VIAS, |pair| {
        // Kitex has no details on TTHeader.
        if pair.caller.is_ttheader() || pair.callee == Callee::Kitex {
            return Vec::new();
        }
        let mut how = ret("status", 9, "detailed");
        how["details"] = json!(true);
        let mut expected = json!({ "code": 9 });
        if pair.caller != Caller::Python {
            let info =
                json!({ "reason": "INTEROP", "domain": "interop.test", "metadata": { "k": "v" } });
            expected["details"] = json!([{ "type": "google.rpc.ErrorInfo", "json": info }]);
        }
        vec![(returns("details", Kind::Bidi, how), expected)]
    });
}

fn a_plain_error_arrives(ends: Ends) {
    run(ends, &VIAS, |pair| {
        let text = match pair.callee {
            Callee::Kitex => "biz error: plain",
            Callee::KitexGrpc => "plain [biz error]",
            Callee::GrpcGo | Callee::Python => "plain",
        };
        // grpc-go and grpcio report UNKNOWN, Kitex INTERNAL.
        let (code, name) = if pair.callee.is_kitex() {
            (13, "Internal")
        } else {
            (2, "Unknown")
        };
        let expected = match (pair.callee, pair.caller.is_ttheader()) {
            (Callee::Kitex, true) => json!({
                "kind": "error", "code": 12001, "err": format!("[ttstream error, code=12001] [client-side stream] {text}"),
            }),
            (Callee::Kitex, false) => json!({
                "kind": "error", "code": 13, "message": format!("[ttstream error, code=12001] [client-side stream] {text}"),
            }),
            (_, true) => json!({
                "kind": "error", "code": 12001,
                "err": format!("[ttstream error, code=12001] [client-side stream] rpc error: code = {name} desc = {text}"),
            }),
            (_, false) => {
                json!({ "kind": "error", "code": code, "code_kind": "grpc", "message": text })
            }
        };
        let case = |kind| {
            (
                returns("error", kind, ret("error", 0, "plain")),
                expected.clone(),
            )
        };
        Kind::ALL.into_iter().map(case).collect()
    });
}

fn a_grpc_callees_cancelled_is_a_cancel(ends: Ends) {
    run(ends, &VIAS, |pair| {
        if pair.callee == Callee::Kitex {
            return Vec::new();
        }
        let text = if pair.callee == Callee::KitexGrpc {
            "bye [biz error]"
        } else {
            "bye"
        };
        let expected = if pair.caller.is_ttheader() {
            let mut nodes = vec!["non-ttstream path"];
            nodes.extend(pair.via.nodes().iter().rev());
            let path = nodes.join(" -> ");
            json!({
                "kind": "error", "code": 12011, "is": ["ErrStreamingCanceled"],
                "err": format!("[ttstream error, code=12011] [client-side stream] [canceled path: {path}] {text}"),
            })
        } else {
            json!({ "kind": "error", "code": 1, "code_kind": "grpc", "message": text })
        };
        let case = |kind| {
            (
                returns("cancelled", kind, ret("status", 1, "bye")),
                expected.clone(),
            )
        };
        Kind::ALL.into_iter().map(case).collect()
    });
}

fn headers_trailers_and_metainfo_arrive(ends: Ends) {
    let lab = lab();
    let script = || {
        [
            json!({ "op": "header", "kv": { "h-one": "v1", "h-two": "v two" } }),
            op("echo"),
            json!({ "op": "trailer", "kv": { "t-one": "w1" } }),
        ]
    };
    let case = scenario(
        "metadata",
        Kind::Bidi,
        script(),
        [send(1, 10), recv(1), op("close_send")],
    )
    .with("persist", json!({ "PK": "persistent" }))
    .with("transit", json!({ "TK": "one hop" }))
    .with("metadata", json!({ "plain-key": "plain value" }));
    for pair in lab.pairs(ends, &CALLERS, &VIAS, &Callee::ALL) {
        let seen = lab.start_on(pair, &case).seen();
        let back = json!({
            "kind": "ok", "header": { "h-one": ["v1"], "h-two": ["v two"] }, "trailer": { "t-one": ["w1"] },
        });
        assert_like(&seen.what, &seen.caller, &back);
        let there = json!({
            "persist": { "PK": "persistent" }, "transit": { "TK": "one hop" }, "metadata": { "plain-key": ["plain value"] },
        });
        assert_like(&seen.what, &seen.callee, &there);
    }
}

fn trailers_of_a_failure_arrive(ends: Ends) {
    let lab = lab();
    let script = || {
        [
            json!({ "op": "trailer", "kv": { "t-one": "w1" } }),
            recv(1),
            ret("biz", 7, "no"),
        ]
    };
    let case = scenario("failed with trailers", Kind::Bidi, script(), [send(1, 10)]);
    for pair in lab.pairs(ends, &CALLERS, &VIAS, &Callee::ALL) {
        let seen = lab.start_on(pair, &case).seen();
        assert_like(
            &seen.what,
            &seen.caller,
            &json!({ "kind": "biz", "trailer": { "t-one": ["w1"] } }),
        );
    }
}

fn a_half_close_is_not_an_end(ends: Ends) {
    let lab = lab();
    // The callee goes on after it saw the half-close, and only then sends.
    let script = || [json!({ "op": "recv" }), barrier("eof"), send(3, 10)];
    let ops = || [send(2, 10), op("close_send")];
    let case = scenario("half-close", Kind::Bidi, script(), ops());
    for pair in lab.pairs(ends, &CALLERS, &VIAS, &Callee::ALL) {
        let running = lab.start_on(pair, &case);
        running.callee_passes("eof");
        let seen = running.seen();
        assert_like(
            &seen.what,
            &seen.caller,
            &json!({ "kind": "ok", "sent": 2, "recv": 3 }),
        );
        assert_like(
            &seen.what,
            &seen.callee,
            &json!({ "recv": 2, "err": "EOF", "ctx_err": null }),
        );
    }
}

fn a_callee_that_ends_early_is_a_success(ends: Ends) {
    run(ends, &VIAS, |_| {
        let script = [send(2, 5)];
        let early = scenario("early", Kind::Bidi, script, [recv(2)]);
        vec![(early, json!({ "kind": "ok", "recv": 2 }))]
    });
}
