//! Round robin, the backoff of failed endpoints, and identity across changes of the list.

use super::*;
use std::time::Duration;

use crate::config;
use crate::stream::{End, Initiator, LocalEndKind, Metadata};

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn cluster(endpoints: &str) -> Arc<Cluster> {
    let text = format!(
        "
node: n
listeners: [{{ name: in, address: 127.0.0.1:15001 }}]
backends: {{ b: {{ protocol: grpc, endpoints: [{endpoints}], backoff: {{ initial: 100ms, max: 1s }} }} }}
routes: [{{ name: r, backend: b }}]
"
    );
    let config = config::parse("f", &text).unwrap();
    Cluster::new("b", &config.backends["b"], 7)
}

fn three() -> Arc<Cluster> {
    cluster("127.0.0.1:1, 127.0.0.1:2, 127.0.0.1:3")
}

fn at(cluster: &Cluster, turn: usize) -> Option<Arc<Endpoint>> {
    let head = &RequestHead::default();
    let guard = cluster.pick(&PickHint { turn, head })?;
    Some(Arc::clone(guard.endpoint()))
}

fn picked(cluster: &Cluster, turns: std::ops::Range<usize>) -> Vec<u16> {
    turns
        .map(|turn| at(cluster, turn).unwrap().address.port())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn round_robin() {
    assert_eq!(picked(&three(), 0..7), [1, 2, 3, 1, 2, 3, 1]);
    assert!(at(&three(), usize::MAX).is_some());
    assert!(at(&cluster("name:1"), 0).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_failed_endpoint_is_passed_over_until_its_time() {
    let cluster = three();
    let second = at(&cluster, 1).unwrap();
    second.report_failure();
    assert_eq!(picked(&cluster, 0..4), [1, 3, 3, 1]);
    let left = second.backoff_left().unwrap();
    assert!(left >= Duration::from_millis(75) && left <= Duration::from_millis(100));
    tokio::time::advance(left).await;
    assert_eq!(picked(&cluster, 0..3), [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn when_all_have_failed_all_are_tried() {
    let cluster = three();
    for endpoint in cluster.endpoints().iter() {
        endpoint.report_failure();
    }
    assert_eq!(picked(&cluster, 0..4), [1, 2, 3, 1]);
}

#[tokio::test(start_paused = true)]
async fn the_wait_doubles_up_to_the_maximum_and_a_success_ends_it() {
    let cluster = three();
    let endpoint = at(&cluster, 0).unwrap();
    let mut full = 100;
    for failures in 1..8 {
        endpoint.report_failure();
        // The other streams of the lost connection.
        endpoint.report_failure();
        assert_eq!(endpoint.failures(), failures);
        let left = endpoint.backoff_left().unwrap();
        assert!(left <= Duration::from_millis(full), "{failures}: {left:?}");
        assert!(
            left >= Duration::from_millis(full * 3 / 4),
            "{failures}: {left:?}"
        );
        tokio::time::advance(left).await;
        assert_eq!(endpoint.backoff_left(), None);
        full = (full * 2).min(1000);
    }
    endpoint.report_failure();
    endpoint.report_success();
    assert_eq!((endpoint.failures(), endpoint.backoff_left()), (0, None));
}

#[tokio::test(start_paused = true)]
async fn the_jitter_is_repeatable_and_differs_between_endpoints() {
    let waits = |cluster: Arc<Cluster>| -> Vec<Duration> {
        let endpoints = cluster.endpoints();
        endpoints.iter().for_each(|e| e.report_failure());
        endpoints.iter().filter_map(|e| e.backoff_left()).collect()
    };
    let first = waits(three());
    assert_eq!(first, waits(three()));
    assert!(first[0] != first[1] && first[1] != first[2], "{first:?}");
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_stay_keep_their_state() {
    let cluster = three();
    let second = at(&cluster, 1).unwrap();
    second.report_failure();
    assert!(!cluster.set_addresses([1, 2, 3].map(address)));
    let changed = cluster.changed();
    assert!(cluster.set_addresses([2, 2, 4].map(address)));
    changed.await;
    let now = cluster.endpoints();
    assert_eq!(now.len(), 2);
    assert!(Arc::ptr_eq(&now[0], &second));
    assert!(cluster.has(address(4)) && !cluster.has(address(1)));
    assert_ne!(cluster.id, three().id);
}

#[tokio::test(start_paused = true)]
async fn a_guard_counts_while_it_lives_and_hears_who_ended_its_stream() {
    let cluster = cluster("127.0.0.1:1");
    let head = &RequestHead::default();
    let pick = || cluster.pick(&PickHint { turn: 0, head }).unwrap();
    let (first, second, third) = (pick(), pick(), pick());
    let endpoint = Arc::clone(first.endpoint());
    assert_eq!(endpoint.open(), 3);
    first.ended(&End::complete(Metadata::new()));
    second.ended(&End::hop(LocalEndKind::Deadline, "too late"));
    assert_eq!(endpoint.open(), 1);
    third.failed();
    assert_eq!(endpoint.open(), 0);
    let ended = [Initiator::Caller, Initiator::Callee, Initiator::Hop].map(|by| endpoint.ended(by));
    assert_eq!(ended, [0, 1, 1]);
    assert_eq!(endpoint.failures(), 1);
}
