//! The example configurations load without a warning, and each file in `config/invalid` gives
//! exactly the messages that its `# expect:` comments announce.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod kit;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use kit::ripcord::{Ripcord, binary};
use kit::spec::Table;
use ripcord::config::{self, Config};

fn files(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(root).unwrap().map(|e| e.unwrap().path());
    let mut files: Vec<PathBuf> = entries
        .filter(|p| p.extension().is_some_and(|e| e == "yaml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "nothing in {folder}");
    files
}

fn good(path: &Path) -> Config {
    match config::inspect(path) {
        Ok((config, warnings)) => {
            assert!(warnings.is_empty(), "{warnings}");
            config
        }
        Err(faults) => panic!("{faults}"),
    }
}

#[test]
fn the_examples_load() {
    for file in files("config") {
        good(&file);
    }
}

#[test]
fn each_pair_of_protocols_has_an_example() {
    use config::{ListenerProtocol, Protocol};
    for from in [Protocol::GRPC, Protocol::TTHEADER] {
        for to in [Protocol::GRPC, Protocol::TTHEADER] {
            let file = format!("config/{}-to-{}.yaml", from.name(), to.name());
            let config = good(&Path::new(env!("CARGO_MANIFEST_DIR")).join(&file));
            let listeners = &config.listeners;
            assert!(
                listeners
                    .iter()
                    .all(|l| l.protocol == ListenerProtocol::Only(from)),
                "{file}"
            );
            assert!(config.backends.values().all(|b| b.protocol == to), "{file}");
        }
    }
}

#[test]
fn the_reference_shows_the_defaults() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let reference = good(&root.join("config/reference.yaml"));
    let bare = config::parse(
        "bare",
        "
node: n
listeners: [{ name: l, address: 127.0.0.1:1 }]
backends: { chat: { protocol: ttheader, endpoints: [127.0.0.1:1] } }
routes: [{ name: r, backend: chat }]
",
    )
    .unwrap();
    assert_eq!(reference.limits, bare.limits);
    assert_eq!(reference.drain, bare.drain);
    let listener = |c: &Config| {
        let mut listener = c.listeners.first().unwrap().clone();
        listener.name.clear();
        listener.address.set_port(0);
        listener
    };
    assert_eq!(listener(&reference), listener(&bare));
    let backend = |c: &Config| {
        let mut backend = c.backends.get("chat").unwrap().clone();
        backend.endpoints.clear();
        backend.service = None;
        backend
    };
    assert_eq!(backend(&reference), backend(&bare));
    let timeouts = |c: &Config| c.routes.first().unwrap().timeouts.clone();
    assert_eq!(timeouts(&reference), timeouts(&bare));
    let mut telemetry = reference.telemetry;
    telemetry.otlp = None;
    assert_eq!(telemetry, bare.telemetry);
}

#[test]
fn each_invalid_file_gives_what_it_announces() {
    for file in files("config/invalid") {
        let text = std::fs::read_to_string(&file).unwrap();
        let expected: Vec<&str> = text
            .lines()
            .filter_map(|l| l.strip_prefix("# expect: "))
            .collect();
        assert!(!expected.is_empty(), "{}: expects nothing", file.display());
        // A file whose faults are all warnings loads; it is among the invalid ones for them.
        let faults = match config::parse("f", &text) {
            Ok(_) => config::inspect_text("f", &text).unwrap().1,
            Err(faults) => faults,
        };
        let found: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{}", file.display());
        assert!(faults.fatal() || file.ends_with("warnings.yaml"));
    }
}

/// What `ripcord check` does with these arguments and that standard input.
fn check(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(binary());
    command.arg("check").args(arguments);
    let all = [Stdio::piped(), Stdio::piped(), Stdio::piped()];
    let [stdin, stdout, stderr] = all;
    let mut child = command
        .stdin(stdin)
        .stdout(stdout)
        .stderr(stderr)
        .env("RIPCORD_TEST_PORT", "15001")
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Loads with a warning: its backend has no `payload`.
const WARNED: &str = "\
node: n
listeners: [{ name: in, address: \"127.0.0.1:${RIPCORD_TEST_PORT}\" }]
backends: { chat: { protocol: ttheader, endpoints: 127.0.0.1:8888 } }
routes: [{ name: r, backend: chat, timeouts: { first_response: 1s } }]
";

/// The warning for it.
const WARNING: &str = "3:13: backends.chat.payload: warning: missing on a TTHeader backend: \
    Kitex reads whatever comes as thrift, also protobuf; write payload: thrift, protobuf, or any \
    to pass everything on";

#[test]
fn standard_input_is_checked() {
    let checked = check(&["-"], WARNED);
    assert!(checked.status.success());
    assert_eq!(text(&checked.stderr), format!("<stdin>:{WARNING}\n"));
    assert_eq!(
        text(&checked.stdout),
        "<stdin>: ok: 1 listeners, 1 backends, 1 routes\n"
    );
}

#[test]
fn warnings_fail_a_strict_check() {
    let checked = check(&["--strict", "-"], WARNED);
    assert_eq!(checked.status.code(), Some(1));
    let last = "ripcord check: fails: there are warnings, and --strict is given";
    let said = format!("<stdin>:{WARNING}\n{last}\n");
    assert_eq!(text(&checked.stderr), said);
    assert_eq!(text(&checked.stdout), "");
    let clean = WARNED.replace("ttheader,", "ttheader, payload: any,");
    assert!(check(&["--strict", "-"], &clean).status.success());
}

#[test]
fn several_files_are_checked_and_one_bad_one_fails() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = |name: &str| root.join(name).display().to_string();
    let good = [
        file("config/grpc-to-grpc.yaml"),
        file("config/reference.yaml"),
    ];
    let bad = file("config/invalid/star.yaml");
    let checked = check(&[&good[0], &good[1]], "");
    assert!(checked.status.success());
    assert_eq!(text(&checked.stdout).lines().count(), 2);
    let checked = check(&[&good[0], &bad, &good[1], "-"], WARNED);
    assert_eq!(checked.status.code(), Some(1));
    assert_eq!(text(&checked.stdout).lines().count(), 3);
    assert!(text(&checked.stderr).starts_with(&format!("{bad}:7:16: not YAML: ")));
}

#[test]
fn bad_arguments_have_a_code_of_their_own() {
    assert_eq!(check(&[], "").status.code(), Some(2));
}

#[test]
fn run_with_a_bare_file_says_where_it_belongs() {
    let output = Command::new(binary())
        .args(["run", "hop.yaml"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    let meant = "did you mean: ripcord run --config hop.yaml\n";
    assert!(said.contains(meant), "{said}");
    let help = Command::new(binary())
        .args(["run", "--help"])
        .output()
        .unwrap();
    assert!(!text(&help.stdout).contains("[FILE]"));
}

/// What `ripcord run -c FILE` says of a file that it does not start with.
fn refused(name: &str, content: &[u8]) -> String {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&file, content).unwrap();
    let mut command = Command::new(binary());
    let output = command.args(["run", "-c"]).arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr).to_owned();
    said.replace(&file.display().to_string(), "FILE")
}

#[test]
fn a_file_that_is_not_utf_8_is_told_where() {
    let said = refused("latin-1.yaml", b"node: caf\xE9\n");
    assert!(said.starts_with("ripcord: FILE:1:10: byte 0xE9, at offset 9, is not UTF-8"));
    let said = refused("utf-16.yaml", b"\xFF\xFEn\0o\0d\0e\0");
    assert!(said.starts_with("ripcord: FILE:1:1: the file is UTF-16; "));
    let good = Path::new(env!("CARGO_TARGET_TMPDIR")).join("utf-8-mark.yaml");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/grpc-to-grpc.yaml");
    let marked = format!("\u{feff}{}", std::fs::read_to_string(example).unwrap());
    std::fs::write(&good, marked).unwrap();
    self::good(&good);
}

#[test]
fn an_access_log_that_cannot_be_opened_is_named_once() {
    let content = WARNED.replace("${RIPCORD_TEST_PORT}", "0")
        + "telemetry: { access_log: /nonexistent/access.log }\n";
    let said = refused("access-log.yaml", content.as_bytes());
    let warned = "5:26: telemetry.access_log: warning: the folder of \"/nonexistent/access.log\" \
        does not exist here; create it, or ripcord does not start";
    assert!(said.contains(&format!(
        "WARN ripcord::setup: configuration: FILE:{warned}\n"
    )));
    let error = "ripcord: access log /nonexistent/access.log cannot be opened: \
        No such file or directory\n";
    assert!(said.ends_with(error), "{said}");
    assert_eq!(said.matches("No such file").count(), 1, "{said}");
}

/// The configuration's warnings that it has logged, from the place on.
fn warnings(hop: &Ripcord) -> Vec<String> {
    let lines = hop.process.all();
    let warnings = lines.iter().filter(|line| line["level"] == "WARN");
    let told = warnings.filter_map(|line| {
        let text = line["message"].as_str()?.strip_prefix("configuration: ")?;
        Some(text.split_once(".yaml:")?.1.to_owned())
    });
    told.collect()
}

#[test]
fn warnings_are_logged_at_the_start_and_by_a_reload_that_is_taken() {
    let table = |keys: &str| {
        let bounded = "backend: chat, timeouts: { idle: 1s }";
        let keys = format!("protocol: ttheader{keys}");
        let table = Table::new().backend("chat", &keys, "127.0.0.1:9");
        table.route("all", bounded)
    };
    let hop = Ripcord::named("hop").table(table("")).start();
    let told = warnings(&hop);
    assert_eq!(told.len(), 1);
    let payload = ": backends.chat.payload: warning: missing on a TTHeader backend: ";
    assert!(told[0].contains(payload), "{told:?}");
    // Refused: its warnings are part of the error.
    hop.reload(&table(", endpoint: 1"));
    hop.logged("configuration refused");
    hop.publish(&table(", pool_size: 2"));
    let told = warnings(&hop);
    assert_eq!(told.len(), 2);
    assert!(told[1].contains(payload), "{told:?}");
    hop.publish(&table(", payload: thrift"));
    assert_eq!(warnings(&hop).len(), 2);
}
