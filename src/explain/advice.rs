//! What to do about each code: what to check first, and which setting helps.

use super::subject::Subject;
use crate::stream::{LocalEndKind, TtCode, TypeId};
use crate::wire::grpc::status::{Code, KITEX_GRACEFUL, ResetCode};

pub(super) const fn of(subject: Subject) -> &'static str {
    match subject {
        Subject::Ttstream(n) => ttstream(TtCode::from_number(n)),
        Subject::Grpc(code) => grpc(code),
        Subject::Exception(n) => exception(n),
        Subject::Reset(n) => reset(ResetCode(n)),
        Subject::Hop(kind) => hop(kind),
        Subject::Business => {
            "Look at the number and the text in the callee's application. Nothing is wrong with the network."
        }
        Subject::Label(label) => label.advice,
        Subject::Field(field) => field.advice,
    }
}

const LIBRARIES: &str =
    "Look at the first name of the path: a faulty peer or proxy, or versions that do not fit.";

const fn ttstream(code: TtCode) -> &'static str {
    match code {
        TtCode::Application => {
            "Look at the text behind the code: it is the callee's error. Kitex prints every exception as 12001."
        }
        TtCode::UnexpectedHeader | TtCode::IllegalOperation => {
            "Look for a misuse of the API, or a faulty proxy. It is not the network."
        }
        TtCode::IllegalBizErr => "Compare the library versions of caller and callee.",
        TtCode::IllegalFrame => {
            "Look at the first name of the path: it read bytes that cannot be decoded. Check that the port speaks the \
             backend's `protocol`, and that `payload` fits. `unexpected frame type: 5` is Kitex before v0.15.0 that got a \
             Rst: set `cancel_as: trailer`."
        }
        TtCode::TransportClosing => {
            "Look whether the backend runs and listens at its `endpoints`. A retry is safe where the backend was never \
             reached."
        }
        TtCode::BizCanceled | TtCode::BizCanceledWithCause => {
            "Normal: the application at the first name of the path canceled. If it should not, look at its contexts and \
             timeouts."
        }
        TtCode::ByCallee | TtCode::ByCaller => {
            "Look at `cause` and at the first name of the path; this number only tells the direction."
        }
        TtCode::Foreign => {
            "Normal from browsers and apps. Look at the first name of the path for who canceled; give callers a name by \
             `source-service`."
        }
        TtCode::HandlerReturned => {
            "Look at that handler: it returned while it still used a stream."
        }
        TtCode::ConnectionClosed => {
            "Look at the first name of the path and at its peer: a crash, a kill without drain, the network, or a \
             `drain.timeout` that was over."
        }
        TtCode::RecvTimeout => {
            "Look who was silent. If the first name of the path is a ripcord, its limit is `timeouts.idle` or \
             `timeouts.first_response`; else it is the caller's receive timeout."
        }
        TtCode::StreamTimeout => {
            "Compare the deadline with the durations in the access log. The first name of the path set it: a ripcord by \
             `timeouts.stream`, anybody else as the caller's deadline."
        }
        TtCode::Other(_) => {
            "Look at the first name of the path: that proxy or application chose the number."
        }
    }
}

const APPLICATION: &str = "Look at the callee's application: the status is its own answer, and ripcord only passed it on.";

const fn grpc(code: Code) -> &'static str {
    match code {
        Code::Ok => "Nothing.",
        Code::Cancelled => {
            "Look at `ripcord-path` in the trailers, or `path` in the access log: its first name canceled."
        }
        Code::Unknown => {
            "Look at the text and at the callee's log. Without a text, look for a proxy that answered in place of the \
             callee."
        }
        Code::DeadlineExceeded => {
            "Look at `error_type`: `deadline` is the caller's deadline or `timeouts.stream`, `idle` and `first_response` \
             are the settings of that name. Without one it is the callee's own."
        }
        Code::ResourceExhausted => {
            "Look at `error_type`: `over_limit`, `message_too_large` and `slow_receiver` are `limits` of ripcord. Without \
             one it is the callee's own quota."
        }
        Code::Unimplemented => {
            "Look at `error_type`: `no_route` is a route's `match`, `payload_mismatch` the backend's `payload`. Without \
             one the callee has no such method: check `rewrite`."
        }
        Code::Internal => {
            "Look at the text: it says what could not be decoded, or the error of a Kitex handler."
        }
        Code::Unavailable => {
            "Look at `error_type`: `unreachable` and `backend_lost` are the backend, `drain_over` is `drain.timeout`. \
             Retry where `processed` is `no`."
        }
        Code::Unauthenticated | Code::PermissionDenied => {
            "Look at the callee's checks, or at a proxy in between: ripcord checks no credentials."
        }
        Code::Other(20) => "Check the service's name in `rewrite`: Kitex has no such service.",
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::DataLoss
        | Code::Other(_) => APPLICATION,
    }
}

const fn exception(n: i32) -> &'static str {
    match TypeId::from_number(n) {
        TypeId::Unknown | TypeId::InternalError => {
            "Look at the text. `biz error: ` is an error of the Kitex handler; `rpc error: code = ` is a gRPC status, \
             whose name follows."
        }
        TypeId::UnknownMethod => {
            "Check the method's name and the route's `rewrite`, and the versions of both interfaces."
        }
        TypeId::UnknownService | TypeId::NoServiceName => {
            "Look whether a route matches: TTHeader's service names have no package. Toward Kitex check `service` of the \
             backend and `rewrite`."
        }
        TypeId::InvalidProtocol => {
            "Set `payload` of the backend to what it takes, and send that: Kitex reads whatever comes as thrift."
        }
        TypeId::InvalidMessageType
        | TypeId::WrongMethodName
        | TypeId::BadSequenceId
        | TypeId::MissingResult
        | TypeId::ProtocolError
        | TypeId::InvalidTransform
        | TypeId::UnsupportedClientType => {
            "Compare the interfaces and the thrift libraries of caller and callee."
        }
        TypeId::Other(other) => match TtCode::from_number(other) {
            TtCode::Other(_) => "Look at the callee's application: the number is its own.",
            known => ttstream(known),
        },
    }
}

const fn reset(code: ResetCode) -> &'static str {
    match code {
        ResetCode::NO_ERROR => "Nothing: the callee had answered already.",
        ResetCode::CANCEL => {
            "Normal when a caller cancels. From a callee, look at its handler and at proxies with a timeout."
        }
        ResetCode::REFUSED_STREAM => {
            "Retry: the server did not look at the request. Often it drains, or is over its limit of streams."
        }
        ResetCode::ENHANCE_YOUR_CALM => {
            "Look for pings that are too frequent (`keepalive.http2.interval`), or for too many resets (`limits.max_resets`)."
        }
        ResetCode::FLOW_CONTROL_ERROR
        | ResetCode::FRAME_SIZE_ERROR
        | ResetCode::COMPRESSION_ERROR
        | ResetCode::PROTOCOL_ERROR => {
            "Look at the HTTP/2 library or proxy that sent it; the log at `debug` names the connection."
        }
        ResetCode::INADEQUATE_SECURITY | ResetCode::HTTP_1_1_REQUIRED => {
            "Look whether the port wants TLS or HTTP/1: ripcord speaks plain HTTP/2."
        }
        KITEX_GRACEFUL => "Retry on another endpoint: this Kitex server shuts down.",
        ResetCode(_) => LIBRARIES,
    }
}

const fn hop(kind: LocalEndKind) -> &'static str {
    match kind {
        LocalEndKind::NoRoute => {
            "Compare the service and method in the access log with `match` of the routes: gRPC's names have the package, \
             TTHeader's have not."
        }
        LocalEndKind::PayloadMismatch => {
            "Send what the backend takes (`payload: thrift` wants `application/grpc+thrift`), or correct `payload`."
        }
        LocalEndKind::UnpairedMethod => {
            "Compare the method with the service in the route's schema: `ripcord schema FILE NAME` prints what pairs. A thrift \
             function without `streaming.mode` is no stream."
        }
        LocalEndKind::OverLimit => {
            "The text names the limit: `limits.max_streams_per_connection`, `limits.metadata_size`, or the callee's own \
             (SETTINGS_MAX_HEADER_LIST_SIZE). Raise it, or find who sends so much."
        }
        LocalEndKind::Unreachable => {
            "Look whether the backend runs and listens at its `endpoints`, and at DNS. Callers may retry. \
             `connect_timeout` and `backoff` say how long it is tried."
        }
        LocalEndKind::BackendLost => {
            "Look at the endpoint in the access log: a crash, a rollout without drain, or the network."
        }
        LocalEndKind::DrainOver => {
            "Streams live longer than `drain.timeout`: raise it (and the pod's grace period), or let streams end."
        }
        LocalEndKind::Deadline => {
            "Compare the deadline with the durations in the access log. With `by=caller` the first name of `path` set it, the \
             caller or a hop before; with `by=hop` it is this hop's `timeouts.stream`."
        }
        LocalEndKind::Idle => {
            "Look which side was silent. Raise `timeouts.idle`, or let the application send something now and then."
        }
        LocalEndKind::FirstResponse => {
            "Check the method's name first: Kitex never answers an unknown one. Else the callee hangs, or \
             `timeouts.first_response` is too short."
        }
        LocalEndKind::SlowReceiver => {
            "Look at the receiver that the text names: it does not read. `limits.slow_receiver_timeout` and `limits.stream_buffer` \
             only give it time."
        }
        LocalEndKind::MessageTooLarge => "Raise `limits.max_message`, or ask why it is so large.",
        LocalEndKind::Undecodable => {
            "Look at the callee: what it sends is not its protocol. Check the backend's `protocol` and port."
        }
        LocalEndKind::BadRequest => {
            "Look at the caller (`peer` in the access log): what it sends is not its protocol."
        }
        LocalEndKind::InvalidRequest => {
            "Look at the caller's serializer: `validate` or `translate` of the route found a message that cannot be read. The \
             text has the byte."
        }
        LocalEndKind::InvalidResponse => {
            "Look at the callee's serializer: `validate` or `translate` of the route found a message that cannot be read. The \
             text has the byte."
        }
        LocalEndKind::UntranslatableRequest | LocalEndKind::UntranslatableResponse => {
            "The text names the field and both of its types. Let the sender keep to what both IDLs can say, or choose another rule \
             in the route's schema (`overflow`, `utf8`, `unknown`)."
        }
        LocalEndKind::Panic => {
            "A fault of ripcord. Please report it with the log's lines around it."
        }
    }
}
