//! `assume_payload: thrift`. gRPC libraries that can send no other content type than plain
//! `application/grpc` exchange thrift with Kitex through ripcord, in both directions.

use bytes::Bytes;
use http::HeaderMap;
use ripcord::wire::ttheader::frame::Kind as FrameKind;
use ripcord::wire::ttheader::header::PROTOCOL_THRIFT_STRUCT;
use serde_json::json;

use crate::kit::grpc;
use crate::kit::h2peer::{H2Callee, Play, headers, told};
use crate::kit::lab::{Caller, client, client_with, say};
use crate::kit::peers::{address, go, grpcio};
use crate::kit::process::Process;
use crate::kit::ripcord::Ripcord;
use crate::kit::scenario::{Kind, Scenario, assert_like, op, recv, scenario, send};
use crate::kit::trial::cases;
use crate::kit::tt::{Connection, Listener};

cases! {
    [] {
        a_plain_request_is_thrift_and_its_answer_is_plain,
        a_named_kind_stays_what_it_is,
        a_backend_is_sent_thrift_without_its_name,
    }
    [Go] {
        a_grpc_go_caller_without_a_subtype_reaches_kitex = || reaches_kitex(Caller::GrpcRaw),
        a_kitex_caller_reaches_grpc_go_that_takes_plain_thrift = || kitex_reaches(&go(SERVER)),
    }
    [Go, Grpcio] {
        a_grpcio_caller_reaches_kitex = || reaches_kitex(Caller::Python),
        a_kitex_caller_reaches_grpcio = || kitex_reaches(&grpcio(SERVER)),
    }
}

const SERVER: &[&str] = &["grpc-server", "--assume", "thrift"];

const ROUTE: &str =
    "backend: callee, validate: thrift, assume_payload: thrift, rewrite: { service: Interop }";

/// To a TTHeader callee that takes thrift only.
fn to_kitex(callee: &str) -> Ripcord {
    Ripcord::named("hop")
        .backend("callee", "protocol: ttheader, payload: thrift", callee)
        .route("all", ROUTE)
        .start()
}

fn echoes() -> [Scenario; 2] {
    let exchange = json!({ "op": "exchange", "n": 50, "size": 100, "window": 1 });
    let compressed = [
        json!({ "op": "compress", "name": "gzip" }),
        send(3, 9000),
        recv(3),
        op("close_send"),
    ];
    [
        scenario(
            "small",
            Kind::Bidi,
            [op("echo")],
            [exchange, op("close_send")],
        ),
        scenario("gzip", Kind::Bidi, [op("echo")], compressed),
    ]
}

/// Plays a scenario; its messages arrive as thrift, both ways, in order and whole.
fn echoed(client: &Process, server: &Process, case: &Scenario) {
    let n = if case.name == "gzip" { 3 } else { 50 };
    let id = say(client, case);
    let (caller, callee) = (client.event("result", &id), server.event("server_end", &id));
    let all = json!({ "kind": "ok", "sent": n, "recv": n });
    assert_like(&case.name, &caller, &all);
    assert_like(&case.name, &callee, &json!({ "sent": n, "recv": n }));
    assert_eq!(caller["sha256"], callee["sha256"], "{}", case.name);
}

fn reaches_kitex(caller: Caller) {
    let kitex = go(&["kitex-server"]);
    let hop = to_kitex(&address(&kitex));
    let client = client_with(caller, &hop.address, &["--assume", "thrift"]);
    for case in echoes() {
        echoed(&client, &kitex, &case);
    }
}

fn kitex_reaches(server: &Process) {
    let hop = Ripcord::named("hop")
        .backend(
            "callee",
            "protocol: grpc, payload: thrift, assume_payload: thrift",
            address(server),
        )
        .route(
            "all",
            "backend: callee, validate: thrift, rewrite: { service: interop.Interop }",
        )
        .start();
    let client = client(Caller::Mux, &hop.address);
    let [small, _] = echoes();
    echoed(&client, server, &small);
}

/// The answer to a gRPC caller whose request has this content type, and which sends nothing more.
fn answer(hop: &Ripcord, kind: &'static str) -> (u16, HeaderMap) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let caller = grpc::Caller::connect(hop.socket_address()).await;
        let request = grpc::header_map(&grpc::request(kind));
        let mut call = caller.ask("ripcord", "/Chat/Talk", request).await;
        call.send_raw(Bytes::new(), true).await;
        let answer = call.answer().await;
        (answer.status, answer.headers)
    })
}

fn a_plain_request_is_thrift_and_its_answer_is_plain() {
    let callee = Listener::start();
    let hop = to_kitex(&callee.address);
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| answer(&hop, "application/grpc"));
        let wire = callee.accept();
        let stream = wire.stream(0);
        assert_eq!(stream.header.protocol, PROTOCOL_THRIFT_STRUCT);
        stream.send(FrameKind::Header, &[], Bytes::new());
        stream.send(FrameKind::Trailer, &[], Bytes::new());
        let (status, headers) = answer.join().unwrap();
        assert_eq!(status, 200);
        assert_eq!(headers["content-type"], "application/grpc");
    });
}

fn a_named_kind_stays_what_it_is() {
    let callee = Listener::start();
    let hop = to_kitex(&callee.address);
    let proto = [("content-type", "application/grpc+proto")];
    // UNIMPLEMENTED.
    assert_eq!(told(hop.socket_address(), "Chat", &proto), (200, 12));
    let line = hop
        .process
        .line("the refusal", |line| line["text"].is_string());
    assert_eq!(
        line["text"],
        "hop: backend callee takes thrift; the request is protobuf (application/grpc+proto): send \
         application/grpc+thrift; ripcord translates protobuf only by a schema (translate on the route)"
    );
}

fn a_backend_is_sent_thrift_without_its_name() {
    let callee = H2Callee::start(|_| Play::Only(200, headers(&[("grpc-status", "0")])));
    let hop = Ripcord::named("hop")
        .backend(
            "plain",
            "protocol: grpc, assume_payload: thrift",
            &callee.address,
        )
        .backend("usual", "protocol: grpc", &callee.address)
        .route("usual", "match: { service: Usual }, backend: usual")
        .route("plain", "backend: plain")
        .start();
    let caller = Connection::connect(&hop.address);
    for (n, service, kind) in [
        (1, "Plain", "application/grpc"),
        (2, "Usual", "application/grpc+thrift"),
    ] {
        caller.open(n, "Talk", &[("isn", service)]);
        assert_eq!(callee.opened()["content-type"], kind);
    }
    let proto = [("content-type", "application/grpc")];
    for (service, kind) in [
        ("Plain", "application/grpc+proto"),
        ("Usual", "application/grpc"),
    ] {
        assert_eq!(told(hop.socket_address(), service, &proto), (200, 0));
        assert_eq!(callee.opened()["content-type"], kind);
    }
}
