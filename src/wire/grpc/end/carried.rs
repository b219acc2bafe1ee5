//! The `ripcord-*` trailers: what an end was on TTHeader.
//!
//! They are written for another ripcord behind this connection. They are read with suspicion, since
//! anyone can write them. Names and rules: `wire/grpc/keys.rs`.

use bytes::Bytes;
use http::{HeaderMap, HeaderName};

use super::rendered::{RenderedStatus, Wording, ascii_extra, prefix};
use super::{CARRIED_OWN, CARRIED_RST, own_cancel, own_status_beside, status_of_cause};
use crate::stream::{
    Cancel, CancelSignal, Cause, Class, Code, Exception, Failure, LocalEnd, LocalEndKind, Path,
    Processed, Reason, Status, code, default_text,
};
use crate::wire::grpc::metadata::put;
use crate::wire::grpc::status::BadField;
use crate::wire::grpc::{keys, status};

/// The reason that the trailers carry, if it renders to the status beside it.
pub(super) fn exact(trailers: &HeaderMap, seen: &Status) -> Option<(Reason, Processed)> {
    [Wording::Kitex, Wording::Plain]
        .into_iter()
        .find_map(|wording| {
            let (reason, processed) = claimed(trailers, seen, wording)?;
            let seen = RenderedStatus {
                status: seen.clone(),
                biz: None,
            };
            RenderedStatus::of(&reason, "", wording)
                .matches(&seen, trailers)
                .then_some((reason, processed))
        })
}

fn claimed(trailers: &HeaderMap, seen: &Status, wording: Wording) -> Option<(Reason, Processed)> {
    let text = |key: &str| trailers.get(key).and_then(|raw| raw.to_str().ok());
    let number: i32 = text(keys::CODE)?.parse().ok()?;
    let path = trailers
        .get(keys::PATH)
        .map(|raw| Path::parse(&status::decode_message(raw.as_bytes())))
        .unwrap_or_default();
    let without = |prefix: &str, code: i32| {
        let rest = seen.message.strip_prefix(prefix)?;
        if !trailers.contains_key(keys::TEXT) {
            Some(rest.to_owned())
        } else if rest == default_text(code) {
            Some(String::new())
        } else {
            None
        }
    };
    match text(keys::END)? {
        keys::END_RST => {
            // Only the local end of another hop has the plain wording.
            let (prefix, signal) = match wording {
                Wording::Kitex => (prefix(number, &path), CARRIED_RST),
                // Its text is free, so only the details tie the claim to what was sent.
                Wording::Plain if seen.details.is_some() && is_own_end(number, seen.code) => {
                    (String::new(), CARRIED_OWN)
                }
                Wording::Plain => return None,
            };
            let class = match text(keys::CLASS) {
                None => Class::ByCallee,
                Some(class) => [Class::ByCallee, Class::ByCaller, Class::Foreign]
                    .into_iter()
                    .find(|known| class == known.code().to_string())?,
            };
            let beside = if seen.code == status_of_cause(number).number() {
                None
            } else {
                let mut status = own_status(number, seen.code)?;
                let bad = seen.details.as_ref().and_then(BadField::decode);
                status.details = bad.map(|bad| bad.encode(status.code));
                Some(Box::new(status))
            };
            let cancel = Cancel {
                cause: Cause {
                    code: number,
                    text: without(&prefix, number)?,
                },
                path,
                class,
                signal,
                status: beside,
            };
            Some((Reason::Canceled(cancel), Processed::Maybe))
        }
        keys::END_STATUS if number == code::FOREIGN && seen.code == Code::Cancelled.number() => {
            let cancel = Cancel {
                cause: Cause {
                    code: number,
                    text: seen.message.clone(),
                },
                path,
                class: Class::Foreign,
                signal: CancelSignal::STATUS,
                status: Some(Box::new(seen.clone())),
            };
            Some((Reason::Canceled(cancel), Processed::Maybe))
        }
        keys::END_EXCEPTION => {
            let exception = Exception {
                type_id: number,
                text: without(&prefix(code::APPLICATION, &Path::new()), number)?,
            };
            Some((
                Reason::Failed(Failure::Exception(exception)),
                Processed::Yes,
            ))
        }
        name => {
            let kind = LocalEndKind::from_name(name).filter(|kind| kind.before_backend())?;
            let hop = LocalEnd::new(kind, seen.message.clone());
            (kind.cause() == number).then_some((Reason::Hop(hop), Processed::No))
        }
    }
}

/// Whether a hop ends a running stream with this cause and this status code.
fn is_own_end(cause: i32, code: u32) -> bool {
    LocalEndKind::ALL.into_iter().any(|kind| {
        !kind.before_backend()
            && kind.cause() == cause
            && super::status_of_own(kind).number() == code
    })
}

/// The status number `code` beside `cause`, if a local end of another hop has both.
fn own_status(cause: i32, code: u32) -> Option<Status> {
    LocalEndKind::ALL
        .into_iter()
        .filter(|kind| !kind.before_backend() && kind.cause() == cause)
        .find_map(|kind| own_status_beside(kind).filter(|status| status.code == code))
}

/// The exact `biz-extra`, if it renders to the one that came.
pub(super) fn exact_extra(trailers: &HeaderMap, seen: Bytes) -> Bytes {
    let claimed = trailers
        .get(keys::EXTRA)
        .and_then(|raw| status::decode_bin(raw.as_bytes()))
        .map(Bytes::from);
    match claimed {
        Some(exact) if ascii_extra(&exact).as_bytes() == seen => exact,
        Some(_) | None => seen,
    }
}

/// Writes what `reason` was. The path of this hop's own end begins at `node`.
pub(super) fn write(
    reason: &Reason,
    processed: Processed,
    node: &str,
    exact_extra: bool,
    out: &mut HeaderMap,
) {
    let usual = match reason {
        Reason::Complete | Reason::Failed(Failure::Status(_)) => Processed::Yes,
        Reason::Failed(Failure::Exception(exception)) => {
            say(out, keys::END, keys::END_EXCEPTION);
            say(out, keys::CODE, &exception.type_id.to_string());
            if exception.text.is_empty() {
                say(out, keys::TEXT, "");
            }
            Processed::Yes
        }
        Reason::Failed(Failure::Business(found)) => {
            if let Some(extra) = found.extra.as_ref().filter(|_| exact_extra)
                && ascii_extra(extra).as_bytes() != extra
            {
                say(out, keys::EXTRA, &status::encode_bin(extra));
            }
            Processed::Yes
        }
        Reason::Canceled(cancel) => {
            write_cancel(cancel, out);
            Processed::Maybe
        }
        Reason::Hop(hop) if hop.kind.before_backend() => {
            say(out, keys::END, hop.kind.name());
            say(out, keys::CODE, &hop.kind.cause().to_string());
            Processed::No
        }
        Reason::Hop(hop) => {
            write_cancel(&own_cancel(hop, node), out);
            Processed::Maybe
        }
    };
    if processed != usual {
        say(out, keys::PROCESSED, processed.name());
    }
}

fn write_cancel(cancel: &Cancel, out: &mut HeaderMap) {
    say(out, keys::CODE, &cancel.cause.code.to_string());
    let wire = cancel.path.to_wire();
    if !wire.is_empty() {
        say(out, keys::PATH, &status::encode_message(&wire));
    }
    if cancel.signal == CancelSignal::STATUS && cancel.status.is_some() {
        say(out, keys::END, keys::END_STATUS);
        return;
    }
    say(out, keys::END, keys::END_RST);
    match cancel.class {
        Class::ByCallee => {}
        Class::ByCaller | Class::Foreign => {
            say(out, keys::CLASS, &cancel.class.code().to_string());
        }
    }
    if cancel.cause.text.is_empty() {
        say(out, keys::TEXT, "");
    }
}

fn say(out: &mut HeaderMap, name: &'static str, value: &str) {
    put(out, HeaderName::from_static(name), value);
}
