//! What cannot be translated ends its stream: each side receives its own form of it, with the field
//! and never its value.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::HeaderMap;
use ripcord::wire::grpc::status::{BadField, decode_bin};
use ripcord::wire::ttheader::frame::Kind;
use ripcord::wire::ttheader::header::PROTOCOL_THRIFT_STRUCT;
use tokio::sync::oneshot;

use super::bytes::{Line, with_schema};
use crate::kit::grpc::{self, Caller, Script as GrpcScript};
use crate::kit::ripcord::Ripcord;
use crate::kit::scripts::Scripts;
use crate::kit::streams::{self, Connection, Heard, Script};
use crate::kit::{frames, tt};

/// A method, the message, and what comes of it: the status, the field, a part of the text.
type Case = (
    &'static str,
    &'static [u8],
    &'static str,
    Option<&'static str>,
    &'static str,
);

const ROUTE: &str = "backend: b, translate: chat";

/// Nobody waits for the callee to hold the stream.
fn held() -> Arc<Mutex<Option<oneshot::Sender<()>>>> {
    Arc::new(Mutex::new(Some(oneshot::channel().0)))
}

fn message(trailers: &HeaderMap) -> String {
    grpc::unpercent(trailers["grpc-message"].as_bytes())
}

fn bad_field(trailers: &HeaderMap) -> Option<BadField> {
    let raw = trailers.get("grpc-status-details-bin")?;
    BadField::decode(&decode_bin(raw.as_bytes()).unwrap().into())
}

/// A stream of a protobuf caller to a thrift callee that waits for its cancel.
async fn to_thrift(hop: &Ripcord, method: &str, sent: &[u8]) -> HeaderMap {
    let caller = Caller::connect(hop.socket_address()).await;
    let path = format!("/chat.v1.Chat/{method}");
    let headers = grpc::request("application/grpc");
    let mut call = caller.open("ripcord", &path, &headers).await;
    call.send(&[Bytes::copy_from_slice(sent)], false).await;
    call.hear().await.trailers
}

#[tokio::test]
async fn what_a_protobuf_caller_cannot_say_is_named_to_it() {
    let scripts = Scripts::default();
    let callee = streams::callee(scripts.clone()).await;
    let hop = Ripcord::named("hop").backend("b", "protocol: ttheader", callee);
    let hop = with_schema(hop.route("all", ROUTE), "").start();
    // {2: 1 << 40}; {5: {1: not UTF-8}}; no field; {1: longer than the message}
    let cases: [Case; 4] = [
        (
            "Talk",
            b"\x10\x80\x80\x80\x80\x80\x20",
            "3",
            Some("seq"),
            "seq: the number does not fit, at byte",
        ),
        (
            "Talk",
            b"\x2a\x03\x0a\x01\xff",
            "3",
            Some("author.name"),
            "author.name: the text is not UTF-8",
        ),
        (
            "Watch",
            b"",
            "3",
            Some("name"),
            "required field name is not set",
        ),
        ("Talk", b"\x0a\x09x", "13", None, "ends too early"),
    ];
    for (method, sent, status, field, text) in cases {
        let heard = scripts.add(method, Script::Hold(None, held()));
        let trailers = to_thrift(&hop, method, sent).await;
        let said = message(&trailers);
        assert_eq!(trailers["grpc-status"], status, "{said}");
        assert!(said.contains(text), "{said}");
        let found = bad_field(&trailers);
        assert_eq!(found.as_ref().map(|bad| &*bad.field), field, "{said}");
        if let Some(bad) = found {
            assert!(bad.description.contains(text), "{bad:?}");
        }
        let heard: Heard = heard.await.unwrap();
        let end = heard.end.unwrap();
        let (code, told) = frames::said(&end.payload).unwrap();
        assert_eq!((end.kind, code), (Kind::Rst, 12004), "{told}");
        assert!(told.contains(text), "{told}");
    }
    let errors = |kind: &str| hop.metric("ripcord_stream_errors_total", kind);
    hop.wait_idle();
    assert_eq!(errors("error_type=\"untranslatable_request\""), 3);
    assert_eq!(errors("error_type=\"invalid_request\""), 1);
}

#[tokio::test]
async fn what_a_callee_cannot_say_is_internal() {
    let scripts = Scripts::default();
    let callee = streams::callee(scripts.clone()).await;
    let hop = Ripcord::named("hop").backend("b", "protocol: ttheader", callee);
    let hop = with_schema(hop.route("all", ROUTE), "").start();
    for (answer, text) in [
        (&b"\x0b\0\x01\0\0\0\x01\xff\0"[..], "the text is not UTF-8"),
        (b"\x0b\0\x01\0\0\0\x09", "ends too early"),
    ] {
        let end = streams::End::Trailer(Vec::new(), None);
        let messages = vec![Bytes::from_static(answer)];
        drop(scripts.add("Watch", Script::Answer(Vec::new(), messages, end)));
        let caller = Caller::connect(hop.socket_address()).await;
        let headers = grpc::request("application/grpc");
        let mut call = caller
            .open("ripcord", "/chat.v1.Chat/Watch", &headers)
            .await;
        call.send(&[Bytes::from_static(b"\x0a\x01r")], true).await;
        let trailers = call.hear().await.trailers;
        let said = message(&trailers);
        assert_eq!(trailers["grpc-status"], "13", "{said}");
        assert!(
            said.contains(text) && said.contains("the callee's message 1"),
            "{said}"
        );
        assert_eq!(bad_field(&trailers), None);
    }
}

#[tokio::test]
async fn a_thrift_caller_receives_a_rst() {
    let scripts = Scripts::default();
    let callee = grpc::callee(scripts.clone()).await;
    let hop = Ripcord::named("hop").backend("b", "protocol: grpc", callee);
    let hop = with_schema(hop.route("all", ROUTE), "").start();
    let heard = scripts.add("Talk", GrpcScript::Hold(None, held()));
    let caller = Connection::connect(hop.socket_address()).await;
    let mut stream = caller.stream("Talk", PROTOCOL_THRIFT_STRUCT);
    let strings = vec![("isn".into(), "Chat".into())];
    stream.send(Kind::Header, &[], &strings, Bytes::new());
    stream.data(&[Bytes::from_static(b"\x0b\0\x01\0\0\0\x01\xff\0")]);
    let end = stream.hear().await.end.unwrap();
    let (code, text) = frames::said(&end.payload).unwrap();
    assert_eq!((end.kind, code), (Kind::Rst, 12004), "{text}");
    assert!(
        text.contains("text: the text is not UTF-8, at byte"),
        "{text}"
    );
    assert_eq!(heard.await.unwrap().reset, Some(8));
}

#[tokio::test]
async fn a_method_that_does_not_pair_is_unimplemented() {
    let callee = tt::Listener::start();
    let hop = Ripcord::named("hop").backend("b", "protocol: ttheader", &callee.address);
    let hop = with_schema(hop.route("all", ROUTE), "").start();
    for (path, text) in [
        (
            "/chat.v1.Chat/Shout",
            "schema chat does not pair method \"Shout\" of service chat.v1.Chat",
        ),
        (
            "/chat.v2.Chat/Talk",
            "schema chat has no protobuf service \"chat.v2.Chat\"; it has chat.v1.Chat",
        ),
        (
            "/chat.v1.Chat/Leave",
            "Chat.Leave is a ping-pong call in the thrift IDL of schema chat",
        ),
    ] {
        let caller = Caller::connect(hop.socket_address()).await;
        let headers = grpc::request("application/grpc");
        let mut call = caller.open("ripcord", path, &headers).await;
        call.send(&[], true).await;
        let trailers = call.hear().await.trailers;
        let said = message(&trailers);
        assert_eq!(trailers["grpc-status"], "12", "{said}");
        assert!(said.contains(text), "{said}");
    }
}

#[tokio::test]
async fn a_payload_of_another_kind_is_refused() {
    let callee = streams::callee(Scripts::default()).await;
    let hop = Ripcord::named("hop").backend("b", "protocol: ttheader", callee);
    let hop = with_schema(hop.route("all", ROUTE), "").start();
    let caller = Caller::connect(hop.socket_address()).await;
    let headers = grpc::request("application/grpc+json");
    let mut call = caller.open("ripcord", "/chat.v1.Chat/Talk", &headers).await;
    call.send(&[], true).await;
    let trailers = call.hear().await.trailers;
    assert_eq!(trailers["grpc-status"], "12", "{trailers:?}");
    let said = message(&trailers);
    assert!(
        said.contains("the request is json: send protobuf or thrift"),
        "{said}"
    );
}

#[tokio::test]
async fn unknown_fields_are_counted_or_refused() {
    let scripts = Scripts::default();
    let callee = streams::callee(scripts.clone()).await;
    let hop = Ripcord::named("hop").backend("b", "protocol: ttheader", callee);
    let hop = with_schema(hop.route("all", ROUTE), "").start();
    let line = Line { text: "t", seq: 1 };
    let mut sent = line.protobuf().to_vec();
    // {77: 1}
    sent.extend([0xe8, 0x04, 0x01]);
    let end = streams::End::Trailer(Vec::new(), None);
    let heard = scripts.add("Say", Script::Answer(Vec::new(), vec![line.thrift()], end));
    let caller = Caller::connect(hop.socket_address()).await;
    let headers = grpc::request("application/grpc");
    let mut call = caller.open("ripcord", "/chat.v1.Chat/Say", &headers).await;
    call.send(&[sent.clone().into()], true).await;
    assert_eq!(call.hear().await.trailers["grpc-status"], "0");
    assert_eq!(heard.await.unwrap().messages, [line.thrift()]);
    let skipped = hop.metric("ripcord_translate_skipped_fields_total", "route=\"all\"");
    assert_eq!(skipped, 1);

    let callee = streams::callee(scripts.clone()).await;
    let strict = Ripcord::named("strict").backend("b", "protocol: ttheader", callee);
    let strict = with_schema(strict.route("all", ROUTE), ", unknown: error").start();
    drop(scripts.add("Talk", Script::Hold(None, held())));
    let trailers = to_thrift(&strict, "Talk", &sent).await;
    assert_eq!(trailers["grpc-status"], "3", "{trailers:?}");
}

/// Small messages of a callee leave together. A bad one among them holds back none before it.
#[tokio::test]
async fn what_was_good_before_a_bad_message_arrives() {
    let scripts = Scripts::default();
    let callee = streams::callee(scripts.clone()).await;
    let hop = Ripcord::named("hop").backend("b", "protocol: ttheader", callee);
    let hop = with_schema(hop.route("all", ROUTE), "").start();
    let line = |seq| Line { text: "t", seq };
    let bad = Bytes::from_static(b"\x0b\0\x01\0\0\0\x01\xff\0");
    let end = streams::End::Trailer(Vec::new(), None);
    let answer = vec![line(1).thrift(), line(2).thrift(), bad, line(3).thrift()];
    let heard = scripts.add("Talk", Script::Answer(Vec::new(), answer, end));
    let caller = Caller::connect(hop.socket_address()).await;
    let headers = grpc::request("application/grpc");
    let path = "/chat.v1.Chat/Talk";
    let mut call = caller.open("ripcord", path, &headers).await;
    call.send(&[line(4).protobuf()], true).await;
    let answered = call.hear().await;
    assert_eq!(answered.messages, [line(1).protobuf(), line(2).protobuf()]);
    assert_eq!(answered.trailers["grpc-status"], "13");
    let said = message(&answered.trailers);
    assert!(said.contains("the callee's message 3 cannot be"), "{said}");
    assert_eq!(heard.await.unwrap().messages, [line(4).thrift()]);
    hop.wait_empty();
}
