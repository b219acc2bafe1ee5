//! Streams that their callee did not look at: ripcord opens them again, once. The callee is played
//! frame by frame, since no library refuses streams on demand.

use std::net::{SocketAddr, TcpListener};

use ripcord::wire::ttheader::frame::Kind;
use serde_json::{Value, json};

use crate::kit::h2raw::{
    DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, RESET, Raw, SETTINGS, WINDOW, field,
    message,
};
use crate::kit::lab::{Caller, client, say};
use crate::kit::peers::{address, go};
use crate::kit::process::LIMIT;
use crate::kit::ripcord::Ripcord;
use crate::kit::scenario::{Kind as Streams, assert_like, recv, scenario, send};
use crate::kit::trial::cases;
use crate::kit::tt::{Connection, said};

cases! {
    [] {
        a_refused_stream_is_opened_again_with_all_that_was_sent,
        a_goaway_below_a_stream_moves_it_and_no_other,
        a_refused_stream_does_not_wait_for_its_own_place,
        another_endpoint_comes_first,
        a_stream_is_opened_again_once,
        what_may_have_been_processed_is_not_opened_again,
        more_than_the_retry_buffer_is_not_opened_again,
        a_cancel_and_a_deadline_end_the_second_attempt,
        a_callee_that_refuses_everything_gets_no_more_connections,
    }
    [Go] {
        connections_that_end_by_age_cost_no_call::grpc_go = || age_costs_no_call(Caller::GrpcGo),
        connections_that_end_by_age_cost_no_call::kitex = || age_costs_no_call(Caller::Mux),
    }
    [Go, Grpcio] {
        connections_that_end_by_age_cost_no_call::grpcio = || age_costs_no_call(Caller::Python),
    }
}

mod callee;

use callee::{Callee, Peer, answer, asked, next};

/// Window for all that the callers send.
const ROOM: [u8; 4] = 1_000_000_u32.to_be_bytes();
const REFUSED_STREAM: [u8; 4] = 7_u32.to_be_bytes();
const UNAVAILABLE: u32 = 14;

fn hop(callees: &[&Callee], more: &str) -> Ripcord {
    let endpoints: Vec<_> = callees
        .iter()
        .map(|c| format!("{:?}", c.address().to_string()))
        .collect();
    let keys = format!("protocol: grpc, endpoints: [{}]", endpoints.join(", "));
    let table = crate::kit::spec::Table::new()
        .backend_with("callee", &keys)
        .route("all", "backend: callee");
    Ripcord::named("hop").set(more).table(table).start()
}

/// The access-log line of the `n`th stream that ended, from 0.
fn ended(hop: &Ripcord, n: usize) -> Value {
    let lines = hop.process.lines("an access log line", n + 1, |line| {
        line.get("end").is_some()
    });
    lines[n].clone()
}

fn a_refused_stream_is_opened_again_with_all_that_was_sent() {
    for (caller, half_closes) in [(0, true), (0, false), (1, true), (1, false)] {
        let callee = Callee::start();
        let hop = hop(&[&callee], "");
        let mut caller = Peer::both(&hop).into_iter().nth(caller).unwrap();
        let big = vec![7; 40_000];
        let sent = [message(b"one"), message(&big)].concat();
        caller.open(1);
        caller.send(1, b"one", false);
        caller.send(1, &big, half_closes);
        let mut refusing = callee.accept();
        let refused = asked(&mut refusing, sent.len(), half_closes);
        assert_eq!(refused.body, sent);
        refusing.frame(RESET, 0, refused.stream, &REFUSED_STREAM);
        let mut taking = callee.accept();
        let taken = asked(&mut taking, sent.len(), half_closes);
        assert!(taken.body == sent, "{} bytes", taken.body.len());
        assert_eq!(taken.half_closed, half_closes);
        assert_eq!(taken.block, refused.block);
        answer(&mut taking, taken.stream);
        caller.is_answered(1);
        let line = ended(&hop, 0);
        assert_eq!(
            (&line["retries"], &line["end"]),
            (&1.into(), &"complete".into()),
            "{line}"
        );
        assert_eq!(hop.metric("ripcord_stream_retries_total", ""), 1);
        assert!(callee.is_alone());
        hop.wait_empty();
    }
}

fn a_goaway_below_a_stream_moves_it_and_no_other() {
    let callee = Callee::start();
    let hop = hop(&[&callee], "");
    for mut caller in Peer::both(&hop) {
        caller.open(1);
        caller.send(1, b"stays", false);
        let mut old = callee.accept();
        let stays = asked(&mut old, 10, false);
        caller.open(3);
        caller.send(3, b"moves", true);
        let moves = asked(&mut old, 10, true);
        let goaway = [stays.stream.to_be_bytes(), [0; 4]].concat();
        old.frame(GOAWAY, 0, 0, &goaway);
        let mut new = callee.accept();
        let moved = asked(&mut new, 10, true);
        assert_eq!(
            (moved.body, moves.body),
            (message(b"moves"), message(b"moves"))
        );
        answer(&mut new, moved.stream);
        caller.is_answered(3);
        answer(&mut old, stays.stream);
        caller.is_answered(1);
        // The next caller must not find this connection.
        let goaway = [moved.stream.to_be_bytes(), [0; 4]].concat();
        new.frame(GOAWAY, 0, 0, &goaway);
        assert!(new.next_goaway().is_none_or(|(_, code)| code == 0));
    }
    assert_eq!(hop.metric("ripcord_stream_retries_total", ""), 2);
}

/// The callee takes one stream at a time, and there may be one connection. The second stream comes
/// within the second in which no other connection is left for a refusal.
fn a_refused_stream_does_not_wait_for_its_own_place() {
    let callee = Callee::start();
    let keys = format!(
        "protocol: grpc, max_connections: 1, endpoints: [{:?}]",
        callee.address().to_string()
    );
    let table = crate::kit::spec::Table::new()
        .backend_with("callee", &keys)
        .route("all", "backend: callee");
    let hop = Ripcord::named("hop").table(table).start();
    let mut caller = Raw::open(hop.socket_address());
    caller.headers(1, "Retry");
    let mut left = callee.accept();
    let refused = asked(&mut left, 0, false);
    left.frame(RESET, 0, refused.stream, &REFUSED_STREAM);
    let mut raw = callee.accept();
    raw.frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1]);
    let taken = asked(&mut raw, 0, false);
    answer(&mut raw, taken.stream);
    while caller.wait(HEADERS, 1).flags & END_STREAM == 0 {}
    caller.headers(3, "Retry");
    let refused = loop {
        let frame = next(&mut raw);
        if frame.kind == HEADERS {
            break frame.stream;
        }
    };
    raw.frame(RESET, 0, refused, &REFUSED_STREAM);
    let taken = asked(&mut raw, 0, false);
    answer(&mut raw, taken.stream);
    while caller.wait(HEADERS, 3).flags & END_STREAM == 0 {}
    assert_eq!(hop.metric("ripcord_stream_retries_total", ""), 2);
}

fn another_endpoint_comes_first() {
    let callees = [Callee::start(), Callee::start()];
    let hop = hop(&[&callees[0], &callees[1]], "");
    let mut caller = Raw::open(hop.socket_address());
    caller.headers(1, "Retry");
    let mut refusing = callees[0].accept();
    let refused = asked(&mut refusing, 0, false);
    refusing.frame(RESET, 0, refused.stream, &REFUSED_STREAM);
    let mut taking = callees[1].accept();
    let taken = asked(&mut taking, 0, false);
    assert_eq!(taken.block, refused.block);
    answer(&mut taking, taken.stream);
    Peer::Grpc(caller).is_answered(1);
    let line = ended(&hop, 0);
    let endpoint = callees[1].address().to_string();
    assert_eq!(line["endpoint"], *endpoint, "{line}");
    assert!(callees[0].is_alone() && callees[1].is_alone());
}

/// gRFC A6: a client that opens a stream again itself must not see more attempts than without
/// ripcord. So the second refusal is a status.
fn a_stream_is_opened_again_once() {
    let callee = Callee::start();
    let hop = hop(&[&callee], "");
    let mut all = None;
    for (n, mut caller) in Peer::both(&hop).into_iter().enumerate() {
        caller.open(1);
        caller.send(1, b"one", true);
        let mut raw = all.take().unwrap_or_else(|| callee.accept());
        for attempt in 0..2 {
            let stream = asked(&mut raw, 8, true).stream;
            raw.frame(RESET, 0, stream, &REFUSED_STREAM);
            if (n, attempt) == (0, 0) {
                raw = callee.accept();
            }
        }
        let line = ended(&hop, n);
        caller.is_unavailable(1, &line);
        assert_eq!(line["retries"], 1, "{line}");
        assert_eq!(line["processed"], "no", "{line}");
        assert!(
            line["text"].as_str().unwrap().contains("REFUSED_STREAM"),
            "{line}"
        );
        all = Some(raw);
    }
}

fn what_may_have_been_processed_is_not_opened_again() {
    let callee = Callee::start();
    let hop = hop(&[&callee], "");
    let mut n = 0;
    // A reset after the head; a GOAWAY that does not exclude the stream, and then the end of the
    // connection; the end of the connection alone.
    for how in ["head", "goaway", "end"] {
        for mut caller in Peer::both(&hop) {
            caller.open(1);
            caller.send(1, b"one", true);
            let mut raw = callee.accept();
            let stream = asked(&mut raw, 8, true).stream;
            match how {
                "head" => {
                    let mut head = vec![0x88];
                    head.extend(field("content-type", "application/grpc+thrift"));
                    raw.frame(HEADERS, END_HEADERS, stream, &head);
                    raw.frame(RESET, 0, stream, &REFUSED_STREAM);
                }
                "goaway" => {
                    raw.frame(GOAWAY, 0, 0, &[stream.to_be_bytes(), [0; 4]].concat());
                }
                _ => {}
            }
            if how != "head" {
                drop(raw);
            }
            let line = ended(&hop, n);
            n += 1;
            assert_eq!(line["processed"], "maybe", "{how}: {line}");
            assert_eq!(line.get("retries"), None, "{how}: {line}");
            if how == "head" {
                caller.is_unavailable(1, &line);
            }
        }
    }
    assert!(callee.is_alone());
    assert_eq!(hop.metric("ripcord_stream_retries_total", ""), 0);
}

fn more_than_the_retry_buffer_is_not_opened_again() {
    for (limits, payload) in [
        ("limits: { retry_buffer: 40KiB }", 50_000),
        ("limits: { retry_buffer: 0 }", 10),
    ] {
        let callee = Callee::start();
        let hop = hop(&[&callee], limits);
        let mut first = None;
        for (n, mut caller) in Peer::both(&hop).into_iter().enumerate() {
            caller.open(1);
            caller.send(1, &vec![7; payload], true);
            let mut raw = first.take().unwrap_or_else(|| callee.accept());
            let head = asked(&mut raw, payload + 5, true);
            raw.frame(RESET, 0, head.stream, &REFUSED_STREAM);
            let line = ended(&hop, n);
            caller.is_unavailable(1, &line);
            assert_eq!(line["processed"], "no", "{line}");
            assert_eq!(line.get("retries"), None, "{line}");
            first = Some(raw);
        }
        assert!(callee.is_alone());
        hop.wait_empty();
    }
}

/// A socket that nobody can connect to any more, and what fills its queue.
fn black_hole() -> (socket2::Socket, SocketAddr, Vec<std::net::TcpStream>) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut filling = Vec::new();
    let wait = std::time::Duration::from_millis(200);
    while let Ok(one) = std::net::TcpStream::connect_timeout(&address, wait) {
        filling.push(one);
    }
    (socket, address, filling)
}

fn a_cancel_and_a_deadline_end_the_second_attempt() {
    for how in ["cancel", "deadline"] {
        let callee = Callee::start();
        let (_socket, hole, _filling) = black_hole();
        let keys = format!(
            "protocol: grpc, connect_timeout: 60s, endpoints: [\"{}\", \"{hole}\"]",
            callee.address()
        );
        let stream = if how == "deadline" { "1500ms" } else { "1h" };
        let route = format!("backend: callee, timeouts: {{ stream: {stream} }}");
        let table = crate::kit::spec::Table::new()
            .backend_with("callee", &keys)
            .route("all", &route);
        let hop = Ripcord::named("hop").table(table).start();
        let mut caller = Raw::open(hop.socket_address());
        caller.headers(1, "Retry");
        let mut refusing = callee.accept();
        let refused = asked(&mut refusing, 0, false);
        refusing.frame(RESET, 0, refused.stream, &REFUSED_STREAM);
        hop.wait("the second attempt", || {
            hop.metric("ripcord_stream_retries_total", "") == 1
        });
        if how == "cancel" {
            caller.frame(RESET, 0, 1, &8_u32.to_be_bytes());
        } else {
            let _ = caller.wait(HEADERS, 1);
        }
        let line = ended(&hop, 0);
        assert_eq!(line["retries"], 1, "{line}");
        let by = if how == "cancel" { "caller" } else { "hop" };
        assert_eq!(line["by"], by, "{line}");
        assert!(line["duration_ms"].as_f64().unwrap() < LIMIT.as_millis() as f64);
        hop.wait_empty();
    }
}

/// Each refused stream is tried twice, on a connection that is there.
fn a_callee_that_refuses_everything_gets_no_more_connections() {
    const STREAMS: u32 = 50;
    let callee = Callee::start();
    let hop = hop(&[&callee], "");
    let mut caller = Raw::open(hop.socket_address());
    let address = callee.address();
    let refusing = std::thread::spawn(move || {
        let mut connections = Vec::new();
        let mut refused = 0;
        let refuse = |raw: &mut Raw| {
            let head = next(raw);
            raw.frame(RESET, 0, head.stream, &REFUSED_STREAM);
        };
        let mut raw = callee.accept();
        refuse(&mut raw);
        connections.push(raw);
        refused += 1;
        let mut raw = callee.accept();
        while refused < 2 * STREAMS {
            refuse(&mut raw);
            refused += 1;
        }
        connections.push(raw);
        (callee, connections)
    });
    for stream in 0..STREAMS {
        caller.headers(1 + 2 * stream, "Retry");
        let block = caller.wait(HEADERS, 1 + 2 * stream);
        assert_ne!(block.flags & END_STREAM, 0, "{address}");
    }
    let (callee, connections) = refusing.join().unwrap();
    assert!(callee.is_alone());
    drop(connections);
}

/// grpc-go ends connections that reach an age with GOAWAY, in the middle of a burst of calls.
fn age_costs_no_call(caller: Caller) {
    const CALLS: usize = 20;
    const BURSTS: usize = 60;
    let server = go(&["grpc-server", "--max-age", "100ms"]);
    let hop = Ripcord::before("grpc", &address(&server));
    let client = client(caller, &hop.address);
    let script = [recv(1), send(1, 10)];
    let call = scenario(
        "call",
        Streams::Bidi,
        script,
        [send(1, 10), json!({ "op": "recv" })],
    );
    for _ in 0..BURSTS {
        let burst: Vec<String> = (0..CALLS).map(|_| say(&client, &call)).collect();
        for id in burst {
            assert_like(
                "a call",
                &client.event("result", &id),
                &json!({ "kind": "ok", "recv": 1 }),
            );
        }
    }
    // Each connection was replaced by the next one.
    let connections = hop.metric(
        "ripcord_connections_total",
        "side=\"outbound\",wire=\"grpc\"",
    );
    assert!(connections >= 3, "{connections} connections");
}
