//! Why a stream or its connection failed, and HTTP/2's error codes.

use std::fmt;

use crate::net::violation::Violation;

/// Why a call on a stream failed. The stream was reset, its connection is closing or lost, or its
/// state does not allow the call.
///
/// The text is for people. The connection layer chooses the words, and may quote the peer's.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(pub(super) h2::Error);

impl Error {
    /// The code of the RST_STREAM that ended the stream, sent by either side; `None` for any other
    /// failure.
    #[inline]
    #[must_use]
    pub fn reset_code(&self) -> Option<ResetCode> {
        match self.0.reason() {
            Some(reason) if self.0.is_reset() => Some(ResetCode(reason.into())),
            Some(_) | None => None,
        }
    }

    /// Whether a GOAWAY ended the stream or kept it from being opened, sent by either side.
    #[inline]
    #[must_use]
    pub fn is_go_away(&self) -> bool {
        self.0.is_go_away()
    }

    /// Whether the peer sent the RST_STREAM or GOAWAY. False when this side did.
    #[inline]
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.0.is_remote()
    }

    /// Whether the transport below the connection failed.
    #[inline]
    #[must_use]
    pub fn is_io(&self) -> bool {
        self.0.is_io()
    }
}

/// A GOAWAY that the peer sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoAway {
    /// Its error code.
    pub code: ResetCode,
    /// What it says beside the code.
    pub text: String,
}

impl GoAway {
    /// The GOAWAY that ended a connection with `error`.
    pub(super) fn of(error: &h2::Error) -> Option<Self> {
        let code = error.reason()?;
        if !error.is_go_away() || !error.is_remote() {
            return None;
        }
        // `h2` shows the debug data, and gives no access to it.
        let shown = error.to_string();
        let text = shown.split_once("(b\"").map_or("", |(_, text)| text);
        Some(Self {
            code: ResetCode(code.into()),
            text: text.trim_end_matches("\")").to_owned(),
        })
    }
}

impl fmt::Display for GoAway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GOAWAY {}", self.code)?;
        if !self.text.is_empty() {
            write!(f, " ({})", self.text)?;
        }
        Ok(())
    }
}

/// An HTTP/2 error code, as in RST_STREAM (RFC 9113, section 7).
///
/// Every 32-bit number is valid: a peer may send one that the RFC does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetCode(pub u32);

impl ResetCode {
    /// No error. A server sends it after a complete response, when it does not need the rest of the
    /// request.
    pub const NO_ERROR: Self = Self(0x0);
    /// The peer broke the protocol in a way that has no code of its own.
    pub const PROTOCOL_ERROR: Self = Self(0x1);
    /// An internal error of the sender.
    pub const INTERNAL_ERROR: Self = Self(0x2);
    /// The peer sent more than its window allowed, or raised a window over 2^31-1.
    pub const FLOW_CONTROL_ERROR: Self = Self(0x3);
    /// The peer did not acknowledge SETTINGS in time.
    pub const SETTINGS_TIMEOUT: Self = Self(0x4);
    /// The peer sent a frame on a stream that it had closed.
    pub const STREAM_CLOSED: Self = Self(0x5);
    /// A frame has a length that its type does not allow.
    pub const FRAME_SIZE_ERROR: Self = Self(0x6);
    /// The server did not look at the request. After no other code is a retry always safe.
    pub const REFUSED_STREAM: Self = Self(0x7);
    /// The sender does not need the stream any more.
    pub const CANCEL: Self = Self(0x8);
    /// The state of header compression (HPACK) is lost, and the connection with it.
    pub const COMPRESSION_ERROR: Self = Self(0x9);
    /// The TCP connection of a CONNECT tunnel failed.
    pub const CONNECT_ERROR: Self = Self(0xa);
    /// The sender suspects the peer of too much load.
    pub const ENHANCE_YOUR_CALM: Self = Self(0xb);
    /// The connection's TLS is too weak (RFC 9113, section 9.2).
    pub const INADEQUATE_SECURITY: Self = Self(0xc);
    /// The server wants HTTP/1.1.
    pub const HTTP_1_1_REQUIRED: Self = Self(0xd);
}

impl ResetCode {
    /// The kind of violation under which a peer is counted that received this code.
    #[must_use]
    pub const fn violation(self) -> Violation {
        match self {
            Self::FLOW_CONTROL_ERROR => Violation::FLOW_CONTROL,
            Self::FRAME_SIZE_ERROR => Violation::FRAME_SIZE,
            Self::COMPRESSION_ERROR => Violation::COMPRESSION,
            Self::ENHANCE_YOUR_CALM => Violation::FLOOD,
            Self(_) => Violation::PROTOCOL,
        }
    }
}

/// The RFC's name; a code without one is shown as its number.
impl fmt::Display for ResetCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::NO_ERROR => "NO_ERROR",
            Self::PROTOCOL_ERROR => "PROTOCOL_ERROR",
            Self::INTERNAL_ERROR => "INTERNAL_ERROR",
            Self::FLOW_CONTROL_ERROR => "FLOW_CONTROL_ERROR",
            Self::SETTINGS_TIMEOUT => "SETTINGS_TIMEOUT",
            Self::STREAM_CLOSED => "STREAM_CLOSED",
            Self::FRAME_SIZE_ERROR => "FRAME_SIZE_ERROR",
            Self::REFUSED_STREAM => "REFUSED_STREAM",
            Self::CANCEL => "CANCEL",
            Self::COMPRESSION_ERROR => "COMPRESSION_ERROR",
            Self::CONNECT_ERROR => "CONNECT_ERROR",
            Self::ENHANCE_YOUR_CALM => "ENHANCE_YOUR_CALM",
            Self::INADEQUATE_SECURITY => "INADEQUATE_SECURITY",
            Self::HTTP_1_1_REQUIRED => "HTTP_1_1_REQUIRED",
            Self(other) => return write!(f, "{other}"),
        })
    }
}
