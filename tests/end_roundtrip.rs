//! Ends and heads that cross both wires come out as they went in; forged fields do not count.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod end_roundtrip_cases;

use bytes::Bytes;
use http::HeaderMap;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use ripcord::stream::{
    Business, Cancel, CancelSignal, Cause, Class, End, Exception, Failure, Initiator, LocalEndKind,
    Metadata, NON_TTSTREAM, Path, Processed, Reason, RequestHead, ResponseHead, Scope, Status,
    TtCode, TypeId,
};
use ripcord::wire::grpc::end::Wording;
use ripcord::wire::grpc::status::ResetCode;
use ripcord::wire::ttheader::end::{CancelForm, EndContext, Terminal, TerminalKind};
use ripcord::wire::ttheader::header::Info;
use ripcord::wire::{grpc, ttheader};

/// A hop between a callee on one wire and a caller on the other.
const NODE: &str = "hop";

fn through_ttheader(end: &End) -> End {
    read_terminal(&ttheader::end::to_caller(&grown(end), &context(true)))
}

fn through_grpc(end: &End) -> End {
    grpc::end::from_trailers(
        200,
        &grpc::end::to_caller(&grown(end), NODE, true, Wording::Kitex),
    )
}

fn context(carried: bool) -> EndContext<'static> {
    EndContext {
        node: NODE,
        method: "Talk",
        stream_id: -7,
        carried,
        form: CancelForm::Rst,
    }
}

/// The same with `cancel_as: trailer`, but for how a cancel was noticed.
fn through_trailer(end: &End) -> End {
    let mut context = context(true);
    context.form = CancelForm::Trailer;
    let mut end = read_terminal(&ttheader::end::to_caller(&grown(end), &context));
    let trailer = ttheader::end::TRAILER;
    if let Reason::Canceled(Cancel { signal, .. }) = &mut end.reason {
        *signal = [*signal, ttheader::end::RST][usize::from(*signal == trailer)];
    }
    end
}

fn read_terminal(terminal: &Terminal) -> End {
    let info = Info {
        ints: Vec::new(),
        strings: terminal.strings.clone(),
    };
    match terminal.kind {
        TerminalKind::Trailer => ttheader::end::from_trailer(&info, &terminal.payload),
        TerminalKind::Rst => ttheader::end::from_rst(Initiator::Callee, &info, &terminal.payload),
    }
}

/// As the bridge does before it hands an end on.
fn grown(end: &End) -> End {
    let mut end = end.clone();
    if let Reason::Canceled(cancel) = &mut end.reason {
        cancel.path.append(NODE);
    }
    end
}

/// Entries without what means nothing: the order of different keys.
fn by_key(metadata: &Metadata) -> Vec<(u8, Vec<u8>, Bytes)> {
    let scope = |scope| match scope {
        Scope::Plain => 0,
        Scope::Transit => 1,
        Scope::Persist => 2,
    };
    let entries = metadata.iter();
    let mut entries: Vec<_> = entries
        .map(|e| (scope(e.scope), e.key.to_vec(), e.value.clone()))
        .collect();
    entries.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    entries
}

/// The same of an end.
fn sorted(mut end: End) -> (End, Vec<(u8, Vec<u8>, Bytes)>) {
    let trailers = std::mem::take(&mut end.trailers);
    (end, by_key(&trailers))
}

/// The same of a frame.
fn sorted_frame(mut frame: Terminal) -> Terminal {
    frame.strings.sort();
    frame
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => ".{0,60}",
        1 => Just(String::new()),
        1 => Just(" spaces ".to_owned()),
        1 => Just("unknown method Talk".to_owned()),
        1 => Just("rpc error: code = NotFound desc = x".to_owned()),
        1 => Just("[ttstream error, code=12007] [client-side stream] x".to_owned()),
        1 => Just("100% \u{1}\n".to_owned()),
    ]
}

fn raw(max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..max).prop_map(Bytes::from)
}

/// Entries as an HTTP peer has them: lower case, grouped by name.
fn http_trailers() -> impl Strategy<Value = Metadata> {
    let entry = (
        prop_oneof![
            "[a-z][a-z0-9_.-]{0,12}",
            Just("isn".to_owned()),
            Just("rip".to_owned()),
            Just("biz-message".to_owned()),
            Just("rpc-persist-x".to_owned()),
            Just("x-bin".to_owned()),
        ],
        vec("[ -~]{0,20}", 1..3),
    );
    vec(entry, 0..5).prop_map(|entries| {
        let mut headers = HeaderMap::new();
        for (name, values) in entries {
            for value in values {
                let value = if name.ends_with("-bin") {
                    grpc::status::encode_bin(value.as_bytes())
                } else {
                    value.trim().to_owned()
                };
                let name: http::HeaderName = name.parse().unwrap();
                headers.append(name, value.parse().unwrap());
            }
        }
        grpc::metadata::response_head(&headers).metadata
    })
}

/// Entries as a TTHeader peer has them: any bytes, each key once.
fn tt_strings() -> impl Strategy<Value = Vec<(Bytes, Bytes)>> {
    let key = prop_oneof![
        "[A-Za-z][A-Za-z0-9_.-]{0,12}".prop_map(Bytes::from),
        "\\PC{1,8}".prop_map(Bytes::from),
        raw(8),
        Just(Bytes::from_static(b"RPC_PERSIST_Case")),
        Just(Bytes::from_static(b"RPC_PERSIST_UPPER")),
        Just(Bytes::from_static(b"RPC_TRANSIT_UPSTREAM_K")),
        Just(Bytes::from_static(b"RPC_TRANSIT_")),
        Just(Bytes::from_static(b"Content-Type")),
        Just(Bytes::from_static(b"te")),
        Just(Bytes::from_static(b"x-bin")),
        Just(Bytes::from_static("schlüssel".as_bytes())),
    ];
    proptest::collection::btree_map(key, raw(20), 0..6).prop_map(|map| map.into_iter().collect())
}

fn tt_trailers() -> impl Strategy<Value = Metadata> {
    tt_strings().prop_map(|strings| {
        let info = Info {
            ints: Vec::new(),
            strings,
        };
        ttheader::metadata::response_head(&info).metadata
    })
}

fn code() -> impl Strategy<Value = u32> {
    prop_oneof![6 => 1u32..=16, 1 => 17u32..100, 1 => Just(20u32), 1 => Just(Status::MAX_CODE)]
}

/// What a gRPC callee can send.
fn grpc_end() -> impl Strategy<Value = End> {
    let details = option::of(text());
    let biz = option::of((
        prop_oneof![Just(-3i32), 1i32..9],
        option::of(Just(r#"{"k":"v"}"#)),
    ));
    let said = (code(), text(), details, biz, http_trailers()).prop_map(
        |(code, message, details, biz, trailers)| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-status", code.into());
            let message = grpc::status::encode_message(&message);
            headers.insert("grpc-message", message.parse().unwrap());
            if let Some(details) = details {
                let info = grpc::status::ErrorInfo::default();
                let details = grpc::status::encode_details(code, &details, &info);
                let details = grpc::status::encode_bin(&details);
                headers.insert("grpc-status-details-bin", details.parse().unwrap());
            }
            if let Some((code, extra)) = biz {
                headers.insert("biz-status", code.to_string().parse().unwrap());
                if let Some(extra) = extra {
                    headers.insert("biz-extra", extra.parse().unwrap());
                }
            }
            let mut end = grpc::end::from_trailers(200, &headers);
            end.trailers = trailers;
            end
        },
    );
    let reset = prop_oneof![0u32..20, Just(1000)]
        .prop_filter("a cancel by reset has no status", |code| *code != 8)
        .prop_map(|code| grpc::end::from_callee_reset(ResetCode(code)));
    let complete = http_trailers().prop_map(End::complete);
    prop_oneof![6 => said, 1 => reset, 1 => complete]
}

fn exception_type() -> impl Strategy<Value = i32> {
    let known: Vec<i32> = TypeId::KNOWN
        .iter()
        .map(|known| known.number())
        .chain(TtCode::KNOWN.iter().map(|known| known.number()))
        .collect();
    prop_oneof![4 => proptest::sample::select(known), 1 => any::<i32>()]
}

fn path() -> impl Strategy<Value = Path> {
    vec("[^,\\p{Cc}]{0,10}", 0..5).prop_map(|names| Path::parse(&names.join(",")))
}

/// What a TTHeader callee can send.
fn tt_end() -> impl Strategy<Value = End> {
    let exception =
        (exception_type(), text(), tt_trailers()).prop_map(|(type_id, text, trailers)| {
            End::failed(Failure::Exception(Exception { type_id, text }), trailers)
        });
    let extra = prop_oneof![
        Just(r#"{"k":"v"}"#),
        Just(" {\n\"k\": \"é𝄞\u{7f}\" }\n"),
        Just("null"),
    ];
    let business = (
        prop_oneof![1i32..20, any::<i32>()].prop_filter("not 0", |code| *code != 0),
        text(),
        option::of(extra.prop_map(|extra| Bytes::from_static(extra.as_bytes()))),
        tt_trailers(),
    )
        .prop_map(|(code, text, extra, trailers)| {
            let found = Business {
                code,
                text,
                extra,
                status: None,
            };
            End::failed(Failure::Business(found), trailers)
        });
    let rst = (exception_type(), text(), path()).prop_map(|(code, text, path)| {
        End::canceled(
            Initiator::Callee,
            Cancel {
                cause: Cause { code, text },
                path,
                class: Class::ByCallee,
                signal: CancelSignal::named("rst"),
                status: None,
            },
        )
    });
    let complete = tt_trailers().prop_map(End::complete);
    prop_oneof![2 => exception, 2 => business, 3 => rst, 1 => complete]
}

/// `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").map_or(400, |n| n.parse().expect("a number"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn grpc_ends_cross_ttheader(end in grpc_end()) {
        prop_assert_eq!(sorted(through_ttheader(&end)), sorted(grown(&end)));
        // And once more over gRPC: the path grows, nothing else changes.
        prop_assert_eq!(sorted(through_grpc(&through_ttheader(&end))), sorted(grown(&grown(&end))));
    }

    #[test]
    fn ends_cross_a_hop_that_sends_no_rst(end in prop_oneof![grpc_end(), tt_end()]) {
        prop_assert_eq!(sorted(through_trailer(&end)), sorted(through_ttheader(&end)));
    }

    #[test]
    fn ttheader_ends_cross_grpc(end in tt_end()) {
        prop_assert_eq!(sorted(through_grpc(&end)), sorted(grown(&end)));
        prop_assert_eq!(sorted(through_ttheader(&through_grpc(&end))), sorted(grown(&grown(&end))));
    }

    #[test]
    fn a_grpc_callees_status_reaches_a_grpc_caller_untouched(end in grpc_end()) {
        let direct = grpc::end::to_caller(&end, NODE, false, Wording::Kitex);
        let nested = grpc::end::to_caller(&through_ttheader(&end), NODE, false, Wording::Kitex);
        prop_assert_eq!(direct, nested);
    }

    #[test]
    fn a_ttheader_callees_frame_reaches_a_ttheader_caller_untouched(end in tt_end()) {
        let direct = ttheader::end::to_caller(&grown(&end), &context(false));
        let nested = ttheader::end::to_caller(&through_grpc(&end), &context(false));
        prop_assert_eq!(sorted_frame(direct), sorted_frame(nested));
    }

    #[test]
    fn heads_cross_both_ways(strings in tt_strings(), timeout in option::of(1u64..1000)) {
        let mut info = Info { ints: vec![(9, Bytes::from_static(b"Talk")), (2, Bytes::from_static(b"log"))], strings };
        info.strings.push((Bytes::from_static(b"isn"), Bytes::from_static(b"Chat")));
        if let Some(ms) = timeout {
            info.ints.push((12, ms.to_string().into()));
        }
        let head = ttheader::metadata::request_head(&info, 0x10).unwrap();
        let request = grpc::metadata::request(&head);
        let crossed = grpc::metadata::request_head(&request.into_parts().0).unwrap();
        prop_assert_eq!(by_key(&crossed.metadata), by_key(&head.metadata));
        prop_assert_eq!(&crossed.service, &head.service);
        prop_assert_eq!(&crossed.payload, &head.payload);
        prop_assert_eq!(&crossed.timeout, &head.timeout);
        let (again, protocol) = ttheader::metadata::request_info(&crossed);
        prop_assert_eq!(protocol, 0x10);
        prop_assert_eq!(again.int(2).unwrap(), "log");
        let again = ttheader::metadata::request_head(&again, protocol).unwrap();
        prop_assert_eq!(by_key(&again.metadata), by_key(&head.metadata));

        let head = ttheader::metadata::response_head(&info);
        let response = grpc::metadata::response(&head, &ripcord::stream::Payload::Thrift);
        let crossed = grpc::metadata::response_head(response.headers());
        prop_assert_eq!(by_key(&crossed.metadata), by_key(&head.metadata));
    }

    #[test]
    fn grpc_heads_cross_ttheader(metadata in http_trailers(), package in "[a-z]{0,3}") {
        let service = if package.is_empty() { "Chat".to_owned() } else { format!("{package}.Chat") };
        let head = RequestHead { service, method: "Talk".into(), metadata: metadata.clone(), ..RequestHead::default() };
        let (info, protocol) = ttheader::metadata::request_info(&head);
        prop_assert_eq!(info.string("isn").unwrap(), "Chat");
        let crossed = ttheader::metadata::request_head(&info, protocol).unwrap();
        prop_assert_eq!(&crossed.service, &head.service);
        prop_assert_eq!(by_key(&crossed.metadata), by_key(&metadata));
        let head = ResponseHead { metadata: metadata.clone(), ..ResponseHead::default() };
        let info = ttheader::metadata::response_info(&head, "Talk");
        prop_assert_eq!(by_key(&ttheader::metadata::response_head(&info).metadata), by_key(&metadata));
    }

    #[test]
    fn forged_trailers_never_change_what_a_plain_caller_sees(
        end in grpc_end(),
        kind in prop_oneof![Just("rst".to_owned()), Just("status".into()), Just("exception".into()), Just("no_route".into()), "[a-z_]{0,8}"],
        number in exception_type(),
        path in "[a-z,]{0,9}",
        pack in raw(40),
    ) {
        let honest = grpc::end::to_caller(&end, NODE, false, Wording::Kitex);
        let mut forged = honest.clone();
        forged.insert("ripcord-end", kind.parse().unwrap());
        forged.insert("ripcord-code", number.to_string().parse().unwrap());
        forged.insert("ripcord-path", path.parse().unwrap());
        forged.insert("ripcord-meta-bin", grpc::status::encode_bin(&pack).parse().unwrap());
        let seen = grpc::end::to_caller(&grpc::end::from_trailers(200, &forged), NODE, false, Wording::Kitex);
        prop_assert_eq!(seen, honest);
    }

    #[test]
    fn forged_strings_never_change_what_a_plain_caller_sees(
        end in tt_end(),
        status in prop_oneof![(0u32..30).prop_map(|n| n.to_string()), ".{0,4}"],
        hop in proptest::sample::select(LocalEndKind::ALL.to_vec()),
        pack in raw(40),
    ) {
        let honest = ttheader::end::to_caller(&end, &context(false));
        let mut forged = honest.clone();
        for (key, value) in [
            ("ripcord-status", status.into()),
            ("ripcord-details", Bytes::from_static(b"aGk")),
            ("ripcord-end", Bytes::from(hop.name())),
            ("ripcord-meta", Bytes::from(grpc::status::encode_bin(&pack))),
        ] {
            forged.strings.push((key.into(), value));
        }
        let seen = ttheader::end::to_caller(&read_terminal(&forged), &context(false));
        prop_assert_eq!(seen, honest);
    }

    #[test]
    fn nothing_that_a_peer_sends_panics(strings in vec((raw(24), raw(24)), 0..6), payload in raw(40), key in 0usize..9) {
        let known = ["ripcord-status", "ripcord-details", "ripcord-end", "ripcord-processed", "ripcord-meta", "biz-status", "biz-extra", "ttscp", "isn"];
        let mut info = Info { ints: Vec::new(), strings };
        if let Some(first) = info.strings.first_mut() {
            first.0 = Bytes::from_static(known[key % known.len()].as_bytes());
        }
        let ends = [
            ttheader::end::from_trailer(&info, &payload),
            ttheader::end::from_rst(Initiator::Callee, &info, &payload),
        ];
        for end in ends {
            let _ = through_grpc(&end);
            let _ = through_ttheader(&end);
        }
    }
}

#[test]
fn every_status_crosses() {
    for code in 0..=30 {
        for message in ["", "why", "unknown method Talk"] {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-status", code.into());
            headers.insert("grpc-message", message.parse().unwrap());
            let end = grpc::end::from_trailers(200, &headers);
            assert_eq!(through_ttheader(&end), grown(&end), "{code} {message:?}");
        }
    }
}

#[test]
fn every_hop_end_crosses_with_its_status_and_cause() {
    for kind in LocalEndKind::ALL {
        let end = End::hop(kind, "why");
        let over_grpc = through_grpc(&end);
        let over_ttheader = through_ttheader(&end);
        assert_eq!(over_grpc, over_ttheader, "{kind:?}");
        assert_eq!(over_grpc.processed, end.processed);
        let headers = grpc::end::to_caller(&over_ttheader, "next", true, Wording::Kitex);
        // What a gRPC caller receives at once equals what it receives behind a hop on TTHeader.
        let direct = grpc::end::to_caller(&end, "hop", true, Wording::Kitex);
        assert_eq!(headers["grpc-status"], direct["grpc-status"], "{kind:?}");
        assert_eq!(headers["ripcord-code"], kind.cause().to_string());
    }
}

#[test]
fn a_reset_crosses_as_its_status_and_path() {
    let end = grpc::end::from_callee_reset(ResetCode::CANCEL);
    let Reason::Canceled(crossed) = through_ttheader(&end).reason else {
        panic!()
    };
    assert_eq!(crossed.cause.code, 12011);
    assert_eq!(crossed.path.names(), [NON_TTSTREAM, NODE]);
    assert_eq!(
        through_ttheader(&grpc::end::from_callee_reset(ResetCode::REFUSED_STREAM)).processed,
        Processed::No
    );
}

#[test]
fn many_entries_cost_no_more_than_their_number() {
    let mut metadata = Metadata::new();
    for i in 0..40_000 {
        metadata.push(Scope::Transit, format!("UPSTREAM_{i}"), "v");
        metadata.push(Scope::Plain, "same", "v");
    }
    let end = End::complete(metadata);
    let begun = std::time::Instant::now();
    let _ = through_grpc(&end);
    let _ = through_ttheader(&end);
    assert!(begun.elapsed().as_secs() < 20);
}
