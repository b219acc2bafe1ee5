//! The export thread: spans go from the workers into a bounded queue, and from there out by OTLP.
//! No worker ever waits.
//!
//! It is a thread of its own with a small runtime. So it works before the control runtime runs,
//! after it stopped, and from any thread that drops the guard. The SDK's `BatchSpanProcessor` also
//! has a thread. But that has no tokio runtime, which the OTLP exporters need for their timers, and
//! it does not report what it dropped.

mod http;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use ::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use opentelemetry::KeyValue;
use opentelemetry_otlp::tonic_types::metadata::MetadataMap;
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::telemetry::log_limit;
use crate::telemetry::trace::{OtlpProtocol, TraceSettings};

/// The most spans in one request.
const BATCH: usize = 512;
/// How long a batch that is not full waits.
const LINGER: Duration = Duration::from_secs(2);
/// The longest time that dropping the guard waits for the last batch.
const FLUSH: Duration = Duration::from_secs(5);

/// Why the export of spans could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The endpoint is not `http://host:port`.
    #[error("OTLP endpoint {0:?}: only http://host[:port][/path] is supported")]
    Endpoint(String),
    /// A header that HTTP does not allow.
    #[error("OTLP header {0:?}: not a legal name, or its value is not visible ASCII")]
    Header(String),
    /// The exporter refused its settings.
    #[error("OTLP exporter: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The thread could not be started.
    #[error("export thread: {0}")]
    Thread(#[from] std::io::Error),
    /// The export thread ended before it was ready.
    #[error("export thread ended early")]
    Gone,
}

/// How many spans were exported, dropped or lost.
#[derive(Debug, Default)]
pub struct ExportStats {
    /// The collector accepted them.
    pub exported: AtomicU64,
    /// They were dropped because the queue was full.
    pub dropped: AtomicU64,
    /// They were lost because an export failed.
    pub failed: AtomicU64,
}

/// The workers' end of the queue.
#[derive(Debug)]
pub(crate) struct Sink {
    spans: mpsc::Sender<SpanData>,
    pub(crate) stats: Arc<ExportStats>,
}

impl Sink {
    pub(crate) fn send(&self, span: SpanData) {
        if self.spans.try_send(span).is_err() {
            self.stats.dropped.fetch_add(1, Relaxed);
        }
    }
}

/// Ends the export thread. [`ExportGuard::flush`] waits for what is queued. Dropping the guard
/// flushes too, for at most five seconds.
#[derive(Debug)]
pub struct ExportGuard {
    control: mpsc::UnboundedSender<Control>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Control {
    Flush(std::sync::mpsc::SyncSender<()>),
    Stop(std::sync::mpsc::SyncSender<()>),
}

impl ExportGuard {
    /// Blocks until everything queued so far was exported or failed. False when that took more than
    /// five seconds.
    pub fn flush(&self) -> bool {
        let (done, wait) = std::sync::mpsc::sync_channel(1);
        self.control.send(Control::Flush(done)).is_ok() && wait.recv_timeout(FLUSH).is_ok()
    }
}

impl Drop for ExportGuard {
    fn drop(&mut self) {
        let (done, wait) = std::sync::mpsc::sync_channel(1);
        let stopped =
            self.control.send(Control::Stop(done)).is_ok() && wait.recv_timeout(FLUSH).is_ok();
        // A thread that hangs in an export is left to the end of the process.
        if let (true, Some(thread)) = (stopped, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

/// Starts a thread that exports over OTLP.
pub(crate) fn otlp(
    node: &Arc<str>,
    settings: &TraceSettings,
) -> Result<(Sink, ExportGuard), ExportError> {
    let endpoint = endpoint_of(settings)?;
    let (protocol, timeout) = (settings.protocol, settings.timeout);
    let metadata = MetadataMap::from_headers(headers_of(settings)?);
    let headers = settings.headers.clone();
    start(node, settings, move || {
        let builder = opentelemetry_otlp::SpanExporter::builder();
        let exporter = match protocol {
            OtlpProtocol::Grpc => builder
                .with_tonic()
                .with_metadata(metadata)
                .with_endpoint(endpoint)
                .with_timeout(timeout)
                .build()?,
            OtlpProtocol::HttpProtobuf => builder
                .with_http()
                .with_protocol(Protocol::HttpBinary)
                .with_headers(headers.into_iter().collect())
                .with_http_client(http::PlainHttp { timeout })
                .with_endpoint(endpoint)
                .with_timeout(timeout)
                .build()?,
        };
        Ok(exporter)
    })
}

/// The endpoint in the form that the exporters need: with its path for HTTP.
fn endpoint_of(settings: &TraceSettings) -> Result<String, ExportError> {
    let given = settings.endpoint.trim_end_matches('/');
    let wrong = || ExportError::Endpoint(settings.endpoint.clone());
    let uri: Uri = given.parse().map_err(|_| wrong())?;
    if uri.scheme_str() != Some("http") || uri.host().is_none_or(str::is_empty) {
        return Err(wrong());
    }
    Ok(match settings.protocol {
        OtlpProtocol::HttpProtobuf if uri.path() == "/" => format!("{given}/v1/traces"),
        OtlpProtocol::HttpProtobuf | OtlpProtocol::Grpc => given.to_owned(),
    })
}

fn headers_of(settings: &TraceSettings) -> Result<HeaderMap, ExportError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &settings.headers {
        let parsed = (HeaderName::try_from(name), HeaderValue::try_from(value));
        let (Ok(key), Ok(mut value)) = parsed else {
            return Err(ExportError::Header(name.clone()));
        };
        value.set_sensitive(true);
        headers.insert(key, value);
    }
    Ok(headers)
}

/// Starts a thread. `make` builds the exporter in it, which then receives the spans.
pub(crate) fn start<E: SpanExporter + 'static>(
    node: &Arc<str>,
    settings: &TraceSettings,
    make: impl FnOnce() -> Result<E, ExportError> + Send + 'static,
) -> Result<(Sink, ExportGuard), ExportError> {
    let stats = Arc::new(ExportStats::default());
    let (spans, queue) = mpsc::channel(settings.queue.max(1));
    let (control, orders) = mpsc::unbounded_channel();
    // This waits only for a moment at the start. A tokio channel refuses that inside a runtime.
    let (ready, started) = std::sync::mpsc::sync_channel(1);
    let resource = resource(node);
    let counted = stats.clone();
    let thread = std::thread::Builder::new()
        .name("ripcord-otlp".to_owned())
        .spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
            {
                Ok(runtime) => runtime,
                Err(error) => {
                    let _ = ready.send(Err(error.into()));
                    return;
                }
            };
            let done = runtime.block_on(async {
                match make() {
                    Ok(mut exporter) => {
                        exporter.set_resource(&resource);
                        let _ = ready.send(Ok(()));
                        run(&exporter, queue, orders, &counted).await
                    }
                    Err(error) => {
                        let _ = ready.send(Err(error));
                        None
                    }
                }
            });
            drop(runtime);
            if let Some(done) = done {
                let _ = done.send(());
            }
        })?;
    started.recv().map_err(|_| ExportError::Gone)??;
    let guard = ExportGuard {
        control,
        thread: Some(thread),
    };
    Ok((Sink { spans, stats }, guard))
}

fn resource(node: &Arc<str>) -> Resource {
    Resource::builder()
        .with_attributes([
            KeyValue::new("service.name", node.to_string()),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("ripcord.node", node.to_string()),
        ])
        .build()
}

/// Collects batches and exports them, until it is stopped or all senders are gone.
async fn run<E: SpanExporter>(
    exporter: &E,
    mut queue: mpsc::Receiver<SpanData>,
    mut orders: mpsc::UnboundedReceiver<Control>,
    stats: &ExportStats,
) -> Option<std::sync::mpsc::SyncSender<()>> {
    let mut batch = Vec::with_capacity(BATCH);
    let mut due = Instant::now();
    loop {
        let (room, waiting) = (BATCH - batch.len(), !batch.is_empty());
        tokio::select! {
            biased;
            order = orders.recv() => {
                while let Ok(span) = queue.try_recv() {
                    batch.push(span);
                    if batch.len() >= BATCH {
                        export(exporter, &mut batch, stats).await;
                    }
                }
                export(exporter, &mut batch, stats).await;
                match order {
                    Some(Control::Flush(done)) => {
                        let _ = done.send(());
                    }
                    Some(Control::Stop(done)) => {
                        let _ = exporter.shutdown();
                        return Some(done);
                    }
                    None => return None,
                }
            }
            taken = queue.recv_many(&mut batch, room) => {
                if !waiting {
                    due = Instant::now() + LINGER;
                }
                if taken == 0 || batch.len() >= BATCH {
                    export(exporter, &mut batch, stats).await;
                }
                if taken == 0 {
                    return None;
                }
            }
            () = tokio::time::sleep_until(due), if waiting => {
                export(exporter, &mut batch, stats).await;
            }
        }
    }
}

async fn export<E: SpanExporter>(exporter: &E, batch: &mut Vec<SpanData>, stats: &ExportStats) {
    if batch.is_empty() {
        return;
    }
    let spans = std::mem::replace(batch, Vec::with_capacity(BATCH));
    let count = spans.len() as u64;
    match exporter.export(spans).await {
        Ok(()) => {
            stats.exported.fetch_add(count, Relaxed);
        }
        Err(error) => {
            stats.failed.fetch_add(count, Relaxed);
            if log_limit::admits("spans could not be exported", &Arc::from("otlp"), "") {
                tracing::warn!(spans = count, %error, "spans could not be exported");
            }
        }
    }
}

#[cfg(test)]
mod tests;
