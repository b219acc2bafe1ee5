//! The rows of the table: which end, how it is made, and what the caller does.

use serde_json::{Value, json};

use crate::kit::rows;
use crate::kit::scenario::{barrier, op, recv, send};

/// One end.
pub(super) struct Row {
    /// Its line in the file.
    pub(super) name: String,
    /// Which route of the rig takes it.
    pub(super) route: &'static str,
    /// What the callee does: a word of [`super::rig`], or a native end of the end table.
    pub(super) callee: String,
    /// What the caller does.
    pub(super) ops: Vec<Value>,
    /// The caller's own deadline.
    pub(super) timeout_ms: Option<u64>,
    /// Whether it stands for its kind in the short run.
    pub(super) is_sample: bool,
}

/// The native ends that are also played after a message each way, and those that stand for their
/// kind.
const TTHEADER_AFTER: [&str; 6] = [
    "rst 12011",
    "rst 12013",
    "rst 12015",
    "exception 6",
    "biz 404",
    "trailer",
];
const GRPC_AFTER: [&str; 11] = [
    "reset=0", "reset=1", "reset=2", "reset=3", "reset=7", "reset=8", "reset=9", "reset=11",
    "reset=12", "status=0", "status=5",
];
const SAMPLES: [&str; 16] = [
    "rst 12011",
    "rst 12013",
    "rst without payload",
    "exception 0",
    "exception 6",
    "trailer",
    "biz 404",
    "connection lost",
    "status=0",
    "status=1",
    "status=5",
    "status=77",
    "http=200",
    "http=503",
    "reset=2",
    "reset=8",
];

impl Row {
    fn new(name: &str, route: &'static str, callee: &str, ops: Vec<Value>) -> Self {
        Self {
            name: name.to_owned(),
            route,
            callee: callee.to_owned(),
            ops,
            timeout_ms: None,
            is_sample: true,
        }
    }
}

/// One message, and no more.
fn one() -> Vec<Value> {
    vec![send(1, 3), op("close_send")]
}

/// A message each way, and one more: the callee knows that its message has arrived.
fn exchange() -> Vec<Value> {
    vec![send(1, 3), recv(1), send(1, 3)]
}

/// A message each way; then the caller waits.
fn talk() -> Vec<Value> {
    vec![send(1, 3), recv(1)]
}

/// The caller reads nothing before that barrier.
fn unread() -> Vec<Value> {
    vec![send(1, 3), barrier("half")]
}

/// All of them, in the order of the file.
pub(super) fn rows() -> Vec<Row> {
    let mut all = native("callee ttheader ", "tt", &TTHEADER_AFTER);
    all.extend(native("callee grpc ", "gg", &GRPC_AFTER));
    all.extend(own());
    all
}

fn native(begin: &str, route: &'static str, after: &[&str]) -> Vec<Row> {
    let lost = "connection lost";
    let mut out = Vec::new();
    for row in rows::rows(begin) {
        let end = &row.from[begin.len()..];
        let mut one = Row::new(&row.from, route, &row.from, one());
        one.is_sample = SAMPLES.contains(&end);
        out.push(one);
    }
    for end in after.iter().chain([&lost]) {
        let from = format!("{begin}{end}");
        let name = format!("{from} after a message");
        let ops = if *end == lost {
            [talk(), vec![barrier("lost")]].concat()
        } else {
            exchange()
        };
        let mut one = Row::new(&name, route, &name, ops);
        one.is_sample = SAMPLES.contains(end);
        out.push(one);
    }
    out
}

/// This hop's own ends, and the caller's.
fn own() -> Vec<Row> {
    let row = Row::new;
    let large = || vec![send(1, 3 << 20)];
    let mut out = vec![
        row("hop no_route", "nowhere", "silent", one()),
        row("hop payload_mismatch", "mismatch", "silent", one()),
        row("hop over_limit", "over_limit", "silent", one()),
        row("hop unreachable", "nobody", "silent", one()),
        row("hop undecodable, grpc", "gg", "garbage", talk()),
        row("hop undecodable, ttheader", "tt", "two headers", talk()),
        row("hop message_too_large up, grpc", "gg", "silent", large()),
        row(
            "hop message_too_large up, ttheader",
            "tt",
            "silent",
            large(),
        ),
        row("hop message_too_large down, grpc", "gg", "large", talk()),
        row(
            "hop message_too_large down, ttheader",
            "tt",
            "large",
            talk(),
        ),
    ];
    for (kind, grpc, ttheader, half) in [
        ("deadline", "deadline-gg", "deadline-tt", "deadline-half"),
        ("idle", "idle-gg", "idle-tt", "idle-half"),
    ] {
        out.extend([
            row(&format!("hop {kind}, grpc"), grpc, "talk", talk()),
            row(&format!("hop {kind}, ttheader"), ttheader, "talk", talk()),
            row(
                &format!("hop {kind} in a half-written message, grpc"),
                half,
                "flood",
                unread(),
            ),
        ]);
    }
    let first = "hop first_response";
    out.extend([
        row(&format!("{first}, grpc"), "first-gg", "silent", one()),
        row(&format!("{first}, ttheader"), "first-tt", "silent", one()),
    ]);
    for (what, callee, ops) in [
        ("before any answer", "silent", one()),
        ("after a message", "talk", talk()),
    ] {
        for (wire, route) in [("grpc", "gg"), ("ttheader", "tt")] {
            let mut row = row(
                &format!("caller deadline {what}, {wire}"),
                route,
                callee,
                ops.clone(),
            );
            row.timeout_ms = Some(500);
            out.push(row);
        }
    }
    for (wire, route) in [("grpc", "gg"), ("ttheader", "tt")] {
        let ops = [talk(), vec![op("cancel")]].concat();
        out.push(row(
            &format!("caller cancel after a message, {wire}"),
            route,
            "talk",
            ops,
        ));
    }
    // These are last: the hop ends with them.
    let waits = || [talk(), vec![barrier("drain")]].concat();
    out.push(row(
        "hop drain_over in a half-written message, grpc",
        "gg",
        "flood",
        unread(),
    ));
    out.push(row("hop drain_over, ttheader", "tt", "talk", waits()));
    out.push(row("hop drain_over, grpc", "gg", "talk", waits()));
    out
}

/// The scenario of a row.
pub(super) fn scenario(row: &Row) -> Value {
    let mut metadata = json!({ "x-route": row.route, "x-case": row.callee });
    if row.route == "over_limit" {
        metadata["x-large"] = json!("l".repeat(5_000));
    }
    let mut line = json!({ "method": "Bidi", "ops": row.ops, "metadata": metadata, "script": [] });
    if let Some(limit) = row.timeout_ms {
        line["timeout_ms"] = json!(limit);
    }
    line
}
