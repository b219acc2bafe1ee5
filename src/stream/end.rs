//! How a stream finished: a value with its initiator, made where the end was observed.
//!
//! Each wire has a table between these values and its native forms, without wildcard arms: its
//! `end.rs`.

use bytes::Bytes;

use crate::stream::{Cancel, CancelSignal, Cause, Class, Cut, Metadata, Path};

/// Who caused the end, as this hop sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Initiator {
    /// The one who opened the stream.
    Caller,
    /// The one who serves the stream.
    Callee,
    /// This ripcord.
    Hop,
}

/// Whether the callee may have processed the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Processed {
    /// No: nothing reached the callee, or it refused before it looked (REFUSED_STREAM).
    No,
    /// Not known: the request may have reached the callee, and no answer came.
    Maybe,
    /// Yes: the callee answered.
    Yes,
}

/// How one stream finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Who caused it.
    pub by: Initiator,
    /// Whether the callee may have processed the call.
    pub processed: Processed,
    /// In which way the stream ended.
    pub reason: Reason,
    /// The callee's trailers, without those that `reason` holds.
    pub trailers: Metadata,
    /// What earlier hops had to cut of it.
    pub cut: Cut,
}

/// The ways in which a stream ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The callee finished with success.
    Complete,
    /// The callee reported a failure.
    Failed(Failure),
    /// A peer canceled, or its connection was lost.
    Canceled(Cancel),
    /// This hop ended the stream itself.
    Hop(LocalEnd),
}

/// What a callee reports of a call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A gRPC status other than OK and CANCELLED. An HTTP/2 reset or an HTTP status may have been
    /// read as one.
    Status(Status),
    /// A thrift `TApplicationException` in a Trailer.
    Exception(Exception),
    /// A Kitex business error, on either wire.
    Business(Business),
}

/// A gRPC status. Its details stay undecoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The status code. Unknown ones pass through.
    pub code: u32,
    /// `grpc-message`, percent-decoded.
    pub message: String,
    /// `grpc-status-details-bin`, base64-decoded: a serialized `google.rpc.Status`.
    pub details: Option<Bytes>,
}

/// A thrift `TApplicationException`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Field 2, the type. 0 to 10 are thrift's, 20 and 21 Kitex's, 12001 to 12015 ttstream's.
    pub type_id: i32,
    /// Field 1, the message.
    pub text: String,
}

/// A Kitex business error: the handler's own answer, not a failure of the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Business {
    /// `biz-status`; never 0.
    pub code: i32,
    /// `biz-message`, or `grpc-message`.
    pub text: String,
    /// `biz-extra`, a JSON object of strings, unchanged.
    pub extra: Option<Bytes>,
    /// The gRPC status beside it, when the callee spoke gRPC.
    pub status: Option<Status>,
}

/// An end that this hop decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalEnd {
    /// Which limit, loss or error it was.
    pub kind: LocalEndKind,
    /// Its text, for people.
    pub text: String,
    /// Who set the limit. `None` when this hop itself is the origin.
    pub owner: Option<Box<LimitOwner>>,
    /// The field of the caller's message that it is about, as a path: `lines[2].text`.
    pub field: Option<Box<str>>,
}

/// Who set the limit that a hop enforced: the caller, or a hop before this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitOwner {
    /// The names from the owner's to the one before this hop.
    pub path: Path,
    /// The caller ended the stream by its own clock, so it receives nothing.
    pub caller_was_first: bool,
}

/// The ends that a ripcord decides itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LocalEndKind {
    /// No route matches the request.
    NoRoute,
    /// The backend cannot take this kind of payload.
    PayloadMismatch,
    /// The route's schema does not translate this method.
    UnpairedMethod,
    /// A limit was reached before a backend was involved.
    OverLimit,
    /// No connection to the backend could be made.
    Unreachable,
    /// The backend's connection was lost while the stream ran.
    BackendLost,
    /// Drain took longer than allowed.
    DrainOver,
    /// The deadline of the whole stream passed.
    Deadline,
    /// No message moved for longer than `idle`.
    Idle,
    /// The callee sent nothing for longer than `first_response`.
    FirstResponse,
    /// A receiver did not read for too long.
    SlowReceiver,
    /// A message is larger than the limit.
    MessageTooLarge,
    /// The callee sent something that cannot be decoded.
    Undecodable,
    /// The caller sent something that cannot be decoded.
    BadRequest,
    /// A message of the caller is not what the route requires (`validate`, `translate`).
    InvalidRequest,
    /// A message of the callee is not what the route requires (`validate`, `translate`).
    InvalidResponse,
    /// A message of the caller says what the callee's form cannot say (`translate`).
    UntranslatableRequest,
    /// A message of the callee says what the caller's form cannot say (`translate`).
    UntranslatableResponse,
    /// The stream's task panicked.
    Panic,
}

impl LocalEndKind {
    /// All kinds, for tables.
    pub const ALL: [Self; 19] = [
        Self::NoRoute,
        Self::PayloadMismatch,
        Self::UnpairedMethod,
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
        Self::UntranslatableRequest,
        Self::UntranslatableResponse,
        Self::Panic,
    ];

    /// Its name in logs, metrics and tables; lower case, and it never changes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoRoute => "no_route",
            Self::PayloadMismatch => "payload_mismatch",
            Self::UnpairedMethod => "unpaired_method",
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
            Self::UntranslatableRequest => "untranslatable_request",
            Self::UntranslatableResponse => "untranslatable_response",
            Self::Panic => "panic",
        }
    }

    /// Whether it happened before a backend was involved. It is then a refusal.
    #[must_use]
    pub const fn before_backend(self) -> bool {
        match self {
            Self::NoRoute
            | Self::PayloadMismatch
            | Self::UnpairedMethod
            | Self::OverLimit
            | Self::Unreachable => true,
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
            | Self::UntranslatableRequest
            | Self::UntranslatableResponse
            | Self::Panic => false,
        }
    }
}

impl LocalEnd {
    /// An end of which this hop is the origin.
    #[must_use]
    pub fn new(kind: LocalEndKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
            owner: None,
            field: None,
        }
    }

    /// The path of its cancel: it begins at `node`, or where its limit was set, and has `node` in
    /// it.
    #[must_use]
    pub fn path(&self, node: &str) -> Path {
        let mut path = match self.owner.as_deref() {
            Some(owner) => owner.path.clone(),
            None => Path::new(),
        };
        path.append(node);
        path
    }

    /// What the caller receives when this ends a stream that runs: a cancel with
    /// [`LocalEnd::path`].
    #[must_use]
    pub fn to_caller(&self, node: &str) -> Cancel {
        self.cancel(node, Class::ByCallee)
    }

    /// What the callee receives: a cancel with [`LocalEnd::path`]. `None` when the callee was
    /// never asked, or its connection is gone.
    #[must_use]
    pub fn to_callee(&self, node: &str) -> Option<Cancel> {
        let heard = match self.kind {
            LocalEndKind::NoRoute
            | LocalEndKind::PayloadMismatch
            | LocalEndKind::UnpairedMethod
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
            | LocalEndKind::UntranslatableRequest
            | LocalEndKind::UntranslatableResponse
            | LocalEndKind::Panic => true,
        };
        heard.then(|| self.cancel(node, Class::ByCaller))
    }

    /// The one rule for a cancel of this hop. The receiver sees it come from this hop's side.
    fn cancel(&self, node: &str, class: Class) -> Cancel {
        Cancel {
            cause: Cause {
                code: self.kind.cause(),
                text: self.text.clone(),
            },
            path: self.path(node),
            class,
            signal: CancelSignal::OWN,
            status: None,
        }
    }
}

impl End {
    /// Success, reported by the callee.
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

    /// Writes this hop's name before the text of its own refusal. A refusal has no path: in a
    /// chain, nothing else shows which hop refused. Another hop's refusal, which came from the
    /// callee's side, stays as it is.
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
            Reason::Hop(hop) => {
                self.by != Initiator::Callee && hop.kind != LocalEndKind::BackendLost
            }
            Reason::Complete | Reason::Failed(_) | Reason::Canceled(_) => false,
        }
    }

    /// A local end of this hop.
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
            reason: Reason::Hop(LocalEnd::new(kind, text)),
            trailers: Metadata::new(),
            cut: Cut::default(),
        }
    }
}
