//! What callers and the access log read of callees that fail: plain words about who did what, and
//! none of the HTTP/2 library's or the system's own.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};

use bytes::Bytes;
use ripcord::wire::ttheader::{frame::Kind, keys};

use super::callee::{Bad, say, table};
use super::port::noise;
use crate::kit::grpc;
use crate::kit::h2raw::{
    END_HEADERS, END_STREAM, GOAWAY, HEADERS, PREFACE, RESET, Raw, SETTINGS, field, frame, message,
};
use crate::kit::ripcord::Ripcord;
use crate::kit::tt::{self, said};

/// A callee of HTTP/2 that answers the first stream with these frames, and then closes.
fn answer(socket: TcpStream, frames: &[u8]) {
    let mut raw = Raw::new(socket);
    raw.send(&frame(SETTINGS, 0, 0, &[]));
    raw.skip(PREFACE.len());
    raw.wait(HEADERS, 1);
    raw.send(frames);
    raw.shut();
    while raw.next().is_some() {}
}

/// `:status` and a content type.
fn head(status: &str, kind: &str) -> Vec<u8> {
    [field(":status", status), field("content-type", kind)].concat()
}

const GRPC: &str = "application/grpc+thrift";

const CALLEES: &[Bad] = &[
    ("Reset", "protocol: grpc", "", |socket| {
        answer(socket, &frame(RESET, 0, 1, &2_u32.to_be_bytes()));
    }),
    ("GoAway", "protocol: grpc", "", |socket| {
        let said = [&[0, 0, 0, 0, 0, 0, 0, 11][..], b"too_many_pings"].concat();
        answer(socket, &frame(GOAWAY, 0, 0, &said));
    }),
    ("Close", "protocol: grpc", "", |socket| answer(socket, &[])),
    ("CloseInBody", "protocol: grpc", "", |socket| {
        let head = frame(HEADERS, END_HEADERS, 1, &head("200", GRPC));
        answer(socket, &[head, frame(0, 0, 1, &message(b"m"))].concat());
    }),
    (
        "NoStatus",
        "protocol: grpc, connections: per_stream",
        "",
        |socket| {
            let head = frame(HEADERS, END_HEADERS, 1, &field("content-type", GRPC));
            let mut raw = Raw::new(socket);
            raw.send(&frame(SETTINGS, 0, 0, &[]));
            raw.skip(PREFACE.len());
            raw.wait(HEADERS, 1);
            raw.send(&head);
            while raw.next().is_some() {}
        },
    ),
    ("Window", "protocol: grpc", "", |socket| {
        say(socket, &frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]));
    }),
    ("Html", "protocol: grpc", "", |socket| {
        let block = head("502", "text/html; charset=utf-8");
        answer(socket, &frame(HEADERS, END_HEADERS | END_STREAM, 1, &block));
    }),
    ("Json", "protocol: grpc", "", |socket| {
        let block = head("200", "application/json");
        answer(socket, &frame(HEADERS, END_HEADERS | END_STREAM, 1, &block));
    }),
    ("Noise", "protocol: grpc", "", |socket| {
        let settings = frame(SETTINGS, 0, 0, &[]);
        say(socket, &[settings, noise(4096)].concat());
    }),
    ("TtClose", "protocol: ttheader", "", |mut socket| {
        let _ = socket.read(&mut [0; 64]);
    }),
    ("TtNoise", "protocol: ttheader", "", |socket| {
        say(
            socket,
            &[0xff, 0xff, 0xff, 0xff, 0x10, 0, 0, 2, 0, 0, 0, 1, 0, 1],
        );
    }),
];

/// What the text of a stream to that callee has.
const TEXTS: &[(&str, &str)] = &[
    (
        "Reset",
        "stream terminated by RST_STREAM with error code: INTERNAL_ERROR",
    ),
    (
        "GoAway",
        "the callee sent GOAWAY ENHANCE_YOUR_CALM: too many pings",
    ),
    ("Close", "the callee closed the connection"),
    ("CloseInBody", "the callee closed the connection"),
    (
        "NoStatus",
        "the callee sent what HTTP/2 forbids, or too long headers",
    ),
    ("Window", "the callee sent"),
    (
        "Html",
        "the callee answered HTTP 502 with text/html; charset=utf-8, which is not gRPC (is it an HTTP proxy?)",
    ),
    (
        "Json",
        "the callee answered HTTP 200 with application/json, which is not gRPC",
    ),
    ("Noise", "the callee sent"),
    ("TtClose", ""),
    ("TtNoise", ""),
    ("Refused", "the endpoint refused the connection"),
    ("Unresolved", "nowhere.invalid does not resolve"),
];

/// Words that only the people of a library or of the system understand.
const INNER: &[&str] = &[
    "os error",
    "broken pipe",
    "not a result",
    "connection error",
    "stream error sent",
    "protocol error",
    "user error",
    "detected:",
    "received:",
    "failed to lookup",
    "b\\\"",
    "h2",
    "hyper",
    "tokio",
    "BrokenPipe",
    "UnexpectedEof",
    "Custom {",
    "unexpected end of file",
];

pub(crate) fn reach_callers() {
    let log = std::env::temp_dir().join(format!("ripcord-texts-{}", std::process::id()));
    let refused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = refused.local_addr().unwrap();
    drop(refused);
    let hop = Ripcord::named("hop")
        .access_log(&log)
        .table(table(CALLEES))
        .backend("Refused", "protocol: grpc", nobody)
        .backend("Unresolved", "protocol: grpc", "nowhere.invalid:80")
        .route("Refused", "match: { service: Refused }, backend: Refused")
        .route(
            "Unresolved",
            "match: { service: Unresolved }, backend: Unresolved",
        )
        .start();
    let mut faults = Vec::new();
    for (service, expected) in TEXTS {
        let texts = [
            ("gRPC", grpc_text(hop.socket_address(), service)),
            ("TTHeader", ttheader_text(&hop.address, service)),
        ];
        for (caller, text) in texts {
            println!("{service:<12} {caller:<9} {text}");
            let inner = INNER.iter().find(|word| text.contains(**word));
            if inner.is_some() || !text.contains(expected) {
                faults.push(format!("{service} {caller}: {text}"));
            }
        }
    }
    let read = || std::fs::read_to_string(&log).unwrap_or_default();
    hop.wait("the access log", || {
        read().lines().count() == TEXTS.len() * 2
    });
    let lines = read();
    let _ = std::fs::remove_file(&log);
    let inner = |line: &&str| INNER.iter().any(|word| line.contains(word));
    faults.extend(lines.lines().filter(inner).map(str::to_owned));
    assert!(faults.is_empty(), "{faults:#?}");
}

fn grpc_text(address: SocketAddr, service: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let answer = runtime.block_on(async {
        let caller = grpc::Caller::connect(address).await;
        let headers = grpc::header_map(&grpc::request(GRPC));
        let path = format!("/{service}/Echo");
        let mut call = caller.ask("ripcord", &path, headers).await;
        call.send_raw(grpc::frame(&[Bytes::from_static(b"m")]), false)
            .await;
        call.hear().await
    });
    let text = answer.trailers.get("grpc-message").expect("a text");
    grpc::unpercent(text.as_bytes())
}

fn ttheader_text(address: &str, service: &str) -> String {
    let wire = tt::Connection::connect(address);
    let stream = wire.open(1, "Echo", &[(keys::IDL_SERVICE, service)]);
    stream.send(Kind::Data, &[], tt::message(b"m"));
    while stream.count(Kind::Trailer) + stream.count(Kind::Rst) == 0 {
        assert!(!wire.is_closed(), "{service}: closed without an end");
        std::thread::yield_now();
    }
    let kind = match stream.count(Kind::Rst) {
        0 => Kind::Trailer,
        _ => Kind::Rst,
    };
    said(&stream.nth(kind, 0)).0.text
}
