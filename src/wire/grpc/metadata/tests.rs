//! Request and response headers against the neutral head, by value. Knows no connection.

use std::time::Duration;

use super::*;
use crate::stream::{Metadata, Scope};

fn parts(
    build: impl FnOnce(http::request::Builder) -> http::request::Builder,
) -> http::request::Parts {
    let request = Request::post("http://chat:80/chat.v1.Chat/Talk")
        .header("content-type", "application/grpc+proto")
        .header("te", "trailers");
    build(request).body(()).unwrap().into_parts().0
}

#[test]
fn a_request_is_read_and_written() {
    let parts = parts(|r| {
        r.header("grpc-timeout", "2S")
            .header("grpc-encoding", "gzip")
            .header("source-service", "web")
            .header("rpc-persist-user-id", "7")
            .header("rpc-transit-hop", "x")
            .header("rpc-transit-empty", "")
            .header("blob-bin", "aGk=, Zm8")
            .header("blob-bin", "!!")
            .header("grpc-status", "0")
            .header("connection", "close")
            .header("a", "1")
            .header("a", "2")
            .header("ripcord-hops", "n1,n%20%C3%BC")
            .header("ripcord-stream", "7")
    });
    let head = request_head(&parts).unwrap();
    assert_eq!(
        (head.service.as_str(), head.method.as_str()),
        ("chat.v1.Chat", "Talk")
    );
    assert_eq!(head.to.as_deref(), Some("chat:80"));
    assert_eq!(head.caller.as_deref(), Some("web"));
    assert_eq!(head.timeout, Some(Duration::from_secs(2)));
    assert_eq!(head.encoding.as_deref(), Some("gzip"));
    assert_eq!(head.payload, Payload::Protobuf);
    assert_eq!(head.hops.as_ref().unwrap().as_wire(), "n1,n ü");
    let seen: Vec<_> = head
        .metadata
        .iter()
        .map(|e| (e.scope, e.key.as_ref(), e.value.as_ref()))
        .collect();
    assert_eq!(
        seen,
        [
            (Scope::Persist, &b"USER_ID"[..], &b"7"[..]),
            (Scope::Transit, b"HOP", b"x"),
            (Scope::Plain, b"blob-bin", b"aGk"),
            (Scope::Plain, b"blob-bin", b"Zm8"),
            (Scope::Plain, b"a", b"1"),
            (Scope::Plain, b"a", b"2"),
        ]
    );
    let again = request(&head);
    assert_eq!(again.uri(), "http://chat:80/chat.v1.Chat/Talk");
    assert_eq!(again.headers()["ripcord-hops"], "n1,n %C3%BC");
    assert!(!again.headers().contains_key("ripcord-stream"));
    assert!(!again.headers().contains_key(keys::META));
    let (parts, ()) = again.into_parts();
    let read = request_head(&parts).unwrap();
    assert_eq!(read.metadata, head.metadata);
    assert_eq!(read.timeout, head.timeout);
}

#[test]
fn what_is_not_grpc_is_refused_as_a_grpc_server_does() {
    let mut get = parts(|r| r);
    get.method = Method::GET;
    let refusal = request_head(&get).unwrap_err();
    assert_eq!(refusal.http_status(), 405);
    assert_eq!(
        refusal.body().unwrap(),
        "This is ripcord, a proxy for gRPC: it takes POST requests with the content-type \
         application/grpc. The method of this request is not POST.\nUse a gRPC client.\n"
    );
    let mut json = parts(|r| r);
    json.headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/grpc-web"),
    );
    let refusal = request_head(&json).unwrap_err();
    assert_eq!(refusal.response().status(), 415);
    let response = refusal.response();
    assert_eq!(
        response.headers()["content-type"],
        "text/plain; charset=utf-8"
    );
    let why = "The content-type of this request is not application/grpc.";
    assert!(refusal.body().unwrap().contains(why));
    assert_eq!(refusal.code(), None);
    let late = parts(|r| r.header("grpc-timeout", "soon"));
    let refusal = request_head(&late).unwrap_err();
    assert_eq!(refusal.response().headers()["grpc-status"], "13");
    assert_eq!(refusal.body(), None);
    let mut te = parts(|r| r);
    te.headers.insert(TE, HeaderValue::from_static("gzip"));
    assert!(request_head(&te).is_err());
    te.headers.remove(TE);
    assert!(request_head(&te).is_ok());
    let mut path = parts(|r| r);
    path.uri = Uri::from_static("http://chat/nothing");
    assert_eq!(
        request_head(&path).unwrap_err().code(),
        Some(Code::Unimplemented)
    );
}

#[test]
fn a_callers_name_crosses_and_its_header_is_valid() {
    for (name, header) in [
        ("web", Some("web")),
        (" web\t", Some("web")),
        (" ", None),
        ("a\nb", None),
    ] {
        let head = RequestHead {
            method: "Talk".into(),
            caller: Some(name.into()),
            ..RequestHead::default()
        };
        let (mut parts, ()) = request(&head).into_parts();
        let native = parts.headers.get(keys::SOURCE_SERVICE);
        assert_eq!(native.map(|v| v.to_str().unwrap()), header, "{name:?}");
        assert_eq!(parts.headers.contains_key(keys::FROM), header != Some(name));
        let read = request_head(&parts).unwrap();
        assert_eq!(read.caller.as_deref(), Some(name));
        // A proxy has changed it.
        parts
            .headers
            .insert(keys::SOURCE_SERVICE, HeaderValue::from_static("other"));
        assert_eq!(
            request_head(&parts).unwrap().caller.as_deref(),
            Some("other")
        );
    }
}

#[test]
fn what_http_cannot_write_is_carried() {
    let mut head = RequestHead {
        service: "Chat".into(),
        method: "Talk it?".into(),
        to: Some("not an authority".into()),
        ..RequestHead::default()
    };
    let md = &mut head.metadata;
    md.push(Scope::Plain, "Upper", "1");
    md.push(Scope::Plain, "schlüssel", "2");
    md.push(Scope::Plain, "line", "a\nb");
    md.push(Scope::Plain, "raw-bin", "not base64!");
    md.push(Scope::Plain, "te", "gzip");
    md.push(Scope::Persist, "user-id", "3");
    md.push(Scope::Transit, "UPSTREAM_OLD", "4");
    let request = request(&head);
    assert_eq!(request.uri(), "http://localhost/Chat/Talk%20it%3F");
    let headers = request.headers();
    assert_eq!(headers["upper"], "1");
    assert_eq!(headers["te"], "trailers");
    assert_eq!(headers["rpc-transit-old"], "4");
    assert_eq!(headers["rpc-persist-user-id"], "3");
    assert_eq!(headers["raw-bin"], status::encode_bin(b"not base64!"));
    let (mut parts, ()) = request.into_parts();
    assert_eq!(request_head(&parts).unwrap().metadata, head.metadata);
    parts
        .headers
        .insert("upper", HeaderValue::from_static("other"));
    let read = request_head(&parts).unwrap().metadata;
    assert_eq!(read.get(Scope::Plain, "upper").unwrap(), "other");
    assert!(read.get(Scope::Plain, "line").is_none());
}

#[test]
fn binary_metainfo_is_base64_as_every_grpc_library_has_it() {
    let metainfo = |head: &RequestHead| -> Vec<(Scope, Vec<u8>, Vec<u8>)> {
        let entries = head.metadata.iter();
        let entries = entries.map(|e| (e.scope, e.key.to_vec(), e.value.to_vec()));
        entries.collect()
    };
    let expected = |value: &[u8]| vec![(Scope::Persist, b"BLOB_BIN".to_vec(), value.to_vec())];
    // A Kitex or grpc-go caller.
    let mut head = request_head(&parts(|r| r.header("rpc-persist-blob-bin", "e30"))).unwrap();
    assert_eq!(metainfo(&head), expected(b"{}"));
    // What is not base64 is no metainfo, and leaves as it came.
    let plain = request_head(&parts(|r| r.header("rpc-persist-blob-bin", "{}"))).unwrap();
    assert_eq!(metainfo(&plain), []);
    let fault = "the value of rpc-persist-blob-bin is not base64";
    assert_eq!(plain.metadata.fault().unwrap(), fault);
    assert_eq!(request(&plain).headers()["rpc-persist-blob-bin"], "{}");
    head.hops = Some(Hops::from_origin("a"));
    let sent = request(&head).into_parts().0;
    assert_eq!(sent.headers.get("rpc-persist-blob-bin").unwrap(), "e30");
    assert_eq!(metainfo(&request_head(&sent).unwrap()), expected(b"{}"));
    // It needs no pack, so its size is bounded by nothing else than the head's.
    assert!(!sent.headers.contains_key(keys::META));
    let large = vec![0xfe; 10_000];
    head.metadata = Metadata::new();
    head.metadata
        .push(Scope::Persist, "BLOB_BIN", large.clone());
    let sent = request(&head).into_parts().0;
    assert_eq!(metainfo(&request_head(&sent).unwrap()), expected(&large));
}

#[test]
fn a_ripcord_says_what_it_reads_and_an_old_one_behind_it_does_not_vouch_for_that() {
    let sent = |hops: Hops| {
        let mut head = request_head(&parts(|r| r)).unwrap();
        head.hops = Some(hops);
        request(&head).into_parts().0.headers
    };
    assert_eq!(caller_reads(&parts(|r| r).headers).1, Wording::Plain);
    let mut headers = sent(Hops::from_origin("web"));
    assert_eq!(caller_reads(&headers).1, Wording::Plain);
    // An old ripcord adds its name and hands the rest on.
    put(&mut headers, keys::names::HOPS, "web,old");
    assert_eq!(caller_reads(&headers).1, Wording::Kitex);
    headers.remove(keys::names::READS);
    assert_eq!(caller_reads(&headers).1, Wording::Kitex);
    // A list that is nearly full may be cut, and so keep its length.
    let full = sent(Hops::from_origin(&"x".repeat(127)));
    assert!(!full.contains_key(keys::names::READS));
    assert_eq!(caller_reads(&full).1, Wording::Kitex);
}
