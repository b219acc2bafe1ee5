//! Ends, and what peers receive, as the words of a row.

use http::HeaderMap;

use crate::stream::{Cancel, End, Failure, Initiator, Reason};
use crate::wire::grpc;
use crate::wire::ttheader::end::{Terminal, TerminalKind};
use crate::wire::ttheader::exception;

pub(super) fn show_trailers(trailers: &HeaderMap) -> String {
    let get = |name: &str| {
        trailers
            .get(name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let mut out = format!("status={}", get(grpc::keys::STATUS).unwrap_or_default());
    for name in [grpc::keys::BIZ_STATUS, grpc::keys::BIZ_EXTRA] {
        if let Some(value) = get(name) {
            out += &format!(" {name}={value}");
        }
    }
    for name in [
        grpc::keys::END,
        grpc::keys::CODE,
        grpc::keys::PATH,
        grpc::keys::CLASS,
        grpc::keys::PROCESSED,
    ] {
        if let Some(value) = get(name) {
            let value = if value.contains(' ') {
                format!("{value:?}")
            } else {
                value
            };
            out += &format!(" {name}={value}");
        }
    }
    if trailers.contains_key(grpc::keys::DETAILS) {
        out += " details";
    }
    let message = get(grpc::keys::MESSAGE).unwrap_or_default();
    let message = grpc::status::decode_message(message.as_bytes());
    format!("{out} message={message:?}")
}

pub(super) fn show_terminal(terminal: &Terminal) -> String {
    let mut out = match (terminal.kind, exception::decode(&terminal.payload)) {
        (TerminalKind::Rst, Ok(said)) => {
            format!(
                "rst {} text={:?}",
                said.exception.type_id, said.exception.text
            )
        }
        (TerminalKind::Trailer, Ok(said)) => format!(
            "exception {} text={:?}",
            said.exception.type_id, said.exception.text
        ),
        (TerminalKind::Rst, Err(_)) => "rst".to_owned(),
        (TerminalKind::Trailer, Err(_)) => "trailer".to_owned(),
    };
    for (key, value) in &terminal.strings {
        let (key, value) = (String::from_utf8_lossy(key), String::from_utf8_lossy(value));
        if value.contains(' ') {
            out += &format!(" {key}={value:?}");
        } else {
            out += &format!(" {key}={value}");
        }
    }
    out
}

pub(super) fn show(end: &End) -> String {
    let what = match &end.reason {
        Reason::Complete => "complete".to_owned(),
        Reason::Failed(Failure::Status(status)) => format!("failed status {}", status.code),
        Reason::Failed(Failure::Exception(said)) => format!("failed exception {}", said.type_id),
        Reason::Failed(Failure::Business(found)) => format!("failed business {}", found.code),
        Reason::Canceled(cancel) => show_cancel(cancel),
        Reason::Hop(hop) => format!("hop {}", hop.kind.name()),
    };
    let by = match end.by {
        Initiator::Caller => "caller",
        Initiator::Callee => "callee",
        Initiator::Hop => "hop",
    };
    let processed = end.processed.name();
    format!("{what}, by {by}, processed {processed}")
}

fn show_cancel(cancel: &Cancel) -> String {
    let mut how = cancel.signal.name().replace('_', " ");
    if let Some(number) = cancel.signal.number() {
        how += &format!(" {number}");
    }
    let class = cancel.class.code();
    format!("canceled {}, class {class}, how {how}", cancel.cause.code)
}
