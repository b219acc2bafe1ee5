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

mod parse;

use std::fmt::Write as _;

use bytes::Bytes;
use opentelemetry::trace::{SpanId, TraceId};

use self::parse::{
    any_hex, nonzero_span, nonzero_trace, parse_b3_single, parse_sampled, parse_traceparent,
};
use crate::stream::{Entry, Metadata, Propagation, Scope};

/// The longest tracestate that is kept, in bytes. W3C allows dropping a longer one.
const MAX_TRACESTATE: usize = 512;
/// The longest baggage that is kept, in bytes: W3C Baggage's bound.
const MAX_BAGGAGE: usize = 8192;

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
        remote.tracestate = join(&found.tracestate, MAX_TRACESTATE);
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
    let baggage = join(&plain.baggage, MAX_BAGGAGE).or_else(|| join(&transit.baggage, MAX_BAGGAGE));
    Extracted {
        remote,
        sampled,
        baggage,
    }
}

/// Several headers of one name are one list. Over the bound the whole list is left out: half of it
/// would have another meaning.
fn join(values: &[&Bytes], max: usize) -> Option<Bytes> {
    let joined = match values {
        [] => return None,
        [one] => Bytes::clone(one),
        many => many
            .iter()
            .map(|v| v.as_ref())
            .collect::<Vec<_>>()
            .join(&b","[..])
            .into(),
    };
    let legal = |b: &u8| matches!(b, b'\t' | 0x20..=0x7e);
    (!joined.is_empty() && joined.len() <= max && joined.iter().all(legal)).then_some(joined)
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
    pub(crate) sampled: bool,
    pub(crate) random: bool,
    pub(crate) tracestate: Option<&'a Bytes>,
    pub(crate) baggage: Option<&'a Bytes>,
}

/// Removes every spelling of every key, and writes `context` as the next peer reads it.
pub(crate) fn inject(metadata: &mut Metadata, propagation: Propagation, context: &Outgoing<'_>) {
    metadata.retain(|entry| classify(entry).is_none());
    let mut traceparent = String::with_capacity(55);
    let flags = u8::from(context.sampled) | (u8::from(context.random) << 1);
    // Writing to a String cannot fail.
    let _ = write!(
        traceparent,
        "00-{}-{}-{flags:02x}",
        context.trace_id, context.span_id
    );
    let traceparent = Bytes::from(traceparent);
    let rest = [
        ("tracestate", "TRACESTATE", context.tracestate),
        ("baggage", "BAGGAGE", context.baggage),
    ];
    let all = std::iter::once(("traceparent", "TRACEPARENT", Some(&traceparent))).chain(rest);
    for (lower, upper, value) in all {
        let Some(value) = value else { continue };
        let (lower, upper) = (
            Bytes::from_static(lower.as_bytes()),
            Bytes::from_static(upper.as_bytes()),
        );
        match propagation {
            Propagation::Transit => metadata.push(Scope::Transit, lower, value.clone()),
            Propagation::Plain => {
                metadata.push(Scope::Plain, lower, value.clone());
                metadata.push(Scope::Transit, upper, value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests;
