//! One SERVER span and one CLIENT span per stream.
//!
//! Spans are the OpenTelemetry SDK's ([`opentelemetry_sdk::trace::SpanData`]). They are built once,
//! at the stream's end, from a few numbers kept since its start. The SDK's `Span` object is not
//! used: it takes a lock and allocates its attributes at the start, and decides on sampling only
//! after that. `tracing-opentelemetry` is not used either: `tracing` is for logs here, and a span
//! per stream would put every stream through the log filter. So an unsampled stream costs one
//! random number, and the header that carries it on.
//!
//! - Sampling is parent-based, with a ratio of the trace ids for roots (SDK `TraceIdRatioBased`).
//! - An unsampled stream goes on with a span id of its own, as the SDK specification demands of
//!   non-recording spans.
//! - Attributes and status follow the RPC semantic conventions. A SERVER span is an error only for
//!   the server's own faults, a CLIENT span for every status but OK.
//! - A cancel is an event on both spans. It leaves both Unset, without `error.type`: a cancel is
//!   neither a success nor a fault of the server, and no alert on errors should fire for it. This
//!   deviates from the convention, which makes CANCELLED an error on CLIENT spans.

mod span;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use opentelemetry::InstrumentationScope;
use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::IdGenerator;

use crate::stream::{Metadata, Propagation, RequestHead};
use crate::telemetry::context::{self, Outgoing, TraceFormats};
use crate::telemetry::export::{ExportError, ExportGuard, ExportStats, Sink};
use crate::telemetry::record::Finished;

/// How spans reach the collector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// OTLP over gRPC (port 4317).
    #[default]
    Grpc,
    /// OTLP over HTTP/1.1 with protobuf bodies (port 4318).
    HttpProtobuf,
}

/// Where spans are exported to, and how many.
#[derive(Clone)]
pub struct TraceSettings {
    /// `http://host:port`. There is no TLS: the collector of a sidecar is on its node. `https` is
    /// refused, so that nothing is sent in the clear by mistake.
    pub endpoint: String,
    /// The transport of the export.
    pub protocol: OtlpProtocol,
    /// Headers of each export.
    pub headers: Vec<(String, String)>,
    /// The share of the streams without a parent that are sampled, 0 to 1.
    pub ratio: f64,
    /// The longest time that one export may take.
    pub timeout: Duration,
    /// Spans that may wait for export. Further ones are dropped and counted.
    pub queue: usize,
}

impl Default for TraceSettings {
    fn default() -> Self {
        Self {
            endpoint: "http://127.0.0.1:4317".to_owned(),
            protocol: OtlpProtocol::Grpc,
            headers: Vec::new(),
            ratio: 1.0,
            timeout: Duration::from_secs(10),
            queue: 8192,
        }
    }
}

/// The values of headers may be secret, so they are not shown.
impl fmt::Debug for TraceSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("TraceSettings")
            .field("endpoint", &self.endpoint)
            .field("protocol", &self.protocol)
            .field("headers", &headers)
            .field("ratio", &self.ratio)
            .field("timeout", &self.timeout)
            .field("queue", &self.queue)
            .finish()
    }
}

/// Starts traces. Cheap to clone. When off, it only reads the caller's trace id and leaves metadata
/// as it is.
#[derive(Clone, Debug, Default)]
pub struct Tracer {
    inner: Option<Arc<Inner>>,
}

#[derive(Debug)]
struct Inner {
    node: Arc<str>,
    ids: Box<dyn IdGenerator>,
    /// Roots whose id's last 63 bits are below this are sampled.
    threshold: u64,
    sink: Sink,
    scope: InstrumentationScope,
}

/// What one stream keeps of its trace.
#[derive(Debug, Default)]
pub struct StreamTrace(Known);

#[derive(Debug, Default)]
enum Known {
    #[default]
    Nothing,
    /// Tracing is off. This is the caller's trace, whose context goes to the callee as it came. In
    /// bytes, since a [`TraceId`] has the alignment of an `u128`, and each stream keeps this.
    Passed([u8; 16]),
    Own(Box<Ids>),
}

impl StreamTrace {
    fn own(&self) -> Option<&Ids> {
        match &self.0 {
            Known::Own(ids) => Some(ids),
            Known::Nothing | Known::Passed(_) => None,
        }
    }
}

#[derive(Clone, Debug)]
struct Ids {
    trace_id: TraceId,
    parent: Option<SpanId>,
    server: SpanId,
    /// The same as `server` in an unsampled stream.
    client: SpanId,
    sampled: bool,
    random: bool,
    /// Whether there is a CLIENT span: a backend was involved.
    called: bool,
    tracestate: Option<Bytes>,
    baggage: Option<Bytes>,
}

impl Tracer {
    /// A tracer that makes no spans.
    #[must_use]
    pub const fn off() -> Self {
        Self { inner: None }
    }

    /// Starts the export thread. It connects to the collector when there is something to send.
    pub fn otlp(
        node: &Arc<str>,
        settings: &TraceSettings,
    ) -> Result<(Self, ExportGuard), ExportError> {
        let (sink, guard) = crate::telemetry::export::otlp(node, settings)?;
        let ids = Box::new(opentelemetry_sdk::trace::RandomIdGenerator::default());
        Ok((Self::with_sink(node, settings.ratio, ids, sink), guard))
    }

    /// A tracer that hands its spans to any exporter, with ids from `ids`.
    #[cfg(test)]
    pub(crate) fn with_exporter(
        node: &Arc<str>,
        settings: &TraceSettings,
        ids: Box<dyn IdGenerator>,
        exporter: impl opentelemetry_sdk::trace::SpanExporter + 'static,
    ) -> Result<(Self, ExportGuard), ExportError> {
        let (sink, guard) = crate::telemetry::export::start(node, settings, || Ok(exporter))?;
        Ok((Self::with_sink(node, settings.ratio, ids, sink), guard))
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of 2^63, saturating"
    )]
    fn with_sink(node: &Arc<str>, ratio: f64, ids: Box<dyn IdGenerator>, sink: Sink) -> Self {
        let threshold = (ratio.clamp(0.0, 1.0) * (1u64 << 63) as f64) as u64;
        Self {
            inner: Some(Arc::new(Inner {
                node: node.clone(),
                ids,
                threshold,
                sink,
                scope: InstrumentationScope::builder("ripcord")
                    .with_version(env!("CARGO_PKG_VERSION"))
                    .build(),
            })),
        }
    }

    /// Whether spans are made.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.inner.is_some()
    }

    /// The numbers of spans so far; `None` when off.
    #[must_use]
    pub fn stats(&self) -> Option<Arc<ExportStats>> {
        self.inner.as_ref().map(|inner| inner.sink.stats.clone())
    }

    /// Reads the caller's context and decides on sampling. `head` stays as it is.
    #[must_use]
    pub fn start(&self, head: &RequestHead) -> StreamTrace {
        let extracted = context::extract(&head.metadata);
        let Some(inner) = &self.inner else {
            let passed = extracted.remote.map(|remote| remote.trace_id.to_bytes());
            return StreamTrace(passed.map_or(Known::Nothing, Known::Passed));
        };
        let (trace_id, parent, random, tracestate) = match extracted.remote {
            Some(remote) => (
                remote.trace_id,
                Some(remote.span_id),
                remote.random,
                remote.tracestate,
            ),
            None => (inner.ids.new_trace_id(), None, false, None),
        };
        let sampled = extracted
            .sampled
            .unwrap_or_else(|| inner.ratio_samples(trace_id));
        let server = inner.ids.new_span_id();
        let client = if sampled {
            inner.ids.new_span_id()
        } else {
            server
        };
        StreamTrace(Known::Own(Box::new(Ids {
            trace_id,
            parent,
            server,
            client,
            sampled,
            random,
            called: false,
            tracestate,
            baggage: extracted.baggage,
        })))
    }

    pub(crate) fn finish(&self, trace: &StreamTrace, finished: &Finished<'_>) {
        let (Some(inner), Some(ids)) = (&self.inner, trace.own()) else {
            return;
        };
        if !ids.sampled {
            return;
        }
        inner.sink.send(inner.server_span(ids, finished));
        if ids.called {
            inner.sink.send(inner.client_span(ids, finished));
        }
    }
}

impl Inner {
    fn ratio_samples(&self, trace_id: TraceId) -> bool {
        let [_, _, _, _, _, _, _, _, low @ ..] = trace_id.to_bytes();
        u64::from_be_bytes(low) >> 1 < self.threshold
    }
}

impl StreamTrace {
    /// Replaces the trace context in the metadata for the callee by this hop's own span. Without
    /// tracing, it stays as it is, or takes the forms that the callee reads. To be called once for
    /// each attempt to reach a backend.
    pub fn outbound(
        &mut self,
        metadata: &mut Metadata,
        propagation: Propagation,
        formats: TraceFormats,
    ) {
        let Known::Own(ids) = &mut self.0 else {
            if formats != TraceFormats::W3C {
                context::convert(metadata, propagation, formats);
            }
            return;
        };
        ids.called = true;
        let outgoing = Outgoing {
            trace_id: ids.trace_id,
            span_id: ids.client,
            sampled: Some(ids.sampled),
            random: ids.random,
            tracestate: ids.tracestate.as_ref(),
            baggage: ids.baggage.as_ref(),
        };
        context::inject(metadata, propagation, formats, &outgoing);
    }

    /// The trace's id, for logs; `None` for an id that neither a peer nor the collector ever sees.
    #[must_use]
    pub fn trace_id(&self) -> Option<TraceId> {
        match &self.0 {
            Known::Nothing => None,
            Known::Passed(id) => Some(TraceId::from_bytes(*id)),
            Known::Own(ids) => (ids.parent.is_some() || ids.is_seen()).then_some(ids.trace_id),
        }
    }

    /// The id of this hop's SERVER span, for logs; `None` without tracing.
    #[must_use]
    pub fn span_id(&self) -> Option<SpanId> {
        self.own().filter(|ids| ids.is_seen()).map(|ids| ids.server)
    }

    #[cfg(test)]
    pub(crate) fn is_sampled(&self) -> bool {
        self.own().is_some_and(|ids| ids.sampled)
    }
}

impl Ids {
    /// Whether the collector or a callee receives the ids that this hop made.
    const fn is_seen(&self) -> bool {
        self.sampled || self.called
    }
}

#[cfg(test)]
mod tests;
