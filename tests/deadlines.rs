//! Whose deadline it is, over four hops of plain gRPC: none of them knows that the next one is a
//! ripcord, so the owner of a limit travels with the names of the hops only, and a deadline has no
//! other sign than a reset. Also the limits of a stream that is opened again.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod kit;

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::HeaderMap;
use kit::chain::{NO_COLLECTOR, new_trace};
use kit::grpc::{self, Call, Caller};
use kit::h2peer::headers;
use kit::h2raw::{HEADERS, PREFACE, RESET, Raw, SETTINGS, frame};
use kit::ripcord::Ripcord;
use kit::scenario::assert_like;
use kit::scripts::Scripts;
use kit::streams;
use kit::tt::said;
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// The hops. The last one has the callees.
const HOPS: usize = 4;

/// The caller's name.
const APP: &str = "app";

/// The shortest limit of each stream.
const LIMIT: Duration = Duration::from_millis(1500);

fn name(n: usize) -> String {
    format!("r{n}")
}

/// The access log line of a hop for the stream with that trace.
fn line(hop: &Ripcord, trace: &str) -> Value {
    hop.process.line(trace, |line| {
        line["trace_id"] == *trace && line["duration_ms"].is_number()
    })
}

/// The headers of a request in that trace.
fn request(trace: &str, timeout: &str, more: &[(&str, &str)]) -> HeaderMap {
    let parent = format!("00-{trace}-00000000000000aa-00");
    let mut all = vec![
        ("content-type", "application/grpc+thrift"),
        ("te", "trailers"),
        ("source-service", APP),
        ("grpc-timeout", timeout),
        ("traceparent", &parent),
    ];
    all.extend(more);
    headers(&all)
}

/// Resets the stream with CANCEL at the caller's deadline, as gRPC libraries do.
async fn reset_at(mut call: Call, deadline: tokio::time::Instant) {
    tokio::time::sleep_until(deadline).await;
    call.reset(8);
}

/// The limit is the caller's or a hop's, and either the caller resets its stream or it waits. Every
/// hop and the callee name the same owner.
#[tokio::test]
async fn every_hop_names_the_owner_of_the_limit() {
    let scripts = Scripts::default();
    let callee = streams::callee(scripts.clone()).await;
    let mut hops: Vec<Ripcord> = Vec::new();
    for n in (1..=HOPS).rev() {
        let spec = Ripcord::named(&name(n)).traced(NO_COLLECTOR);
        let spec = match hops.last() {
            None => spec.backend("next", "protocol: ttheader", callee),
            Some(next) => spec.backend("next", "protocol: grpc", &next.address),
        };
        let limited = format!(
            "match: {{ metadata: {{ x-limit: {} }} }}, backend: next, \
             timeouts: {{ stream: {}ms }}",
            name(n),
            LIMIT.as_millis()
        );
        let spec = spec
            .route("limited", &limited)
            .route("all", "backend: next");
        hops.push(spec.start());
    }
    hops.reverse();
    let caller = Caller::connect(hops[0].socket_address()).await;
    let mut running = Vec::new();
    let owners = [(0, false), (0, true)].into_iter();
    for (owner, resets) in owners.chain((1..=HOPS).map(|n| (n, false))) {
        for n in 0..5 {
            let trace = new_trace();
            let method = format!("M{owner}{resets}{n}");
            let (opened, open) = oneshot::channel();
            let hold = streams::Script::Hold(None, Arc::new(Mutex::new(Some(opened))));
            let heard = scripts.add(&method, hold);
            let timeout = if owner == 0 { "1500m" } else { "60S" };
            let head = request(&trace, timeout, &[("x-limit", &name(owner))]);
            let deadline = tokio::time::Instant::now() + LIMIT;
            let call = caller.ask("hops", &format!("/S/{method}"), head).await;
            open.await.unwrap();
            let end = tokio::spawn(async move {
                if resets {
                    reset_at(call, deadline).await;
                    return None;
                }
                Some(call.hear().await.trailers)
            });
            running.push((owner, resets, trace, heard, end));
        }
    }
    let mut ended = Vec::new();
    for (owner, resets, trace, heard, end) in running {
        let rst = heard.await.unwrap().end.unwrap();
        ended.push((owner, resets, trace, rst, end.await.unwrap()));
    }
    for (owner, resets, trace, rst, trailers) in ended {
        let what = format!("limit of {owner}, the caller resets: {resets}");
        let all: Vec<String> = std::iter::once(APP.to_owned())
            .chain((1..=HOPS).map(name))
            .skip(owner)
            .collect();
        let (said, path) = said(&rst);
        assert_eq!((said.type_id, &*path), (12015, &*all.join(",")), "{what}");
        for (n, hop) in (1..).zip(&hops) {
            // Behind the owner, the limit is the caller's. Before it, the callee's.
            let (end, by) = match n {
                _ if n == owner => ("hop", "hop"),
                _ if n > owner => ("hop", "caller"),
                _ => ("canceled", "callee"),
            };
            let expected = json!({ "end": end, "by": by, "cause": 12015 });
            assert_like(
                &format!("{what}, {}", name(n)),
                &line(hop, &trace),
                &expected,
            );
        }
        if let Some(trailers) = trailers {
            let text = |key: &str| trailers[key].to_str().unwrap();
            assert_eq!((text("grpc-status"), text("ripcord-code")), ("4", "12015"));
        }
    }
}

/// A stream that has waited for a place at a hop has what is left, so that the clocks of the hops
/// end together.
#[tokio::test]
async fn the_time_that_a_stream_waits_at_a_hop_is_taken_from_its_deadline() {
    let scripts = Scripts::default();
    let callee = grpc::callee(scripts.clone()).await;
    let second = Ripcord::named("second")
        .traced(NO_COLLECTOR)
        .set("limits: { max_streams_per_connection: 1 }")
        .to("protocol: grpc", callee)
        .start();
    let first = Ripcord::named("first")
        .traced(NO_COLLECTOR)
        .to("protocol: grpc, max_connections: 1", &second.address)
        .start();
    let caller = Caller::connect(first.socket_address()).await;
    let mut running = Vec::new();
    // The second one waits until the first is over.
    for (method, timeout) in [("Holds", "1S"), ("Waits", "2S")] {
        let trace = new_trace();
        let (told, open) = oneshot::channel();
        let hold = grpc::Script::Hold(None, Arc::new(Mutex::new(Some(told))));
        let heard = scripts.add(method, hold);
        let head = request(&trace, timeout, &[]);
        let call = caller.ask("hops", &format!("/S/{method}"), head).await;
        if method == "Holds" {
            open.await.unwrap();
        }
        running.push((method, trace, heard, call));
    }
    for (method, trace, heard, call) in running {
        let trailers = call.hear().await.trailers;
        assert_eq!(trailers["grpc-status"], "4", "{method}");
        heard.await.unwrap();
        for hop in [&first, &second] {
            let expected = json!({ "end": "hop", "by": "caller", "error_type": "deadline" });
            assert_like(method, &line(hop, &trace), &expected);
        }
    }
}

/// The first connection refuses its stream, and the second one never has SETTINGS.
fn refuses_and_hangs() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut first = Raw::new(socket.accept().unwrap().0);
        first.send(&frame(SETTINGS, 0, 0, &[]));
        first.skip(PREFACE.len());
        first.wait(HEADERS, 1);
        first.frame(RESET, 0, 1, &7_u32.to_be_bytes());
        let mut second = socket.accept().unwrap().0;
        // Until the other side gives up.
        let _ = second.read_to_end(&mut Vec::new());
    });
    address
}

/// The second opening of a stream would take the connect timeout.
#[tokio::test]
async fn the_limits_of_a_stream_hold_while_it_is_opened_again() {
    for limit in ["first_response", "idle"] {
        let keys = "protocol: grpc, connect_timeout: 60s";
        let timeouts = format!("backend: b, timeouts: {{ {limit}: 500ms }}");
        let hop = Ripcord::named("again")
            .backend("b", keys, refuses_and_hangs())
            .route("all", &timeouts)
            .start();
        let caller = Caller::connect(hop.socket_address()).await;
        let head = request(&new_trace(), "100S", &[]);
        let trailers = caller.ask("hop", "/S/M", head).await.hear().await.trailers;
        assert_eq!(trailers["grpc-status"], "4", "{limit}: {trailers:?}");
        let text = trailers["grpc-message"].to_str().unwrap();
        assert!(text.contains(&format!("timeouts.{limit}")), "{text}");
        hop.process.line(limit, |line| {
            let kinds = [&line["error_type"], &line["retries"]];
            kinds == [&json!(limit), &json!(1)]
        });
    }
}
