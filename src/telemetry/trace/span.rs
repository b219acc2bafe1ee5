//! The contents of the two spans of a finished stream.
//!
//! They follow the OpenTelemetry semantic conventions "RPC" and "gRPC" (`rpc.*`, `network.*`,
//! `server.*`, `client.*`). `ripcord.*` is for what has no name there. The end and the cancel are
//! attributes of the span, since trace viewers search attributes and cut events off. The cancel is
//! an event as well, with the same names. The table of them is in `deploy/OPERATIONS.md`.

use std::borrow::Cow;
use std::net::SocketAddr;

use opentelemetry::trace::{Event, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{Array, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::{Ids, Inner};
use crate::stream::{Cancel, Codes, End, Failure, LocalEndKind, NativeCode, Path, Reason, Wire};
use crate::telemetry::names;
use crate::telemetry::record::Finished;

/// The longest name or text that is kept in a span, in bytes.
const MAX_TEXT: usize = 512;

impl Inner {
    pub(super) fn server_span(&self, ids: &Ids, finished: &Finished<'_>) -> SpanData {
        let stream = finished.stream;
        let mut attributes = self.attributes(finished, stream.info.series.inbound);
        if let Some(peer) = stream.info.peer {
            peer_attributes(&mut attributes, "client.address", "client.port", peer);
        }
        if let Some(caller) = &stream.info.caller {
            attributes.push(text("ripcord.caller", caller));
        }
        let outcome = &finished.outcome;
        attributes.extend(code(
            stream.info.series.inbound,
            outcome.native_code,
            outcome.end,
        ));
        let status = server_status(finished.outcome.end);
        self.span(ids, finished, SpanKind::Server, attributes, status)
    }

    pub(super) fn client_span(&self, ids: &Ids, finished: &Finished<'_>) -> SpanData {
        let series = &finished.stream.info.series;
        let wire = series.outbound.unwrap_or(series.inbound);
        let mut attributes = self.attributes(finished, wire);
        if let Some(endpoint) = finished.stream.endpoint() {
            peer_attributes(&mut attributes, "server.address", "server.port", *endpoint);
        }
        if finished.stream.is_retried() {
            attributes.push(KeyValue::new("ripcord.retries", 1_i64));
        }
        attributes.extend(code(wire, None, finished.outcome.end));
        let status = client_status(finished.outcome.end);
        self.span(ids, finished, SpanKind::Client, attributes, status)
    }

    /// The attributes that both spans have.
    fn attributes(&self, finished: &Finished<'_>, wire: &Wire) -> Vec<KeyValue> {
        let info = &finished.stream.info;
        let series = &info.series;
        let mut all = Vec::with_capacity(32);
        all.extend([
            KeyValue::new("rpc.system", wire.rpc_system),
            text("rpc.service", &info.service),
            text("rpc.method", &info.method),
            KeyValue::new("network.transport", "tcp"),
            KeyValue::new("network.protocol.name", wire.protocol_name),
            text("ripcord.node", &self.node),
            text("ripcord.listener", &series.listener),
            text("ripcord.route", &series.route),
            text("ripcord.backend", &info.backend),
            KeyValue::new("ripcord.inbound", series.inbound.name),
            KeyValue::new("ripcord.outbound", series.outbound_name()),
        ]);
        all.extend(end_attributes(finished.outcome.end, &self.node));
        if let Some(version) = wire.protocol_version {
            all.push(KeyValue::new("network.protocol.version", version));
        }
        let traffic = &finished.outcome.traffic;
        for (key, value) in [
            ("ripcord.request.messages", traffic.request_messages),
            ("ripcord.request.bytes", traffic.request_bytes),
            ("ripcord.response.messages", traffic.response_messages),
            ("ripcord.response.bytes", traffic.response_bytes),
        ] {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            all.push(KeyValue::new(key, value));
        }
        all
    }

    fn span(
        &self,
        ids: &Ids,
        finished: &Finished<'_>,
        kind: SpanKind,
        mut attributes: Vec<KeyValue>,
        status: Status,
    ) -> SpanData {
        let info = &finished.stream.info;
        let start = finished.stream.started_at;
        let end = start.checked_add(finished.duration).unwrap_or(start);
        if let (Status::Error { .. }, Some(at)) =
            (&status, names::error_index(finished.outcome.end))
        {
            attributes.push(KeyValue::new("error.type", names::error_name(at)));
        }
        let mut events = SpanEvents::default();
        if let Reason::Canceled(cancel) = &finished.outcome.end.reason {
            let mut attributes = cancel_attributes(cancel);
            let by = names::party_name(finished.outcome.end.by);
            attributes.push(KeyValue::new("ripcord.cancel.by", by));
            events.events.push(Event::new("cancel", end, attributes, 0));
        }
        let is_server = kind == SpanKind::Server;
        let (own, parent) = if is_server {
            (ids.server, ids.parent.unwrap_or(SpanId::INVALID))
        } else {
            (ids.client, ids.server)
        };
        SpanData {
            span_context: SpanContext::new(
                ids.trace_id,
                own,
                TraceFlags::new(1 | (u8::from(ids.random) << 1)),
                false,
                trace_state(ids),
            ),
            parent_span_id: parent,
            parent_span_is_remote: is_server && ids.parent.is_some(),
            span_kind: kind,
            name: Cow::Owned(format!(
                "{}/{}",
                names::bounded(&info.service, MAX_TEXT),
                names::bounded(&info.method, MAX_TEXT)
            )),
            start_time: start,
            end_time: end,
            attributes,
            dropped_attributes_count: 0,
            events,
            links: SpanLinks::default(),
            status,
            instrumentation_scope: self.scope.clone(),
        }
    }
}

fn trace_state(ids: &Ids) -> TraceState {
    let parse = || {
        let text = std::str::from_utf8(ids.tracestate.as_ref()?).ok()?;
        let pairs = text
            .split(',')
            .filter_map(|member| member.trim().split_once('='));
        TraceState::from_key_value(pairs).ok()
    };
    parse().unwrap_or_default()
}

fn text(key: &'static str, value: &str) -> KeyValue {
    KeyValue::new(key, names::bounded(value, MAX_TEXT).to_owned())
}

fn peer_attributes(
    to: &mut Vec<KeyValue>,
    address_key: &'static str,
    port_key: &'static str,
    address: SocketAddr,
) {
    let ip = StringValue::from(address.ip().to_string());
    let port = i64::from(address.port());
    to.push(KeyValue::new("network.peer.address", ip.clone()));
    to.push(KeyValue::new("network.peer.port", port));
    to.push(KeyValue::new(address_key, ip));
    to.push(KeyValue::new(port_key, port));
}

/// How the stream ended and who ended it. For a cancel also who canceled first, why, and by which
/// path. For its neighbours, a local end of a running stream is a cancel.
fn end_attributes(end: &End, node: &str) -> Vec<KeyValue> {
    let mut all = vec![
        KeyValue::new("ripcord.end.kind", names::end_name(end)),
        KeyValue::new("ripcord.end.by", names::party_name(end.by)),
        KeyValue::new(
            "ripcord.end.processed",
            names::processed_name(end.processed),
        ),
    ];
    match &end.reason {
        Reason::Complete | Reason::Failed(_) => {}
        Reason::Canceled(cancel) => all.extend(cancel_attributes(cancel)),
        Reason::Hop(hop) if hop.kind.before_backend() => {}
        Reason::Hop(hop) => {
            all.extend(cause_attributes(hop.kind.cause(), &hop.text));
            all.extend(path_attributes(&hop.path(node)));
        }
    }
    all
}

fn cancel_attributes(cancel: &Cancel) -> Vec<KeyValue> {
    let mut all = cause_attributes(cancel.cause.code, &cancel.cause.text).to_vec();
    all.extend([
        KeyValue::new("ripcord.cancel.class", names::class_name(cancel.class)),
        KeyValue::new("ripcord.cancel.class_code", i64::from(cancel.class.code())),
        KeyValue::new("ripcord.cancel.how", cancel.signal.name()),
    ]);
    all.extend(path_attributes(&cancel.path));
    all
}

fn cause_attributes(code: i32, said: &str) -> [KeyValue; 2] {
    [
        KeyValue::new("ripcord.cancel.cause", i64::from(code)),
        text("ripcord.cancel.text", said),
    ]
}

fn path_attributes(path: &Path) -> [KeyValue; 2] {
    let names: Vec<StringValue> = path
        .names()
        .iter()
        .map(|name| StringValue::from(name.clone()))
        .collect();
    [
        text("ripcord.cancel.origin", path.origin().unwrap_or("")),
        KeyValue::new("ripcord.cancel.path", Value::Array(Array::String(names))),
    ]
}

/// The number of this end on `wire`: the one that the caller received, or the one of the end
/// itself.
fn code(wire: &Wire, native_code: Option<NativeCode>, end: &End) -> Option<KeyValue> {
    let Codes {
        attribute,
        statuses,
        ..
    } = wire.codes?;
    let number = match native_code {
        Some(code) => code.0,
        None => native_status(end).filter(|_| statuses)?,
    };
    Some(KeyValue::new(attribute, i64::from(number)))
}

/// The status that a peer sent or receives for this end, as far as the end alone decides it.
fn native_status(end: &End) -> Option<u32> {
    match &end.reason {
        Reason::Complete => Some(0),
        Reason::Failed(Failure::Status(status)) => Some(status.code),
        Reason::Failed(Failure::Business(business)) => business.status.as_ref().map(|s| s.code),
        Reason::Failed(Failure::Exception(_)) | Reason::Hop(_) => None,
        Reason::Canceled(cancel) => cancel.status.as_ref().map(|s| s.code),
    }
}

fn error(text: &str) -> Status {
    Status::error(names::bounded(text, MAX_TEXT).to_owned())
}

fn server_status(end: &End) -> Status {
    match &end.reason {
        Reason::Complete | Reason::Canceled(_) | Reason::Failed(Failure::Business(_)) => {
            Status::Unset
        }
        Reason::Failed(Failure::Status(status)) => match status.code {
            // UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS
            2 | 4 | 12 | 13 | 14 | 15 => error(&status.message),
            _ => Status::Unset,
        },
        Reason::Failed(Failure::Exception(exception)) => match exception.type_id {
            // The cancel codes: a peer canceled and reported it in a Trailer.
            12007..=12012 => Status::Unset,
            _ => error(&exception.text),
        },
        Reason::Hop(hop) => match hop.kind {
            // RESOURCE_EXHAUSTED, and the caller's own mistakes.
            LocalEndKind::OverLimit
            | LocalEndKind::SlowReceiver
            | LocalEndKind::MessageTooLarge
            | LocalEndKind::BadRequest
            | LocalEndKind::InvalidRequest
            | LocalEndKind::UntranslatableRequest => Status::Unset,
            LocalEndKind::NoRoute
            | LocalEndKind::PayloadMismatch
            | LocalEndKind::UnpairedMethod
            | LocalEndKind::Unreachable
            | LocalEndKind::BackendLost
            | LocalEndKind::DrainOver
            | LocalEndKind::Deadline
            | LocalEndKind::Idle
            | LocalEndKind::FirstResponse
            | LocalEndKind::Undecodable
            | LocalEndKind::InvalidResponse
            | LocalEndKind::UntranslatableResponse
            | LocalEndKind::Panic => error(&hop.text),
        },
    }
}

fn client_status(end: &End) -> Status {
    match &end.reason {
        Reason::Complete | Reason::Canceled(_) => Status::Unset,
        Reason::Failed(Failure::Status(status)) => error(&status.message),
        Reason::Failed(Failure::Exception(exception)) => error(&exception.text),
        Reason::Failed(Failure::Business(business)) => error(&business.text),
        Reason::Hop(hop) => error(&hop.text),
    }
}
