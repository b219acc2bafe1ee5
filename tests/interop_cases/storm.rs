//! A storm of cancels beside long streams, with real callees that end a connection for too many
//! resets. 20 long streams run through one ripcord while others open 5,000 streams there and cancel
//! them, half of them one by one, half of them all at once. No long stream may end, no stream may
//! fail to open, and each cancel has to reach the callee within twice the time that it takes to a
//! callee without such limits (grpc-go).
//!
//! By default the callee is Node's http2; `RIPCORD_LIBRARIES=full` takes all of them.
//! `RIPCORD_STORM_LOSSES=allowed` prints the table without a judgement, `RIPCORD_STORM_BINARY` is
//! another build to compare with.

mod callee;
mod caller;
pub(super) mod small;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::kit::Wire;
use crate::kit::peers::Peer;
use crate::kit::process::alone;
use crate::kit::ripcord::{Ripcord, binary};
use crate::kit::trial::Case;

use callee::{Kind, Server};
use caller::Caller;

const LONG: usize = 20;
const CANCELS: usize = 5_000;

/// Callers' connections, so that theirs is not the one that is short of anything.
const CONNECTIONS: usize = 5;

/// Connections of the storm without ripcord: too many for a callee to see a storm on any of them.
const DIRECT: usize = 100;

/// Streams open at once in the part that cancels them one by one.
const ROLLING: usize = 100;

/// What a busy machine may add to the time of the last cancel, and of half of them.
const SLACK: Duration = Duration::from_millis(500);
const HALF_SLACK: Duration = Duration::from_millis(60);

pub(crate) fn cases() -> Vec<Case> {
    let full = std::env::var("RIPCORD_LIBRARIES").is_ok_and(|set| set == "full");
    let mut cases = Vec::new();
    for kind in Kind::ALL {
        for wire in Wire::ALL {
            let is_default = kind == Kind::NodeHttp2 && wire == Wire::Grpc;
            if full || is_default {
                let name = format!("spares_long_streams::{}_to_{}", wire.name(), kind.name());
                let run = move || spares_long_streams(wire, kind);
                let needs = [kind.needs(), &[Peer::Go]].concat();
                cases.push(Case::new(module_path!(), &name, &needs, run));
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

/// How long each cancel took to the callee's application, in order. The callers' tasks run on while
/// this waits.
async fn times(server: &Arc<Server>, storm: &Storm) -> Vec<Duration> {
    let (server, canceled) = (Arc::clone(server), storm.canceled.clone());
    let wait = tokio::task::spawn_blocking(move || {
        let time = |(id, at): (String, u64)| {
            let seen = server.process.event("server_end", &id)["at_us"].as_u64();
            Duration::from_micros(seen.unwrap().saturating_sub(at))
        };
        let mut times: Vec<_> = canceled.into_iter().map(time).collect();
        times.sort();
        times
    });
    wait.await.unwrap()
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

/// A ripcord before a callee.
fn hop(kind: Kind, server: &Server) -> Ripcord {
    let build = std::env::var_os("RIPCORD_STORM_BINARY").map_or_else(binary, PathBuf::from);
    let service = kind.service();
    let way = format!("assume_payload: thrift, rewrite: {{ service: {service} }}");
    Ripcord::named("hop")
        .binary(build)
        .set("limits: { max_resets: 100000, slow_receiver_timeout: 60s }")
        .backend("callee", kind.keys(), &server.address)
        .route("all", &format!("backend: callee, {way}"))
        .start()
}

/// The times of half the cancels of a storm, and of all.
#[derive(Clone, Copy, Debug, Default)]
struct Within {
    half: Duration,
    all: Duration,
}

impl Within {
    fn of(times: &[Duration]) -> Self {
        Self {
            half: at(times, 0.5),
            all: at(times, 1.0),
        }
    }

    fn is_twice(self, usual: Self) -> bool {
        self.half > 2 * usual.half + HALF_SLACK || self.all > 2 * usual.all + SLACK
    }
}

/// The same two storms at a callee that bears any number of resets.
async fn usual(wire: Wire) -> [Within; 2] {
    let kind = Kind::GrpcGo;
    let server = Arc::new(Server::start(kind));
    let hop = hop(kind, &server);
    let callers = connect(wire, &hop.address, kind, CONNECTIONS).await;
    let mut usual = [Within::default(); 2];
    for (n, together) in [false, true].into_iter().enumerate() {
        let storm = storm(&callers, &format!("usual-{n}"), together).await;
        let times = times(&server, &storm).await;
        let what = format!("{} to {}, {}", wire.name(), kind.name(), word(together));
        row(&what, &storm, "-", &times);
        usual[n] = Within::of(&times);
    }
    usual
}

fn spares_long_streams(wire: Wire, kind: Kind) {
    let _alone = alone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(storms(wire, kind));
}

async fn storms(wire: Wire, kind: Kind) {
    println!(
        "{:<36} {:>7} {:>9} {:>8} {:>10} {:>8} {:>8} {:>8}",
        "callers, callee, storm",
        "cancels",
        "a second",
        "unopened",
        "long lost",
        "ms p50",
        "p99",
        "max"
    );
    let usual = usual(wire).await;
    let server = Arc::new(Server::start(kind));
    // A callee in a virtual machine is slow at first.
    let direct = connect(kind.wire(), &server.address, kind, DIRECT).await;
    let warm = storm(&direct, "warm", false).await;
    let warm_times = times(&server, &warm).await;
    row(
        &format!("{} without ripcord", kind.name()),
        &warm,
        "-",
        &warm_times,
    );
    drop(direct);
    let hop = hop(kind, &server);
    let own = connect(wire, &hop.address, kind, 1).await.remove(0);
    let callers = connect(wire, &hop.address, kind, CONNECTIONS).await;
    let mut faults = Vec::new();
    for (n, together) in [false, true].into_iter().enumerate() {
        let mut long = long_streams(&own, n).await;
        if n == 0 && kind == Kind::Kitex && !losses_are_allowed() {
            // Until it is known that the callee takes a Rst, its cancels are Trailers, which a
            // handler that sends may notice later.
            hop.process.line("how the callee takes a cancel", |line| {
                line["message"] == "found out how a callee takes a cancel"
            });
        }
        let storm = storm(&callers, &format!("storm-{n}"), together).await;
        let times = times(&server, &storm).await;
        let mut lost = 0;
        for stream in &mut long {
            lost += usize::from(!stream.echo().await);
        }
        for stream in long {
            stream.cancel();
        }
        let what = format!("{} to {}, {}", wire.name(), kind.name(), word(together));
        row(&what, &storm, &format!("{lost} of {LONG}"), &times);
        let (took, usual, failed) = (Within::of(&times), usual[n], storm.failed);
        if lost + failed > 0 || took.is_twice(usual) {
            faults.push(format!(
                "{what}: {lost} long streams lost, {failed} streams failed, cancels took {took:?} (usual {usual:?})"
            ));
        }
    }
    let connections = hop.metric("ripcord_connections_active", "outbound");
    println!("connections to the callee at the end: {connections}");
    assert!(
        losses_are_allowed() || faults.is_empty(),
        "{}",
        faults.join("\n")
    );
}

async fn long_streams(caller: &Caller, n: usize) -> Vec<caller::Stream> {
    let mut all = Vec::new();
    for stream in 0..LONG {
        let stream = caller.open(&format!("long-{n}-{stream}")).await;
        let mut stream = stream.expect("a long stream");
        assert!(stream.echo().await, "a long stream does not echo");
        all.push(stream);
    }
    all
}

fn losses_are_allowed() -> bool {
    std::env::var("RIPCORD_STORM_LOSSES").is_ok_and(|set| set == "allowed")
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
