//! Each kind of end that a callee can cause, at the caller's application.

use serde_json::{Value, json};

use super::stage;
use crate::interop_cases::golden::{check, one_message, play_grpc, play_ttheader};
use crate::kit::chain::{CALLEES, CALLERS, Callees, Chain, HOPS, NO_COLLECTOR, Stage, nodes};
use crate::kit::h2peer::H2Callee;
use crate::kit::lab::{Callee, Caller};
use crate::kit::rows::rows;
use crate::kit::scenario::{Kind, Scenario, assert_like, recv, ret, scenario, send};
use crate::kit::trial::cases;
use crate::kit::tt::Listener;

cases! {
    [Go] {
        each_kind_of_end_crosses_six_hops,
        every_row_of_the_golden_table_crosses_six_hops,
    }
}

/// A stream whose handler takes one message, sets a trailer and returns so.
fn returns(name: &str, how: Value) -> Scenario {
    let trailer = json!({ "op": "trailer", "kv": { "t-one": "w1" } });
    scenario(name, Kind::Bidi, [recv(1), trailer, how], [send(1, 10)])
}

const BIZ: &str = "no % such é thing";

/// What the caller's application prints of each.
fn ends(caller: Caller, callee: Callee) -> Vec<(Scenario, Value)> {
    let tt = caller.is_ttheader();
    let trailer = json!({ "t-one": ["w1"] });
    let mut biz = ret("biz", 555, BIZ);
    biz["extra"] = json!({ "a": "b", "ü": "\"q\"" });
    let mut detailed = ret("status", 9, "detailed");
    detailed["details"] = json!(true);
    // What the callee's library writes: Kitex makes an exception of type 6 of every error.
    let said = |code: i64, name: &str, text: &str, kitex: &str| match (callee, tt) {
        (Callee::Kitex, true) => {
            json!({ "kind": "error", "code": 12001, "err": format!("[ttstream error, code=12001] [client-side stream] biz error: {kitex}"), "trailer": trailer })
        }
        (Callee::Kitex, false) => {
            json!({ "kind": "error", "code": 13, "code_kind": "grpc", "message": format!("[ttstream error, code=12001] [client-side stream] biz error: {kitex}"), "trailer": trailer })
        }
        (_, true) => {
            json!({ "kind": "error", "code": 12001, "err": format!("[ttstream error, code=12001] [client-side stream] rpc error: code = {name} desc = {text}"), "trailer": trailer })
        }
        (_, false) => {
            json!({ "kind": "error", "code": code, "code_kind": "grpc", "message": text, "trailer": trailer })
        }
    };
    let mut status = said(
        9,
        "FailedPrecondition",
        "detailed",
        "rpc error: code = 9 desc = detailed",
    );
    if !tt && callee == Callee::GrpcGo {
        let info =
            json!({ "reason": "INTEROP", "domain": "interop.test", "metadata": { "k": "v" } });
        status["details"] = json!([{ "type": "google.rpc.ErrorInfo", "json": info }]);
    }
    vec![
        (
            returns("complete", ret("ok", 0, "")),
            json!({ "kind": "ok", "trailer": trailer }),
        ),
        (returns("status with details", detailed), status),
        (
            returns("business error", biz),
            json!({ "kind": "biz", "trailer": trailer,
                "biz": { "code": 555, "message": BIZ, "extra": { "a": "b", "ü": "\"q\"" } } }),
        ),
        (
            returns("plain error", ret("error", 0, "plain")),
            said(2, "Unknown", "plain", "plain"),
        ),
        (
            returns("unimplemented", ret("status", 12, "not here")),
            said(
                12,
                "Unimplemented",
                "not here",
                "rpc error: code = 12 desc = not here",
            ),
        ),
    ]
}

fn each_kind_of_end_crosses_six_hops() {
    let stage = stage();
    for caller in CALLERS {
        for callee in CALLEES {
            let runs: Vec<_> = ends(caller, callee)
                .into_iter()
                .map(|(case, expected)| (stage.run(caller, callee, &case), expected))
                .collect();
            for (run, expected) in runs {
                assert_like(&run.what, &run.caller_end(), &expected);
            }
        }
    }
}

fn every_row_of_the_golden_table_crosses_six_hops() {
    let (ttheader, grpc) = (Listener::start(), H2Callee::start(play_grpc));
    let callees = Callees {
        ttheader: ttheader.address.clone(),
        grpc: grpc.address.clone(),
    };
    let chain = Chain::start(&callees, |_| NO_COLLECTOR.to_owned());
    let stage = Stage::of_scripted(chain);
    let mut runs = Vec::new();
    let mut streams = 0;
    for (callee, begin) in [
        (Callee::Kitex, "callee ttheader "),
        (Callee::GrpcGo, "callee grpc "),
    ] {
        for caller in CALLERS {
            for row in rows(begin) {
                // A lost connection would take the other rows with it: `cancels` kills hops.
                if !row.from.ends_with("connection lost") {
                    let run = stage.run(caller, callee, &one_message(&row.from));
                    runs.push((run, row.over(&nodes((1..=HOPS).rev()))));
                    streams += usize::from(callee == Callee::Kitex);
                }
            }
        }
    }
    let wire = ttheader.accept();
    for n in 0..streams {
        let stream = wire.stream(n);
        let case = stream.header.info.string("x-case").unwrap();
        play_ttheader(&stream, std::str::from_utf8(case).unwrap());
    }
    for (run, row) in &runs {
        check(row, run.caller, &run.caller_end(), false);
    }
}
