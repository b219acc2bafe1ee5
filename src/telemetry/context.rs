//! Trace context in metadata: read in every spelling, and written in the one that the next peer
//! reads.
//!
//! The sources are W3C Trace Context (traceparent, tracestate), W3C Baggage, the B3 specification,
//! OpenTracing's `ot-tracer-*`, and the keys of Kitex's OpenTelemetry suite
//! (`kitex-contrib/obs-opentelemetry`, `tracing/propagator.go`). That suite writes the same names
//! as transit metainfo. The first valid one wins, in this order:
//!
//! 1. plain `traceparent`: a proxy between rewrites this one and none of the others;
//! 2. transit `traceparent`, as Kitex's suite and ripcord write it;
//! 3. `b3` in one header, 4. `x-b3-*`, 5. `ot-tracer-*`, each plain or transit.
//!
//! Names match without case and with `_` for `-`, since metainfo that crossed gRPC arrives in upper
//! case.

mod list;
mod parse;

use std::fmt::Write as _;

use bytes::Bytes;
use opentelemetry::trace::{SpanId, TraceId};

use self::parse::{
    any_hex, nonzero_span, nonzero_trace, parse_b3_single, parse_sampled, parse_traceparent,
};
use crate::stream::{Entry, Metadata, Propagation, Scope};

/// The forms of trace context that a callee receives. Baggage has only one, and always goes along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceFormats {
    /// W3C `traceparent` and `tracestate`.
    pub w3c: bool,
    /// `b3` in one field.
    pub b3: bool,
    /// `x-b3-traceid`, `x-b3-spanid` and `x-b3-sampled`.
    pub b3multi: bool,
}

impl TraceFormats {
    /// What every callee receives unless its backend says otherwise.
    pub const W3C: Self = Self {
        w3c: true,
        b3: false,
        b3multi: false,
    };
}

/// The caller's span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    /// `None` when the caller left the decision to this hop (B3).
    pub(crate) sampled: Option<bool>,
    /// Whether the trace id is random (W3C level 2). It is passed on unchanged.
    pub(crate) random: bool,
    pub(crate) tracestate: Option<Bytes>,
}

/// The trace context of a request's metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extracted {
    pub(crate) remote: Option<Remote>,
    /// From a `b3: 0` or `x-b3-sampled: 0` without ids.
    pub(crate) sampled: Option<bool>,
    pub(crate) baggage: Option<Bytes>,
}

/// The keys that carry trace context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Traceparent,
    Tracestate,
    Baggage,
    B3,
    B3TraceId,
    B3SpanId,
    B3ParentSpanId,
    B3Sampled,
    B3Flags,
    OtTraceId,
    OtSpanId,
    OtSampled,
}

/// Where a key was found. Old: `RPC_TRANSIT_UPSTREAM_K`, one hop too far; it is removed and never
/// read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FoundIn {
    Plain,
    Transit,
    Old,
}

const KEYS: [(&str, Key); 12] = [
    ("traceparent", Key::Traceparent),
    ("tracestate", Key::Tracestate),
    ("baggage", Key::Baggage),
    ("b3", Key::B3),
    ("x-b3-traceid", Key::B3TraceId),
    ("x-b3-spanid", Key::B3SpanId),
    ("x-b3-parentspanid", Key::B3ParentSpanId),
    ("x-b3-sampled", Key::B3Sampled),
    ("x-b3-flags", Key::B3Flags),
    ("ot-tracer-traceid", Key::OtTraceId),
    ("ot-tracer-spanid", Key::OtSpanId),
    ("ot-tracer-sampled", Key::OtSampled),
];

fn strip_prefix<'a>(key: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = key.split_at_checked(prefix.len())?;
    same(head, prefix).then_some(rest)
}

fn same(key: &[u8], name: &[u8]) -> bool {
    let fold = |b: &u8| match b {
        b'_' => b'-',
        other => other.to_ascii_lowercase(),
    };
    key.len() == name.len() && key.iter().map(fold).eq(name.iter().copied())
}

fn classify(entry: &Entry) -> Option<(FoundIn, Key)> {
    let (place, key) = match entry.scope {
        Scope::Persist => return None,
        Scope::Plain => match strip_prefix(&entry.key, b"rpc-transit-") {
            Some(rest) => (FoundIn::Transit, rest),
            None => (FoundIn::Plain, &*entry.key),
        },
        Scope::Transit => (FoundIn::Transit, &*entry.key),
    };
    let (place, key) = match (place, strip_prefix(key, b"upstream-")) {
        (FoundIn::Transit, Some(rest)) => (FoundIn::Old, rest),
        (FoundIn::Plain | FoundIn::Transit | FoundIn::Old, _) => (place, key),
    };
    KEYS.iter()
        .find(|(name, _)| same(key, name.as_bytes()))
        .map(|(_, found)| (place, *found))
}

/// The values from one place (plain or transit), or from both.
#[derive(Default)]
struct Found<'a> {
    traceparent: Once<'a>,
    tracestate: Vec<&'a Bytes>,
    baggage: Vec<&'a Bytes>,
}

/// A value that must not come twice with different contents.
#[derive(Clone, Copy, Default)]
enum Once<'a> {
    #[default]
    None,
    One(&'a Bytes),
    Conflict,
}

impl<'a> Once<'a> {
    fn add(&mut self, value: &'a Bytes) {
        *self = match *self {
            Self::None => Self::One(value),
            Self::One(first) if first == value => Self::One(first),
            Self::One(_) | Self::Conflict => Self::Conflict,
        };
    }

    fn text(self) -> Option<&'a str> {
        match self {
            Self::One(value) => std::str::from_utf8(value).ok(),
            Self::None | Self::Conflict => None,
        }
    }
}

#[derive(Default)]
struct B3<'a> {
    single: Once<'a>,
    trace_id: Once<'a>,
    span_id: Once<'a>,
    sampled: Once<'a>,
    flags: Once<'a>,
}

/// Reads the caller's trace context.
pub(crate) fn extract(metadata: &Metadata) -> Extracted {
    let mut plain = Found::default();
    let mut transit = Found::default();
    let mut b3 = B3::default();
    let mut ot = B3::default();
    for entry in metadata {
        let (found, key) = match classify(entry) {
            None | Some((FoundIn::Old, _)) => continue,
            Some((FoundIn::Plain, key)) => (&mut plain, key),
            Some((FoundIn::Transit, key)) => (&mut transit, key),
        };
        let value = &entry.value;
        match key {
            Key::Traceparent => found.traceparent.add(value),
            Key::Tracestate => found.tracestate.push(value),
            Key::Baggage => found.baggage.push(value),
            Key::B3 => b3.single.add(value),
            Key::B3TraceId => b3.trace_id.add(value),
            Key::B3SpanId => b3.span_id.add(value),
            Key::B3ParentSpanId => {}
            Key::B3Sampled => b3.sampled.add(value),
            Key::B3Flags => b3.flags.add(value),
            Key::OtTraceId => ot.trace_id.add(value),
            Key::OtSpanId => ot.span_id.add(value),
            Key::OtSampled => ot.sampled.add(value),
        }
    }
    let w3c = |found: &Found<'_>| {
        let mut remote = parse_traceparent(found.traceparent.text()?)?;
        remote.tracestate = list::joined(&found.tracestate, &list::TRACESTATE);
        Some(remote)
    };
    let remote = w3c(&plain)
        .or_else(|| w3c(&transit))
        .or_else(|| parse_b3_single(b3.single.text()?))
        .or_else(|| b3.ids())
        .or_else(|| ot.ids());
    let sampled = match &remote {
        Some(remote) => remote.sampled,
        None => b3
            .single
            .text()
            .and_then(parse_sampled)
            .or_else(|| b3.decision()),
    };
    let baggage = |found: &Found<'_>| list::joined(&found.baggage, &list::BAGGAGE);
    let baggage = baggage(&plain).or_else(|| baggage(&transit));
    Extracted {
        remote,
        sampled,
        baggage,
    }
}

impl B3<'_> {
    fn ids(&self) -> Option<Remote> {
        Some(Remote {
            trace_id: nonzero_trace(any_hex(self.trace_id.text()?, 32)?)?,
            span_id: nonzero_span(any_hex(self.span_id.text()?, 16)?)?,
            sampled: self.decision(),
            random: false,
            tracestate: None,
        })
    }

    fn decision(&self) -> Option<bool> {
        if self.flags.text() == Some("1") {
            return Some(true);
        }
        parse_sampled(self.sampled.text()?)
    }
}

/// The context that the callee receives.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    /// `None`: the callee decides (B3; W3C has no such value).
    pub(crate) sampled: Option<bool>,
    pub(crate) random: bool,
    pub(crate) tracestate: Option<&'a Bytes>,
    pub(crate) baggage: Option<&'a Bytes>,
}

/// Removes every spelling of every key, and writes `context` as the next peer reads it.
pub(crate) fn inject(
    metadata: &mut Metadata,
    propagation: Propagation,
    formats: TraceFormats,
    context: &Outgoing<'_>,
) {
    metadata.retain(|entry| classify(entry).is_none());
    let mut write = writer(metadata, propagation);
    let (trace, span) = (context.trace_id, context.span_id);
    let sampled = context
        .sampled
        .map(|sampled| if sampled { "1" } else { "0" });
    if formats.w3c {
        let mut traceparent = String::with_capacity(55);
        let flags = u8::from(context.sampled == Some(true)) | (u8::from(context.random) << 1);
        // Writing to a String cannot fail.
        let _ = write!(traceparent, "00-{trace}-{span}-{flags:02x}");
        write("traceparent", "TRACEPARENT", traceparent.into());
        if let Some(state) = context.tracestate {
            write("tracestate", "TRACESTATE", state.clone());
        }
    }
    if formats.b3 {
        let sampled = sampled
            .map(|sampled| format!("-{sampled}"))
            .unwrap_or_default();
        write("b3", "B3", format!("{trace}-{span}{sampled}").into());
    }
    if formats.b3multi {
        write("x-b3-traceid", "X_B3_TRACEID", trace.to_string().into());
        write("x-b3-spanid", "X_B3_SPANID", span.to_string().into());
        if let Some(sampled) = sampled {
            write("x-b3-sampled", "X_B3_SAMPLED", sampled.into());
        }
    }
    if let Some(baggage) = context.baggage {
        write("baggage", "BAGGAGE", baggage.clone());
    }
}

/// Writes a field as the next peer reads it, under its name in lower case, and in upper case where
/// that peer expects so.
fn writer(
    metadata: &mut Metadata,
    propagation: Propagation,
) -> impl FnMut(&'static str, &'static str, Bytes) {
    move |lower, upper, value| {
        let key = |name: &'static str| Bytes::from_static(name.as_bytes());
        match propagation {
            Propagation::Transit => metadata.push(Scope::Transit, key(lower), value),
            Propagation::Plain => {
                metadata.push(Scope::Plain, key(lower), value.clone());
                metadata.push(Scope::Transit, key(upper), value);
            }
        }
    }
}

/// Writes a decision without ids in these forms of B3. W3C has none for it.
fn decide(metadata: &mut Metadata, propagation: Propagation, formats: TraceFormats, sampled: bool) {
    metadata.retain(|entry| {
        let key = classify(entry).map(|(_, key)| key);
        !matches!(key, Some(Key::B3 | Key::B3Sampled | Key::B3Flags))
    });
    let mut write = writer(metadata, propagation);
    let sampled = Bytes::from_static(if sampled { b"1" } else { b"0" });
    if formats.b3 {
        write("b3", "B3", sampled.clone());
    }
    if formats.b3multi {
        write("x-b3-sampled", "X_B3_SAMPLED", sampled);
    }
}

/// Gives the callee the caller's own context in these forms. For a hop that makes no spans.
pub(crate) fn convert(metadata: &mut Metadata, propagation: Propagation, formats: TraceFormats) {
    let Extracted {
        remote,
        sampled,
        baggage,
    } = extract(metadata);
    if remote.is_none()
        && let Some(sampled) = sampled
    {
        decide(metadata, propagation, formats, sampled);
    }
    if let Some(remote) = remote {
        let outgoing = Outgoing {
            trace_id: remote.trace_id,
            span_id: remote.span_id,
            sampled: remote.sampled,
            random: remote.random,
            tracestate: remote.tracestate.as_ref(),
            baggage: baggage.as_ref(),
        };
        inject(metadata, propagation, formats, &outgoing);
    }
}

#[cfg(test)]
mod tests;
