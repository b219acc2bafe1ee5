//! Reads a line that somebody pasted: from Kitex, a gRPC library, ripcord's access log or
//! `/metrics`. Finds the codes in it, and who canceled first.

use serde_json::{Map, Value};

use super::own;
use super::subject::Subject;
use super::words::{grpc_name, of_field, read as word_subjects, reset, unquoted};
use crate::stream::{LocalEndKind, NON_TTSTREAM, Path, TtCode, TypeId};
use crate::wire::grpc::status::Code;

/// What was found in a line.
#[derive(Debug, Default)]
pub(super) struct Pasted {
    /// Facts beside the codes, each with a heading and a text.
    pub(super) facts: Vec<(&'static str, String)>,
    pub(super) subjects: Vec<Subject>,
    /// A ripcord says itself that the end is its own.
    pub(super) own: bool,
}

/// Keys of a line of JSON whose value is a path.
const PATHS: [&str; 3] = ["path", "ripcord.cancel.path", "ripcord-path"];

/// Reads a line. A result without a subject means that it was not understood.
pub(super) fn read(line: &str) -> Pasted {
    let mut found = Pasted::default();
    match serde_json::from_str::<Map<String, Value>>(line) {
        Ok(fields) => found.json(&fields),
        Err(_) => found.text(line),
    }
    if found.subjects.is_empty() {
        found.loose(line);
    }
    found.own_first();
    found
}

impl Pasted {
    fn add(&mut self, subject: Subject) {
        if !self.subjects.contains(&subject) {
            self.subjects.push(subject);
        }
    }

    /// Puts this project's own ends before how they were printed. Kitex prints 12001 of every
    /// exception, which says nothing of a callee here.
    fn own_first(&mut self) {
        let is_own = |subject: &Subject| matches!(subject, Subject::Hop(_));
        if !self.own || !self.subjects.iter().any(is_own) {
            return;
        }
        self.subjects.sort_by_key(|subject| !is_own(subject));
        let printed = Subject::Ttstream(TtCode::Application.number());
        if self.subjects.contains(&printed) {
            self.subjects.retain(|subject| *subject != printed);
            self.fact(
                "12001",
                "Kitex's number for every exception that it receives; this one is of a ripcord",
            );
        }
    }

    /// Notes the number of an end, which is no gRPC status.
    fn number(&mut self, subject: Subject) {
        if let Subject::Exception(n) = subject {
            self.fact(
                "code",
                format!("{n} is an exception's type on TTHeader, no gRPC status"),
            );
        }
        self.add(subject);
    }

    fn fact(&mut self, heading: &'static str, text: impl Into<String>) {
        if self.facts.iter().all(|(known, _)| *known != heading) {
            self.facts.push((heading, text.into()));
        }
    }

    /// A line of the access log, or of another log with an error in one of its fields.
    fn json(&mut self, fields: &Map<String, Value>) {
        if let Some(node) = fields.get("node").and_then(Value::as_str) {
            self.fact("told by", node);
        }
        for key in PATHS {
            if let Some(Value::Array(names)) = fields.get(key) {
                let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
                self.path(&Path::parse(&names.join(",")));
            }
        }
        let of = |key: &str| fields.get(key).and_then(Value::as_str);
        self.own |= of("error_type").is_some_and(|kind| LocalEndKind::from_name(kind).is_some());
        for (key, value) in fields {
            let text = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            match of_field(key, &text) {
                Some(Subject::Grpc(Code::Ok)) => {}
                Some(number) if key == "ripcord-code" => self.number(number),
                Some(subject) => self.add(subject),
                // Of an end in the access log; a business error's is the application's own.
                None if key == "code"
                    && of("error_type").is_some_and(|kind| kind != "business") =>
                {
                    if let Some(number) = of_field("ripcord-code", &text) {
                        self.number(number);
                    }
                }
                None if value.is_string() => self.printed(&text),
                None => {}
            }
        }
    }

    fn text(&mut self, line: &str) {
        self.printed(line);
        if line.contains("unknown method") && self.subjects.is_empty() {
            self.fact(
                "of a log",
                "a Kitex stream server logs this and sends nothing: its caller waits until \
                 `timeouts.first_response` of the route",
            );
            self.add(Subject::Exception(TypeId::UnknownMethod.number()));
            self.add(Subject::Hop(LocalEndKind::FirstResponse));
        }
        // Of a Kitex that does not know the Rst frame, without the words around it.
        if line.contains("unexpected frame type") && self.subjects.is_empty() {
            self.add(Subject::Ttstream(TtCode::IllegalFrame.number()));
        }
        self.fields(line);
        for key in ["ripcord-path", "ttscp"] {
            if let Some(rest) = after(line, key) {
                let rest = rest.trim_start_matches(|c| " =:[(,\"'".contains(c));
                let end = rest.find(|c| "\"'])".contains(c)).unwrap_or(rest.len());
                let path = rest.get(..end).unwrap_or_default();
                let path = path.split(" ripcord-").next().unwrap_or_default();
                self.path(&Path::parse(path.trim()));
            }
        }
    }

    /// The forms that Kitex and the gRPC libraries print.
    fn printed(&mut self, text: &str) {
        if let Some(own) = own::find(text) {
            self.own = true;
            if let Some(node) = own.node {
                self.fact("told by", node);
            }
            self.add(Subject::Hop(own.kind));
        }
        if let Some(rest) = after(text, "[ttstream error, code=") {
            if let Ok(code) = leading(rest).parse() {
                self.add(Subject::Ttstream(code));
            }
            self.ttstream(rest);
        }
        for rest in each_after(text, "rpc error: code = ") {
            // grpc-go prints a number without a name as `Code(77)`.
            let code = leading(rest.strip_prefix("Code(").unwrap_or(rest));
            let number = code.parse().ok().map(Code::from_number);
            if let Some(code) = number.or_else(|| grpc_name(code)) {
                self.add(Subject::Grpc(code));
            }
        }
        if let Some(rest) = after(text, "biz error: code=") {
            let code = leading(rest);
            self.fact("business", format!("code {code}, the application's own"));
            self.add(Subject::Business);
        } else if text.contains("biz error: ") {
            self.add(Subject::Exception(TypeId::InternalError.number()));
        } else if text.contains(" [biz error]") && self.subjects.is_empty() {
            self.fact(
                "handler",
                "a Kitex handler's error, as its gRPC server says it",
            );
            self.add(Subject::Grpc(Code::Internal));
        }
        if let Some(rest) = after(text, "remote or network error") {
            let who = if rest.starts_with("[remote]") {
                "Kitex's caller, of an error that the callee sent"
            } else {
                "Kitex's caller, of a network error or one that the callee sent"
            };
            self.fact("printed by", who);
        }
        for rest in each_after(text, "error code: ") {
            let name = leading(rest);
            if let Some(code) = reset(name).or_else(|| name.parse().ok()) {
                self.add(Subject::Reset(code));
            }
        }
        for rest in each_after(text, "StatusCode.") {
            if let Some(code) = grpc_name(leading(rest)) {
                self.add(Subject::Grpc(code));
            }
        }
    }

    /// The text after the code in Kitex's `[ttstream error, code=`.
    fn ttstream(&mut self, rest: &str) {
        let mut said = rest.split_once(']').map_or("", |(_, said)| said);
        for (mark, who) in [
            (
                "[client-side stream]",
                "the caller's side: Kitex, or ripcord for a gRPC caller",
            ),
            ("[server-side stream]", "the callee's Kitex"),
        ] {
            if let Some(behind) = after(said, mark) {
                self.fact("printed by", who);
                said = behind;
            }
        }
        if let Some(behind) = after(said, "[canceled path: ") {
            let (path, behind) = behind.split_once(']').unwrap_or((behind, ""));
            let names: Vec<&str> = path.split(" -> ").collect();
            self.path(&Path::parse(&names.join(",")));
            said = behind;
        }
        if !said.trim().is_empty() {
            self.fact("text", said.trim());
        }
    }

    fn path(&mut self, path: &Path) {
        let Some((origin, hops)) = path.names().split_first() else {
            return;
        };
        let first = match origin.as_str() {
            NON_TTSTREAM => "a gRPC peer that gave no name".to_owned(),
            "" => "a Kitex service without a name".to_owned(),
            name => format!("{name} (if that is a ripcord, it ended the stream itself)"),
        };
        self.fact("first", first);
        let through = if hops.is_empty() {
            "nothing: the first one tells it itself".to_owned()
        } else {
            hops.join(", then ")
        };
        self.fact("through", through);
        self.fact("path", path.to_string());
    }

    /// `key=value`, `key="value"` and `key: value`, the forms of metrics, trailers and text logs.
    fn fields(&mut self, line: &str) {
        let mut words = line.split(|c: char| c.is_whitespace() || ",;{}()[]".contains(c));
        while let Some(word) = words.next() {
            let Some((key, value)) = word.split_once(['=', ':']) else {
                continue;
            };
            let value = if value.is_empty() {
                words.next().unwrap_or_default()
            } else {
                value
            };
            let key = unquoted(key);
            match of_field(key, unquoted(value)) {
                Some(Subject::Grpc(Code::Ok)) | None => {}
                Some(number) if key == "ripcord-code" => self.number(number),
                Some(own @ Subject::Hop(_)) if key == "ripcord-end" => {
                    self.own = true;
                    self.add(own);
                }
                Some(subject) => self.add(subject),
            }
        }
    }

    /// When nothing else was found: Kitex's own texts, and words with one meaning only.
    fn loose(&mut self, line: &str) {
        for code in TtCode::KNOWN {
            if code.text().is_some_and(|text| line.contains(text)) {
                self.add(Subject::Ttstream(code.number()));
            }
        }
        for id in TypeId::KNOWN {
            let long = id.text().filter(|text| text.contains(' '));
            if long.is_some_and(|text| line.contains(text)) {
                self.add(Subject::Exception(id.number()));
            }
        }
        let is_apart = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
        for word in line.split(is_apart).filter(|word| is_telling(word)) {
            for subject in word_subjects(word) {
                self.add(subject);
            }
        }
    }
}

/// A word that means a code wherever it stands: `UNAVAILABLE`, `first_response`, `12013`.
fn is_telling(word: &str) -> bool {
    let upper = word.len() > 2 && word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    let number = word.len() == 5 && word.bytes().all(|b| b.is_ascii_digit());
    upper || number || word.contains('_')
}

/// The text after the first `mark`.
fn after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    text.split_once(mark).map(|(_, rest)| rest)
}

/// The text after each `mark`.
fn each_after<'a>(text: &'a str, mark: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(mark)
        .filter_map(move |(at, _)| text.get(at + mark.len()..))
}

/// The word or number at the beginning of `text`.
fn leading(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'));
    text.get(..end.unwrap_or(text.len())).unwrap_or_default()
}
