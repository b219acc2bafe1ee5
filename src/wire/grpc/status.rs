//! Status codes, texts, details, deadlines: the values of gRPC's own headers.
//!
//! The sources are PROTOCOL-HTTP2.md, statuscodes.md, http-grpc-status-mapping.md and
//! `google/rpc/{status,error_details}.proto`.

use std::time::Duration;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose::STANDARD_NO_PAD};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, percent_encode};

pub use crate::net::http2::ResetCode;
pub use crate::stream::Code;

mod details;
pub use details::{
    BadField, ErrorInfo, decode_details, details_agree, encode_details, encode_details_with,
};

/// Kitex's private error code for graceful shutdown.
pub const KITEX_GRACEFUL: ResetCode = ResetCode(1000);

/// The characters to escape: everything outside 0x20-0x7E, and `%`.
const MESSAGE: &AsciiSet = &CONTROLS.add(b'%');

/// Base64 as peers write it: padded or not, with trailing bits or without.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Percent-encodes a `grpc-message`. Spaces at either end are encoded too, since HTTP strips them.
#[must_use]
pub fn encode_message(text: &str) -> String {
    let inner = text.trim_matches(' ');
    let mut out = String::with_capacity(text.len());
    if inner.is_empty() {
        return "%20".repeat(text.len());
    }
    let before = text.len() - text.trim_start_matches(' ').len();
    let after = text.len() - text.trim_end_matches(' ').len();
    out.push_str(&"%20".repeat(before));
    out.extend(percent_encode(inner.as_bytes(), MESSAGE));
    out.push_str(&"%20".repeat(after));
    out
}

/// Percent-decodes a `grpc-message`. It never fails: a `%` that begins no escape stays, and bytes
/// that are no UTF-8 are replaced.
#[must_use]
pub fn decode_message(raw: &[u8]) -> String {
    percent_decode(raw).decode_utf8_lossy().into_owned()
}

/// Decodes one `-bin` value.
#[must_use]
pub fn decode_bin(raw: &[u8]) -> Option<Vec<u8>> {
    LENIENT.decode(raw).ok()
}

/// Encodes a `-bin` value, unpadded.
#[must_use]
pub fn encode_bin(raw: &[u8]) -> String {
    STANDARD_NO_PAD.encode(raw)
}

/// The status of a response that has none of its own (http-grpc-status-mapping.md). For 200 it is
/// `None`: a missing status is then UNKNOWN.
#[must_use]
pub const fn of_http(status: u16) -> Code {
    match status {
        400 | 431 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502 | 503 | 504 => Code::Unavailable,
        _ => Code::Unknown,
    }
}

/// The status that a RST_STREAM stands for (PROTOCOL-HTTP2.md, "Errors").
#[must_use]
pub const fn of_reset(code: ResetCode) -> Code {
    match code {
        ResetCode::CANCEL => Code::Cancelled,
        ResetCode::REFUSED_STREAM | KITEX_GRACEFUL => Code::Unavailable,
        ResetCode::ENHANCE_YOUR_CALM => Code::ResourceExhausted,
        ResetCode::INADEQUATE_SECURITY => Code::PermissionDenied,
        _ => Code::Internal,
    }
}

/// The RST_STREAM code for a status, when trailers cannot be written any more. UNAVAILABLE does not
/// become REFUSED_STREAM here, since something was processed.
#[must_use]
pub const fn to_reset(code: Code) -> ResetCode {
    match code {
        Code::Cancelled | Code::DeadlineExceeded => ResetCode::CANCEL,
        Code::ResourceExhausted => ResetCode::ENHANCE_YOUR_CALM,
        Code::PermissionDenied => ResetCode::INADEQUATE_SECURITY,
        Code::Ok
        | Code::Unknown
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated
        | Code::Other(_) => ResetCode::INTERNAL_ERROR,
    }
}

/// The name of an HTTP/2 error code, Kitex's own included. A code without a name is shown as its
/// number.
#[must_use]
pub fn reset_name(code: ResetCode) -> String {
    match code {
        KITEX_GRACEFUL => "KITEX_GRACEFUL_SHUTDOWN".to_owned(),
        other => other.to_string(),
    }
}

/// Reads a `grpc-timeout`: one to eight digits and a unit.
#[must_use]
pub fn parse_timeout(raw: &[u8]) -> Option<Duration> {
    let (unit, digits) = raw.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let n: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(n * 3600),
        b'M' => Duration::from_secs(n * 60),
        b'S' => Duration::from_secs(n),
        b'm' => Duration::from_millis(n),
        b'u' => Duration::from_micros(n),
        b'n' => Duration::from_nanos(n),
        _ => return None,
    })
}

/// Writes a `grpc-timeout` in the finest unit that eight digits can hold, rounded up, and never 0.
#[must_use]
pub fn format_timeout(timeout: Duration) -> String {
    const MOST: u128 = 99_999_999;
    let nanos = timeout.as_nanos().max(1);
    for (unit, per) in [
        ('n', 1),
        ('u', 1_000),
        ('m', 1_000_000),
        ('S', 1_000_000_000),
        ('M', 60_000_000_000),
    ] {
        let n = nanos.div_ceil(per);
        if n <= MOST {
            return format!("{n}{unit}");
        }
    }
    format!("{}H", nanos.div_ceil(3_600_000_000_000).min(MOST))
}

#[cfg(test)]
mod tests;
