//! The end table, rendered for people and for tests: `ripcord explain` and
//! `tests/data/end_table.golden`.
//!
//! It has no rule of its own. Every row is made by giving one native end to the wires' `end.rs`.
//! Nothing on the data path imports it.
//!
//! The input is a word (`words`), or a line that a program printed (`pasted`). Both become
//! subjects. A subject has a meaning (`meaning`), an advice (`advice`) and rows of the table.

mod advice;
mod fields;
mod labels;
mod meaning;
mod own;
mod pasted;
mod rows;
mod show;
mod subject;
mod words;

use std::fmt::Write as _;
use std::sync::LazyLock;

pub use rows::{Row, rows};

use pasted::Pasted;
use subject::Subject;

/// What can be asked for, for messages.
const ALLOWED: &str = "a ttstream code (12007), a gRPC status (5, grpc:5, NotFound, NOT_FOUND), an exception type \
     (exception:6), an HTTP/2 reset (reset:8, REFUSED_STREAM), a word of the metrics or the access log (idle, \
     status_not_found, cause=12011), a field's name (ripcord-code), or a line that Kitex, a gRPC library or ripcord printed";

/// How to read what is printed.
const LEGEND: &str = "\
How to read the rows:
  `callee ttheader rst 12007` is what came in: who sent it, on which wire, and what it was.
  `hop idle to caller` is an end of this ripcord's own, and whom it tells.
  `as trailer:` is the same toward a peer with `cancel_as: trailer`.
  The lines below it say what the peer on the other side is told, by the protocol that it speaks:
    grpc      trailers (status=, message=, ripcord-*), or reset=N: a RST_STREAM with that code
    ttheader  rst N, exception N or a plain trailer, with its text and its strings
  `peer` canceled, `hop` is this ripcord, `why` is what was said; ttscp and ripcord-path are the
  canceled path, who canceled first; `details` is a google.rpc.ErrorInfo; `-` is nothing at all.";

/// The most lines that are read, and the most characters of a line that are shown again.
const MAX_LINES: usize = 100;
const SHOWN: usize = 200;

static TABLE: LazyLock<Vec<Row>> = LazyLock::new(rows);

/// Explains a code, a word, or printed lines: what it means, who sends it, what to do, and its rows
/// of the end table. Of a canceled path it tells who was first.
///
/// # Errors
/// Nothing in `asked` has a meaning. The text lists what has one, and similar known words.
pub fn explain(asked: &str) -> Result<String, String> {
    // A pasted text may hold control sequences for the terminal.
    let plain = asked.replace(|c: char| c.is_control() && c != '\n', " ");
    let mut lines: Vec<&str> = Vec::new();
    for line in plain.lines().map(str::trim).filter(|l| !l.is_empty()) {
        if !lines.contains(&line) && lines.len() < MAX_LINES {
            lines.push(line);
        }
    }
    let mut subjects: Vec<(Subject, Detail)> = Vec::new();
    let (mut head, mut unknown) = (String::new(), Vec::new());
    for line in &lines {
        let (found, detail) = read(line);
        if found.subjects.is_empty() {
            unknown.push(format!("{:?} is unknown{}", shown(line), hint(line)));
            continue;
        }
        write_facts(&mut head, line, &found);
        for subject in found.subjects {
            if subjects.iter().all(|(known, _)| *known != subject) {
                subjects.push((subject, detail));
            }
        }
    }
    if subjects.is_empty() {
        if unknown.is_empty() {
            unknown.push("nothing to explain".to_owned());
        }
        let unknown = unknown.join("\n");
        return Err(format!(
            "{unknown}; allowed: {ALLOWED}; example: ripcord explain 12007"
        ));
    }
    let mut out = head;
    for (subject, detail) in subjects {
        write_subject(&mut out, subject, detail);
    }
    for text in unknown {
        out += &format!("{text}\n\n");
    }
    out += LEGEND;
    Ok(out)
}

/// How many rows are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Detail {
    All,
    /// What the subject becomes. A printed line shows where the subject came from.
    Becomes,
}

/// A word, several words, or a printed line.
fn read(line: &str) -> (Pasted, Detail) {
    let subjects = words::read(line);
    if !subjects.is_empty() {
        let facts = ambiguity(line, &subjects).into_iter().collect();
        let found = Pasted {
            facts,
            subjects,
            own: false,
        };
        return (found, Detail::All);
    }
    let each: Vec<Vec<Subject>> = line.split_whitespace().map(words::read).collect();
    if !each.is_empty() && each.iter().all(|found| !found.is_empty()) {
        let found = Pasted {
            facts: Vec::new(),
            subjects: each.into_iter().flatten().collect(),
            own: false,
        };
        return (found, Detail::All);
    }
    (pasted::read(line), Detail::Becomes)
}

/// The other meanings of an ambiguous word.
fn ambiguity(word: &str, subjects: &[Subject]) -> Option<(&'static str, String)> {
    let mut spellings: Vec<String> = subjects.iter().map(|s| s.spelling()).collect();
    if let Ok(number @ 0..=13) = word.parse::<u32>() {
        spellings.push(Subject::Reset(number).spelling());
    }
    let several = spellings.len() > 1;
    several.then(|| {
        let text = format!(
            "it can mean more than one thing; for one alone say {}",
            spellings.join(" or ")
        );
        ("note", text)
    })
}

fn hint(word: &str) -> String {
    let near: Vec<String> = words::near(word)
        .iter()
        .map(|meant| format!("{meant:?}"))
        .collect();
    match near.as_slice() {
        [] => String::new(),
        some => format!(" (did you mean {}?)", some.join(" or ")),
    }
}

fn shown(line: &str) -> String {
    let mut text: String = line.chars().take(SHOWN).collect();
    if text.len() < line.len() {
        text.push_str("...");
    }
    text
}

// Writing to a String cannot fail.
fn write_facts(out: &mut String, line: &str, found: &Pasted) {
    if found.facts.is_empty() {
        return;
    }
    let _ = writeln!(out, "{}", shown(line));
    for (heading, text) in &found.facts {
        let _ = writeln!(out, "  {:<12}{text}", format!("{heading}:"));
    }
    out.push('\n');
}

fn write_subject(out: &mut String, subject: Subject, detail: Detail) {
    let (what, who) = meaning::of(subject);
    let _ = writeln!(out, "{}", subject.title());
    let _ = writeln!(out, "  means:   {what}");
    let _ = writeln!(out, "  sent by: {who}");
    let _ = writeln!(out, "  do:      {}", advice::of(subject));
    let from = |row: &&Row| subject.is_from(row);
    let into = |row: &&Row| !subject.is_from(row) && subject.is_into(row);
    let own: Vec<&Row> = TABLE.iter().filter(from).collect();
    let others: Vec<&Row> = TABLE.iter().filter(into).collect();
    write_rows(out, "becomes", &own);
    match detail {
        Detail::All => write_rows(out, "comes of", &others),
        Detail::Becomes if others.is_empty() => {}
        Detail::Becomes => {
            let (count, spelling) = (others.len(), subject.spelling());
            let _ = writeln!(
                out,
                "\n  comes of {count} other ends: ripcord explain {spelling}"
            );
        }
    }
    out.push('\n');
}

fn write_rows(out: &mut String, heading: &str, rows: &[&Row]) {
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n  {heading}:");
    for row in rows {
        let _ = writeln!(out, "    {}", row.from);
        let _ = writeln!(out, "      grpc      {}", row.grpc);
        let _ = writeln!(out, "      ttheader  {}", row.ttheader);
    }
}

#[cfg(test)]
mod tests;
