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
    /// A wire that the listener does not serve, or that is not the backend's.
    pub const OTHER_WIRE: Self = Self("other_wire");
    /// The handshake was not over in time.
    pub const HANDSHAKE_TIMEOUT: Self = Self("handshake_timeout");
    /// Its protocol was broken in a way that has no kind of its own.
    pub const PROTOCOL: Self = Self("protocol");
    /// It sent more than it was allowed to.
    pub const FLOW_CONTROL: Self = Self("flow_control");
    /// A frame of a wrong length.
    pub const FRAME_SIZE: Self = Self("frame_size");
    /// Header compression that cannot be undone.
    pub const COMPRESSION: Self = Self("compression");
    /// Too much of what costs this side work: rapid resets, CONTINUATION frames without end.
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

    /// What a callee can answer that speaks another protocol, whatever it was dialed for.
    pub const ANSWERED: [Self; 3] = [Self::HTTP1, Self::TLS, Self::OTHER_WIRE];

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
}
