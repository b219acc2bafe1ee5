//! A translated stream that its callee did not look at is opened again: the second callee receives
//! the same translated messages, once.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use ripcord::wire::ttheader::frame::Kind;
use ripcord::wire::ttheader::header::PROTOCOL_THRIFT_STRUCT;
use tokio::net::TcpListener;

use super::bytes::{Line, with_schema};
use crate::kit::grpc;
use crate::kit::ripcord::Ripcord;
use crate::kit::streams::Connection;

const ROUTE: &str = "backend: b, translate: chat";

/// The path and the bytes of each stream that the callee saw.
type Seen = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

#[tokio::test]
async fn a_refused_stream_is_opened_again_in_the_callees_form() {
    let seen = Seen::default();
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let answer = Line {
        text: "hello",
        seq: 7,
    };
    let (told, answered) = (Arc::clone(&seen), answer.protobuf());
    tokio::spawn(grpc::serve(socket, move |request, mut respond| {
        let (told, answered) = (Arc::clone(&told), answered.clone());
        Some(async move {
            let (parts, mut body) = request.into_parts();
            let mut all = Vec::new();
            while let Some(Ok(piece)) = body.data().await {
                let _ = body.flow_control().release_capacity(piece.len());
                all.extend_from_slice(&piece);
            }
            let before = {
                let mut told = told.lock().unwrap();
                told.push((parts.uri.path().to_owned(), all));
                told.len() - 1
            };
            if before == 0 {
                respond.send_reset(h2::Reason::REFUSED_STREAM);
                return;
            }
            let mut response = http::Response::new(());
            let kind = parts.headers["content-type"].clone();
            response.headers_mut().insert("content-type", kind);
            let mut out = respond.send_response(response, false).unwrap();
            out.send_data(grpc::frame(&[answered]), false).unwrap();
            let trailers = grpc::header_map(&vec![(b"grpc-status".to_vec(), b"0".to_vec())]);
            out.send_trailers(trailers).unwrap();
        })
    }));
    let hop = Ripcord::named("hop").backend("b", "protocol: grpc", address);
    let hop = with_schema(hop.route("all", ROUTE), "").start();

    let lines = [1, 2, 300].map(|seq| Line { text: "t", seq });
    let caller = Connection::connect(hop.socket_address()).await;
    let mut stream = caller.stream("Talk", PROTOCOL_THRIFT_STRUCT);
    let strings = vec![("isn".into(), "Chat".into())];
    stream.send(Kind::Header, &[], &strings, Bytes::new());
    stream.data(&lines.each_ref().map(Line::thrift));
    stream.send(Kind::Trailer, &[], &Vec::new(), Bytes::new());
    let heard = stream.hear().await;
    assert_eq!(heard.messages, [answer.thrift()]);
    assert_eq!(heard.end.unwrap().kind, Kind::Trailer);

    let sent = grpc::frame(&lines.each_ref().map(Line::protobuf)).to_vec();
    let expected = ("/chat.v1.Chat/Talk".to_owned(), sent);
    assert_eq!(*seen.lock().unwrap(), [expected.clone(), expected]);
    assert_eq!(hop.metric("ripcord_stream_retries_total", ""), 1);
    hop.wait_empty();
}
