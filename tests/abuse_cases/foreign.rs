//! Callees that speak another protocol than their backend's. Each row opens one stream, and checks
//! its end, the log and the `/config` page.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::callee::{Bad, UNAVAILABLE, call, say, table};
use super::rig::{Rig, Row};
use crate::kit::Wire;
use crate::kit::h2raw::{GOAWAY, SETTINGS, frame};

/// What OpenSSL and others answer to what is no TLS.
const ALERT: &[u8] = &[0x15, 3, 3, 0, 2, 2, 70];

const HTTP1: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";

/// A TTHeader frame's begin.
const TTHEADER: &[u8] = &[0, 0, 0, 60, 0x10, 0, 0, 2, 0, 0, 0, 1, 0, 11];

const CALLEES: &[Bad] = &[
    ("GrpcTls", "protocol: grpc", "", |socket| say(socket, ALERT)),
    ("GrpcHttp1", "protocol: grpc", "", |socket| {
        say(socket, HTTP1)
    }),
    ("GrpcTt", "protocol: grpc", "", |socket| {
        say(socket, TTHEADER)
    }),
    ("GrpcShut", "protocol: grpc", "", shut),
    ("GrpcReset", "protocol: grpc", "", drop),
    ("TtTls", "protocol: ttheader", "", |socket| {
        say(socket, ALERT)
    }),
    ("TtHttp1", "protocol: ttheader", "", |socket| {
        say(socket, HTTP1)
    }),
    ("TtPage", "protocol: ttheader", "", |socket| {
        say(socket, b"<!DOCTYPE HTML>\n<html lang=\"en\">");
    }),
    ("TtGrpc", "protocol: ttheader", "", |socket| {
        say(socket, &frame(SETTINGS, 0, 0, &[]));
    }),
    ("TtGoaway", "protocol: ttheader", "", |socket| {
        say(socket, &frame(GOAWAY, 0, 0, &[0; 8]));
    }),
    ("TtBytes", "protocol: ttheader", "", |socket| {
        bytes(socket, &frame(SETTINGS, 0, 0, &[]));
    }),
    ("TtShut", "protocol: ttheader", "", shut),
];

pub(crate) fn rig() -> Rig {
    Rig::with(Wire::TtHeader, table(CALLEES), "", "")
}

/// Reads what comes and closes, as a server does that does not know the first bytes.
fn shut(mut socket: TcpStream) {
    let _ = socket.read(&mut [0; 4096]);
}

/// Says the bytes one after the other.
fn bytes(mut socket: TcpStream, all: &[u8]) {
    socket.set_nodelay(true).unwrap();
    let _ = socket.read(&mut [0; 4096]);
    for byte in all {
        let _ = socket.write_all(&[*byte]);
    }
    while socket.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {}
}

/// A stream to that callee. Its caller receives UNAVAILABLE and the text; the log and the admin
/// page have the text too. `answer` is what the callee does.
fn found(rig: &Rig, service: &str, answer: &str) {
    call(rig, service, UNAVAILABLE);
    let log = rig.hop.process.line(service, |line| {
        line["message"] == "backend speaks another protocol" && line["backend"] == *service
    });
    let what = log["what"].as_str().unwrap();
    assert!(what.starts_with(answer), "{what}");
    let end = rig.hop.process.line(service, |line| {
        line["backend"] == *service && line["text"].is_string()
    });
    let endpoint = log["endpoint"].as_str().unwrap();
    // A gRPC callee is found out before its first stream, so that the end is ripcord's own.
    let text = format!("backend {service} ({endpoint}) {what}");
    let told = end["text"].as_str().unwrap();
    assert_eq!(told.trim_start_matches("abuse: "), text, "{end}");
    let page = rig.hop.json("/config");
    let finding = &page["backends"][service]["other_protocol"];
    assert_eq!(finding["text"], what, "{finding}");
    assert_eq!(finding["endpoint"], endpoint, "{finding}");
    // Each attempt to open the stream finds it.
    let count = finding["count"].as_u64().unwrap();
    assert!((1..=3).contains(&count), "{finding}");
}

/// A stream to a callee that closes without an answer: it may speak another protocol, or be gone.
fn closed(rig: &Rig, service: &str) {
    call(rig, service, UNAVAILABLE);
    let end = rig.hop.process.line(service, |line| {
        line["backend"] == *service && line["text"].is_string()
    });
    let text = end["text"].as_str().unwrap();
    let said = "closed the connection without an answer; if it always does: does it speak";
    assert!(text.contains(said), "{text}");
    let page = rig.hop.json("/config");
    assert!(page["backends"][service]["other_protocol"].is_null());
}

const VIOLATIONS: &str = "ripcord_violations_total";
const GRPC_TLS: (&str, &str) = (VIOLATIONS, r#"side="outbound",wire="grpc",kind="tls""#);
const GRPC_HTTP1: (&str, &str) = (VIOLATIONS, r#"side="outbound",wire="grpc",kind="http1""#);
const GRPC_OTHER: (&str, &str) = (
    VIOLATIONS,
    r#"side="outbound",wire="grpc",kind="other_wire""#,
);
const TT_TLS: (&str, &str) = (VIOLATIONS, r#"side="outbound",wire="ttheader",kind="tls""#);
const TT_HTTP1: (&str, &str) = (
    VIOLATIONS,
    r#"side="outbound",wire="ttheader",kind="http1""#,
);
const TT_OTHER: (&str, &str) = (
    VIOLATIONS,
    r#"side="outbound",wire="ttheader",kind="other_wire""#,
);

pub(crate) const ROWS: &[Row] = &[
    Row {
        abuse: "a gRPC callee answers with a TLS alert: named",
        counted: GRPC_TLS,
        act: |rig| found(rig, "GrpcTls", "answers TLS, which ripcord does not speak"),
    },
    Row {
        abuse: "a gRPC callee speaks HTTP/1: named",
        counted: GRPC_HTTP1,
        act: |rig| found(rig, "GrpcHttp1", "answers HTTP/1; this backend's protocol"),
    },
    Row {
        abuse: "a gRPC callee speaks TTHeader: named, with what to set",
        counted: GRPC_OTHER,
        act: |rig| {
            let text = "answers TTHeader; this backend's protocol is grpc: set protocol: ttheader";
            found(rig, "GrpcTt", text);
        },
    },
    Row {
        abuse: "a gRPC callee reads and closes: said; not taken for another protocol",
        counted: ("", ""),
        act: |rig| closed(rig, "GrpcShut"),
    },
    Row {
        abuse: "a gRPC callee closes at once: the same",
        counted: ("", ""),
        act: |rig| closed(rig, "GrpcReset"),
    },
    Row {
        abuse: "a TTHeader callee answers with a TLS alert: named",
        counted: TT_TLS,
        act: |rig| found(rig, "TtTls", "answers TLS, which ripcord does not speak"),
    },
    Row {
        abuse: "a TTHeader callee speaks HTTP/1: named",
        counted: TT_HTTP1,
        act: |rig| found(rig, "TtHttp1", "answers HTTP/1; this backend's protocol"),
    },
    Row {
        abuse: "a TTHeader callee answers with a page, as HTTP/0.9: named as HTTP/1",
        counted: TT_HTTP1,
        act: |rig| found(rig, "TtPage", "answers HTTP/1; this backend's protocol"),
    },
    Row {
        abuse: "a TTHeader callee speaks HTTP/2: named, with what to set",
        counted: TT_OTHER,
        act: |rig| {
            let text = "answers HTTP/2; this backend's protocol is ttheader: set protocol: grpc";
            found(rig, "TtGrpc", text);
        },
    },
    Row {
        abuse: "a TTHeader callee says GOAWAY: the same",
        counted: TT_OTHER,
        act: |rig| found(rig, "TtGoaway", "answers HTTP/2; this backend's protocol"),
    },
    Row {
        abuse: "a TTHeader callee says SETTINGS one byte after another: the same",
        counted: TT_OTHER,
        act: |rig| found(rig, "TtBytes", "answers HTTP/2; this backend's protocol"),
    },
    Row {
        abuse: "a TTHeader callee reads and closes: said; not taken for another protocol",
        counted: ("", ""),
        act: |rig| closed(rig, "TtShut"),
    },
];
