//! The admin page `/config`.
//!
//! As JSON, one object:
//!
//! | key | value |
//! |---|---|
//! | `node` | this hop's name |
//! | `version` | 1 at the start, one more with each new table |
//! | `loaded_at` | when this version came into force, RFC 3339 |
//! | `restart_needed` | list: keys that the file changes and only a restart puts in force |
//! | `last_error` | `null`, or of the refused file: `at`, and `faults` |
//! | `last_error.faults` | list of `line`, `column` (0: the file as a whole), `path`, `severity` (`error`, `warning`), `message` |
//! | `backends` | of each backend: `endpoints`, each with its `address` and `failures` in a row |
//! | `config` | the configuration in force, with the file's keys and value forms (`config::render`) |
//!
//! As YAML: the value of `config`, as a file that loads.

use serde_json::{Map, Value, json};

use crate::backend::Cluster;
use crate::config::{self, Fault, Severity, render};
use crate::route::{LastError, Snapshot};
use crate::telemetry::rfc3339;

/// What is in force and what is known of the file.
pub(super) fn json(snapshot: &Snapshot<Cluster>) -> Value {
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
        "config": render::json(&snapshot.config),
    })
}

/// The file that is in force.
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
    json!({ "endpoints": endpoints })
}

fn last_error(error: &LastError) -> Value {
    let faults: Vec<Value> = error.faults.iter().map(fault).collect();
    json!({ "at": rfc3339(error.at), "faults": faults })
}

fn fault(fault: &Fault) -> Value {
    json!({
        "line": fault.place.line,
        "column": fault.place.column,
        "path": fault.path,
        "severity": match fault.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        "message": fault.message,
    })
}
