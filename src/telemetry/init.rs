//! Sets up logs and all other telemetry: what `main` calls once, and the guard that flushes.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::stream::Wire;
use crate::telemetry::access::{self, AccessGuard};
use crate::telemetry::export::{ExportError, ExportGuard, ExportStats};
use crate::telemetry::{AccessLog, Telemetry, TraceSettings, Tracer};

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    #[default]
    Json,
    /// Text for people.
    Text,
}

/// Where access log lines go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccessTarget {
    /// There is no access log.
    #[default]
    Off,
    /// Standard output. The process' log goes to standard error.
    Stdout,
    /// Standard error, among the lines of the process' log.
    Stderr,
    /// Appended to a file, which SIGHUP opens again.
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

/// What telemetry needs at its start.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// This hop's name.
    pub node: Arc<str>,
    /// The number of workers that open streams.
    pub workers: usize,
    /// The wires of this process.
    pub wires: &'static [&'static Wire],
    /// The export of spans; `None` for no tracing.
    pub trace: Option<TraceSettings>,
    /// Where the access log goes.
    pub access: AccessTarget,
}

/// Why telemetry could not start.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// A log level or filter that cannot be read.
    #[error(
        "{from}: bad log filter {filter:?}: {why}; allowed: a level (off, error, warn, info, debug, trace), or \
         TARGET=LEVEL, several joined by commas; example: info,ripcord::proxy=debug"
    )]
    Filter {
        /// Where the filter came from: `RUST_LOG` or the setting.
        from: &'static str,
        /// The filter that cannot be read.
        filter: String,
        /// The parser's error.
        why: String,
    },
    /// A subscriber is set up already.
    #[error("logs: {0}")]
    Logs(#[from] tracing_subscriber::util::TryInitError),
    /// The access log's file could not be opened, or its thread not started.
    #[error("access log {target} cannot be opened: {why}")]
    Access {
        /// `stdout`, `stderr` or the path.
        target: String,
        /// The system's reason.
        why: String,
    },
    /// The export of spans could not be set up.
    #[error(transparent)]
    Trace(#[from] ExportError),
}

/// Flushes spans and access log lines when it is dropped. Keep it in `main`.
#[derive(Debug)]
#[must_use]
pub struct TelemetryGuard {
    // Streams finish their spans before their lines. The order of the fields is the order of drops.
    export: Option<ExportGuard>,
    access: Option<AccessGuard>,
}

impl TelemetryGuard {
    /// Blocks until everything queued so far is written. False when something took too long. Not
    /// for an async task: use `spawn_blocking`, or drop the guard in `main`.
    pub fn flush(&self) -> bool {
        let exported = self.export.as_ref().is_none_or(ExportGuard::flush);
        let written = self.access.as_ref().is_none_or(AccessGuard::flush);
        exported && written
    }
}

/// The environment variable that overrides the log's level, as in other Rust programs.
const RUST_LOG: &str = EnvFilter::DEFAULT_ENV;

/// The setting that gives the level when `RUST_LOG` does not.
const SETTING: &str = "telemetry.log.level";

/// Sends logs to standard error. `level` is `error` ... `trace`, or a filter as in `RUST_LOG`,
/// which overrides it. Once per process.
pub fn init_logs(level: &str, format: LogFormat) -> Result<(), InitError> {
    use tracing_subscriber::util::SubscriberInitExt as _;
    let (from, text) = chosen(std::env::var_os(RUST_LOG), level)?;
    let filter = filter(from, &text)?;
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
    if from == RUST_LOG {
        tracing::info!(filter = %text, "RUST_LOG filters the log, {SETTING} does not");
    }
    Ok(())
}

/// The filter's text and where it came from. An empty `RUST_LOG` does not count.
fn chosen(environment: Option<OsString>, level: &str) -> Result<(&'static str, String), InitError> {
    match environment.map(OsString::into_string) {
        None => Ok((SETTING, level.to_owned())),
        Some(Ok(text)) if text.trim().is_empty() => Ok((SETTING, level.to_owned())),
        Some(Ok(text)) => Ok((RUST_LOG, text)),
        Some(Err(raw)) => Err(InitError::Filter {
            from: RUST_LOG,
            filter: raw.to_string_lossy().into_owned(),
            why: "it is not UTF-8".to_owned(),
        }),
    }
}

/// Reads a filter. A lone word that is no level would be the name of a target, of which everything
/// is shown. So `inof` would silence everything without an error. Therefore only ripcord's own
/// targets may stand alone.
fn filter(from: &'static str, text: &str) -> Result<EnvFilter, InitError> {
    let bad = |why: String| InitError::Filter {
        from,
        filter: text.to_owned(),
        why,
    };
    let alone = |word: &&str| !word.is_empty() && !word.contains(['=', '[', ']', ':']);
    let known = |word: &str| word == env!("CARGO_PKG_NAME") || word.parse::<LevelFilter>().is_ok();
    let mut words = text.split(',').map(str::trim).filter(alone);
    if let Some(word) = words.find(|word| !known(word)) {
        return Err(bad(format!("{word:?} is no level")));
    }
    EnvFilter::try_new(text).map_err(|error| bad(error.to_string()))
}

impl Telemetry {
    /// Starts everything that the settings ask for.
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
        let node = &settings.node;
        let opened = match &settings.access {
            AccessTarget::Off => None,
            AccessTarget::Stdout => Some(AccessLog::start(node, std::io::stdout())),
            AccessTarget::Stderr => Some(AccessLog::start(node, std::io::stderr())),
            AccessTarget::File(path) => Some(AccessLog::start_file(node, path)),
        };
        let mut access = AccessLog::off();
        if let Some(opened) = opened {
            let (made, access_guard) = opened.map_err(|error| InitError::Access {
                target: settings.access.to_string(),
                why: access::why(&error),
            })?;
            access = made;
            guard.access = Some(access_guard);
        }
        let telemetry = Self::new(settings.workers, settings.wires, tracer, access);
        telemetry.own_counters();
        Ok((telemetry, guard))
    }

    /// Registers the counters of what telemetry itself lost.
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
                service: "s".into(),
                method: "m".into(),
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
    fn rust_log_overrides_the_setting() {
        let given = |text: &str| chosen(Some(text.into()), "warn").unwrap();
        assert_eq!(chosen(None, "warn").unwrap(), (SETTING, "warn".to_owned()));
        assert_eq!(given(" "), (SETTING, "warn".to_owned()));
        assert_eq!(given("h2=trace"), (RUST_LOG, "h2=trace".to_owned()));
        for good in [
            "off",
            "INFO",
            "ripcord",
            "warn,ripcord::proxy=debug",
            "info,h2=trace",
            "ripcord::wire[stream]=trace",
            "5",
        ] {
            let read = filter(RUST_LOG, good);
            assert!(read.is_ok(), "{good}: {read:?}");
        }
    }

    #[test]
    fn a_bad_filter_is_an_error_and_not_silence() {
        use std::os::unix::ffi::OsStringExt as _;
        for bad in ["inof", "warning", "ripcord=loud", "info,verbose", "h2"] {
            let error = filter(RUST_LOG, bad).unwrap_err().to_string();
            let wanted = format!("RUST_LOG: bad log filter {bad:?}: ");
            assert!(error.starts_with(&wanted), "{error}");
            assert!(error.contains("; allowed: a level (off, "), "{error}");
        }
        let latin = OsString::from_vec(vec![0xe9]);
        let error = chosen(Some(latin), "info").unwrap_err().to_string();
        assert!(error.contains("not UTF-8"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let mut settings = Settings {
            access: AccessTarget::File("/nonexistent/dir/x".into()),
            ..Settings::default()
        };
        let error = Telemetry::start(&settings).unwrap_err();
        let shown = format!("{:#}", anyhow::Error::from(error));
        let wanted = "access log /nonexistent/dir/x cannot be opened: No such file or directory";
        assert_eq!(shown, wanted);
        settings.access = AccessTarget::Off;
        settings.trace = Some(TraceSettings {
            endpoint: "https://c:4317".to_owned(),
            ..TraceSettings::default()
        });
        let error = Telemetry::start(&settings).unwrap_err();
        assert!(error.to_string().contains("https://c:4317"));
    }
}
