//! All kinds of streams, in both directions and on both wires: what the other side receives is the
//! message in its own form, under its own names.

use bytes::Bytes;
use ripcord::wire::ttheader::frame::Kind;
use ripcord::wire::ttheader::header::PROTOCOL_THRIFT_STRUCT;

use super::bytes::{Line, room, with_schema};
use crate::kit::grpc::{self, Caller, Script as GrpcScript};
use crate::kit::ripcord::Ripcord;
use crate::kit::scripts::Scripts;
use crate::kit::streams::{self, Connection, Script};

const ROUTE: &str = "backend: b, translate: chat";

/// A method, what its caller sends and what its callee answers: protobuf and thrift of each.
type Case = (&'static str, Vec<(Bytes, Bytes)>, Vec<(Bytes, Bytes)>);

fn cases() -> Vec<Case> {
    let line = |text, seq| {
        let line = Line { text, seq };
        (line.protobuf(), line.thrift())
    };
    let summary = (
        Bytes::from_static(b"\x08\x02"),
        Bytes::from_static(b"\x0a\0\x01\0\0\0\0\0\0\0\x02\0"),
    );
    let watch = (Bytes::from_static(b"\x0a\x01r"), room());
    vec![
        (
            "Talk",
            vec![line("one", 1), line("two", -2)],
            vec![line("three", 3), line("four", 4)],
        ),
        ("Upload", vec![line("a", 1), line("b", 2)], vec![summary]),
        ("Watch", vec![watch], vec![line("x", 7), line("y", 8)]),
        ("Say", vec![line("hi", 300)], vec![line("ho", 301)]),
    ]
}

fn split(pairs: &[(Bytes, Bytes)]) -> (Vec<Bytes>, Vec<Bytes>) {
    pairs.iter().cloned().unzip()
}

fn text(value: &[u8]) -> &str {
    std::str::from_utf8(value).unwrap()
}

#[tokio::test]
async fn a_protobuf_caller_reaches_a_thrift_callee() {
    let scripts = Scripts::default();
    let callee = streams::callee(scripts.clone()).await;
    let hop = Ripcord::named("hop").backend("b", "protocol: ttheader, payload: thrift", callee);
    let hop = with_schema(hop.route("all", ROUTE), "").start();
    let caller = Caller::connect(hop.socket_address()).await;
    for (method, request, response) in cases() {
        let ((sent, expected), (answer, made)) = (split(&request), split(&response));
        let end = streams::End::Trailer(Vec::new(), None);
        let heard = scripts.add(method, Script::Answer(Vec::new(), made, end));
        let path = format!("/chat.v1.Chat/{method}");
        let headers = grpc::request("application/grpc");
        let mut call = caller.open("ripcord", &path, &headers).await;
        call.send(&sent, true).await;
        let answered = call.hear().await;
        assert_eq!(answered.messages, answer, "{method}");
        assert_eq!(answered.trailers["grpc-status"], "0", "{method}");
        let headers = answered.headers.unwrap();
        assert_eq!(headers["content-type"], "application/grpc", "{method}");
        let heard = heard.await.unwrap();
        assert_eq!(heard.messages, expected, "{method}");
        let head = heard.head();
        assert_eq!(text(&head[&b"isn"[..]][0]), "Chat", "{method}");
    }
}

#[tokio::test]
async fn a_thrift_caller_reaches_a_protobuf_callee() {
    let scripts = Scripts::default();
    let callee = grpc::callee(scripts.clone()).await;
    let hop = Ripcord::named("hop").backend("b", "protocol: grpc", callee);
    let hop = with_schema(hop.route("all", ROUTE), "").start();
    let caller = Connection::connect(hop.socket_address()).await;
    for (method, request, response) in cases() {
        let ((expected, sent), (made, answer)) = (split(&request), split(&response));
        let head = Some(grpc::request("application/grpc"));
        let end = grpc::End::Trailers(vec![("grpc-status".into(), "0".into())]);
        let heard = scripts.add(method, GrpcScript::Answer(head, made, end));
        let mut stream = caller.stream(method, PROTOCOL_THRIFT_STRUCT);
        let strings = vec![("isn".into(), "Chat".into())];
        stream.send(Kind::Header, &[], &strings, Bytes::new());
        stream.data(&sent);
        stream.send(Kind::Trailer, &[], &Vec::new(), Bytes::new());
        let answered = stream.hear().await;
        assert_eq!(answered.messages, answer, "{method}");
        assert_eq!(answered.end.unwrap().kind, Kind::Trailer, "{method}");
        let heard = heard.await.unwrap();
        assert_eq!(heard.messages, expected, "{method}");
        assert_eq!(heard.path, format!("/chat.v1.Chat/{method}"));
        assert_eq!(heard.headers["content-type"], "application/grpc");
    }
}

/// Kitex' gRPC clients name the kind of their payload, and the namespace before their service.
#[tokio::test]
async fn thrift_on_grpc_is_translated_and_what_fits_passes_as_it_is() {
    let scripts = Scripts::default();
    let callee = grpc::callee(scripts.clone()).await;
    let hop = Ripcord::named("hop").backend("b", "protocol: grpc", callee);
    let hop = with_schema(hop.route("all", ROUTE), "").start();
    let caller = Caller::connect(hop.socket_address()).await;
    let line = Line { text: "t", seq: 5 };
    for (kind, path, sent) in [
        ("application/grpc+thrift", "/chat.Chat/Talk", line.thrift()),
        ("application/grpc", "/chat.v1.Chat/Talk", line.protobuf()),
    ] {
        let head = Some(grpc::request("application/grpc"));
        let end = grpc::End::Trailers(vec![("grpc-status".into(), "0".into())]);
        let script = GrpcScript::Answer(head, vec![line.protobuf()], end);
        let heard = scripts.add("Talk", script);
        let mut call = caller.open("ripcord", path, &grpc::request(kind)).await;
        call.send(std::slice::from_ref(&sent), true).await;
        let answered = call.hear().await;
        assert_eq!(answered.messages, [sent], "{kind}");
        assert_eq!(answered.headers.unwrap()["content-type"], kind);
        let heard = heard.await.unwrap();
        assert_eq!(heard.messages, [line.protobuf()], "{kind}");
        assert_eq!(heard.path, "/chat.v1.Chat/Talk");
    }
}

/// The compression is taken off before. A message that came in pieces is put together.
#[tokio::test]
async fn compressed_and_large_messages_are_translated() {
    let scripts = Scripts::default();
    let callee = streams::callee(scripts.clone()).await;
    let hop = Ripcord::named("hop").backend("b", "protocol: ttheader", callee);
    let hop = with_schema(hop.route("all", ROUTE), "").start();
    let caller = Caller::connect(hop.socket_address()).await;
    // {1: text} of 300,000 bytes.
    let (mut large, mut expected) = (
        vec![0x0a, 0xe0, 0xa7, 0x12],
        vec![11, 0, 1, 0, 4, 0x93, 0xe0],
    );
    large.extend(vec![b'x'; 300_000]);
    expected.extend(vec![b'x'; 300_000]);
    // Default requiredness: zeros and empty containers are written.
    expected.extend([8, 0, 2, 0, 0, 0, 0, 15, 0, 3, 11, 0, 0, 0, 0]);
    expected.extend([13, 0, 4, 11, 8, 0, 0, 0, 0, 0]);
    let zip = |bytes: &[u8]| {
        use std::io::Write as _;
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(bytes).unwrap();
        let packed = gzip.finish().unwrap();
        let mut out = vec![1];
        out.extend((packed.len() as u32).to_be_bytes());
        out.extend(packed);
        Bytes::from(out)
    };
    for encoded in [false, true] {
        let end = streams::End::Trailer(Vec::new(), None);
        let heard = scripts.add("Talk", Script::Answer(Vec::new(), Vec::new(), end));
        let mut headers = grpc::request("application/grpc");
        if encoded {
            headers.push(("grpc-encoding".into(), "gzip".into()));
        }
        let mut call = caller.open("ripcord", "/chat.v1.Chat/Talk", &headers).await;
        match encoded {
            true => call.send_raw(zip(&large), true).await,
            false => call.send(&[Bytes::from(large.clone())], true).await,
        }
        assert_eq!(call.hear().await.trailers["grpc-status"], "0");
        let messages = heard.await.unwrap().messages;
        assert_eq!(messages.len(), 1);
        let mut got = fields(&messages[0]);
        let mut wanted = fields(&expected);
        got.sort();
        wanted.sort();
        assert!(got == wanted, "{encoded}: {} bytes", messages[0].len());
    }
}

/// The fields of a `Line` with empty containers, whatever their order.
fn fields(line: &[u8]) -> Vec<Vec<u8>> {
    let (mut out, mut at) = (Vec::new(), 0);
    while line[at] != 0 {
        let rest = &line[at..];
        let len = match rest[0] {
            11 => 7 + u32::from_be_bytes(rest[3..7].try_into().unwrap()) as usize,
            8 => 7,
            15 => 8,
            13 => 9,
            other => panic!("type {other}"),
        };
        out.push(rest[..len].to_vec());
        at += len;
    }
    out
}

/// An empty protobuf message is a thrift struct with zeros: much more is sent than was received, and
/// the other way round. Each side gets its room back for what it sent itself.
#[tokio::test]
async fn messages_that_grow_and_shrink_keep_the_windows_open() {
    const COUNT: usize = 30_000;
    let scripts = Scripts::default();
    let callee = streams::callee(scripts.clone()).await;
    let hop = Ripcord::named("hop").backend("b", "protocol: ttheader", callee);
    let hop = with_schema(hop.route("all", ROUTE), "").start();
    let zeros = Bytes::from_static(
        b"\x0b\0\x01\0\0\0\0\x08\0\x02\0\0\0\0\x0f\0\x03\x0b\0\0\0\0\x0d\0\x04\x0b\x08\0\0\0\0\0",
    );
    let end = streams::End::Trailer(Vec::new(), None);
    let answer = vec![zeros.clone(); COUNT];
    let heard = scripts.add("Talk", Script::Answer(Vec::new(), answer, end));
    let caller = Caller::connect(hop.socket_address()).await;
    let headers = grpc::request("application/grpc");
    let path = "/chat.v1.Chat/Talk";
    let mut call = caller.open("ripcord", path, &headers).await;
    call.send(&vec![Bytes::new(); COUNT], true).await;
    let answered = call.hear().await;
    assert_eq!(answered.trailers["grpc-status"], "0");
    assert_eq!(answered.messages.len(), COUNT);
    assert!(answered.messages.iter().all(Bytes::is_empty));
    let messages = heard.await.unwrap().messages;
    assert_eq!(messages.len(), COUNT);
    assert!(messages.iter().all(|message| *message == zeros));
    hop.wait_empty();
}
