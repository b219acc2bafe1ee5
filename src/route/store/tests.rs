//! What a reload keeps, what it replaces, and what a refused one leaves.

use super::*;
use crate::config;
use crate::stream::RequestHead;
use std::sync::atomic::{AtomicUsize, Ordering};

const FIRST: &str = "\
node: n
listeners: [{ name: in, address: 127.0.0.1:15001 }]
backends:
  a: { protocol: grpc, endpoints: [127.0.0.1:1] }
  b: { protocol: grpc, endpoints: [127.0.0.1:2] }
routes:
  - { name: one, match: { service: s }, backend: a }
  - { name: two, backend: b }
";

fn read(text: &str) -> Arc<Config> {
    Arc::new(config::parse("f", text).unwrap())
}

/// A store whose backends are numbered as they are made.
fn numbered() -> Store<String> {
    let made = AtomicUsize::new(0);
    Store::new(read(FIRST), Schemas::new(), move |name, _| {
        Arc::new(format!("{name}{}", made.fetch_add(1, Ordering::Relaxed)))
    })
}

fn replaced(store: &Store<String>, text: &str) -> bool {
    store
        .replace(read(text), Schemas::new(), Vec::new())
        .is_some()
}

fn to(store: &Store<String>, service: &str) -> String {
    let head = RequestHead {
        service: service.to_owned(),
        ..RequestHead::default()
    };
    store.load().table.find(&head).unwrap().backend.to_string()
}

#[test]
fn unchanged_backends_stay_the_same_value() {
    let store = numbered();
    assert_eq!(
        (to(&store, "s"), to(&store, "x")),
        ("a0".into(), "b1".into())
    );
    let started_with = store.snapshot().table.routes()[1].clone();

    let changed = FIRST.replace("127.0.0.1:2", "127.0.0.1:3");
    assert!(replaced(&store, &changed));
    assert_eq!(
        (to(&store, "s"), to(&store, "x")),
        ("a0".into(), "b2".into())
    );
    assert_eq!(*started_with.backend, "b1");
    assert_eq!(store.load().version, 2);

    let rerouted = changed.replace("service: s", "service: t");
    assert!(replaced(&store, &rerouted));
    assert_eq!(
        (to(&store, "s"), to(&store, "t")),
        ("b2".into(), "a0".into())
    );
}

#[test]
fn a_backend_that_is_gone_is_dropped() {
    let store = numbered();
    let weak = Arc::downgrade(&store.load().backends["a"]);
    let text = FIRST
        .replace("  a: { protocol: grpc, endpoints: [127.0.0.1:1] }\n", "")
        .replace("backend: a", "backend: b");
    assert!(replaced(&store, &text));
    assert!(weak.upgrade().is_none());
}

#[test]
fn equal_content_is_no_change() {
    let store = numbered();
    let before = store.snapshot();
    assert!(!replaced(&store, &format!("# a comment\n{FIRST}")));
    assert!(Arc::ptr_eq(&before, &store.snapshot()));
}

#[test]
fn a_refused_file_is_noted_until_a_good_one_comes() {
    let store = numbered();
    let before = store.snapshot();
    store.refused(config::parse("f", "node: 1").unwrap_err());
    let after = store.snapshot();
    assert!(Arc::ptr_eq(&before.table, &after.table));
    assert_eq!(after.version, 1);
    assert!(after.last_error.as_ref().unwrap().faults.fatal());
    assert!(!replaced(&store, FIRST));
    assert!(store.load().last_error.is_none());
}

#[test]
fn what_waits_for_a_restart_is_known_until_the_file_takes_it_back() {
    let store = numbered();
    let waiting = || store.load().restart_needed.clone();
    assert!(waiting().is_empty());
    let keys = vec!["node".to_owned()];
    assert_eq!(
        store.replace(read(FIRST), Schemas::new(), keys.clone()),
        None
    );
    assert_eq!((waiting(), store.load().version), (keys.clone(), 1));
    store.refused(config::parse("f", "node: 1").unwrap_err());
    store.accepted();
    assert_eq!(waiting(), keys);
    assert!(store.load().last_error.is_none());
    assert!(replaced(
        &store,
        &FIRST.replace("127.0.0.1:2", "127.0.0.1:3")
    ));
    assert!(waiting().is_empty());
}

#[test]
fn a_change_says_which_names_it_is_about() {
    let store = numbered();
    let new = FIRST.replace("127.0.0.1:2", "127.0.0.1:3");
    let changes = store
        .replace(read(&new), Schemas::new(), Vec::new())
        .unwrap();
    assert_eq!(changes.backends.changed, ["b"]);
    assert!(changes.routes.changed.is_empty());
}
