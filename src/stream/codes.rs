//! The numbers that neutral values hold, as closed enums, so that a wire's table can be checked
//! for completeness: gRPC status codes, ttstream codes, thrift exception types; and the numbers of
//! this hop's own ends, which both wires write.
//!
//! Follows gRPC's `statuscodes.md`, Kitex `ttstream/exception.go` and gopkg `thrift/exception.go`.

use crate::stream::{LocalEndKind, Processed, Status};

macro_rules! numbered {
    ($(#[$meta:meta])* $name:ident : $int:ty { $($(#[$vmeta:meta])* $variant:ident = $n:literal, $text:literal;)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$vmeta])* $variant,)+
            /// Any other number.
            Other($int),
        }

        impl $name {
            /// Every known one, in order.
            pub const KNOWN: &'static [Self] = &[$(Self::$variant),+];

            /// Reads the number.
            #[must_use]
            pub const fn from_number(n: $int) -> Self {
                match n {
                    $($n => Self::$variant,)+
                    other => Self::Other(other),
                }
            }

            /// The number.
            #[must_use]
            pub const fn number(self) -> $int {
                match self {
                    $(Self::$variant => $n,)+
                    Self::Other(n) => n,
                }
            }

            /// The text that goes with it, if it is known.
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
    /// A gRPC status code; its text is its name in the specification.
    Code: u32 {
        /// Success.
        Ok = 0, "OK";
        /// Canceled, by either side.
        Cancelled = 1, "CANCELLED";
        /// Nothing better is known.
        Unknown = 2, "UNKNOWN";
        /// The application's.
        InvalidArgument = 3, "INVALID_ARGUMENT";
        /// The deadline passed.
        DeadlineExceeded = 4, "DEADLINE_EXCEEDED";
        /// The application's.
        NotFound = 5, "NOT_FOUND";
        /// The application's.
        AlreadyExists = 6, "ALREADY_EXISTS";
        /// Not allowed.
        PermissionDenied = 7, "PERMISSION_DENIED";
        /// Out of quota or memory, or a message too large.
        ResourceExhausted = 8, "RESOURCE_EXHAUSTED";
        /// The application's.
        FailedPrecondition = 9, "FAILED_PRECONDITION";
        /// The application's.
        Aborted = 10, "ABORTED";
        /// The application's.
        OutOfRange = 11, "OUT_OF_RANGE";
        /// No such method.
        Unimplemented = 12, "UNIMPLEMENTED";
        /// Something is broken.
        Internal = 13, "INTERNAL";
        /// The server is shutting down or cannot be reached.
        Unavailable = 14, "UNAVAILABLE";
        /// The application's.
        DataLoss = 15, "DATA_LOSS";
        /// No valid credentials.
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
    /// A ttstream code; its text is Kitex's.
    TtCode: i32 {
        /// A Trailer carried an exception.
        Application = 12001, "application exception";
        /// A second Header.
        UnexpectedHeader = 12002, "unexpected header frame";
        /// Business error fields unreadable.
        IllegalBizErr = 12003, "illegal bizErr";
        /// A frame that cannot be read.
        IllegalFrame = 12004, "illegal frame";
        /// E.g. send after close-send.
        IllegalOperation = 12005, "illegal operation";
        /// A caller's own connection is closing.
        TransportClosing = 12006, "transport is closing";
        /// User code canceled its context.
        BizCanceled = 12007, "user code invoking stream RPC with context processed by context.WithCancel or context.WithTimeout, then invoking cancel() actively";
        /// User code canceled with a cause.
        BizCanceledWithCause = 12008, "user code canceled with cancelCause(error)";
        /// The class of a Rst from the callee.
        ByCallee = 12009, "canceled by downstream";
        /// The class of a Rst from the caller.
        ByCaller = 12010, "canceled by upstream";
        /// The cancel came from another protocol.
        Foreign = 12011, "internal canceled";
        /// The handler returned.
        HandlerReturned = 12012, "canceled by business handler returning";
        /// A connection was lost.
        ConnectionClosed = 12013, "canceled by connection closed";
        /// No message in time.
        RecvTimeout = 12014, "stream Recv timeout";
        /// The stream's deadline.
        StreamTimeout = 12015, "stream timeout";
    }
}

numbered! {
    /// A TApplicationException's type; its text is what Kitex shows when field 1 is empty.
    TypeId: i32 {
        /// Nothing better is known.
        Unknown = 0, "unknown application exception";
        /// No such method.
        UnknownMethod = 1, "unknown method";
        /// Not a CALL.
        InvalidMessageType = 2, "invalid message type";
        /// The reply names another method.
        WrongMethodName = 3, "wrong method name";
        /// The reply has another sequence id.
        BadSequenceId = 4, "bad sequence ID";
        /// A reply without a result.
        MissingResult = 5, "missing result";
        /// What a handler returned, in Kitex streaming always.
        InternalError = 6, "unknown internal error";
        /// Unreadable.
        ProtocolError = 7, "unknown protocol error";
        /// Unknown transform.
        InvalidTransform = 8, "Invalid transform";
        /// Unknown payload protocol.
        InvalidProtocol = 9, "Invalid protocol";
        /// Unknown client.
        UnsupportedClientType = 10, "Unsupported client type";
        /// Kitex: no such service.
        UnknownService = 20, "unknown service";
        /// Kitex: the request names no service.
        NoServiceName = 21, "no service name";
    }
}

/// How the text of a Kitex gRPC server's status 1 begins when it means an unknown method.
pub const UNKNOWN_METHOD: &str = "unknown method ";

impl Status {
    /// The largest number that is kept: Kitex panics above i32, so larger ones read as UNKNOWN.
    pub const MAX_CODE: u32 = i32::MAX as u32;
}

/// What Kitex shows for an exception or a Rst without text.
#[must_use]
pub fn default_text(type_id: i32) -> String {
    match TypeId::from_number(type_id).text() {
        Some(text) => text.to_owned(),
        None => format!("unknown exception type [{type_id}]"),
    }
}

impl LocalEndKind {
    /// Its number in the vocabulary of causes: a ttstream code, or the exception type of a refusal
    /// (see [`LocalEndKind::before_backend`]). What a wire calls it stands in that wire's `end.rs`.
    #[must_use]
    pub const fn cause(self) -> i32 {
        match self {
            Self::NoRoute => TypeId::UnknownService.number(),
            Self::PayloadMismatch => TypeId::InvalidProtocol.number(),
            Self::OverLimit => TypeId::InternalError.number(),
            Self::Unreachable => TtCode::TransportClosing.number(),
            Self::BackendLost | Self::DrainOver => TtCode::ConnectionClosed.number(),
            Self::Deadline => TtCode::StreamTimeout.number(),
            Self::Idle | Self::FirstResponse => TtCode::RecvTimeout.number(),
            Self::SlowReceiver | Self::MessageTooLarge | Self::Panic => TtCode::Foreign.number(),
            Self::Undecodable | Self::BadRequest | Self::InvalidRequest | Self::InvalidResponse => {
                TtCode::IllegalFrame.number()
            }
        }
    }

    /// Reads [`LocalEndKind::name`].
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl Processed {
    /// `no`, `maybe`, `yes`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Maybe => "maybe",
            Self::Yes => "yes",
        }
    }

    /// Reads [`Processed::name`].
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::No, Self::Maybe, Self::Yes]
            .into_iter()
            .find(|p| p.name() == name)
    }
}
