//! What each code means and who sends it, in words.
//!
//! The sources are gRPC's PROTOCOL-HTTP2.md and statuscodes.md, and Kitex v0.16.3 `ttstream`.

use super::subject::Subject;
use crate::stream::{LocalEndKind, TtCode, TypeId};
use crate::wire::grpc::status::{Code, KITEX_GRACEFUL, ResetCode, of_reset};

/// What the subject means, and who sends it.
pub(super) fn of(subject: Subject) -> (String, &'static str) {
    let (what, who) = match subject {
        Subject::Ttstream(n) => ttstream(TtCode::from_number(n)),
        Subject::Grpc(code) => grpc(code),
        Subject::Exception(n) => exception(n),
        Subject::Reset(n) => return reset_code(ResetCode(n)),
        Subject::Hop(kind) => hop(kind),
        Subject::Business => (
            "an error that the application defined, with a number of its own",
            "the callee's application; ripcord passes it on",
        ),
        Subject::Label(label) => (
            label.means,
            "ripcord, in its metrics and logs; no peer receives it",
        ),
        Subject::Field(field) => (field.means, "ripcord"),
    };
    (what.to_owned(), who)
}

const KITEX_CALLER: &str = "Kitex callers";
const LOCAL: &str =
    "Kitex, about its own side only; as a Rst's cause or an exception's type it comes from proxies";

const fn ttstream(code: TtCode) -> (&'static str, &'static str) {
    match code {
        TtCode::Application => (
            "a Trailer carried an exception; every such Trailer prints as 12001, whatever its type",
            "Kitex callers, when they print what they received",
        ),
        TtCode::UnexpectedHeader => ("a second Header frame came for one stream", LOCAL),
        TtCode::IllegalBizErr => ("the fields of a business error cannot be read", LOCAL),
        TtCode::IllegalFrame => (
            "a frame cannot be read",
            "Kitex, about its own side; ripcord, when a peer sends what cannot be decoded",
        ),
        TtCode::IllegalOperation => ("e.g. a send after close-send", LOCAL),
        TtCode::TransportClosing => (
            "the connection is closing, or a backend cannot be reached",
            "Kitex callers about their own connection; ripcord for UNAVAILABLE",
        ),
        TtCode::BizCanceled => ("user code canceled its context", KITEX_CALLER),
        TtCode::BizCanceledWithCause => (
            "user code canceled its context with a cause",
            "nobody: Kitex v0.16.3 defines it and emits 12007",
        ),
        TtCode::ByCallee => (
            "the class of every Rst that came from the callee",
            "nobody as a cause: the receiver derives it",
        ),
        TtCode::ByCaller => (
            "the class of every Rst that came from the caller",
            "nobody as a cause: the receiver derives it",
        ),
        TtCode::Foreign => (
            "the cancel came from another protocol",
            "Kitex and ripcord, when a gRPC peer canceled",
        ),
        TtCode::HandlerReturned => (
            "the handler returned while the stream was in use",
            "Kitex servers, to their own handler",
        ),
        TtCode::ConnectionClosed => (
            "a connection was lost, at the first name of the path",
            "Kitex servers and ripcord, which noticed it",
        ),
        TtCode::RecvTimeout => (
            "no message came in time",
            "Kitex callers; ripcord for its idle and first-response limits",
        ),
        TtCode::StreamTimeout => (
            "the stream's deadline passed",
            "Kitex callers; ripcord, which enforces deadlines, and for gRPC callers at theirs",
        ),
        TtCode::Other(_) => ("not one of Kitex's numbers", "some proxy"),
    }
}

const PEER_OR_LIBRARY: &str = "applications, libraries and proxies";
const APPLICATION: &str = "applications only: no library or proxy may generate it";

const fn grpc(code: Code) -> (&'static str, &'static str) {
    match code {
        Code::Ok => ("success", "callees"),
        Code::Cancelled => ("somebody canceled", PEER_OR_LIBRARY),
        Code::Unknown => ("failed, and nothing better is known", PEER_OR_LIBRARY),
        Code::InvalidArgument => ("the request is wrong whatever the state", APPLICATION),
        Code::DeadlineExceeded => ("the deadline passed", PEER_OR_LIBRARY),
        Code::NotFound => ("something asked for does not exist", APPLICATION),
        Code::AlreadyExists => ("something to be made exists", APPLICATION),
        Code::PermissionDenied => ("the caller may not do this", PEER_OR_LIBRARY),
        Code::ResourceExhausted => ("a quota, a limit or memory is used up", PEER_OR_LIBRARY),
        Code::FailedPrecondition => ("the state does not allow it", APPLICATION),
        Code::Aborted => ("a conflict; retry at a higher level", APPLICATION),
        Code::OutOfRange => ("past the valid range", APPLICATION),
        Code::Unimplemented => ("no such method or service", PEER_OR_LIBRARY),
        Code::Internal => ("something is broken", PEER_OR_LIBRARY),
        Code::Unavailable => ("cannot be reached now; may be retried", PEER_OR_LIBRARY),
        Code::DataLoss => ("data is lost", APPLICATION),
        Code::Unauthenticated => ("no valid credentials", PEER_OR_LIBRARY),
        Code::Other(20) => ("no such service", "Kitex's gRPC server"),
        Code::Other(_) => ("not in the specification", "some application"),
    }
}

const THRIFT: &str = "thrift libraries";

fn exception(n: i32) -> (&'static str, &'static str) {
    match TypeId::from_number(n) {
        TypeId::Unknown => ("failed, and nothing better is known", THRIFT),
        TypeId::UnknownMethod => (
            "no such method",
            "thrift libraries; ripcord for UNIMPLEMENTED",
        ),
        TypeId::InvalidMessageType => ("not a CALL", THRIFT),
        TypeId::WrongMethodName => ("the reply names another method", THRIFT),
        TypeId::BadSequenceId => ("the reply has another sequence id", THRIFT),
        TypeId::MissingResult => ("a reply without a result", THRIFT),
        TypeId::InternalError => (
            "what a handler returned",
            "Kitex servers, for every error that is no business error; ripcord for most statuses",
        ),
        TypeId::ProtocolError => ("the message cannot be read", THRIFT),
        TypeId::InvalidTransform => ("an unknown transform", THRIFT),
        TypeId::InvalidProtocol => (
            "an unknown payload protocol",
            "thrift libraries; ripcord where payload kinds do not match",
        ),
        TypeId::UnsupportedClientType => ("an unknown kind of client", THRIFT),
        TypeId::UnknownService => ("no such service", "Kitex; ripcord where no route matches"),
        TypeId::NoServiceName => ("the request names no service", "Kitex"),
        TypeId::Other(other) => ttstream(TtCode::from_number(other)),
    }
}

fn reset_code(code: ResetCode) -> (String, &'static str) {
    let status = of_reset(code);
    let name = status.text().unwrap_or("UNKNOWN");
    let who = match code {
        ResetCode::CANCEL => "whoever cancels; callers also at their deadline",
        ResetCode::REFUSED_STREAM => "servers, before they looked at the request: safe to retry",
        KITEX_GRACEFUL => "Kitex servers that shut down gracefully",
        ResetCode::NO_ERROR => "servers that need no more of the request, after their trailers",
        _ => "HTTP/2 libraries and proxies",
    };
    (format!("read as {name} when the callee sends it"), who)
}

const fn hop(kind: LocalEndKind) -> (&'static str, &'static str) {
    const RIPCORD: &str = "ripcord";
    let what = match kind {
        LocalEndKind::NoRoute => "no route matches the request",
        LocalEndKind::PayloadMismatch => "the backend takes another kind of payload",
        LocalEndKind::UnpairedMethod => "the route's schema does not translate the method",
        LocalEndKind::OverLimit => "over a limit, before a backend was involved",
        LocalEndKind::Unreachable => "the backend cannot be reached",
        LocalEndKind::BackendLost => "the backend's connection was lost in mid stream",
        LocalEndKind::DrainOver => "the stream outlived the time that draining is given",
        LocalEndKind::Deadline => "the stream's deadline passed",
        LocalEndKind::Idle => "no message for too long",
        LocalEndKind::FirstResponse => "the callee stayed silent for too long",
        LocalEndKind::SlowReceiver => "a receiver did not take its data for too long",
        LocalEndKind::MessageTooLarge => "a message over the limit",
        LocalEndKind::Undecodable => "the callee sent what cannot be decoded",
        LocalEndKind::BadRequest => "the caller sent what cannot be decoded",
        LocalEndKind::InvalidRequest => "a message of the caller's fails the route's check",
        LocalEndKind::InvalidResponse => "a message of the callee's fails the route's check",
        LocalEndKind::UntranslatableRequest => {
            "a message of the caller's says what the callee's form cannot say"
        }
        LocalEndKind::UntranslatableResponse => {
            "a message of the callee's says what the caller's form cannot say"
        }
        LocalEndKind::Panic => "the stream's task failed",
    };
    (what, RIPCORD)
}
