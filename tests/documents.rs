//! What the documents promise. Configurations in them and in deploy/ load without a warning. Links
//! and anchors lead somewhere. Commands name what exists. Every document can be found. The numbers
//! of the manifests fit together.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ripcord::config::{self, Config};

const RIPCORD: &str = env!("CARGO_BIN_EXE_ripcord");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap()
}

fn good(name: &str, text: &str) -> Config {
    match config::inspect_text(name, text) {
        Ok((config, warnings)) => {
            assert_eq!(warnings.to_string(), "");
            config
        }
        Err(faults) => panic!("{faults}"),
    }
}

/// The ConfigMap's file, without its indentation.
fn manifest_config() -> Config {
    let manifest = read("deploy/kubernetes.yaml");
    let (_, after) = manifest.split_once("  ripcord.yaml: |\n").unwrap();
    let lines = after.lines().map_while(|line| line.strip_prefix("    "));
    good("kubernetes.yaml", &lines.collect::<Vec<_>>().join("\n"))
}

/// What a fragment leaves out.
const REST: [(&str, &str); 4] = [
    ("node", "node: n"),
    (
        "listeners",
        "listeners: [{ name: in, address: 127.0.0.1:15001 }]",
    ),
    (
        "backends",
        "backends: { chat: { protocol: ttheader, endpoints: [127.0.0.1:8888], payload: thrift } }",
    ),
    (
        "routes",
        "routes: [{ name: chat, backend: chat, timeouts: { first_response: 30s } }]",
    ),
];

/// Blocks are whole files, or fragments with whole sections of one.
#[test]
fn the_documents_show_configurations_that_load() {
    for file in ["README.md", "config/README.md"] {
        let text = read(file);
        let blocks: Vec<&str> = text
            .split("```yaml\n")
            .skip(1)
            .map(|rest| rest.split("```").next().unwrap())
            .collect();
        assert!(!blocks.is_empty(), "{file}");
        for block in blocks {
            let has = |key: &str| block.lines().any(|l| l.starts_with(&format!("{key}:")));
            let missing = REST.iter().filter(|(key, _)| !has(key));
            let rest: String = missing.map(|(_, text)| format!("{text}\n")).collect();
            good(file, &format!("{block}{rest}"));
        }
    }
}

#[test]
fn the_config_map_loads_and_its_drain_fits_the_grace_period() {
    let config = manifest_config();
    let manifest = read("deploy/kubernetes.yaml");
    let grace = manifest
        .lines()
        .find_map(|line| line.trim().strip_prefix("terminationGracePeriodSeconds: "))
        .unwrap();
    let grace = Duration::from_secs(grace.parse().unwrap());
    assert!(config.drain.timeout + Duration::from_secs(5) < grace);
    let admin = config.admin.unwrap().address;
    assert!(
        admin.ip().is_unspecified(),
        "the kubelet probes from outside of the pod"
    );
    for listener in &config.listeners {
        let port = listener.address.port();
        let ingress = !listener.address.ip().is_loopback();
        assert_eq!(
            ingress,
            manifest.contains(&format!("containerPort: {port}"))
        );
    }
    assert!(manifest.contains(&format!("containerPort: {}", admin.port())));
}

#[test]
fn the_configurations_of_the_compose_file_load() {
    let compose = read("deploy/compose.yaml");
    for node in ["web-egress", "chat-ingress"] {
        let file = format!("deploy/compose/{node}.yaml");
        assert_eq!(good(&file, &read(&file)).node, node);
        assert!(compose.contains(&format!(
            "./compose/{node}.yaml:/etc/ripcord/ripcord.yaml:ro"
        )));
    }
}

#[test]
fn systemd_waits_longer_than_a_drain_takes() {
    let unit = read("deploy/ripcord.service");
    let stop = unit
        .lines()
        .find_map(|l| l.strip_prefix("TimeoutStopSec="))
        .unwrap();
    let stop = Duration::from_secs(stop.trim_end_matches('s').parse().unwrap());
    assert!(manifest_config().drain.timeout + Duration::from_secs(5) < stop);
}

/// Every `.md` file below `folder`, but for what is built.
fn markdown(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|e| e.unwrap()) {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            if name != "target" && name != ".git" {
                markdown(&path, found);
            }
        } else if path.extension().is_some_and(|e| e == "md") {
            let path = path.strip_prefix(root()).unwrap();
            found.insert(path.to_str().unwrap().to_owned());
        }
    }
}

/// Every document of the repository.
fn documents() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    markdown(root(), &mut found);
    assert!(found.len() > 10, "{found:?}");
    found
}

/// The links of a document that lead into the repository: the file, from the root, and the anchor.
fn links(file: &str, text: &str) -> Vec<(PathBuf, String)> {
    let folder = Path::new(file).parent().unwrap();
    text.split("](")
        .skip(1)
        .map(|rest| rest.split(')').next().unwrap())
        .filter(|link| !link.contains("://"))
        .map(|link| {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => PathBuf::from(file),
                path => folder.join(path),
            };
            (target, anchor.to_owned())
        })
        .collect()
}

/// The anchors that GitHub makes of a document's headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|l| l.starts_with('#'));
    headings
        .map(|heading| {
            let words = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = words
                .chars()
                .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

#[test]
fn links_lead_somewhere() {
    let mut wrong = Vec::new();
    for file in documents() {
        for (target, anchor) in links(&file, &read(&file)) {
            let path = root().join(&target);
            let is_there = match anchor.as_str() {
                "" => path.exists(),
                anchor => std::fs::read_to_string(path).is_ok_and(|t| anchors(&t).contains(anchor)),
            };
            if !is_there {
                wrong.push(format!("{file}: {}#{anchor}", target.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Who reads the README finds every document: from its map, or from one that the map has.
#[test]
fn every_document_can_be_found_from_the_readme() {
    let mut found = BTreeSet::from(["README.md".to_owned()]);
    let mut new: Vec<String> = found.iter().cloned().collect();
    while let Some(file) = new.pop() {
        for (target, _) in links(&file, &read(&file)) {
            let parts = target.components().fold(PathBuf::new(), |mut path, part| {
                match part {
                    Component::ParentDir => _ = path.pop(),
                    part => path.push(part),
                }
                path
            });
            let name = parts.to_str().unwrap().to_owned();
            if name.ends_with(".md") && found.insert(name.clone()) {
                new.push(name);
            }
        }
    }
    let lost: Vec<String> = documents().difference(&found).cloned().collect();
    assert!(lost.is_empty(), "no link leads to {lost:?}");
}

fn sources(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap().map(|e| e.unwrap()) {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|e| e == "rs") {
            text.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

/// The second table: the first column has types in backticks.
#[test]
fn the_glossary_names_types_that_exist() {
    let mut code = String::new();
    sources(&root().join("src"), &mut code);
    let text = read("src/README.md");
    let (_, table) = text.split_once("The names of the code:").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let rows = table.lines().filter_map(|l| l.strip_prefix("| `"));
    let names: Vec<&str> = rows
        .flat_map(|row| row.split(" |").next().unwrap().split(", "))
        .map(|name| name.trim_matches('`'))
        .collect();
    assert!(names.len() > 30, "{names:?}");
    let exists = |name: &&&str| {
        ["struct", "enum", "trait", "type"].iter().any(|kind| {
            let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric());
            let definition = format!("{kind} {name}");
            code.split(&definition).skip(1).any(ends)
        })
    };
    let gone: Vec<&&str> = names.iter().filter(|name| !exists(name)).collect();
    assert!(gone.is_empty(), "no such types: {gone:?}");
}

#[test]
fn the_readme_is_short() {
    let size = read("README.md").len();
    assert!(size <= 8192, "README.md has {size} bytes");
}

/// The words that follow `before` in a document.
fn words<'t>(text: &'t str, before: &str) -> Vec<&'t str> {
    let end = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-');
    text.split(before)
        .skip(1)
        .map(|rest| rest.split(end).next().unwrap())
        .filter(|word| !word.is_empty())
        .collect()
}

#[test]
fn commands_name_suites_benches_and_subcommands_that_exist() {
    let help = Command::new(RIPCORD).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for file in documents() {
        let text = read(&file);
        for suite in words(&text, "--test ") {
            let path = format!("tests/{suite}.rs");
            assert!(root().join(path).exists(), "{file}: no suite {suite}");
        }
        for bench in words(&text, "--bench ") {
            let path = format!("benches/{bench}/main.rs");
            assert!(root().join(path).exists(), "{file}: no bench {bench}");
        }
        let starts = ["`ripcord ", "\n    ripcord ", "/ripcord "];
        for command in starts.iter().flat_map(|before| words(&text, before)) {
            let is_there = help.contains(&format!("\n  {command} "));
            assert!(is_there, "{file}: no command `ripcord {command}`");
        }
    }
}

#[test]
fn the_readme_shows_what_check_prints() {
    let check = Command::new(RIPCORD)
        .args(["check", "config/grpc-to-ttheader.yaml"])
        .current_dir(root())
        .output()
        .unwrap();
    let printed = String::from_utf8(check.stdout).unwrap();
    assert!(check.status.success() && !printed.is_empty());
    assert!(read("README.md").contains(printed.trim_end()), "{printed}");
}
