//! The tables of ends, rendered for people and for tests: `ripcord explain CODE` and
//! `tests/data/end_table.golden`.
//!
//! Owns no rule: every row is made by calling the wires' `end.rs` with one native end. It is, with
//! `backend` and `listen`, a place where both wires meet; nothing on the data path imports it.

mod meaning;
mod rows;
mod show;

pub use rows::{Row, rows};

use crate::stream::{LocalEndKind, TtCode, TypeId};
use crate::wire::grpc::status::{Code, ResetCode, reset_name};

/// What may be asked for, for messages.
const ALLOWED: &str = "a ttstream code (12007), a gRPC status (grpc:5, NotFound, NOT_FOUND), an exception type \
     (exception:6), an HTTP/2 reset (reset:8), or an end of this hop (idle)";

/// Something that has a meaning and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Ttstream(i32),
    Grpc(Code),
    Exception(i32),
    Reset(u32),
    Hop(LocalEndKind),
}

/// Explains a code: what it means, who emits it, and its rows of the end table.
///
/// # Errors
/// `code` is nothing that has a row; the text says what would.
pub fn explain(code: &str) -> Result<String, String> {
    let subject =
        parse(code.trim()).ok_or_else(|| format!("{code:?} is unknown; expected {ALLOWED}"))?;
    let mut out = String::new();
    let mut line = |text: &str| {
        out.push_str(text);
        out.push('\n');
    };
    line(&title(subject));
    let (what, who) = meaning::of(subject);
    line(&format!("  means:   {what}"));
    line(&format!("  sent by: {who}"));
    let all = rows();
    let own: Vec<_> = all.iter().filter(|row| is_from(subject, row)).collect();
    let into: Vec<_> = all
        .iter()
        .filter(|row| !is_from(subject, row) && is_into(subject, row))
        .collect();
    for (heading, rows) in [("becomes", own), ("comes of", into)] {
        if rows.is_empty() {
            continue;
        }
        line("");
        line(&format!("  {heading}:"));
        for row in rows {
            line(&format!("    {}", row.from));
            line(&format!("      grpc      {}", row.grpc));
            line(&format!("      ttheader  {}", row.ttheader));
        }
    }
    Ok(out)
}

fn parse(code: &str) -> Option<Subject> {
    if let Some((kind, number)) = code.split_once(':') {
        return match kind {
            "grpc" => number
                .parse()
                .ok()
                .map(Code::from_number)
                .or_else(|| grpc_name(number))
                .map(Subject::Grpc),
            "exception" => number.parse().ok().map(Subject::Exception),
            "reset" => number.parse().ok().map(Subject::Reset),
            "ttstream" | "rst" => number.parse().ok().map(Subject::Ttstream),
            "hop" => LocalEndKind::from_name(number).map(Subject::Hop),
            _ => None,
        };
    }
    if let Ok(number) = code.parse::<i32>() {
        return match TtCode::from_number(number) {
            TtCode::Other(_) => None,
            known => Some(Subject::Ttstream(known.number())),
        };
    }
    LocalEndKind::from_name(code)
        .map(Subject::Hop)
        .or_else(|| grpc_name(code).map(Subject::Grpc))
}

/// `NotFound`, `NOT_FOUND`, `not_found`; both spellings of CANCELLED.
fn grpc_name(name: &str) -> Option<Code> {
    let bare = |text: &str| text.replace('_', "").to_ascii_lowercase();
    let wanted = bare(name);
    Code::KNOWN.iter().copied().find(|code| {
        bare(&code.go_name()) == wanted || code.text().is_some_and(|text| bare(text) == wanted)
    })
}

fn title(subject: Subject) -> String {
    match subject {
        Subject::Ttstream(n) => match TtCode::from_number(n).text() {
            Some(text) => format!("ttstream code {n}: {text}"),
            None => format!("ttstream code {n}: a number that some proxy chose"),
        },
        Subject::Grpc(code) => format!(
            "gRPC status {} {}",
            code.number(),
            code.text().unwrap_or("(not in the specification)")
        ),
        Subject::Exception(n) => match TypeId::from_number(n).text() {
            Some(text) => format!("exception type {n}: {text}"),
            None => match TtCode::from_number(n).text() {
                Some(text) => format!("exception type {n}, a ttstream code: {text}"),
                None => format!("exception type {n}"),
            },
        },
        Subject::Reset(n) => format!("HTTP/2 RST_STREAM code {n} {}", reset_name(ResetCode(n))),
        Subject::Hop(kind) => format!("this hop's own end: {}", kind.name()),
    }
}

/// The words that a row's input has for the subject.
fn words(subject: Subject) -> Vec<String> {
    match subject {
        Subject::Ttstream(n) => vec![format!("ttheader rst {n}")],
        Subject::Grpc(code) => vec![format!("grpc status={}", code.number())],
        Subject::Exception(n) => vec![format!("ttheader exception {n}")],
        Subject::Reset(n) => vec![format!("grpc reset={n}")],
        Subject::Hop(kind) => vec![format!("hop {}", kind.name())],
    }
}

fn is_from(subject: Subject, row: &Row) -> bool {
    words(subject).iter().any(|word| has(&row.from, word))
}

fn is_into(subject: Subject, row: &Row) -> bool {
    words(subject)
        .iter()
        .any(|word| has(&row.grpc_form(), word) || has(&row.ttheader_form(), word))
}

/// Whether `word` stands in `text` between spaces.
fn has(text: &str, word: &str) -> bool {
    format!(" {text} ").contains(&format!(" {word} "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_finds_its_subject() {
        for (code, title) in [
            ("12007", "ttstream code 12007"),
            ("grpc:5", "gRPC status 5 NOT_FOUND"),
            ("NotFound", "gRPC status 5"),
            ("NOT_FOUND", "gRPC status 5"),
            ("canceled", "gRPC status 1"),
            ("CANCELLED", "gRPC status 1"),
            ("exception:6", "exception type 6"),
            ("exception:12003", "exception type 12003, a ttstream code"),
            ("reset:8", "HTTP/2 RST_STREAM code 8 CANCEL"),
            ("idle", "this hop's own end: idle"),
            (" no_route ", "this hop's own end: no_route"),
        ] {
            let text = explain(code).unwrap();
            assert!(text.starts_with(title), "{code}: {text}");
            assert!(text.contains("becomes:"), "{code}: {text}");
        }
        for bad in [
            "",
            "5",
            "nothing",
            "grpc:x",
            "exception:",
            "reset:-1",
            "x:1",
        ] {
            assert!(explain(bad).unwrap_err().contains("expected"), "{bad}");
        }
    }

    #[test]
    fn everything_known_has_a_row() {
        for known in TtCode::KNOWN {
            assert!(
                explain(&known.number().to_string())
                    .unwrap()
                    .contains("becomes:")
            );
        }
        for known in TypeId::KNOWN {
            let text = explain(&format!("exception:{}", known.number())).unwrap();
            assert!(text.contains("becomes:"));
        }
        for known in Code::KNOWN {
            assert!(explain(known.text().unwrap()).unwrap().contains("becomes:"));
        }
        for kind in LocalEndKind::ALL {
            assert!(explain(kind.name()).unwrap().contains("becomes:"));
        }
    }
}
