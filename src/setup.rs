//! Configuration sections turned into the values that the parts take.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::Routes;
use crate::admin::{AdminState, Readiness};
use crate::backend::{self, Cluster, dns};
use crate::config::{self, Config, Limits, watch};
use crate::context::Process;
use crate::listen::Listener;
use crate::net::bounds::Bounds;
use crate::net::budget::Budget;
use crate::telemetry::{
    self, AccessTarget, OtlpProtocol, Reload, Settings, Tap, Telemetry, TraceSettings,
};
use crate::wire::{self, Counters};

/// Spans that may wait for export.
const SPAN_QUEUE: usize = 8192;

/// What telemetry is to do.
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

/// How the process log looks.
pub(crate) fn log_format(format: config::LogFormat) -> telemetry::LogFormat {
    match format {
        config::LogFormat::Text => telemetry::LogFormat::Text,
        config::LogFormat::Json => telemetry::LogFormat::Json,
    }
}

/// The first table; a cluster with DNS names gets its resolver, on the current runtime.
pub(crate) fn routes(config: Arc<Config>) -> Routes {
    let seed = RandomState::new().hash_one(&config.node);
    let runtime = tokio::runtime::Handle::current();
    Routes::new(config, move |name, backend| {
        let cluster = Cluster::new(name, backend, seed);
        if dns::needed(&cluster) {
            runtime.spawn(dns::run(Arc::downgrade(&cluster), dns::system));
        }
        cluster
    })
}

/// Puts what a look at the file found in force, and says so; what the process was `started` with stays
/// where only a restart changes it.
pub(crate) fn apply(process: &Process, started: &Config, reload: watch::Reload) {
    let metrics = &process.telemetry.metrics;
    match reload {
        watch::Reload::Good { config, warnings } => {
            let restart = config::restart_needed(started, &config);
            if !restart.is_empty() {
                tracing::warn!(keys = ?restart, "these changes take effect only after a restart");
            }
            if !warnings.is_empty() {
                tracing::warn!("{warnings}");
            }
            let changed = process
                .routes
                .replace(Arc::new(config::in_force(started, &config)));
            let version = process.routes.load().version;
            metrics.reload(if changed {
                Reload::Applied
            } else {
                Reload::Unchanged
            });
            metrics.config_version(version);
            tracing::info!(version, "configuration reloaded");
        }
        watch::Reload::Bad(faults) => {
            metrics.reload(Reload::Rejected);
            tracing::error!("configuration refused, the last good one stays in force:\n{faults}");
            process.routes.refused(faults);
        }
        watch::Reload::Unchanged => {
            metrics.reload(Reload::Unchanged);
            // Back to what is in force: a refusal that is noted there is over.
            process
                .routes
                .replace(Arc::clone(&process.routes.snapshot().config));
            tracing::info!("configuration unchanged");
        }
    }
}

/// What all workers share.
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
        routes,
        telemetry,
        counters: Counters::default(),
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
                ..bounds(&config.node, &listener.limits, &process.bounds.budget)
            },
            max_connections: listener.limits.max_connections,
            redirected: listener.original_destination,
            tcp: backend::tcp_options(&listener.keepalive),
            open: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
        })
    };
    config.listeners.iter().map(listener).collect()
}

/// The bounds of connections that `limits` mean; all of a process share its budget.
fn bounds(node: &str, limits: &Limits, budget: &Arc<Budget>) -> Bounds {
    Bounds {
        node: Arc::from(node),
        budget: Arc::clone(budget),
        max_message: limits.max_message,
        metadata_size: limits.metadata_size,
        stream_buffer: limits.stream_buffer,
        connection_buffer: limits.connection_buffer,
        max_streams: limits.max_streams_per_connection,
        max_resets: limits.max_resets,
        slow_grace: limits.slow_grace,
        cancel_grace: limits.cancel_grace,
        handshake_timeout: limits.handshake_timeout,
        ping: None,
        carried: true,
    }
}

/// The numbers that their owners keep.
pub(crate) fn register_metrics(process: &Process, listeners: &[Arc<Listener>]) {
    let metrics = &process.telemetry.metrics;
    metrics.config_version(process.routes.load().version);
    let budget = Arc::clone(&process.bounds.budget);
    let limit = budget.limit() as u64;
    metrics.buffered_bytes_fn(limit, move || budget.used() as u64);
    for row in process.counters.rows() {
        metrics.counter_fn(row.name, row.help, row.label.as_slice(), row.read);
    }
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

/// What the admin pages show.
pub(crate) fn admin_state(process: &Process, ready: &Arc<AtomicBool>) -> AdminState {
    let (ready, routes) = (Arc::clone(ready), Arc::clone(&process.routes));
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
        config: Arc::new(move || config_page(&routes)),
    }
}

fn config_page(routes: &Routes) -> Value {
    let snapshot = routes.snapshot();
    let routes: Vec<Value> = snapshot
        .table
        .routes()
        .iter()
        .map(|route| json!({ "name": &*route.name, "backend": &*route.backend.name }))
        .collect();
    let backends: serde_json::Map<String, Value> = snapshot
        .backends
        .iter()
        .map(|(name, cluster)| {
            let endpoints: Vec<Value> = cluster
                .endpoints()
                .iter()
                .map(|e| json!({ "address": e.address.to_string(), "failures": e.failures() }))
                .collect();
            let finding = cluster.finding().map(|finding| {
                json!({
                    "at": telemetry::rfc3339(finding.at),
                    "endpoint": finding.endpoint.to_string(),
                    "text": finding.text,
                    "count": finding.count,
                })
            });
            let backend = json!({ "endpoints": endpoints, "other_protocol": finding });
            (name.clone(), backend)
        })
        .collect();
    json!({
        "node": snapshot.config.node,
        "version": snapshot.version,
        "loaded_at": telemetry::rfc3339(snapshot.loaded_at),
        "last_error": snapshot.last_error.as_ref().map(|error| json!({
            "at": telemetry::rfc3339(error.at),
            "faults": error.faults.to_string(),
        })),
        "routes": routes,
        "backends": backends,
        "config": format!("{:#?}", snapshot.config),
    })
}

/// Sends the process' log to standard error, as the configuration says. Once per process.
///
/// # Errors
/// A log is set up already, or the level is not one.
pub fn init_logs(config: &Config) -> Result<(), telemetry::InitError> {
    let log = &config.telemetry.log;
    telemetry::init_logs(log.level.name(), log_format(log.format))
}
