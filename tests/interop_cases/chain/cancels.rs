//! A cancel from each node of the chain, and the path at every node.
//!
//! A hop's view is its access log line. An application's view is what its library prints.

use serde_json::{Value, json};

use super::{in_the_middle, path_at, stage};
use crate::kit::Wire;
use crate::kit::chain::{
    CALLEES, CALLERS, Callees, Chain, HOPS, NO_COLLECTOR, Run, Stage, node, nodes, wire,
};
use crate::kit::h2peer::{H2Callee, Play};
use crate::kit::lab::{Callee, Caller};
use crate::kit::scenario::{Kind, assert_like, barrier, op, recv, scenario, send};
use crate::kit::trial::cases;
use crate::kit::tt::Listener;

cases! {
    [Go] {
        a_callers_cancel_crosses_six_hops,
        each_hop_that_gives_up_an_idle_stream_is_named_at_every_node,
        each_hops_deadline_is_named_at_every_node,
        a_callees_cancel_crosses_six_hops,
        each_hop_that_is_killed_is_noticed_at_every_node,
    }
}

const CANCELED: &str = "user code invoking stream RPC with context processed by context.WithCancel \
                        or context.WithTimeout, then invoking cancel() actively";

/// One stream of each kind between each two ends.
fn every_pair(stage: &Stage, limit: &str, last: &Value) -> Vec<Run> {
    let mut runs = Vec::new();
    for caller in CALLERS {
        for callee in CALLEES {
            for kind in Kind::ALL {
                let case = in_the_middle(kind, limit, last.clone());
                runs.push(stage.run(caller, callee, &case));
            }
        }
    }
    runs
}

/// Lets callees and callers go on, when all of them stand.
fn all_pass(stage: &Stage, runs: &[Run]) {
    for run in runs {
        stage.callee_passes(run, "ready");
        run.caller_passes("now");
    }
}

/// Asserts what hop `n` logged.
#[track_caller]
fn assert_line(stage: &Chain, run: &Run, n: usize, expected: &Value) {
    let line = stage.access(n, &run.trace);
    assert_like(&format!("{} at r{n}", run.what), &line, expected);
}

/// Asserts at hop `n` a cancel that came from the caller's side, from hop `first` or the caller
/// (0).
fn from_the_caller(chain: &Chain, run: &Run, n: usize, (origin, first): (&str, usize), cause: i64) {
    let (path, class) = path_at(run.caller, origin, first, n);
    let how = match wire(run.caller, n - 1) {
        Wire::TtHeader => "rst",
        Wire::Grpc => "reset",
    };
    let expected = json!({ "end": "canceled", "by": "caller", "cause": cause, "class": class,
        "how": how, "origin": path[0], "path": path });
    assert_line(chain, run, n, &expected);
}

/// Asserts at hop `n` a cancel that came from the callee's side and began at `origin`, before hop
/// `last`.
fn from_the_callee(chain: &Chain, run: &Run, n: usize, origin: &[String], last: usize, cause: i64) {
    let path = [origin, &nodes((n..=last).rev())].concat();
    let expected = json!({ "end": "canceled", "by": "callee", "cause": cause, "class": 12009,
        "origin": path[0], "path": path });
    assert_line(chain, run, n, &expected);
}

/// Asserts what the callee's handler saw.
fn callee_sees(stage: &Stage, run: &Run, cause: i64, path: &[String]) {
    let expected = match run.callee {
        Callee::Kitex => json!({
            "ctx_err": format!("~[ttstream error, code={cause}] [server-side stream] [canceled path: {}] ", path.join(" -> ")),
        }),
        Callee::KitexGrpc | Callee::GrpcGo | Callee::Python => {
            json!({ "ctx_err": "context canceled" })
        }
    };
    assert_like(&run.what, &stage.callee_end(run), &expected);
}

/// Asserts what the caller's library prints of a cancel with that path.
fn caller_sees(run: &Run, cause: i64, status: i64, path: &[String]) {
    let text = format!(
        "~[ttstream error, code={cause}] [client-side stream] [canceled path: {}] ",
        path.join(" -> ")
    );
    let expected = if run.caller.is_ttheader() {
        json!({ "kind": "error", "code": cause, "is": ["ErrStreamingCanceled"], "err": text })
    } else {
        json!({ "kind": "error", "code": status, "code_kind": "grpc", "message": text,
            "trailer": { "ripcord-code": [cause.to_string()], "ripcord-path": [path.join(",")] } })
    };
    assert_like(&run.what, &run.caller_end(), &expected);
}

fn a_callers_cancel_crosses_six_hops() {
    let stage = stage();
    let runs = every_pair(stage, "none", &op("cancel"));
    all_pass(stage, &runs);
    for run in &runs {
        let (cause, own) = if run.caller.is_ttheader() {
            let err = format!("[ttstream error, code=12007] [client-side stream] {CANCELED}");
            (12007, json!({ "kind": "error", "code": 12007, "err": err }))
        } else {
            (12011, json!({ "kind": "error", "code": 1 }))
        };
        assert_like(&run.what, &run.caller_end(), &own);
        let origin = (run.caller.origin(), 0);
        for n in 1..=HOPS {
            from_the_caller(&stage.chain, run, n, origin, cause);
        }
        callee_sees(stage, run, cause, &path_at(run.caller, origin.0, 0, HOPS).0);
    }
}

fn each_hop_that_gives_up_an_idle_stream_is_named_at_every_node() {
    let stage = stage();
    let mut all = Vec::new();
    for hop in 1..=HOPS {
        let runs = every_pair(stage, &format!("idle-r{hop}"), &op("recv"));
        all_pass(stage, &runs);
        all.push((hop, runs));
    }
    for (hop, runs) in &all {
        let (hop, name) = (*hop, node(*hop));
        for run in runs {
            let own = json!({ "end": "hop", "by": "hop", "error_type": "idle", "text": "no message for 2s (timeouts.idle)" });
            assert_line(&stage.chain, run, hop, &own);
            for n in 1..hop {
                from_the_callee(&stage.chain, run, n, &[], hop, 12014);
            }
            for n in hop + 1..=HOPS {
                from_the_caller(&stage.chain, run, n, (&name, hop), 12014);
            }
            caller_sees(run, 12014, 4, &nodes((1..=hop).rev()));
            callee_sees(stage, run, 12014, &path_at(run.caller, &name, hop, HOPS).0);
        }
    }
}

fn each_hops_deadline_is_named_at_every_node() {
    let stage = stage();
    let mut all = Vec::new();
    for hop in 1..=HOPS {
        for caller in CALLERS {
            for callee in CALLEES {
                let script = [recv(1), send(1, 5), op("wait_cancel"), barrier("canceled")];
                let case = scenario(
                    format!("deadline at r{hop}"),
                    Kind::Bidi,
                    script,
                    [send(1, 5), recv(1)],
                )
                .with("metadata", json!({ "x-limit": format!("deadline-r{hop}") }));
                all.push((hop, stage.run(caller, callee, &case)));
            }
        }
    }
    for (hop, run) in &all {
        deadline(stage, *hop, run);
        stage.callee_passes(run, "canceled");
        let seen = stage.callee_end(run);
        if run.callee == Callee::Kitex {
            let text = "~[ttstream error, code=12015] [server-side stream] [canceled path: ";
            assert_like(&run.what, &seen, &json!({ "ctx_err": text }));
        }
    }
}

/// A deadline travels. So any hop behind the one that has it may be the first to act, or two at
/// once. So may grpc-go, whose server answers DEADLINE_EXCEEDED while its handler still runs.
fn deadline(stage: &Stage, hop: usize, run: &Run) {
    let lines: Vec<_> = (1..=HOPS)
        .map(|n| stage.chain.access(n, &run.trace))
        .collect();
    let acted: Vec<_> = (1..=HOPS)
        .filter(|n| lines[n - 1]["end"] == "hop")
        .collect();
    let by_callee = |line: &Value| {
        run.callee == Callee::GrpcGo && line["end"] == "failed" && line["status"] == 4
    };
    assert!(
        !acted.is_empty() || lines.iter().all(by_callee),
        "{}: nobody acted: {lines:#?}",
        run.what
    );
    for (n, line) in (1..).zip(&lines) {
        let what = format!("{} at r{n}, acted: {acted:?}: {line}", run.what);
        if acted.contains(&n) {
            assert!(n >= hop, "{what}");
            assert_eq!(line["error_type"], "deadline", "{what}");
        } else if !by_callee(line) {
            assert_eq!(line["end"], "canceled", "{what}");
            assert_eq!(line["cause"], 12015, "{what}");
            let from_callee = line["by"] == "callee";
            let mut possible = acted.iter().filter(|first| (**first > n) == from_callee);
            let path = |&first: &usize| match first > n {
                true => json!(nodes((n..=first).rev())),
                false => json!(path_at(run.caller, &node(first), first, n).0),
            };
            assert!(possible.any(|first| line["path"] == path(first)), "{what}");
        }
    }
    if by_callee(&lines[0]) {
        let code = if run.caller.is_ttheader() { 12001 } else { 4 };
        let err = json!({ "code": code, "err": "~context deadline exceeded" });
        assert_like(&run.what, &run.caller_end(), &err);
        return;
    }
    let own = json!([node(1)]);
    let path = lines[0]["path"].as_array().or(own.as_array()).unwrap();
    let path: Vec<_> = path
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    caller_sees(run, 12015, 4, &path);
}

fn a_callees_cancel_crosses_six_hops() {
    let tt = Listener::start();
    // RST_STREAM(CANCEL): a gRPC callee that cancels has nothing more to send.
    let grpc = H2Callee::start(|_| Play::Reset(8));
    let callees = Callees {
        ttheader: tt.address.clone(),
        grpc: grpc.address.clone(),
    };
    let chain = Chain::start(&callees, |_| NO_COLLECTOR.to_owned());
    let stage = Stage::of_scripted(chain);
    let mut wire = None;
    let mut opened = 0;
    for caller in CALLERS {
        for kind in Kind::ALL {
            let case = || scenario("callee lets go", kind, [], [send(1, 5), op("recv")]);
            let run = stage.run(caller, Callee::Kitex, &case());
            let wire = wire.get_or_insert_with(|| tt.accept());
            wire.stream(opened).rst(1204, "B canceled", "B");
            opened += 1;
            let origin = ["B".to_owned()];
            for n in 1..=HOPS {
                from_the_callee(&stage.chain, &run, n, &origin, HOPS, 1204);
                assert_line(&stage.chain, &run, n, &json!({ "text": "B canceled" }));
            }
            let path = [&origin[..], &nodes((1..=HOPS).rev())].concat();
            caller_sees(&run, 1204, 1, &path);

            let run = stage.run(caller, Callee::GrpcGo, &case());
            let origin = ["non-ttstream path".to_owned()];
            for n in 1..=HOPS {
                let path = [&origin[..], &nodes((n..=HOPS).rev())].concat();
                let expected = json!({ "end": "canceled", "by": "callee", "cause": 12011, "path": path,
                    "text": "stream terminated by RST_STREAM with error code: CANCEL" });
                assert_line(&stage.chain, &run, n, &expected);
            }
            let path = [&origin[..], &nodes((1..=HOPS).rev())].concat();
            caller_sees(&run, 12011, 1, &path);
        }
    }
}

/// What the nodes on both sides of a killed hop report.
fn killed(stage: &Stage, hop: usize, run: &Run) {
    let chain = &stage.chain;
    if hop > 1 {
        let lost = json!({ "end": "hop", "by": "hop", "error_type": "backend_lost" });
        assert_line(chain, run, hop - 1, &lost);
        for n in 1..hop - 1 {
            from_the_callee(chain, run, n, &[], hop - 1, 12013);
        }
        caller_sees(run, 12013, 14, &nodes((1..hop).rev()));
    } else {
        // The caller's own library lost its connection. By a race of its own, Kitex prints 12006,
        // 12004 or plain EOF, which is success.
        let seen = run.caller_end();
        if run.caller.is_ttheader() {
            let known = seen["kind"] == "ok" || seen["code"] == 12004 || seen["code"] == 12006;
            assert!(known, "{}: {seen:#}", run.what);
        } else {
            assert_like(&run.what, &seen, &json!({ "kind": "error", "code": 14 }));
        }
    }
    if hop == HOPS {
        // So did the callee's.
        let own = match run.callee {
            Callee::Kitex => json!({ "ctx_err": "~code=12013" }),
            Callee::KitexGrpc | Callee::GrpcGo | Callee::Python => {
                json!({ "ctx_err": "context canceled" })
            }
        };
        assert_like(&run.what, &stage.callee_end(run), &own);
        return;
    }
    // The next hop is the one that noticed. On gRPC, a lost caller looks like one that canceled.
    let next = hop + 1;
    let (cause, class) = match wire(run.caller, hop) {
        Wire::TtHeader => (12013, 12010),
        Wire::Grpc => (12011, 12011),
    };
    let path = lost_path(run.caller, hop, next);
    let expected = json!({ "end": "canceled", "by": "caller", "cause": cause, "class": class,
        "how": "connection_lost", "path": path });
    assert_line(chain, run, next, &expected);
    for n in next + 1..=HOPS {
        let path = lost_path(run.caller, hop, n);
        let expected = json!({ "end": "canceled", "by": "caller", "cause": cause, "path": path });
        assert_line(chain, run, n, &expected);
    }
    callee_sees(stage, run, cause, &lost_path(run.caller, hop, HOPS));
}

/// The path at hop `n` when `hop` was killed.
fn lost_path(caller: Caller, hop: usize, n: usize) -> Vec<String> {
    match wire(caller, hop) {
        Wire::TtHeader => path_at(caller, &node(hop + 1), hop + 1, n).0,
        // The request named those before it. Kitex sends no name in its Header.
        Wire::Grpc => {
            let origin = if caller.is_ttheader() {
                ""
            } else {
                caller.origin()
            };
            [vec![origin.to_owned()], nodes(1..=n)].concat()
        }
    }
}

fn each_hop_that_is_killed_is_noticed_at_every_node() {
    let start = |hop| std::thread::spawn(move || (hop, Stage::start()));
    let started: Vec<_> = (1..=HOPS).map(start).collect();
    let mut all = Vec::new();
    for stage in started {
        let (hop, stage) = stage.join().unwrap();
        let runs = every_pair(&stage, "none", &op("recv"));
        all.push((hop, stage, runs));
    }
    for (hop, stage, runs) in &all {
        for run in runs {
            stage.callee_stands(run, "ready");
        }
        stage.chain.hop(*hop).process.kill();
        all_pass(stage, runs);
    }
    for (hop, stage, runs) in &all {
        for run in runs {
            killed(stage, *hop, run);
        }
        for n in (1..=HOPS).filter(|n| n != hop) {
            stage.chain.hop(n).wait_idle();
        }
    }
}
