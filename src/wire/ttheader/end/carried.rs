//! The `ripcord-*` strings of a Trailer or Rst: what the frame alone cannot express.
//!
//! They are written for another ripcord behind this connection. They are read with suspicion, since
//! anyone can write them. Keys and rules: `wire/ttheader/keys.rs`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;

use super::{own_status_beside, status_exception, status_of_own, status_prefix};
use crate::stream::{
    Business, Cancel, CancelSignal, Class, Code, Cut, End, Entry, Exception, Failure, LocalEnd,
    LocalEndKind, Part, Processed, Reason, Status, UNKNOWN_METHOD, code,
};
use crate::wire::ttheader::header::{Info, MAX_BLOCK};
use crate::wire::ttheader::{keys, metadata};

/// The most bytes of a terminal frame's strings. A TTHeader block holds 262,140 bytes.
const MAX_STRINGS: usize = 192 * 1024;

/// The most bytes of a request's strings beside which a pack may stand. What is left of a frame's
/// block is for the int keys and ripcord's other strings.
const MAX_REQUEST: usize = MAX_BLOCK - 16 * 1024;

/// What the strings claim.
pub(super) struct Carried {
    status: Option<u32>,
    details: Option<Bytes>,
    end: Option<LocalEndKind>,
    /// Whether the callee may have processed the call. Nothing native beside it can contradict.
    pub(super) processed: Option<Processed>,
    /// What an earlier hop has cut.
    pub(super) cut: Cut,
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
            end: text(keys::CARRIED_END).and_then(LocalEndKind::from_name),
            processed: text(keys::CARRIED_PROCESSED).and_then(Processed::from_name),
            cut: metadata::cut_of(info),
        }
    }

    /// Adds the status that a business error had beside it on gRPC.
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
            && kind.cause() == exception.type_id
            && let Some(text) = exception
                .text
                .strip_prefix(&status_prefix(status_of_own(kind)))
        {
            let hop = LocalEnd::new(kind, text.to_owned());
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

    /// Adds the status of a gRPC callee's CANCELLED, or of another ripcord's local end.
    pub(super) fn cancel(&self, mut cancel: Cancel) -> Cancel {
        let Some(code) = self.status else {
            return cancel;
        };
        if Code::from_number(code) == Code::Cancelled && cancel.cause.code == code::FOREIGN {
            cancel.signal = CancelSignal::STATUS;
            cancel.class = Class::Foreign;
            cancel.status = Some(Box::new(Status {
                code,
                message: cancel.cause.text.clone(),
                details: self.details.clone(),
            }));
        } else {
            cancel.status = own_status(cancel.cause.code, code).map(Box::new);
        }
        cancel
    }
}

/// The status number `code` beside `cause`, if a local end of another hop has both.
fn own_status(cause: i32, code: u32) -> Option<Status> {
    LocalEndKind::ALL
        .into_iter()
        .filter(|kind| kind.cause() == cause)
        .find_map(|kind| own_status_beside(kind).filter(|status| status.code == code))
}

/// Adds what the frame of `end` cannot express. `changed`: which trailers it changes. What is too
/// long for a string is cut.
pub(super) fn write(
    end: &End,
    changed: metadata::Changed,
    cut: &mut Cut,
    out: &mut Vec<(Bytes, Bytes)>,
) {
    let mut usual = Processed::Yes;
    match &end.reason {
        Reason::Complete | Reason::Failed(Failure::Exception(_)) => {}
        Reason::Failed(Failure::Status(status)) => write_status(status, cut, out),
        Reason::Failed(Failure::Business(found)) => {
            if let Some(status) = &found.status {
                write_status(status, cut, out);
            }
        }
        Reason::Canceled(cancel) => {
            usual = Processed::Maybe;
            write_cancel(cancel, cut, out);
        }
        Reason::Hop(hop) if hop.kind.before_backend() => {
            usual = Processed::No;
            metadata::push(out, keys::CARRIED_END, hop.kind.name());
        }
        Reason::Hop(hop) => {
            usual = Processed::Maybe;
            if let Some(status) = own_status_beside(hop.kind) {
                write_status(&status, cut, out);
            }
        }
    }
    if end.processed != usual {
        metadata::push(out, keys::CARRIED_PROCESSED, end.processed.name());
    }
    let (pack, lost) = metadata::pack(&end.trailers, changed);
    if let Some(pack) = pack {
        metadata::push(out, keys::CARRIED_META, &pack);
    }
    if lost.is_empty() {
        return;
    }
    cut.insert(Part::Exact);
    let lost = |entry: &Entry| entry.value.len().max(entry.key.len()) > metadata::MAX_VALUE;
    if matches!(end.reason, Reason::Canceled(_) | Reason::Hop(_)) || end.trailers.iter().any(lost) {
        cut.insert(Part::Trailers);
    }
}

fn write_cancel(cancel: &Cancel, cut: &mut Cut, out: &mut Vec<(Bytes, Bytes)>) {
    if let Some(status) = &cancel.status {
        write_status(status, cut, out);
    }
}

fn write_status(status: &Status, cut: &mut Cut, out: &mut Vec<(Bytes, Bytes)>) {
    metadata::push(out, keys::CARRIED_STATUS, &status.code.to_string());
    if let Some(details) = &status.details {
        let details = STANDARD_NO_PAD.encode(details);
        if details.len() <= metadata::MAX_VALUE {
            metadata::push(out, keys::CARRIED_DETAILS, &details);
        } else {
            cut.insert(Part::Details);
        }
    }
}

/// Cuts strings down to [`MAX_STRINGS`], in the order of [`Part`]: the carried pack, trailers from
/// the last one, the details, the extra. The rest (code, text, path) then fits.
pub(super) fn bound(strings: &mut Vec<(Bytes, Bytes)>, cut: &mut Cut) {
    bound_as(Part::Trailers, strings, cut);
}

/// The same for the strings of a head.
pub(in crate::wire::ttheader) fn bound_head(strings: &mut Vec<(Bytes, Bytes)>, cut: &mut Cut) {
    bound_as(Part::Headers, strings, cut);
}

/// Removes the carried pack of a request's strings where a frame could not hold both.
pub(in crate::wire::ttheader) fn bound_request(strings: &mut Vec<(Bytes, Bytes)>, cut: &mut Cut) {
    let size = |(key, value): &(Bytes, Bytes)| key.len() + value.len() + 4;
    if strings.iter().map(size).sum::<usize>() > MAX_REQUEST
        && let Some(at) = (strings.iter()).position(|(key, _)| key == keys::CARRIED_META.as_bytes())
    {
        strings.remove(at);
        cut.insert(Part::Exact);
    }
}

/// `entries`: what the entries of the application are.
fn bound_as(entries: Part, strings: &mut Vec<(Bytes, Bytes)>, cut: &mut Cut) {
    let size = |(key, value): &(Bytes, Bytes)| key.len() + value.len() + 4;
    let mut total: usize = strings.iter().map(size).sum();
    if total <= MAX_STRINGS {
        return;
    }
    let mut drop_last = |part: Part, is_it: &dyn Fn(&[u8]) -> bool| {
        while total > MAX_STRINGS
            && let Some(at) = strings.iter().rposition(|(key, _)| is_it(key))
        {
            let gone = strings.remove(at);
            total -= size(&gone);
            cut.insert(part);
            if part == entries {
                cut.insert_name(&gone.0);
            }
        }
    };
    drop_last(Part::Exact, &|key| key == keys::CARRIED_META.as_bytes());
    drop_last(entries, &|key| !keys::is_reserved(key));
    drop_last(Part::Details, &|key| {
        key == keys::CARRIED_DETAILS.as_bytes()
    });
    drop_last(Part::Extra, &|key| key == keys::BIZ_EXTRA.as_bytes());
}
