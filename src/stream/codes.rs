//! The numbers in neutral values, as closed enums: gRPC status codes, ttstream codes, thrift
//! exception types. A wire's table can so be checked for completeness. Here are also the numbers of
//! local ends, which both wires write.
//!
//! The sources are gRPC's `statuscodes.md`, Kitex `ttstream/exception.go` and gopkg
//! `thrift/exception.go`.

use crate::stream::{LocalEndKind, Processed, Status};

macro_rules! numbered {
    ($(#[$meta:meta])* $name:ident : $int:ty { $($(#[$vmeta:meta])* $variant:ident = $n:literal, $text:literal;)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$vmeta])* $variant,)+
            /// Any other number, unchanged.
            Other($int),
        }

        impl $name {
            /// All known values, in the order of the declaration.
            pub const KNOWN: &'static [Self] = &[$(Self::$variant),+];

            /// The value for a number; never fails.
            #[must_use]
            pub const fn from_number(n: $int) -> Self {
                match n {
                    $($n => Self::$variant,)+
                    other => Self::Other(other),
                }
            }

            /// The number, as on the wire.
            #[must_use]
            pub const fn number(self) -> $int {
                match self {
                    $(Self::$variant => $n,)+
                    Self::Other(n) => n,
                }
            }

            /// The text that belongs to the number; `None` for an unknown one.
            #[must_use]
            pub const fn text(self) -> Option<&'static str> {
                match self {
                    $(Self::$variant => Some($text),)+
                    Self::Other(_) => None,
                }
            }
        }
    };
}

numbered! {
    /// A gRPC status code. Its text is its name in the specification.
    Code: u32 {
        /// The call succeeded.
        Ok = 0, "OK";
        /// The call was canceled, by either side.
        Cancelled = 1, "CANCELLED";
        /// The sender knows nothing better.
        Unknown = 2, "UNKNOWN";
        /// From applications only: an argument is invalid in any state of the system.
        InvalidArgument = 3, "INVALID_ARGUMENT";
        /// The deadline passed.
        DeadlineExceeded = 4, "DEADLINE_EXCEEDED";
        /// From applications only: what was asked for does not exist.
        NotFound = 5, "NOT_FOUND";
        /// From applications only: what was to be created exists.
        AlreadyExists = 6, "ALREADY_EXISTS";
        /// The caller is known and may not do this.
        PermissionDenied = 7, "PERMISSION_DENIED";
        /// Out of quota or memory, or a message is too large.
        ResourceExhausted = 8, "RESOURCE_EXHAUSTED";
        /// From applications only: the state of the system does not allow the call.
        FailedPrecondition = 9, "FAILED_PRECONDITION";
        /// From applications only: for example a conflict between transactions.
        Aborted = 10, "ABORTED";
        /// From applications only: beyond the valid range.
        OutOfRange = 11, "OUT_OF_RANGE";
        /// The callee has no such method.
        Unimplemented = 12, "UNIMPLEMENTED";
        /// Something in the callee or its library is broken.
        Internal = 13, "INTERNAL";
        /// The server is shutting down or cannot be reached.
        Unavailable = 14, "UNAVAILABLE";
        /// From applications only: data was lost.
        DataLoss = 15, "DATA_LOSS";
        /// The caller has no valid credentials.
        Unauthenticated = 16, "UNAUTHENTICATED";
    }
}

impl Code {
    /// The name as grpc-go prints it: `NotFound`, `Code(77)`.
    #[must_use]
    pub fn go_name(self) -> String {
        let name = match self {
            Self::Ok => "OK",
            Self::Cancelled => "Canceled",
            Self::Unknown => "Unknown",
            Self::InvalidArgument => "InvalidArgument",
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::NotFound => "NotFound",
            Self::AlreadyExists => "AlreadyExists",
            Self::PermissionDenied => "PermissionDenied",
            Self::ResourceExhausted => "ResourceExhausted",
            Self::FailedPrecondition => "FailedPrecondition",
            Self::Aborted => "Aborted",
            Self::OutOfRange => "OutOfRange",
            Self::Unimplemented => "Unimplemented",
            Self::Internal => "Internal",
            Self::Unavailable => "Unavailable",
            Self::DataLoss => "DataLoss",
            Self::Unauthenticated => "Unauthenticated",
            Self::Other(n) => return format!("Code({n})"),
        };
        name.to_owned()
    }
}

numbered! {
    /// A ttstream code. Its text is Kitex's.
    TtCode: i32 {
        /// The Trailer carries an exception.
        Application = 12001, "application exception";
        /// A Header frame came that was not expected, for example a second one.
        UnexpectedHeader = 12002, "unexpected header frame";
        /// The fields of a business error cannot be read.
        IllegalBizErr = 12003, "illegal bizErr";
        /// A frame cannot be read.
        IllegalFrame = 12004, "illegal frame";
        /// An illegal operation, for example a send after close-send.
        IllegalOperation = 12005, "illegal operation";
        /// A caller's own connection is closing.
        TransportClosing = 12006, "transport is closing";
        /// The application canceled its context.
        BizCanceled = 12007, "user code invoking stream RPC with context processed by context.WithCancel or context.WithTimeout, then invoking cancel() actively";
        /// The application canceled its context and gave a cause.
        BizCanceledWithCause = 12008, "user code canceled with cancelCause(error)";
        /// The class of a Rst that came from the callee.
        ByCallee = 12009, "canceled by downstream";
        /// The class of a Rst that came from the caller.
        ByCaller = 12010, "canceled by upstream";
        /// The class of a cancel that came from another protocol.
        Foreign = 12011, "internal canceled";
        /// The handler returned while the stream was open.
        HandlerReturned = 12012, "canceled by business handler returning";
        /// A connection was lost.
        ConnectionClosed = 12013, "canceled by connection closed";
        /// No message came in time.
        RecvTimeout = 12014, "stream Recv timeout";
        /// The deadline of the whole stream passed.
        StreamTimeout = 12015, "stream timeout";
    }
}

numbered! {
    /// The type of a `TApplicationException`. Its text is what Kitex shows when field 1 is empty.
    TypeId: i32 {
        /// The sender knows nothing better.
        Unknown = 0, "unknown application exception";
        /// The callee has no such method.
        UnknownMethod = 1, "unknown method";
        /// The message is not a CALL.
        InvalidMessageType = 2, "invalid message type";
        /// The reply names another method.
        WrongMethodName = 3, "wrong method name";
        /// The reply has another sequence id.
        BadSequenceId = 4, "bad sequence ID";
        /// The reply has no result.
        MissingResult = 5, "missing result";
        /// A handler's error. In Kitex streaming, handlers' errors always have this type.
        InternalError = 6, "unknown internal error";
        /// The message cannot be read.
        ProtocolError = 7, "unknown protocol error";
        /// The transform is unknown.
        InvalidTransform = 8, "Invalid transform";
        /// The payload protocol is unknown.
        InvalidProtocol = 9, "Invalid protocol";
        /// The client type is not supported.
        UnsupportedClientType = 10, "Unsupported client type";
        /// Kitex: the callee has no such service.
        UnknownService = 20, "unknown service";
        /// Kitex: the request names no service.
        NoServiceName = 21, "no service name";
    }
}

/// How the text of status 1 begins when a Kitex gRPC server does not know the method.
pub const UNKNOWN_METHOD: &str = "unknown method ";

impl Status {
    /// The largest status code that is kept. Kitex panics above i32, so a larger one is read as
    /// UNKNOWN.
    pub const MAX_CODE: u32 = i32::MAX as u32;
}

/// The text that Kitex shows for an exception or a Rst without text.
#[must_use]
pub fn default_text(type_id: i32) -> String {
    match TypeId::from_number(type_id).text() {
        Some(text) => text.to_owned(),
        None => format!("unknown exception type [{type_id}]"),
    }
}

impl LocalEndKind {
    /// Its number among the causes: a ttstream code, or the exception type of a refusal (see
    /// [`LocalEndKind::before_backend`]). How a wire writes it stands in that wire's `end.rs`.
    #[must_use]
    pub const fn cause(self) -> i32 {
        match self {
            Self::NoRoute => TypeId::UnknownService.number(),
            Self::PayloadMismatch => TypeId::InvalidProtocol.number(),
            Self::UnpairedMethod => TypeId::UnknownMethod.number(),
            Self::OverLimit => TypeId::InternalError.number(),
            Self::Unreachable => TtCode::TransportClosing.number(),
            Self::BackendLost | Self::DrainOver => TtCode::ConnectionClosed.number(),
            Self::Deadline => TtCode::StreamTimeout.number(),
            Self::Idle | Self::FirstResponse => TtCode::RecvTimeout.number(),
            Self::SlowReceiver | Self::MessageTooLarge | Self::Panic => TtCode::Foreign.number(),
            Self::Undecodable
            | Self::BadRequest
            | Self::InvalidRequest
            | Self::InvalidResponse
            | Self::UntranslatableRequest
            | Self::UntranslatableResponse => TtCode::IllegalFrame.number(),
        }
    }

    /// The inverse of [`LocalEndKind::name`].
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl Processed {
    /// The value in logs, traces and metrics: `no`, `maybe`, `yes`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Maybe => "maybe",
            Self::Yes => "yes",
        }
    }

    /// The inverse of [`Processed::name`].
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::No, Self::Maybe, Self::Yes]
            .into_iter()
            .find(|p| p.name() == name)
    }
}
