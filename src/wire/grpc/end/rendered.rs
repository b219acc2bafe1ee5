//! A reason as gRPC renders it: its status, text, details and business fields, before they become
//! headers. One function renders it, so that a received end can be compared with a rendered one.

use bytes::Bytes;
use http::HeaderMap;

use super::{
    CARRIED_OWN, ERROR_DOMAIN, own_cancel, status_of_cause, status_of_exception, status_of_own,
};
use crate::stream::{
    Business, Cancel, CancelSignal, Code, Exception, Failure, Part, Path, Reason, Status, TtCode,
    code, default_text,
};
use crate::wire::grpc::metadata;
use crate::wire::grpc::status::{BadField, ErrorInfo, encode_details_with};

/// What a gRPC peer receives of an end, without the trailers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RenderedStatus {
    /// Status, text and details.
    pub(super) status: Status,
    /// `biz-status`, and `biz-extra` in printable ASCII.
    pub(super) biz: Option<(i32, Option<String>)>,
}

/// How the text of a cancel is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wording {
    /// As Kitex prints an error that its caller received, with code and path first. For what comes
    /// from, or goes through, a ttstream.
    Kitex,
    /// The text alone: for the local end of a hop between two gRPC peers.
    Plain,
}

impl RenderedStatus {
    /// Renders a reason. `wording` is that of local ends in mid stream, this hop's or another's.
    pub(super) fn of(reason: &Reason, node: &str, wording: Wording) -> Self {
        match reason {
            Reason::Complete => Self::plain(Status {
                code: Code::Ok.number(),
                message: String::new(),
                details: None,
            }),
            Reason::Failed(Failure::Status(status)) => Self::plain(status.clone()),
            Reason::Failed(Failure::Exception(exception)) => Self::of_exception(exception),
            Reason::Failed(Failure::Business(found)) => Self::of_business(found),
            Reason::Canceled(cancel) if cancel.signal == CARRIED_OWN => {
                Self::of_cancel(cancel, wording)
            }
            Reason::Canceled(cancel) => Self::of_cancel(cancel, Wording::Kitex),
            Reason::Hop(hop) if hop.kind.before_backend() => Self::plain(explained(
                status_of_own(hop.kind),
                hop.text.clone(),
                hop.kind.name().to_ascii_uppercase(),
                vec![("code", hop.kind.cause().to_string())],
                None,
            )),
            Reason::Hop(hop) => Self::of_cancel(&own_cancel(hop, node), wording),
        }
    }

    pub(super) fn of_business(found: &Business) -> Self {
        let status = match &found.status {
            Some(status) => Status {
                message: found.text.clone(),
                ..status.clone()
            },
            None => explained(
                Code::Internal,
                found.text.clone(),
                "BIZ_STATUS_ERROR".to_owned(),
                vec![("code", found.code.to_string())],
                None,
            ),
        };
        Self {
            status,
            biz: Some((found.code, found.extra.as_ref().map(ascii_extra))),
        }
    }

    fn of_exception(exception: &Exception) -> Self {
        let text = shown(exception.type_id, &exception.text);
        Self::plain(explained(
            status_of_exception(exception.type_id),
            format!("{}{text}", prefix(code::APPLICATION, &Path::new())),
            "APPLICATION_EXCEPTION".to_owned(),
            vec![("code", exception.type_id.to_string())],
            None,
        ))
    }

    fn of_cancel(cancel: &Cancel, wording: Wording) -> Self {
        if let (CancelSignal::STATUS, Some(status)) = (cancel.signal, &cancel.status) {
            return Self::plain(Status::clone(status));
        }
        let code = match &cancel.status {
            Some(status) => Code::from_number(status.code),
            None => status_of_cause(cancel.cause.code),
        };
        let text = shown(cancel.cause.code, &cancel.cause.text);
        let beside = cancel
            .status
            .as_ref()
            .and_then(|status| status.details.as_ref());
        let beside = beside.and_then(BadField::decode);
        let mut more = vec![
            ("code", cancel.cause.code.to_string()),
            ("class", cancel.class.code().to_string()),
        ];
        if let Some(origin) = cancel.path.origin() {
            more.push(("path", cancel.path.to_wire()));
            more.push(("origin", origin.to_owned()));
        }
        Self::plain(explained(
            code,
            match wording {
                Wording::Kitex => format!("{}{text}", prefix(cancel.cause.code, &cancel.path)),
                Wording::Plain => text,
            },
            reason(cancel.cause.code).to_owned(),
            more,
            beside.as_ref(),
        ))
    }

    fn plain(status: Status) -> Self {
        Self { status, biz: None }
    }

    /// Whether `seen` is this rendering. Details may be missing if `trailers` name them as cut.
    pub(super) fn matches(&self, seen: &Self, trailers: &HeaderMap) -> bool {
        self.biz == seen.biz
            && self.status.code == seen.status.code
            && self.status.message == seen.status.message
            && (self.status.details == seen.status.details
                || (seen.status.details.is_none()
                    && metadata::cut(trailers).contains(Part::Details)))
    }
}

/// The text that Kitex prints before the text of an error that its caller received.
pub(super) fn prefix(code: i32, path: &Path) -> String {
    let wire = path.to_wire();
    if wire.is_empty() {
        format!("[ttstream error, code={code}] [client-side stream] ")
    } else {
        format!("[ttstream error, code={code}] [client-side stream] [canceled path: {path}] ")
    }
}

fn shown(code: i32, text: &str) -> String {
    if text.is_empty() {
        default_text(code)
    } else {
        text.to_owned()
    }
}

fn explained(
    code: Code,
    message: String,
    reason: String,
    metadata: Vec<(&'static str, String)>,
    bad: Option<&BadField>,
) -> Status {
    let info = ErrorInfo {
        reason,
        domain: ERROR_DOMAIN.to_owned(),
        metadata: metadata
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    };
    let details = encode_details_with(code.number(), &message, &info, bad);
    Status {
        code: code.number(),
        message,
        details: Some(details),
    }
}

/// The `ErrorInfo.reason` for a cause.
const fn reason(cause: i32) -> &'static str {
    match TtCode::from_number(cause) {
        TtCode::Application => "APPLICATION_EXCEPTION",
        TtCode::UnexpectedHeader => "UNEXPECTED_HEADER",
        TtCode::IllegalBizErr => "ILLEGAL_BIZ_ERR",
        TtCode::IllegalFrame => "ILLEGAL_FRAME",
        TtCode::IllegalOperation => "ILLEGAL_OPERATION",
        TtCode::TransportClosing => "TRANSPORT_CLOSING",
        TtCode::BizCanceled => "BIZ_CANCELED",
        TtCode::BizCanceledWithCause => "BIZ_CANCELED_WITH_CAUSE",
        TtCode::ByCallee => "CANCELED_BY_CALLEE",
        TtCode::ByCaller => "CANCELED_BY_CALLER",
        TtCode::Foreign => "INTERNAL_CANCELED",
        TtCode::HandlerReturned => "HANDLER_RETURNED",
        TtCode::ConnectionClosed => "CONNECTION_CLOSED",
        TtCode::RecvTimeout => "RECV_TIMEOUT",
        TtCode::StreamTimeout => "STREAM_TIMEOUT",
        TtCode::Other(_) => "CANCELED",
    }
}

/// JSON as a header can hold it. Characters outside of ASCII occur only within strings, where they
/// can be escaped. Line breaks occur only outside of strings, where spaces can replace them.
pub(super) fn ascii_extra(raw: &Bytes) -> String {
    let text = String::from_utf8_lossy(raw);
    let mut out = String::with_capacity(text.len());
    for c in text.trim().chars() {
        match c {
            ' '..='~' => out.push(c),
            c if c.is_ascii_control() && c != '\u{7f}' => out.push(' '),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    out
}
