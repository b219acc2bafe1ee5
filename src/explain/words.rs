//! Turns a word that was asked for into the subjects that it can mean.

use super::fields::{self, FIELDS};
use super::labels::{self, LABELS};
use super::subject::Subject;
use crate::config;
use crate::stream::{LocalEndKind, TtCode, TypeId};
use crate::telemetry::names;
use crate::wire::grpc::status::{Code, KITEX_GRACEFUL, ResetCode, reset_name};

/// The most suggestions for an unknown word.
const SUGGESTIONS: usize = 3;

/// Every subject that `word` can mean; empty for an unknown word.
pub(super) fn read(word: &str) -> Vec<Subject> {
    if let Some(field) = fields::find(word) {
        return vec![Subject::Field(field)];
    }
    if let Some((field, value)) = word.split_once([':', '=']) {
        return of_field(field.trim(), unquoted(value))
            .into_iter()
            .collect();
    }
    if let Ok(number) = word.parse::<i32>() {
        return of_number(number);
    }
    let mut found: Vec<Subject> = [
        LocalEndKind::from_name(&word.to_ascii_lowercase()).map(Subject::Hop),
        grpc_name(word).map(Subject::Grpc),
        error_type(word),
        reset(word).map(Subject::Reset),
    ]
    .into_iter()
    .flatten()
    .collect();
    found.extend(labels::find(None, word).map(Subject::Label));
    let mut distinct = Vec::new();
    for subject in found {
        if !distinct.contains(&subject) {
            distinct.push(subject);
        }
    }
    distinct
}

/// A value without the quotes of JSON and of Prometheus.
pub(super) fn unquoted(value: &str) -> &str {
    value.trim().trim_matches(['"', '\'', '`'])
}

/// The subject of a field or label `field` with that value.
pub(super) fn of_field(field: &str, value: &str) -> Option<Subject> {
    let number = || value.parse::<i32>().ok();
    let label = |field| labels::find(Some(field), value).next().map(Subject::Label);
    match field {
        "grpc" | "grpc-status" | "grpc_status" | "rpc.grpc.status_code" => number()
            .and_then(|n| u32::try_from(n).ok())
            .map(Code::from_number)
            .or_else(|| grpc_name(value))
            .map(Subject::Grpc),
        // Other programs log HTTP statuses under this name. Only gRPC's numbers count.
        "status" => number()
            .and_then(|n| u32::try_from(n).ok())
            .map(Code::from_number)
            .filter(|code| code.text().is_some())
            .map(Subject::Grpc),
        "biz-status" => (value != "0").then_some(Subject::Business),
        "exception" => number().map(Subject::Exception),
        "reset" => value
            .parse()
            .ok()
            .or_else(|| reset(value))
            .map(Subject::Reset),
        "ttstream" | "rst" => number().map(Subject::Ttstream),
        "hop" => LocalEndKind::from_name(value).map(Subject::Hop),
        "cause" | "ripcord.cancel.cause" => {
            number().map(Subject::Ttstream).or_else(|| label("cause"))
        }
        "error_type" | "error.type" => error_type(value).or_else(|| label("error_type")),
        "ripcord-code" => number().map(|n| match TtCode::from_number(n) {
            TtCode::Other(_) => Subject::Exception(n),
            known => Subject::Ttstream(known.number()),
        }),
        "ripcord-end" => LocalEndKind::from_name(value).map(Subject::Hop),
        "class" | "ripcord-class" | "ripcord.cancel.class" => label("class").or_else(|| {
            let name = names::CLASSES
                .into_iter()
                .find(|class| number() == Some(class.code()))
                .map(names::class_name)?;
            labels::find(Some("class"), name).next().map(Subject::Label)
        }),
        "end" | "ripcord.end.kind" => label("end"),
        "by" | "ripcord.end.by" | "ripcord.cancel.by" => label("by"),
        "how" | "ripcord.cancel.how" => label("how"),
        "kind" => label("kind"),
        "processed" | "ripcord.end.processed" | "ripcord-processed" => label("processed"),
        _ => None,
    }
}

/// A bare number. gRPC's and thrift's are both small, Kitex's are not.
fn of_number(number: i32) -> Vec<Subject> {
    let mut found = Vec::new();
    if !matches!(TtCode::from_number(number), TtCode::Other(_)) {
        found.push(Subject::Ttstream(number));
    }
    if let Some(code) = u32::try_from(number).ok().map(Code::from_number)
        && code.text().is_some()
    {
        found.push(Subject::Grpc(code));
    }
    if TypeId::from_number(number).text().is_some() {
        found.push(Subject::Exception(number));
    }
    if u32::try_from(number) == Ok(KITEX_GRACEFUL.0) {
        found.push(Subject::Reset(KITEX_GRACEFUL.0));
    }
    found
}

/// `NotFound`, `NOT_FOUND`, `not found`; both spellings of CANCELLED.
pub(super) fn grpc_name(name: &str) -> Option<Code> {
    let bare = |text: &str| text.replace(['_', ' ', '-'], "").to_ascii_lowercase();
    let wanted = bare(name);
    Code::KNOWN.iter().copied().find(|code| {
        bare(&code.go_name()) == wanted || code.text().is_some_and(|text| bare(text) == wanted)
    })
}

/// A value of the label `error_type` that has rows in the table.
fn error_type(name: &str) -> Option<Subject> {
    let name = name.to_ascii_lowercase();
    if name == "business" {
        return Some(Subject::Business);
    }
    if let Some(status) = name.strip_prefix("status_") {
        return grpc_name(status).map(Subject::Grpc);
    }
    if let Some(number) = name.strip_prefix("exception_") {
        return number.parse().ok().map(Subject::Exception);
    }
    LocalEndKind::from_name(&name).map(Subject::Hop)
}

/// A RST_STREAM's code by its name in the RFC.
pub(super) fn reset(name: &str) -> Option<u32> {
    resets().find(|code| reset_name(ResetCode(*code)).eq_ignore_ascii_case(name))
}

fn resets() -> impl Iterator<Item = u32> {
    (0..=ResetCode::HTTP_1_1_REQUIRED.0).chain([KITEX_GRACEFUL.0])
}

/// Known words that are similar to an unknown one, the nearest first.
pub(super) fn near(word: &str) -> Vec<String> {
    let mut known = vocabulary();
    let mut found = Vec::new();
    while found.len() < SUGGESTIONS {
        let words: Vec<&str> = known.iter().map(String::as_str).collect();
        let Some(meant) = config::suggestion(word, &words).map(str::to_owned) else {
            break;
        };
        let same = |known: &String| known.eq_ignore_ascii_case(&meant);
        known.retain(|word| !same(word));
        found.push(meant);
    }
    found
}

fn vocabulary() -> Vec<String> {
    let mut known: Vec<String> = Vec::new();
    known.extend(LocalEndKind::ALL.map(|kind| kind.name().to_owned()));
    known.extend(FIELDS.iter().map(|field| field.name().to_owned()));
    known.extend(LABELS.iter().map(|label| label.value.to_owned()));
    known.extend(TtCode::KNOWN.iter().map(|code| code.number().to_string()));
    for code in Code::KNOWN {
        known.extend(code.text().map(str::to_owned));
        known.push(code.go_name());
    }
    known.extend((0..names::ERRORS).map(|at| names::error_name(at).to_owned()));
    known.extend(resets().map(|code| reset_name(ResetCode(code))));
    known
}
