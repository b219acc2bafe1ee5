//! Spans through the whole of telemetry, into the SDK's in-memory exporter.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use opentelemetry::trace::{SpanKind, Status as SpanStatus};
use opentelemetry::{Array, Value};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SpanData};

use super::*;
use crate::stream::Propagation;
use crate::stream::{
    Business, Cancel, CancelSignal, Cause, Class, End, Exception, Failure, Initiator, LocalEndKind,
    Path, Scope, Status,
};
use crate::telemetry::{AccessLog, Outcome, StreamInfo, StreamRecord, Telemetry, Traffic};

#[derive(Debug, Default)]
struct Counting(AtomicU64);

impl IdGenerator for Counting {
    fn new_trace_id(&self) -> TraceId {
        TraceId::from(u128::from(self.0.fetch_add(1, Relaxed) + 1))
    }
    fn new_span_id(&self) -> SpanId {
        SpanId::from(self.0.fetch_add(1, Relaxed) + 1)
    }
}

struct Fixture {
    telemetry: Telemetry,
    exporter: InMemorySpanExporter,
    guard: ExportGuard,
}

fn fixture(ratio: f64) -> Fixture {
    let exporter = InMemorySpanExporter::default();
    let settings = TraceSettings {
        ratio,
        ..TraceSettings::default()
    };
    let ids = Box::new(Counting::default());
    let (tracer, guard) =
        Tracer::with_exporter(&Arc::from("hop"), &settings, ids, exporter.clone()).unwrap();
    let telemetry = Telemetry::new(1, crate::wire::ALL, tracer, AccessLog::off());
    Fixture {
        telemetry,
        exporter,
        guard,
    }
}

impl Fixture {
    fn open(
        &self,
        head: &RequestHead,
        wires: (&'static crate::stream::Wire, &'static crate::stream::Wire),
    ) -> StreamRecord {
        let (inbound, outbound) = wires;
        let series = self.telemetry.metrics.series(
            &Arc::from("in"),
            &Arc::from("r"),
            inbound,
            Some(outbound),
        );
        let info = StreamInfo {
            series,
            backend: Arc::from("b"),
            peer: "10.0.0.9:555".parse().ok(),
            service: "chat.v1.Chat".into(),
            method: "Talk".into(),
            caller: Some("web".into()),
        };
        self.telemetry.open(0, info, head)
    }

    fn spans(&self) -> Vec<SpanData> {
        assert!(self.guard.flush());
        let spans = self.exporter.get_finished_spans().unwrap();
        self.exporter.reset();
        spans
    }

    /// The SERVER and the CLIENT span of a stream with that end.
    fn ended(&self, end: &End) -> [SpanData; 2] {
        let mut record = self.open(
            &RequestHead::default(),
            (&crate::wire::grpc::WIRE, &crate::wire::ttheader::WIRE),
        );
        record.outbound(
            &mut Metadata::new(),
            Propagation::Transit,
            TraceFormats::W3C,
        );
        record.connected("10.0.0.1:8888".parse().unwrap());
        finish(record, end);
        self.spans().try_into().unwrap()
    }
}

fn finish(record: StreamRecord, end: &End) {
    record.finish(Outcome {
        end,
        traffic: Traffic::default(),
        native_code: None,
    });
}

fn head(traceparent: &str) -> RequestHead {
    let mut head = RequestHead::default();
    let value = traceparent.to_owned();
    head.metadata.push(Scope::Plain, "traceparent", value);
    head
}

fn attribute(attributes: &[opentelemetry::KeyValue], key: &str) -> Option<Value> {
    let found = attributes.iter().find(|kv| kv.key.as_str() == key);
    found.map(|kv| kv.value.clone())
}

fn failed(failure: Failure) -> End {
    End::failed(failure, Metadata::new())
}

fn status(code: u32) -> Status {
    Status {
        code,
        message: "m".to_owned(),
        details: None,
    }
}

fn cancel() -> End {
    let mut path = Path::from_origin("a");
    path.append("b");
    let cancel = Cancel {
        cause: Cause {
            code: 12007,
            text: "gave up".to_owned(),
        },
        path,
        class: Class::ByCaller,
        signal: CancelSignal::named("rst"),
        status: None,
    };
    End::canceled(Initiator::Caller, cancel)
}

#[test]
fn the_spans_of_a_sampled_stream_continue_the_trace() {
    let fixture = fixture(0.0);
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut record = fixture.open(
        &head(parent),
        (&crate::wire::grpc::WIRE, &crate::wire::ttheader::WIRE),
    );
    let mut metadata = head(parent).metadata;
    record.outbound(&mut metadata, Propagation::Transit, TraceFormats::W3C);
    record.connected("10.0.0.1:8888".parse().unwrap());
    finish(record, &End::complete(Metadata::new()));
    let [server, client] = fixture.spans().try_into().unwrap();

    assert_eq!(server.span_kind, SpanKind::Server);
    assert_eq!(server.parent_span_id.to_string(), "b7ad6b7169203331");
    assert!(server.parent_span_is_remote);
    assert_eq!(server.name, "chat.v1.Chat/Talk");
    assert_eq!(server.status, SpanStatus::Unset);
    assert_eq!(
        attribute(&server.attributes, "rpc.system"),
        Some("grpc".into())
    );
    assert_eq!(
        attribute(&server.attributes, "rpc.grpc.status_code"),
        Some(0.into())
    );
    assert_eq!(
        attribute(&server.attributes, "client.address"),
        Some("10.0.0.9".into())
    );
    assert_eq!(
        attribute(&server.attributes, "ripcord.node"),
        Some("hop".into())
    );

    assert_eq!(client.span_kind, SpanKind::Client);
    assert_eq!(client.parent_span_id, server.span_context.span_id());
    assert!(!client.parent_span_is_remote);
    assert_eq!(
        attribute(&client.attributes, "rpc.system"),
        Some("kitex".into())
    );
    assert_eq!(attribute(&client.attributes, "rpc.grpc.status_code"), None);
    assert_eq!(
        attribute(&client.attributes, "server.port"),
        Some(8888.into())
    );

    for span in [&server, &client] {
        assert_eq!(span.span_context.trace_id().to_string(), parent[3..35]);
        assert!(span.span_context.is_sampled());
        assert!(span.events.is_empty());
    }
    let sent = metadata.get(Scope::Transit, "traceparent").unwrap();
    let wanted = format!("{}{}-01", &parent[..36], client.span_context.span_id());
    assert_eq!(sent, wanted.as_bytes());
    assert_eq!(metadata.len(), 1);
}

#[test]
fn a_cancel_is_an_event_on_both_spans_and_no_error() {
    let fixture = fixture(1.0);
    for span in fixture.ended(&cancel()) {
        assert_eq!(span.status, SpanStatus::Unset);
        assert_eq!(attribute(&span.attributes, "error.type"), None);
        assert_eq!(attribute(&span.attributes, "rpc.grpc.status_code"), None);
        assert_eq!(
            attribute(&span.attributes, "ripcord.end.kind"),
            Some("canceled".into())
        );
        assert_eq!(
            attribute(&span.attributes, "ripcord.end.by"),
            Some("caller".into())
        );
        let [event] = span.events.events.as_slice() else {
            panic!("{:?}", span.events)
        };
        assert_eq!(event.name, "cancel");
        assert_eq!(event.timestamp, span.end_time);
        let path = Value::Array(Array::String(vec!["a".into(), "b".into()]));
        for (key, value) in [
            ("ripcord.cancel.cause", 12007.into()),
            ("ripcord.cancel.text", "gave up".into()),
            ("ripcord.cancel.class", "by_caller".into()),
            ("ripcord.cancel.class_code", 12010.into()),
            ("ripcord.cancel.origin", "a".into()),
            ("ripcord.cancel.path", path),
            ("ripcord.cancel.how", "rst".into()),
        ] {
            let wanted = Some(value);
            assert_eq!(attribute(&event.attributes, key), wanted, "event: {key}");
            assert_eq!(attribute(&span.attributes, key), wanted, "span: {key}");
        }
        assert_eq!(
            attribute(&event.attributes, "ripcord.cancel.by"),
            Some("caller".into())
        );
    }
}

/// A search for who ended streams finds this hop too, under the names that its neighbours report.
#[test]
fn what_this_hop_ended_has_its_cause_and_a_path_that_begins_here() {
    let fixture = fixture(1.0);
    for span in fixture.ended(&End::hop(LocalEndKind::Idle, "nothing moved")) {
        let path = Value::Array(Array::String(vec!["hop".into()]));
        for (key, value) in [
            ("ripcord.end.kind", "hop".into()),
            ("ripcord.end.by", "hop".into()),
            ("ripcord.end.processed", "maybe".into()),
            ("ripcord.cancel.cause", 12014.into()),
            ("ripcord.cancel.text", "nothing moved".into()),
            ("ripcord.cancel.origin", "hop".into()),
            ("ripcord.cancel.path", path),
        ] {
            assert_eq!(attribute(&span.attributes, key), Some(value), "{key}");
        }
        assert_eq!(attribute(&span.attributes, "ripcord.cancel.class"), None);
        assert!(span.events.is_empty());
    }
    let [server, client] = fixture.ended(&End::hop(LocalEndKind::Unreachable, "refused"));
    let [done, _] = fixture.ended(&End::complete(Metadata::new()));
    for span in [&server, &client, &done] {
        assert_eq!(attribute(&span.attributes, "ripcord.cancel.path"), None);
    }
    assert_eq!(
        attribute(&server.attributes, "ripcord.end.processed"),
        Some("no".into())
    );
    assert_eq!(
        attribute(&done.attributes, "ripcord.end.by"),
        Some("callee".into())
    );
}

#[test]
fn only_faults_of_the_server_are_errors_on_the_server_span() {
    let fixture = fixture(1.0);
    let exception = |type_id| {
        failed(Failure::Exception(Exception {
            type_id,
            text: "t".to_owned(),
        }))
    };
    let business = failed(Failure::Business(Business {
        code: 7,
        text: "t".to_owned(),
        extra: None,
        status: None,
    }));
    // End, SERVER is an error, CLIENT is an error.
    let cases = [
        (End::complete(Metadata::new()), false, None),
        (
            failed(Failure::Status(status(5))),
            false,
            Some("status_not_found"),
        ),
        (
            failed(Failure::Status(status(14))),
            true,
            Some("status_unavailable"),
        ),
        (
            failed(Failure::Status(status(99))),
            false,
            Some("status_other"),
        ),
        (exception(6), true, Some("exception_6")),
        (exception(12007), false, Some("exception_12007")),
        (business, false, Some("business")),
        (
            End::hop(LocalEndKind::Deadline, "late"),
            true,
            Some("deadline"),
        ),
        (
            End::hop(LocalEndKind::OverLimit, "full"),
            false,
            Some("over_limit"),
        ),
    ];
    for (end, server_fault, error_type) in cases {
        let [server, client] = fixture.ended(&end);
        let is_error = |span: &SpanData| matches!(span.status, SpanStatus::Error { .. });
        assert_eq!(is_error(&server), server_fault, "{end:?}");
        assert_eq!(is_error(&client), error_type.is_some(), "{end:?}");
        let wanted = error_type.map(Value::from);
        assert_eq!(attribute(&client.attributes, "error.type"), wanted);
        let wanted = wanted.filter(|_| server_fault);
        assert_eq!(attribute(&server.attributes, "error.type"), wanted);
    }
}

#[test]
fn an_unsampled_stream_exports_nothing_and_carries_its_context_on() {
    let fixture = fixture(1.0);
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    let mut record = fixture.open(
        &head(parent),
        (&crate::wire::ttheader::WIRE, &crate::wire::grpc::WIRE),
    );
    assert!(!record.trace().is_sampled());
    let mut metadata = Metadata::new();
    record.outbound(&mut metadata, Propagation::Plain, TraceFormats::W3C);
    let own = record.trace().span_id().unwrap();
    finish(record, &cancel());
    assert!(fixture.spans().is_empty());
    let stats = fixture.telemetry.tracer.stats().unwrap();
    assert_eq!(stats.exported.load(Relaxed), 0);
    let sent = metadata.get(Scope::Plain, "traceparent").unwrap();
    assert_eq!(sent, format!("{}{own}-00", &parent[..36]).as_bytes());
    assert_eq!(metadata.get(Scope::Transit, "TRACEPARENT"), Some(sent));
}

#[test]
fn roots_are_sampled_by_ratio_and_keep_their_decision() {
    // Counted ids are small, so that any ratio but 0 samples them.
    let on = fixture(0.5).open(
        &RequestHead::default(),
        (&crate::wire::grpc::WIRE, &crate::wire::grpc::WIRE),
    );
    assert!(on.trace().is_sampled());
    let mut off = fixture(0.0).open(
        &RequestHead::default(),
        (&crate::wire::grpc::WIRE, &crate::wire::grpc::WIRE),
    );
    assert!(!off.trace().is_sampled());
    let mut metadata = Metadata::new();
    off.outbound(&mut metadata, Propagation::Transit, TraceFormats::W3C);
    let sent = metadata.get(Scope::Transit, "traceparent").unwrap();
    assert!(sent.ends_with(b"-00"));
}

#[test]
fn a_refused_stream_has_no_client_span() {
    let fixture = fixture(1.0);
    let record = fixture.open(
        &RequestHead::default(),
        (&crate::wire::grpc::WIRE, &crate::wire::grpc::WIRE),
    );
    finish(record, &End::hop(LocalEndKind::NoRoute, "no route"));
    let [server] = fixture.spans().try_into().unwrap();
    assert_eq!(server.status, SpanStatus::error("no route"));
}

#[test]
fn with_tracing_off_metadata_is_left_alone() {
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut metadata = head(parent).metadata;
    let before = metadata.clone();
    let mut trace = Tracer::off().start(&head(parent));
    trace.outbound(&mut metadata, Propagation::Plain, TraceFormats::W3C);
    assert_eq!(metadata, before);
    assert_eq!(trace.trace_id().unwrap().to_string(), parent[3..35]);
    assert_eq!(trace.span_id(), None);
    let untraced = Tracer::off().start(&RequestHead::default());
    assert_eq!(untraced.trace_id(), None);
}

/// An id that only this process knows is of no use, so a log does not show it.
#[test]
fn ids_that_nobody_sees_are_not_shown() {
    let fixture = fixture(0.0);
    let wires = (&crate::wire::grpc::WIRE, &crate::wire::grpc::WIRE);
    let mut root = fixture.open(&RequestHead::default(), wires);
    assert_eq!(root.trace().trace_id(), None);
    assert_eq!(root.trace().span_id(), None);
    let mut metadata = Metadata::new();
    root.outbound(&mut metadata, Propagation::Plain, TraceFormats::W3C);
    let sent = metadata.get(Scope::Plain, "traceparent").unwrap();
    let (trace, span) = (root.trace().trace_id(), root.trace().span_id());
    let shown = format!("00-{}-{}-00", trace.unwrap(), span.unwrap());
    assert_eq!(sent, shown.as_bytes());

    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    let refused = fixture.open(&head(parent), wires);
    let trace = refused.trace().trace_id().unwrap();
    assert_eq!(trace.to_string(), parent[3..35]);
    assert_eq!(refused.trace().span_id(), None);
}

#[test]
fn a_full_queue_drops_and_counts() {
    let fixture = fixture(1.0);
    drop(fixture.guard);
    let record = {
        let series = fixture.telemetry.metrics.series(
            &Arc::from("in"),
            &Arc::from("r"),
            &crate::wire::grpc::WIRE,
            None,
        );
        let info = StreamInfo {
            series,
            backend: Arc::from(""),
            peer: None,
            service: Box::default(),
            method: Box::default(),
            caller: None,
        };
        fixture.telemetry.open(0, info, &RequestHead::default())
    };
    finish(record, &End::complete(Metadata::new()));
    let stats = fixture.telemetry.tracer.stats().unwrap();
    assert_eq!(stats.dropped.load(Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_span_lasts_as_long_as_its_stream() {
    let fixture = fixture(1.0);
    let record = fixture.open(
        &RequestHead::default(),
        (&crate::wire::grpc::WIRE, &crate::wire::grpc::WIRE),
    );
    tokio::time::advance(Duration::from_millis(1500)).await;
    finish(record, &End::complete(Metadata::new()));
    let [server] = fixture.spans().try_into().unwrap();
    let lasted = server.end_time.duration_since(server.start_time).unwrap();
    assert_eq!(lasted.as_millis(), 1500);
}
