//! Defaults, what a reload compares, and that reading never panics, whatever the text.

use super::*;
use proptest::prelude::*;
use std::time::Duration;

const SMALL: &str = "\
node: n
listeners: [{ name: in, address: 127.0.0.1:15001 }]
backends: { b: { protocol: grpc, endpoints: [127.0.0.1:8888] } }
routes: [{ name: r, backend: b }]
";

fn good(text: &str) -> Config {
    parse("f", text).unwrap_or_else(|faults| panic!("{faults}"))
}

fn lines(text: &str) -> Vec<String> {
    let faults = parse("f", text).unwrap_err().to_string();
    faults.lines().map(str::to_owned).collect()
}

#[test]
fn everything_else_has_a_default() {
    let config = good(SMALL);
    assert_eq!(config.node, "n");
    assert!(config.workers >= 1);
    assert_eq!(config.admin, None);
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.listeners[0].limits, Limits::default());
    assert_eq!(config.listeners[0].protocol, ListenerProtocol::Auto);
    assert_eq!(config.telemetry, Telemetry::default());
    assert_eq!(config.drain.timeout, Duration::from_secs(25));
    let backend = &config.backends["b"];
    assert_eq!(backend.connections, Connections::Shared);
    assert_eq!(backend.keepalive, Keepalive::default());
    assert_eq!(config.routes[0].matching, Match::default());
    assert_eq!(config.routes[0].timeouts, Timeouts::default());
}

#[test]
fn the_message_of_the_design() {
    let text = SMALL.replace("protocol: grpc", "protocol: grcp");
    assert_eq!(
        lines(&text),
        [
            "f:3:28: backends.b.protocol: unknown protocol \"grcp\"; allowed: grpc, ttheader (did you mean \"grpc\"?)"
        ]
    );
}

#[test]
fn a_listener_overrides_limits() {
    let text = SMALL.replace(
        "address: 127.0.0.1:15001",
        "address: 127.0.0.1:15001, limits: { max_message: 1MiB }",
    ) + "limits: { stream_buffer: 128KiB }\n";
    let limits = good(&text).listeners[0].limits.clone();
    assert_eq!(limits.max_message, 1 << 20);
    assert_eq!(limits.stream_buffer, 128 << 10);
    assert_eq!(limits.metadata_size, Limits::default().metadata_size);
}

const REDIRECTED: &str = "\
node: n
listeners: [{ name: in, address: 127.0.0.1:15001, original_destination: on }]
backends: { b: { protocol: grpc, endpoints: original_destination } }
routes:
  - { name: r, match: { destination: \"10.0.0.0/8\" }, backend: b }
  - { name: s, match: { destination: \"10.1.0.0/16:80\" }, backend: b }
";

#[test]
fn a_backend_may_be_where_the_caller_was_going() {
    let (config, warnings) = inspect_text("f", REDIRECTED).unwrap();
    assert!(config.listeners[0].original_destination);
    assert!(config.backends["b"].dials_original_destination());
    assert_eq!(
        config.backends["b"].endpoints[0].to_string(),
        "original_destination"
    );
    assert_eq!(
        warnings.to_string(),
        "f:6:5: routes[1]: warning: never matches: all that it matches is taken by \"r\" before it"
    );
}

#[test]
fn pings_that_grpc_servers_punish_get_a_warning() {
    let punished = "a gRPC server with default settings answers with GOAWAY too_many_pings";
    for (hop, http2, expected) in [
        ("none", "interval: 5m", &[][..]),
        (
            "none",
            "interval: 299s",
            &["http2.interval: warning: pings more often than"],
        ),
        (
            "none",
            "interval: 1s, without_streams: on",
            &[
                "interval: warning: ",
                "without_streams: warning: pings while no stream",
            ],
        ),
        ("ripcord", "interval: 1s, without_streams: on", &[]),
    ] {
        let text = format!(
            "node: n\nlisteners: [{{ name: in, address: 127.0.0.1:1 }}]\n\
             backends: {{ b: {{ protocol: grpc, hop: {hop}, endpoints: 127.0.0.1:2, \
             keepalive: {{ http2: {{ {http2} }} }} }} }}\n\
             routes: [{{ name: r, backend: b }}]\n"
        );
        let (_, warnings) = inspect_text("f", &text).unwrap();
        let warnings = warnings.to_string();
        assert_eq!(
            warnings.matches(punished).count(),
            expected.len(),
            "{warnings}"
        );
        for part in expected {
            assert!(warnings.contains(part), "{part}: {warnings}");
        }
    }
}

#[test]
fn nobody_is_redirected_without_a_listener_for_it() {
    let text = REDIRECTED.replace("original_destination: on", "original_destination: off");
    assert_eq!(
        lines(&text),
        [
            "f:3:45: backends.b.endpoints: bad endpoints \"original_destination\": no listener has original_destination: on, so there is none to dial",
            "f:5:5: routes[0].match.destination: warning: never matches: no listener has original_destination: on",
            "f:6:5: routes[1].match.destination: warning: never matches: no listener has original_destination: on",
        ]
    );
}

#[test]
fn anchors_can_be_used() {
    let text = "\
node: n
listeners: [{ name: in, address: 127.0.0.1:15001, keepalive: &k { user_timeout: 9s } }]
backends: { b: { protocol: grpc, endpoints: [127.0.0.1:8888], keepalive: *k } }
routes: [{ name: r, backend: b }]
";
    let config = good(text);
    assert_eq!(
        config.backends["b"].keepalive,
        config.listeners[0].keepalive
    );
}

#[test]
fn a_key_of_the_users_own_may_hold_what_is_used_elsewhere() {
    let text = "x-web: &web { name: r, backend: b, unknown: [1] }\n".to_owned() + SMALL;
    assert_eq!(good(&text), good(SMALL));
    let used = text
        .replace(", unknown: [1]", "")
        .replace("[{ name: r, backend: b }]", "[*web]");
    assert_eq!(good(&used), good(SMALL));
}

#[test]
fn one_endpoint_needs_no_list() {
    let text = SMALL.replace("[127.0.0.1:8888]", "127.0.0.1:8888");
    assert_eq!(good(&text), good(SMALL));
}

/// Reads with the environment variables `PORT`, `LEVEL`, `WHERE`, `KEY` and `EMPTY`.
fn with_variables(text: &str) -> Result<(Config, Faults), Faults> {
    let environment = Environment::of(&[
        ("PORT", "8080"),
        ("LEVEL", "off"),
        ("WHERE", "original_destination"),
        ("KEY", "hush: [hush"),
        ("EMPTY", ""),
    ]);
    inspect_in(environment, "f", text)
}

#[test]
fn environment_variables_stand_in_values() {
    let text = SMALL
        .replace("node: n", "node: n-${PORT} # ${GONE}\nworkers: ${PORT:-1}")
        .replace("127.0.0.1:15001", "\"127.0.0.1:${PORT}\"")
        .replace("name: r,", "name: \"$${PORT}$\",");
    let fault = with_variables(&text).unwrap_err().to_string();
    assert_eq!(
        fault,
        "f:2:10: workers: bad number \"${PORT:-1}\"; allowed: 1 to 256"
    );
    let text = text.replace("${PORT:-1}", "${EMPTY:-2}");
    let (config, warnings) = with_variables(&text).unwrap();
    assert!(warnings.is_empty());
    assert_eq!((config.node.as_str(), config.workers), ("n-8080", 2));
    assert_eq!(config.listeners[0].address.port(), 8080);
    assert_eq!(config.routes[0].name, "${PORT}$");
}

#[test]
fn a_word_may_come_from_the_environment() {
    let text = REDIRECTED
        .replace("endpoints: original_destination", "endpoints: \"${WHERE}\"")
        .replace(
            "protocol: grpc,",
            "protocol: grpc, keepalive: { tcp: \"${LEVEL}\" },",
        );
    let backend = &with_variables(&text).unwrap().0.backends["b"];
    assert!(backend.dials_original_destination());
    assert_eq!(backend.keepalive.tcp, None);
}

#[test]
fn keys_have_no_variables() {
    let text = SMALL.to_owned() + "\"${PORT}\": 1\n";
    let fault = with_variables(&text).unwrap_err().to_string();
    assert!(fault.contains("unknown key \"${PORT}\""), "{fault}");
}

#[test]
fn the_value_of_a_variable_is_not_shown_and_changes_nothing_around_it() {
    let places = "\
node: \"${KEY},\"
workers: ${KEY}
listeners:
  - { name: in, address: \"${KEY}\", protocol: \"${KEY}\", original_destination: \"${KEY}\" }
backends:
  b: { protocol: \"${KEY}\", endpoints: [\"${KEY}\", \"${KEY}\"], connect_timeout: \"${KEY}\" }
routes:
  - { name: \"\\n${KEY}\", match: { method: \"*${KEY}\", destination: \"${KEY}\", service: \"${KEY}*\" },
      backend: \"${KEY}\", rewrite: { service: \"/${KEY}\" }, metadata_to_transit: { a: \"${KEY}\" } }
limits: { max_message: \"${KEY}\", max_resets: \"${KEY}\" }
telemetry:
  otlp: { endpoint: \"${KEY}\", protocol: \"${KEY}\", headers: { a: \"\\n${KEY}\" } }
  sampling: ${KEY}
  access_log: ${KEY}
  log: { level: \"${KEY}\" }
";
    let faults = with_variables(places).unwrap_err();
    assert_eq!(faults.len(), 24, "{faults}");
    assert!(!faults.to_string().contains("hush"), "{faults}");
    let headers =
        "telemetry: { otlp: { endpoint: \"http://c:4317\", headers: { a: \"${KEY}\" } } }\n";
    let (config, _) = with_variables(&(SMALL.to_owned() + headers)).unwrap();
    let otlp = config.telemetry.otlp.unwrap();
    assert_eq!(otlp.headers["a"].reveal(), "hush: [hush");
}

#[test]
fn the_values_of_a_file_are_bounded() {
    let long = "x".repeat(1 << 20);
    let environment = Environment::of(&[("LONG", &long)]);
    let values: String = (0..5).map(|i| format!("h{i}: \"${{LONG}}\", ")).collect();
    let text = format!(
        "{SMALL}telemetry: {{ otlp: {{ endpoint: \"http://c:4317\", headers: {{ {values} }} }} }}\n"
    );
    let faults = inspect_in(environment, "f", &text).unwrap_err().to_string();
    assert!(
        faults.ends_with(
            "headers.h4: too long with its variables; allowed: 4194304 bytes in the whole file"
        ),
        "{faults}"
    );
}

#[test]
fn the_folder_of_the_access_log_must_be_there() {
    let text = SMALL.to_owned() + "telemetry: { access_log: /nonexistent/access.log }\n";
    let look = |text: &str| {
        let environment = Environment::of(&[]).with_folders();
        inspect_in(environment, "f", text).unwrap().1.to_string()
    };
    assert_eq!(
        look(&text),
        "f:5:26: telemetry.access_log: warning: the folder of \"/nonexistent/access.log\" does not exist here; create it, or ripcord does not start"
    );
    assert_eq!(look(&text.replace("/nonexistent/", "/")), "");
    // Text alone depends on no machine.
    assert!(inspect_text("f", &text).unwrap().1.is_empty());
}

#[test]
fn the_port_of_the_other_protocol_is_seen() {
    let warned = |endpoint: &str, protocol: &str| {
        let otlp = format!("{{ endpoint: \"{endpoint}\", protocol: {protocol} }}");
        let text = format!("{SMALL}telemetry: {{ otlp: {otlp} }}\n");
        !inspect_text("f", &text).unwrap().1.is_empty()
    };
    assert!(warned("http://c:4318", "grpc"));
    assert!(warned("http://c:4317/v1/traces", "http"));
    for (endpoint, protocol) in [
        ("http://c:4317", "grpc"),
        ("http://c:4318", "http"),
        ("http://c", "grpc"),
    ] {
        assert!(!warned(endpoint, protocol), "{endpoint} {protocol}");
    }
}

#[test]
fn what_needs_a_restart_is_named() {
    let old = good(SMALL);
    assert!(restart_needed(&old, &old).is_empty());
    let mut new = old.clone();
    new.routes[0].timeouts.idle = Some(Duration::from_secs(1));
    new.drain.timeout = Duration::from_secs(1);
    assert!(restart_needed(&old, &new).is_empty());
    new.node = "m".to_owned();
    new.listeners[0].address.set_port(1);
    let mut second = old.listeners[0].clone();
    second.name = "second".to_owned();
    new.listeners.push(second);
    assert_eq!(
        restart_needed(&old, &new),
        ["node", "listeners.in", "listeners.second"]
    );
    let limited = good(&(SMALL.to_owned() + "limits: { max_message: 1MiB }\n"));
    assert_eq!(restart_needed(&old, &limited), ["limits"]);
    // And it is not effective before.
    let now = effective(&old, &new);
    assert_eq!((&now.routes, &now.drain), (&new.routes, &new.drain));
    assert!(restart_needed(&old, &now).is_empty());
}

#[test]
fn an_old_key_still_loads_and_its_new_name_is_told() {
    let text = SMALL.to_owned() + "limits: { slow_grace: 7s }\n";
    let (config, warnings) = inspect_text("f", &text).unwrap();
    assert_eq!(config.limits.slow_receiver_timeout, Duration::from_secs(7));
    assert_eq!(
        warnings.to_string(),
        "f:5:11: limits.slow_grace: warning: slow_grace is now slow_receiver_timeout; write the new name"
    );
    let both = SMALL.to_owned() + "limits: { slow_receiver_timeout: 3s, slow_grace: 7s }\n";
    assert_eq!(
        lines(&both),
        [
            "f:5:38: limits.slow_grace: slow_grace is the old name of slow_receiver_timeout, which is at 5:11; allowed: only slow_receiver_timeout"
        ]
    );
}

#[test]
fn secrets_are_not_shown() {
    let text = SMALL.to_owned()
        + "telemetry: { otlp: { endpoint: \"http://c:4317\", headers: { x-key: hush } } }\n";
    let config = good(&text);
    let otlp = config.telemetry.otlp.as_ref().unwrap();
    assert_eq!(otlp.headers["x-key"].reveal(), "hush");
    assert!(!format!("{config:?}").contains("hush"));
}

#[test]
fn a_missing_file_is_a_fault() {
    let path = Path::new("/nonexistent/ripcord.yaml");
    let fault = load(path).unwrap_err().to_string();
    assert!(fault.starts_with("/nonexistent/ripcord.yaml: cannot be read: "));
}

/// Every key of the schema, by section.
const SECTIONS: &[&[&str]] = &[
    validate::KEYS,
    listener::KEYS,
    listener::ADMIN_KEYS,
    backend::KEYS,
    backend::KEEPALIVE_KEYS,
    backend::TCP_KEYS,
    backend::PING_KEYS,
    backend::BACKOFF_KEYS,
    backend::DNS_KEYS,
    route::KEYS,
    route::MATCH_KEYS,
    route::REWRITE_KEYS,
    route::TIMEOUT_KEYS,
    limits::KEYS,
    limits::DRAIN_KEYS,
    telemetry::KEYS,
    telemetry::OTLP_KEYS,
    telemetry::LOG_KEYS,
];

#[test]
fn the_reference_has_every_key() {
    let reference = include_str!("../../config/reference.yaml");
    for key in SECTIONS.iter().copied().flatten() {
        let there = reference.lines().any(|l| {
            l.trim_start_matches([' ', '-', '#'])
                .starts_with(&format!("{key}:"))
        });
        assert!(there, "config/reference.yaml lacks {key}");
    }
}

/// Text made of the schema's own words, so that reading gets deep.
fn wordy() -> impl Strategy<Value = String> {
    let keys: Vec<&str> = SECTIONS.iter().copied().flatten().copied().collect();
    let word = prop_oneof![
        prop::sample::select(keys).prop_map(str::to_owned),
        prop::sample::select(vec![
            "grpc",
            "off",
            "1s",
            "64KiB",
            "127.0.0.1:1",
            "a:1",
            "*",
            "-1",
            "~",
            "\"",
            "[",
            "{",
            "}",
            "]",
            "&a",
            "*a",
            "${PORT}",
            "${GONE:-1}",
            "${",
            "$$",
            "|",
            "b",
        ])
        .prop_map(str::to_owned),
    ];
    let line = (
        0_usize..8,
        prop::bool::ANY,
        word.clone(),
        prop::option::of(word),
    )
        .prop_map(|(indent, item, key, value)| {
            let item = if item { "- " } else { "" };
            let value = value.unwrap_or_default();
            format!("{:indent$}{item}{key}: {value}\n", "")
        });
    prop::collection::vec(line, 0..40).prop_map(|lines| lines.concat())
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text: String) {
        let _ = parse("f", &text);
    }

    #[test]
    fn schema_like_text_is_read_without_a_panic(text in wordy()) {
        if let Err(faults) = with_variables(&text) {
            let shown = faults.to_string();
            prop_assert_eq!(shown.lines().count(), faults.len());
        }
    }

    #[test]
    fn a_damaged_file_is_read_without_a_panic(at in 0..SMALL.len(), with: char) {
        let mut text = SMALL.to_owned();
        text.replace_range(at..=at, &with.to_string());
        let _ = parse("f", &text);
    }
}
