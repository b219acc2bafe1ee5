//! The OpenTelemetry collector (tests/interop/collector) as a process, and the spans it received.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Map, Value};

use super::peers::build;
use super::process::Process;

const CONFIG: &str = "yaml:
receivers: { otlp: { protocols: { grpc: { endpoint: 127.0.0.1:0 }, http: { endpoint: 127.0.0.1:0 } } } }
exporters: { lines: {} }
service:
  telemetry: { metrics: { level: none }, logs: { encoding: json } }
  pipelines: { traces: { receivers: [otlp], exporters: [lines] } }
";

/// A running collector.
pub(crate) struct Collector {
    process: Process,
    /// OTLP/gRPC, `ip:port`.
    pub(crate) grpc: String,
    /// OTLP/HTTP, `ip:port`.
    pub(crate) http: String,
}

/// A span as the collector has it.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    /// `service.name` of its resource.
    pub(crate) service: String,
    pub(crate) id: String,
    /// Empty at a root.
    pub(crate) parent: String,
    /// `SPAN_KIND_SERVER` is 2, `SPAN_KIND_CLIENT` 3.
    pub(crate) kind: u64,
    /// `STATUS_CODE_ERROR` is 2, not set 0.
    pub(crate) status: u64,
    pub(crate) attributes: BTreeMap<String, Value>,
    /// The events, by name.
    pub(crate) events: Vec<(String, BTreeMap<String, Value>)>,
}

impl Collector {
    pub(crate) fn start() -> Self {
        let mut command = Command::new(build("collector", "collector", "."));
        command.arg("--config").arg(CONFIG);
        let process = Process::start("collector", command);
        let listening = |what: &str| {
            let line = process.line(what, |line| line["msg"] == *what);
            line["endpoint"].as_str().unwrap().to_owned()
        };
        let (grpc, http) = (
            listening("Starting GRPC server"),
            listening("Starting HTTP server"),
        );
        process.line("ready", |line| {
            line["msg"]
                .as_str()
                .is_some_and(|msg| msg.starts_with("Everything is ready"))
        });
        Self {
            process,
            grpc,
            http,
        }
    }

    /// The first `count` spans of a trace; waits for them.
    pub(crate) fn trace(&self, id: &str, count: usize) -> Vec<Span> {
        let what = format!("{count} spans of trace {id}");
        self.process.until(&what, |lines| {
            let spans: Vec<_> = lines.iter().flat_map(|line| spans(line, id)).collect();
            (spans.len() >= count).then_some(spans)
        })
    }
}

/// The spans of that trace in a line of OTLP JSON.
fn spans(line: &Value, trace: &str) -> Vec<Span> {
    let mut found = Vec::new();
    for resource in list(&line["resourceSpans"]) {
        let service = attributes(&resource["resource"]["attributes"])
            .remove("service.name")
            .unwrap_or_default();
        for scope in list(&resource["scopeSpans"]) {
            for span in list(&scope["spans"]).filter(|span| span["traceId"] == *trace) {
                found.push(Span {
                    service: text(&service),
                    id: text(&span["spanId"]),
                    parent: text(&span["parentSpanId"]),
                    kind: span["kind"].as_u64().unwrap_or_default(),
                    status: span["status"]["code"].as_u64().unwrap_or_default(),
                    attributes: attributes(&span["attributes"]),
                    events: list(&span["events"])
                        .map(|event| (text(&event["name"]), attributes(&event["attributes"])))
                        .collect(),
                });
            }
        }
    }
    found
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn attributes(of: &Value) -> BTreeMap<String, Value> {
    list(of)
        .map(|pair| (text(&pair["key"]), plain(&pair["value"])))
        .collect()
}

/// OTLP's `AnyValue` as the value it holds.
fn plain(any: &Value) -> Value {
    let empty = Map::new();
    let fields = any.as_object().unwrap_or(&empty);
    match fields.iter().next() {
        Some((kind, value)) if kind == "arrayValue" => list(&value["values"]).map(plain).collect(),
        // 64 bits do not fit JSON's numbers: a string.
        Some((kind, Value::String(value))) if kind == "intValue" => {
            value.parse::<i64>().unwrap().into()
        }
        Some((_, value)) => value.clone(),
        None => Value::Null,
    }
}
