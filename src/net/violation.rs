//! What a peer did that its protocol forbids, or that looks like an attack: a label from a closed
//! set. The kinds that more than one wire has, and those of a connection whose wire is not known
//! yet, stand here; a wire adds its own.

/// A kind of violation, as `/metrics` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Violation(&'static str);

impl Violation {
    /// HTTP/1 on a port without it.
    pub const HTTP1: Self = Self("http1");
    /// TLS on a port without it.
    pub const TLS: Self = Self("tls");
    /// First bytes of no known protocol.
    pub const FOREIGN: Self = Self("foreign");
    /// Closed before its first bytes told the protocol.
    pub const TRUNCATED: Self = Self("truncated");
    /// A wire that the listener does not serve.
    pub const OTHER_WIRE: Self = Self("other_wire");
    /// The handshake was not over in time.
    pub const HANDSHAKE_TIMEOUT: Self = Self("handshake_timeout");
    /// HTTP/2 PROTOCOL_ERROR, and any other error code that has no kind of its own.
    pub const PROTOCOL: Self = Self("protocol");
    /// HTTP/2 FLOW_CONTROL_ERROR.
    pub const FLOW_CONTROL: Self = Self("flow_control");
    /// HTTP/2 FRAME_SIZE_ERROR.
    pub const FRAME_SIZE: Self = Self("frame_size");
    /// HTTP/2 COMPRESSION_ERROR.
    pub const COMPRESSION: Self = Self("compression");
    /// HTTP/2 ENHANCE_YOUR_CALM: rapid resets, CONTINUATION frames without end.
    pub const FLOOD: Self = Self("flood");
    /// A PING was not answered.
    pub const KEEPALIVE: Self = Self("keepalive");
    /// It did not read while a cancel or an end waited.
    pub const UNREAD: Self = Self("unread");

    /// What can happen before a connection's wire is known.
    pub const BEFORE_DETECTION: [Self; 6] = [
        Self::HTTP1,
        Self::TLS,
        Self::FOREIGN,
        Self::TRUNCATED,
        Self::OTHER_WIRE,
        Self::HANDSHAKE_TIMEOUT,
    ];

    /// A wire's own kind. `name` is its label: lower case.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// Its label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0
    }

    /// The kind of an HTTP/2 error code (RFC 9113, 7).
    #[must_use]
    pub const fn of_http2(code: u32) -> Self {
        match code {
            0x3 => Self::FLOW_CONTROL,
            0x6 => Self::FRAME_SIZE,
            0x9 => Self::COMPRESSION,
            0xb => Self::FLOOD,
            _ => Self::PROTOCOL,
        }
    }
}
