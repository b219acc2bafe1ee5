//! Holds the direction of the dependencies (README, "Contributing") and the shape of the source files.
//!
//! Owns the table of what each part of `src/` may import. It reads the text of the files, not the
//! compiler's view of them: every `crate::x`, `crate::{x, ...}` and `super::` that leaves its
//! folder counts, in `use` lines and in code; comments and tests (`#[cfg(test)]`, `tests.rs`,
//! `tests/`) do not.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The directions: what each part may import of this crate. `*` puts the others
/// together and may import any; nothing below imports it. A part that is not here fails the test:
/// say what it may import when it comes.
const MAY: &str = "
stream:
config:
net:
wire: *
grpc: stream net
ttheader: stream net
bridge: stream
telemetry: stream
route: config stream
backend: config stream net grpc ttheader
proxy: route backend bridge telemetry stream config
relay: route backend telemetry stream config net
listen: proxy relay telemetry stream config net grpc ttheader
worker: listen backend bridge route telemetry stream config net
admin: telemetry
notify:
explain: stream bridge grpc ttheader
testing: stream net
setup: *
app: *
demo: *
lib: *
main: *
";

/// Where the code goes beyond the directions, and why it is borne. An entry that is no
/// longer needed fails the test too, so the list can only tell the truth.
const BORNE: &str = "
backend -> telemetry: the pool counts its connections with the guards that metrics own
listen -> route: keeps the series of each route that its streams took
listen -> worker: a socket is handed to a worker, a worker serves it by its listener
proxy -> listen: a stream is told its listener's labels
proxy -> worker: a stream uses the pool, routes and switch of its worker
relay -> listen: reads the first bytes that the listener looked at
relay -> ttheader: ping-pong is TTHeader's own and passes through untouched
relay -> worker: as proxy
worker -> proxy: holds the tap that ended streams are told to
worker -> grpc: holds the settings of the wires for the pool
worker -> ttheader: as grpc
";

/// A part and what it may import; `None` is anything.
fn may(part: &str) -> Option<Option<Vec<&'static str>>> {
    let row = MAY
        .lines()
        .find_map(|l| l.strip_prefix(part)?.strip_prefix(':'))?;
    Some((row.trim() != "*").then(|| row.split_whitespace().collect()))
}

/// The pairs of [`BORNE`].
fn borne() -> Vec<(&'static str, &'static str)> {
    let pair = |l: &'static str| l.split_once(": ").unwrap().0.split_once(" -> ").unwrap();
    BORNE.lines().filter(|l| !l.is_empty()).map(pair).collect()
}

/// Files of these names, in any folder, are plain functions of bytes and values: no runtime.
const SYNC: &[&str] = &[
    "codec",
    "end",
    "exception",
    "explain",
    "frame",
    "header",
    "keys",
    "metadata",
    "settle",
    "state",
    "status",
];

/// Parts that are plain as a whole.
const SYNC_PARTS: &[&str] = &["stream"];

/// Crates of others that the neutral model uses.
const STREAM_CRATES: &[&str] = &["std", "bytes"];

const MAX_LINES: usize = 500;

struct Source {
    /// From the root of the repository.
    file: PathBuf,
    /// Modules from the crate's root: `["wire", "grpc", "end", "carried"]`.
    module: Vec<String>,
    /// Without comments and tests.
    code: String,
}

impl Source {
    fn part(&self) -> &str {
        let below = self.module.get(1).map(String::as_str);
        match (self.module[0].as_str(), below) {
            ("wire", Some(wire)) if wire != "mod" => wire,
            (part, _) => part,
        }
    }

    /// The crate's parts that this file names.
    fn imports(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for (at, _) in self.code.match_indices("crate::") {
            let word_before = self.code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            // `$crate::` in a macro and `pub(in crate::x)` count like any other.
            if !word_before {
                let path = &self.code[at + "crate::".len()..];
                // A wire is a part of its own below the registry.
                found.extend(leading_names(path.strip_prefix("wire::").unwrap_or(path)));
            }
        }
        let root = "super::".repeat(self.module.len());
        for (at, _) in self.code.match_indices(&root) {
            if !self.code[..at].ends_with("super::") {
                found.extend(leading_names(&self.code[at + root.len()..]));
            }
        }
        // Items re-exported by lib.rs, by the part that they come from.
        let part_of = |name: String| match name.as_str() {
            "Route" | "Routes" => "route".to_owned(),
            "App" => "app".to_owned(),
            "init_logs" => "setup".to_owned(),
            _ => name,
        };
        found
            .into_iter()
            .map(part_of)
            .filter(|name| name != self.part())
            .collect()
    }

    /// The first segments of its `use` lines that are neither of this crate nor keywords.
    fn foreign(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for line in self.code.lines().map(str::trim_start) {
            let line = line.strip_prefix("pub ").unwrap_or(line);
            if let Some(path) = line.strip_prefix("use ") {
                let path = path.trim_start_matches("::");
                let first: String = path
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                let own = self.code.contains(&format!("mod {first};"));
                if !own
                    && !["crate", "self", "super"].contains(&first.as_str())
                    && first.starts_with(char::is_lowercase)
                {
                    found.insert(first);
                }
            }
        }
        found
    }
}

/// The names that a path or a group of paths begins with: `a` of `a::b`, `a` and `c` of `{a::b, c}`.
fn leading_names(text: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let Some(group) = text.strip_prefix('{') else {
        return vec![name(text)];
    };
    let (mut names, mut depth, mut begins) = (Vec::new(), 0_usize, true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            c if begins && !c.is_whitespace() => {
                names.push(name(&group[at..]));
                begins = false;
            }
            _ => {}
        }
    }
    names
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|e| e.unwrap()) {
        let path = entry.path();
        if path.is_dir() {
            // Generated or built code is not ours to shape.
            if path
                .file_name()
                .is_some_and(|n| n != "target" && n != "interop")
            {
                rust_files(&path, found);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
}

fn is_test(relative: &Path) -> bool {
    relative.iter().any(|c| c == "tests" || c == "tests.rs")
}

/// The file up to its tests, without line comments. A `//` inside of a string goes too: harmless,
/// since what follows on that line is a string.
fn code_of(text: &str) -> String {
    let without_tests = text.split("\n#[cfg(test)]").next().unwrap();
    without_tests
        .lines()
        .map(|line| line.split("//").next().unwrap())
        .collect::<Vec<_>>()
        .join("\n")
}

fn sources() -> Vec<Source> {
    let folder = root().join("src");
    let mut files = Vec::new();
    rust_files(&folder, &mut files);
    assert!(files.len() > 20, "this does not look like src/");
    files
        .into_iter()
        .filter_map(|path| {
            let relative = path.strip_prefix(&folder).unwrap();
            if is_test(relative) {
                return None;
            }
            let mut module: Vec<String> = relative
                .with_extension("")
                .iter()
                .map(|c| c.to_str().unwrap().to_owned())
                .collect();
            if module.len() > 1 && module.last().is_some_and(|m| m == "mod") {
                module.pop();
            }
            let code = code_of(&std::fs::read_to_string(&path).unwrap());
            Some(Source {
                file: Path::new("src").join(relative),
                module,
                code,
            })
        })
        .collect()
}

#[test]
fn dependencies_point_one_way() {
    let mut faults = Vec::new();
    let mut needed = BTreeSet::new();
    for source in sources() {
        let (part, file) = (source.part(), source.file.display());
        let allowed = match may(part) {
            None => {
                faults.push(format!("{file}: not in the table of tests/layering.rs"));
                continue;
            }
            Some(None) => continue,
            Some(Some(allowed)) => allowed,
        };
        for import in source.imports() {
            let pair = (part, import.as_str());
            if let Some(pair) = borne().into_iter().find(|borne| *borne == pair) {
                needed.insert(pair);
            } else if !allowed.contains(&import.as_str()) {
                faults.push(format!("{file}: `{part}` must not import `{import}`"));
            }
        }
    }
    for (from, to) in borne() {
        if !needed.contains(&(from, to)) {
            faults.push(format!(
                "`{from}` no longer imports `{to}`: take it off BORNE"
            ));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_table_keeps_the_wires_apart_and_the_bridge_ignorant() {
    let row = |part: &str| -> Vec<&str> {
        let Some(Some(mut row)) = may(part) else {
            panic!("{part} is not restricted");
        };
        row.extend(
            borne()
                .iter()
                .filter(|(from, _)| *from == part)
                .map(|(_, to)| to),
        );
        row
    };
    assert!(!row("grpc").contains(&"ttheader"));
    assert!(!row("ttheader").contains(&"grpc"));
    for part in [
        "stream",
        "config",
        "net",
        "bridge",
        "telemetry",
        "route",
        "proxy",
    ] {
        assert!(
            !row(part).contains(&"grpc") && !row(part).contains(&"ttheader"),
            "{part}"
        );
    }
    for part in ["stream", "config", "net"] {
        assert!(row(part).is_empty(), "{part}");
    }
}

#[test]
fn codecs_and_tables_know_no_runtime() {
    let faults: Vec<String> = sources()
        .iter()
        .filter(|s| {
            SYNC_PARTS.contains(&s.part()) || s.module.iter().any(|m| SYNC.contains(&m.as_str()))
        })
        .filter(|s| s.code.contains("tokio"))
        .map(|s| format!("{}: names tokio", s.file.display()))
        .collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_neutral_model_uses_std_and_bytes_only() {
    for source in sources().iter().filter(|s| s.part() == "stream") {
        let foreign = source.foreign();
        let other: Vec<_> = foreign
            .iter()
            .filter(|c| !STREAM_CRATES.contains(&c.as_str()))
            .collect();
        assert!(other.is_empty(), "{}: {other:?}", source.file.display());
    }
}

/// Another HTTP/2 layer can stand behind `net/http2` only while nothing else knows the crate below.
#[test]
fn only_the_seam_names_h2() {
    let names_h2 = |line: &str| {
        let code = line.split("//").next().unwrap();
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        code.match_indices("h2").any(|(at, _)| {
            let rest = &code[at + 2..];
            let path = rest.starts_with("::") || code.trim_start().starts_with("use ");
            path && !code[..at].ends_with(is_word) && !rest.starts_with(is_word)
        })
    };
    assert!(names_h2("pub fn f(e: &h2::Error) {}") && names_h2("    use h2 as x;"));
    assert!(!names_h2("use net::http2::Error; // h2::Error") && !names_h2("\"upgrade: h2\""));
    let mut files = Vec::new();
    rust_files(&root().join("src"), &mut files);
    let (mut seam, mut faults) = (0, Vec::new());
    for file in files {
        let relative = file.strip_prefix(root()).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.split("\n#[cfg(test)]").next().unwrap();
        let found = code.lines().enumerate().filter(|(_, line)| names_h2(line));
        if relative.starts_with("src/net/http2") {
            seam += found.count();
        } else if !is_test(relative) {
            faults
                .extend(found.map(|(n, line)| format!("{}:{}:{line}", relative.display(), n + 1)));
        }
    }
    assert!(seam > 0, "this does not look like the seam");
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn files_are_short_and_say_what_they_own() {
    let mut files = Vec::new();
    for folder in ["src", "benches", "tests"] {
        rust_files(&root().join(folder), &mut files);
    }
    let mut faults = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let relative = file.strip_prefix(root()).unwrap();
        let lines = text.lines().count();
        if lines > MAX_LINES {
            faults.push(format!("{}: {lines} lines", relative.display()));
        }
        // A file of tests is explained by the one that it tests.
        let explains =
            text.starts_with("//!") || (is_test(relative) && relative.starts_with("src"));
        if !explains {
            faults.push(format!("{}: does not open with //!", relative.display()));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_scanner_sees_every_form() {
    let source = |module: &[&str], text: &str| Source {
        file: PathBuf::new(),
        module: module.iter().map(|m| (*m).to_owned()).collect(),
        code: code_of(text),
    };
    let imports = |module: &[&str], text: &str| {
        source(module, text)
            .imports()
            .into_iter()
            .collect::<Vec<_>>()
    };
    assert_eq!(
        imports(&["grpc", "end"], "use crate::wire::ttheader::keys;"),
        ["ttheader"]
    );
    assert_eq!(
        imports(&["a"], "use crate::{grpc::{x, y}, net,\n  stream::z};"),
        ["grpc", "net", "stream"]
    );
    assert_eq!(
        imports(&["grpc"], "fn f() -> crate::config::Config {}"),
        ["config"]
    );
    assert_eq!(
        imports(
            &["grpc", "end", "face"],
            "use super::super::super::config::X;"
        ),
        ["config"]
    );
    assert_eq!(
        imports(&["grpc", "end", "face"], "use super::super::status::X;"),
        [""; 0]
    );
    assert_eq!(
        imports(
            &["a"],
            "// crate::wire::grpc\n#[cfg(test)]\nmod tests { use crate::wire::grpc::x; }"
        ),
        [""; 0]
    );
    assert_eq!(imports(&["a"], "use mycrate::grpc;"), [""; 0]);
    assert_eq!(
        source(&["stream"], "use std::fmt;\npub use tokio::x;")
            .foreign()
            .into_iter()
            .collect::<Vec<_>>(),
        ["std", "tokio"]
    );
}
