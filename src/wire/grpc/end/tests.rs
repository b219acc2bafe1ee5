//! Rows and edges of gRPC's table of ends that the golden table does not show. Knows no connection
//! and no other wire.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::stream::{Exception, Metadata, Scope};
use crate::wire::grpc::limit::{MAX_FIELDS, MAX_HEAD};
use crate::wire::grpc::status::{decode_details, decode_message};

fn get(trailers: &HeaderMap, name: &str) -> String {
    let raw = trailers.get(name).map(|value| value.as_bytes());
    raw.map(decode_message).unwrap_or_default()
}

fn size(trailers: &HeaderMap) -> usize {
    trailers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 32)
        .sum()
}

fn rst(text: &str, path: &str) -> End {
    End::canceled(
        Initiator::Callee,
        Cancel {
            cause: Cause {
                code: 12007,
                text: text.into(),
            },
            path: Path::parse(path),
            class: Class::ByCallee,
            signal: CARRIED_RST,
            status: None,
        },
    )
}

#[test]
fn a_cancel_prints_as_kitex_prints_it() {
    let trailers = to_caller(&rst("let go", "A,B"), "hop", true, Wording::Kitex);
    assert_eq!(
        get(&trailers, "grpc-message"),
        "[ttstream error, code=12007] [client-side stream] [canceled path: A -> B] let go"
    );
    assert_eq!(get(&trailers, "ripcord-code"), "12007");
    assert_eq!(get(&trailers, "ripcord-path"), "A,B");
    let raw = status::decode_bin(trailers[keys::DETAILS].as_bytes()).unwrap();
    let (said, info) = decode_details(&raw.into()).unwrap();
    assert_eq!(said.code, 1);
    assert_eq!(said.message, get(&trailers, "grpc-message"));
    let info = info.unwrap();
    assert_eq!(
        (info.reason.as_str(), info.domain.as_str()),
        ("BIZ_CANCELED", ERROR_DOMAIN)
    );
    let pairs: Vec<_> = info
        .metadata
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    assert_eq!(
        pairs,
        [
            ("code", "12007"),
            ("class", "12009"),
            ("path", "A,B"),
            ("origin", "A")
        ]
    );
    let stripped = to_caller(&rst("let go", "A,B"), "hop", false, Wording::Kitex);
    assert!(
        stripped
            .keys()
            .all(|name| !name.as_str().starts_with("ripcord-"))
    );
}

#[test]
fn an_empty_text_shows_a_default_and_comes_back_empty() {
    let trailers = to_caller(&rst("", "A"), "hop", true, Wording::Kitex);
    assert!(get(&trailers, "grpc-message").ends_with("unknown exception type [12007]"));
    assert_eq!(from_trailers(200, &trailers), rst("", "A"));
}

#[test]
fn the_specification_decides_where_the_callee_said_nothing() {
    for (http, code) in [(200, 2), (404, 12), (503, 14), (431, 13), (418, 2)] {
        let end = from_trailers(http, &HeaderMap::new());
        assert!(
            matches!(&end.reason, Reason::Failed(Failure::Status(s)) if s.code == code),
            "{http}: {end:?}"
        );
        assert_eq!(end.processed, Processed::Maybe);
    }
    for raw in ["x", "-1", "4294967295", "99999999999"] {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", raw.parse().unwrap());
        let end = from_trailers(200, &trailers);
        assert!(
            matches!(&end.reason, Reason::Failed(Failure::Status(s)) if s.code == 2),
            "{raw}"
        );
    }
}

#[test]
fn an_answer_that_is_not_grpc_is_named() {
    let html =
        "the callee answered HTTP 502 with text/html, which is not gRPC (is it an HTTP proxy?)";
    for (http, kind, code, text) in [
        (502, Some("text/html"), 14, html),
        (502, None, 14, "the callee answered HTTP 502"),
        (
            404,
            Some("application/grpc"),
            12,
            "the callee answered HTTP 404",
        ),
        (
            200,
            Some("application/json"),
            2,
            "the callee answered HTTP 200 with application/json, which is not gRPC (is it an HTTP proxy?)",
        ),
        (
            200,
            None,
            2,
            "server closed the stream without sending grpc-status",
        ),
    ] {
        let mut headers = HeaderMap::new();
        if let Some(kind) = kind {
            headers.insert("content-type", kind.parse().unwrap());
        }
        let Reason::Failed(Failure::Status(status)) = from_trailers(http, &headers).reason else {
            panic!("{http} {kind:?}");
        };
        assert_eq!((status.code, status.message.as_str()), (code, text));
    }
}

#[test]
fn a_half_written_message_ends_in_a_reset() {
    let let_go = rst("", "");
    let hop = |kind| End::hop(kind, "");
    // grpc-go opens a stream again that is refused before its application has a message.
    for (end, plain, first, to_ripcord) in [
        (&let_go, 8, 8, 12007),
        (&hop(LocalEndKind::Deadline), 8, 8, 12015),
        // Its cause, 12011, would be CANCELLED.
        (&hop(LocalEndKind::SlowReceiver), 11, 11, 11),
        (&hop(LocalEndKind::BackendLost), 7, 2, 12013),
        (&hop(LocalEndKind::DrainOver), 7, 2, 12013),
        (&hop(LocalEndKind::Panic), 2, 2, 2),
    ] {
        assert_eq!(reset_to_caller(end, "hop", false, true).0, plain);
        assert_eq!(reset_to_caller(end, "hop", false, false).0, first);
        assert_eq!(reset_to_caller(end, "hop", true, true).0, to_ripcord);
        let read = from_ripcord_reset(ResetCode(to_ripcord));
        assert_eq!(read.is_some(), to_ripcord > 12_000);
        if let Some(Reason::Canceled(cancel)) = read.map(|end| end.reason) {
            let rendered = RenderedStatus::of(&end.reason, "hop", Wording::Kitex)
                .status
                .code;
            assert_eq!(status_of_cause(cancel.cause.code).number(), rendered);
        }
    }
}

#[test]
fn what_stands_beside_a_reset_counts_only_if_it_agrees() {
    let noted = |code, reason| {
        let cause = Cause {
            code,
            text: "why".into(),
        };
        from_detailed_reset(ResetCode(reason), cause, Path::parse("a,b"))
    };
    let Some(End {
        reason: Reason::Canceled(cancel),
        by: Initiator::Caller,
        ..
    }) = noted(12007, 12007)
    else {
        panic!()
    };
    assert_eq!(
        (cancel.cause.code, cancel.cause.text.as_str()),
        (12007, "why")
    );
    assert_eq!(cancel.path.names(), ["a", "b"]);
    // Causes that no reset code can be.
    for code in [1204, 8, 0, -5, i32::MAX] {
        assert!(noted(code, 8).is_some());
    }
    assert_eq!(noted(12007, 8), None);
    assert_eq!(noted(8, 12007), None);
    assert_eq!(noted(12015, 12007), None);
}

#[test]
fn a_hops_status_is_kept_beside_its_cause_only_where_the_table_differs() {
    let beside: Vec<_> = LocalEndKind::ALL
        .into_iter()
        .filter(|kind| !kind.before_backend() && own_status_beside(*kind).is_some())
        .collect();
    assert_eq!(
        beside,
        [
            LocalEndKind::SlowReceiver,
            LocalEndKind::MessageTooLarge,
            LocalEndKind::Undecodable,
            LocalEndKind::BadRequest,
            LocalEndKind::InvalidRequest,
            LocalEndKind::InvalidResponse,
            LocalEndKind::UntranslatableRequest,
            LocalEndKind::UntranslatableResponse,
            LocalEndKind::Panic,
        ]
    );
}

/// A field of the caller's message is named in a `BadRequest`, which a hop in between passes on.
#[test]
fn a_field_of_the_callers_stands_in_the_details() {
    let mut end = End::hop(LocalEndKind::UntranslatableRequest, "seq: too large");
    if let Reason::Hop(hop) = &mut end.reason {
        hop.field = Some("lines[2].seq".into());
    }
    for wording in [Wording::Kitex, Wording::Plain] {
        let first = to_caller(&end, "hop", true, wording);
        assert_eq!(get(&first, "grpc-status"), "3");
        let read = from_trailers(200, &first);
        assert!(matches!(read.reason, Reason::Canceled(_)), "{read:?}");
        let second = to_caller(&read, "next", true, wording);
        for trailers in [&first, &second] {
            let raw = status::decode_bin(trailers[keys::DETAILS].as_bytes()).unwrap();
            let raw = Bytes::from(raw);
            let bad = BadField::decode(&raw).unwrap();
            assert_eq!(bad, BadField::new("lines[2].seq", "seq: too large"));
            let (said, info) = decode_details(&raw).unwrap();
            assert_eq!(
                (said.code, info.unwrap().reason.as_str()),
                (3, "ILLEGAL_FRAME")
            );
        }
    }
}

#[test]
fn trailers_are_cut_in_order_and_marked() {
    let mut extra = Metadata::new();
    extra.push(Scope::Plain, "keep", "1");
    extra.push(Scope::Plain, "Big", "x".repeat(6000));
    extra.push(Scope::Plain, "last", "y".repeat(2000));
    let details = status::encode_details(5, &"m".repeat(450), &status::ErrorInfo::default());
    let end = End::failed(
        Failure::Status(Status {
            code: 5,
            message: "gone".into(),
            details: Some(details.clone()),
        }),
        extra,
    );
    let trailers = to_caller(&end, "hop", true, Wording::Kitex);
    assert!(size(&trailers) <= MAX_HEAD);
    assert_eq!(get(&trailers, "ripcord-cut"), "trailers,names=last");
    assert!(trailers.contains_key("big") && !trailers.contains_key("last"));
    let read = from_trailers(200, &trailers);
    assert_eq!(read.reason, end.reason);
    let keys: Vec<_> = read.trailers.iter().map(|e| &*e.key).collect();
    assert_eq!(keys, [&b"keep"[..], b"Big"], "by its name alone");
    let next = to_caller(&read, "hop", true, Wording::Kitex);
    assert!(size(&next) <= MAX_HEAD);
    // What an earlier hop has cut is still named.
    assert_eq!(get(&next, "ripcord-cut"), "trailers,names=last");
}

#[test]
fn text_details_and_path_are_cut_to_what_a_peer_takes() {
    let names: Vec<_> = (0..64).map(|i| format!("{i:0>100}")).collect();
    for text in ["x".repeat(100_000), "é".repeat(50_000), " ".repeat(9000)] {
        for end in [
            rst(&text, &names.join(",")),
            rst(&text, "A"),
            End::hop(LocalEndKind::NoRoute, text.clone()),
            End::failed(
                Failure::Exception(Exception {
                    type_id: 6,
                    text: text.clone(),
                }),
                Metadata::new(),
            ),
            End::failed(
                Failure::Business(Business {
                    code: 4,
                    text: text.clone(),
                    extra: Some(Bytes::from(format!("{{\"k\":\"{}\"}}", "v".repeat(9000)))),
                    status: None,
                }),
                Metadata::new(),
            ),
        ] {
            let trailers = to_caller(&end, "hop", true, Wording::Kitex);
            assert!(size(&trailers) <= MAX_HEAD, "{}", size(&trailers));
            assert!(get(&trailers, "grpc-message").ends_with(" ...[cut]"));
            assert!(get(&trailers, "ripcord-cut").ends_with("text"));
            // Another ripcord still knows what it was.
            let read = from_trailers(200, &trailers);
            assert_eq!(
                std::mem::discriminant(&read.reason),
                std::mem::discriminant(&end.reason)
            );
            if let Reason::Canceled(cancel) = &read.reason {
                assert_eq!(cancel.cause.code, 12007);
            }
            assert!(size(&to_caller(&end, "hop", false, Wording::Kitex)) <= MAX_HEAD);
        }
    }
}

#[test]
fn trailers_have_at_most_a_hundred_fields() {
    let mut many = Metadata::new();
    for i in 0..150 {
        many.push(Scope::Plain, format!("k-{i}"), "v");
    }
    many.push(Scope::Plain, "grpc-retry-pushback-ms", "5");
    let trailers = to_caller(&End::complete(many), "hop", true, Wording::Kitex);
    assert_eq!(trailers.len(), MAX_FIELDS);
    assert_eq!(get(&trailers, "grpc-status"), "0");
    assert_eq!(get(&trailers, "grpc-retry-pushback-ms"), "5");
    assert!(get(&trailers, "ripcord-cut").starts_with("trailers,names=k-97;"));
}

/// The text is cut in the message and in the details, and the ErrorInfo stays.
#[test]
fn a_long_text_leaves_the_error_info_whole() {
    for bytes in [3_000, 3_500, 7_000, 50_000] {
        for end in [
            rst(&"a text ".repeat(bytes / 7), "A,B"),
            rst(&"é%".repeat(bytes / 3), "A,B"),
            End::hop(LocalEndKind::Unreachable, "x".repeat(bytes)),
        ] {
            let trailers = to_caller(&end, "hop", true, Wording::Plain);
            let used = size(&trailers);
            assert!(used <= MAX_HEAD, "{used}");
            let raw = status::decode_bin(trailers[keys::DETAILS].as_bytes()).unwrap();
            let (said, info) = decode_details(&raw.into()).unwrap();
            let text = get(&trailers, "grpc-message");
            assert_eq!(said.message, text);
            assert_eq!(info.unwrap().domain, ERROR_DOMAIN);
            let cut = get(&trailers, "ripcord-cut");
            assert_eq!(cut == "text", text.ends_with(" ...[cut]"), "{cut}: {text}");
            assert!(
                cut.is_empty() || used > MAX_HEAD - 100,
                "{used} bytes, {cut}"
            );
        }
    }
}

/// Details that a peer's library would take for another end.
#[test]
fn false_details_are_dropped_and_named() {
    let info = status::ErrorInfo::default();
    let of = |code| status::encode_details(code, "m", &info);
    let bad_text = Bytes::from_static(&[8, 5, 0x12, 1, 0xff]);
    for (details, kept) in [
        (of(5), true),
        (Bytes::from_static(&[8, 5]), true),
        (of(0), false),
        (of(13), false),
        (Bytes::new(), false),
        (Bytes::from_static(b"no protobuf"), false),
        (of(5).slice(..9), false),
        (bad_text, false),
    ] {
        let raw = status::encode_bin(&details);
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "5".parse().unwrap());
        trailers.insert(keys::DETAILS, raw.parse().unwrap());
        // As it comes from a gRPC callee, and over another wire.
        let read = from_trailers(200, &trailers);
        let carried = End::failed(
            Failure::Status(Status {
                code: 5,
                message: String::new(),
                details: Some(details.clone()),
            }),
            Metadata::new(),
        );
        assert_eq!(read.cut.to_string(), if kept { "" } else { "details" });
        for end in [&read, &carried] {
            let out = to_caller(end, "hop", true, Wording::Kitex);
            assert_eq!(get(&out, "ripcord-cut"), if kept { "" } else { "details" });
            assert_eq!(out.contains_key(keys::DETAILS), kept, "{details:?}");
            assert_eq!(get(&out, "grpc-status"), "5");
        }
    }
    for (status, raw, cut) in [("5", "no base64!", "details"), ("0", "CAU", "details")] {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", status.parse().unwrap());
        trailers.insert(keys::DETAILS, raw.parse().unwrap());
        let out = to_caller(&from_trailers(200, &trailers), "hop", true, Wording::Kitex);
        assert_eq!(get(&out, "ripcord-cut"), cut);
        assert!(!out.contains_key(keys::DETAILS));
    }
}

/// An entry's key in one of the forms that HTTP/2 keeps, changes or cannot write.
fn key(form: u8, number: u8) -> String {
    match form {
        0 | 1 => format!("key{number}"),
        2 => format!("Key{number}"),
        3 => format!("key{number}-bin"),
        _ => format!("ke y{number}"),
    }
}

fn sorted(metadata: &Metadata) -> Vec<(&[u8], &[u8])> {
    let mut all: Vec<_> = metadata.iter().map(|e| (&*e.key, &*e.value)).collect();
    all.sort_unstable();
    all
}

proptest! {
    /// A caller that announces a small limit receives no more, and what is lost is named.
    #[test]
    fn whatever_an_end_has_it_fits_and_what_is_lost_is_named(
        entries in vec((0u8..5, 0u8..12, any::<bool>(), prop_oneof![0usize..50, 0usize..4000]), 0..12),
        malformed in vec(0usize..5000, 0..3),
        text in 0usize..9000,
        kind in 0u8..4,
        announced in prop_oneof![Just(7936u32), 300u32..9000],
    ) {
        let mut trailers = Metadata::new();
        for (form, number, feed, len) in entries {
            let value = format!("{}{}", if feed { "\n" } else { "" }, "x".repeat(len));
            trailers.push(Scope::Plain, key(form, number), value);
        }
        for len in malformed {
            trailers.push_malformed("bad-bin", "!".repeat(len));
        }
        let text = "t".repeat(text);
        let mut end = match kind {
            0 => End::complete(Metadata::new()),
            1 => rst(&text, "A,B"),
            2 => End::hop(LocalEndKind::Unreachable, text),
            _ => End::failed(Failure::Exception(Exception { type_id: 6, text }), Metadata::new()),
        };
        end.trailers = trailers;
        let limit = BlockLimit::of_caller(MAX_HEAD, Some(announced), false);
        let out = to_caller_within(&end, "hop", true, Wording::Plain, limit);
        prop_assert!(size(&out) <= announced as usize, "{announced}: {out:?}");
        let (read, cut) = (from_trailers(200, &out), get(&out, "ripcord-cut"));
        let parts = |metadata: &Metadata| metadata.malformed().len();
        // Below that even the mark has no room.
        if announced >= 700 {
            let same = sorted(&read.trailers) == sorted(&end.trailers);
            prop_assert!(same || cut.contains("exact") || cut.contains("trailers"), "{cut}");
            prop_assert!(!same || !cut.contains("exact"), "{cut}");
            let same = parts(&read.trailers) == parts(&end.trailers);
            prop_assert!(same || cut.contains("trailers"), "{cut}");
        }
    }
}
