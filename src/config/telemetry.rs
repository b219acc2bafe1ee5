//! `telemetry`: what this process reports about itself, and where to.
//!
//! Here are the keys and their defaults. `crate::telemetry` acts on them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::fault::quote;
use super::limits::TIMEOUTS;
use super::walk::{NodeRef, Walk};

pub(super) const KEYS: &[&str] = &["otlp", "sampling", "metrics", "access_log", "log"];
pub(super) const OTLP_KEYS: &[&str] = &["endpoint", "protocol", "headers", "timeout"];
pub(super) const LOG_KEYS: &[&str] = &["level", "format"];

/// What this process reports about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Telemetry {
    /// Where spans are exported to (default: nowhere).
    pub otlp: Option<Otlp>,
    /// The share of streams that get a span, 0 to 1 (default 1). It applies to streams without a
    /// parent; a parent's decision is followed.
    pub sampling: f64,
    /// Whether the admin address serves `/metrics` (default `on`).
    pub metrics: bool,
    /// Where the line of each finished stream goes (default `stdout`).
    pub access_log: AccessLog,
    /// The process' own log. It goes to stderr.
    pub log: Log,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            otlp: None,
            sampling: 1.0,
            metrics: true,
            access_log: AccessLog::default(),
            log: Log::default(),
        }
    }
}

/// The export of spans by OTLP, the OpenTelemetry protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Otlp {
    /// The collector's URL, for example `http://127.0.0.1:4317` (required). With `http`, the path
    /// `/v1/traces` is added when it has none.
    pub endpoint: String,
    /// The transport (default `grpc`).
    pub protocol: OtlpProtocol,
    /// Headers of each export (default: none).
    pub headers: BTreeMap<String, Secret>,
    /// How long one export may take (default 10 s).
    pub timeout: Duration,
}

/// Which transport carries OTLP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// gRPC over HTTP/2.
    #[default]
    Grpc,
    /// Protobuf over HTTP/1.1.
    Http,
}

/// A value that debug output does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value in plain text.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Where the access log goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccessLog {
    /// There is no access log.
    Off,
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
    /// Appended to a file (a value that contains a `/`).
    File(PathBuf),
}

/// The process' own log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// The least important level that is written (default `info`).
    pub level: Level,
    /// The format of lines (default `text`).
    pub format: LogFormat,
}

/// How important a log line is. Each level includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// Nothing at all.
    Off,
    /// What has failed.
    Error,
    /// What is unusual.
    Warn,
    /// What happens rarely.
    #[default]
    Info,
    /// What happens to each connection.
    Debug,
    /// What happens to each frame.
    Trace,
}

impl Level {
    /// Its name, as `tracing`'s filters write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The usual port of collectors for OTLP over gRPC.
const GRPC_PORT: u16 = 4317;
/// The usual port of collectors for OTLP over HTTP.
const HTTP_PORT: u16 = 4318;

/// Reads `telemetry`.
pub(super) fn read(walk: &mut Walk, at: &NodeRef<'_>) -> Option<Telemetry> {
    let s = walk.section(at, KEYS)?;
    let default = Telemetry::default();
    Some(Telemetry {
        otlp: walk.optional(&s, "otlp", None, |w, at| otlp(w, at).map(Some)),
        sampling: walk.optional(&s, "sampling", default.sampling, |w, at| {
            let text = w.text(at, "a number")?;
            match text.parse::<f64>() {
                Ok(ratio) if (0.0..=1.0).contains(&ratio) => Some(ratio),
                Ok(_) | Err(_) => {
                    let message = format!("bad ratio {}; allowed: 0 to 1, e.g. 0.1", at.quoted());
                    w.error(at.node.place, &at.path, message);
                    None
                }
            }
        }),
        metrics: walk.optional(&s, "metrics", default.metrics, Walk::switch),
        access_log: walk.optional(&s, "access_log", default.access_log, access_log),
        log: walk.optional(&s, "log", default.log, log),
    })
}

fn otlp(walk: &mut Walk, at: &NodeRef<'_>) -> Option<Otlp> {
    let s = walk.section(at, OTLP_KEYS)?;
    let otlp = Otlp {
        endpoint: walk.required(&s, "endpoint", "the collector's URL", |w, at| {
            let text = w.label(at, 2048)?;
            let uri: Option<http::Uri> = text.parse().ok();
            let scheme = uri.as_ref().and_then(http::Uri::scheme_str);
            if !matches!(scheme, Some("http")) {
                let message = format!(
                    "bad URL {}; allowed: http://, a host and a port (no TLS: the collector is beside this process)",
                    at.quoted()
                );
                w.error(at.node.place, &at.path, message);
            }
            Some(text)
        }),
        protocol: walk.optional(&s, "protocol", OtlpProtocol::default(), |w, at| {
            let words = [("grpc", OtlpProtocol::Grpc), ("http", OtlpProtocol::Http)];
            w.choice(at, "protocol", &words)
        }),
        headers: walk.optional(&s, "headers", BTreeMap::new(), headers),
        timeout: walk.optional(&s, "timeout", Duration::from_secs(10), |w, at| {
            w.duration(at, TIMEOUTS)
        }),
    };
    port(walk, at, &otlp);
    Some(otlp)
}

/// Warns of a port at which collectors expect the other protocol.
fn port(walk: &mut Walk, at: &NodeRef<'_>, otlp: &Otlp) {
    let (grpc, http) = (("grpc", GRPC_PORT), ("http", HTTP_PORT));
    let (said, other) = match otlp.protocol {
        OtlpProtocol::Grpc => (grpc, http),
        OtlpProtocol::Http => (http, grpc),
    };
    let uri: Option<http::Uri> = otlp.endpoint.parse().ok();
    if uri.is_some_and(|uri| uri.port_u16() == Some(other.1)) {
        let message = format!(
            "port {} is that of OTLP over {}, and protocol is {}; write protocol: {}, or port {}",
            other.1, other.0, said.0, other.0, said.1
        );
        let path = format!("{}.endpoint", at.path);
        walk.warn(at.place_of("endpoint"), &path, message);
    }
}

fn headers(walk: &mut Walk, at: &NodeRef<'_>) -> Option<BTreeMap<String, Secret>> {
    let mut map = BTreeMap::new();
    for named in walk.names(at, "headers: { x-tenant: acme }")? {
        let Some(value) = walk.text(&named.value, "text") else {
            continue;
        };
        let name = http::HeaderName::from_bytes(named.name.as_bytes());
        if name.is_err() {
            let message = format!(
                "bad header name {}; allowed: letters, digits and -",
                quote(named.name)
            );
            walk.error(named.place, &named.value.path, message);
        }
        if http::HeaderValue::from_str(&value).is_err() {
            let message = "bad header value; allowed: visible ASCII";
            walk.error(named.value.node.place, &named.value.path, message);
        }
        map.insert(named.name.to_ascii_lowercase(), Secret(value.into_owned()));
    }
    Some(map)
}

fn access_log(walk: &mut Walk, at: &NodeRef<'_>) -> Option<AccessLog> {
    let text = walk.text(at, "stdout, stderr, off or a path")?;
    match &*text {
        "off" => Some(AccessLog::Off),
        "stdout" => Some(AccessLog::Stdout),
        "stderr" => Some(AccessLog::Stderr),
        path if path.contains('/') && !path.contains('\0') => {
            let path = PathBuf::from(path);
            if !walk.environment.has_folder_of(&path) {
                let message = format!(
                    "the folder of {} does not exist here; create it, or ripcord does not start",
                    at.quoted()
                );
                walk.warn(at.node.place, &at.path, message);
            }
            Some(AccessLog::File(path))
        }
        _ => {
            let message = format!(
                "unknown access log {}; allowed: stdout, stderr, off, or a path with a /",
                at.quoted()
            );
            walk.error(at.node.place, &at.path, message);
            None
        }
    }
}

fn log(walk: &mut Walk, at: &NodeRef<'_>) -> Option<Log> {
    let s = walk.section(at, LOG_KEYS)?;
    let levels = [
        Level::Off,
        Level::Error,
        Level::Warn,
        Level::Info,
        Level::Debug,
        Level::Trace,
    ]
    .map(|level| (level.name(), level));
    Some(Log {
        level: walk.optional(&s, "level", Level::default(), |w, at| {
            w.choice(at, "level", &levels)
        }),
        format: walk.optional(&s, "format", LogFormat::default(), |w, at| {
            let words = [("text", LogFormat::Text), ("json", LogFormat::Json)];
            w.choice(at, "format", &words)
        }),
    })
}
