//! The table between ends and gRPC's forms of them: statuses in trailers, and resets.
//!
//! The sources are statuscodes.md, PROTOCOL-HTTP2.md ("Errors"), Kitex `nphttp2` for business
//! errors, and config/README.md, "Ends and cancels". What a status cannot express goes into
//! `ripcord-*` trailers (`wire/grpc/keys.rs`). They count only if the status beside them is what
//! ripcord renders from them.

mod carried;
mod render;
mod rendered;
mod said;

use std::collections::HashMap;

use bytes::Bytes;
use http::HeaderMap;

use crate::stream::{
    Business, Cancel, CancelSignal, Cause, Class, Code, End, Failure, Initiator, LocalEnd,
    LocalEndKind, Metadata, NON_TTSTREAM, Part, Path, Processed, Reason, Scope, Status, TtCode,
    TypeId, UNKNOWN_METHOD, code,
};
use crate::wire::grpc::limit::BlockLimit;
use crate::wire::grpc::metadata::{self, HeadersOf};
use crate::wire::grpc::status::{BadField, ResetCode};
use crate::wire::grpc::{keys, status};
use rendered::RenderedStatus;
pub use rendered::Wording;

/// The domain of the `google.rpc.ErrorInfo` beside an end without a gRPC status of its own.
pub const ERROR_DOMAIN: &str = "ripcord.dev";

/// A Rst on TTHeader canceled, as another hop carries it.
const CARRIED_RST: CancelSignal = CancelSignal::named(keys::END_RST);

/// Another hop between two gRPC peers ended the stream, in the plain [`Wording`].
const CARRIED_OWN: CancelSignal = CancelSignal::named("own_end");

/// The text of a deadline that a peer's reset shows. It is the one of every other clock of that
/// deadline.
pub const AT_DEADLINE: &str = "stream timeout";

/// The signal of an HTTP/2 RST_STREAM with this error code.
#[must_use]
pub const fn reset_signal(code: u32) -> CancelSignal {
    CancelSignal::numbered("reset", code)
}

/// The causes that a reset code can stand for.
const TTSTREAM_CODES: std::ops::RangeInclusive<u32> = 12_000..=12_999;

/// Reads a callee's trailers, or its Trailers-Only headers.
#[must_use]
pub fn from_trailers(http_status: u16, trailers: &HeaderMap) -> End {
    if is_plain_success(trailers) {
        return End::complete(Metadata::new());
    }
    let (mut seen, said) = said::status(http_status, trailers);
    let mut cut = metadata::cut(trailers);
    if let Some(raw) = trailers.get(keys::DETAILS) {
        seen.details = said::details(raw, seen.code);
        if seen.details.is_none() {
            cut.insert(Part::Details);
        }
    }
    let biz = business(trailers).filter(|_| seen.code != 0);
    let is_business = biz.is_some();
    let (mut reason, mut processed) = match biz {
        Some((code, extra)) => {
            let mut found = Business {
                code,
                text: seen.message.clone(),
                extra,
                status: None,
            };
            let rendered = RenderedStatus::of_business(&found);
            let seen = RenderedStatus {
                status: seen.clone(),
                biz: rendered.biz.clone(),
            };
            if !rendered.matches(&seen, trailers) {
                found.status = Some(seen.status);
            }
            (Reason::Failed(Failure::Business(found)), Processed::Yes)
        }
        None => of_status(seen.clone()),
    };
    if !said {
        processed = Processed::Maybe;
    }
    // A business error is complete without carried fields: none of them renders to one.
    if let Some(exact) = carried::exact(trailers, &seen).filter(|_| !is_business) {
        (reason, processed) = exact;
    }
    let claimed = trailers
        .get(keys::PROCESSED)
        .and_then(|raw| Processed::from_name(raw.to_str().ok()?));
    let mut rest = metadata::exact(trailers, HeadersOf::Response);
    match &reason {
        Reason::Complete => keep_text_beside_ok(trailers, &mut rest),
        Reason::Failed(Failure::Status(_)) => keep_no_business(trailers, &mut rest),
        Reason::Failed(Failure::Exception(_) | Failure::Business(_))
        | Reason::Canceled(_)
        | Reason::Hop(_) => {}
    }
    End {
        by: Initiator::Callee,
        processed: claimed.unwrap_or(processed),
        reason,
        trailers: rest,
        cut,
    }
}

/// Whether it is the usual end of a stream: OK, and nothing else to look for.
fn is_plain_success(trailers: &HeaderMap) -> bool {
    let mut said = false;
    let mut plain = |name: &str, value: &[u8]| match name {
        keys::STATUS => !std::mem::replace(&mut said, true) && value == b"0",
        keys::MESSAGE => value.is_empty(),
        _ => false,
    };
    trailers
        .iter()
        .all(|(name, value)| plain(name.as_str(), value.as_bytes()))
        && said
}

/// A success has no place for a text. But a callee may send one, and a gRPC library may show it
/// (grpcio does). So the text stays with the trailers, under its name and encoded, and a gRPC
/// caller receives it. Details do not stay: beside OK they would turn success into failure
/// (grpc-go).
fn keep_text_beside_ok(trailers: &HeaderMap, rest: &mut Metadata) {
    if let Some(value) = trailers
        .get(keys::MESSAGE)
        .filter(|value| !value.is_empty())
        && rest.get(Scope::Plain, keys::MESSAGE).is_none()
    {
        rest.push(Scope::Plain, keys::MESSAGE, value.as_bytes().to_vec());
    }
}

/// A `biz-status` that is no business error (0, or no number) stays with the trailers of a failed
/// call, under its name: a Kitex caller on gRPC reads it as it would without a hop.
fn keep_no_business(trailers: &HeaderMap, rest: &mut Metadata) {
    for name in [keys::BIZ_STATUS, keys::BIZ_EXTRA] {
        if let Some(value) = trailers.get(name) {
            rest.push(Scope::Plain, name, value.as_bytes().to_vec());
        }
    }
}

/// Reads a callee's RST_STREAM.
#[must_use]
pub fn from_callee_reset(reason: ResetCode) -> End {
    let text = format!(
        "stream terminated by RST_STREAM with error code: {}",
        status::reset_name(reason)
    );
    let code = status::of_reset(reason);
    if code == Code::Cancelled {
        return End::canceled(
            Initiator::Callee,
            Cancel {
                cause: Cause {
                    code: code::FOREIGN,
                    text,
                },
                path: Path::from_origin(NON_TTSTREAM),
                class: Class::Foreign,
                signal: reset_signal(reason.0),
                status: None,
            },
        );
    }
    let mut end = End::failed(
        Failure::Status(Status {
            code: code.number(),
            message: text,
            details: None,
        }),
        Metadata::new(),
    );
    end.processed = if reason == ResetCode::REFUSED_STREAM {
        Processed::No
    } else {
        Processed::Maybe
    };
    end
}

/// Reads another ripcord's RST_STREAM toward its caller, where the code is the cause. `None` when
/// it is one of HTTP/2's own codes.
#[must_use]
pub fn from_ripcord_reset(reason: ResetCode) -> Option<End> {
    let known = TtCode::from_number(i32::try_from(reason.0).ok()?);
    let cancel = Cancel {
        cause: Cause {
            code: known.number(),
            text: known.text()?.to_owned(),
        },
        path: Path::from_origin(NON_TTSTREAM),
        class: Class::Foreign,
        signal: reset_signal(reason.0),
        status: None,
    };
    Some(End::canceled(Initiator::Callee, cancel))
}

/// Reads a caller's RST_STREAM. A ripcord that knows it talks to another one resets with the
/// cause's number; that number is then the cause. `path` is the way by which the stream came.
/// `at_deadline` is the part of it that begins with the one who set the deadline, if the reset came
/// at the deadline.
#[must_use]
pub fn from_caller_reset(reason: ResetCode, path: Path, at_deadline: Option<Path>) -> End {
    let (cause, text, path) = match (
        i32::try_from(reason.0).map(TtCode::from_number),
        at_deadline,
    ) {
        (Ok(known), set_by) if known.text().is_some() => {
            let set_by = set_by.filter(|_| known == TtCode::StreamTimeout);
            let path = set_by.unwrap_or(path);
            let text = known.text().unwrap_or_default().to_owned();
            (known.number(), text, path)
        }
        (Ok(_) | Err(_), Some(set_by)) => (code::STREAM_TIMEOUT, AT_DEADLINE.to_owned(), set_by),
        (Ok(_) | Err(_), None) => (
            code::FOREIGN,
            format!(
                "the caller reset the stream with error code: {}",
                status::reset_name(reason)
            ),
            path,
        ),
    };
    by_caller(Cause { code: cause, text }, path, reset_signal(reason.0))
}

/// Reads a caller's RST_STREAM to which another ripcord sent a detail. The detail counts only if
/// that ripcord would have sent this code with it.
#[must_use]
pub fn from_detailed_reset(reason: ResetCode, cause: Cause, path: Path) -> Option<End> {
    (reset_of_cause(cause.code) == reason).then(|| by_caller(cause, path, reset_signal(reason.0)))
}

/// The reset code with which another ripcord receives a cancel: the cause itself, unless it could
/// be read as one of HTTP/2's own codes.
#[must_use]
pub fn reset_of_cause(cause: i32) -> ResetCode {
    u32::try_from(cause)
        .ok()
        .filter(|cause| TTSTREAM_CODES.contains(cause))
        .map_or(ResetCode::CANCEL, ResetCode)
}

/// The end when a peer's connection is lost. `path` is the way by which a caller's stream came.
#[must_use]
pub fn connection_lost(by: Initiator, path: Path, text: &str) -> End {
    match by {
        Initiator::Caller => {
            let cause = Cause {
                code: code::FOREIGN,
                text: text.to_owned(),
            };
            by_caller(cause, path, CancelSignal::CONNECTION_LOST)
        }
        Initiator::Callee | Initiator::Hop => End::hop(LocalEndKind::BackendLost, text),
    }
}

/// The trailers that a caller receives for an end: status, text, details, trailers, code and path.
/// In a Trailers-Only block, the wire adds `:status` and `content-type`. `own` is the wording of
/// local ends in mid stream, this hop's or another's. They are within what any gRPC library takes.
#[must_use]
pub fn to_caller(end: &End, node: &str, carried: bool, own: Wording) -> HeaderMap {
    to_caller_within(end, node, carried, own, BlockLimit::CALLER)
}

/// The same within `limit`.
#[must_use]
pub fn to_caller_within(
    end: &End,
    node: &str,
    carried: bool,
    own: Wording,
    limit: BlockLimit,
) -> HeaderMap {
    render::trailers(end, node, carried, own, limit)
}

/// The RST_STREAM that a caller receives when a message is half written, and its rest cannot be
/// written in time: a reset is then the only honest end. Another ripcord receives the cause, where
/// that carries no less than the status.
///
/// `has_sent`: the caller has a whole message of this stream. Most libraries read REFUSED_STREAM as
/// UNAVAILABLE, and none retries a stream of which the application has a message. Without one,
/// grpc-go does, although the head has come.
#[must_use]
pub fn reset_to_caller(end: &End, node: &str, to_ripcord: bool, has_sent: bool) -> ResetCode {
    let rendered = RenderedStatus::of(&end.reason, node, Wording::Kitex);
    let code = Code::from_number(rendered.status.code);
    let (cause, of_hop) = match &end.reason {
        Reason::Canceled(cancel) => (Some(cancel.cause.code), false),
        Reason::Hop(hop) => (Some(hop.kind.cause()), true),
        Reason::Complete | Reason::Failed(_) => (None, false),
    };
    match cause.filter(|cause| to_ripcord && status_of_cause(*cause) == code) {
        Some(cause) if reset_of_cause(cause) != ResetCode::CANCEL => reset_of_cause(cause),
        Some(_) | None if of_hop && has_sent && code == Code::Unavailable => {
            ResetCode::REFUSED_STREAM
        }
        Some(_) | None => status::to_reset(code),
    }
}

/// The RST_STREAM that a callee receives for a cancel. Another ripcord receives the cause.
#[must_use]
pub fn reset_to_callee(cancel: &Cancel, to_ripcord: bool) -> ResetCode {
    match to_ripcord {
        true => reset_of_cause(cancel.cause.code),
        false => ResetCode::CANCEL,
    }
}

/// Table: from a local end to a gRPC status.
const fn status_of_own(kind: LocalEndKind) -> Code {
    match kind {
        LocalEndKind::NoRoute | LocalEndKind::PayloadMismatch | LocalEndKind::UnpairedMethod => {
            Code::Unimplemented
        }
        LocalEndKind::UntranslatableRequest => Code::InvalidArgument,
        LocalEndKind::OverLimit | LocalEndKind::SlowReceiver | LocalEndKind::MessageTooLarge => {
            Code::ResourceExhausted
        }
        LocalEndKind::Unreachable | LocalEndKind::BackendLost | LocalEndKind::DrainOver => {
            Code::Unavailable
        }
        LocalEndKind::Deadline | LocalEndKind::Idle | LocalEndKind::FirstResponse => {
            Code::DeadlineExceeded
        }
        LocalEndKind::Undecodable
        | LocalEndKind::BadRequest
        | LocalEndKind::InvalidRequest
        | LocalEndKind::InvalidResponse
        | LocalEndKind::UntranslatableResponse
        | LocalEndKind::Panic => Code::Internal,
    }
}

/// A local end in mid stream, as the cancel that the caller receives. Its status stands beside the
/// cause where the cause alone would be read as another.
fn own_cancel(hop: &LocalEnd, node: &str) -> Cancel {
    let mut cancel = hop.to_caller(node);
    cancel.status = own_status_beside(hop.kind).map(|mut status| {
        let (field, text) = (hop.field.as_deref(), &hop.text);
        status.details = field.map(|field| BadField::new(field, text).encode(status.code));
        Box::new(status)
    });
    cancel
}

fn own_status_beside(kind: LocalEndKind) -> Option<Status> {
    let code = status_of_own(kind);
    (code != status_of_cause(kind.cause())).then(|| Status {
        code: code.number(),
        message: String::new(),
        details: None,
    })
}

/// Table: from a Rst's cause to a gRPC status.
const fn status_of_cause(cause: i32) -> Code {
    match TtCode::from_number(cause) {
        TtCode::RecvTimeout | TtCode::StreamTimeout => Code::DeadlineExceeded,
        TtCode::TransportClosing | TtCode::ConnectionClosed => Code::Unavailable,
        TtCode::Application
        | TtCode::UnexpectedHeader
        | TtCode::IllegalBizErr
        | TtCode::IllegalFrame
        | TtCode::IllegalOperation
        | TtCode::BizCanceled
        | TtCode::BizCanceledWithCause
        | TtCode::ByCallee
        | TtCode::ByCaller
        | TtCode::Foreign
        | TtCode::HandlerReturned
        | TtCode::Other(_) => Code::Cancelled,
    }
}

/// Table: from an exception's type to a gRPC status.
const fn status_of_exception(type_id: i32) -> Code {
    match TypeId::from_number(type_id) {
        TypeId::UnknownMethod
        | TypeId::WrongMethodName
        | TypeId::UnknownService
        | TypeId::NoServiceName => Code::Unimplemented,
        TypeId::Unknown => Code::Unknown,
        TypeId::InvalidMessageType
        | TypeId::BadSequenceId
        | TypeId::MissingResult
        | TypeId::InternalError
        | TypeId::ProtocolError
        | TypeId::InvalidTransform
        | TypeId::InvalidProtocol
        | TypeId::UnsupportedClientType => Code::Internal,
        TypeId::Other(other) => match TtCode::from_number(other) {
            TtCode::TransportClosing | TtCode::ConnectionClosed => Code::Unavailable,
            TtCode::RecvTimeout | TtCode::StreamTimeout => Code::DeadlineExceeded,
            TtCode::BizCanceled
            | TtCode::BizCanceledWithCause
            | TtCode::ByCallee
            | TtCode::ByCaller
            | TtCode::Foreign
            | TtCode::HandlerReturned => Code::Cancelled,
            TtCode::Application
            | TtCode::UnexpectedHeader
            | TtCode::IllegalBizErr
            | TtCode::IllegalFrame
            | TtCode::IllegalOperation
            | TtCode::Other(_) => Code::Internal,
        },
    }
}

/// Table: from a callee's status without `biz-status` to a reason.
fn of_status(seen: Status) -> (Reason, Processed) {
    match Code::from_number(seen.code) {
        Code::Ok => (Reason::Complete, Processed::Yes),
        Code::Cancelled if !seen.message.starts_with(UNKNOWN_METHOD) => {
            let cancel = Cancel {
                cause: Cause {
                    code: code::FOREIGN,
                    text: seen.message.clone(),
                },
                path: Path::from_origin(NON_TTSTREAM),
                class: Class::Foreign,
                signal: CancelSignal::STATUS,
                status: Some(Box::new(seen)),
            };
            (Reason::Canceled(cancel), Processed::Maybe)
        }
        Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated
        | Code::Other(_) => (Reason::Failed(Failure::Status(seen)), Processed::Yes),
    }
}

fn business(trailers: &HeaderMap) -> Option<(i32, Option<Bytes>)> {
    let code: i32 = trailers
        .get(keys::BIZ_STATUS)?
        .to_str()
        .ok()?
        .parse()
        .ok()?;
    if code == 0 {
        return None;
    }
    let extra = trailers
        .get(keys::BIZ_EXTRA)
        .map(|raw| Bytes::copy_from_slice(raw.as_bytes()))
        .filter(|raw| !raw.is_empty());
    let Some(extra) = extra else {
        return Some((code, None));
    };
    serde_json::from_slice::<Option<HashMap<String, Option<String>>>>(&extra).ok()?;
    Some((code, Some(carried::exact_extra(trailers, extra))))
}

fn by_caller(cause: Cause, path: Path, signal: CancelSignal) -> End {
    End::canceled(
        Initiator::Caller,
        Cancel {
            cause,
            path,
            class: Class::Foreign,
            signal,
            status: None,
        },
    )
}

#[cfg(test)]
mod tests;
