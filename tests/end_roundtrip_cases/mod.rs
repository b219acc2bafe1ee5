//! Fields that the other protocol changes: what crosses, what is cut, and that what leaves for HTTP/2
//! is valid.

mod wording;

use super::*;

/// A head, or the trailers of an end, with keys and values that HTTP/2 changes, and `filler` bytes
/// that it does not.
fn changed_by_http(metadata: &mut Metadata, filler: usize) {
    metadata.push(Scope::Plain, "Upper", "1");
    metadata.push(
        Scope::Plain,
        "raw-bin",
        Bytes::from_static(b"\0not base64!"),
    );
    metadata.push(Scope::Plain, "line", "a\nb");
    for i in 0..filler / 50 {
        metadata.push(Scope::Plain, format!("filler-{i:03}"), "x".repeat(40));
    }
}

#[test]
fn what_http_changes_survives_in_heads_and_trailers_of_any_size() {
    for filler in [0, 1000, 2300, 3000, 6000] {
        let mut head = RequestHead {
            method: "Talk".into(),
            ..RequestHead::default()
        };
        changed_by_http(&mut head.metadata, filler);
        head.metadata.push(Scope::Persist, "userId", "7");
        head.metadata.push(Scope::Transit, "traceTag", "8");
        let request = grpc::metadata::request(&head).into_parts().0;
        assert!(!request.headers.contains_key("ripcord-cut"), "{filler}");
        let size: usize = request
            .headers
            .iter()
            .map(|(k, v)| k.as_str().len() + v.len())
            .sum();
        assert!(size < filler + 600, "{filler}: {size}");
        let crossed = grpc::metadata::request_head(&request).unwrap();
        assert_eq!(
            by_key(&crossed.metadata),
            by_key(&head.metadata),
            "{filler}"
        );
        let (info, _) = ttheader::metadata::request_info(&crossed);
        assert_eq!(info.string("RPC_PERSIST_userId").unwrap(), "7");

        let mut head = ResponseHead::default();
        changed_by_http(&mut head.metadata, filler);
        let response = grpc::metadata::response(&head, &ripcord::stream::Payload::Thrift);
        let crossed = grpc::metadata::response_head(response.headers());
        assert_eq!(
            by_key(&crossed.metadata),
            by_key(&head.metadata),
            "{filler}"
        );

        if filler > 3000 {
            continue; // An end has 7,936 bytes, of which each entry takes 32 more than it has.
        }
        let end = End::complete(head.metadata);
        let trailers = grpc::end::to_caller(&end, NODE, true, Wording::Kitex);
        assert!(!trailers.contains_key("ripcord-cut"), "{filler}");
        assert_eq!(
            sorted(grpc::end::from_trailers(200, &trailers)),
            sorted(end),
            "{filler}"
        );
    }
}

/// A long value whose key alone changes needs no second copy.
#[test]
fn keys_of_long_values_survive() {
    let mut head = RequestHead {
        method: "Talk".into(),
        ..RequestHead::default()
    };
    for i in 0..20 {
        head.metadata
            .push(Scope::Persist, format!("longValue{i}"), "x".repeat(500));
        head.metadata
            .push(Scope::Plain, format!("Long-{i}"), "y".repeat(500));
    }
    let request = grpc::metadata::request(&head).into_parts().0;
    let crossed = grpc::metadata::request_head(&request).unwrap();
    assert_eq!(by_key(&crossed.metadata), by_key(&head.metadata));
    assert_eq!(crossed.cut.to_string(), "");
}

#[test]
fn what_does_not_fit_is_cut_by_entries_and_named() {
    let mut head = RequestHead {
        method: "Talk".into(),
        ..RequestHead::default()
    };
    head.metadata.push(Scope::Plain, "long", "a\n".repeat(2000));
    head.metadata.push(Scope::Persist, "userId", "7");
    head.metadata.push(Scope::Plain, "line", "a\nb");
    let request = grpc::metadata::request(&head).into_parts().0;
    assert_eq!(request.headers["ripcord-cut"], "exact,names=long");
    let crossed = grpc::metadata::request_head(&request).unwrap();
    let of = |head: &RequestHead, scope, key| head.metadata.get(scope, key).cloned();
    assert_eq!(of(&crossed, Scope::Persist, "userId").unwrap(), "7");
    assert_eq!(of(&crossed, Scope::Plain, "line").unwrap(), "a\nb");
    assert_eq!(of(&crossed, Scope::Plain, "long"), None);
    // Every hop behind says so too.
    let (info, protocol) = ttheader::metadata::request_info(&crossed);
    assert_eq!(info.string("ripcord-cut").unwrap(), "exact,names=long");
    let again = ttheader::metadata::request_head(&info, protocol).unwrap();
    assert_eq!(
        grpc::metadata::request(&again).headers()["ripcord-cut"],
        "exact,names=long"
    );

    let mut head = ResponseHead::default();
    head.metadata.push(Scope::Plain, "long", "a\n".repeat(2000));
    head.metadata.push(Scope::Plain, "Upper", "7");
    let response = grpc::metadata::response(&head, &ripcord::stream::Payload::Thrift);
    assert_eq!(response.headers()["ripcord-cut"], "exact,names=long");
    let crossed = grpc::metadata::response_head(response.headers());
    assert_eq!(
        crossed
            .metadata
            .iter()
            .map(|e| &e.key[..])
            .collect::<Vec<_>>(),
        [b"Upper"]
    );
    let info = ttheader::metadata::response_info(&crossed, "Talk");
    assert_eq!(
        ttheader::metadata::response_head(&info).cut.to_string(),
        "exact,names=long"
    );

    let mut trailers = Metadata::new();
    trailers.push(Scope::Plain, "long", "a\n".repeat(20_000));
    trailers.push(Scope::Plain, "Upper", "7");
    let trailers = grpc::end::to_caller(&End::complete(trailers), NODE, true, Wording::Kitex);
    let crossed = grpc::end::from_trailers(200, &trailers);
    assert_eq!(crossed.trailers.get(Scope::Plain, "Upper").unwrap(), "7");
    assert_eq!(
        crossed
            .trailers
            .iter()
            .map(|e| &e.key[..])
            .collect::<Vec<_>>(),
        [b"Upper"]
    );
    assert_eq!(crossed.cut.to_string(), "trailers,names=long");
}

/// Repeated keys are one string on TTHeader, beside many that need no pack.
#[test]
fn repeated_keys_survive_on_ttheader_beside_large_heads() {
    let mut head = RequestHead {
        method: "Talk".into(),
        ..RequestHead::default()
    };
    for i in 0..200 {
        head.metadata
            .push(Scope::Plain, format!("filler-{i:03}"), "x".repeat(400));
    }
    for value in ["a", "b,c", ""] {
        head.metadata.push(Scope::Plain, "twice", value);
    }
    let (info, protocol) = ttheader::metadata::request_info(&head);
    assert_eq!(info.string("twice").unwrap(), "a,b,c,");
    assert!(info.string("ripcord-meta").unwrap().len() < 100);
    let crossed = ttheader::metadata::request_head(&info, protocol).unwrap();
    assert_eq!(by_key(&crossed.metadata), by_key(&head.metadata));
}

/// What HTTP/2 (RFC 9113, 8.2) and gRPC (PROTOCOL-HTTP2.md) allow of a field; `None` if all is well.
fn forbidden(headers: &HeaderMap) -> Option<String> {
    const ABOUT_CONNECTIONS: [&str; 5] = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
    ];
    let lower = |b: u8| b.is_ascii_graphic() && !b.is_ascii_uppercase() && b != b':';
    headers.iter().find_map(|(name, value)| {
        let (name, value) = (name.as_str(), value.as_bytes());
        let outer = |b: Option<&u8>| b.is_some_and(|b| matches!(b, b' ' | b'\t'));
        let is_base64 = |part: &[u8]| grpc::status::decode_bin(part.trim_ascii()).is_some();
        let wrong = name.is_empty()
            || !name.bytes().all(lower)
            || ABOUT_CONNECTIONS.contains(&name)
            || (name == "te" && value != b"trailers")
            || value
                .iter()
                .any(|b| matches!(b, b'\0' | b'\r' | b'\n' | 0x7f))
            || outer(value.first())
            || outer(value.last())
            || (name.ends_with("-bin") && !value.split(|b| *b == b',').all(is_base64));
        wrong.then(|| format!("{name}: {:?}", String::from_utf8_lossy(value)))
    })
}

/// Strings of a TTHeader peer that HTTP/2 does not know: each kind of bad name and value.
fn odd_strings() -> impl Strategy<Value = Vec<(Bytes, Bytes)>> {
    let name = prop_oneof![
        proptest::sample::select(vec![
            "",
            " ",
            "Upper",
            "with blank",
            "a:b",
            ":path",
            ":authority",
            ":status",
            "connection",
            "Connection",
            "keep-alive",
            "proxy-connection",
            "transfer-encoding",
            "upgrade",
            "te",
            "TE",
            "host",
            "content-length",
            "content-type",
            "grpc-status",
            "grpc-message",
            "Grpc-Message",
            "grpc-timeout",
            "grpc-encoding",
            "blob-bin",
            "Blob-Bin",
            "line\nfeed",
            "nul\0",
            "del\u{7f}",
            "schl\u{fc}ssel",
            "ripcord-subtype",
            "ripcord-service",
            "ripcord-hops",
            "RPC_PERSIST_",
            "RPC_PERSIST_a b",
            "RPC_PERSIST_x-bin",
            "RPC_TRANSIT_\n",
            "RPC_PERSIST_userId",
            "source-service",
        ])
        .prop_map(|name| Bytes::from_static(name.as_bytes())),
        raw(6),
    ];
    let value = prop_oneof![
        proptest::sample::select(vec![
            " outer ",
            "\t",
            "a\nb",
            "a\r\nx: y",
            "nul\0",
            "\u{7f}",
            "\u{4f60}\u{597d}",
            "",
            "gzip",
            " trailing",
        ])
        .prop_map(|value| Bytes::from_static(value.as_bytes())),
        raw(12),
    ];
    vec((name, value), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    /// Whatever a TTHeader peer writes, an HTTP/2 peer receives valid fields.
    #[test]
    fn what_leaves_for_http2_is_valid(
        strings in odd_strings(),
        to in prop_oneof![".{0,12}", Just("user@host".to_owned()), Just(" host ".to_owned())],
        caller in prop_oneof![".{0,12}", Just(" web\t".to_owned())],
        method in ".{1,12}",
        service in ".{0,12}",
        protobuf in any::<bool>(),
        text in text(),
    ) {
        let mut info = Info {
            ints: vec![(9, method.into()), (6, to.into()), (3, caller.into())],
            strings,
        };
        info.strings.push((Bytes::from_static(b"isn"), service.into()));
        let protocol = if protobuf { 0x11 } else { 0x10 };
        let head = ttheader::metadata::request_head(&info, protocol).unwrap();
        let request = grpc::metadata::request(&head);
        prop_assert_eq!(forbidden(request.headers()), None);
        let path = request.uri().path();
        prop_assert!(path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic()), "{}", path);
        let authority = request.uri().authority().unwrap().as_str();
        prop_assert!(!authority.is_empty() && !authority.contains('@'), "{}", authority);
        let head = ttheader::metadata::response_head(&info);
        let response = grpc::metadata::response(&head, &ripcord::stream::Payload::Thrift);
        prop_assert_eq!(forbidden(response.headers()), None);
        let trailers = ttheader::metadata::response_head(&info).metadata;
        for end in [
            ttheader::end::from_trailer(&info, &Bytes::new()),
            End::failed(Failure::Exception(Exception { type_id: 6, text: text.clone() }), trailers.clone()),
            End::failed(Failure::Business(Business { code: 4, text, extra: None, status: None }), trailers),
        ] {
            for carried in [true, false] {
                let trailers = grpc::end::to_caller(&end, NODE, carried, Wording::Kitex);
                prop_assert_eq!(forbidden(&trailers), None);
            }
        }
    }
}

#[test]
fn rpc_metainfo_has_a_form_on_each_wire() {
    let mut head = RequestHead {
        method: "Talk".into(),
        ..RequestHead::default()
    };
    head.metadata.push(Scope::Persist, "USER_ID", "1");
    head.metadata.push(Scope::Transit, "HOP", "2");
    let (info, _) = ttheader::metadata::request_info(&head);
    assert_eq!(info.string("RPC_PERSIST_USER_ID").unwrap(), "1");
    assert_eq!(info.string("RPC_TRANSIT_HOP").unwrap(), "2");
    assert!(info.string("ripcord-meta").is_none());
    let request = grpc::metadata::request(&head);
    assert_eq!(request.headers()["rpc-persist-user-id"], "1");
    assert_eq!(request.headers()["rpc-transit-hop"], "2");
    assert!(!request.headers().contains_key("ripcord-meta-bin"));
}
