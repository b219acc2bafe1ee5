//! Reading and writing of trace context, by a table of spellings.

use Scope::{Persist, Plain, Transit};

use super::*;
use crate::stream::Propagation;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";
const W3C: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const W3C_OFF: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
const OTHER: &str = "00-11111111111111111111111111111111-2222222222222222-01";

fn metadata(entries: &[(Scope, &str, &str)]) -> Metadata {
    let mut metadata = Metadata::new();
    for (scope, key, value) in entries {
        metadata.push(*scope, key.to_string(), value.to_string());
    }
    metadata
}

fn remote(entries: &[(Scope, &str, &str)]) -> Option<(String, String, Option<bool>)> {
    extract(&metadata(entries))
        .remote
        .map(|r| (r.trace_id.to_string(), r.span_id.to_string(), r.sampled))
}

#[test]
fn every_form_is_read() {
    let b3 = format!("{TRACE}-{SPAN}-1");
    let b3_off = format!("{TRACE}-{SPAN}-0-{SPAN}");
    let b3_debug = format!("{TRACE}-{SPAN}-d");
    let b3_later = format!("{TRACE}-{SPAN}");
    let upper = TRACE.to_uppercase();
    type Entries<'a> = &'a [(Scope, &'a str, &'a str)];
    let cases: [(&str, Entries<'_>, Option<bool>); 16] = [
        ("grpc", &[(Plain, "traceparent", W3C)], Some(true)),
        ("any case", &[(Plain, "TraceParent", W3C)], Some(true)),
        (
            "not sampled",
            &[(Plain, "traceparent", W3C_OFF)],
            Some(false),
        ),
        ("kitex suite", &[(Transit, "traceparent", W3C)], Some(true)),
        ("through grpc", &[(Transit, "TRACEPARENT", W3C)], Some(true)),
        (
            "raw",
            &[(Plain, "rpc-transit-traceparent", W3C)],
            Some(true),
        ),
        (
            "raw cgi",
            &[(Plain, "RPC_TRANSIT_TRACEPARENT", W3C)],
            Some(true),
        ),
        ("b3", &[(Plain, "b3", &b3)], Some(true)),
        ("b3 off", &[(Transit, "B3", &b3_off)], Some(false)),
        ("b3 debug", &[(Transit, "b3", &b3_debug)], Some(true)),
        ("b3 undecided", &[(Plain, "b3", &b3_later)], None),
        (
            "b3 multi",
            &[
                (Plain, "x-b3-traceid", &upper),
                (Plain, "x-b3-spanid", SPAN),
                (Plain, "x-b3-sampled", "1"),
            ],
            Some(true),
        ),
        (
            "b3 multi, metainfo through grpc",
            &[
                (Transit, "X_B3_TRACEID", TRACE),
                (Transit, "X_B3_SPANID", SPAN),
                (Transit, "X_B3_FLAGS", "1"),
            ],
            Some(true),
        ),
        (
            "ot",
            &[
                (Transit, "ot-tracer-traceid", TRACE),
                (Transit, "ot-tracer-spanid", SPAN),
                (Transit, "ot-tracer-sampled", "false"),
            ],
            Some(false),
        ),
        (
            "a plain one before a transit one",
            &[(Transit, "traceparent", OTHER), (Plain, "traceparent", W3C)],
            Some(true),
        ),
        (
            "w3c before b3, and what is invalid does not hide the rest",
            &[
                (Plain, "b3", "0"),
                (Plain, "traceparent", "00-zz"),
                (Transit, "TRACEPARENT", W3C),
            ],
            Some(true),
        ),
    ];
    for (name, entries, sampled) in cases {
        let wanted = Some((TRACE.to_owned(), SPAN.to_owned(), sampled));
        assert_eq!(remote(entries), wanted, "{name}");
    }
    let short = [
        (Plain, "ot-tracer-traceid", SPAN),
        (Plain, "ot-tracer-spanid", SPAN),
    ];
    let (trace, _, sampled) = remote(&short).unwrap();
    assert_eq!((trace, sampled), (format!("{:0>32}", SPAN), None));
}

#[test]
fn what_is_invalid_is_not_read() {
    let zero_trace = format!("00-{}-{SPAN}-01", "0".repeat(32));
    let zero_span = format!("00-{TRACE}-{}-01", "0".repeat(16));
    let upper = W3C.to_uppercase();
    let long = format!("{W3C}-00");
    for value in [
        "",
        "00",
        "00-",
        &zero_trace,
        &zero_span,
        &upper,
        &long,
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
        "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ] {
        assert_eq!(remote(&[(Plain, "traceparent", value)]), None, "{value}");
    }
    let later = W3C.replacen("00-", "cc-", 1);
    for value in [later.clone(), format!("{later}-what-else")] {
        assert!(remote(&[(Plain, "traceparent", &value)]).is_some());
    }
    let twice = [(Plain, "traceparent", W3C), (Plain, "traceparent", OTHER)];
    assert_eq!(remote(&twice), None);
    let same = [(Plain, "traceparent", W3C), (Plain, "traceparent", W3C)];
    assert!(remote(&same).is_some());
    for (scope, key) in [(Persist, "traceparent"), (Transit, "UPSTREAM_traceparent")] {
        assert_eq!(remote(&[(scope, key, W3C)]), None);
    }
    for b3 in ["", "x", "1-2-1", &format!("{TRACE}-{SPAN}-9")] {
        assert_eq!(remote(&[(Plain, "b3", b3)]), None, "{b3}");
    }
    let mut bytes = Metadata::new();
    bytes.push(Plain, &b"traceparent"[..], &[0xff, 0xfe, 0x2d][..]);
    assert_eq!(extract(&bytes), Extracted::default());
}

#[test]
fn a_refusal_without_ids_is_heard() {
    for entry in [(Plain, "b3", "0"), (Transit, "X_B3_SAMPLED", "0")] {
        let extracted = extract(&metadata(&[entry]));
        assert_eq!((extracted.remote, extracted.sampled), (None, Some(false)));
    }
}

#[test]
fn lists_are_joined_and_bounded() {
    let extracted = extract(&metadata(&[
        (Plain, "traceparent", W3C),
        (Plain, "tracestate", "a=1"),
        (Plain, "tracestate", "b=2"),
        (Transit, "tracestate", "old=1"),
        (Plain, "baggage", "k=v"),
        (Transit, "baggage", "old=v"),
    ]));
    assert_eq!(extracted.remote.unwrap().tracestate.unwrap(), "a=1,b=2");
    assert_eq!(extracted.baggage.unwrap(), "k=v");
    let long = "x=".to_owned() + &"y".repeat(8192);
    for value in [long.as_str(), "a\nb", "", "é"] {
        assert_eq!(
            extract(&metadata(&[(Plain, "baggage", value)])).baggage,
            None
        );
    }
    // A tracestate without its traceparent has no meaning.
    let alone = extract(&metadata(&[(Plain, "tracestate", "a=1")]));
    assert_eq!(alone, Extracted::default());
}

#[test]
fn every_spelling_is_removed_and_one_is_written() {
    let dirty = [
        (Plain, "x-request-id", "1"),
        (Plain, "Traceparent", OTHER),
        (Plain, "tracestate", "old=1"),
        (Plain, "baggage", "old=1"),
        (Plain, "rpc-transit-traceparent", OTHER),
        (Plain, "b3", "0"),
        (Plain, "X-B3-TraceId", TRACE),
        (Transit, "traceparent", OTHER),
        (Transit, "TRACEPARENT", OTHER),
        (Transit, "UPSTREAM_traceparent", OTHER),
        (Transit, "TRACESTATE", "old=1"),
        (Transit, "BAGGAGE", "old=1"),
        (Transit, "ot-tracer-traceid", TRACE),
        (Transit, "OT_TRACER_SPANID", SPAN),
        (Transit, "ot-tracer-sampled", "true"),
        (Transit, "X_B3_PARENTSPANID", SPAN),
        (Transit, "x-b3-spanid", SPAN),
        (Transit, "TENANT", "a"),
        (Persist, "traceparent", "the application's own"),
    ];
    let state = Bytes::from_static(b"a=1");
    let outgoing = Outgoing {
        trace_id: TraceId::from_hex(TRACE).unwrap(),
        span_id: SpanId::from_hex(SPAN).unwrap(),
        sampled: Some(true),
        random: false,
        tracestate: Some(&state),
        baggage: None,
    };
    let kept = [
        (Plain, "x-request-id", "1"),
        (Transit, "TENANT", "a"),
        (Persist, "traceparent", "the application's own"),
    ];
    let mut to_kitex = metadata(&dirty);
    inject(
        &mut to_kitex,
        Propagation::Transit,
        TraceFormats::W3C,
        &outgoing,
    );
    let mut wanted = kept.to_vec();
    wanted.extend([
        (Transit, "traceparent", W3C),
        (Transit, "tracestate", "a=1"),
    ]);
    assert_eq!(to_kitex, metadata(&wanted));

    let mut to_grpc = metadata(&dirty);
    inject(
        &mut to_grpc,
        Propagation::Plain,
        TraceFormats::W3C,
        &outgoing,
    );
    let mut wanted = kept.to_vec();
    wanted.extend([
        (Plain, "traceparent", W3C),
        (Transit, "TRACEPARENT", W3C),
        (Plain, "tracestate", "a=1"),
        (Transit, "TRACESTATE", "a=1"),
    ]);
    assert_eq!(to_grpc, metadata(&wanted));

    // What one hop writes the next one reads, on either wire.
    for written in [to_kitex, to_grpc] {
        let read = extract(&written).remote.unwrap();
        assert_eq!(read.trace_id.to_string(), TRACE);
        assert_eq!(read.tracestate.as_deref(), Some(&b"a=1"[..]));
    }
}

#[test]
fn the_random_flag_goes_on() {
    let flagged = W3C.replace("-01", "-03");
    let read = extract(&metadata(&[(Plain, "traceparent", &flagged)]))
        .remote
        .unwrap();
    assert!(read.random);
    let mut out = Metadata::new();
    let outgoing = Outgoing {
        trace_id: read.trace_id,
        span_id: read.span_id,
        sampled: Some(false),
        random: read.random,
        tracestate: None,
        baggage: None,
    };
    inject(&mut out, Propagation::Transit, TraceFormats::W3C, &outgoing);
    let value = out.get(Transit, "traceparent").unwrap();
    assert!(value.ends_with(b"-02"));
}

/// What a callee reads of a caller's context in forms of its own choice.
#[test]
fn a_callee_receives_the_forms_that_it_reads() {
    let formats = |w3c, b3, b3multi| TraceFormats { w3c, b3, b3multi };
    let single = format!("{TRACE}-{SPAN}-1");
    let from = [(Plain, "traceparent", W3C), (Plain, "baggage", "k=v")];
    let written = |formats, propagation| -> Vec<_> {
        let mut out = metadata(&from);
        convert(&mut out, propagation, formats);
        out.iter()
            .map(|e| {
                let text = |b: &Bytes| String::from_utf8(b.to_vec()).unwrap();
                (e.scope, text(&e.key), text(&e.value))
            })
            .collect()
    };
    let all = |entries: &[(Scope, &str, &str)]| -> Vec<_> {
        let owned = |(scope, key, value): &(Scope, &str, &str)| {
            (*scope, key.to_string(), value.to_string())
        };
        entries.iter().map(owned).collect()
    };
    assert_eq!(
        written(formats(false, true, false), Propagation::Plain),
        all(&[
            (Plain, "b3", &single),
            (Transit, "B3", &single),
            (Plain, "baggage", "k=v"),
            (Transit, "BAGGAGE", "k=v"),
        ])
    );
    assert_eq!(
        written(formats(true, true, true), Propagation::Transit),
        all(&[
            (Transit, "traceparent", W3C),
            (Transit, "b3", &single),
            (Transit, "x-b3-traceid", TRACE),
            (Transit, "x-b3-spanid", SPAN),
            (Transit, "x-b3-sampled", "1"),
            (Transit, "baggage", "k=v"),
        ])
    );
    // B3 may leave the decision to the callee; nothing is made up for it.
    let undecided = format!("{TRACE}-{SPAN}");
    let mut out = metadata(&[(Plain, "b3", &undecided)]);
    convert(&mut out, Propagation::Transit, formats(false, true, true));
    assert_eq!(out.get(Transit, "b3").unwrap(), undecided.as_bytes());
    assert!(out.get(Transit, "x-b3-sampled").is_none());
    // "Do not sample", without ids.
    for from in [(Plain, "b3", "0"), (Transit, "X_B3_SAMPLED", "0")] {
        let mut out = metadata(&[from]);
        convert(&mut out, Propagation::Transit, formats(false, true, true));
        assert_eq!(out.len(), 2, "{out:?}");
        assert_eq!(out.get(Transit, "b3").unwrap(), "0");
        assert_eq!(out.get(Transit, "x-b3-sampled").unwrap(), "0");
        let mut out = metadata(&[from]);
        convert(&mut out, Propagation::Plain, formats(false, true, false));
        assert_eq!(out.get(Plain, "b3").unwrap(), "0");
        assert_eq!(out.get(Transit, "B3").unwrap(), "0");
    }
    // Without a context nothing is written.
    let mut out = metadata(&[(Plain, "x", "1")]);
    convert(&mut out, Propagation::Plain, formats(true, true, true));
    assert_eq!(out.len(), 1);
}
