//! Reads the ids in the texts of W3C Trace Context, B3 and ot-tracer.

use opentelemetry::trace::{SpanId, TraceId};

use super::Remote;

/// `00-<32 hex>-<16 hex>-<2 hex>`; a later version may be longer.
pub(super) fn parse_traceparent(text: &str) -> Option<Remote> {
    let mut parts = text.trim_matches([' ', '\t']).split('-');
    let (version, trace_id, span_id, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let version = lower_hex(version, 2)?;
    if version == 0xff || (version == 0 && parts.next().is_some()) {
        return None;
    }
    let flags = lower_hex(flags, 2)?;
    Some(Remote {
        trace_id: nonzero_trace(lower_hex(trace_id, 32)?)?,
        span_id: nonzero_span(lower_hex(span_id, 16)?)?,
        sampled: Some(flags & 1 == 1),
        random: flags & 2 == 2,
        tracestate: None,
    })
}

pub(super) fn lower_hex(text: &str, len: usize) -> Option<u128> {
    let legal = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != len || !text.bytes().all(legal) {
        return None;
    }
    u128::from_str_radix(text, 16).ok()
}

/// B3 and ot-tracer ids: 16 or 32 hex digits (a span id 16), of either case.
pub(super) fn any_hex(text: &str, max: usize) -> Option<u128> {
    if (text.len() != 16 && text.len() != max) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(text, 16).ok()
}

pub(super) fn nonzero_trace(id: u128) -> Option<TraceId> {
    (id != 0).then(|| TraceId::from(id))
}

pub(super) fn nonzero_span(id: u128) -> Option<SpanId> {
    u64::try_from(id)
        .ok()
        .filter(|id| *id != 0)
        .map(SpanId::from)
}

/// `trace-span[-sampled[-parent]]`.
pub(super) fn parse_b3_single(text: &str) -> Option<Remote> {
    let mut parts = text.split('-');
    Some(Remote {
        trace_id: nonzero_trace(any_hex(parts.next()?, 32)?)?,
        span_id: nonzero_span(any_hex(parts.next()?, 16)?)?,
        sampled: match parts.next() {
            None => None,
            Some(sampled) => Some(parse_sampled(sampled)?),
        },
        random: false,
        tracestate: None,
    })
}

pub(super) fn parse_sampled(text: &str) -> Option<bool> {
    match text {
        "1" | "d" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}
