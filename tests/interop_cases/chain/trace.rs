//! One trace for the whole chain, as the OpenTelemetry collector received it. The caller's span is
//! the root. Each ripcord adds a server and a client span. The callee's span is the last child.

use serde_json::{Value, json};

use super::{in_the_middle, path_at};
use crate::kit::Wire;
use crate::kit::chain::{CALLEES, CALLERS, HOPS, Run, Stage, node, wire};
use crate::kit::collector::{Collector, Span};
use crate::kit::lab::{Callee, Caller, KITEX_CALLER};
use crate::kit::scenario::{Kind, op, recv, scenario, send};
use crate::kit::trial::cases;

cases! {
    [Go] {
        a_chain_is_one_trace_in_the_collector,
    }
}

/// OTLP's `SPAN_KIND_SERVER` and `SPAN_KIND_CLIENT`.
const SERVER: u64 = 2;
const CLIENT: u64 = 3;
/// OTLP's `STATUS_CODE_UNSET` and `STATUS_CODE_ERROR`.
const UNSET: u64 = 0;
const ERROR: u64 = 2;

/// The trace in which the callee's application was called, from its metadata.
fn trace_of(what: &str, end: &Value) -> String {
    let parent = end["transit"]["traceparent"]
        .as_str()
        .or(end["metadata"]["traceparent"][0].as_str())
        .unwrap_or_else(|| panic!("{what}: no trace context in {end:#}"));
    parent.split('-').nth(1).unwrap().to_owned()
}

/// From the root to the last child; each span has the one before as its parent.
fn in_order(what: &str, mut spans: Vec<Span>) -> Vec<Span> {
    let mut ordered: Vec<Span> = Vec::new();
    while !spans.is_empty() {
        let parent = ordered.last().map_or("", |span| &span.id);
        let children = spans.iter().filter(|span| span.parent == parent).count();
        assert_eq!(
            children, 1,
            "{what}: children of {parent:?} after {ordered:#?} in {spans:#?}"
        );
        let at = spans.iter().position(|span| span.parent == parent).unwrap();
        ordered.push(spans.remove(at));
    }
    ordered
}

/// The spans of the run, in order: who made them, and which kind they are.
fn spans_of(collector: &Collector, stage: &Stage, run: &Run) -> Vec<Span> {
    run.caller_end();
    let trace = trace_of(&run.what, &stage.callee_end(run));
    let spans = in_order(&run.what, collector.trace(&trace, 2 * HOPS + 2));
    let mut expected = vec![(application(run.caller.is_ttheader(), "caller"), CLIENT)];
    for n in 1..=HOPS {
        expected.extend([(node(n), SERVER), (node(n), CLIENT)]);
    }
    expected.push((application(run.callee.is_kitex(), "callee"), SERVER));
    let seen: Vec<_> = spans.iter().map(|s| (s.service.clone(), s.kind)).collect();
    assert_eq!(seen, expected, "{}", run.what);
    for n in 1..=HOPS {
        let line = stage.chain.access(n, &trace);
        let server = &spans[2 * n - 1];
        assert_eq!(line["span_id"], json!(server.id), "{}: r{n}", run.what);
    }
    spans
}

/// Kitex's own suite made the spans of its applications. Each has how the stream ended there.
/// `said` is what the caller's and the callee's exceptions contain; `None` when all was well.
fn assert_kitex(run: &Run, spans: &[Span], said: Option<[&str; 2]>) {
    let ends = [spans.first(), spans.last()].map(Option::unwrap);
    for (at, span) in ends.into_iter().enumerate() {
        if !span.service.starts_with("kitex.") {
            continue;
        }
        let what = format!("{}: {}", run.what, span.service);
        assert_eq!(span.attributes["rpc.system"], "kitex", "{what}");
        assert!(span.attributes["kitex.send_size"].is_i64(), "{what}");
        // Which it learned from a key of the suite's own, six hops away.
        if span.kind == SERVER && run.caller == Caller::Mux {
            assert_eq!(span.attributes["peer.service"], KITEX_CALLER, "{what}");
        }
        let exceptions: Vec<_> = span
            .events
            .iter()
            .filter(|(n, _)| n == "exception")
            .collect();
        let Some(said) = said else {
            assert!(
                exceptions.is_empty() && span.status == UNSET,
                "{what}: {span:#?}"
            );
            continue;
        };
        assert_eq!(span.status, ERROR, "{what}");
        let [(_, exception)] = exceptions.as_slice() else {
            panic!("{what}: not one exception: {span:#?}");
        };
        let message = exception["exception.message"].as_str().unwrap();
        assert!(message.contains(said[at]), "{what}: {message}");
    }
}

/// A path as Kitex prints it.
fn printed(path: &[String]) -> String {
    format!("[canceled path: {}]", path.join(" -> "))
}

fn application(kitex: bool, role: &str) -> String {
    let library = if kitex { "kitex" } else { "grpc" };
    format!("{library}.interop.{role}")
}

/// The two spans of hop `n`.
fn of_hop(spans: &[Span], n: usize) -> [&Span; 2] {
    [&spans[2 * n - 1], &spans[2 * n]]
}

/// The span's only event is that cancel.
#[track_caller]
fn assert_cancel(what: &str, span: &Span, expected: &[(&str, Value)]) {
    let [(name, attributes)] = span.events.as_slice() else {
        panic!("{what}: not one event: {span:#?}");
    };
    assert_eq!(name, "cancel", "{what}");
    for (key, value) in expected {
        let seen = attributes.get(&format!("ripcord.cancel.{key}"));
        assert_eq!(seen, Some(value), "{what}: event: {key}");
        let searched = match *key {
            "by" => "ripcord.end.by".to_owned(),
            other => format!("ripcord.cancel.{other}"),
        };
        let seen = span.attributes.get(&searched);
        assert_eq!(seen, Some(value), "{what}: span: {searched}");
    }
    assert_eq!(span.attributes["ripcord.end.kind"], "canceled", "{what}");
    assert_eq!(span.status, UNSET, "{what}: a cancel is no fault");
    assert!(!span.attributes.contains_key("error.type"), "{what}");
}

fn a_chain_is_one_trace_in_the_collector() {
    let collector = Collector::start();
    let stage = Stage::start_traced(&collector);
    let echo = || [send(3, 10), recv(3), op("close_send")];
    let whole = scenario("complete", Kind::Bidi, [op("echo")], echo());
    let canceled = in_the_middle(Kind::Bidi, "none", op("cancel"));
    let idle = in_the_middle(Kind::Bidi, "idle-r3", op("recv"));
    let mut runs = Vec::new();
    for caller in CALLERS {
        for callee in CALLEES {
            let run = |case| stage.run_untraced(caller, callee, case);
            runs.push([run(&whole), run(&canceled), run(&idle)]);
        }
    }
    for run in runs.iter().flat_map(|[_, canceled, idle]| [canceled, idle]) {
        stage.callee_passes(run, "ready");
        run.caller_passes("now");
    }
    for [whole, canceled, idle] in &runs {
        complete(&spans_of(&collector, &stage, whole), whole);
        caller_let_go(&spans_of(&collector, &stage, canceled), canceled);
        third_hop_gave_up(&spans_of(&collector, &stage, idle), idle);
    }
}

fn complete(spans: &[Span], run: &Run) {
    assert_kitex(run, spans, None);
    for span in spans {
        assert_ne!(span.status, ERROR, "{}: {span:#?}", run.what);
    }
    for n in 1..=HOPS {
        let [server, client] = of_hop(spans, n);
        for (span, place) in [(server, n - 1), (client, n)] {
            let what = format!("{}: {place} of r{n}", run.what);
            let speaks = match wire_at(run, place) {
                Wire::TtHeader => "kitex",
                Wire::Grpc => "grpc",
            };
            assert_eq!(span.attributes["rpc.system"], speaks, "{what}");
            assert_eq!(span.attributes["rpc.method"], "Bidi", "{what}");
            assert_eq!(span.attributes["ripcord.request.messages"], 3, "{what}");
            assert_eq!(span.attributes["ripcord.end.kind"], "complete", "{what}");
            assert_eq!(span.attributes["ripcord.end.by"], "callee", "{what}");
            assert!(span.events.is_empty(), "{what}: {span:#?}");
        }
    }
}

/// The last hop's callee decides what it is called with.
fn wire_at(run: &Run, place: usize) -> Wire {
    match (place == HOPS, run.callee) {
        (true, Callee::Kitex) => Wire::TtHeader,
        (true, Callee::KitexGrpc | Callee::GrpcGo | Callee::Python) => Wire::Grpc,
        (false, _) => wire(run.caller, place),
    }
}

fn caller_let_go(spans: &[Span], run: &Run) {
    let (path, _) = path_at(run.caller, run.caller.origin(), 0, HOPS);
    let own = "code=12007] [client-side stream] user code invoking";
    assert_kitex(run, spans, Some([own, &printed(&path)]));
    let cause = if run.caller == Caller::Mux {
        12007
    } else {
        12011
    };
    for n in 1..=HOPS {
        let (path, class) = path_at(run.caller, run.caller.origin(), 0, n);
        let (class, name) = match class {
            12010 => (12010, "by_caller"),
            other => (other, "foreign"),
        };
        for span in of_hop(spans, n) {
            let expected = [
                ("cause", json!(cause)),
                ("class", json!(name)),
                ("class_code", json!(class)),
                ("origin", json!(path[0])),
                ("path", json!(path)),
                ("by", json!("caller")),
            ];
            assert_cancel(&format!("{}: r{n}", run.what), span, &expected);
        }
    }
}

fn third_hop_gave_up(spans: &[Span], run: &Run) {
    let back: Vec<_> = (1..=3).rev().map(node).collect();
    let (on, _) = path_at(run.caller, "r3", 3, HOPS);
    assert_kitex(run, spans, Some([&printed(&back), &printed(&on)]));
    for span in of_hop(spans, 3) {
        assert_eq!(span.status, ERROR, "{}: {span:#?}", run.what);
        for (key, value) in [
            ("error.type", json!("idle")),
            ("ripcord.end.kind", json!("hop")),
            ("ripcord.end.by", json!("hop")),
            ("ripcord.cancel.cause", json!(12014)),
            ("ripcord.cancel.origin", json!("r3")),
            ("ripcord.cancel.path", json!(["r3"])),
        ] {
            assert_eq!(span.attributes[key], value, "{}: {key}", run.what);
        }
    }
    for n in [1, 2, 4, 5, 6] {
        let (path, class, by) = if n < 3 {
            let path: Vec<_> = (n..=3).rev().map(node).collect();
            (path, 12009, "callee")
        } else {
            let (path, class) = path_at(run.caller, "r3", 3, n);
            (path, class, "caller")
        };
        for span in of_hop(spans, n) {
            let expected = [
                ("cause", json!(12014)),
                ("class_code", json!(class)),
                ("origin", json!(path[0])),
                ("path", json!(path)),
                ("by", json!(by)),
            ];
            assert_cancel(&format!("{}: r{n}", run.what), span, &expected);
        }
    }
}
