//! What first bytes mean, from callers and from callees.

use super::*;

const GRPC: &Wire = &grpc::WIRE;
const TTHEADER: &Wire = &ttheader::WIRE;

const SETTINGS: &[u8] = &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100];
const GOAWAY: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0];
const FRAME: &[u8] = &[0, 0, 0, 60, 0x10, 0, 0, 2, 0, 0, 0, 1];
const ALERT: &[u8] = &[0x15, 3, 1, 0, 2, 2, 70];
const HTTP1: &[u8] = b"HTTP/1.0 400 Bad Request\r\n";

#[test]
fn a_callee_is_told_by_what_it_says_first() {
    for (wanted, first, what) in [
        (GRPC, SETTINGS, Answered::Wanted),
        (GRPC, GOAWAY, Answered::Wanted),
        (GRPC, FRAME, Answered::Other(TTHEADER)),
        (GRPC, ALERT, Answered::Tls),
        (GRPC, HTTP1, Answered::Http1),
        (GRPC, b"<!DOCTYPE HTML>", Answered::Http1),
        (TTHEADER, b"<!DOCTYPE HTML>", Answered::Http1),
        (TTHEADER, b"<html>\r\n<head>", Answered::Http1),
        (GRPC, b"SSH-2.0-OpenSSH", Answered::Wanted),
        (TTHEADER, FRAME, Answered::Wanted),
        (TTHEADER, SETTINGS, Answered::Other(GRPC)),
        (TTHEADER, GOAWAY, Answered::Other(GRPC)),
        (TTHEADER, ALERT, Answered::Tls),
        (TTHEADER, HTTP1, Answered::Http1),
    ] {
        assert_eq!(answered(wanted, first, false), what, "{wanted} {first:x?}");
        assert_eq!(answered(wanted, first, true), what, "{wanted} {first:x?}");
    }
}

#[test]
fn few_bytes_tell_when_no_more_come() {
    for first in [&SETTINGS[..7], &FRAME[..7], &ALERT[..6], &HTTP1[..7], b""] {
        assert_eq!(answered(GRPC, first, false), Answered::More, "{first:x?}");
    }
    assert_eq!(answered(TTHEADER, &ALERT[..2], true), Answered::Tls);
    assert_eq!(answered(TTHEADER, &HTTP1[..7], true), Answered::Http1);
    assert_eq!(answered(TTHEADER, &SETTINGS[..7], true), Answered::Wanted);
    assert_eq!(answered(TTHEADER, b"", true), Answered::Nothing);
}

/// A frame's length can be any number, also one that looks like TLS.
#[test]
fn a_long_frame_of_the_wanted_wire_is_no_tls() {
    let long = [0x16, 3, 1, 0, 0x10, 0, 0, 2, 0, 0, 0, 1];
    assert_eq!(answered(TTHEADER, &long, false), Answered::Wanted);
}

#[test]
fn a_caller_of_http1_is_offered_no_upgrade() {
    let answer = http1_answer();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 505 "), "{head}");
    assert!(!head.to_ascii_lowercase().contains("upgrade:"), "{head}");
    assert!(
        head.ends_with(&format!("content-length: {}", body.len())),
        "{head}"
    );
    assert!(body.contains("gRPC client, without TLS"), "{body}");
}
