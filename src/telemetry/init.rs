//! Logs, and everything together: what `main` calls once, and the guard that flushes.

use std::fs::OpenOptions;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tracing_subscriber::EnvFilter;

use crate::stream::Wire;
use crate::telemetry::access::AccessGuard;
use crate::telemetry::export::{ExportError, ExportGuard, ExportStats};
use crate::telemetry::{AccessLog, Telemetry, TraceSettings, Tracer};

/// How logs look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    #[default]
    Json,
    /// For people.
    Text,
}

/// Where access log lines go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccessTarget {
    /// Nowhere.
    #[default]
    Off,
    /// Standard output; logs go to standard error.
    Stdout,
    /// Standard error, among the logs.
    Stderr,
    /// Appended to a file. The file is not reopened: rotate it by copy and truncate.
    File(PathBuf),
}

impl std::fmt::Display for AccessTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Off => f.write_str("nowhere"),
            Self::Stdout => f.write_str("stdout"),
            Self::Stderr => f.write_str("stderr"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// What telemetry needs to know at its start.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// This hop's name.
    pub node: Arc<str>,
    /// How many workers will open streams.
    pub workers: usize,
    /// The wires that streams are carried on.
    pub wires: &'static [&'static Wire],
    /// Tracing, or none.
    pub trace: Option<TraceSettings>,
    /// The access log.
    pub access: AccessTarget,
}

/// Why telemetry could not start.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// A log level or filter that cannot be read.
    #[error("log level {level:?}: {source}")]
    Level {
        /// What was given.
        level: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// A subscriber is already there.
    #[error("logs: {0}")]
    Logs(#[from] tracing_subscriber::util::TryInitError),
    /// The access log's file or thread.
    #[error("access log: cannot write to {target}")]
    Access {
        /// Where it was to go: a path, or a stream's name.
        target: String,
        /// Why it cannot.
        source: std::io::Error,
    },
    /// Tracing.
    #[error(transparent)]
    Trace(#[from] ExportError),
}

/// Flushes spans and access log lines when dropped. Keep it in `main`.
#[derive(Debug)]
#[must_use]
pub struct TelemetryGuard {
    // Streams finish their spans before their lines; the order of the fields is the order of drops.
    export: Option<ExportGuard>,
    access: Option<AccessGuard>,
}

impl TelemetryGuard {
    /// Blocks until everything queued so far is out; false when something took too long. Not for
    /// an async task: use `spawn_blocking`, or drop the guard in `main`.
    pub fn flush(&self) -> bool {
        let exported = self.export.as_ref().is_none_or(ExportGuard::flush);
        let written = self.access.as_ref().is_none_or(AccessGuard::flush);
        exported && written
    }
}

/// Sends logs to standard error. `level` is `error` ... `trace`, or a filter as in `RUST_LOG`,
/// which overrides it. Once per process.
pub fn init_logs(level: &str, format: LogFormat) -> Result<(), InitError> {
    use tracing_subscriber::util::SubscriberInitExt as _;
    let from_env = std::env::var(EnvFilter::DEFAULT_ENV).ok();
    let level = from_env
        .as_deref()
        .filter(|filter| !filter.is_empty())
        .unwrap_or(level);
    let filter = EnvFilter::try_new(level).map_err(|source| InitError::Level {
        level: level.to_owned(),
        source,
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init()?,
        LogFormat::Text => builder
            .with_ansi(std::io::stderr().is_terminal())
            .finish()
            .try_init()?,
    }
    Ok(())
}

impl Telemetry {
    /// Starts what the settings ask for.
    pub fn start(settings: &Settings) -> Result<(Self, TelemetryGuard), InitError> {
        let mut guard = TelemetryGuard {
            export: None,
            access: None,
        };
        let mut tracer = Tracer::off();
        if let Some(trace) = &settings.trace {
            let (made, export) = Tracer::otlp(&settings.node, trace)?;
            tracer = made;
            guard.export = Some(export);
        }
        let opened = match &settings.access {
            AccessTarget::Off => None,
            AccessTarget::Stdout => Some(AccessLog::start(&settings.node, std::io::stdout())),
            AccessTarget::Stderr => Some(AccessLog::start(&settings.node, std::io::stderr())),
            AccessTarget::File(path) => Some(
                OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(path)
                    .and_then(|file| AccessLog::start(&settings.node, file)),
            ),
        };
        let mut access = AccessLog::off();
        if let Some(opened) = opened {
            let (made, access_guard) = opened.map_err(|source| InitError::Access {
                target: settings.access.to_string(),
                source,
            })?;
            access = made;
            guard.access = Some(access_guard);
        }
        let telemetry = Self::new(settings.workers, settings.wires, tracer, access);
        telemetry.own_counters();
        Ok((telemetry, guard))
    }

    /// What telemetry itself lost.
    fn own_counters(&self) {
        if let Some(stats) = self.tracer.stats() {
            let help = "Spans by what became of them";
            for (result, read) in [
                (
                    "exported",
                    (|s| &s.exported) as fn(&ExportStats) -> &AtomicU64,
                ),
                ("dropped", |s| &s.dropped),
                ("failed", |s| &s.failed),
            ] {
                let stats = stats.clone();
                self.metrics
                    .counter_fn("ripcord_spans", help, &[("result", result)], move || {
                        read(&stats).load(Relaxed)
                    });
            }
        }
        let access = self.access.clone();
        self.metrics.counter_fn(
            "ripcord_access_log_dropped",
            "Access log lines lost because they could not be written in time",
            &[],
            move || access.dropped(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{End, Metadata, RequestHead};
    use crate::telemetry::{Outcome, StreamInfo, Traffic};

    #[test]
    fn a_file_gets_the_lines_of_several_runs() {
        let name = format!("ripcord-access-{}.log", std::process::id());
        let path = std::env::temp_dir().join(name);
        let settings = Settings {
            node: Arc::from("hop"),
            workers: 2,
            wires: crate::wire::ALL,
            trace: None,
            access: AccessTarget::File(path.clone()),
        };
        for _ in 0..2 {
            let (telemetry, guard) = Telemetry::start(&settings).unwrap();
            let series = telemetry.metrics.series(
                &Arc::from("l"),
                &Arc::from("r"),
                &crate::wire::grpc::WIRE,
                None,
            );
            let info = StreamInfo {
                series,
                backend: Arc::from(""),
                peer: None,
                service: "s".to_owned(),
                method: "m".to_owned(),
                caller: None,
            };
            let record = telemetry.open(5, info, &RequestHead::default());
            record.finish(Outcome {
                end: &End::complete(Metadata::new()),
                traffic: Traffic::default(),
                native_code: None,
            });
            assert!(guard.flush());
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let _ = std::fs::remove_file(&path);
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let error = init_logs("ripcord=loud", LogFormat::Json).unwrap_err();
        assert!(error.to_string().contains("ripcord=loud"), "{error}");
        let mut settings = Settings {
            access: AccessTarget::File("/nonexistent/dir/x".into()),
            ..Settings::default()
        };
        let error = Telemetry::start(&settings).unwrap_err();
        assert_eq!(
            error.to_string(),
            "access log: cannot write to /nonexistent/dir/x"
        );
        settings.access = AccessTarget::Off;
        settings.trace = Some(TraceSettings {
            endpoint: "https://c:4317".to_owned(),
            ..TraceSettings::default()
        });
        let error = Telemetry::start(&settings).unwrap_err();
        assert!(error.to_string().contains("https://c:4317"));
    }
}
