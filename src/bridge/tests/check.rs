//! The check of messages: what passes is unchanged, and what does not pass ends both sides.

use super::*;
use crate::bridge::{Check, Decompress};

/// `{1: string}`.
fn message(text: &[u8]) -> Vec<u8> {
    let mut out = vec![11, 0, 1];
    out.extend((text.len() as u32).to_be_bytes());
    out.extend(text);
    out.push(0);
    out
}

struct Went {
    outcome: Outcome,
    caller: Remote,
    callee: Remote,
}

/// Both peers act before the stream is carried.
fn carry(early: Early, stages: Stages, does: impl Fn(&Remote, &Remote)) -> Went {
    let mut went = None;
    local(async || {
        let (mut inbound, caller) = memory_half(usize::MAX);
        let (mut outbound, callee) = memory_half(usize::MAX);
        does(&caller, &callee);
        let outcome = run(
            &mut inbound,
            &mut outbound,
            PreparedStream::new(early, stages, &StreamTimeouts::default(), None),
            NODE,
            &Switch::default(),
            |_, _| {},
        )
        .await;
        went = Some(Went {
            outcome: kept_nothing(outcome),
            caller,
            callee,
        });
    });
    went.unwrap()
}

fn checked() -> Stages {
    Stages {
        check: Some(Check::ThriftStruct),
        ..Stages::default()
    }
}

fn refused(went: &Went, kind: LocalEndKind, text: &str) {
    let Reason::Hop(hop) = &went.outcome.end.reason else {
        panic!("{:?}", went.outcome.end);
    };
    assert_eq!((hop.kind, &*hop.text), (kind, text));
    assert_eq!(went.caller.heard().ends.len(), 1);
    let heard = went.callee.heard();
    assert_eq!(heard.cancels.len(), 1);
    assert_eq!(heard.cancels[0].cause.code, 12004);
    assert_eq!(heard.cancels[0].cause.text, text);
    assert_eq!(heard.cancels[0].path.to_wire(), NODE);
}

#[test]
fn structs_pass_in_both_directions_and_each_is_counted() {
    let long = message(&[7; 70_000]);
    let went = carry(Early::default(), checked(), |caller, callee| {
        caller.sends(&message(b"a"));
        caller.sends(&message(b""));
        caller.does(Received::HalfClose);
        callee.does(Received::Head(ResponseHead::default()));
        callee.sends(&long);
        callee.does(Received::End(End::complete(Metadata::new())));
    });
    assert_eq!(went.outcome.end.reason, Reason::Complete);
    assert_eq!(went.callee.heard().messages, [message(b"a"), message(b"")]);
    assert_eq!(went.caller.heard().messages, [long]);
    assert_eq!(went.outcome.request.messages, 2);
}

#[test]
fn a_callers_bad_message_is_told_both_sides() {
    let went = carry(Early::default(), checked(), |caller, _| {
        caller.sends(&message(b"a"));
        caller.sends(b"\x0b\0\x01\0\0\0\x09");
    });
    let text = "the caller's message 2 is not a thrift struct: it ends too early, at byte 7 of 7";
    refused(&went, LocalEndKind::InvalidRequest, text);
}

#[test]
fn a_callees_bad_message_is_told_both_sides() {
    let went = carry(Early::default(), checked(), |_, callee| {
        callee.sends(b"\0\0");
    });
    let text =
        "the callee's message 1 is not a thrift struct: bytes follow the struct, at byte 1 of 2";
    refused(&went, LocalEndKind::InvalidResponse, text);
}

#[test]
fn what_the_caller_sends_after_the_callees_end_is_not_looked_at() {
    local(async || {
        let rig = start_with(checked(), 8, usize::MAX, StreamTimeouts::default());
        let answer = message(b"an answer that waits for the caller");
        rig.callee.sends(&answer);
        rig.callee
            .does(Received::End(End::complete(Metadata::new())));
        settled().await;
        rig.caller.sends(b"no struct");
        settled().await;
        assert_eq!(rig.caller.heard().released, 5 + 9);
        rig.caller.takes(usize::MAX / 2);
        let caller = rig.caller.clone();
        assert_eq!(rig.outcome().await.end.reason, Reason::Complete);
        assert_eq!(caller.heard().messages, [answer]);
    });
}

#[test]
fn what_came_while_the_backend_was_opened_is_looked_at() {
    let mut early = Early::default();
    early
        .messages
        .push_message(false, Bytes::from_static(b"{}"));
    let went = carry(early, checked(), |_, _| {});
    let text = "the caller's message 1 is not a thrift struct: it ends too early, at byte 1 of 2";
    refused(&went, LocalEndKind::InvalidRequest, text);
}

#[test]
fn a_compressed_message_is_inflated_first_or_refused() {
    use std::io::Write as _;
    let gzip = |bytes: &[u8]| {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(bytes).unwrap();
        Bytes::from(out.finish().unwrap())
    };
    let compressed = |bytes: &[u8]| {
        let mut run = MessageBatch::new();
        run.push_message(true, gzip(bytes));
        Received::Messages(run)
    };
    let inflating = || Stages {
        request: Some(Box::new(Decompress::new(Some("gzip"), 1 << 20).unwrap())),
        ..checked()
    };
    let good = carry(Early::default(), inflating(), |caller, callee| {
        caller.does(compressed(&message(b"a")));
        caller.does(Received::HalfClose);
        callee.does(Received::End(End::complete(Metadata::new())));
    });
    assert_eq!(good.outcome.end.reason, Reason::Complete);
    assert_eq!(good.callee.heard().messages, [message(b"a")]);
    let bad = carry(Early::default(), inflating(), |caller, _| {
        caller.does(compressed(b"\x01"));
    });
    let text = "the caller's message 1 is not a thrift struct: it ends too early, at byte 1 of 1";
    refused(&bad, LocalEndKind::InvalidRequest, text);
    let unannounced = carry(Early::default(), checked(), |caller, _| {
        caller.does(compressed(&message(b"a")));
    });
    let text = "the caller's message 1 is not a thrift struct: it is compressed, and no encoding was announced";
    refused(&unannounced, LocalEndKind::InvalidRequest, text);
}
