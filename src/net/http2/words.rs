//! What an error of the connection layer means, in plain words: who did what. `h2`'s own texts do
//! not leave this folder.

use crate::net::words;

use super::error::ResetCode;

/// The longest debug data of a peer's GOAWAY that is shown, in bytes.
const MAX_DEBUG: usize = 80;

/// Who sent a RST_STREAM or a GOAWAY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Peer,
    /// This side, for what the peer did.
    Layer,
    /// This side, because a stream or a drain asked for it.
    Us,
}

/// What is known of an error.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fault {
    Reset(ResetCode, By),
    /// With the debug data, if it is short and printable.
    GoAway(ResetCode, By, Option<String>),
    Code(ResetCode),
    /// The connection has no stream ids left.
    NoIds,
    /// The connection opens no more streams.
    Closing,
    /// What was to be written is no valid HTTP/2.
    Unwritable,
    /// The stream's state does not allow the call.
    Over,
}

/// The error as a sentence about `peer` (`the callee`), without a full stop.
pub(super) fn of(error: &h2::Error, peer: &str) -> String {
    match error.get_io() {
        Some(error) => words::failed(error, peer),
        None => sentence(&fault(error), peer),
    }
}

fn fault(error: &h2::Error) -> Fault {
    let by = match (error.is_remote(), error.is_library()) {
        (true, _) => By::Peer,
        (false, true) => By::Layer,
        (false, false) => By::Us,
    };
    match error.reason().map(|reason| ResetCode(reason.into())) {
        Some(code) if error.is_reset() => Fault::Reset(code, by),
        Some(code) if error.is_go_away() => Fault::GoAway(code, by, debug_data(error)),
        Some(code) => Fault::Code(code),
        None => match error.to_string().as_str() {
            "user error: stream ID overflowed" => Fault::NoIds,
            "user error: rejected" => Fault::Closing,
            "user error: malformed headers"
            | "user error: payload too big"
            | "user error: request URI missing scheme and authority" => Fault::Unwritable,
            _ => Fault::Over,
        },
    }
}

/// The debug data of a GOAWAY, if it is short and printable. Only the error's text has it, at its
/// end: `connection error received: ... (b"too_many_pings")`.
fn debug_data(error: &h2::Error) -> Option<String> {
    let text = error.to_string();
    let data = text.split_once(" (b\"")?.1.strip_suffix("\")")?;
    let plain = |b: u8| (b' '..=b'~').contains(&b) && b != b'\\';
    (data.len() <= MAX_DEBUG && data.bytes().all(plain)).then(|| data.to_owned())
}

fn sentence(fault: &Fault, peer: &str) -> String {
    match fault {
        Fault::Reset(code, By::Peer) => format!("{peer} reset the stream ({})", named(*code)),
        Fault::Reset(code, By::Layer) => {
            let or_long = match *code {
                ResetCode::PROTOCOL_ERROR => ", or too long headers",
                _ => "",
            };
            format!(
                "{peer} {}{or_long}, and ripcord reset the stream",
                broke(*code)
            )
        }
        Fault::Reset(code, By::Us) => format!("ripcord reset the stream ({})", named(*code)),
        Fault::GoAway(code, By::Peer, debug) => {
            let said = goaway(*code, debug.as_deref().unwrap_or_default());
            format!("{peer} sent {said}")
        }
        Fault::GoAway(code, By::Layer, debug) => {
            let what = match debug.as_deref() {
                Some("too_many_resets") => "reset too many streams".to_owned(),
                Some("too_many_internal_resets") => "sent too much that had to be reset".to_owned(),
                Some("header_list_way_too_large") => "sent far too long headers".to_owned(),
                Some("too_many_continuations") => "sent headers in too many pieces".to_owned(),
                Some("too_many_data_frames") => "sent too many small frames".to_owned(),
                Some(_) | None => broke(*code),
            };
            format!("{peer} {what}, and ripcord closed the connection")
        }
        Fault::GoAway(code, By::Us, _) => {
            format!("ripcord closed the connection to {peer} ({})", named(*code))
        }
        Fault::Code(code) => format!("the connection to {peer} failed ({})", named(*code)),
        Fault::NoIds => format!("the connection to {peer} has no stream ids left"),
        Fault::Closing => format!("the connection to {peer} opens no more streams"),
        Fault::Unwritable => "HTTP/2 has no form for it".to_owned(),
        Fault::Over => format!("the stream to {peer} is over"),
    }
}

/// A GOAWAY of the peer, with its text.
pub(super) fn goaway(code: ResetCode, text: &str) -> String {
    let why = match text {
        "" => String::new(),
        "too_many_pings" => ": too many pings".to_owned(),
        other => format!(": {other}"),
    };
    format!("GOAWAY {}{why}", named(code))
}

/// What a peer did that this side answers with the code.
fn broke(code: ResetCode) -> String {
    match code {
        ResetCode::FLOW_CONTROL_ERROR => "sent more than its window allows".to_owned(),
        ResetCode::FRAME_SIZE_ERROR => "sent a frame of a wrong length".to_owned(),
        ResetCode::STREAM_CLOSED => "sent a frame on a stream that it had closed".to_owned(),
        ResetCode::REFUSED_STREAM => "opened more streams than it may".to_owned(),
        ResetCode::COMPRESSION_ERROR => "sent headers that cannot be read".to_owned(),
        ResetCode::PROTOCOL_ERROR => "sent what HTTP/2 forbids".to_owned(),
        other => format!("broke HTTP/2 ({})", named(other)),
    }
}

/// The code's name, or its number with a word before it.
fn named(code: ResetCode) -> String {
    let name = code.to_string();
    match name.parse::<u32>() {
        Ok(number) => format!("HTTP/2 error code {number}"),
        Err(_) => name,
    }
}

#[cfg(test)]
mod tests;
