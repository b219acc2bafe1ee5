//! The table between ends and TTHeader's forms of them: Trailers and Rsts.
//!
//! The sources are Kitex `ttstream/{stream_client,stream_server,server_handler}.go` and
//! config/README.md, "Ends and cancels". What a Trailer or Rst cannot express goes into `ripcord-*`
//! strings (`keys.rs`). They count only if the frame beside them is what ripcord renders from them.

mod carried;
pub(super) use carried::{bound_head, bound_request};

use std::borrow::Cow;
use std::collections::HashMap;

use bytes::Bytes;

use crate::stream::{
    Business, Cancel, CancelSignal, Cause, Class, Code, Cut, End, Exception, Failure, Initiator,
    LocalEndKind, Part, Path, Processed, Reason, Status, code, shorten,
};
use crate::wire::ttheader::header::Info;
use crate::wire::ttheader::{exception, keys, metadata};
use carried::Carried;

/// The longest text that is written, into an exception or as a string. A string cannot hold more.
const MAX_TEXT: usize = metadata::MAX_VALUE;

/// How a Rst without a readable payload is read (Kitex's `defaultRstException`).
const DEFAULT_RST: (i32, &str) = (13, "rst");

/// The signal of a Rst frame.
pub const RST: CancelSignal = CancelSignal::named("rst");

/// The signal of a Trailer that cancels: a caller's with an exception or a business error, or a
/// callee's that a ripcord wrote in place of a Rst.
pub const TRAILER: CancelSignal = CancelSignal::named("trailer");

/// The kind of frame that ends the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TerminalKind {
    /// A Trailer. A Header must have come before it.
    Trailer,
    /// A Rst, which cancels.
    Rst,
}

/// The form of a cancel, and of what this hop ends in mid stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CancelForm {
    /// A Rst.
    #[default]
    Rst,
    /// A Trailer with an exception, for Kitex before v0.15.0: a Rst would end every stream of the
    /// connection (`ttstream/frame.go`, `DecodeFrame`). `ttscp` stands beside it, by which another
    /// ripcord knows what it is. Kitex ignores it there.
    Trailer,
}

/// The frame that ends a stream, without its int keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// The kind of the frame.
    pub kind: TerminalKind,
    /// Its string block; empty means that no block is needed.
    pub strings: Vec<(Bytes, Bytes)>,
    /// Its payload: an exception message, or nothing.
    pub payload: Bytes,
}

/// What a terminal frame needs of its stream and of this hop.
#[derive(Clone, Copy, Debug)]
pub struct EndContext<'a> {
    /// This hop's name, with which the path of its own ends begins.
    pub node: &'a str,
    /// The stream's method.
    pub method: &'a str,
    /// The stream's id on that connection.
    pub stream_id: i32,
    /// Whether `ripcord-*` strings may be written.
    pub carried: bool,
    /// The form in which the peer takes a cancel.
    pub form: CancelForm,
}

/// Reads a callee's Trailer.
#[must_use]
pub fn from_trailer(info: &Info, payload: &Bytes) -> End {
    let carried = Carried::read(info);
    let trailers = metadata::response_metadata(info);
    let (reason, processed) = if payload.is_empty() {
        match business(info) {
            Ok(None) => (Reason::Complete, Processed::Yes),
            Ok(Some(found)) => (
                Reason::Failed(Failure::Business(carried.business(found))),
                Processed::Yes,
            ),
            Err(unreadable) => (
                Reason::Failed(Failure::Exception(unreadable)),
                Processed::Yes,
            ),
        }
    } else {
        match exception::decode(payload) {
            Ok(message) => match info.string(keys::CANCELED_PATH) {
                Some(path) => {
                    let cancel = cancel(Initiator::Callee, message.exception, path, TRAILER);
                    (Reason::Canceled(carried.cancel(cancel)), Processed::Maybe)
                }
                None => carried.exception(message.exception),
            },
            Err(error) => (
                Reason::Failed(Failure::Exception(Exception {
                    type_id: code::ILLEGAL_FRAME,
                    text: error.to_string(),
                })),
                Processed::Yes,
            ),
        }
    };
    End {
        by: Initiator::Callee,
        processed: carried.processed.unwrap_or(processed),
        reason,
        trailers,
        cut: carried.cut,
    }
}

/// Reads a caller's Trailer. `None` is a plain half-close; `Some` means that the caller gave up. A
/// path beside an exception is that of another ripcord's cancel ([`CancelForm::Trailer`]).
#[must_use]
pub fn from_caller_trailer(info: &Info, payload: &Bytes) -> Option<End> {
    let mut path = None;
    let said = if payload.is_empty() {
        match business(info) {
            Ok(None) => return None,
            Ok(Some(found)) => Exception {
                type_id: found.code,
                text: found.text,
            },
            Err(unreadable) => unreadable,
        }
    } else {
        match exception::decode(payload) {
            Ok(message) => {
                path = info.string(keys::CANCELED_PATH);
                message.exception
            }
            Err(error) => Exception {
                type_id: code::ILLEGAL_FRAME,
                text: error.to_string(),
            },
        }
    };
    let path = path.map_or(&[][..], |path| path);
    let cancel = cancel(Initiator::Caller, said, path, TRAILER);
    Some(End::canceled(Initiator::Caller, cancel))
}

/// The name of a caller that gives none, such as a Kitex client without `WithClientBasicInfo`.
/// Without it the path would begin with this hop, as if this hop had canceled.
const UNNAMED: &str = "";

/// A peer's cancel, from the exception and the path of its frame.
fn cancel(by: Initiator, said: Exception, path: &[u8], signal: CancelSignal) -> Cancel {
    let path = Path::parse(&String::from_utf8_lossy(path));
    let (path, class) = match by {
        Initiator::Caller if path.is_empty() => (Path::from_origin(UNNAMED), Class::ByCaller),
        Initiator::Caller => (path, Class::ByCaller),
        Initiator::Callee | Initiator::Hop => (path, Class::ByCallee),
    };
    Cancel {
        cause: Cause {
            code: said.type_id,
            text: said.text,
        },
        path,
        class,
        signal,
        status: None,
    }
}

/// Reads a Rst from either side.
#[must_use]
pub fn from_rst(by: Initiator, info: &Info, payload: &Bytes) -> End {
    let said = match exception::decode(payload) {
        Ok(message) => message.exception,
        Err(_) => Exception {
            type_id: DEFAULT_RST.0,
            text: DEFAULT_RST.1.to_owned(),
        },
    };
    let path = info.string(keys::CANCELED_PATH);
    let cancel = cancel(by, said, path.map_or(&[][..], |path| path), RST);
    match by {
        Initiator::Caller => End::canceled(by, cancel),
        Initiator::Callee | Initiator::Hop => {
            let carried = Carried::read(info);
            let mut end = End::canceled(by, carried.cancel(cancel));
            end.trailers = metadata::unpacked(info).unwrap_or_default();
            end.processed = carried.processed.unwrap_or(end.processed);
            end.cut = carried.cut;
            end
        }
    }
}

/// The end when a peer's connection is lost.
#[must_use]
pub fn connection_lost(by: Initiator, text: &str) -> End {
    match by {
        Initiator::Caller => End::canceled(
            by,
            Cancel {
                cause: Cause {
                    code: code::CONNECTION_CLOSED,
                    text: text.to_owned(),
                },
                path: Path::new(),
                class: Class::ByCaller,
                signal: CancelSignal::CONNECTION_LOST,
                status: None,
            },
        ),
        Initiator::Callee | Initiator::Hop => End::hop(LocalEndKind::BackendLost, text),
    }
}

/// The frame that a caller receives for an end.
#[must_use]
pub fn to_caller(end: &End, ctx: &EndContext<'_>) -> Terminal {
    let mut cut = end.cut.clone();
    let mut out = match &end.reason {
        Reason::Complete => trailer(Bytes::new()),
        Reason::Failed(Failure::Status(status)) => {
            let (type_id, text) = status_exception(status);
            trailer(encode(ctx, &mut cut, type_id, &text))
        }
        Reason::Failed(Failure::Exception(exception)) => {
            trailer(encode(ctx, &mut cut, exception.type_id, &exception.text))
        }
        Reason::Failed(Failure::Business(found)) => {
            let mut out = trailer(Bytes::new());
            write_business(found, &mut cut, &mut out.strings);
            out
        }
        Reason::Canceled(cancel) => canceled(cancel, ctx, &mut cut),
        Reason::Hop(hop) if hop.kind.before_backend() => {
            let text = format!("{}{}", status_prefix(status_of_own(hop.kind)), hop.text);
            trailer(encode(ctx, &mut cut, hop.kind.cause(), &text))
        }
        Reason::Hop(hop) => canceled(&hop.to_caller(ctx.node), ctx, &mut cut),
    };
    let changed = match out.kind {
        TerminalKind::Trailer => metadata::write_trailers(&end.trailers, &mut out.strings),
        TerminalKind::Rst => metadata::Changed::all(end.trailers.len()),
    };
    if ctx.carried {
        carried::write(end, changed, &mut cut, &mut out.strings);
    }
    carried::bound(&mut out.strings, &mut cut);
    if ctx.carried {
        metadata::push_cut(&mut out.strings, &cut);
    }
    out
}

/// The frame that a callee receives for a cancel.
#[must_use]
pub fn to_callee(cancel: &Cancel, ctx: &EndContext<'_>) -> Terminal {
    canceled(cancel, ctx, &mut Cut::default())
}

/// Table: the status of a local end. The text of a refusal names it. For an end in mid stream it is
/// carried if its cause alone would be read as another status ([`own_status_beside`]).
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

/// Whether the status of a local end is carried beside its cause. The causes of the others mean
/// their status on every wire.
const fn own_status_is_carried(kind: LocalEndKind) -> bool {
    match kind {
        LocalEndKind::SlowReceiver
        | LocalEndKind::MessageTooLarge
        | LocalEndKind::Undecodable
        | LocalEndKind::BadRequest
        | LocalEndKind::InvalidRequest
        | LocalEndKind::InvalidResponse
        | LocalEndKind::UntranslatableRequest
        | LocalEndKind::UntranslatableResponse
        | LocalEndKind::Panic => true,
        LocalEndKind::NoRoute
        | LocalEndKind::PayloadMismatch
        | LocalEndKind::UnpairedMethod
        | LocalEndKind::OverLimit
        | LocalEndKind::Unreachable
        | LocalEndKind::BackendLost
        | LocalEndKind::DrainOver
        | LocalEndKind::Deadline
        | LocalEndKind::Idle
        | LocalEndKind::FirstResponse => false,
    }
}

/// The status that is carried beside the cause of a local end.
fn own_status_beside(kind: LocalEndKind) -> Option<Status> {
    own_status_is_carried(kind).then(|| Status {
        code: status_of_own(kind).number(),
        message: String::new(),
        details: None,
    })
}

/// The exception for a gRPC status. Its text names the status, since the text is all that most
/// Kitex callers see.
fn status_exception(status: &Status) -> (i32, String) {
    let code = Code::from_number(status.code);
    (
        exception_type(code),
        format!("{}{}", status_prefix(code), status.message),
    )
}

fn status_prefix(code: Code) -> String {
    format!("rpc error: code = {} desc = ", code.go_name())
}

/// Table: from a gRPC status to an exception type. CANCELLED is a Rst, except for Kitex's way to
/// report `unknown method`, the only one that comes here.
const fn exception_type(code: Code) -> i32 {
    match code {
        Code::Cancelled | Code::Unimplemented => 1,
        Code::DeadlineExceeded => code::STREAM_TIMEOUT,
        Code::Unavailable => code::TRANSPORT_CLOSING,
        Code::Ok
        | Code::Unknown
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Internal
        | Code::DataLoss
        | Code::Unauthenticated => 6,
        Code::Other(20) => 20,
        Code::Other(_) => 6,
    }
}

fn trailer(payload: Bytes) -> Terminal {
    Terminal {
        kind: TerminalKind::Trailer,
        strings: Vec::new(),
        payload,
    }
}

fn canceled(cancel: &Cancel, ctx: &EndContext<'_>, cut: &mut Cut) -> Terminal {
    let (kind, always) = match ctx.form {
        CancelForm::Rst => (TerminalKind::Rst, false),
        // The path is also the mark of a cancel.
        CancelForm::Trailer => (TerminalKind::Trailer, true),
    };
    let mut strings = Vec::new();
    if always || !cancel.path.is_empty() {
        metadata::push(&mut strings, keys::CANCELED_PATH, &cancel.path.to_wire());
    }
    Terminal {
        kind,
        strings,
        payload: encode(ctx, cut, cancel.cause.code, &cancel.cause.text),
    }
}

fn encode(ctx: &EndContext<'_>, cut: &mut Cut, type_id: i32, text: &str) -> Bytes {
    exception::encode(ctx.method, ctx.stream_id, type_id, &short(text, cut))
}

/// A text that is not too long: whole, or with a mark at its end.
fn short<'a>(text: &'a str, cut: &mut Cut) -> Cow<'a, str> {
    if text.len() > MAX_TEXT {
        cut.insert(Part::Text);
    }
    shorten(text, MAX_TEXT)
}

/// Kitex's `ParseBizStatusErr`. A value that is not a number is no business error. An unreadable
/// extra makes the whole unreadable.
fn business(info: &Info) -> Result<Option<Business>, Exception> {
    let text = |key: &str| info.string(key).map(|raw| String::from_utf8_lossy(raw));
    let code = text(keys::BIZ_STATUS).and_then(|raw| raw.parse::<i32>().ok());
    let Some(code) = code.filter(|code| *code != 0) else {
        return Ok(None);
    };
    let extra = info.string(keys::BIZ_EXTRA).filter(|raw| !raw.is_empty());
    if let Some(raw) = extra
        && !readable_extra(raw)
    {
        return Err(Exception {
            type_id: code::ILLEGAL_BIZ_ERR,
            text: format!(
                "malformed header info, extra: {}",
                String::from_utf8_lossy(raw)
            ),
        });
    }
    Ok(Some(Business {
        code,
        text: text(keys::BIZ_MESSAGE).unwrap_or_default().into_owned(),
        extra: extra.cloned(),
        status: None,
    }))
}

/// Kitex's `JSONStr2Map`.
fn readable_extra(raw: &Bytes) -> bool {
    serde_json::from_slice::<Option<HashMap<String, Option<String>>>>(raw).is_ok()
}

fn write_business(found: &Business, cut: &mut Cut, out: &mut Vec<(Bytes, Bytes)>) {
    metadata::push(out, keys::BIZ_STATUS, &found.code.to_string());
    metadata::push(out, keys::BIZ_MESSAGE, &short(&found.text, cut));
    match &found.extra {
        Some(extra) if extra.len() <= metadata::MAX_VALUE => {
            let key = Bytes::from_static(keys::BIZ_EXTRA.as_bytes());
            out.push((key, extra.clone()));
        }
        Some(_) => cut.insert(Part::Extra),
        None => {}
    }
}

#[cfg(test)]
mod tests;
