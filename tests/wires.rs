//! Every pair of wires through a real `App`: streams, cancels and local ends, each with its labels.
//! The third wire is made of memory (`src/testing/wire.rs`). That it runs here shows that only the
//! registry knows a wire by name.
//!
//! The peers are the wires' own roles, taken from the registry, so that a case is written once.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod wires_cases;

use ripcord::stream::{End, LocalEnd, LocalEndKind, Reason};
use ripcord::testing::wire::{PANICS_INBOUND, PANICS_OUTBOUND};
use ripcord::wire;

use wires_cases::{World, canceled, local};

#[test]
fn three_wires_are_registered() {
    let names: Vec<_> = wire::ALL.iter().map(|wire| wire.name).collect();
    assert_eq!(names, ["grpc", "ttheader", "memory"]);
}

#[test]
fn streams_run_in_all_pairs_and_are_counted_as_their_own() {
    local(async || {
        let mut world = World::start("").await;
        for pair in World::pairs() {
            let mut call = world.call(pair, "Echo", |_| {}).await;
            let sent = ["one", "two", "three"];
            for message in sent {
                call.send(message.as_bytes()).await;
            }
            call.half_close();
            let (messages, end) = call.finish().await;
            assert_eq!(messages, sent.map(|m| m.as_bytes().to_vec()), "{pair:?}");
            assert_eq!(end.reason, Reason::Complete, "{pair:?}");
            assert_eq!(world.observed().await.end.reason, Reason::Complete);

            let (_, end) = world.call(pair, "Fail", |_| {}).await.finish().await;
            assert!(matches!(end.reason, Reason::Failed(_)), "{pair:?}: {end:?}");
            world.observed().await;
        }
        let metrics = world.metrics();
        for (inbound, outbound) in World::pairs() {
            let (inbound, outbound) = (inbound.name, outbound.name);
            let labels = format!(
                r#"listener="in",route="to-{outbound}",inbound="{inbound}",outbound="{outbound}""#
            );
            for end in ["complete", "failed"] {
                let line = format!("ripcord_streams_total{{{labels},end=\"{end}\"}} 1\n");
                assert!(metrics.contains(&line), "no {line}in\n{metrics}");
            }
        }
        for wire in wire::ALL {
            for side in ["inbound", "outbound"] {
                let name = wire.name;
                let line = format!("ripcord_connections_total{{side=\"{side}\",wire=\"{name}\"}}");
                let value = metrics.lines().find_map(|l| l.strip_prefix(&line));
                let count: u64 = value.unwrap().trim().parse().unwrap();
                assert!(count > 0, "{line}");
            }
        }
    });
}

#[test]
fn cancels_cross_in_all_pairs() {
    local(async || {
        let mut world = World::start("").await;
        for pair in World::pairs() {
            let mut call = world.call(pair, "Hold", |_| {}).await;
            call.first_message().await;
            call.cancel(&canceled("page"));
            let seen = world.observed().await.end;
            let Reason::Canceled(cancel) = &seen.reason else {
                panic!("{pair:?}: {seen:?}");
            };
            assert_eq!(cancel.path.names().last().unwrap(), "hop", "{pair:?}");
            let heard = world.heard().await;
            assert!(
                matches!(heard.reason, Reason::Canceled(_)),
                "{pair:?}: {heard:?}"
            );

            let (_, end) = world.call(pair, "LetGo", |_| {}).await.finish().await;
            assert!(
                matches!(end.reason, Reason::Canceled(_)),
                "{pair:?}: {end:?}"
            );
            world.observed().await;
            world.has_line(pair, "canceled", 2);
        }
    });
}

#[test]
fn the_third_wire_has_a_word_and_labels_of_its_own_where_it_is_refused() {
    local(async || {
        let world = World::start("").await;
        // A listener of its word takes it, and none of the others.
        let memory = wire::named("memory").unwrap();
        let (messages, end) = world.call_at("memory-only", (memory, memory)).await;
        assert_eq!((messages.len(), &end.reason), (1, &Reason::Complete));
        let refused = |kind: &str, wire: &str| {
            format!(
                "ripcord_violations_total{{side=\"inbound\",wire=\"{wire}\",kind=\"{kind}\"}} 1\n"
            )
        };
        world
            .says("memory-only", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await;
        world
            .says("in", b"RIPCMEM1\xff\xff\xff\xff\xff\xff\xff\xff")
            .await;
        let metrics = world.metrics();
        for line in [refused("other_wire", "none"), refused("garbage", "memory")] {
            assert!(metrics.contains(&line), "no {line}in\n{metrics}");
        }
    });
}

/// How far a case comes in a pair.
enum Tried {
    /// The pair cannot bring this end about.
    No,
    /// The hop ends the stream, and the embedding program receives the end.
    Ended,
    /// The wire refuses it before it is a stream, or its task is gone: only the peers receive the
    /// end.
    Unobserved,
}

use Tried::{Ended, No, Unobserved};

/// One own end in those `pairs` of the nine that can bring it about.
fn own_end(
    kind: LocalEndKind,
    more: &str,
    pairs: usize,
    trigger: impl AsyncFn(&mut World, wires_cases::Pair) -> Tried,
) {
    local(async || {
        let mut world = World::start(more).await;
        let mut tried = 0;
        for pair in World::pairs() {
            let observed = match trigger(&mut world, pair).await {
                No => continue,
                Ended => Some(world.observed().await.end),
                Unobserved => None,
            };
            tried += 1;
            if let Some(seen) = observed {
                let Reason::Hop(hop) = &seen.reason else {
                    panic!("{pair:?}: {seen:?}");
                };
                assert_eq!(hop.kind, kind, "{pair:?}: {}", hop.text);
                world.counted_own_end(kind, pair);
            }
            let end = world.ended.take().unwrap().finish().await.1;
            told(kind, pair, &end);
            if reaches_callee(kind) && world.reached {
                heard(kind, pair, &world.heard().await);
            }
            world.reached = true;
        }
        assert_eq!(tried, pairs, "{kind:?}");
    });
}

/// Whether a callee receives it.
fn reaches_callee(kind: LocalEndKind) -> bool {
    let hop = LocalEnd::new(kind, String::new());
    hop.to_callee("hop").is_some()
}

/// Where its path begins. The deadline is the caller's own.
fn path(kind: LocalEndKind) -> &'static [&'static str] {
    match kind == LocalEndKind::Deadline {
        true => &["app", "hop"],
        false => &["hop"],
    }
}

/// What the caller receives: the refusal, or a cancel with the cause and the path.
fn told(kind: LocalEndKind, pair: wires_cases::Pair, end: &End) {
    match &end.reason {
        Reason::Hop(hop) => {
            assert!(kind.before_backend(), "{pair:?}: {end:?}");
            assert_eq!(hop.kind, kind, "{pair:?}");
        }
        Reason::Canceled(cancel) => {
            assert!(!kind.before_backend(), "{pair:?}: {end:?}");
            // A message that is half written leaves HTTP/2 a reset: a number and nothing else.
            let reset = pair.0.name == "grpc" && cancel.signal.name() == "reset";
            if !reset {
                assert_eq!(cancel.cause.code, kind.cause(), "{pair:?}");
                assert_eq!(cancel.path.names(), path(kind), "{pair:?}");
            }
        }
        Reason::Failed(ripcord::stream::Failure::Status(status)) => {
            // The same for a reset that is no cancel.
            assert_eq!((pair.0.name, status.code), ("grpc", 8), "{pair:?}: {end:?}");
        }
        Reason::Failed(_) | Reason::Complete => panic!("{pair:?}: {end:?}"),
    }
}

/// What the callee receives: a cancel with the cause and the path. On gRPC it is a bare reset.
fn heard(kind: LocalEndKind, pair: wires_cases::Pair, end: &End) {
    let Reason::Canceled(cancel) = &end.reason else {
        panic!("{pair:?}: {end:?}");
    };
    if pair.1.name == "grpc" {
        assert_eq!(cancel.signal.number(), Some(8), "{pair:?}");
    } else {
        assert_eq!(cancel.cause.code, kind.cause(), "{pair:?}");
        assert_eq!(cancel.path.names(), path(kind), "{pair:?}");
    }
}

#[test]
fn no_route() {
    own_end(LocalEndKind::NoRoute, "", 9, async |world, pair| {
        world
            .start_call(pair, "Echo", |head| head.service = "Nowhere".into())
            .await;
        Ended
    });
}

#[test]
fn payload_mismatch() {
    own_end(LocalEndKind::PayloadMismatch, "", 9, async |world, pair| {
        let service = World::service("Picky", pair);
        let change = |head: &mut ripcord::stream::RequestHead| {
            head.service = service;
            head.payload = ripcord::stream::Payload::Protobuf;
        };
        world.start_call(pair, "Echo", change).await;
        Ended
    });
}

#[test]
fn over_limit() {
    let more = "limits: { metadata_size: 1KiB, max_streams_per_connection: 1 }";
    own_end(LocalEndKind::OverLimit, more, 9, async |world, pair| {
        if pair.0.name == "grpc" {
            // HTTP/2 tells its callers the limit on streams, so the other limit is tried.
            let big = |head: &mut ripcord::stream::RequestHead| {
                let value = vec![b'x'; 2048];
                head.metadata
                    .push(ripcord::stream::Scope::Plain, "big", value);
            };
            world.start_call(pair, "Echo", big).await;
            return Ended;
        }
        let mut held = world.call(pair, "Hold", |_| {}).await;
        held.first_message().await;
        world.start_call_on(&held, pair, "Echo").await;
        world.held.push(held);
        // A TTHeader connection refuses the stream before it is one.
        match pair.0.name {
            "ttheader" => Unobserved,
            _ => Ended,
        }
    });
}

#[test]
fn unreachable() {
    own_end(LocalEndKind::Unreachable, "", 9, async |world, pair| {
        let service = World::service("Dead", pair);
        world
            .start_call(pair, "Echo", |head| head.service = service)
            .await;
        Ended
    });
}

#[test]
fn backend_lost() {
    own_end(LocalEndKind::BackendLost, "", 9, async |world, pair| {
        world.start_held(pair, |_| {}).await;
        world.lose_callees(pair);
        Ended
    });
}

#[test]
fn deadline() {
    own_end(LocalEndKind::Deadline, "", 9, async |world, pair| {
        let timeout = std::time::Duration::from_millis(300);
        world
            .start_held(pair, |head| head.timeout = Some(timeout))
            .await;
        Ended
    });
}

#[test]
fn idle() {
    own_end(LocalEndKind::Idle, "", 9, async |world, pair| {
        let service = World::service("Idle", pair);
        world.start_held(pair, |head| head.service = service).await;
        Ended
    });
}

#[test]
fn first_response() {
    own_end(LocalEndKind::FirstResponse, "", 9, async |world, pair| {
        let service = World::service("First", pair);
        world
            .start_call(pair, "Silent", |head| head.service = service)
            .await;
        Ended
    });
}

#[test]
fn message_too_large() {
    let more = "limits: { max_message: 64KiB }";
    own_end(
        LocalEndKind::MessageTooLarge,
        more,
        9,
        async |world, pair| {
            world.start_call(pair, "Large", |_| {}).await;
            Ended
        },
    );
}

#[test]
fn invalid_request() {
    own_end(LocalEndKind::InvalidRequest, "", 9, async |world, pair| {
        let service = World::service("Checked", pair);
        world.start_held(pair, |head| head.service = service).await;
        world.ended.as_mut().unwrap().send(b"no thrift").await;
        Ended
    });
}

#[test]
fn invalid_response() {
    own_end(LocalEndKind::InvalidResponse, "", 9, async |world, pair| {
        let service = World::service("Checked", pair);
        world
            .start_call(pair, "Garbage", |head| head.service = service)
            .await;
        Ended
    });
}

/// A message's flag that no wire has. TTHeader has no flags: bad frames of it are tried in `abuse`.
#[test]
fn bad_request() {
    own_end(LocalEndKind::BadRequest, "", 6, async |world, pair| {
        if pair.0.name == "ttheader" {
            return No;
        }
        world.start_held(pair, |_| {}).await;
        world
            .ended
            .as_mut()
            .unwrap()
            .send_raw(&[9, 0, 0, 0, 1, b'x'])
            .await;
        Ended
    });
}

#[test]
fn undecodable() {
    own_end(LocalEndKind::Undecodable, "", 6, async |world, pair| {
        if pair.1.name == "ttheader" {
            return No;
        }
        world.start_call(pair, "Flag", |_| {}).await;
        Ended
    });
}

/// The caller takes nothing of what the callee pours out, beside another stream.
#[test]
fn slow_receiver() {
    let more =
        "limits: { slow_receiver_timeout: 200ms, stream_buffer: 64KiB, connection_buffer: 64KiB }";
    own_end(LocalEndKind::SlowReceiver, more, 9, async |world, pair| {
        let mut held = world.call(pair, "Hold", |_| {}).await;
        held.first_message().await;
        world.held.push(held);
        world.start_call(pair, "Pour", |_| {}).await;
        Ended
    });
}

#[test]
fn panic() {
    own_end(LocalEndKind::Panic, "", 5, async |world, pair| {
        let method = match (pair.0.name, pair.1.name) {
            ("memory", _) => PANICS_INBOUND,
            (_, "memory") => PANICS_OUTBOUND,
            _ => return No,
        };
        // It may have been reached when the inbound half panics, and need not.
        world.reached = method == PANICS_OUTBOUND;
        world.start_call(pair, method, |_| {}).await;
        Unobserved
    });
}

#[test]
fn drain_over() {
    local(async || {
        let mut world = World::start("drain: { timeout: 200ms }").await;
        let mut calls = Vec::new();
        for pair in World::pairs() {
            let mut call = world.call(pair, "Hold", |_| {}).await;
            call.first_message().await;
            calls.push((pair, call));
        }
        let callers = async {
            for (pair, call) in calls {
                let (_, end) = call.finish().await;
                assert_ne!(end.reason, Reason::Complete, "{pair:?}");
            }
        };
        let app = world.app.take().unwrap();
        tokio::join!(app.drain(), callers);
        for pair in World::pairs() {
            let seen = world.observed().await.end;
            assert!(
                matches!(&seen.reason, Reason::Hop(hop) if hop.kind == LocalEndKind::DrainOver),
                "{pair:?}: {seen:?}"
            );
            let heard = world.heard().await;
            assert!(matches!(heard.reason, Reason::Canceled(_)), "{heard:?}");
        }
    });
}
