//! Why a connection is over, in words for an operator: who did what, and which setting decides it.

use crate::net::connection::ConnectionEnd;
use crate::net::violation::Violation;

use super::{Control, ResetCode, words};

/// Explains the errors of one connection.
pub(super) struct Over {
    control: Control,
    /// Who the peer is, as the text calls it.
    peer: &'static str,
    max_resets: usize,
}

impl Over {
    /// The peer is a caller, with at most so many streams that were reset too early.
    pub(super) fn of_caller(control: &Control, max_resets: usize) -> Self {
        Self {
            control: control.clone(),
            peer: "caller",
            max_resets,
        }
    }

    /// The peer is a callee.
    pub(super) fn of_callee(control: &Control) -> Self {
        Self {
            control: control.clone(),
            peer: "callee",
            max_resets: usize::MAX,
        }
    }

    /// Why a connection with this error is over. A GOAWAY with a reason says more than the loss of
    /// the connection that follows it.
    pub(super) fn failed(&self, error: &h2::Error) -> ConnectionEnd {
        if let Some(reason) = error.reason()
            && error.is_library()
        {
            let (kind, text) = self.violation(ResetCode(reason.into()));
            return ConnectionEnd::Violation(kind, text);
        }
        let goaway = self.control.go_away();
        if let Some(goaway) = goaway.filter(|goaway| goaway.code != ResetCode::NO_ERROR) {
            return ConnectionEnd::SentAway(format!("the {} sent {goaway}", self.peer));
        }
        ConnectionEnd::Failed(words::of(error, &format!("the {}", self.peer)))
    }

    /// What the peer did. `h2` (0.4.20) names some reasons in its GOAWAY, and nowhere else.
    fn violation(&self, code: ResetCode) -> (Violation, String) {
        let said = self.control.0.tail.get();
        let said = String::from_utf8_lossy(&said);
        let Self {
            peer, max_resets, ..
        } = self;
        if code == ResetCode::PROTOCOL_ERROR
            && let Some((stream, what)) = self.control.malformed()
        {
            let text = format!("the {peer} sent a malformed field on stream {stream}: {what}");
            return (Violation::MALFORMED_FIELD, text);
        }
        let (kind, what) = if said.ends_with("too_many_resets") {
            let what = format!(
                "reset more than {max_resets} streams before they were looked at (limits.max_resets)"
            );
            (Violation::RESETS, what)
        } else if said.ends_with("too_many_internal_resets") {
            let what = "sent too many frames that are errors of their streams";
            (Violation::FLOOD, what.to_owned())
        } else if said.ends_with("too_many_data_frames") {
            // Of small ones that are not empty, any number may come (`SMALL_FRAMES`).
            let what = "sent its 101st empty DATA frame that does not end a stream";
            (Violation::EMPTY_FRAMES, what.to_owned())
        } else if said.ends_with("too_many_continuations") {
            let what = "sent a header block in too many frames";
            (Violation::FLOOD, what.to_owned())
        } else if said.ends_with("header_list_way_too_large") {
            (
                Violation::FLOOD,
                "sent far too large a header block".to_owned(),
            )
        } else {
            (code.violation(), format!("broke HTTP/2 ({code})"))
        };
        (kind, format!("the {peer} {what}"))
    }
}
