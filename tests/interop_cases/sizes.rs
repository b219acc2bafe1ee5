//! Ends near and over what peers accept. The status is always right. What is cut is cut in the
//! order of `stream::Part`, and marked.
//!
//! What the peers accept (from their sources, and asserted below by what their callers see):
//!
//! | peer | reads | over it |
//! |---|---|---|
//! | grpc-go 1.76, Kitex on gRPC | 16 MiB of headers | INTERNAL |
//! | grpcio 1.85 | 8 KiB of headers; up to 16 KiB it refuses some, over it all | RESOURCE_EXHAUSTED, INTERNAL |
//! | Kitex on TTHeader | strings of 65,535 bytes, blocks of 262,140, any text | it closes the connection |
//!
//! ripcord reads 256 KiB of a gRPC callee's head or end, every legal TTHeader block, and a text of
//! 256 KiB. It writes 7,936 bytes and 100 fields of a head or of trailers, 192 KiB of strings, and a
//! text of 65,535 bytes.

use serde_json::{Value, json};

use crate::kit::lab::{Callee, Caller, Ends, Pair, Seen, Via, client, lab, say};
use crate::kit::ripcord::Ripcord;
use crate::kit::scenario::{Kind, Scenario, assert_like, barrier, op, recv, scenario, send};
use crate::kit::trial::cases;
use crate::kit::tt::{Connection, Listener};

cases! {
    [Go] {
        a_kitex_caller_is_told_64_kib_of_text,
        a_kitex_caller_is_told_192_kib_of_trailers,
        an_end_that_is_not_read_is_an_internal_error,
    }
    pairs {
        a_grpc_caller_is_told_as_much_text_as_it_takes,
        a_grpc_caller_is_told_as_many_trailers_as_it_takes,
        a_grpc_caller_is_told_details_whole_or_not_at_all,
        the_status_crosses_a_ttheader_hop_beside_trailers_that_fill_it,
        a_long_end_leaves_the_streams_beside_it_alone,
        a_long_path_loses_names_in_its_middle_and_not_its_cancel,
        a_caller_that_says_too_much_is_told_so_and_keeps_its_other_streams,
    }
}

/// Bytes of a head or of trailers that a gRPC caller is sent, as HPACK counts them.
const TRAILERS: usize = 8 * 1024 - 256;

/// Bytes of a head without metadata: `:status` and the content type. A Trailers-Only block has them
/// too, and whether an end comes in one is the callee's choice.
const HEAD: usize = header(":status", 3) + header("content-type", "application/grpc+thrift".len());

/// What HPACK adds to every header's size.
const PER_HEADER: usize = 32;

/// Bytes of one trailer's value.
pub(super) const VALUE: usize = 1000;

pub(super) const GRPC_CALLERS: [Caller; 3] = [Caller::GrpcGo, Caller::KitexGrpc, Caller::Python];
pub(super) const GRPC_CALLEES: [Callee; 3] = [Callee::GrpcGo, Callee::KitexGrpc, Callee::Python];
pub(super) const VIAS: [Via; 3] = [Via::One, Via::TtHeader, Via::Grpc];

/// Without a hop whose caller is gRPC.
const TTHEADER: [Via; 2] = [Via::One, Via::TtHeader];

/// An end: FAILED_PRECONDITION with so many bytes of text, of details and of trailers.
fn end(text: usize, details: usize, trailers: usize) -> Scenario {
    let trailer = json!({ "op": "trailer", "n": trailers / VALUE, "size": VALUE });
    let status =
        json!({ "op": "return", "kind": "status", "code": 9, "size": text, "details": details });
    scenario(
        format!("{text} of text, {details} of details, {trailers} of trailers"),
        Kind::Bidi,
        [recv(1), trailer, status],
        [send(1, 5)],
    )
}

/// A stream that stands beside others on its connection, until the caller passes `end`.
fn beside() -> Scenario {
    let ops = [send(1, 5), recv(1), barrier("end"), op("close_send")];
    scenario("beside", Kind::Bidi, [op("echo")], ops)
}

/// The caller received the status of [`end`] with that text, all of it.
#[track_caller]
fn assert_told(seen: &Seen, text_bytes: usize) {
    let message = text(seen.pair, text_bytes);
    let expected = json!({ "kind": "error", "code": 9, "message": message });
    assert_like(&seen.what, &seen.caller, &expected);
}

/// What was cut of the caller's end, but for the exact native form and the names.
fn cut(caller: &Value) -> String {
    let named = |part: &&str| *part != "exact" && !part.starts_with("names=");
    mark(caller)
        .split(',')
        .filter(named)
        .collect::<Vec<_>>()
        .join(",")
}

/// Runs the end on every pair.
pub(super) fn run(
    ends: Ends,
    callers: &[Caller],
    vias: &[Via],
    callees: &[Callee],
    end: &Scenario,
    check: impl Fn(&Seen),
) {
    let lab = lab();
    let pairs = lab.pairs(ends, callers, vias, callees);
    let running: Vec<_> = pairs.into_iter().map(|p| lab.start_on(p, end)).collect();
    for running in running {
        check(&running.seen());
    }
}

/// The status' text as the callee sent it.
fn text(pair: Pair, bytes: usize) -> String {
    let suffix = match pair.callee {
        Callee::KitexGrpc => " [biz error]",
        Callee::Kitex | Callee::GrpcGo | Callee::Python => "",
    };
    format!("{}{suffix}", "m".repeat(bytes))
}

/// The mark that the caller was sent, if any.
fn mark(caller: &Value) -> &str {
    caller["trailer"]["ripcord-cut"][0]
        .as_str()
        .unwrap_or_default()
}

/// How many of the script's trailers arrived, each whole. Which ones is open: a Go map has no last
/// one.
fn trailers(seen: &Seen) -> usize {
    let all = seen.caller["trailer"].as_object();
    let got = all
        .into_iter()
        .flatten()
        .filter(|(key, _)| key.starts_with("t-"));
    let whole = |(_, value): &(&String, &Value)| value[0].as_str().map(str::len) == Some(VALUE);
    let (whole, other): (Vec<_>, Vec<_>) = got.partition(whole);
    assert_eq!(other.len(), 0, "{}", seen.what);
    whole.len()
}

/// A header's size as HPACK counts it.
const fn header(name: &str, value: usize) -> usize {
    name.len() + value + PER_HEADER
}

/// `grpc-status` and a `grpc-message` of so many bytes.
const fn status(message: usize) -> usize {
    header("grpc-status", 1) + header("grpc-message", message)
}

fn a_grpc_caller_is_told_as_much_text_as_it_takes(ends: Ends) {
    let most = TRAILERS - status(0);
    for bytes in [
        most - HEAD - 12,
        most,
        most + 1,
        9_000,
        20_000,
        60_000,
        70_000,
        200_000,
    ] {
        run(
            ends,
            &GRPC_CALLERS,
            &VIAS,
            &GRPC_CALLEES,
            &end(bytes, 0, 0),
            |seen| {
                let whole = text(seen.pair, bytes);
                assert_like(
                    &seen.what,
                    &seen.caller,
                    &json!({ "kind": "error", "code": 9 }),
                );
                let got = seen.caller["message"].as_str().unwrap();
                if whole.len() <= most - HEAD || (whole.len() <= most && got == whole) {
                    assert!(got == whole, "{}: {} bytes", seen.what, got.len());
                    assert_eq!(mark(&seen.caller), "", "{}", seen.what);
                    return;
                }
                let kept = got.strip_suffix(" ...[cut]").unwrap_or_default();
                assert!(whole.starts_with(kept), "{}: {got}", seen.what);
                assert_eq!(mark(&seen.caller), "text", "{}", seen.what);
                let block = status(got.len()) + header("ripcord-cut", "text".len());
                assert!(
                    (TRAILERS - HEAD - 16..=TRAILERS).contains(&block),
                    "{}: {block}",
                    seen.what
                );
            },
        );
    }
}

fn a_grpc_caller_is_told_as_many_trailers_as_it_takes(ends: Ends) {
    for bytes in [7_000, 9_000, 20_000, 60_000, 70_000, 200_000] {
        run(
            ends,
            &GRPC_CALLERS,
            &VIAS,
            &GRPC_CALLEES,
            &end(10, 0, bytes),
            |seen| {
                assert_told(seen, 10);
                // Seven are 7,266 bytes, eight too many.
                assert_eq!(trailers(seen), 7, "{}", seen.what);
                let expected = if bytes > 7_000 { "trailers" } else { "" };
                assert_eq!(cut(&seen.caller), expected, "{}", seen.what);
            },
        );
    }
}

fn a_grpc_caller_is_told_details_whole_or_not_at_all(ends: Ends) {
    let callees = [Callee::GrpcGo, Callee::KitexGrpc];
    for bytes in [5_000, 6_500, 14_000, 45_000, 60_000, 150_000] {
        // Trailers go before details, and these leave no room for anything else.
        for with in [0, 3_000] {
            run(
                ends,
                &GRPC_CALLERS,
                &VIAS,
                &callees,
                &end(10, bytes, with),
                |seen| {
                    assert_told(seen, 10);
                    let cut = cut(&seen.caller);
                    let whole = seen.caller["trailer"]["grpc-status-details-bin"].is_array()
                        || seen.caller["details"].is_array();
                    let fits = bytes == 5_000;
                    // As base64 too long for a string: gone before there is anything to make room
                    // for.
                    let early = seen.pair.via == Via::TtHeader && bytes > 49_000;
                    let room = with == 0 || early;
                    assert_eq!(whole, fits, "{}: {cut}", seen.what);
                    let expected = match (fits, room) {
                        (true, true) => "",
                        (true, false) => "trailers",
                        (false, true) => "details",
                        (false, false) => "trailers,details",
                    };
                    assert_eq!(cut, expected, "{}", seen.what);
                },
            );
        }
    }
}

fn a_kitex_caller_is_told_64_kib_of_text() {
    let prefix = |pair: Pair| match pair.callee {
        Callee::Kitex => "biz error: rpc error: code = 9 desc = ",
        Callee::KitexGrpc | Callee::GrpcGo | Callee::Python => {
            "rpc error: code = FailedPrecondition desc = "
        }
    };
    let callees = [Callee::Kitex, Callee::KitexGrpc, Callee::GrpcGo];
    let most = usize::from(u16::MAX);
    for bytes in [60_000, most - 38, most - 37, 70_000, 200_000] {
        run(
            Ends::Go,
            &[Caller::Mux],
            &TTHEADER,
            &callees,
            &end(bytes, 0, 0),
            |seen| {
                let whole = format!("{}{}", prefix(seen.pair), text(seen.pair, bytes));
                let shown = "[ttstream error, code=12001] [client-side stream] ";
                let got = seen.caller["err"].as_str().unwrap();
                let got = got.strip_prefix(shown).unwrap_or(got);
                if whole.len() <= most {
                    assert!(got == whole, "{}: {} bytes", seen.what, got.len());
                    return;
                }
                assert_eq!(got.len(), most, "{}", seen.what);
                let kept = got.strip_suffix(" ...[cut]").unwrap_or_default();
                assert!(
                    whole.starts_with(kept) && kept.len() > 60_000,
                    "{}",
                    seen.what
                );
            },
        );
    }
}

fn a_kitex_caller_is_told_192_kib_of_trailers() {
    let callees = [Callee::Kitex, Callee::KitexGrpc, Callee::GrpcGo];
    for bytes in [60_000, 70_000, 180_000, 230_000] {
        run(
            Ends::Go,
            &[Caller::Mux],
            &TTHEADER,
            &callees,
            &end(10, 0, bytes),
            |seen| {
                let shown = format!("~desc = {}", text(seen.pair, 10));
                assert_like(
                    &seen.what,
                    &seen.caller,
                    &json!({ "kind": "error", "err": shown }),
                );
                let got = trailers(seen);
                let cut: Vec<_> = mark(&seen.caller).split(',').collect();
                if bytes < 190_000 {
                    assert_eq!(got, bytes / VALUE, "{}: {cut:?}", seen.what);
                    assert!(!cut.contains(&"trailers"), "{}: {cut:?}", seen.what);
                } else {
                    assert!((190..=195).contains(&got), "{}: {got}", seen.what);
                    assert!(cut.contains(&"trailers"), "{}: {cut:?}", seen.what);
                }
            },
        );
    }
}

/// The pack of what strings cannot hold is cut first, and no status goes with it.
fn the_status_crosses_a_ttheader_hop_beside_trailers_that_fill_it(ends: Ends) {
    run(
        ends,
        &GRPC_CALLERS,
        &[Via::TtHeader],
        &GRPC_CALLEES,
        &end(10, 0, 230_000),
        |seen| {
            assert_told(seen, 10);
            assert!(mark(&seen.caller).contains("trailers"), "{}", seen.what);
        },
    );
}

/// grpcio sends what it likes, whatever limit its peer announced. The other streams of the
/// connection must not suffer from it.
fn a_long_end_leaves_the_streams_beside_it_alone(ends: Ends) {
    let lab = lab();
    let beside = beside();
    for pair in lab.pairs(ends, &GRPC_CALLERS, &[Via::One], &GRPC_CALLEES) {
        let others = lab.start_on(pair, &beside);
        others.started();
        for long in [end(250_000, 0, 0), end(10, 0, 240_000)] {
            let seen = lab.start_on(pair, &long).seen();
            assert_like(
                &seen.what,
                &seen.caller,
                &json!({ "kind": "error", "code": 9 }),
            );
        }
        others.caller_passes("end");
        let seen = others.seen();
        assert_like(
            &seen.what,
            &seen.caller,
            &json!({ "kind": "ok", "recv": 1 }),
        );
    }
}

/// More than ripcord reads: grpc-go and Kitex reset the stream instead of saying their status.
fn an_end_that_is_not_read_is_an_internal_error() {
    let callers = [Caller::GrpcGo, Caller::KitexGrpc];
    let callees = [Callee::GrpcGo, Callee::KitexGrpc];
    for long in [end(300_000, 0, 0), end(10, 0, 300_000)] {
        run(Ends::Go, &callers, &[Via::One], &callees, &long, |seen| {
            let text = "stream terminated by RST_STREAM with error code: INTERNAL_ERROR";
            assert_like(
                &seen.what,
                &seen.caller,
                &json!({ "kind": "error", "code": 13, "message": text }),
            );
        });
    }
    // Kitex has no limit for a text on TTHeader.
    let callers = [Caller::GrpcGo, Caller::Mux];
    run(
        Ends::Go,
        &callers,
        &[Via::One],
        &[Callee::Kitex],
        &end(300_000, 0, 0),
        |seen| {
            let expected = if seen.pair.caller.is_ttheader() {
                json!({ "code": 12011, "err": "~is over the limit of 262144" })
            } else {
                json!({ "code": 8, "message": "~is over the limit of 262144" })
            };
            assert_like(&seen.what, &seen.caller, &expected);
        },
    );
}

/// A cancel's text and path stand in the message, in the trailers and in the details.
fn a_long_path_loses_names_in_its_middle_and_not_its_cancel(ends: Ends) {
    let listener = Listener::start();
    let hop = Ripcord::before("ttheader", &listener.address);
    let names: Vec<_> = (0..60).map(|i| format!("{i:0>100}")).collect();
    let (mut wire, mut opened) = (None, 0);
    let callers = [
        Caller::Mux,
        Caller::KitexGrpc,
        Caller::GrpcGo,
        Caller::Python,
    ];
    for caller in ends.of(&callers) {
        let client = client(caller, &hop.address);
        for (bytes, cut) in [(10, "path"), (50_000, "path,text")] {
            let what = format!("{caller:?}, {bytes} bytes of text");
            let ops = [send(1, 3), json!({ "op": "recv" })];
            let id = say(&client, &scenario("long path", Kind::Bidi, [], ops));
            let wire: &Connection = wire.get_or_insert_with(|| listener.accept());
            wire.stream(opened)
                .rst(12007, &"m".repeat(bytes), &names.join(","));
            opened += 1;
            let seen = client.event("result", &id);
            let text = if caller.is_ttheader() {
                "err"
            } else {
                "message"
            };
            let text = seen[text].as_str().unwrap();
            if caller.is_ttheader() {
                let path = format!("[canceled path: {} -> hop] ", names.join(" -> "));
                assert!(text.contains(&path), "{what}: {text}");
                assert!(text.ends_with(&"m".repeat(bytes)), "{what}: {text}");
                assert_eq!(seen["code"], 12007, "{what}");
                continue;
            }
            assert_like(
                &what,
                &seen,
                &json!({ "kind": "error", "code": 1, "trailer": { "ripcord-code": ["12007"] } }),
            );
            assert_eq!(mark(&seen), cut, "{what}");
            let path = seen["trailer"]["ripcord-path"][0].as_str().unwrap();
            let left: Vec<_> = path.split(',').collect();
            assert_eq!(left[..2], [&names[0], "..."], "{what}");
            assert_eq!(left[left.len() - 2..], [&names[59], "hop"], "{what}");
            assert!(text.contains(&left.join(" -> ")), "{what}: {text}");
            let marked = text.ends_with(" ...[cut]");
            assert_eq!(marked, cut.contains("text"), "{what}: {text}");
        }
    }
}

/// A request with so many bytes of metadata, and its script.
pub(super) fn request(bytes: usize) -> Scenario {
    let metadata: serde_json::Map<_, _> = (0..bytes / VALUE)
        .map(|i| (format!("m-{i:04}"), json!("x".repeat(VALUE))))
        .collect();
    let ops = [send(1, 5), recv(1), op("close_send")];
    scenario(
        format!("{bytes} of metadata"),
        Kind::Bidi,
        [op("echo")],
        ops,
    )
    .with("metadata", Value::Object(metadata))
}

/// `metadata_size` is 16 KiB. Four times as much is read, so that too much can be answered
/// properly. A TTHeader caller may send 64 KiB.
fn a_caller_that_says_too_much_is_told_so_and_keeps_its_other_streams(ends: Ends) {
    let lab = lab();
    let beside = beside();
    let ok = json!({ "kind": "ok", "recv": 1 });
    let mut callers = GRPC_CALLERS.to_vec();
    callers.push(Caller::Mux);
    for pair in lab.pairs(ends, &callers, &[Via::One], &[Callee::GrpcGo]) {
        let others = lab.start_on(pair, &beside);
        others.started();
        for bytes in [15_000, 17_000, 40_000, 60_000, 70_000, 100_000] {
            let running = lab.start_on(pair, &request(bytes));
            let what = running.what.clone();
            let seen = running.result();
            let too_much = json!({
                "kind": "error", "code": 8, "message": "~request metadata of ",
                "trailer": { "ripcord-end": ["over_limit"] },
            });
            let expected = match (pair.caller, bytes) {
                (_, 15_000) => ok.clone(),
                (Caller::Mux, ..=60_000) => ok.clone(),
                (Caller::Mux, _) => json!({ "code": 12004, "err": "~is over the limit" }),
                (_, ..=60_000) => too_much,
                // It does not send that much.
                (Caller::GrpcGo, _) => {
                    json!({ "code": 13, "message": "~(65536 bytes) set by server" })
                }
                // HTTP status 431, or a reset.
                _ => json!({ "kind": "error" }),
            };
            assert_like(&what, &seen, &expected);
        }
        others.caller_passes("end");
        let seen = others.seen();
        assert_like(&seen.what, &seen.caller, &ok);
    }
}
