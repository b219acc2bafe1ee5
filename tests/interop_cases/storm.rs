//! A storm of cancels beside long streams, with real callees that end a connection for too many
//! resets. 20 long streams run through one ripcord while others open 5,000 streams there and cancel
//! them, half of them one by one, half of them all at once. No long stream may end, no stream may
//! fail to open, and each cancel has to reach the callee about as soon as without ripcord.
//!
//! `RIPCORD_LIBRARIES=full` plays them; without it there is no case here.
//! `RIPCORD_STORM_LOSSES=allowed` prints the table without a judgement, `RIPCORD_STORM_BINARY` is
//! another build to compare with.

mod callee;
mod caller;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::kit::Wire;
use crate::kit::process::alone;
use crate::kit::ripcord::{Ripcord, binary};
use crate::kit::trial::Case;

use callee::{Kind, Server};
use caller::Caller;

const LONG: usize = 20;
const CANCELS: usize = 5_000;

/// Callers' connections, so that theirs is not the one that is short of anything.
const CONNECTIONS: usize = 5;

/// Connections of the storm without ripcord: too many for a callee to see a storm on one of them.
const DIRECT: usize = 100;

/// Streams open at once in the part that cancels them one by one.
const ROLLING: usize = 100;

/// What a busy machine may add to a cancel's time.
const SLACK: Duration = Duration::from_millis(500);

pub(crate) fn cases() -> Vec<Case> {
    let full = std::env::var("RIPCORD_LIBRARIES").is_ok_and(|set| set == "full");
    let mut cases = Vec::new();
    for kind in Kind::ALL {
        for wire in Wire::ALL {
            if full {
                let name = format!("spares_long_streams::{}_to_{}", wire.name(), kind.name());
                let run = move || spares_long_streams(wire, kind);
                cases.push(Case::new(module_path!(), &name, kind.needs(), run));
            }
        }
    }
    cases
}

/// How the streams of a storm were canceled.
#[derive(Default)]
struct Storm {
    /// When each was canceled, by its name; microseconds since 1970.
    canceled: BTreeMap<String, u64>,
    /// Streams that ended before they were canceled.
    failed: usize,
    took: Duration,
}

/// Opens streams and cancels each as soon as the callee has answered.
async fn rolling(callers: &[Caller], name: &str, count: usize) -> Storm {
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for lane in 0..ROLLING {
        let caller = callers[lane % callers.len()].clone();
        let name = format!("{name}-rolling-{lane}");
        tasks.spawn(async move {
            let mut storm = Storm::default();
            for n in 0..count / ROLLING {
                let id = format!("{name}-{n}");
                match caller.open(&id).await {
                    Some(stream) => drop(storm.canceled.insert(id, stream.cancel())),
                    None => storm.failed += 1,
                }
            }
            storm
        });
    }
    join(began, tasks.join_all().await)
}

/// Opens all streams, then cancels all of them.
async fn together(callers: &[Caller], name: &str, count: usize) -> Storm {
    let mut tasks = tokio::task::JoinSet::new();
    for (lane, caller) in callers.iter().enumerate() {
        for n in 0..count / callers.len() {
            let (caller, id) = (caller.clone(), format!("{name}-together-{lane}-{n}"));
            tasks.spawn(async move { (caller.open(&id).await, id) });
        }
    }
    let opened = tasks.join_all().await;
    let began = Instant::now();
    let mut storm = Storm::default();
    for (stream, id) in opened {
        match stream {
            Some(stream) => drop(storm.canceled.insert(id, stream.cancel())),
            None => storm.failed += 1,
        }
        // The connections' tasks write them.
        tokio::task::yield_now().await;
    }
    join(began, vec![storm])
}

fn join(began: Instant, parts: Vec<Storm>) -> Storm {
    let took = began.elapsed();
    let mut all = Storm {
        took,
        ..Storm::default()
    };
    for part in parts {
        all.canceled.extend(part.canceled);
        all.failed += part.failed;
    }
    all
}

/// How long each cancel took to the callee's application, in order.
fn times(server: &Server, storm: &Storm) -> Vec<Duration> {
    let time = |(id, at): (&String, &u64)| {
        let seen = server.process.event("server_end", id)["at_us"].as_u64();
        Duration::from_micros(seen.unwrap().saturating_sub(*at))
    };
    let mut times: Vec<_> = storm.canceled.iter().map(time).collect();
    times.sort();
    times
}

fn at(times: &[Duration], share: f64) -> Duration {
    let last = times.len().saturating_sub(1);
    times
        .get((last as f64 * share) as usize)
        .copied()
        .unwrap_or_default()
}

fn row(what: &str, storm: &Storm, lost: &str, times: &[Duration]) {
    let ms = |share| at(times, share).as_secs_f64() * 1e3;
    println!(
        "{what:<36} {:>7} {:>9.0} {:>8} {lost:>10} {:>8.1} {:>8.1} {:>8.1}",
        storm.canceled.len(),
        storm.canceled.len() as f64 / storm.took.as_secs_f64(),
        storm.failed,
        ms(0.5),
        ms(0.99),
        ms(1.0),
    );
}

async fn connect(wire: Wire, address: &str, kind: Kind, count: usize) -> Vec<Caller> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(Caller::connect(wire, address.parse().unwrap(), kind).await);
    }
    all
}

fn spares_long_streams(wire: Wire, kind: Kind) {
    let _alone = alone();
    let server = Server::start(kind);
    let build = std::env::var_os("RIPCORD_STORM_BINARY").map_or_else(binary, PathBuf::from);
    let hop = Ripcord::named("hop")
        .binary(build)
        .set("limits: { max_resets: 100000, slow_receiver_timeout: 60s }")
        .backend("callee", kind.wire().protocol(), &server.address)
        .route(
            "all",
            &format!(
                "backend: callee, assume_payload: thrift, rewrite: {{ service: {} }}",
                kind.service()
            ),
        )
        .start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        println!(
            "{:<36} {:>7} {:>9} {:>8} {:>10} {:>8} {:>8} {:>8}",
            "callers, callee, storm", "cancels", "a second", "unopened", "long lost", "ms p50", "p99", "max"
        );
        let direct = connect(kind.wire(), &server.address, kind, DIRECT).await;
        let mut usual = Vec::new();
        for (n, together) in [false, false, true].into_iter().enumerate() {
            let storm = storm(&direct, &format!("direct-{n}"), together).await;
            usual = times(&server, &storm);
            let what = format!("{} without ripcord, {}", kind.name(), word(together));
            row(&what, &storm, "-", &usual);
        }
        drop(direct);
        let own = connect(wire, &hop.address, kind, 1).await.remove(0);
        let callers = connect(wire, &hop.address, kind, CONNECTIONS).await;
        let mut faults = Vec::new();
        for (n, together) in [false, true].into_iter().enumerate() {
            let mut long = Vec::new();
            for stream in 0..LONG {
                let mut stream = own.open(&format!("long-{n}-{stream}")).await.expect("a long stream");
                assert!(stream.echo().await, "a long stream does not echo");
                long.push(stream);
            }
            let storm = storm(&callers, &format!("storm-{n}"), together).await;
            let times = times(&server, &storm);
            let mut lost = 0;
            for mut stream in long {
                lost += usize::from(!stream.echo().await);
                stream.cancel();
            }
            let what = format!("{} to {}, {}", wire.name(), kind.name(), word(together));
            row(&what, &storm, &format!("{lost} of {LONG}"), &times);
            let limit = 2 * at(&usual, 1.0) + SLACK;
            if lost + storm.failed > 0 || at(&times, 1.0) > limit {
                faults.push(format!("{what}: {lost} long streams lost, {} streams failed, the last cancel after {:?} (usual {:?})", storm.failed, at(&times, 1.0), at(&usual, 1.0)));
            }
        }
        let connections = hop.metric("ripcord_connections_active", "outbound");
        println!("connections to the callee at the end: {connections}");
        let allowed = std::env::var("RIPCORD_STORM_LOSSES").is_ok_and(|set| set == "allowed");
        assert!(allowed || faults.is_empty(), "{}", faults.join("\n"));
    });
}

async fn storm(callers: &[Caller], name: &str, is_together: bool) -> Storm {
    if is_together {
        together(callers, name, CANCELS).await
    } else {
        rolling(callers, name, CANCELS).await
    }
}

const fn word(together: bool) -> &'static str {
    if together {
        "all at once"
    } else {
        "one by one"
    }
}
