//! How a stream finished: a value with its origin, made where it was observed.
//!
//! A wire's `end.rs` is the table between these values and its native forms, without wildcard arms.

use bytes::Bytes;

use crate::stream::{Cancel, CancelSignal, Cause, Class, Cut, Metadata, Path};

/// Who brought the end about, as this hop sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Initiator {
    /// Who opened the stream.
    Caller,
    /// Who serves it.
    Callee,
    /// This ripcord.
    Hop,
}

/// Whether the callee may have processed the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Processed {
    /// It cannot have: nothing reached it, or it refused before looking (REFUSED_STREAM).
    No,
    /// Unknown.
    Maybe,
    /// It answered.
    Yes,
}

/// One end of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Who brought it about.
    pub by: Initiator,
    /// Whether the callee may have processed the call.
    pub processed: Processed,
    /// What it was.
    pub reason: Reason,
    /// The callee's trailers, without what `reason` already says.
    pub trailers: Metadata,
    /// What hops before this one had to cut of it.
    pub cut: Cut,
}

/// What an end was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The callee finished with success.
    Complete,
    /// The callee said that it failed.
    Failed(Failure),
    /// Somebody let go.
    Canceled(Cancel),
    /// This hop ended the stream itself.
    Hop(LocalEnd),
}

/// What a callee says of a call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A gRPC status other than OK and CANCELLED, or an HTTP/2 reset or HTTP status read as one.
    Status(Status),
    /// A thrift TApplicationException in a Trailer.
    Exception(Exception),
    /// A Kitex business error, on either wire.
    Business(Business),
}

/// A gRPC status (`google.rpc.Status` without its repeated field decoded).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The number; unknown ones pass through.
    pub code: u32,
    /// `grpc-message`, percent-decoded.
    pub message: String,
    /// `grpc-status-details-bin`, base64-decoded: a serialized `google.rpc.Status`.
    pub details: Option<Bytes>,
}

/// A TApplicationException.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Field 2. 0-10 are thrift's, 20 and 21 Kitex's, 12001-12015 ttstream's.
    pub type_id: i32,
    /// Field 1.
    pub text: String,
}

/// A Kitex business error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Business {
    /// `biz-status`, never 0.
    pub code: i32,
    /// `biz-message`, or `grpc-message`.
    pub text: String,
    /// `biz-extra`, a JSON object of strings, as the wire had it.
    pub extra: Option<Bytes>,
    /// The gRPC status that stood beside it, when the callee spoke gRPC.
    pub status: Option<Status>,
}

/// An end that this hop brought about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalEnd {
    /// Which.
    pub kind: LocalEndKind,
    /// What to tell people.
    pub text: String,
}

/// The ends that a hop brings about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LocalEndKind {
    /// No route matches.
    NoRoute,
    /// The backend cannot take this kind of payload.
    PayloadMismatch,
    /// Over a limit, before a backend was involved.
    OverLimit,
    /// The backend cannot be reached.
    Unreachable,
    /// The backend's connection was lost in mid stream.
    BackendLost,
    /// Draining took longer than allowed.
    DrainOver,
    /// The stream's deadline.
    Deadline,
    /// No message for too long.
    Idle,
    /// The callee stayed silent for too long.
    FirstResponse,
    /// The receiver was too slow for too long.
    SlowReceiver,
    /// A message over the limit.
    MessageTooLarge,
    /// The callee sent what cannot be decoded.
    Undecodable,
    /// The caller sent what cannot be decoded.
    BadRequest,
    /// A message of the caller's is not what the route says that it is.
    InvalidRequest,
    /// A message of the callee's is not what the route says that it is.
    InvalidResponse,
    /// A panic in this stream's task.
    Panic,
}

impl LocalEndKind {
    /// Every kind, for tables.
    pub const ALL: [Self; 16] = [
        Self::NoRoute,
        Self::PayloadMismatch,
        Self::OverLimit,
        Self::Unreachable,
        Self::BackendLost,
        Self::DrainOver,
        Self::Deadline,
        Self::Idle,
        Self::FirstResponse,
        Self::SlowReceiver,
        Self::MessageTooLarge,
        Self::Undecodable,
        Self::BadRequest,
        Self::InvalidRequest,
        Self::InvalidResponse,
        Self::Panic,
    ];

    /// A stable lower-case name, for logs, metrics and tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoRoute => "no_route",
            Self::PayloadMismatch => "payload_mismatch",
            Self::OverLimit => "over_limit",
            Self::Unreachable => "unreachable",
            Self::BackendLost => "backend_lost",
            Self::DrainOver => "drain_over",
            Self::Deadline => "deadline",
            Self::Idle => "idle",
            Self::FirstResponse => "first_response",
            Self::SlowReceiver => "slow_receiver",
            Self::MessageTooLarge => "message_too_large",
            Self::Undecodable => "undecodable",
            Self::BadRequest => "bad_request",
            Self::InvalidRequest => "invalid_request",
            Self::InvalidResponse => "invalid_response",
            Self::Panic => "panic",
        }
    }

    /// Whether it happened before a backend was involved, so that it is a refusal.
    #[must_use]
    pub const fn before_backend(self) -> bool {
        match self {
            Self::NoRoute | Self::PayloadMismatch | Self::OverLimit | Self::Unreachable => true,
            Self::BackendLost
            | Self::DrainOver
            | Self::Deadline
            | Self::Idle
            | Self::FirstResponse
            | Self::SlowReceiver
            | Self::MessageTooLarge
            | Self::Undecodable
            | Self::BadRequest
            | Self::InvalidRequest
            | Self::InvalidResponse
            | Self::Panic => false,
        }
    }
}

impl LocalEnd {
    /// What the caller is told of an end in mid stream: a cancel whose path begins at `node`.
    #[must_use]
    pub fn to_caller(&self, node: &str) -> Cancel {
        self.cancel(node, Class::ByCallee)
    }

    /// What the callee is told: a cancel whose path begins at `node`. `None` where no callee hears
    /// anything: it was never asked, or its connection is gone.
    #[must_use]
    pub fn to_callee(&self, node: &str) -> Option<Cancel> {
        let heard = match self.kind {
            LocalEndKind::NoRoute
            | LocalEndKind::PayloadMismatch
            | LocalEndKind::OverLimit
            | LocalEndKind::Unreachable
            | LocalEndKind::BackendLost => false,
            LocalEndKind::DrainOver
            | LocalEndKind::Deadline
            | LocalEndKind::Idle
            | LocalEndKind::FirstResponse
            | LocalEndKind::SlowReceiver
            | LocalEndKind::MessageTooLarge
            | LocalEndKind::Undecodable
            | LocalEndKind::BadRequest
            | LocalEndKind::InvalidRequest
            | LocalEndKind::InvalidResponse
            | LocalEndKind::Panic => true,
        };
        heard.then(|| self.cancel(node, Class::ByCaller))
    }

    /// The one rule for a hop's own cancel. The receiver sees it come from this hop's side.
    fn cancel(&self, node: &str, class: Class) -> Cancel {
        Cancel {
            cause: Cause {
                code: self.kind.cause(),
                text: self.text.clone(),
            },
            path: Path::from_origin(node),
            class,
            signal: CancelSignal::OWN,
            status: None,
        }
    }
}

impl End {
    /// Success, said by the callee.
    #[must_use]
    pub fn complete(trailers: Metadata) -> Self {
        Self {
            by: Initiator::Callee,
            processed: Processed::Yes,
            reason: Reason::Complete,
            trailers,
            cut: Cut::default(),
        }
    }

    /// A failure that the callee reported.
    #[must_use]
    pub fn failed(failure: Failure, trailers: Metadata) -> Self {
        Self {
            by: Initiator::Callee,
            processed: Processed::Yes,
            reason: Reason::Failed(failure),
            trailers,
            cut: Cut::default(),
        }
    }

    /// A cancel, by the caller or the callee.
    #[must_use]
    pub fn canceled(by: Initiator, cancel: Cancel) -> Self {
        Self {
            by,
            processed: Processed::Maybe,
            reason: Reason::Canceled(cancel),
            trailers: Metadata::new(),
            cut: Cut::default(),
        }
    }

    /// Writes this hop's name before the text of its own refusal. A refusal has no path: in a chain,
    /// nothing else says which hop refused. Another hop's refusal, which the callee's side brought,
    /// stays as it is.
    pub fn sign(&mut self, node: &str) {
        if let (Reason::Hop(hop), Initiator::Hop) = (&mut self.reason, self.by)
            && hop.kind.before_backend()
        {
            hop.text = format!("{node}: {}", hop.text);
        }
    }

    /// Whether this hop decided to end a stream that could have gone on.
    #[must_use]
    pub fn is_own_decision(&self) -> bool {
        match &self.reason {
            Reason::Hop(hop) => self.by == Initiator::Hop && hop.kind != LocalEndKind::BackendLost,
            Reason::Complete | Reason::Failed(_) | Reason::Canceled(_) => false,
        }
    }

    /// This hop's own end.
    #[must_use]
    pub fn hop(kind: LocalEndKind, text: impl Into<String>) -> Self {
        let processed = if kind.before_backend() {
            Processed::No
        } else {
            Processed::Maybe
        };
        Self {
            by: Initiator::Hop,
            processed,
            reason: Reason::Hop(LocalEnd {
                kind,
                text: text.into(),
            }),
            trailers: Metadata::new(),
            cut: Cut::default(),
        }
    }
}
