//! Checks the direction of the dependencies (src/README.md, "Dependencies") and the shape of the
//! source files.
//!
//! Here is the table of what each part of `src/` may import. A parser reads the files. Every path
//! counts that names another part, in `use` lines, in code, in macros and in visibilities. So does
//! an `impl` that joins two other parts. Tests (`#[cfg(test)]`) do not count.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod layering {
    pub(crate) mod arms;
    pub(crate) mod cases;
    pub(crate) mod paths;
    pub(crate) mod rules;
    pub(crate) mod tree;
}

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use layering::rules::{Facts, ModuleFacts, cycle};
use layering::tree::Tree;

/// The directions: what each part may import of this crate. A part is a module right below the
/// crate's root. A folder below `src/wire/` is one too, and `wire` knows all of them. `*` puts the
/// others together and may import any; nothing below imports it. A part that is not here fails the
/// test: add it with what it may import.
const MAY: &str = "
stream:
config:
net:
drain:
trim:
worker:
wire: stream net wire::grpc wire::ttheader testing
wire::grpc: stream net
wire::ttheader: stream net
bridge: stream
telemetry: stream net
translate: bridge stream
route: config stream translate
backend: config stream net telemetry wire
context: route backend bridge telemetry config net drain trim wire
proxy: context route backend bridge telemetry stream translate config drain wire
relay: context route backend telemetry stream net wire
listen: context proxy relay telemetry stream config net drain wire worker
admin: telemetry
sd_notify:
signals:
explain: stream bridge wire::grpc wire::ttheader telemetry config
testing: stream net
setup: *
app: *
demo: *
lib: *
main: *
";

/// Where the code goes beyond the directions, and why it is borne: `from -> to: why`, or
/// `part: impl ... for ...: why`. An entry that is no longer needed fails the test too, so the list
/// can only tell the truth. It may be empty.
const BORNE: &str = "";

/// Enums that mean a wire, an end or a kind: a `match` over one names every variant, so that a new
/// one is a question to each place.
const CLOSED: &[&str] = &[
    "Class",
    "ConnectionEnd",
    "Detected",
    "Failure",
    "LocalEndKind",
    "LocalEnd",
    "Initiator",
    "Payload",
    "PayloadKind",
    "Reason",
    "Side",
    "ListenerProtocol",
];

/// Where a `match` over one of [`CLOSED`] has a `_` arm all the same: `file function: enum`. An
/// entry that is no longer needed fails the test. It may be empty.
const BORNE_WILDCARDS: &str = "";

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

fn lines(table: &'static str) -> impl Iterator<Item = &'static str> {
    table.lines().filter(|l| !l.is_empty())
}

/// A part and what it may import; `None` is anything.
fn may(part: &str) -> Option<Option<Vec<&'static str>>> {
    let row = lines(MAY).find_map(|l| l.strip_prefix(part)?.strip_prefix(':'))?;
    Some((row.trim() != "*").then(|| row.split_whitespace().collect()))
}

/// The edges of [`BORNE`].
fn borne_edges() -> BTreeSet<(String, String)> {
    let pair = |l: &'static str| {
        let (from, to) = l.split_once(": ")?.0.split_once(" -> ")?;
        Some((from.to_owned(), to.to_owned()))
    };
    lines(BORNE).filter_map(pair).collect()
}

/// The `impl` blocks of [`BORNE`], each with its part.
fn borne_impls() -> BTreeSet<String> {
    let of = |l: &'static str| {
        let (impl_, _why) = l.rsplit_once(": ")?;
        impl_.contains(": impl ").then(|| impl_.to_owned())
    };
    lines(BORNE).filter_map(of).collect()
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

/// What the crate is like. It is parsed once.
fn facts() -> &'static Facts {
    static FACTS: OnceLock<Facts> = OnceLock::new();
    FACTS.get_or_init(|| {
        let folder = root().join("src");
        let mut files = Vec::new();
        rust_files(&folder, &mut files);
        assert!(files.len() > 20, "this does not look like src/");
        let read = |path: PathBuf| {
            let name = path.strip_prefix(&folder).unwrap().to_str().unwrap();
            (name.to_owned(), std::fs::read_to_string(&path).unwrap())
        };
        Facts::of(&Tree::new(&files.into_iter().map(read).collect()), CLOSED)
    })
}

fn fail_on(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_file_is_read() {
    fail_on(&facts().lost);
}

#[test]
fn dependencies_point_one_way() {
    let used = &facts().edges;
    let borne = borne_edges();
    let mut faults = Vec::new();
    for ((from, to), places) in used {
        let places = places.join(", ");
        match may(from) {
            None => faults.push(format!(
                "`{from}` is not in the table of tests/layering.rs: {places}"
            )),
            Some(Some(allowed)) => {
                let edge = (from.clone(), to.clone());
                if !allowed.contains(&to.as_str()) && !borne.contains(&edge) {
                    faults.push(format!("`{from}` must not import `{to}`: {places}"));
                }
            }
            Some(None) => {}
        }
    }
    for (from, to) in &borne {
        let needed = used.contains_key(&(from.clone(), to.clone()))
            && may(from)
                .flatten()
                .is_some_and(|row| !row.contains(&to.as_str()));
        if !needed {
            faults.push(format!(
                "`{from} -> {to}` is no longer needed: take it off BORNE"
            ));
        }
    }
    fail_on(&faults);
}

#[test]
fn every_part_is_in_the_table_and_the_table_names_parts_only() {
    let modules = facts().modules.iter();
    let parts: BTreeSet<String> = modules.map(|m| m.part.clone()).collect();
    let rows: BTreeSet<String> = lines(MAY)
        .map(|row| format!("{row} ").split_once(": ").unwrap().0.to_owned())
        .collect();
    assert_eq!(parts, rows);
    for part in &rows {
        for import in may(part).flatten().unwrap_or_default() {
            assert!(rows.contains(import), "{part}: there is no part `{import}`");
        }
    }
}

/// An edge that no import shows: whoever has both types can use the `impl`, wherever it stands.
#[test]
fn an_impl_stands_with_its_type_or_its_trait() {
    let found = &facts().orphans;
    let borne = borne_impls();
    let mut faults: Vec<String> = found
        .iter()
        .filter(|(impl_, _)| !borne.contains(*impl_))
        .map(|(impl_, place)| format!("{place}: `{impl_}`: of this part is neither trait nor type"))
        .collect();
    faults.extend(
        borne
            .iter()
            .filter(|impl_| !found.contains_key(*impl_))
            .map(|impl_| format!("`{impl_}` is no longer needed: take it off BORNE")),
    );
    fail_on(&faults);
}

/// What is allowed row by row can still go in a circle. What [`BORNE`] lists may, until it goes.
#[test]
fn the_parts_have_no_cycle() {
    let (borne, mut used) = (borne_edges(), facts().edges.clone());
    used.retain(|edge, _| !borne.contains(edge) && may(&edge.0).is_some_and(|row| row.is_some()));
    if let Some(round) = cycle(&used) {
        let place = |pair: &[String]| {
            let places = &used[&(pair[0].clone(), pair[1].clone())];
            format!("{} -> {}: {}", pair[0], pair[1], places.join(", "))
        };
        let places: Vec<String> = round.windows(2).map(place).collect();
        panic!("{}\n{}", round.join(" -> "), places.join("\n"));
    }
}

#[test]
fn no_arm_over_wires_ends_or_kinds_catches_the_rest() {
    let borne: BTreeSet<String> = lines(BORNE_WILDCARDS).map(str::to_owned).collect();
    let (mut faults, mut needed) = (Vec::new(), BTreeSet::new());
    for (entry, line) in facts().modules.iter().flat_map(|m| &m.wildcards) {
        if !borne.contains(entry) {
            faults.push(format!("{entry}: line {line} catches every other one"));
        }
        needed.insert(entry.clone());
    }
    let stale = borne.difference(&needed);
    faults.extend(stale.map(|e| format!("`{e}` is no longer needed: take it off BORNE_WILDCARDS")));
    fail_on(&faults);
}

#[test]
fn the_table_keeps_the_wires_apart_and_the_bridge_ignorant() {
    let row = |part: &str| -> Vec<&str> {
        let Some(Some(mut row)) = may(part) else {
            panic!("{part} is not restricted");
        };
        let borne = lines(BORNE).filter_map(|l| l.split_once(": ")?.0.split_once(" -> "));
        row.extend(borne.filter(|(from, _)| *from == part).map(|(_, to)| to));
        row
    };
    assert!(!row("wire::grpc").contains(&"wire::ttheader"));
    assert!(!row("wire::ttheader").contains(&"wire::grpc"));
    for part in ["stream", "config", "net", "bridge", "telemetry", "route"] {
        assert!(
            !row(part).iter().any(|import| import.starts_with("wire")),
            "{part}"
        );
    }
    // What carries streams asks the registry, never a wire.
    for part in ["backend", "context", "proxy", "relay", "listen"] {
        assert!(
            !row(part).iter().any(|import| import.starts_with("wire::")),
            "{part}"
        );
    }
    for part in ["stream", "config", "net"] {
        assert!(row(part).is_empty(), "{part}");
    }
}

#[test]
fn codecs_and_tables_know_no_runtime() {
    let sync = |m: &&ModuleFacts| {
        SYNC_PARTS.contains(&m.part.as_str()) || m.path.iter().any(|p| SYNC.contains(&p.as_str()))
    };
    let faults: Vec<String> = facts()
        .modules
        .iter()
        .filter(sync)
        .filter(|m| m.foreign.contains("tokio"))
        .map(|m| format!("{}: names tokio", m.file))
        .collect();
    fail_on(&faults);
}

#[test]
fn the_neutral_model_uses_std_and_bytes_only() {
    for module in facts().modules.iter().filter(|m| m.part == "stream") {
        let allowed = |name: &&String| STREAM_CRATES.contains(&name.as_str());
        let other: Vec<_> = module.foreign.iter().filter(|n| !allowed(n)).collect();
        assert!(other.is_empty(), "{}: {other:?}", module.file);
    }
}

/// Another HTTP/2 layer can stand behind `net/http2` only while nothing else knows the crate below.
#[test]
fn only_the_seam_names_h2() {
    let names_h2 = |m: &&ModuleFacts| m.foreign.contains("h2");
    let (seam, others): (Vec<_>, Vec<_>) = facts()
        .modules
        .iter()
        .filter(names_h2)
        .map(|m| m.file.clone())
        .partition(|file| file.starts_with("src/net/http2/"));
    assert!(!seam.is_empty(), "this does not look like the seam");
    fail_on(&others);
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
