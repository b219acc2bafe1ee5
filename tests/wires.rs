//! Every pair of wires through a real `App`: streams, cancels and the hop's own ends, with labels of
//! their own. The third wire is made of memory (`src/testing/wire.rs`). That it runs here shows that
//! nothing but the registry knows a wire by name.
//!
//! The peers are the wires' own roles, taken from the registry, so a case is written once.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod wires_cases;

use ripcord::stream::{HopKind, Reason};
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
        }
    });
}

/// Whether the callee of a stream that the hop ended so has been asked at all.
fn reached(kind: HopKind) -> bool {
    !kind.before_backend()
}

/// One own end in every pair that can bring it about.
fn own_end(
    kind: HopKind,
    more: &str,
    trigger: impl AsyncFn(&mut World, wires_cases::Pair) -> bool,
) {
    local(async || {
        let mut world = World::start(more).await;
        let mut pairs = 0;
        for pair in World::pairs() {
            if !trigger(&mut world, pair).await {
                continue;
            }
            pairs += 1;
            println!("{} -> {}", pair.0, pair.1);
            let seen = world.observed().await.end;
            let Reason::Hop(hop) = &seen.reason else {
                panic!("{pair:?}: {seen:?}");
            };
            assert_eq!(hop.kind, kind, "{pair:?}: {}", hop.text);
            let ended = world.ended.take();
            if let Some(call) = ended {
                let (_, end) = call.finish().await;
                assert_ne!(end.reason, Reason::Complete, "{pair:?}");
            }
            if reached(kind) && hop.to_callee("hop").is_some() {
                let heard = world.heard().await;
                assert!(
                    matches!(heard.reason, Reason::Canceled(_)),
                    "{pair:?}: {heard:?}"
                );
            }
        }
        assert!(pairs > 0, "{kind:?} was tried nowhere");
        println!("{}: {pairs} of 9 pairs", kind.name());
    });
}

#[test]
fn no_route() {
    own_end(HopKind::NoRoute, "", async |world, pair| {
        world
            .start_call(pair, "Echo", |head| head.service = "Nowhere".into())
            .await
    });
}

#[test]
fn payload_mismatch() {
    own_end(HopKind::PayloadMismatch, "", async |world, pair| {
        let service = World::service("Picky", pair);
        let change = |head: &mut ripcord::stream::RequestHead| {
            head.service = service;
            head.payload = ripcord::stream::Payload::Protobuf;
        };
        world.start_call(pair, "Echo", change).await
    });
}

#[test]
fn over_limit() {
    let more = "limits: { metadata_size: 1KiB, max_streams_per_connection: 1 }";
    own_end(HopKind::OverLimit, more, async |world, pair| {
        if pair.0.name == "grpc" {
            // HTTP/2 tells its callers the limit on streams, so the other limit is tried.
            let big = |head: &mut ripcord::stream::RequestHead| {
                let value = vec![b'x'; 2048];
                head.metadata
                    .push(ripcord::stream::Scope::Plain, "big", value);
            };
            return world.start_call(pair, "Echo", big).await;
        }
        let mut held = world.call(pair, "Hold", |_| {}).await;
        held.first_message().await;
        world.start_call_on(&held, pair, "Echo").await;
        world.held.push(held);
        if pair.0.name == "ttheader" {
            // Its connection refuses the stream before it is one.
            world.pretend(HopKind::OverLimit);
        }
        true
    });
}

#[test]
fn unreachable() {
    own_end(HopKind::Unreachable, "", async |world, pair| {
        let service = World::service("Dead", pair);
        world
            .start_call(pair, "Echo", |head| head.service = service)
            .await
    });
}

#[test]
fn backend_lost() {
    own_end(HopKind::BackendLost, "", async |world, pair| {
        let started = world.start_held(pair, |_| {}).await;
        world.lose_callees(pair);
        started
    });
}

#[test]
fn deadline() {
    own_end(HopKind::Deadline, "", async |world, pair| {
        let timeout = std::time::Duration::from_millis(300);
        world
            .start_held(pair, |head| head.timeout = Some(timeout))
            .await
    });
}

#[test]
fn idle() {
    own_end(HopKind::Idle, "", async |world, pair| {
        let service = World::service("Idle", pair);
        world.start_held(pair, |head| head.service = service).await
    });
}

#[test]
fn first_response() {
    own_end(HopKind::FirstResponse, "", async |world, pair| {
        let service = World::service("First", pair);
        world
            .start_call(pair, "Silent", |head| head.service = service)
            .await
    });
}

#[test]
fn message_too_large() {
    let more = "limits: { max_message: 64KiB }";
    own_end(HopKind::MessageTooLarge, more, async |world, pair| {
        world.start_call(pair, "Large", |_| {}).await
    });
}

#[test]
fn invalid_request() {
    own_end(HopKind::InvalidRequest, "", async |world, pair| {
        let service = World::service("Checked", pair);
        let started = world.start_held(pair, |head| head.service = service).await;
        world.ended.as_mut().unwrap().send(b"no thrift").await;
        started
    });
}

#[test]
fn invalid_response() {
    own_end(HopKind::InvalidResponse, "", async |world, pair| {
        let service = World::service("Checked", pair);
        world
            .start_call(pair, "Garbage", |head| head.service = service)
            .await
    });
}

/// A message's flag that no wire has. TTHeader has no flags: bad frames of it are tried in `abuse`.
#[test]
fn bad_request() {
    own_end(HopKind::BadRequest, "", async |world, pair| {
        if pair.0.name == "ttheader" {
            return false;
        }
        let started = world.start_held(pair, |_| {}).await;
        world
            .ended
            .as_mut()
            .unwrap()
            .send_raw(&[9, 0, 0, 0, 1, b'x'])
            .await;
        started
    });
}

#[test]
fn undecodable() {
    own_end(HopKind::Undecodable, "", async |world, pair| {
        pair.1.name != "ttheader" && world.start_call(pair, "Flag", |_| {}).await
    });
}

/// The caller takes nothing of what the callee pours out, beside another stream.
#[test]
fn slow_receiver() {
    let more = "limits: { slow_grace: 200ms, stream_buffer: 64KiB, connection_buffer: 64KiB }";
    own_end(HopKind::SlowReceiver, more, async |world, pair| {
        let mut held = world.call(pair, "Hold", |_| {}).await;
        held.first_message().await;
        world.held.push(held);
        world.start_call(pair, "Pour", |_| {}).await
    });
}

#[test]
fn panic() {
    own_end(HopKind::Panic, "", async |world, pair| {
        let method = match (pair.0.name, pair.1.name) {
            ("memory", _) => PANICS_INBOUND,
            (_, "memory") => PANICS_OUTBOUND,
            _ => return false,
        };
        // A task that panicked observes nothing; its caller is told all the same.
        let (_, end) = world.call(pair, method, |_| {}).await.finish().await;
        assert_ne!(end.reason, Reason::Complete, "{pair:?}");
        world.pretend(HopKind::Panic);
        if method == PANICS_INBOUND {
            world.pretend_heard();
        }
        true
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
                matches!(&seen.reason, Reason::Hop(hop) if hop.kind == HopKind::DrainOver),
                "{pair:?}: {seen:?}"
            );
            let heard = world.heard().await;
            assert!(matches!(heard.reason, Reason::Canceled(_)), "{heard:?}");
        }
    });
}
