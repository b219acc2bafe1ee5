//! The example configurations load without a warning, and each file in `config/invalid` gives
//! exactly the messages that its `# expect:` comments announce.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

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
