//! Lookups, conditions and rewrites, and that hashing finds what a linear scan finds.

use super::*;
use crate::config::Match;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn pattern(text: &str) -> Pattern {
    match text.strip_suffix('*') {
        Some("") => Pattern::Any,
        Some(prefix) => Pattern::Prefix(prefix.to_owned()),
        None => Pattern::Exact(text.to_owned()),
    }
}

fn route(name: &str, service: &str, method: &str) -> config::Route {
    config::Route {
        name: name.to_owned(),
        matching: Match {
            service: (service != "*").then(|| service.to_owned()),
            method: Some(pattern(method)),
            ..Match::default()
        },
        backend: "b".to_owned(),
        rewrite: Rewrite::default(),
        timeouts: Timeouts::default(),
        metadata_to_transit: BTreeMap::new(),
        validate: config::Validate::Off,
        assume_payload: config::AssumedPayload::Protobuf,
        translate: None,
    }
}

fn head(service: &str, method: &str) -> RequestHead {
    RequestHead {
        service: service.to_owned(),
        method: method.to_owned(),
        ..RequestHead::default()
    }
}

fn compile(routes: &[config::Route]) -> Table<String> {
    Table::compile(routes, |name| Some(Arc::new(name.to_owned())), |_| None)
}

fn found(table: &Table<String>, head: &RequestHead) -> Option<String> {
    table.find(head).map(|r| r.name.to_string())
}

#[test]
fn a_destination_is_matched_only_where_there_is_one() {
    let text = "
node: n
listeners: [{ name: in, address: 127.0.0.1:15001, original_destination: on }]
backends: { b: { protocol: grpc, endpoints: original_destination } }
routes:
  - { name: chat, match: { destination: \":8888\" }, backend: b }
  - { name: rest, backend: b }
";
    let table = compile(&config::parse("f", text).unwrap().routes);
    let name = |destination: Option<&str>| {
        let destination = destination.map(|d| d.parse().unwrap());
        let head = RequestHead {
            destination,
            ..head("s", "m")
        };
        found(&table, &head).unwrap()
    };
    assert_eq!(name(Some("10.0.0.1:8888")), "chat");
    assert_eq!(name(Some("10.0.0.1:8889")), "rest");
    assert_eq!(name(None), "rest");
}

#[test]
fn the_first_match_in_the_file_wins() {
    let table = compile(&[
        route("exact", "chat.v1.Chat", "Echo"),
        route("prefix", "chat.v1.Chat", "Get*"),
        route("any-service", "*", "Talk"),
        route("service", "chat.v1.Chat", "*"),
        route("never", "chat.v1.Chat", "GetX"),
        route("rest", "*", "*"),
    ]);
    let name = |service, method| found(&table, &head(service, method)).unwrap();
    assert_eq!(name("chat.v1.Chat", "Echo"), "exact");
    assert_eq!(name("chat.v1.Chat", "GetX"), "prefix");
    assert_eq!(name("chat.v1.Chat", "Talk"), "any-service");
    assert_eq!(name("chat.v1.Chat", "Other"), "service");
    assert_eq!(name("Chat", "Echo"), "rest");
    assert_eq!(name("", ""), "rest");
    assert_eq!(found(&compile(&[]), &head("a", "b")), None);
}

#[test]
fn extra_conditions() {
    let mut first = route("first", "*", "*");
    first.matching.to = Some(pattern("chat:8888"));
    first.matching.caller = Some(pattern("gate*"));
    first.matching.metadata = [
        ("X-Tenant".to_owned(), pattern("a*")),
        ("RPC_PERSIST_ENV".to_owned(), pattern("*")),
    ]
    .into();
    let table = compile(&[first]);
    let mut good = head("s", "m");
    good.to = Some("chat:8888".to_owned());
    good.caller = Some("gateway".to_owned());
    good.metadata.push(Scope::Plain, "x-tenant", "zz");
    good.metadata.push(Scope::Plain, "x-tenant", "acme");
    good.metadata.push(Scope::Persist, "ENV", "x");
    assert_eq!(found(&table, &good).as_deref(), Some("first"));

    let mut other = good.clone();
    other.to = None;
    assert_eq!(found(&table, &other), None);
    let mut other = good.clone();
    other.caller = Some("web".to_owned());
    assert_eq!(found(&table, &other), None);
    let mut other = good.clone();
    other.metadata.remove(Scope::Persist, "ENV");
    other.metadata.push(Scope::Transit, "ENV", "x");
    assert_eq!(found(&table, &other), None);
    let mut other = good;
    other.metadata.remove(Scope::Plain, "x-tenant");
    assert_eq!(found(&table, &other), None);
}

#[test]
fn changes_on_the_way_out() {
    let mut changing = route("r", "*", "*");
    changing.rewrite = Rewrite {
        service: Some("ChatService".to_owned()),
        method: None,
        to: Some("chat".to_owned()),
    };
    changing.metadata_to_transit = [
        ("x-user".to_owned(), "USER".to_owned()),
        ("x-set".to_owned(), "SET".to_owned()),
        ("x-none".to_owned(), "NONE".to_owned()),
    ]
    .into();
    let table = compile(&[changing]);
    let mut out = head("chat.v1.Chat", "Echo");
    out.metadata.push(Scope::Plain, "X-User", "1");
    out.metadata.push(Scope::Plain, "x-user", "2");
    out.metadata.push(Scope::Plain, "x-set", "mine");
    out.metadata.push(Scope::Transit, "SET", "theirs");
    table.find(&out).unwrap().apply(&mut out);
    assert_eq!(out.service, "ChatService");
    assert_eq!(out.method, "Echo");
    assert_eq!(out.to.as_deref(), Some("chat"));
    let transit: Vec<(&[u8], &[u8])> = out
        .metadata
        .iter()
        .filter(|e| e.scope == Scope::Transit)
        .map(|e| (&*e.key, &*e.value))
        .collect();
    assert_eq!(
        transit,
        [
            (&b"SET"[..], &b"theirs"[..]),
            (b"USER", b"1"),
            (b"USER", b"2")
        ]
    );
    assert_eq!(out.metadata.len(), 6);
}

/// Finds the route by reading the configuration from its beginning.
fn scan(routes: &[config::Route], head: &RequestHead) -> Option<String> {
    let holds = |pattern: &Option<Pattern>, value: Option<&str>| {
        pattern
            .as_ref()
            .is_none_or(|p| value.is_some_and(|v| p.matches(v.as_bytes())))
    };
    let matches = |r: &&config::Route| {
        let m = &r.matching;
        m.service.as_ref().is_none_or(|s| *s == head.service)
            && holds(&m.method, Some(&head.method))
            && holds(&m.to, head.to.as_deref())
    };
    routes.iter().find(matches).map(|r| r.name.clone())
}

proptest! {
    #[test]
    fn hashing_finds_what_a_scan_finds(
        routes in prop::collection::vec(("[ab*]", "(a|b|ab|a\\*|\\*)", prop::option::of("(x|\\*)")), 0..20),
        service in "[abc]?",
        method in "[abc]{0,2}",
        to in prop::option::of("[xy]"),
    ) {
        let routes: Vec<config::Route> = routes
            .iter()
            .enumerate()
            .map(|(i, (service, method, to))| {
                let mut route = route(&i.to_string(), service, method);
                route.matching.to = to.as_deref().map(pattern);
                route
            })
            .collect();
        let mut head = head(&service, &method);
        head.to = to;
        prop_assert_eq!(found(&compile(&routes), &head), scan(&routes, &head));
    }

    #[test]
    fn a_route_that_is_warned_of_never_matches(
        routes in prop::collection::vec(("[ab*]", "(a|b|ab|a\\*|\\*)", prop::option::of("(x|\\*)")), 1..12),
    ) {
        let mut text = "\
node: n
listeners: [{ name: in, address: 127.0.0.1:15001 }]
backends: { b: { protocol: grpc, endpoints: [127.0.0.1:8888] } }
routes:
".to_owned();
        for (i, (service, method, to)) in routes.iter().enumerate() {
            let to = to.as_ref().map(|to| format!(", to: \"{to}\"")).unwrap_or_default();
            let matching = format!("service: \"{service}\", method: \"{method}\"{to}");
            text.push_str(&format!("  - {{ name: r{i}, match: {{ {matching} }}, backend: b }}\n"));
        }
        let (config, warnings) = config::inspect_text("f", &text).unwrap();
        let dead: Vec<String> = warnings
            .iter()
            .map(|w| w.path.replace("routes[", "r").replace(']', ""))
            .collect();
        let table = compile(&config.routes);
        let mut alive = std::collections::BTreeSet::new();
        for service in ["a", "b", "c"] {
            for method in ["a", "b", "ab", "abc", "c"] {
                for to in [None, Some("x"), Some("y")] {
                    let mut head = head(service, method);
                    head.to = to.map(str::to_owned);
                    alive.extend(found(&table, &head));
                }
            }
        }
        for name in &dead {
            prop_assert!(!alive.contains(name), "{} matches\n{}", name, text);
        }
    }
}
