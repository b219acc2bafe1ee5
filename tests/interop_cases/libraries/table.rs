//! The file: each end is a line, and below it stands what each library shows. Libraries that show
//! the same share a line.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use serde_json::Value;

use super::rows::{Row, rows};
use crate::kit::libraries::Library;

const HEAD: &str = "\
# What each gRPC library shows its application for each end that passes through one ripcord: the
# code, the text, whether there are readable details, and how many messages came before.
#
# Ends are named as in end_table.golden. ADDRESS stands for an address, N for a size, LOST for the
# kernel's words of a lost connection. Made by tests/interop_cases/libraries.rs; README.md says how
# to bless it.
";

const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// A library's result, as the table has it.
pub(super) fn shown(result: &Value) -> String {
    let mut text = match result["kind"].as_str().unwrap() {
        "ok" => "OK".to_owned(),
        "eof" => "OK, fewer messages than it waited for".to_owned(),
        "returned" => "nothing: it dropped the call".to_owned(),
        _ => {
            let code = usize::try_from(result["code"].as_i64().unwrap()).unwrap();
            let name = CODES
                .get(code)
                .map_or(code.to_string(), |name| (*name).to_owned());
            let message = result["message"].as_str().unwrap_or_default();
            format!("{name} {:?}", steady(message))
        }
    };
    let raw = &result["trailer"]["grpc-status-details-bin"];
    match &result["details"] {
        Value::Array(details) if !details.is_empty() => text += ", details",
        Value::String(why) => text += &format!(", {why}"),
        _ if raw.is_array() => text += ", details",
        _ => {}
    }
    match result["recv"].as_u64() {
        None | Some(0) => text,
        Some(1) => text + ", 1 message",
        // How many depends on the windows of the day.
        Some(_) => text + ", some messages",
    }
}

/// The same when the caller's own deadline is over: the library's clock and the hop's run at the
/// same time, and the first one has the text. tonic calls its own CANCELLED.
pub(super) fn at_own_deadline(result: &Value) -> String {
    let own = result["message"] == "Timeout expired";
    assert!(result["code"] == 4 || own, "{result}");
    "the end of its own clock, or the hop's DEADLINE_EXCEEDED".to_owned()
}

/// How a connection is lost is a race.
const LOST: [&str; 2] = [
    "the callee closed the connection",
    "the callee reset the connection",
];

/// Without what differs from run to run: addresses, sizes, and words of lost connections.
fn steady(text: &str) -> String {
    let lost = |text: String, words: &&str| text.replace(words, "LOST");
    let text = LOST.iter().fold(text.to_owned(), lost);
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, number) = rest.split_at(at);
        let end = number.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':');
        let (number, after) = number.split_at(end.unwrap_or(number.len()));
        let (number, tail) = match number.strip_suffix(['.', ':']) {
            Some(inner) => (inner, &number[inner.len()..]),
            None => (number, ""),
        };
        out += before;
        out += match number {
            address if address.starts_with("127.0.0.1") => "ADDRESS",
            _ if after.starts_with(" bytes") || number.len() > 5 => "N",
            plain => plain,
        };
        out += tail;
        rest = after;
    }
    out + rest
}

/// The file, read.
pub(super) struct Table(Vec<(String, BTreeMap<String, String>)>);

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/libraries.golden")
}

impl Table {
    pub(super) fn read() -> Self {
        let text = std::fs::read_to_string(path()).unwrap_or_default();
        let mut rows: Vec<(String, BTreeMap<_, _>)> = Vec::new();
        for line in text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
        {
            let Some(shown) = line.strip_prefix("    ") else {
                rows.push((line.to_owned(), BTreeMap::new()));
                continue;
            };
            let (names, shown) = shown.split_once(": ").unwrap();
            let (_, row) = rows.last_mut().unwrap();
            for library in Library::ALL.map(Library::name) {
                if names == "all" || names.split(", ").any(|name| name == library) {
                    row.insert(library.to_owned(), shown.to_owned());
                }
            }
        }
        Self(rows)
    }

    pub(super) fn names(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// What that library shows for that end; empty when the file does not know.
    pub(super) fn shown(&self, row: &str, library: Library) -> &str {
        let found = self.0.iter().find(|(name, _)| name == row);
        let shown = found.and_then(|(_, all)| all.get(library.name()));
        shown.map_or("", String::as_str)
    }

    fn text(&self) -> String {
        let mut out = HEAD.to_owned();
        for (name, all) in &self.0 {
            out += &format!("\n{name}\n");
            let mut lines: Vec<(String, Vec<&str>)> = Vec::new();
            for library in Library::ALL.map(Library::name) {
                let Some(shown) = all.get(library) else {
                    continue;
                };
                match lines.iter_mut().find(|(text, _)| text == shown) {
                    Some((_, names)) => names.push(library),
                    None => lines.push((shown.clone(), vec![library])),
                }
            }
            for (shown, names) in lines {
                let every = names.len() == Library::ALL.len();
                let names = if every {
                    "all".to_owned()
                } else {
                    names.join(", ")
                };
                out += &format!("    {names}: {shown}\n");
            }
        }
        out
    }
}

/// Puts what a library shows into the file, in the order of the rows. What others show stays.
pub(super) fn write(library: Library, played: &[Row], seen: &[String]) {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap();
    let old = Table::read();
    let row = |Row { name, .. }| {
        let mut all = BTreeMap::new();
        for other in Library::ALL {
            let shown = old.shown(&name, other);
            if !shown.is_empty() {
                all.insert(other.name().to_owned(), shown.to_owned());
            }
        }
        if let Some(at) = played.iter().position(|row| row.name == name) {
            all.insert(library.name().to_owned(), seen[at].clone());
        }
        (name, all)
    };
    let table = Table(rows().into_iter().map(row).collect());
    std::fs::write(path(), table.text()).unwrap();
}
