//! The cancel matrix: who cancels, how, between which peers, on which kind of stream, in which
//! phase. Checks code, text and path at both ends.

use serde_json::{Value, json};

use crate::kit::lab::{Callee, Caller, Ends, Pair, Via, lab};
use crate::kit::scenario::{Kind, Scenario, assert_like, barrier, op, recv, scenario, send};
use crate::kit::trial::cases;

cases! {
    pairs {
        a_grpc_callers_cancel_reaches_the_callee_with_its_path,
    }
    [Go] {
        a_kitex_callers_cancel_reaches_the_callee_with_its_path,
        a_cancel_crosses_two_hops_over_ttheader,
        a_cancel_crosses_two_hops_over_grpc,
    }
}

/// How the caller cancels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// It cancels its context.
    Cancel,
    /// It cancels its context with a cause.
    Cause,
    /// It returns and leaves the cancel to its `defer`.
    Return,
}

/// When.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No message was received, and none sent unless the kind needs it to begin.
    Before,
    /// Messages went both ways (as far as the kind has them).
    Middle,
    /// After its half-close.
    HalfClosed,
}

const ACTS: [Act; 3] = [Act::Cancel, Act::Cause, Act::Return];
const PHASES: [Phase; 3] = [Phase::Before, Phase::Middle, Phase::HalfClosed];

const CANCELED: &str = "user code invoking stream RPC with context processed by context.WithCancel \
                        or context.WithTimeout, then invoking cancel() actively";
const RESET: &str = "the caller reset the stream with error code: CANCEL";

fn case(act: Act, kind: Kind, phase: Phase) -> Option<Scenario> {
    let last = match act {
        Act::Cancel => op("cancel"),
        Act::Cause => json!({ "op": "cancel_cause", "message": "because" }),
        Act::Return => op("return"),
    };
    let nothing = || send(0, 0);
    let (up, down) = match (kind, phase) {
        (Kind::Bidi | Kind::Client, Phase::Before) => (0, 0),
        (Kind::Bidi, Phase::Middle | Phase::HalfClosed) => (2, 1),
        (Kind::Client, Phase::Middle | Phase::HalfClosed) => (2, 0),
        (Kind::Server, Phase::Before) => (1, 0),
        (Kind::Server, Phase::Middle) => (1, 2),
        // Its half-close is part of its opening.
        (Kind::Server, Phase::HalfClosed) => return None,
    };
    let close = if phase == Phase::HalfClosed {
        op("close_send")
    } else {
        nothing()
    };
    let until_eof = if phase == Phase::HalfClosed {
        json!({ "op": "recv" })
    } else {
        nothing()
    };
    let script = [
        recv(up),
        send(down, 5),
        until_eof,
        barrier("ready"),
        op("wait_cancel"),
    ];
    let ops = [send(up, 10), recv(down), close, barrier("now"), last];
    Some(scenario(
        format!("{act:?} {kind:?} {phase:?}"),
        kind,
        script,
        ops,
    ))
}

/// What the callee's application sees of its receive and of its context. A receive that met the
/// half-close first tells no more; a server-streaming call is half-closed from its beginning.
fn callee_sees(pair: Pair, kind: Kind, phase: Phase) -> Value {
    let all = callee_sees_open(pair);
    if pair.callee == Callee::Python {
        return all;
    }
    match (kind, phase) {
        (Kind::Server, _) => json!({ "ctx_err": all["ctx_err"] }),
        // The peer half-closes after its cancel, and its library may send both.
        (Kind::Client, Phase::Before | Phase::Middle) => json!({ "ctx_err": all["ctx_err"] }),
        (Kind::Bidi | Kind::Client, Phase::HalfClosed) => {
            json!({ "err": "EOF", "ctx_err": all["ctx_err"] })
        }
        (Kind::Bidi, Phase::Before | Phase::Middle) => all,
    }
}

/// Code, text and path of the Rst at the callee.
fn told(pair: Pair) -> (i32, &'static str, String) {
    let mut nodes = vec![pair.caller.origin()];
    nodes.extend(pair.via.nodes());
    // Kitex v0.16.3 keeps the cause's text to itself.
    let (code, text) = if pair.caller.is_ttheader() {
        (12007, CANCELED)
    } else {
        (12011, RESET)
    };
    match pair.via {
        Via::One | Via::TtHeader | Via::Grpc => (code, text, nodes.join(" -> ")),
        Via::PlainGrpc => {
            // RST_STREAM has only a number. The names were in the request, as far as they were
            // known there: a Kitex caller of TTHeader sends its name only in its Rst.
            if pair.caller.is_ttheader() {
                nodes[0] = "";
            }
            (12011, RESET, nodes.join(" -> "))
        }
    }
}

fn callee_sees_open(pair: Pair) -> Value {
    let (code, text, path) = told(pair);
    match pair.callee {
        Callee::Kitex => {
            let err = format!(
                "[ttstream error, code={code}] [server-side stream] [canceled path: {path}] {text}"
            );
            json!({ "code": code, "code_kind": "ttstream", "err": err, "ctx_err": err, "is": ["ErrStreamingCanceled"] })
        }
        Callee::KitexGrpc => json!({
            "code": 1, "code_kind": "grpc", "ctx_cause": "context canceled",
            "err": "~rpc error: code = 1 desc = transport: RSTStream Frame received with error code: CANCEL",
            "ctx_err": "~RSTStream Frame received with error code: CANCEL",
        }),
        Callee::GrpcGo => json!({
            "code": 1, "code_kind": "grpc", "ctx_err": "context canceled",
            "err": "rpc error: code = Canceled desc = context canceled",
        }),
        Callee::Python => json!({ "ctx_err": "not active" }),
    }
}

/// What the caller's own library makes of its own cancel.
fn caller_sees(pair: Pair, act: Act) -> Value {
    match (act, pair.caller) {
        (Act::Return, _) => json!({ "kind": "returned" }),
        (Act::Cancel | Act::Cause, Caller::Mux | Caller::Long | Caller::Short) => json!({
            "kind": "error", "code": 12007, "is": ["ErrStreamingCanceled"],
            "err": format!("[ttstream error, code=12007] [client-side stream] {CANCELED}"),
        }),
        (
            Act::Cancel | Act::Cause,
            Caller::KitexGrpc | Caller::GrpcGo | Caller::GrpcRaw | Caller::Python,
        ) => {
            json!({ "kind": "error", "code": 1, "code_kind": "grpc" })
        }
    }
}

fn matrix(ends: Ends, callers: &[Caller], vias: &[Via], callees: &[Callee]) {
    let lab = lab();
    for pair in lab.pairs(ends, callers, vias, callees) {
        let mut running = Vec::new();
        for act in ACTS {
            for kind in Kind::ALL {
                for phase in PHASES {
                    if let Some(case) = case(act, kind, phase) {
                        running.push((act, kind, phase, lab.start_on(pair, &case)));
                    }
                }
            }
        }
        for (_, _, _, running) in &running {
            running
                .started()
                .callee_passes("ready")
                .caller_passes("now");
        }
        for (act, kind, phase, running) in running {
            let seen = running.seen();
            assert_like(&seen.what, &seen.callee, &callee_sees(pair, kind, phase));
            assert_like(&seen.what, &seen.caller, &caller_sees(pair, act));
        }
    }
}

fn a_kitex_callers_cancel_reaches_the_callee_with_its_path() {
    matrix(
        Ends::Go,
        &[Caller::Mux, Caller::Long, Caller::Short],
        &[Via::One],
        &Callee::ALL,
    );
}

fn a_grpc_callers_cancel_reaches_the_callee_with_its_path(ends: Ends) {
    let callers = [
        Caller::KitexGrpc,
        Caller::GrpcGo,
        Caller::GrpcRaw,
        Caller::Python,
    ];
    matrix(ends, &callers, &[Via::One], &Callee::ALL);
}

fn a_cancel_crosses_two_hops_over_ttheader() {
    matrix(
        Ends::Go,
        &[Caller::Mux, Caller::GrpcGo],
        &[Via::TtHeader],
        &[Callee::Kitex, Callee::GrpcGo],
    );
}

fn a_cancel_crosses_two_hops_over_grpc() {
    matrix(
        Ends::Go,
        &[Caller::Mux, Caller::GrpcGo],
        &[Via::Grpc, Via::PlainGrpc],
        &[Callee::Kitex, Callee::GrpcGo],
    );
}
