//! IDL files belong to the configuration's content: they reload with it, all or nothing.

use std::path::Path;

use bytes::Bytes;

use super::bytes::{Line, idl};
use crate::kit::grpc::{self, Caller};
use crate::kit::ripcord::Ripcord;
use crate::kit::scripts::Scripts;
use crate::kit::streams::{self, Script};

async fn status(hop: &Ripcord, line: &Bytes) -> String {
    let caller = Caller::connect(hop.socket_address()).await;
    let headers = grpc::request("application/grpc");
    let mut call = caller.open("ripcord", "/chat.v1.Chat/Say", &headers).await;
    call.send(std::slice::from_ref(line), true).await;
    let trailers = call.hear().await.trailers;
    trailers["grpc-status"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_changed_idl_file_is_taken_up_or_refused_as_a_whole() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("translate-reload");
    std::fs::create_dir_all(&folder).unwrap();
    let read = |name: &str| std::fs::read_to_string(idl().join(name)).unwrap();
    let (proto, thrift) = (read("chat.proto"), read("chat.thrift"));
    let write = |text: &str| std::fs::write(folder.join("chat.thrift"), text).unwrap();
    std::fs::write(folder.join("chat.proto"), &proto).unwrap();
    // A ping-pong call first.
    let call = thrift.replace(" (streaming.mode = \"unary\")", "");
    assert_ne!(call, thrift);
    write(&call);
    let scripts = Scripts::default();
    let callee = streams::callee(scripts.clone()).await;
    let hop = Ripcord::named("hop")
        .set(&format!(
            "schemas: {{ chat: {{ protobuf: {{ files: [\"{0}/chat.proto\"] }}, \
             thrift: {{ files: [\"{0}/chat.thrift\"] }} }} }}",
            folder.display()
        ))
        .backend("b", "protocol: ttheader", callee)
        .route("all", "backend: b, translate: chat")
        .start();
    let line = Line { text: "t", seq: 1 };
    assert_eq!(status(&hop, &line.protobuf()).await, "12");

    write(&thrift);
    let seen = hop.logged("configuration reloaded");
    assert_eq!(seen["schemas_changed"], "chat", "{seen}");
    let answer = |scripts: &Scripts<Script, streams::Heard>| {
        let end = streams::End::Trailer(Vec::new(), None);
        scripts.add("Say", Script::Answer(Vec::new(), vec![line.thrift()], end))
    };
    let heard = answer(&scripts);
    assert_eq!(status(&hop, &line.protobuf()).await, "0");
    assert_eq!(heard.await.unwrap().messages, [line.thrift()]);

    // A broken file is refused, and the last good one stays in force.
    write("struct Line {");
    hop.wait("the refusal", || {
        !hop.json("/config")["last_error"].is_null()
    });
    let faults = hop.json("/config")["last_error"]["faults"].clone();
    let error = |fault: &&serde_json::Value| fault["severity"] == "error";
    let error = faults.as_array().unwrap().iter().find(error).unwrap();
    let file = error["file"].as_str().unwrap();
    assert!(file.ends_with("chat.thrift"), "{faults}");
    assert_eq!(error["path"], "schemas.chat");
    let heard = answer(&scripts);
    assert_eq!(status(&hop, &line.protobuf()).await, "0");
    assert_eq!(heard.await.unwrap().messages, [line.thrift()]);
}

/// A stream that runs keeps the rules that it started with, in both directions.
#[tokio::test]
async fn a_stream_keeps_the_schema_that_it_started_with() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("translate-reload-live");
    std::fs::create_dir_all(&folder).unwrap();
    let read = |name: &str| std::fs::read_to_string(idl().join(name)).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    let thrift = read("chat.thrift");
    write("chat.proto", &read("chat.proto"));
    write("chat.thrift", &thrift);
    let scripts = Scripts::default();
    let callee = streams::callee(scripts.clone()).await;
    let hop = Ripcord::named("hop")
        .set(&format!(
            "schemas: {{ chat: {{ protobuf: {{ files: [\"{0}/chat.proto\"] }}, \
             thrift: {{ files: [\"{0}/chat.thrift\"] }}, \
             fields: {{ by: by_name }} }} }}",
            folder.display()
        ))
        .backend("b", "protocol: ttheader", callee)
        .route("all", "backend: b, translate: chat")
        .start();
    let line = |seq| Line { text: "t", seq };
    let script = |answer| {
        let end = streams::End::Trailer(Vec::new(), None);
        scripts.add("Talk", Script::Answer(Vec::new(), vec![answer], end))
    };
    let caller = Caller::connect(hop.socket_address()).await;
    let headers = grpc::request("application/grpc");
    let heard = script(line(9).thrift());
    let mut old = caller.open("ripcord", "/chat.v1.Chat/Talk", &headers).await;
    old.send(&[line(1).protobuf()], false).await;
    hop.wait("the stream", || {
        hop.json("/streams")["streams"]
            .as_array()
            .is_some_and(|s| !s.is_empty())
    });

    // The text has another id now.
    let changed = thrift.replace("1: string text", "9: string text");
    assert_ne!(changed, thrift);
    write("chat.thrift", &changed);
    hop.logged("configuration reloaded");
    old.send(&[line(2).protobuf()], true).await;
    let answered = old.hear().await;
    assert_eq!(answered.messages, [line(9).protobuf()]);
    let heard = heard.await.unwrap();
    assert_eq!(heard.messages, [line(1).thrift(), line(2).thrift()]);

    let heard = script(Bytes::from_static(
        b"\x0b\0\x09\0\0\0\x01n\x08\0\x02\0\0\0\x04\0",
    ));
    let mut new = caller.open("ripcord", "/chat.v1.Chat/Talk", &headers).await;
    new.send(&[line(3).protobuf()], true).await;
    assert_eq!(new.hear().await.messages, [&b"\x0a\x01n\x10\x04"[..]]);
    let sent = &heard.await.unwrap().messages[0];
    assert_eq!(sent[..8], *b"\x0b\0\x09\0\0\0\x01t", "{sent:?}");
}
