//! The one handle that the proxy holds per stream, from its routing to its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::stream::{Metadata, Propagation, RequestHead, Wire};
use crate::telemetry::context::TraceFormats;
use crate::telemetry::live::{LiveKey, LiveStream};
use crate::telemetry::trace::StreamTrace;
use crate::telemetry::{AccessLog, LiveStreams, Metrics, Outcome, StreamInfo, Tracer};

/// Everything by which a worker reports its streams. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// The counters of this process.
    pub metrics: Arc<Metrics>,
    /// Makes the spans.
    pub tracer: Tracer,
    /// The access log.
    pub access: AccessLog,
    /// The streams that are open.
    pub live: LiveStreams,
    workers: Arc<[Arc<Parts>]>,
}

/// What a stream needs until its end. Each worker has one, so that no two workers count references
/// in one place.
#[derive(Debug)]
struct Parts {
    tracer: Tracer,
    access: AccessLog,
    live: LiveStreams,
}

/// One stream that telemetry knows of. When it is dropped without [`StreamRecord::finish`], the
/// gauges and the list of live streams are still right. Nothing else is recorded then.
#[derive(Debug)]
pub struct StreamRecord {
    parts: Arc<Parts>,
    stream: Arc<LiveStream>,
    trace: StreamTrace,
    key: LiveKey,
}

/// A finished stream, as the spans and the access log read it.
#[derive(Debug)]
pub(crate) struct Finished<'a> {
    pub(crate) stream: &'a LiveStream,
    pub(crate) outcome: Outcome<'a>,
    pub(crate) duration: Duration,
}

impl Telemetry {
    /// Everything off, except for the numbers and the list of live streams.
    #[cfg(test)]
    pub(crate) fn quiet(workers: usize, wires: &[&'static Wire]) -> Self {
        Self::new(workers, wires, Tracer::off(), AccessLog::off())
    }

    /// Telemetry for this many workers and these wires, all numbers at zero.
    #[must_use]
    pub fn new(workers: usize, wires: &[&'static Wire], tracer: Tracer, access: AccessLog) -> Self {
        let metrics = Arc::new(Metrics::new(wires));
        let live = LiveStreams::new(workers);
        let parts = || {
            Arc::new(Parts {
                tracer: tracer.clone(),
                access: access.clone(),
                live: live.clone(),
            })
        };
        Self {
            workers: (0..workers.max(1)).map(|_| parts()).collect(),
            metrics,
            tracer,
            access,
            live,
        }
    }

    #[expect(clippy::indexing_slicing, reason = "there is at least one worker")]
    fn parts_of(&self, worker: usize) -> Arc<Parts> {
        Arc::clone(&self.workers[worker % self.workers.len()])
    }

    /// A stream was routed or refused. A refused one has the series of no route. `worker` is the
    /// worker's number.
    #[must_use]
    pub fn open(&self, worker: usize, info: StreamInfo, head: &RequestHead) -> StreamRecord {
        let parts = self.parts_of(worker);
        let trace = if parts.tracer.is_on() || parts.access.is_on() {
            parts.tracer.start(head)
        } else {
            StreamTrace::default()
        };
        info.series.opened();
        let stream = Arc::new(LiveStream::new(info));
        let key = parts.live.add(worker, stream.clone());
        StreamRecord {
            parts,
            stream,
            trace,
            key,
        }
    }
}

impl StreamRecord {
    /// Replaces the trace context in the metadata for the callee. With tracing off, it stays as it
    /// is, unless the callee reads other forms.
    pub fn outbound(
        &mut self,
        metadata: &mut Metadata,
        propagation: Propagation,
        formats: TraceFormats,
    ) {
        self.trace.outbound(metadata, propagation, formats);
    }

    /// Sets the endpoint to which the stream went.
    pub fn connected(&self, endpoint: SocketAddr) {
        self.stream.connected(endpoint);
    }

    /// The stream is about to be opened again, since its first callee did not look at it.
    pub fn retried(&self) {
        self.stream.retried();
        self.stream.info.series.retried();
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

    /// The stream is over. Counts it, exports its spans, writes its line.
    pub fn finish(self, outcome: Outcome<'_>) {
        let duration = Instant::now().saturating_duration_since(self.stream.started);
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let finished = Finished {
            stream: &self.stream,
            outcome,
            duration,
        };
        self.stream.info.series.finished(&outcome, micros);
        self.parts.tracer.finish(&self.trace, &finished);
        self.parts.access.write(&finished, &self.trace);
    }
}

impl Drop for StreamRecord {
    fn drop(&mut self) {
        self.stream.info.series.closed();
        self.parts.live.remove(&self.key);
    }
}
