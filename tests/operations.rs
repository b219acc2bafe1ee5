//! What operators read and do. Every metric that the dashboard, the alerts and the documents name
//! exists in the binary, and every metric of the binary is explained. A ConfigMap's update becomes
//! effective. A flood of connections does not flood the log. Signals, `RUST_LOG` and pasted lines
//! are in `operations_cases`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod kit;
mod operations_cases;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Instant;

use kit::process::LIMIT;
use kit::ripcord::Ripcord;
use kit::spec::{Spec, Table};
use ripcord::telemetry::metrics::{causes, error_types};
use serde_json::Value;

/// Documents that name metrics.
const DOCUMENTS: &[&str] = &[
    "README.md",
    "README.zh.md",
    "SECURITY.md",
    "benches/README.md",
    "config/README.md",
    "config/reference.yaml",
    "src/README.md",
    "deploy/README.md",
    "deploy/OPERATIONS.md",
    "deploy/alerts.yaml",
    "deploy/alerts-test.yaml",
    "deploy/grafana/ripcord.json",
];

/// Not metrics, though they look like them.
const KEYS: &[&str] = &["process_buffer"];

/// Two backends, and everything to one of them.
fn hop() -> Spec {
    Ripcord::named("hop")
        .quiet()
        .traced("{ endpoint: 'http://127.0.0.1:9' }")
}

fn table(backend: &str) -> Table {
    Table::new()
        .backend("a", "protocol: grpc", "127.0.0.1:9")
        .backend("b", "protocol: grpc", "127.0.0.1:9")
        .route("all", &format!("backend: {backend}"))
}

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// The text of `/metrics`, with every family that a configuration can bring about.
fn metrics() -> String {
    hop().table(table("a")).start().page("/metrics")
}

/// The names that Prometheus stores of each family, by the family's documented name.
fn families(metrics: &str) -> BTreeMap<String, Vec<String>> {
    let types = metrics.lines().filter_map(|l| l.strip_prefix("# TYPE "));
    types
        .map(|line| {
            let (name, kind) = line.split_once(' ').unwrap();
            let suffixes: &[&str] = match kind {
                "counter" => &["_total"],
                "histogram" => &["", "_bucket", "_sum", "_count"],
                "gauge" => &[""],
                other => panic!("{name} is a {other}: say here what Prometheus makes of it"),
            };
            let stored: Vec<String> = suffixes.iter().map(|s| format!("{name}{s}")).collect();
            (stored[0].clone(), stored)
        })
        .collect()
}

/// The words of `text` that look like metrics.
fn named(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("ripcord_") || word.starts_with("process_"))
        .filter(|word| !KEYS.contains(word))
        .collect()
}

/// Only builds with the feature `live-heap` have it; nobody runs them for long.
const LIVE_HEAP: &str = "ripcord_heap_bytes";

#[test]
fn documents_name_the_metrics_that_exist_and_explain_all_of_them() {
    let families = families(&metrics());
    let stored: BTreeSet<&str> = families.values().flatten().map(String::as_str).collect();
    assert!(stored.contains("ripcord_spans_total"), "{stored:?}");
    for document in DOCUMENTS {
        let text = read(document);
        let wrong: Vec<&str> = named(&text)
            .into_iter()
            .filter(|name| !stored.contains(name) && *name != LIVE_HEAP)
            .collect();
        assert!(wrong.is_empty(), "{document}: no such metrics: {wrong:?}");
    }
    let explained = read("deploy/OPERATIONS.md");
    let missing: Vec<&String> = families
        .keys()
        .filter(|name| !explained.contains(&format!("| `{name}")))
        .collect();
    assert!(
        missing.is_empty(),
        "deploy/OPERATIONS.md has no row in its table of metrics for {missing:?}"
    );
    let dashboard = read("deploy/grafana/ripcord.json");
    let unseen: Vec<&String> = families
        .iter()
        .filter(|(name, stored)| {
            name.starts_with("ripcord_")
                && *name != LIVE_HEAP
                && !stored.iter().any(|s| named(&dashboard).contains(&**s))
        })
        .map(|(name, _)| name)
        .collect();
    assert!(
        unseen.is_empty(),
        "deploy/grafana/ripcord.json shows no panel of {unseen:?}"
    );
}

/// `label="value"` of every metric that `text` selects by a fixed value: `a|b` is two.
fn selected(text: &str) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices(['"']) {
        let before = text[..at].trim_end_matches(['=', '~', '!']);
        let label: String = before
            .chars()
            .rev()
            .take_while(|c| c.is_ascii_lowercase() || *c == '_')
            .collect();
        let (label, is_matcher) = (label.chars().rev().collect(), before.len() < at);
        let value = text[at + 1..].split('"').next().unwrap();
        if is_matcher && !value.contains(['$', '*']) {
            found.extend(
                value
                    .split('|')
                    .map(|v| (String::clone(&label), v.to_owned())),
            );
        }
    }
    found
}

#[test]
fn alerts_and_dashboard_select_label_values_that_exist() {
    let metrics = metrics();
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/ripcord.json")).unwrap();
    let targets = dashboard["panels"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|panel| panel["targets"].as_array())
        .flatten();
    let mut expressions: String = targets
        .map(|target| format!("{}\n", target["expr"].as_str().unwrap()))
        .collect();
    expressions.push_str(&read("deploy/alerts.yaml"));
    let selected = selected(&expressions);
    assert!(selected.len() > 8, "{selected:?}");
    for (label, value) in selected {
        // Only streams make series with these; tests of src/telemetry hold the values of `end`.
        let known = match label.as_str() {
            "end" => ["complete", "failed", "canceled", "hop"].contains(&&*value),
            "error_type" => error_types().any(|known| known == value),
            "cause" => causes().any(|known| known == value),
            _ => metrics.contains(&format!("{label}=\"{value}\"")),
        };
        assert!(known, "no metric has {label}=\"{value}\"");
    }
}

/// A stream that crosses two hops is counted by each. So one hop is chosen, and what counts streams
/// is of its instances, or has a line for each hop.
#[test]
fn the_dashboard_counts_a_stream_once() {
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/ripcord.json")).unwrap();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let variable = |name: &str| variables.iter().find(|v| v["name"] == name).unwrap();
    let (node, instance) = (variable("node"), variable("instance"));
    assert_eq!(
        (&node["multi"], &node["includeAll"]),
        (&false.into(), &false.into())
    );
    assert_eq!(
        instance["query"]["query"],
        r#"label_values(ripcord_build_info{job=~"$job", node="$node"}, instance)"#
    );
    // `All` of the instances is then the list of those, not whatever there is.
    assert_eq!(instance["allValue"], Value::Null);
    let of_streams = ["ripcord_stream", "ripcord_message", "ripcord_cancels"];
    let mut seen = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expr = target["expr"].as_str().unwrap();
            if !of_streams.iter().any(|name| expr.contains(name)) {
                continue;
            }
            seen += 1;
            let one_hop =
                expr.matches("{job=").count() == expr.matches(r#"instance=~"$instance""#).count();
            assert!(one_hop || expr.starts_with("sum by (node) "), "{expr}");
            let said = panel["description"].as_str().unwrap();
            let how = ["Each stream once", "a line of its own"];
            assert!(how.iter().any(|how| said.contains(how)), "{said}");
        }
    }
    assert!(seen > 12, "{seen}");
}

/// Nobody has to call a scrape job as the rules do.
#[test]
fn alerts_do_not_depend_on_the_name_of_the_scrape_job() {
    let rules = read("deploy/alerts.yaml");
    let named: Vec<&str> = rules.lines().filter(|l| l.contains("job=")).collect();
    assert!(named.is_empty(), "{named:?}");
}

#[test]
fn the_process_says_its_hop_and_its_start() {
    let metrics = metrics();
    let version = env!("CARGO_PKG_VERSION");
    let build = format!("\nripcord_build_info{{version=\"{version}\",node=\"hop\"}} 1\n");
    assert!(metrics.contains(&build), "{metrics}");
    let mut lines = metrics.lines();
    let start = lines
        .find_map(|l| l.strip_prefix("process_start_time_seconds "))
        .unwrap();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let age = now.as_secs_f64() - start.parse::<f64>().unwrap();
    assert!((-2.0..LIMIT.as_secs_f64()).contains(&age), "{age}");
}

/// The effective file is one that `ripcord check` takes and that means the same; the log names what
/// a reload changed.
#[test]
fn a_reload_says_what_changed_and_the_page_what_is_in_force() {
    let ripcord = hop().table(table("a")).start();
    let same = |page: &Value| {
        let text = ripcord.page("/config?format=yaml");
        let read = ripcord::config::parse("page", &text).unwrap_or_else(|f| panic!("{f}\n{text}"));
        assert_eq!(ripcord::config::render::json(&read), page["config"]);
    };
    let page = ripcord.json("/config");
    assert_eq!(page["config"]["node"], "hop");
    same(&page);

    let new = Table::new()
        .backend("b", "protocol: ttheader", "127.0.0.1:9")
        .backend("c", "protocol: grpc", "127.0.0.1:9")
        .route("one", "match: { service: s }, backend: c")
        .route("all", "backend: b");
    ripcord.reload(&new);
    let line = ripcord.logged("configuration reloaded");
    let said = |key: &str| line[key].as_str().unwrap_or("").to_owned();
    assert_eq!(line["version"], 2);
    assert_eq!(
        (said("routes_added"), said("routes_changed")),
        ("one".into(), "all".into())
    );
    assert_eq!(
        (said("backends_added"), said("backends_removed")),
        ("c".into(), "a".into())
    );
    assert_eq!(said("backends_changed"), "b");
    for none in ["routes_removed", "routes_reordered", "drain_changed"] {
        assert_eq!(line[none], Value::Null, "{none}");
    }
    same(&ripcord.json("/config"));

    ripcord.reload(&table("nowhere"));
    ripcord.logged("configuration refused");
    let page = ripcord.json("/config");
    assert_eq!(page["version"], 2);
    let faults = page["last_error"]["faults"].as_array().unwrap();
    for fault in faults {
        assert!(
            fault["line"].is_u64() && fault["column"].is_u64(),
            "{fault}"
        );
        assert_eq!(fault["severity"], "error");
    }
    assert!(
        faults.iter().any(|f| f["path"] == "routes[0].backend"),
        "{faults:?}"
    );
    same(&page);

    // Put back to what is effective: nothing has changed, and nothing is wrong.
    ripcord.reload(&new);
    ripcord.logged("configuration unchanged");
    assert_eq!(ripcord.json("/config")["last_error"], Value::Null);
}

#[test]
fn every_alert_is_explained() {
    let (rules, page) = (read("deploy/alerts.yaml"), read("deploy/OPERATIONS.md"));
    let alerts: Vec<&str> = rules
        .lines()
        .filter_map(|l| l.trim().strip_prefix("- alert: "))
        .collect();
    assert!(alerts.len() > 8);
    for alert in alerts {
        assert!(
            page.contains(&format!("`{alert}`")),
            "OPERATIONS.md: {alert}"
        );
    }
}

/// As the kubelet does it: `ripcord.yaml` is a link to `..data/ripcord.yaml`, and `..data` is a
/// link to a folder. An update is a new folder and a rename over `..data`. No signal.
#[test]
fn an_update_of_a_config_map_is_taken_up() {
    let ripcord = hop().table(table("a")).config_map().start();
    ripcord.publish(&table("b"));
    assert_eq!(ripcord.json("/config")["version"], 2);

    ripcord.put(&table("nowhere"));
    ripcord.logged("configuration refused");
    let metrics = ripcord.page("/metrics");
    assert!(
        metrics.contains("\nripcord_config_version 2\n"),
        "{metrics}"
    );
    assert!(metrics.contains("\nripcord_config_last_reload_successful 0\n"));
    assert!(metrics.contains("\nripcord_reloads_total{result=\"rejected\"} 1\n"));

    ripcord.publish(&table("a"));
    let metrics = ripcord.page("/metrics");
    assert!(metrics.contains("\nripcord_config_last_reload_successful 1\n"));
}

/// As systemd does it for `Type=notify`.
#[test]
fn the_service_manager_hears_when_it_is_ready_and_when_it_stops() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let name = format!("ripcord-operations-{}", std::process::id());
    let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    manager.set_read_timeout(Some(LIMIT)).unwrap();
    let heard = || {
        let mut got = [0; 64];
        let length = manager.recv(&mut got).unwrap();
        String::from_utf8_lossy(&got[..length]).into_owned()
    };
    let socket = format!("@{name}");
    let ripcord = hop()
        .table(table("a"))
        .environment("NOTIFY_SOCKET", &socket);
    let ripcord = ripcord.start();
    assert_eq!(heard(), "READY=1");
    assert!(ripcord.page("/readyz").starts_with("ready"));
    ripcord.process.signal("TERM");
    assert_eq!(heard(), "STOPPING=1");
    assert_eq!(ripcord.process.exit_code(), Some(0));
}

/// The log has the first few lines of a kind in a second, and how many more there were. The metric
/// has each.
#[test]
fn a_flood_of_refused_connections_does_not_flood_the_log() {
    const FLOOD: u64 = 300;
    let ripcord = hop().table(table("a")).start();
    let started = Instant::now();
    for _ in 0..FLOOD {
        let mut socket = TcpStream::connect(&ripcord.address).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let _ = socket.read_to_end(&mut Vec::new());
    }
    let refusals = |log: &[Value]| -> Vec<u64> {
        let refused = |line: &&Value| line["message"].to_string().contains("connection refused");
        let more = |line: &Value| line["more"].as_u64().unwrap_or(1);
        log.iter().filter(refused).map(more).collect()
    };
    let told = ripcord.process.until("all refusals", |log| {
        let told = refusals(log);
        (told.iter().sum::<u64>() >= FLOOD).then_some(told)
    });
    let (lines, told) = (told.len() as u64, told.iter().sum::<u64>());
    let seconds = started.elapsed().as_secs() + 1;
    println!("{FLOOD} refused connections in {seconds} s: {lines} lines");
    assert_eq!(told, FLOOD);
    assert!(lines <= 6 * seconds, "{lines} lines");
    let metrics = ripcord.page("/metrics");
    let refused = format!("ripcord_connections_refused_total{{listener=\"in\"}} {FLOOD}\n");
    assert!(metrics.contains(&refused), "{metrics}");
}
