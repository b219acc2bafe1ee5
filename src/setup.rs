//! Turns configuration sections into the values that the parts take.

mod config_page;
pub(crate) mod schemas;

use std::hash::{BuildHasher, RandomState};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::Routes;
use crate::admin::{AdminState, Readiness};
use crate::backend::pool::PoolCounters;
use crate::backend::{self, Cluster, dns};
use crate::config::changes::{Changes, shown};
use crate::config::{self, Config, Faults, Limits, watch};
use crate::context::Process;
use crate::listen::Listener;
use crate::net::bounds::Bounds;
use crate::net::budget::Budget;
use crate::net::connection::CancelAs;
use crate::route::Schemas;
use crate::telemetry::{
    self, AccessTarget, OtlpProtocol, Reload, Settings, Tap, Telemetry, TraceSettings,
};
use crate::wire::{self, Counters};

/// Spans that may wait for export.
const SPAN_QUEUE: usize = 8192;

/// The settings of telemetry, by the whole configuration.
pub(crate) fn telemetry_settings(config: &Config) -> Settings {
    let trace = config.telemetry.otlp.as_ref().map(|otlp| TraceSettings {
        endpoint: otlp.endpoint.clone(),
        protocol: match otlp.protocol {
            config::OtlpProtocol::Grpc => OtlpProtocol::Grpc,
            config::OtlpProtocol::Http => OtlpProtocol::HttpProtobuf,
        },
        headers: otlp
            .headers
            .iter()
            .map(|(k, v)| (k.clone(), v.reveal().to_owned()))
            .collect(),
        ratio: config.telemetry.sampling,
        timeout: otlp.timeout,
        queue: SPAN_QUEUE,
    });
    let access = match &config.telemetry.access_log {
        config::AccessLog::Off => AccessTarget::Off,
        config::AccessLog::Stdout => AccessTarget::Stdout,
        config::AccessLog::Stderr => AccessTarget::Stderr,
        config::AccessLog::File(path) => AccessTarget::File(path.clone()),
    };
    Settings {
        node: Arc::from(config.node.as_str()),
        workers: config.workers,
        wires: wire::ALL,
        trace,
        access,
    }
}

/// The format of the process log.
pub(crate) fn log_format(format: config::LogFormat) -> telemetry::LogFormat {
    match format {
        config::LogFormat::Text => telemetry::LogFormat::Text,
        config::LogFormat::Json => telemetry::LogFormat::Json,
    }
}

/// The first route table. A cluster with DNS names gets its resolver, on the current runtime.
pub(crate) fn routes(config: Arc<Config>, schemas: Schemas) -> Routes {
    let seed = RandomState::new().hash_one(&config.node);
    let runtime = tokio::runtime::Handle::current();
    Routes::new(config, schemas, move |name, backend| {
        let cluster = Cluster::new(name, backend, seed);
        if dns::needed(&cluster) {
            runtime.spawn(dns::run(Arc::downgrade(&cluster), dns::system));
        }
        cluster
    })
}

/// Logs the warnings of an accepted configuration, each as `ripcord check` prints it. Notes are for
/// `ripcord check` only.
pub fn log_warnings(warnings: &Faults) {
    let faults = warnings.iter().zip(warnings.lines());
    for (fault, line) in faults {
        match fault.severity {
            config::Severity::Error | config::Severity::Warning => {
                tracing::warn!("configuration: {line}");
            }
            config::Severity::Note => tracing::debug!("configuration: {line}"),
        }
    }
}

/// Checks configuration files, with the IDL files that they name: [`config::check`].
#[must_use]
pub fn check(files: &[PathBuf], strict: bool) -> ExitCode {
    config::check(files, strict, schemas::findings)
}

/// Prints what a schema of the configuration in `file` pairs, as a table, and what was found to
/// standard error. The exit code is 1 when it cannot be used.
#[must_use]
pub fn schema(file: &Path, name: &str) -> ExitCode {
    match schemas::table(file, name) {
        Ok((table, faults)) => {
            // The reader may have closed the pipe, as in `| head`. That is no failure.
            let _ = write!(std::io::stdout(), "{table}");
            if !faults.is_empty() {
                eprintln!("{faults}");
            }
            match faults.fatal() {
                true => ExitCode::FAILURE,
                false => ExitCode::SUCCESS,
            }
        }
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

/// Prints protobuf IDL for thrift files (`to_proto`), or thrift IDL for protobuf files. What the
/// schema of both has to say beside them goes to standard error.
#[must_use]
pub fn write_idl(to_proto: bool, files: &[PathBuf], include: &[PathBuf]) -> ExitCode {
    let half = match to_proto {
        true => schemas::Half::Protobuf,
        false => schemas::Half::Thrift,
    };
    match schemas::written(half, files, include) {
        Ok((text, settings)) => {
            let _ = write!(std::io::stdout(), "{text}");
            if !settings.is_empty() {
                eprint!("The schema of both needs:\n{settings}");
            }
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

/// Applies the result of a look at the file, and logs it. What only a restart changes stays as in
/// `started`.
pub(crate) fn apply(process: &Process, started: &Config, reload: watch::Reload<Schemas>) {
    let metrics = &process.telemetry.metrics;
    match reload {
        watch::Reload::Good {
            config,
            attached,
            warnings,
        } => {
            let restart = config::restart_needed(started, &config);
            if !restart.is_empty() {
                tracing::warn!(keys = ?restart, "these changes take effect only after a restart");
            }
            log_warnings(&warnings);
            let effective = Arc::new(config::effective(started, &config));
            let changes = process.routes.replace(effective, attached, restart);
            let version = process.routes.load().version;
            metrics.reload(match &changes {
                Some(_) => Reload::Applied,
                None => Reload::Unchanged,
            });
            metrics.config_version(version);
            log_reload(version, &changes.unwrap_or_default());
        }
        watch::Reload::Bad(faults) => {
            metrics.reload(Reload::Rejected);
            tracing::error!("configuration refused, the last good one stays in force:\n{faults}");
            process.routes.refused(faults);
        }
        watch::Reload::Unchanged => {
            metrics.reload(Reload::Unchanged);
            process.routes.accepted();
            tracing::info!("configuration unchanged");
        }
    }
}

/// One line: what the new table has and the old one had not, and the other way round.
fn log_reload(version: u64, changes: &Changes) {
    let (routes, backends, schemas) = (&changes.routes, &changes.backends, &changes.schemas);
    tracing::info!(
        version,
        routes_added = shown(&routes.added),
        routes_removed = shown(&routes.removed),
        routes_changed = shown(&routes.changed),
        routes_reordered = changes.routes_reordered.then_some(true),
        backends_added = shown(&backends.added),
        backends_removed = shown(&backends.removed),
        backends_changed = shown(&backends.changed),
        schemas_added = shown(&schemas.added),
        schemas_removed = shown(&schemas.removed),
        schemas_changed = shown(&schemas.changed),
        drain_changed = changes.drain.then_some(true),
        "configuration reloaded"
    );
}

/// The state that all workers share.
pub(crate) fn process(
    config: &Config,
    routes: Arc<Routes>,
    telemetry: Telemetry,
    tap: Option<Tap>,
) -> Arc<Process> {
    let budget = Budget::new(config.limits.process_buffer);
    Arc::new(Process {
        node: Arc::from(config.node.as_str()),
        limits: config.limits.clone(),
        workers: config.workers,
        routes,
        telemetry,
        counters: Counters::default(),
        pool_counters: PoolCounters::default(),
        bounds: bounds(&config.node, &config.limits, &budget),
        loop_guard: Arc::default(),
        tap,
    })
}

/// The listeners, as all threads see them.
pub(crate) fn listeners(config: &Config, process: &Process) -> Vec<Arc<Listener>> {
    let listener = |listener: &config::Listener| {
        let ping = listener.keepalive.http2.as_ref();
        Arc::new(Listener {
            name: Arc::from(listener.name.as_str()),
            protocol: listener.protocol,
            bounds: Bounds {
                carried: match listener.carried {
                    config::Carried::Keep => true,
                    config::Carried::Strip => false,
                },
                ping: ping.map(backend::ping),
                max_head: listener.max_head,
                cancel_as: backend::cancel_as(listener.cancel_as),
                ..bounds(&config.node, &listener.limits, &process.bounds.budget)
            },
            max_connections: listener.limits.max_connections,
            redirected: listener.original_destination,
            passes_goaway: match listener.goaway {
                config::PassGoAway::Off => false,
                config::PassGoAway::Pass => true,
            },
            tcp: backend::tcp_options(&listener.keepalive),
            open: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
        })
    };
    config.listeners.iter().map(listener).collect()
}

/// The bounds of connections by `limits`. All connections of a process share its budget.
fn bounds(node: &str, limits: &Limits, budget: &Arc<Budget>) -> Bounds {
    Bounds {
        node: Arc::from(node),
        budget: Arc::clone(budget),
        max_message: limits.max_message,
        metadata_size: limits.metadata_size,
        max_head: config::DEFAULT_MAX_HEAD,
        stream_buffer: limits.stream_buffer,
        connection_buffer: limits.connection_buffer,
        max_streams: limits.max_streams_per_connection,
        max_resets: limits.max_resets,
        slow_receiver_timeout: limits.slow_receiver_timeout,
        cancel_grace: limits.cancel_grace,
        handshake_timeout: limits.handshake_timeout,
        ping: None,
        carried: true,
        cancel_as: CancelAs::Found,
    }
}

/// Registers the counters that their owners keep.
pub(crate) fn register_metrics(process: &Process, listeners: &[Arc<Listener>]) {
    let metrics = &process.telemetry.metrics;
    metrics.node(&process.node);
    metrics.config_version(process.routes.load().version);
    let budget = Arc::clone(&process.bounds.budget);
    let limit = budget.limit() as u64;
    metrics.buffered_bytes_fn(limit, move || budget.used() as u64);
    for row in process.counters.rows() {
        metrics.counter_fn(row.name, row.help, row.label.as_slice(), row.read);
    }
    process.pool_counters.register(metrics);
    for listener in listeners {
        let counted = Arc::clone(listener);
        let help = "Connections refused: too many, or none of the protocols";
        let labels = [("listener", &*listener.name)];
        metrics.counter_fn(
            "ripcord_connections_refused_total",
            help,
            &labels,
            move || counted.refused(),
        );
    }
}

/// The sources of the admin pages.
pub(crate) fn admin_state(process: &Process, ready: &Arc<AtomicBool>) -> AdminState {
    let ready = Arc::clone(ready);
    let counters = process.counters.clone();
    let (shown, file) = (Arc::clone(&process.routes), Arc::clone(&process.routes));
    AdminState {
        metrics: Arc::clone(&process.telemetry.metrics),
        live: process.telemetry.live.clone(),
        ready: Arc::new(move || {
            if ready.load(Ordering::Relaxed) {
                Readiness::Ready
            } else {
                Readiness::NotReady("draining".to_owned())
            }
        }),
        config: Arc::new(move || config_page::json(&shown.snapshot(), &counters.found())),
        config_file: Arc::new(move || config_page::yaml(&file.snapshot())),
    }
}

/// Sends the process' log to standard error, as the configuration says. Once per process.
///
/// # Errors
/// A log is set up already, or the level is not valid.
pub fn init_logs(config: &Config) -> Result<(), telemetry::InitError> {
    let log = &config.telemetry.log;
    telemetry::init_logs(log.level.name(), log_format(log.format))
}
