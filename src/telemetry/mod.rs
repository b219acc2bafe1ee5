//! What ripcord reports about its streams: metrics, spans, an access log, the list of live streams.
//!
//! The proxy calls [`Telemetry::open`] once when a stream was routed, and [`StreamRecord::finish`]
//! once at its end. Nothing is called per message. Nothing here decides anything about a stream,
//! and nothing here knows a wire: ends are read from [`crate::stream::End`].

pub mod access;
mod cache;
mod context;
mod export;
pub mod init;
pub mod live;
pub(crate) mod log_limit;
pub mod metrics;
pub(crate) mod names;
mod process;
mod record;
mod tap;
pub mod trace;

use std::net::SocketAddr;
use std::sync::Arc;

pub(crate) use access::rfc3339;
pub use access::{AccessGuard, AccessLog};
pub use cache::SeriesCache;
pub use context::TraceFormats;
pub use export::{ExportError, ExportGuard, ExportStats};
pub use init::{AccessTarget, InitError, LogFormat, Settings, TelemetryGuard, init_logs};
pub use live::LiveStreams;
pub use metrics::{ConnectionGuard, Metrics, Reload, Series, Side};
pub use record::{StreamRecord, Telemetry};
pub use tap::{Observed, Tap};
pub use trace::{OtlpProtocol, TraceSettings, Tracer};

use crate::stream::{End, NativeCode};

/// What is known of a stream once it was routed.
#[derive(Clone, Debug)]
pub struct StreamInfo {
    /// Listener, route and wires, with their counters ([`Metrics::series`]).
    pub series: Arc<Series>,
    /// The backend's name; empty when no route matched.
    pub backend: Arc<str>,
    /// The caller's address.
    pub peer: Option<SocketAddr>,
    /// The service in the caller's request.
    pub service: Box<str>,
    /// The method in the caller's request.
    pub method: Box<str>,
    /// The caller's service name.
    pub caller: Option<Box<str>>,
}

/// What moved on a stream. The prefixes of messages are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages from caller to callee.
    pub request_messages: u64,
    /// Payload bytes from caller to callee.
    pub request_bytes: u64,
    /// Messages from callee to caller.
    pub response_messages: u64,
    /// Payload bytes from callee to caller.
    pub response_bytes: u64,
}

/// How a stream finished.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// The end that won, as it was observed.
    pub end: &'a End,
    /// What had moved on the stream.
    pub traffic: Traffic,
    /// The number by which the caller received the end, where its wire has one.
    pub native_code: Option<NativeCode>,
}
