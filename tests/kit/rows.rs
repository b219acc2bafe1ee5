//! Reads the golden table of ends, and gives what a real application prints of a row.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::lab::{Callee, Caller};

/// One row of the file: where the end comes from, and what each wire's peer receives.
pub(crate) struct Row {
    pub(crate) from: String,
    pub(crate) grpc: Told,
    pub(crate) ttheader: Told,
}

/// `wire word number key=value key="quoted value" flag`.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) words: Vec<String>,
    pub(crate) fields: BTreeMap<String, String>,
}

impl Told {
    pub(crate) fn parse(text: &str) -> Self {
        let (mut words, mut fields) = (Vec::new(), BTreeMap::new());
        let mut rest = text.trim();
        while !rest.is_empty() {
            let key = rest.split([' ', '=']).next().unwrap();
            rest = &rest[key.len()..];
            if let Some(value) = rest.strip_prefix("=\"") {
                let end = (0..value.len())
                    .find(|&i| value[i..].starts_with('"') && !value[..i].ends_with('\\'))
                    .unwrap();
                let quoted = format!("\"{}\"", &value[..end]);
                fields.insert(key.to_owned(), serde_json::from_str(&quoted).unwrap());
                rest = &value[end + 1..];
            } else if let Some(value) = rest.strip_prefix('=') {
                let value = value.split(' ').next().unwrap();
                fields.insert(key.to_owned(), value.to_owned());
                rest = &rest[1 + value.len()..];
            } else {
                words.push(key.to_owned());
            }
            rest = rest.trim_start();
        }
        Self { words, fields }
    }

    pub(crate) fn field(&self, key: &str) -> &str {
        self.fields.get(key).map_or("", String::as_str)
    }
}

impl Row {
    /// The row as a chain shows it: `nodes`, the nearest to the end first, where the table has
    /// `hop`. A class is each hop's own view of where a cancel came from, and only the last hop
    /// spoke to the callee.
    pub(crate) fn over(mut self, nodes: &[String]) -> Self {
        self.grpc.fields.remove("ripcord-class");
        for told in [&mut self.grpc, &mut self.ttheader] {
            for (key, text) in &mut told.fields {
                let separator = if key == "message" { " -> " } else { "," };
                let names = nodes.join(separator);
                for (before, after) in
                    [("[canceled path: ", "]"), (separator, "]"), (separator, "")]
                {
                    let (hop, all) = (
                        format!("{before}hop{after}"),
                        format!("{before}{names}{after}"),
                    );
                    *text = text.replace(&hop, &all);
                }
                if text == "hop" {
                    *text = names;
                }
            }
        }
        self
    }
}

/// The rows whose first field has this beginning.
pub(crate) fn rows(begin: &str) -> Vec<Row> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/end_table.golden");
    let text = std::fs::read_to_string(file).unwrap();
    let row = |line: &str| {
        let fields: Vec<_> = line.split(" | ").collect();
        Row {
            from: fields[0].to_owned(),
            grpc: Told::parse(fields[1]),
            ttheader: Told::parse(fields[2]),
        }
    };
    let found: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with(begin))
        .map(row)
        .collect();
    assert!(!found.is_empty(), "no row begins with {begin:?}");
    found
}

/// The row of what a caller receives for a local end in mid stream.
pub(crate) fn own_end(kind: &str, caller: Caller, callee: Callee) -> Row {
    let between_grpc = !caller.is_ttheader() && callee != Callee::Kitex;
    let sides = if between_grpc {
        ", both sides grpc"
    } else {
        ""
    };
    rows(&format!("hop {kind} to caller{sides} ")).remove(0)
}

/// Adds what is in the trailers beside the native end.
fn add_own_trailers(told: &Told, prints: &mut Value) {
    let own = |(key, _): &(&String, &String)| key.starts_with("ripcord-");
    for (key, value) in told.fields.iter().filter(own) {
        prints["trailer"][key] = json!([value]);
    }
}

/// What a Kitex caller prints.
fn kitex_prints(row: &Row, any_text: bool) -> Value {
    let told = &row.ttheader;
    let prefix = |code: &str| format!("[ttstream error, code={code}] [client-side stream] ");
    let text = if any_text { "" } else { told.field("text") };
    let mut prints = match told.words[1].as_str() {
        "rst" => {
            let path = told.field("ttscp").replace(',', " -> ");
            let err = format!("{}[canceled path: {path}] {text}", prefix(&told.words[2]));
            let err = if any_text { format!("~{err}") } else { err };
            let code: i64 = told.words[2].parse().unwrap();
            json!({ "kind": "error", "code": code, "is": ["ErrStreamingCanceled"], "err": err })
        }
        "exception" => {
            let err = format!("{}{text}", prefix("12001"));
            let err = if any_text { format!("~{err}") } else { err };
            json!({ "kind": "error", "code": 12001, "err": err })
        }
        "trailer" if told.fields.contains_key("biz-status") => {
            let code: i64 = told.field("biz-status").parse().unwrap();
            let extra: Value = serde_json::from_str(told.field("biz-extra")).unwrap_or_default();
            json!({ "kind": "biz", "biz": { "code": code, "message": told.field("biz-message"), "extra": extra } })
        }
        "trailer" => json!({ "kind": "ok" }),
        other => panic!("{}: {other}", row.from),
    };
    if told.words[1] != "rst" {
        add_own_trailers(told, &mut prints);
    }
    prints
}

/// What a gRPC caller prints.
fn grpc_prints(row: &Row, any_text: bool) -> Value {
    let told = &row.grpc;
    let code: i64 = told.field("status").parse().unwrap();
    if code == 0 {
        return json!({ "kind": "ok" });
    }
    let message = told.field("message");
    let message = if any_text && message == "why" {
        "!~[ttstream error".to_owned()
    } else if any_text {
        format!("~{}", message.trim_end_matches("why"))
    } else {
        message.to_owned()
    };
    let mut prints = json!({ "message": message });
    if told.fields.contains_key("biz-status") {
        prints["kind"] = json!("biz");
        prints["biz"]["code"] = json!(told.field("biz-status").parse::<i64>().unwrap());
    } else {
        prints["kind"] = json!("error");
        prints["code"] = json!(code);
        prints["code_kind"] = json!("grpc");
    }
    add_own_trailers(told, &mut prints);
    prints
}

/// What a real caller prints of the row. With `any_text`, any text may stand where the table has
/// `why`: the words of this hop and of the kernel are not in the table.
pub(crate) fn prints(row: &Row, caller: Caller, any_text: bool) -> Value {
    if caller.is_ttheader() {
        kitex_prints(row, any_text)
    } else {
        grpc_prints(row, any_text)
    }
}

/// What a real callee's handler sees of the row.
pub(crate) fn callee_sees(row: &Row, callee: Callee, any_text: bool) -> Value {
    match callee {
        Callee::Kitex => kitex_callee_sees(row, any_text),
        Callee::KitexGrpc | Callee::GrpcGo | Callee::Python => {
            assert_eq!(row.grpc.field("reset"), "8", "{}", row.from);
            if callee == Callee::KitexGrpc {
                json!({ "ctx_err": "~RSTStream Frame received with error code: CANCEL" })
            } else {
                json!({ "code": 1, "ctx_err": "context canceled", "err": "rpc error: code = Canceled desc = context canceled" })
            }
        }
    }
}

fn kitex_callee_sees(row: &Row, any_text: bool) -> Value {
    let told = &row.ttheader;
    assert_eq!(told.words[1], "rst", "{}", row.from);
    let path = told.field("ttscp").replace(',', " -> ");
    let text = if any_text { "" } else { told.field("text") };
    let code: i64 = told.words[2].parse().unwrap();
    let err = format!(
        "[ttstream error, code={code}] [server-side stream] [canceled path: {path}] {text}"
    );
    let err = if any_text { format!("~{err}") } else { err };
    json!({ "code": code, "is": ["ErrStreamingCanceled"], "err": err, "ctx_err": err })
}
