//! Everything that ripcord, Kitex and gRPC libraries print is understood.

use super::labels::LABELS;
use super::*;
use crate::stream::{CancelSignal, Initiator, LocalEndKind, Processed, TtCode, TypeId};
use crate::telemetry::names;
use crate::wire::grpc::status::{Code, ResetCode, reset_name};
use crate::wire::ttheader::end::{RST, TRAILER};

/// The titles under which `asked` is explained, in order.
fn titles(asked: &str) -> Vec<String> {
    let text = explain(asked).unwrap_or_else(|error| panic!("{asked}: {error}"));
    let lines: Vec<&str> = text.lines().collect();
    let title = |pair: &&[&str]| pair[1].starts_with("  means:   ");
    lines
        .windows(2)
        .filter(title)
        .map(|pair| pair[0].to_owned())
        .collect()
}

#[track_caller]
fn assert_titles(asked: &str, wanted: &[&str]) {
    let titles = titles(asked);
    let all =
        titles.len() == wanted.len() && titles.iter().zip(wanted).all(|(is, w)| is.starts_with(w));
    assert!(all, "{asked}: {titles:#?}");
}

/// The fact under `heading` of a pasted line.
fn fact(line: &str, heading: &str) -> Option<String> {
    fact_if_any(&explain(line).unwrap(), heading)
}

/// The same of what was said.
fn fact_if_any(text: &str, heading: &str) -> Option<String> {
    let heading = format!("  {heading}:");
    let line = text.lines().find(|l| l.starts_with(&heading))?;
    Some(line[heading.len()..].trim().to_owned())
}

#[test]
fn every_spelling_finds_its_subject() {
    for (code, title) in [
        ("12007", "ttstream code 12007"),
        ("grpc:5", "gRPC status 5 NOT_FOUND"),
        ("NotFound", "gRPC status 5"),
        ("NOT_FOUND", "gRPC status 5"),
        ("not found", "gRPC status 5"),
        ("status_not_found", "gRPC status 5"),
        ("CANCELLED", "gRPC status 1"),
        ("exception:6", "exception type 6"),
        ("exception_6", "exception type 6"),
        ("21", "exception type 21"),
        ("exception:12003", "exception type 12003, a ttstream code"),
        ("reset:8", "HTTP/2 RST_STREAM code 8 CANCEL"),
        ("REFUSED_STREAM", "HTTP/2 RST_STREAM code 7 REFUSED_STREAM"),
        ("cancel", "HTTP/2 RST_STREAM code 8 CANCEL"),
        ("1000", "HTTP/2 RST_STREAM code 1000 KITEX_GRACEFUL"),
        ("idle", "this hop's own end: idle"),
        (" no_route ", "this hop's own end: no_route"),
        ("business", "business error"),
        ("cause=12013", "ttstream code 12013"),
        ("error_type=\"exception_20\"", "exception type 20"),
    ] {
        assert_titles(code, &[title]);
        assert!(explain(code).unwrap().contains("becomes:"), "{code}");
    }
}

#[test]
fn what_can_be_two_things_is_shown_as_both() {
    for n in 0..=10 {
        let (grpc, thrift) = (format!("gRPC status {n} "), format!("exception type {n}:"));
        assert_titles(&n.to_string(), &[&grpc, &thrift]);
        let note = fact(&n.to_string(), "note").unwrap();
        let wanted = format!("for one alone say grpc:{n} or exception:{n} or reset:{n}");
        assert!(note.ends_with(&wanted), "{note}");
    }
    for n in 11..=16 {
        assert_titles(&n.to_string(), &[&format!("gRPC status {n} ")]);
    }
    assert_titles("canceled", &["gRPC status 1 CANCELLED", "end=canceled in"]);
    assert_eq!(fact("12007", "note"), None);
}

#[test]
fn everything_known_has_a_row_a_meaning_and_an_advice() {
    let mut known: Vec<String> = Vec::new();
    known.extend(TtCode::KNOWN.iter().map(|c| c.number().to_string()));
    known.extend(
        TypeId::KNOWN
            .iter()
            .map(|id| format!("exception:{}", id.number())),
    );
    known.extend(Code::KNOWN.iter().map(|c| c.text().unwrap().to_owned()));
    known.extend(Code::KNOWN.iter().map(|c| c.number().to_string()));
    known.extend(LocalEndKind::ALL.map(|kind| kind.name().to_owned()));
    known.extend((0..=13).map(|n| reset_name(ResetCode(n))));
    known.push("business".to_owned());
    for word in known {
        let text = explain(&word).unwrap();
        assert!(text.contains("becomes:"), "{word}: {text}");
        assert!(text.contains("\n  do:      "), "{word}: {text}");
        assert!(text.contains(LEGEND), "{word}: {text}");
    }
}

/// The labels that a series can have, from the tables that make them.
#[test]
fn every_label_value_is_explained() {
    let mut values: Vec<(&str, String)> = Vec::new();
    for at in 0..names::ERRORS {
        values.push(("error_type", names::error_name(at).to_owned()));
    }
    for cause in names::CAUSES {
        values.push(("cause", cause.to_owned()));
    }
    for class in names::CLASSES {
        values.push(("class", names::class_name(class).to_owned()));
        values.push(("class", class.code().to_string()));
    }
    for end in names::ENDS {
        values.push(("end", end.to_owned()));
    }
    for by in [Initiator::Caller, Initiator::Callee, Initiator::Hop] {
        values.push(("by", names::party_name(by).to_owned()));
    }
    for processed in [Processed::No, Processed::Maybe, Processed::Yes] {
        values.push(("processed", names::processed_name(processed).to_owned()));
    }
    for how in [
        CancelSignal::CONNECTION_LOST,
        CancelSignal::STATUS,
        CancelSignal::OWN,
        CancelSignal::numbered("reset", 8),
        RST,
        TRAILER,
    ] {
        values.push(("how", how.name().to_owned()));
    }
    values.push(("how", "own_end".to_owned()));
    let of_connections = ["http1", "tls", "foreign", "truncated", "other_wire"];
    let of_wires = crate::wire::ALL
        .iter()
        .flat_map(|wire| wire.caller_violations.iter().chain(wire.callee_violations));
    let kinds: std::collections::BTreeSet<_> = of_connections.iter().chain(of_wires).collect();
    for kind in kinds {
        values.push(("kind", (*kind).to_owned()));
    }
    for (field, value) in &values {
        for asked in [
            format!("{field}={value}"),
            format!("{field}=\"{value}\""),
            value.clone(),
        ] {
            let text = explain(&asked).unwrap_or_else(|error| panic!("{error}"));
            assert!(text.contains("\n  do:      "), "{asked}: {text}");
        }
        assert_eq!(titles(&format!("{field}={value}")).len(), 1, "{value}");
    }
    // No word is explained that no stream has.
    for label in LABELS {
        let is_known = |(field, value): &(&str, String)| {
            *field == label.field && value.as_str() == label.value
        };
        assert!(values.iter().any(is_known), "{label:?}");
    }
}

#[test]
fn a_canceled_line_of_kitex_says_who_was_first() {
    let line = "[ttstream error, code=12011] [server-side stream] [canceled path: non-ttstream path -> web-egress -> \
                chat-ingress] the caller reset the stream with error code: CANCEL";
    assert_titles(
        line,
        &["ttstream code 12011", "HTTP/2 RST_STREAM code 8 CANCEL"],
    );
    for (heading, wanted) in [
        ("printed by", "the callee's Kitex"),
        ("first", "a gRPC peer that gave no name"),
        ("through", "web-egress, then chat-ingress"),
        ("path", "non-ttstream path -> web-egress -> chat-ingress"),
        (
            "text",
            "the caller reset the stream with error code: CANCEL",
        ),
    ] {
        assert_eq!(fact(line, heading).as_deref(), Some(wanted), "{heading}");
    }
    let own = "[ttstream error, code=12014] [client-side stream] [canceled path: r3] idle";
    assert!(fact(own, "first").unwrap().starts_with("r3 ("));
    assert!(fact(own, "through").unwrap().starts_with("nothing"));
    let unnamed = "err: [ttstream error, code=12007] [server-side stream] [canceled path:  -> a] x";
    let first = fact(unnamed, "first").unwrap();
    assert_eq!(first, "a Kitex service without a name");
    // The rows of other ends that become this are a list of their own.
    let (short, long) = (explain(line).unwrap(), explain("ttstream:12011").unwrap());
    assert!(short.contains("other ends: ripcord explain ttstream:12011\n"));
    assert!(long.contains("\n  comes of:\n") && !short.contains("\n  comes of:\n"));
}

/// Each is what a real peer prints. The suites with real peers assert on them.
#[test]
fn printed_lines_are_understood() {
    let kitex = "[ttstream error, code=12001] [client-side stream] ";
    for (line, wanted) in [
        (
            format!("{kitex}biz error: rpc error: code = 5 desc = nothing there"),
            &["ttstream code 12001", "gRPC status 5", "exception type 6"][..],
        ),
        (
            format!("{kitex}rpc error: code = NotFound desc = nothing there"),
            &["ttstream code 12001", "gRPC status 5"],
        ),
        (
            format!("{kitex}biz error: plain"),
            &["ttstream code 12001", "exception type 6"],
        ),
        (
            "[ttstream error, code=12007] [client-side stream] user code invoking stream RPC".into(),
            &["ttstream code 12007"],
        ),
        (
            "remote or network error[remote]: biz error: code=404, msg=no such chat".into(),
            &["business error"],
        ),
        (
            "remote or network error: rpc error: code = 14 desc = refused".into(),
            &["gRPC status 14"],
        ),
        (
            "rpc error: code = Canceled desc = context canceled".into(),
            &["gRPC status 1"],
        ),
        (
            "rpc error: code = 1 desc = transport: RSTStream Frame received with error code: CANCEL".into(),
            &["gRPC status 1", "HTTP/2 RST_STREAM code 8"],
        ),
        (
            "rpc error: code = Code(20) desc = unknown service".into(),
            &["gRPC status 20"],
        ),
        ("biz error: code=7, msg=no".into(), &["business error"]),
        ("bye [biz error]".into(), &["gRPC status 13"]),
        (
            "<_MultiThreadedRendezvous of RPC that terminated with: status = StatusCode.UNAVAILABLE details = \"x\">"
                .into(),
            &["gRPC status 14"],
        ),
        (
            "io.grpc.StatusRuntimeException: DEADLINE_EXCEEDED: deadline exceeded after 1s".into(),
            &["gRPC status 4"],
        ),
        (
            "INTERNAL: RST_STREAM closed stream. HTTP/2 error code: REFUSED_STREAM".into(),
            &["HTTP/2 RST_STREAM code 7"],
        ),
        (
            "ripcord_cancels_total{class=\"by_caller\",cause=\"12007\"} 3".into(),
            &["class=by_caller", "ttstream code 12007"],
        ),
        (
            "ripcord_stream_errors_total{error_type=\"first_response\"} 1".into(),
            &["this hop's own end: first_response"],
        ),
        (
            "grpc-status: 14, ripcord-code: 12013, ripcord-path: chat-ingress,web-egress".into(),
            &["gRPC status 14", "ttstream code 12013"],
        ),
        ("unknown service Chat".into(), &["exception type 20"]),
        ("12007 idle".into(), &["ttstream code 12007", "this hop's own end: idle"]),
    ] {
        assert_titles(&line, wanted);
    }
    let trailers = "grpc-status: 14, ripcord-path: non-ttstream path,a,b";
    let path = fact(trailers, "path").unwrap();
    assert_eq!(path, "non-ttstream path -> a -> b");
}

/// The rows have what a gRPC caller receives. Pasted back, each message is understood.
#[test]
fn every_message_toward_a_grpc_caller_is_understood() {
    for row in rows() {
        let Some((_, message)) = row.grpc.split_once("message=") else {
            continue;
        };
        if message.contains("[ttstream error") {
            assert!(titles(message)[0].starts_with("ttstream code "), "{row}");
        }
        // Success, and codes that no table has.
        let is_no_status = ["status=0 ", "status=20 ", "status=77 "]
            .iter()
            .any(|status| row.grpc.starts_with(status));
        assert!(explain(&row.grpc).is_ok() || is_no_status, "{row}");
    }
}

#[test]
fn a_line_of_the_access_log_is_understood() {
    let line = r#"{"timestamp":"2026-11-22T23:48:38.435Z","node":"chat-ingress","end":"canceled","by":"caller",
        "processed":"maybe","cause":12011,"text":"the caller reset the stream","class":12010,"how":"rst",
        "origin":"web","path":["web","web-egress","chat-ingress"],"grpc_status":0}"#
        .replace('\n', "");
    let mut titles = titles(&line);
    titles.sort();
    let wanted = [
        "by=caller in",
        "class=by_caller in",
        "end=canceled in",
        "how=rst in",
        "processed=maybe in",
        "ttstream code 12011",
    ];
    assert_eq!(titles.len(), wanted.len(), "{titles:?}");
    for (title, wanted) in titles.iter().zip(wanted) {
        assert!(title.starts_with(wanted), "{title}");
    }
    assert_eq!(fact(&line, "told by").unwrap(), "chat-ingress");
    assert!(fact(&line, "first").unwrap().starts_with("web ("));
    let kitex = r#"{"level":"error","msg":"[ttstream error, code=12013] [server-side stream] [canceled path: a] x"}"#;
    assert_titles(kitex, &["ttstream code 12013"]);
}

/// What a hop says of its own ends, behind what Kitex and gRPC libraries print before it.
#[test]
fn an_own_text_is_known_behind_every_print() {
    for (text, end) in [
        ("no route for service \"Chat\", method \"Say\"", "no_route"),
        (
            "backend chat cannot be reached: no-such-host.invalid does not resolve (no address)",
            "unreachable",
        ),
        (
            "backend chat takes thrift; the request is protobuf (application/grpc): send \
             application/grpc+thrift; ripcord translates protobuf only by a schema (translate on the route)",
            "payload_mismatch",
        ),
        (
            "route r takes thrift structs; the request is protobuf (application/grpc): send it",
            "payload_mismatch",
        ),
        ("no response from the callee within 30s", "first_response"),
        ("no message for 1.5s", "idle"),
        ("the proxy is shutting down", "drain_over"),
    ] {
        for node in ["", "web-egress: "] {
            for print in [
                "",
                "[ttstream error, code=12001] [client-side stream] ",
                "[ttstream error, code=12014] [client-side stream] [canceled path: web-egress] ",
                "[ttstream error, code=12001] [client-side stream] rpc error: code = Unimplemented desc = ",
                "remote or network error[remote]: [ttstream error, code=12001] [client-side stream] ",
                "rpc error: code = Unavailable desc = ",
            ] {
                let line = format!("{print}{node}{text}");
                let title = format!("this hop's own end: {end}");
                assert_eq!(titles(&line)[0], title, "{line}");
                let said = explain(&line).unwrap();
                assert!(!said.contains("it is the callee's error"), "{line}: {said}");
                assert!(!said.contains("ttstream code 12001"), "{line}: {said}");
                let told = node.strip_suffix(": ").map(str::to_owned);
                assert_eq!(fact_if_any(&said, "told by"), told, "{line}: {said}");
            }
        }
    }
    // The callee's own words.
    let callee = "[ttstream error, code=12001] [client-side stream] biz error: no message for you";
    assert_titles(callee, &["ttstream code 12001", "exception type 6"]);
}

#[test]
fn an_unknown_method_of_kitex_log_is_no_answer() {
    for line in [
        "unknown method Say",
        "2026/11/30 10:00:00 [Error] KITEX: unknown method Say",
    ] {
        let wanted = ["exception type 1", "this hop's own end: first_response"];
        assert_titles(line, &wanted);
        let told = fact(line, "of a log").unwrap();
        assert!(told.contains("sends nothing") && told.contains("timeouts.first_response"));
    }
    let answered = "rpc error: code = Unimplemented desc = unknown method Say for service Chat";
    assert_titles(answered, &["gRPC status 12"]);
}

#[test]
fn the_words_of_a_kitex_that_does_not_know_rst_are_known_alone() {
    for line in [
        "unexpected frame type: 5",
        "illegal frame, unexpected frame type: 5",
    ] {
        assert_titles(line, &["ttstream code 12004"]);
    }
}

#[test]
fn the_fields_that_people_read_are_explained() {
    for name in [
        "class",
        "processed",
        "retries",
        "origin",
        "path",
        "how",
        "by",
        "ripcord-code",
        "ripcord-end",
        "ripcord-path",
    ] {
        assert_titles(name, &[&format!("the field {name}")]);
    }
    let value = explain("by=hop").unwrap();
    assert!(value.starts_with("by=hop in"), "{value}");
}

#[test]
fn the_number_of_a_refusal_is_no_status() {
    let trailers = "grpc-status: 12, ripcord-end: payload_mismatch, ripcord-code: 9";
    let wanted = [
        "this hop's own end: payload_mismatch",
        "gRPC status 12",
        "exception type 9",
    ];
    assert_titles(trailers, &wanted);
    let line = r#"{"node":"n","end":"hop","by":"hop","error_type":"payload_mismatch","code":9}"#;
    let titles = titles(line);
    assert!(titles[0].ends_with("payload_mismatch"), "{titles:?}");
    assert!(titles.iter().any(|t| t.starts_with("exception type 9")));
    for asked in [trailers, line] {
        let code = fact(asked, "code").unwrap();
        assert_eq!(code, "9 is an exception's type on TTHeader, no gRPC status");
    }
    let business = r#"{"end":"failed","error_type":"business","code":9}"#;
    assert_eq!(fact(business, "code"), None);
}

#[test]
fn several_lines_are_explained_once_each() {
    let text = "12007\n\n12007\nnonsense, all of it\nidle\n";
    let wanted = ["ttstream code 12007", "this hop's own end: idle"];
    assert_titles(text, &wanted);
    let text = explain(text).unwrap();
    assert!(
        text.contains("\"nonsense, all of it\" is unknown"),
        "{text}"
    );
    assert_eq!(text.matches(LEGEND).count(), 1);
}

#[test]
fn an_unknown_word_brings_the_near_ones() {
    for (word, meant) in [
        ("iddle", "\"idle\""),
        ("1207", "\"12007\""),
        ("NOTFOUNDD", "\"NOT_FOUND\""),
        ("refused_streem", "\"REFUSED_STREAM\""),
        ("exeption_6", "\"exception_6\""),
        ("bussiness", "\"business\""),
    ] {
        let error = explain(word).unwrap_err();
        let hint = error.split_once("did you mean ").unwrap().1;
        let hint = hint.split_once("?)").unwrap().0;
        assert!(hint.contains(meant), "{word}: {error}");
        assert!(error.contains("; allowed: ") && error.contains("; example: "));
    }
    for bad in [
        "",
        "  ",
        "99",
        "grpc:x",
        "exception:",
        "reset:-1",
        "x:1",
        "\u{1b}[",
    ] {
        let error = explain(bad).unwrap_err();
        assert!(error.contains("; allowed: "), "{bad}: {error}");
        assert!(!error.contains('\u{1b}'), "{error}");
    }
}
