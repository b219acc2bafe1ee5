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
