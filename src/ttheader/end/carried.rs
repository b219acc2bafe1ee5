//! The `ripcord-*` strings of a Trailer or Rst: what the frame alone cannot say.
//!
//! Written for another ripcord behind this connection; read with suspicion, since anyone can
//! write them. Keys and rules: `ttheader/keys.rs`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;

use super::{Terminal, status_exception, status_prefix};
use crate::stream::{
    Business, Cancel, Class, Code, End, Exception, Failure, HopEnd, HopKind, How, Processed,
    Reason, Status, UNKNOWN_METHOD, code,
};
use crate::ttheader::header::Info;
use crate::ttheader::{keys, metadata};

/// The most bytes that a terminal's strings take: a TTHeader block holds 262,140 bytes.
const MAX_STRINGS: usize = 192 * 1024;

/// What the strings claim.
pub(super) struct Carried {
    status: Option<u32>,
    details: Option<Bytes>,
    end: Option<HopKind>,
    /// Whether the callee may have processed the call. Nothing native beside it can contradict.
    pub(super) processed: Option<Processed>,
}

impl Carried {
    pub(super) fn read(info: &Info) -> Self {
        let text = |key| std::str::from_utf8(info.string(key)?).ok();
        Self {
            status: text(keys::CARRIED_STATUS)
                .and_then(|n| n.parse().ok())
                .filter(|n| (1..=Status::MAX_CODE).contains(n)),
            details: info
                .string(keys::CARRIED_DETAILS)
                .and_then(|raw| STANDARD_NO_PAD.decode(raw).ok())
                .map(Bytes::from),
            end: text(keys::CARRIED_END).and_then(HopKind::from_name),
            processed: text(keys::CARRIED_PROCESSED).and_then(Processed::from_name),
        }
    }

    /// The status that the callee's side of a business error had on gRPC.
    pub(super) fn business(&self, mut found: Business) -> Business {
        found.status = self.status.map(|code| Status {
            code,
            message: found.text.clone(),
            details: self.details.clone(),
        });
        found
    }

    /// What an exception was before it became one.
    pub(super) fn exception(&self, exception: Exception) -> (Reason, Processed) {
        if let Some(kind) = self.end
            && kind.before_backend()
            && kind.code() == exception.type_id
            && let Some(text) = exception.text.strip_prefix(&status_prefix(kind.status()))
        {
            let hop = HopEnd {
                kind,
                text: text.to_owned(),
            };
            return (Reason::Hop(hop), Processed::No);
        }
        if let Some(code) = self.status
            && let Some(message) = exception
                .text
                .strip_prefix(&status_prefix(Code::from_number(code)))
        {
            let status = Status {
                code,
                message: message.to_owned(),
                details: self.details.clone(),
            };
            let cancelled = Code::from_number(code) == Code::Cancelled;
            if status_exception(&status).0 == exception.type_id
                && (!cancelled || message.starts_with(UNKNOWN_METHOD))
            {
                return (Reason::Failed(Failure::Status(status)), Processed::Yes);
            }
        }
        (
            Reason::Failed(Failure::Exception(exception)),
            Processed::Yes,
        )
    }

    /// A gRPC callee's CANCELLED, or the status of another ripcord's own end.
    pub(super) fn cancel(&self, mut cancel: Cancel) -> Cancel {
        let Some(code) = self.status else {
            return cancel;
        };
        if Code::from_number(code) == Code::Cancelled && cancel.cause.code == code::FOREIGN {
            cancel.how = How::Status;
            cancel.class = Class::Foreign;
            cancel.status = Some(Box::new(Status {
                code,
                message: cancel.cause.text.clone(),
                details: self.details.clone(),
            }));
        } else {
            cancel.status = HopKind::status_of_pair(cancel.cause.code, code).map(Box::new);
        }
        cancel
    }
}

/// Adds what the frame of `end` does not say; `exact` if that is not its trailers.
pub(super) fn write(end: &End, node: &str, exact: bool, out: &mut Terminal) {
    let mut usual = Processed::Yes;
    match &end.reason {
        Reason::Complete | Reason::Failed(Failure::Exception(_)) => {}
        Reason::Failed(Failure::Status(status)) => write_status(status, out),
        Reason::Failed(Failure::Business(found)) => {
            if let Some(status) = &found.status {
                write_status(status, out);
            }
        }
        Reason::Canceled(cancel) => {
            usual = Processed::Maybe;
            write_cancel(cancel, out);
        }
        Reason::Hop(hop) if hop.kind.before_backend() => {
            usual = Processed::No;
            metadata::push(&mut out.strings, keys::CARRIED_END, hop.kind.name());
        }
        Reason::Hop(hop) => {
            usual = Processed::Maybe;
            write_cancel(&hop.as_cancel(node), out);
        }
    }
    if end.processed != usual {
        metadata::push(
            &mut out.strings,
            keys::CARRIED_PROCESSED,
            end.processed.name(),
        );
    }
    if !exact && let Some(pack) = metadata::pack(&end.trailers) {
        metadata::push(&mut out.strings, keys::CARRIED_META, &pack);
    }
}

fn write_cancel(cancel: &Cancel, out: &mut Terminal) {
    if let Some(status) = &cancel.status {
        write_status(status, out);
    }
}

fn write_status(status: &Status, out: &mut Terminal) {
    metadata::push(
        &mut out.strings,
        keys::CARRIED_STATUS,
        &status.code.to_string(),
    );
    if let Some(details) = &status.details {
        let details = STANDARD_NO_PAD.encode(details);
        if details.len() <= metadata::MAX_VALUE {
            metadata::push(&mut out.strings, keys::CARRIED_DETAILS, &details);
        } else {
            metadata::push(&mut out.strings, keys::CUT, "details");
        }
    }
}

/// Cuts strings down to [`MAX_STRINGS`]: the carried pack first, then the details, then whatever
/// stands last.
pub(super) fn bound(strings: &mut Vec<(Bytes, Bytes)>, mark: bool) {
    let mut total: usize = strings.iter().map(|(k, v)| k.len() + v.len() + 4).sum();
    if total <= MAX_STRINGS {
        return;
    }
    let mut without = |gone: (Bytes, Bytes)| {
        total -= gone.0.len() + gone.1.len() + 4;
        total <= MAX_STRINGS
    };
    let mut fits = false;
    for key in [keys::CARRIED_META, keys::CARRIED_DETAILS] {
        let at = strings.iter().position(|(k, _)| k == key.as_bytes());
        if let Some(at) = at.filter(|_| !fits) {
            fits = without(strings.remove(at));
        }
    }
    while !fits {
        let Some(last) = strings.pop() else { break };
        fits = without(last);
    }
    if mark {
        metadata::push(strings, keys::CUT, "strings");
    }
}
