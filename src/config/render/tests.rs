//! What is rendered loads again, and to an equal configuration.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::*;
use crate::config;

/// Every file of the repository that is a configuration.
fn examples() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<PathBuf> = ["config", "deploy/compose"]
        .iter()
        .flat_map(|folder| std::fs::read_dir(root.join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            path.extension().is_some_and(|e| e == "yaml") && text.contains("\nbackends:")
        })
        .collect();
    files.sort();
    files
}

/// Loads what is rendered of a configuration. Only secrets may differ.
fn again(config: &Config) -> Config {
    let text = yaml(config);
    let mut again = config::parse("rendered", &text).unwrap_or_else(|f| panic!("{f}\n{text}"));
    if let (Some(otlp), Some(read)) = (&config.telemetry.otlp, &mut again.telemetry.otlp) {
        assert!(
            read.headers
                .values()
                .all(|secret| secret.reveal() == HIDDEN)
        );
        assert!(read.headers.keys().eq(otlp.headers.keys()));
        read.headers = otlp.headers.clone();
    }
    again
}

#[test]
fn the_reference_and_every_example_load_to_the_same() {
    let examples = examples();
    assert!(examples.len() >= 8, "{examples:?}");
    for file in examples {
        let config = config::load(&file).unwrap();
        assert_eq!(again(&config), config, "{}", file.display());
    }
}

/// Every key with another value than its default, and text that YAML would take for something else.
const ODD: &str = r##"
node: "a: b #$${X} é"
workers: 3
admin: { address: "[::1]:9901" }
listeners:
  - name: "- x"
    address: 127.0.0.1:15001
    protocol: grpc
    carried: strip
    original_destination: on
    goaway: pass
    keepalive: { tcp: off, user_timeout: off, http2: { interval: 7m, timeout: 3s, without_streams: on } }
    limits: { max_message: 1025B, handshake_timeout: 1500us }
backends:
  a:
    protocol: ttheader
    service: "1"
    endpoints: ["[::1]:1", chat.svc.:2]
    payload: thrift
    connections: per_stream
    pool_size: 2
    max_connections: 9
    reset_budget: { burst: 7, per_second: 0, early: off }
    connect_timeout: 1ms
    backoff: { initial: 1s, max: 1m }
    dns: { refresh: 100ms }
    trace_context: [b3, b3multi]
  b: { protocol: grpc, endpoints: original_destination, payload: protobuf, hop: ripcord }
schemas:
  plain: { protobuf: { descriptor_set: "a b.binpb" }, thrift: { files: x.thrift } }
  odd:
    protobuf: { files: [proto/a.proto, b.proto], include: [proto, "."] }
    thrift: { files: [a.thrift], include: ["idl: x"] }
    services: { a.B: C }
    methods: { a.B.M: m, a.B.N: none }
    fields: { by: by_name, a.X.f: -3, a.X.g: name, a.X.h: none, a.X.i: { thrift: "7", overflow: wrap, utf8: bytes, zeros: write } }
    enums: { by: by_name, a.E: by_number }
    exceptions: { a.Gone: { thrift: Gone, code: NOT_FOUND }, a.Bad: Worse }
    zeros: write
    overflow: saturate
    utf8: replace
    duplicates: error
    unknown: error
routes:
  - name: one
    match:
      service: "null"
      method: "Get*"
      to: "*"
      caller: "$x"
      metadata: { "a:b": "*", "#": "\"q\\" }
      destination: "[fd00::/8]:80"
    backend: a
    rewrite: { service: s, method: "on", to: "~" }
    timeouts: { stream: 8784h, idle: 60s, first_response: 90m }
    metadata_to_transit: { x-user: USER }
    validate: thrift
  - { name: four, match: { service: four }, backend: a, translate: odd, timeouts: { idle: 1s } }
  - { name: two, match: { method: "*" }, backend: b, rewrite: { to: "%" } }
  - { name: three, backend: b }
limits: { stream_buffer: 128KiB, slow_receiver_timeout: 1h }
drain: { timeout: 1h }
telemetry:
  otlp: { endpoint: "http://127.0.0.1:4318", protocol: http, headers: { x: "s3cret" }, timeout: 1s }
  sampling: 0.1
  metrics: off
  access_log: "/var/log/a b: c"
  log: { level: debug, format: json }
"##;

#[test]
fn odd_values_load_to_the_same() {
    let config = config::parse("odd", ODD).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(again(&config), config);
    // Values that are no defaults stay as they are when the rendered text is rendered.
    assert_eq!(yaml(&again(&config)), yaml(&config));
}

#[test]
fn secrets_are_hidden_in_both_forms() {
    let config = config::parse("odd", ODD).unwrap();
    let (json, yaml) = (json(&config), yaml(&config));
    assert_eq!(json["telemetry"]["otlp"]["headers"]["x"], HIDDEN);
    assert!(!yaml.contains("s3cret") && !json.to_string().contains("s3cret"));
}

#[test]
fn json_has_the_keys_and_the_forms_of_the_file() {
    let config = config::parse("odd", ODD).unwrap();
    let json = json(&config);
    assert_eq!(json["workers"], 3);
    assert_eq!(json["listeners"][0]["keepalive"]["tcp"], "off");
    assert_eq!(json["listeners"][0]["limits"]["stream_buffer"], "128KiB");
    assert_eq!(json["listeners"][0]["limits"].get("process_buffer"), None);
    assert_eq!(json["limits"]["process_buffer"], "1GiB");
    assert_eq!(json["listeners"][0]["limits"].get("retry_buffer"), None);
    assert_eq!(json["limits"]["retry_buffer"], "64KiB");
    assert_eq!(json["limits"]["slow_receiver_timeout"], "1h");
    assert_eq!(json["routes"][0]["timeouts"]["stream"], "366d");
    assert_eq!(
        json["routes"][3],
        json!({
            "name": "three",
            "match": { "service": "*" },
            "backend": "b",
            "timeouts": { "stream": "off", "idle": "off", "first_response": "off" },
            "assume_payload": "protobuf",
            "validate": "off",
        })
    );
    assert_eq!(json["backends"]["b"]["endpoints"], "original_destination");
    assert_eq!(json["telemetry"]["sampling"], 0.1);
    assert_eq!(json["telemetry"]["metrics"], "off");
}
