//! Configuration sections turned into the values that the parts take.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::Routes;
use crate::admin::{AdminState, Readiness};
use crate::backend::{Cluster, dns};
use crate::config::{self, Config, watch};
use crate::net::tcp::TcpOptions;
use crate::telemetry::{self, AccessTarget, OtlpProtocol, Reload, Settings, TraceSettings};
use crate::wire::ttheader;
use crate::worker::Shared;

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
pub(crate) fn apply(shared: &Shared, started: &Config, reload: watch::Reload) {
    let metrics = &shared.telemetry.metrics;
    match reload {
        watch::Reload::Good { config, warnings } => {
            let restart = config::restart_needed(started, &config);
            if !restart.is_empty() {
                tracing::warn!(keys = ?restart, "these changes take effect only after a restart");
            }
            if !warnings.is_empty() {
                tracing::warn!("{warnings}");
            }
            let changed = shared
                .routes
                .replace(Arc::new(config::in_force(started, &config)));
            let version = shared.routes.load().version;
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
            shared.routes.refused(faults);
        }
        watch::Reload::Unchanged => {
            metrics.reload(Reload::Unchanged);
            // Back to what is in force: a refusal that is noted there is over.
            shared
                .routes
                .replace(Arc::clone(&shared.routes.snapshot().config));
            tracing::info!("configuration unchanged");
        }
    }
}

/// The numbers that their owners keep.
pub(crate) fn register_metrics(shared: &Arc<Shared>) {
    let metrics = &shared.telemetry.metrics;
    metrics.config_version(shared.routes.load().version);
    let budget = Arc::clone(&shared.budget);
    let limit = budget.limit() as u64;
    metrics.buffered_bytes_fn(limit, move || budget.used() as u64);
    for (index, (name, _)) in shared.ttheader.snapshot().iter().enumerate() {
        let counters: Arc<ttheader::Counters> = Arc::clone(&shared.ttheader);
        let help = "What happened on TTHeader connections";
        metrics.counter_fn(
            "ripcord_ttheader_events_total",
            help,
            &[("event", name)],
            move || counters.snapshot().get(index).map_or(0, |(_, n)| *n),
        );
    }
    let slow = Arc::clone(&shared.grpc_slow_streams);
    let help = "gRPC streams ended because their receiver held up a crowded connection";
    metrics.counter_fn("ripcord_grpc_slow_streams_total", help, &[], move || {
        slow.load(Ordering::Relaxed)
    });
    for listener in &shared.listeners {
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
pub(crate) fn admin_state(shared: &Arc<Shared>, ready: &Arc<AtomicBool>) -> AdminState {
    let (ready, routes) = (Arc::clone(ready), Arc::clone(&shared.routes));
    AdminState {
        metrics: Arc::clone(&shared.telemetry.metrics),
        live: shared.telemetry.live.clone(),
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
            (name.clone(), json!({ "endpoints": endpoints }))
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

impl From<&config::Keepalive> for TcpOptions {
    fn from(keepalive: &config::Keepalive) -> Self {
        Self {
            keepalive: keepalive
                .tcp
                .as_ref()
                .map(|tcp| (tcp.idle, tcp.interval, tcp.count)),
            user_timeout: keepalive.user_timeout,
        }
    }
}

/// Sends the process' log to standard error, as the configuration says. Once per process.
///
/// # Errors
/// A log is set up already, or the level is not one.
pub fn init_logs(config: &Config) -> Result<(), telemetry::InitError> {
    let log = &config.telemetry.log;
    telemetry::init_logs(log.level.name(), log_format(log.format))
}
