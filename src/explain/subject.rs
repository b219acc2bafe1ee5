//! What can be explained: its title, and its rows of the table.

use super::fields::Field;
use super::labels::Label;
use super::rows::Row;
use crate::stream::{LocalEndKind, TtCode, TypeId};
use crate::wire::grpc::status::{Code, ResetCode, reset_name};

/// Something that can be explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Ttstream(i32),
    Grpc(Code),
    Exception(i32),
    Reset(u32),
    Hop(LocalEndKind),
    Business,
    /// A word of the metrics or the access log, without a row of its own.
    Label(&'static Label),
    /// The name of a field, without a value.
    Field(&'static Field),
}

impl Subject {
    pub(super) fn title(self) -> String {
        match self {
            Self::Ttstream(n) => match TtCode::from_number(n).text() {
                Some(text) => format!("ttstream code {n}: {text}"),
                None => format!("ttstream code {n}: a number that some proxy chose"),
            },
            Self::Grpc(code) => format!(
                "gRPC status {} {}",
                code.number(),
                code.text().unwrap_or("(not in the specification)")
            ),
            Self::Exception(n) => match TypeId::from_number(n).text() {
                Some(text) => format!("exception type {n}: {text}"),
                None => match TtCode::from_number(n).text() {
                    Some(text) => format!("exception type {n}, a ttstream code: {text}"),
                    None => format!("exception type {n}"),
                },
            },
            Self::Reset(n) => format!("HTTP/2 RST_STREAM code {n} {}", reset_name(ResetCode(n))),
            Self::Hop(kind) => format!("this hop's own end: {}", kind.name()),
            Self::Business => "business error: the callee's application said no".to_owned(),
            Self::Label(label) => format!(
                "{}={} in the access log, the metrics or the spans",
                label.field, label.value
            ),
            Self::Field(field) => format!(
                "the field {} of the access log, the spans or the trailers",
                field.names.join(", ")
            ),
        }
    }

    /// The input that asks for this and nothing else.
    pub(super) fn spelling(self) -> String {
        match self {
            Self::Ttstream(n) => format!("ttstream:{n}"),
            Self::Grpc(code) => format!("grpc:{}", code.number()),
            Self::Exception(n) => format!("exception:{n}"),
            Self::Reset(n) => format!("reset:{n}"),
            Self::Hop(kind) => format!("hop:{}", kind.name()),
            Self::Business => "business".to_owned(),
            Self::Label(label) => format!("{}:{}", label.field, label.value),
            Self::Field(field) => field.name().to_owned(),
        }
    }

    /// Whether the row's input is this.
    pub(super) fn is_from(self, row: &Row) -> bool {
        self.words().iter().any(|word| has(&row.from, word))
    }

    /// Whether the row's input becomes this on one of the sides.
    pub(super) fn is_into(self, row: &Row) -> bool {
        self.words()
            .iter()
            .any(|word| has(&row.grpc_form(), word) || has(&row.ttheader_form(), word))
    }

    /// The words for the subject in a row.
    fn words(self) -> Vec<String> {
        match self {
            Self::Ttstream(n) => vec![format!("ttheader rst {n}")],
            Self::Grpc(code) => vec![format!("grpc status={}", code.number())],
            Self::Exception(n) => vec![format!("ttheader exception {n}")],
            Self::Reset(n) => vec![format!("grpc reset={n}")],
            Self::Hop(kind) => vec![format!("hop {}", kind.name())],
            Self::Business => vec!["biz 404".to_owned(), "biz-status=404".to_owned()],
            Self::Label(_) | Self::Field(_) => Vec::new(),
        }
    }
}

/// Whether `text` has `word` between spaces.
fn has(text: &str, word: &str) -> bool {
    format!(" {text} ").contains(&format!(" {word} "))
}
