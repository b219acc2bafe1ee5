//! Puts all parts together: from the configuration to workers, listeners, routes, backends, admin
//! pages and drain.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::config::watch::{self, Attached as _};
use crate::config::{Config, Faults};
use crate::context::Process;
use crate::listen::{self, Local};
use crate::net::tcp;
use crate::telemetry::{Metrics, Tap, Telemetry, TelemetryGuard, log_limit};
use crate::worker::Handle;
use crate::{admin, setup};

/// A running proxy: its workers, listeners and control tasks.
pub struct App {
    process: Arc<Process>,
    workers: Arc<[Handle<Local>]>,
    listeners: Vec<(String, SocketAddr)>,
    admin: Option<SocketAddr>,
    tasks: JoinSet<()>,
    /// Serves the admin pages until the end, so that a draining process reports that it is not
    /// ready.
    pages: JoinSet<()>,
    ready: Arc<AtomicBool>,
    hup: Arc<Notify>,
    telemetry: TelemetryGuard,
}

impl App {
    /// Binds the listeners and starts the workers. Streams are accepted when it returns. The
    /// control tasks (admin, DNS, the watch of the file) run on the runtime on which it is called.
    ///
    /// `file` is watched for changes. `tap` receives every stream's end.
    ///
    /// # Errors
    /// Schemas that cannot be read or paired, an address that cannot be bound, or telemetry that
    /// cannot be set up. Paths of schemas are relative to `file`, or to the working directory.
    pub async fn start(
        config: Config,
        file: Option<PathBuf>,
        tap: Option<Tap>,
    ) -> anyhow::Result<Self> {
        let config = Arc::new(config);
        let files = setup::schemas::SchemaFiles::beside(file.as_deref());
        let (schemas, in_force) = files.read(&config);
        let name = file.as_deref().map(|file| file.display().to_string());
        let found = |faults| Faults::new(name.as_deref().unwrap_or("configuration"), faults);
        let (schemas, warnings) = schemas.map_err(|faults| anyhow::anyhow!("{}", found(faults)))?;
        setup::log_warnings(&found(warnings));
        let (telemetry, guard) = Telemetry::start(&setup::telemetry_settings(&config))?;
        let (mut tasks, mut pages) = (JoinSet::new(), JoinSet::new());
        let routes = Arc::new(setup::routes(Arc::clone(&config), schemas));
        let process = setup::process(&config, routes, telemetry, tap);
        let served = setup::listeners(&config, &process);
        setup::register_metrics(&process, &served);
        let mut sockets = Vec::new();
        let mut listeners = Vec::new();
        for listener in &config.listeners {
            let socket = tcp::listen(listener.address).with_context(|| {
                format!(
                    "listener {}: cannot bind {}",
                    listener.name, listener.address
                )
            })?;
            listeners.push((listener.name.clone(), socket.local_addr()?));
            sockets.push(socket);
        }
        let admin_socket = match &config.admin {
            Some(admin) => Some(
                tcp::listen(admin.address)
                    .with_context(|| format!("admin: cannot bind {}", admin.address))?,
            ),
            None => None,
        };
        let admin_address = admin_socket
            .as_ref()
            .map(TcpListener::local_addr)
            .transpose()?;
        let start = |worker| {
            let (process, served) = (Arc::clone(&process), served.clone());
            Handle::start(worker, move || {
                let local = Local::new(worker, process, &served);
                local.context.sweep();
                local
            })
        };
        let workers = (0..config.workers)
            .map(start)
            .collect::<Result<Arc<[_]>, _>>()
            .context("cannot start a worker")?;
        for (index, (socket, listener)) in sockets.into_iter().zip(&served).enumerate() {
            tasks.spawn(listen::accept(
                socket,
                index,
                Arc::clone(listener),
                Arc::clone(&workers),
            ));
        }
        let ready = Arc::new(AtomicBool::new(true));
        if let Some(socket) = admin_socket {
            let state = setup::admin_state(&process, &ready);
            pages.spawn(admin::serve(socket, state, std::future::pending()));
        }
        let hup = Arc::new(Notify::new());
        if let Some(file) = file {
            let (hup, started) = (Arc::clone(&hup), Arc::clone(&config));
            let process = Arc::clone(&process);
            tasks.spawn(async move {
                let current = (Arc::clone(&started), in_force);
                watch::run(&file, files, current, &hup, |reload| {
                    setup::apply(&process, &started, reload)
                })
                .await;
            });
        }
        for (name, address) in &listeners {
            info!(listener = %name, %address, "listening");
        }
        if let Some(address) = admin_address {
            info!(listener = "admin", %address, "listening");
        }
        Ok(Self {
            process,
            workers,
            listeners,
            admin: admin_address,
            tasks,
            pages,
            ready,
            hup,
            telemetry: guard,
        })
    }

    /// The address on which a listener really listens: port 0 is replaced.
    #[must_use]
    pub fn address(&self, listener: &str) -> Option<SocketAddr> {
        self.listeners
            .iter()
            .find(|(name, _)| name == listener)
            .map(|(_, address)| *address)
    }

    /// The address of the admin pages; `None` without `admin`.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// The registry behind `/metrics`, for metrics that its owner adds.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.process.telemetry.metrics
    }

    /// The record of its streams, for its owner's use while it drains.
    #[must_use]
    pub fn telemetry(&self) -> &Telemetry {
        &self.process.telemetry
    }

    /// Reads the configuration file again and reopens the access log, as SIGHUP does.
    pub fn reload(&self) {
        self.process.telemetry.access.reopen();
        self.hup.notify_one();
    }

    /// Refuses new connections and streams, waits for the open streams up to `drain.timeout`, and
    /// ends the rest. Flushes every end, closes all connections, and returns.
    pub async fn drain(mut self) {
        self.ready.store(false, Ordering::Relaxed);
        self.tasks.shutdown().await;
        let live = &self.process.telemetry.live;
        let timeout = self.process.routes.load().config.drain.timeout;
        info!(streams = live.len(), ?timeout, "draining");
        for worker in self.workers.iter() {
            worker.give(async |local| local.context.drain.begin());
        }
        let over = async {
            let mut look = tokio::time::interval(std::time::Duration::from_millis(20));
            while !live.is_empty() {
                look.tick().await;
            }
        };
        if tokio::time::timeout(timeout, over).await.is_err() {
            warn!(
                streams = live.len(),
                "draining took too long; the rest is ended"
            );
        }
        let mut closed = Vec::new();
        for worker in self.workers.iter() {
            let (done, answer) = oneshot::channel();
            worker.give(async move |local| {
                local.context.close().await;
                let _ = done.send(());
            });
            closed.push(answer);
        }
        for answer in closed {
            if answer.await.is_err() {
                error!("a worker was gone before it closed");
            }
        }
        // The blocking part runs elsewhere, so that the owner receives signals meanwhile.
        let workers = Arc::clone(&self.workers);
        elsewhere(move || workers.iter().for_each(Handle::join)).await;
        self.pages.shutdown().await;
        log_limit::flush();
        info!("drained");
        let telemetry = self.telemetry;
        elsewhere(move || drop(telemetry)).await;
    }
}

/// Runs a blocking function on a thread of its own.
async fn elsewhere(blocking: impl FnOnce() + Send + 'static) {
    if let Err(error) = tokio::task::spawn_blocking(blocking).await {
        error!(%error, "a step of the drain panicked");
    }
}
