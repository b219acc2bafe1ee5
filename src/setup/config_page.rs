//! The admin page `/config`.
//!
//! As JSON, one object:
//!
//! | key | value |
//! |---|---|
//! | `node` | this hop's name |
//! | `version` | 1 at the start, one more with each new table |
//! | `loaded_at` | when this version became effective, RFC 3339 |
//! | `restart_needed` | list: keys that the file changes and only a restart makes effective |
//! | `last_error` | `null`, or of the refused file: `timestamp`, and `faults` |
//! | `last_error.faults` | list of `file` (`null`: the configuration, else an IDL file), `line`, `column` (0: the file as a whole), `path`, `severity` (`error`, `warning`, `note`), `message` |
//! | `backends` | of each backend: `endpoints`, each with its `address` and `failures` in a row; `other_protocol` |
//! | `other_protocol` | `null`, or the last endpoint that answered in another protocol: `timestamp`, `endpoint`, `text`, `count` (how often) |
//! | `peers` | list of peers that were asked, or showed, in which form they take a cancel: `side` (`callee`, `caller`), `address`, `cancel_as`, `age_s` |
//! | `config` | the effective configuration, with the file's keys and value forms (`config::render`) |
//!
//! As YAML: the value of `config`, as a file that loads.

use serde_json::{Map, Value, json};

use crate::backend::Cluster;
use crate::config::{self, Fault, Severity, render};
use crate::net::connection::Found;
use crate::route::{LastError, Snapshot};
use crate::telemetry::rfc3339;

/// The effective configuration, and what is known of the file.
pub(super) fn json(snapshot: &Snapshot<Cluster>, found: &[Found]) -> Value {
    let backends = snapshot.backends.iter();
    let backends: Map<String, Value> = backends
        .map(|(name, cluster)| (name.clone(), backend(cluster)))
        .collect();
    json!({
        "node": snapshot.config.node,
        "version": snapshot.version,
        "loaded_at": rfc3339(snapshot.loaded_at),
        "restart_needed": snapshot.restart_needed,
        "last_error": snapshot.last_error.as_ref().map(last_error),
        "backends": backends,
        "peers": found.iter().map(peer).collect::<Vec<_>>(),
        "config": render::json(&snapshot.config),
    })
}

/// The effective configuration as a file.
pub(super) fn yaml(snapshot: &Snapshot<Cluster>) -> String {
    let (version, loaded_at) = (snapshot.version, rfc3339(snapshot.loaded_at));
    let mut text =
        format!("# In force since {loaded_at}, version {version}. Every key, defaults included.\n");
    if has_secrets(&snapshot.config) {
        let hidden = render::HIDDEN;
        text.push_str(&format!("# Secrets are shown as \"{hidden}\".\n"));
    }
    text.push_str(&render::yaml(&snapshot.config));
    text
}

fn has_secrets(config: &config::Config) -> bool {
    let otlp = config.telemetry.otlp.as_ref();
    otlp.is_some_and(|otlp| !otlp.headers.is_empty())
}

fn backend(cluster: &Cluster) -> Value {
    let endpoints: Vec<Value> = cluster
        .endpoints()
        .iter()
        .map(|e| json!({ "address": e.address.to_string(), "failures": e.failures() }))
        .collect();
    let other_protocol = cluster.finding().map(|finding| {
        json!({
            "timestamp": rfc3339(finding.at),
            "endpoint": finding.endpoint.to_string(),
            "text": finding.text,
            "count": finding.count,
        })
    });
    json!({ "endpoints": endpoints, "other_protocol": other_protocol })
}

fn peer(found: &Found) -> Value {
    json!({
        "side": found.side,
        "address": found.address,
        "cancel_as": found.cancel_as,
        "age_s": found.age.as_secs(),
    })
}

fn last_error(error: &LastError) -> Value {
    let faults: Vec<Value> = error.faults.iter().map(fault).collect();
    json!({ "timestamp": rfc3339(error.at), "faults": faults })
}

fn fault(fault: &Fault) -> Value {
    json!({
        "file": fault.file,
        "line": fault.place.line,
        "column": fault.place.column,
        "path": fault.path,
        "severity": match fault.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        },
        "message": fault.message,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Routes, setup};
    use std::sync::Arc;

    const FILE: &str = "\
node: hop
listeners: [{ name: in, address: 127.0.0.1:15001 }]
backends: { b: { protocol: grpc, endpoints: [127.0.0.1:8888] } }
routes: [{ name: r, backend: b, timeouts: { idle: 60s } }]
telemetry: { otlp: { endpoint: 'http://127.0.0.1:4317', headers: { key: s3cret } } }
";

    fn routes() -> Routes {
        setup::routes(
            Arc::new(config::parse("f", FILE).unwrap()),
            Default::default(),
        )
    }

    #[tokio::test]
    async fn it_has_the_documented_shape() {
        let routes = routes();
        routes.replace(
            Arc::clone(&routes.snapshot().config),
            Default::default(),
            vec!["node".to_owned()],
        );
        let found = Found {
            side: "callee",
            address: "127.0.0.1:8888".to_owned(),
            cancel_as: "rst",
            age: std::time::Duration::from_secs(5),
        };
        let page = json(&routes.snapshot(), &[found]);
        let peer = json!({ "side": "callee", "address": "127.0.0.1:8888", "cancel_as": "rst", "age_s": 5 });
        assert_eq!(page["peers"], json!([peer]));
        let keys: Vec<&String> = page.as_object().unwrap().keys().collect();
        let documented = [
            "backends",
            "config",
            "last_error",
            "loaded_at",
            "node",
            "peers",
            "restart_needed",
            "version",
        ];
        assert_eq!(keys, documented);
        assert_eq!(
            (&page["node"], &page["version"]),
            (&"hop".into(), &1.into())
        );
        assert_eq!(page["restart_needed"], json!(["node"]));
        assert_eq!(page["last_error"], Value::Null);
        assert_eq!(
            page["backends"],
            json!({ "b": {
                "endpoints": [{ "address": "127.0.0.1:8888", "failures": 0 }],
                "other_protocol": null,
            } })
        );
        assert_eq!(page["config"]["routes"][0]["timeouts"]["idle"], "1m");
        assert_eq!(page["config"]["limits"]["stream_buffer"], "256KiB");
        assert!(!page.to_string().contains("s3cret"));
    }

    #[tokio::test]
    async fn each_fault_of_a_refused_file_is_an_object() {
        let routes = routes();
        let bad = FILE.replace("backend: b,", "backend: c,");
        let faults = config::parse("f", &bad).unwrap_err();
        let message = faults.iter().next().unwrap().message.clone();
        routes.refused(faults);
        let error = &json(&routes.snapshot(), &[])["last_error"];
        assert!(error["timestamp"].as_str().unwrap().ends_with('Z'));
        assert_eq!(
            error["faults"],
            json!([{
                "file": null,
                "line": 4,
                "column": 30,
                "path": "routes[0].backend",
                "severity": "error",
                "message": message,
            }])
        );
    }

    #[tokio::test]
    async fn the_file_in_force_loads() {
        let routes = routes();
        let text = yaml(&routes.snapshot());
        assert!(text.starts_with("# In force since 20"), "{text}");
        assert!(text.contains("# Secrets are shown as \"(hidden)\".\n"));
        let read = config::parse("f", &text).unwrap();
        assert_eq!(render::json(&read), render::json(&routes.snapshot().config));
    }
}
