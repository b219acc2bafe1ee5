//! What the documents promise: configurations in README.md and deploy/ load without a
//! warning, links lead somewhere, and the numbers of the manifests fit together.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::time::Duration;

use ripcord::config::{self, Config};

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
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

#[test]
fn the_readme_shows_a_configuration_that_loads() {
    let readme = read("README.md");
    let blocks: Vec<&str> = readme
        .split("```yaml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        good("README.md", block);
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

#[test]
fn relative_links_lead_somewhere() {
    for (file, folder) in [
        ("README.md", ""),
        ("deploy/README.md", "deploy"),
        ("deploy/OPERATIONS.md", "deploy"),
        ("CHANGELOG.md", ""),
    ] {
        let text = read(file);
        for link in text
            .split("](")
            .skip(1)
            .map(|rest| rest.split([')', '#']).next().unwrap())
        {
            if link.is_empty() || link.contains("://") {
                continue;
            }
            let target = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join(folder)
                .join(link);
            assert!(target.exists(), "{file}: {link}");
        }
    }
}
