//! Violations: what a peer did that its protocol forbids, or that looks like an attack. Each kind
//! is a label of a closed set. Here are the kinds that several wires have, and those of a
//! connection whose wire is not known yet. A wire adds its own.

/// A kind of violation; its name is a label in `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Violation(&'static str);

impl Violation {
    /// HTTP/1 on a port that does not serve it.
    pub const HTTP1: Self = Self("http1");
    /// TLS on a port that does not serve it.
    pub const TLS: Self = Self("tls");
    /// First bytes of no known protocol.
    pub const FOREIGN: Self = Self("foreign");
    /// The connection closed before its first bytes showed the protocol.
    pub const TRUNCATED: Self = Self("truncated");
    /// Another wire than the listener serves, or than the backend is configured for.
    pub const OTHER_WIRE: Self = Self("other_wire");
    /// The handshake was not finished in time.
    pub const HANDSHAKE_TIMEOUT: Self = Self("handshake_timeout");
    /// The protocol was broken in a way that has no kind of its own.
    pub const PROTOCOL: Self = Self("protocol");
    /// A request that the HTTP/2 layer refused, and nothing else saw.
    pub const MALFORMED_REQUEST: Self = Self("malformed_request");
    /// The peer sent more than it was allowed to.
    pub const FLOW_CONTROL: Self = Self("flow_control");
    /// A frame with a wrong length.
    pub const FRAME_SIZE: Self = Self("frame_size");
    /// Compressed headers that cannot be decompressed.
    pub const COMPRESSION: Self = Self("compression");
    /// Too many frames that cost this side work: frames that are errors of their streams,
    /// CONTINUATION frames without end.
    pub const FLOOD: Self = Self("flood");
    /// A field with a forbidden character.
    pub const MALFORMED_FIELD: Self = Self("malformed_field");
    /// More streams were reset before this side had looked at them than the limit allows.
    pub const RESETS: Self = Self("resets");
    /// Too many frames that carry nothing and end nothing.
    pub const EMPTY_FRAMES: Self = Self("empty_frames");
    /// A PING was not answered.
    pub const KEEPALIVE: Self = Self("keepalive");
    /// The peer did not read while a cancel or an end waited.
    pub const UNREAD: Self = Self("unread");

    /// The kinds before a connection's wire is known.
    pub const BEFORE_DETECTION: [Self; 6] = [
        Self::HTTP1,
        Self::TLS,
        Self::FOREIGN,
        Self::TRUNCATED,
        Self::OTHER_WIRE,
        Self::HANDSHAKE_TIMEOUT,
    ];

    /// The kinds for a callee that speaks another protocol, whatever it was dialed for.
    pub const ANSWERED: [Self; 3] = [Self::HTTP1, Self::TLS, Self::OTHER_WIRE];

    /// A kind that one wire adds. `name` is its label, in lower case.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// Its label in `/metrics`, in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0
    }
}
