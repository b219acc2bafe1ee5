//! The one handle that the proxy holds per stream, from its routing to its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::stream::{Metadata, RequestHead};
use crate::telemetry::live::{LiveStream, LiveToken};
use crate::telemetry::trace::StreamTrace;
use crate::telemetry::{AccessLog, Form, LiveStreams, Metrics, Outcome, StreamInfo, Tracer};

/// Everything that a worker needs to tell about its streams. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// Numbers.
    pub metrics: Arc<Metrics>,
    /// Spans.
    pub tracer: Tracer,
    /// The access log.
    pub access: AccessLog,
    /// The streams that are open.
    pub live: LiveStreams,
}

/// One stream that telemetry knows of. Dropped without [`StreamRecord::finish`] it leaves the
/// gauges and the list of live streams right, and nothing else.
#[derive(Debug)]
pub struct StreamRecord {
    telemetry: Telemetry,
    stream: Arc<LiveStream>,
    trace: StreamTrace,
    _token: LiveToken,
}

/// A finished stream, as spans and the access log read it.
#[derive(Debug)]
pub(crate) struct Finished<'a> {
    pub(crate) stream: &'a LiveStream,
    pub(crate) outcome: Outcome<'a>,
    pub(crate) duration: Duration,
}

impl Telemetry {
    /// Everything off but the numbers and the list of live streams.
    #[must_use]
    pub fn quiet(workers: usize) -> Self {
        Self {
            metrics: Arc::new(Metrics::new()),
            tracer: Tracer::off(),
            access: AccessLog::off(),
            live: LiveStreams::new(workers),
        }
    }

    /// A stream was routed (or refused: then with the series of no route). `worker` is the
    /// worker's index.
    #[must_use]
    pub fn open(&self, worker: usize, info: StreamInfo, head: &RequestHead) -> StreamRecord {
        let trace = self.tracer.start(head);
        info.series.opened();
        let stream = Arc::new(LiveStream::new(info));
        let token = self.live.add(worker, stream.clone());
        StreamRecord {
            telemetry: self.clone(),
            stream,
            trace,
            _token: token,
        }
    }
}

impl StreamRecord {
    /// Replaces the trace context in the metadata that goes to the callee; with tracing off it
    /// leaves it alone.
    pub fn outbound(&mut self, metadata: &mut Metadata, form: Form) {
        self.trace.outbound(metadata, form);
    }

    /// Says which endpoint the stream went to. The first call counts.
    pub fn connected(&self, endpoint: SocketAddr) {
        let _ = self.stream.endpoint.set(endpoint);
    }

    /// The stream as `/streams` shows it.
    #[must_use]
    pub fn live(&self) -> &Arc<LiveStream> {
        &self.stream
    }

    /// The stream's trace.
    #[must_use]
    pub const fn trace(&self) -> &StreamTrace {
        &self.trace
    }

    /// The stream is over: counts it, exports its spans, writes its line.
    pub fn finish(self, outcome: Outcome<'_>) {
        let duration = Instant::now().saturating_duration_since(self.stream.started);
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let finished = Finished {
            stream: &self.stream,
            outcome,
            duration,
        };
        let series = &self.stream.info.series;
        self.telemetry.metrics.finished(series, &outcome, micros);
        self.telemetry.tracer.finish(&self.trace, &finished);
        self.telemetry.access.write(&finished, &self.trace);
    }
}

impl Drop for StreamRecord {
    fn drop(&mut self) {
        self.stream.info.series.closed();
    }
}
