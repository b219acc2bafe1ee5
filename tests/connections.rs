//! Which connection a stream to a gRPC callee takes, against the built ripcord: the callee's limit
//! of streams, streams that wait for a place, and the budget of resets.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod kit;

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue};
use kit::grpc::{self, Call, Caller};
use kit::ripcord::Ripcord;
use kit::strict::{Resets, Rules, Strict};
use tokio::runtime::Handle;

/// A ripcord before that callee. `keys` are more keys of its backend (`, key: value`).
fn ripcord(node: &str, callee: &Strict, keys: &str) -> Ripcord {
    Ripcord::named(node)
        .backend("b", &format!("protocol: grpc{keys}"), callee.address)
        .route("all", "backend: b")
        .start()
}

/// Callers: a runtime on a thread of its own, so that a test can wait for something else.
struct World(Handle);

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let handle = runtime.handle().clone();
        std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        Self(handle)
    }

    fn open(&self, hop: &Ripcord, count: usize, timeout: Option<&'static str>) -> Vec<Call> {
        self.0.block_on(open(hop, count, timeout))
    }

    /// Streams that are half-closed.
    fn ask(&self, hop: &Ripcord, count: usize) -> Vec<Call> {
        let mut calls = self.open(hop, count, None);
        self.0.block_on(half_close(&mut calls));
        calls
    }

    fn statuses(&self, calls: Vec<Call>) -> Vec<i32> {
        self.0.block_on(statuses(calls))
    }
}

/// Streams to it, on one connection of a caller.
async fn open(hop: &Ripcord, count: usize, timeout: Option<&'static str>) -> Vec<Call> {
    let caller = Caller::connect(hop.socket_address()).await;
    let mut headers: HeaderMap = grpc::header_map(&grpc::request("application/grpc+thrift"));
    if let Some(timeout) = timeout {
        headers.insert("grpc-timeout", HeaderValue::from_static(timeout));
    }
    let mut calls = Vec::new();
    for _ in 0..count {
        calls.push(caller.ask("ripcord", "/S/M", headers.clone()).await);
    }
    calls
}

/// The status of each stream.
async fn statuses(calls: Vec<Call>) -> Vec<i32> {
    let mut all = Vec::new();
    for call in calls {
        let answer = call.answer().await;
        let status = |h: &HeaderMap| h.get("grpc-status")?.to_str().ok()?.parse().ok();
        let trailers = answer.rest.and_then(|(_, trailers)| trailers);
        let status = status(&answer.headers).or_else(|| status(&trailers?));
        all.push(status.unwrap_or(-1));
    }
    all
}

async fn half_close(calls: &mut [Call]) {
    for call in calls {
        call.send(&[], true).await;
    }
}

#[test]
fn a_cold_burst_over_the_callees_limit_fails_no_stream() {
    for (late, count) in [(0, 40), (20, 40), (100, 40), (100, 100)] {
        let callee = Strict::start(Rules {
            streams: Some(5),
            late: Duration::from_millis(late),
            ..Rules::default()
        });
        let world = World::new();
        let hop = ripcord("burst", &callee, "");
        let calls = world.ask(&hop, count);
        assert_eq!(world.statuses(calls), vec![0; count], "{late} ms late");
        let seen = callee.seen();
        assert_eq!((seen.opened, seen.refused, seen.before_ack), (count, 0, 0));
        assert!(seen.connections <= 8, "{seen:?}");
    }
}

#[test]
fn no_more_connections_are_opened_than_a_burst_needs() {
    for (limit, count, keys, connections) in [
        (Some(5), 12, "", 3),
        (Some(5), 40, "", 8),
        (Some(5), 100, ", max_connections: 2", 2),
        (Some(1000), 40, "", 1),
        (None, 40, "", 1),
        (None, 40, ", pool_size: 4", 4),
        (Some(5), 60, ", pool_size: 12, max_connections: 2", 12),
        (None, 230, "", 2),
        (None, 230, ", reset_budget: unlimited", 1),
    ] {
        let callee = Strict::start(Rules {
            streams: limit,
            late: Duration::from_millis(20),
            ..Rules::default()
        });
        callee.answer(false);
        let world = World::new();
        let hop = ripcord("guard", &callee, keys);
        let calls = world.ask(&hop, count);
        let fit = limit.map_or(count, |l| count.min(l as usize * connections));
        callee.wait("the streams that fit", |seen| seen.open == fit);
        callee.answer(true);
        assert_eq!(world.statuses(calls), vec![0; count]);
        let seen = callee.seen();
        assert_eq!(
            (seen.connections, seen.refused),
            (connections, 0),
            "{limit:?}"
        );
    }
}

/// The SETTINGS of each connection come a second late, and eight are needed.
#[test]
fn slow_connections_are_opened_at_the_same_time() {
    let callee = Strict::start(Rules {
        streams: Some(5),
        late: Duration::from_secs(1),
        ..Rules::default()
    });
    callee.answer(false);
    let world = World::new();
    let hop = ripcord("slow", &callee, "");
    let began = Instant::now();
    let calls = world.ask(&hop, 40);
    callee.wait("all streams", |seen| seen.open == 40);
    // First one, which tells the limit, then the other seven.
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    callee.answer(true);
    assert_eq!(world.statuses(calls), vec![0; 40]);
}

/// It said GOAWAY on each of them, which a proxy may notice only when it opens a stream.
#[test]
fn a_callee_that_leaves_all_its_connections_costs_no_new_stream() {
    let callee = Strict::start(Rules {
        streams: Some(5),
        ..Rules::default()
    });
    callee.answer(false);
    let world = World::new();
    let hop = ripcord("leave", &callee, "");
    let old = world.ask(&hop, 40);
    callee.wait("all connections", |seen| seen.open == 40);
    callee.leave();
    callee.wait("the goodbye", |seen| seen.left == 8);
    callee.answer(true);
    let new = world.ask(&hop, 40);
    assert_eq!(world.statuses(old), vec![0; 40]);
    assert_eq!(world.statuses(new), vec![0; 40]);
}

/// The streams that it has go on for long, so that no place becomes free.
#[test]
fn a_callee_that_leaves_its_full_connections_gets_the_waiting_streams_at_once() {
    let callee = Strict::start(Rules {
        streams: Some(5),
        ..Rules::default()
    });
    let world = World::new();
    let hop = ripcord("moves", &callee, ", max_connections: 2");
    let old = world.open(&hop, 10, None);
    callee.wait("the first streams", |seen| seen.open == 10);
    let waiting = world.ask(&hop, 5);
    hop.wait("all streams are there", || {
        hop.metric("ripcord_streams_active", "") == 15
    });
    callee.leave();
    assert_eq!(world.statuses(waiting), vec![0; 5]);
    assert_eq!(callee.seen().open, 10);
    drop(old);
}

#[test]
fn streams_that_ended_while_they_waited_never_reach_the_callee() {
    let callee = Strict::start(Rules {
        streams: Some(5),
        ..Rules::default()
    });
    callee.answer(false);
    let world = World::new();
    let hop = ripcord("waiting", &callee, ", max_connections: 2");
    let first = world.ask(&hop, 10);
    callee.wait("the first streams", |seen| seen.open == 10);
    let mut canceled = world.open(&hop, 20, None);
    let rest = world.ask(&hop, 20);
    let late = world.open(&hop, 20, Some("100m"));
    assert_eq!(world.statuses(late), vec![4; 20]);
    hop.process.line("the end says why", |line| {
        let text = "stream timeout while waiting: the callee allows no more streams at a time";
        line["text"].as_str().is_some_and(|t| t.contains(text))
    });
    hop.wait("all streams are there", || {
        hop.metric("ripcord_streams_active", "") == 50
    });
    canceled.iter_mut().for_each(|call| call.reset(8));
    hop.wait("some streams wait still", || {
        hop.metric("ripcord_streams_active", "") == 30
    });
    callee.answer(true);
    assert_eq!(world.statuses(first), vec![0; 10]);
    assert_eq!(world.statuses(rest), vec![0; 20]);
    let seen = callee.seen();
    assert_eq!((seen.opened, seen.refused, seen.resets), (30, 0, 0));
    drop(canceled);
}

/// A reset leaves before the stream that takes the place.
#[test]
fn the_place_of_a_canceled_stream_is_taken_after_its_reset() {
    let callee = Strict::start(Rules {
        streams: Some(5),
        ..Rules::default()
    });
    let world = World::new();
    let hop = ripcord("places", &callee, ", max_connections: 1");
    let mut held = world.open(&hop, 5, None);
    callee.wait("the first streams", |seen| seen.open == 5);
    let waiting = world.ask(&hop, 50);
    for call in &mut held {
        call.reset(8);
    }
    assert_eq!(world.statuses(waiting), vec![0; 50]);
    let seen = callee.seen();
    assert_eq!((seen.opened, seen.refused, seen.connections), (55, 0, 1));
}

#[test]
fn a_callee_that_allows_no_stream_for_a_while_gets_them_later() {
    for first in [Some(0), Some(3)] {
        let callee = Strict::start(Rules {
            streams: first,
            ..Rules::default()
        });
        let world = World::new();
        let hop = ripcord("zero", &callee, "");
        if first != Some(0) {
            let calls = world.ask(&hop, 3);
            assert_eq!(world.statuses(calls), vec![0; 3]);
            callee.limit(0);
            callee.wait("the acknowledgement", |seen| {
                seen.acks == seen.connections + 1
            });
        }
        let calls = world.ask(&hop, 20);
        hop.wait("all streams are there", || {
            hop.metric("ripcord_streams_active", "") == 20
        });
        callee.limit(4);
        assert_eq!(world.statuses(calls), vec![0; 20]);
        let seen = callee.seen();
        assert_eq!((seen.connections <= 8, seen.refused), (true, 0), "{seen:?}");
    }
}

#[test]
fn a_callee_without_settings_is_given_up_after_the_connect_timeout() {
    let callee = Strict::start(Rules {
        late: Duration::from_secs(3600),
        ..Rules::default()
    });
    let world = World::new();
    let hop = ripcord("silent", &callee, ", connect_timeout: 1s");
    let since = Instant::now();
    let calls = world.open(&hop, 20, None);
    assert_eq!(world.statuses(calls), vec![14; 20]);
    // All of them wait for the same connection, and nobody waits twice.
    assert_eq!(callee.seen().connections, 1);
    assert!(
        since.elapsed() < Duration::from_millis(1900),
        "{:?}",
        since.elapsed()
    );
    hop.process.line("the setting is named", |line| {
        line.to_string().contains("connect_timeout")
    });
}

/// Callees that count resets, the keys of the backend, and whether they send the head at once.
const STRICT: &[(Resets, &str, bool)] = &[
    (Resets::Nghttp2, "", true),
    (Resets::Nghttp2, "", false),
    (Resets::Netty, ", reset_budget: netty", true),
    (Resets::Netty, ", reset_budget: netty", false),
    (Resets::Envoy, "", false),
    (Resets::Envoy, ", reset_budget: netty", false),
];

fn strict(resets: Resets, head: bool) -> Strict {
    Strict::start(Rules {
        resets,
        head,
        ..Rules::default()
    })
}

#[test]
fn a_storm_of_cancels_ends_no_stream_of_others() {
    for &(resets, keys, head) in STRICT {
        let callee = strict(resets, head);
        let world = World::new();
        let hop = ripcord("storm", &callee, keys);
        let mut long = world.open(&hop, 20, None);
        callee.wait("the long streams", |seen| seen.open == 20);
        for _ in 0..5 {
            let mut calls = world.open(&hop, 1_000, None);
            callee.wait("a thousand streams", |seen| seen.open == 1_020);
            world
                .0
                .block_on(async { calls.iter_mut().for_each(|call| call.reset(8)) });
            callee.wait("their resets", |seen| seen.open == 20);
        }
        let seen = callee.seen();
        println!("{resets:?}{keys}: {seen:?}");
        assert_eq!((seen.ended, seen.resets), (0, 5_000), "{resets:?}{keys}");
        world.0.block_on(half_close(&mut long));
        assert_eq!(world.statuses(long), vec![0; 20], "{resets:?}{keys}");
        for metric in [
            "ripcord_reset_goaways_total",
            "ripcord_reset_budget_exceeded_total",
        ] {
            assert_eq!(hop.metric(metric, ""), 0, "{metric}");
        }
        assert!(hop.metric("ripcord_reset_budget_connections_total", "") > 0);
    }
}

#[test]
fn streams_that_are_open_and_canceled_together_end_no_connection() {
    for &(resets, keys, head) in STRICT {
        let callee = strict(resets, head);
        let world = World::new();
        let hop = ripcord("together", &callee, keys);
        let mut calls = world.open(&hop, 5_000, None);
        let long = calls.split_off(4_980);
        callee.wait("all streams", |seen| seen.open == 5_000);
        world
            .0
            .block_on(async { calls.iter_mut().for_each(|call| call.reset(8)) });
        let seen = callee.wait("their resets", |seen| {
            seen.resets == 4_980 && seen.open <= 20
        });
        println!("{resets:?}{keys}: {seen:?}");
        assert_eq!((seen.ended, seen.open), (0, 20), "{resets:?}{keys}");
        assert_eq!(hop.metric("ripcord_reset_budget_exceeded_total", ""), 0);
        drop(long);
    }
}

#[test]
fn a_callee_that_ended_a_connection_for_its_resets_is_spared_from_then_on() {
    let callee = strict(Resets::Netty, true);
    let world = World::new();
    let hop = ripcord("calm", &callee, "");
    let mut calls = world.open(&hop, 400, None);
    callee.wait("the first streams", |seen| seen.open == 400);
    world
        .0
        .block_on(async { calls.iter_mut().for_each(|call| call.reset(8)) });
    callee.wait("the end of a connection", |seen| seen.ended == 1);
    let line = hop.process.line("the log names the setting", |line| {
        line["message"] == "backend ended a connection because too many streams on it were canceled"
    });
    assert_eq!(line["backend"], "b");
    assert_eq!(line["endpoint"], callee.address.to_string());
    assert_eq!(
        line["set"],
        "reset_budget of backend b, to netty or to less"
    );
    let reason = "GOAWAY ENHANCE_YOUR_CALM: Maximum number of RST frames reached";
    assert_eq!(line["reason"], reason);
    assert_eq!(hop.metric("ripcord_reset_goaways_total", ""), 1);
    let before = callee.seen();
    let mut calls = world.open(&hop, 1_000, None);
    callee.wait("a thousand streams", |seen| {
        seen.open == before.open + 1_000
    });
    world
        .0
        .block_on(async { calls.iter_mut().for_each(|call| call.reset(8)) });
    callee.wait("their resets", |seen| seen.resets >= before.resets + 1_000);
    assert_eq!(callee.seen().ended, 1);
}

/// The callee allows no stream on further connections.
#[test]
fn a_stream_exceeds_the_budget_where_a_further_connection_would_not_take_it() {
    let callee = Strict::start(Rules {
        later: Some(0),
        ..Rules::default()
    });
    callee.answer(false);
    let world = World::new();
    let keys = ", reset_budget: { burst: 1, per_second: 0 }";
    let hop = ripcord("nowhere", &callee, keys);
    let calls = world.ask(&hop, 10);
    let seen = callee.wait("all streams", |seen| seen.open == 10);
    // Those that were opened at the same time, for all that waited.
    assert!(seen.connections < 30, "{seen:?}");
    callee.answer(true);
    assert_eq!(world.statuses(calls), vec![0; 10]);
}

#[test]
fn no_stream_fails_or_waits_for_the_budget() {
    let callee = Strict::start(Rules::default());
    callee.answer(false);
    let world = World::new();
    let keys = ", reset_budget: { burst: 1, per_second: 0 }";
    let hop = ripcord("exceed", &callee, keys);
    let calls = world.ask(&hop, 100);
    let seen = callee.wait("all streams", |seen| seen.open == 100);
    assert_eq!(seen.connections, 64);
    callee.answer(true);
    assert_eq!(world.statuses(calls), vec![0; 100]);
    assert_eq!(hop.metric("ripcord_reset_budget_exceeded_total", ""), 36);
    hop.process.line("the log", |line| {
        line["message"]
            .as_str()
            .is_some_and(|m| m.contains("beyond the budget of resets"))
    });
}
