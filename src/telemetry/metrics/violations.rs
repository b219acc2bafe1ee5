//! What peers did that their protocol forbids, or that looks like an attack: counted by side, wire
//! and kind, each from a closed set. What a TTHeader connection counts is its own
//! (`ripcord_ttheader_events_total`); what only one stream did is that stream's end.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Side;
use crate::telemetry::Wire;

/// A kind of violation, as `/metrics` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Violation {
    /// HTTP/1 on a port that speaks HTTP/2 and TTHeader.
    Http1,
    /// TLS on a port without it.
    Tls,
    /// First bytes of no known protocol.
    Foreign,
    /// Closed before its first bytes told the protocol.
    Truncated,
    /// A protocol that the listener does not serve.
    OtherWire,
    /// The handshake was not over in time.
    HandshakeTimeout,
    /// A request that is not gRPC: method, content type, `te`, path, timeout.
    NotGrpc,
    /// HTTP/2 PROTOCOL_ERROR, and any other error code that has no kind of its own.
    Protocol,
    /// HTTP/2 FLOW_CONTROL_ERROR.
    FlowControl,
    /// HTTP/2 FRAME_SIZE_ERROR.
    FrameSize,
    /// HTTP/2 COMPRESSION_ERROR.
    Compression,
    /// HTTP/2 ENHANCE_YOUR_CALM: rapid resets, CONTINUATION frames without end.
    Flood,
    /// A PING was not answered.
    Keepalive,
    /// It did not read while a cancel or an end waited.
    Unread,
}

use Violation::{
    Compression, Flood, FlowControl, Foreign, FrameSize, HandshakeTimeout, Http1, Keepalive,
    NotGrpc, OtherWire, Protocol, Tls, Truncated, Unread,
};

impl Violation {
    /// The kind of an HTTP/2 error code (RFC 9113, 7).
    #[must_use]
    pub const fn of_http2(code: u32) -> Self {
        match code {
            0x3 => FlowControl,
            0x6 => FrameSize,
            0x9 => Compression,
            0xb => Flood,
            _ => Protocol,
        }
    }
}

/// Every kind and its label, with the places where it can happen.
const KINDS: [(Violation, &str, &[Place]); 14] = [
    (Http1, "http1", &[UNTOLD]),
    (Tls, "tls", &[UNTOLD]),
    (Foreign, "foreign", &[UNTOLD]),
    (Truncated, "truncated", &[UNTOLD]),
    (OtherWire, "other_wire", &[UNTOLD]),
    (HandshakeTimeout, "handshake_timeout", &[UNTOLD, CALLER]),
    (NotGrpc, "not_grpc", &[CALLER]),
    (Protocol, "protocol", &[CALLER, CALLEE]),
    (FlowControl, "flow_control", &[CALLER, CALLEE]),
    (FrameSize, "frame_size", &[CALLER, CALLEE]),
    (Compression, "compression", &[CALLER, CALLEE]),
    (Flood, "flood", &[CALLER, CALLEE]),
    (Keepalive, "keepalive", &[CALLER, CALLEE]),
    (Unread, "unread", &[CALLER, CALLEE]),
];

/// A side and a wire; `None` before the first bytes have told it.
type Place = (Side, Option<Wire>);

const UNTOLD: Place = (Side::Inbound, None);
const CALLER: Place = (Side::Inbound, Some(Wire::Grpc));
const CALLEE: Place = (Side::Outbound, Some(Wire::Grpc));

/// One counter for each kind and place.
#[derive(Debug, Default)]
pub(super) struct Violations([[AtomicU64; 3]; KINDS.len()]);

const fn column(place: Place) -> usize {
    match place {
        (_, None) => 0,
        (Side::Inbound, Some(_)) => 1,
        (Side::Outbound, Some(_)) => 2,
    }
}

impl Violations {
    pub(super) fn count(&self, side: Side, wire: Option<Wire>, kind: Violation) {
        let row = KINDS.iter().position(|(known, _, _)| *known == kind);
        let row = row.and_then(|at| self.0.get(at));
        if let Some(counter) = row.and_then(|row| row.get(column((side, wire)))) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// Labels (side, wire, kind) and value of each.
    pub(super) fn read(&self) -> impl Iterator<Item = ([&'static str; 3], u64)> {
        KINDS
            .iter()
            .zip(&self.0)
            .flat_map(|((_, kind, places), row)| {
                places.iter().map(move |place| {
                    let wire = place.1.map_or("none", Wire::name);
                    let value = row.get(column(*place)).map_or(0, |c| c.load(Relaxed));
                    ([place.0.name(), wire, *kind], value)
                })
            })
    }
}
