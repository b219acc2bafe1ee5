//! Each sentence says who did what, and none has a word of the library. Real connections show that
//! the right one is found.

use std::future::poll_fn;

use bytes::Bytes;
use http::{Request, Response};

use super::*;
use crate::testing::local;

/// Words that only the library's people understand.
const INNER: &[&str] = &[
    "h2",
    "user error",
    "connection error",
    "stream error",
    "protocol error",
    "not a result",
    "broken pipe",
    "detected",
    "received:",
    "by user",
    "os error",
    "inactive",
    "unspecific",
    "Library",
    "hyper",
    "tokio",
    "b\"",
];

#[test]
fn no_sentence_has_inner_words() {
    let codes = (0..=14).chain([1000, 12_007, u32::MAX]).map(ResetCode);
    let mut faults = vec![Fault::NoIds, Fault::Closing, Fault::Unwritable, Fault::Over];
    for code in codes {
        faults.push(Fault::Code(code));
        for by in [By::Peer, By::Layer, By::Us] {
            faults.push(Fault::Reset(code, by));
            for debug in [
                None,
                Some("too_many_pings"),
                Some("too_many_resets"),
                Some("too_many_internal_resets"),
                Some("header_list_way_too_large"),
                Some("too_many_continuations"),
                Some("too_many_data_frames"),
                Some("max_age"),
            ] {
                faults.push(Fault::GoAway(code, by, debug.map(str::to_owned)));
            }
        }
    }
    for fault in faults {
        let text = sentence(&fault, "the callee");
        let inner = INNER.iter().find(|word| text.contains(**word));
        assert_eq!(inner, None, "{text}");
        let named = text.contains("the callee") || text.contains("ripcord");
        assert!(named || fault == Fault::Unwritable, "{text}");
    }
}

#[test]
fn a_peers_debug_data_is_shown_where_it_says_why() {
    for (code, debug, text) in [
        (
            11,
            Some("too_many_pings"),
            "the callee sent GOAWAY ENHANCE_YOUR_CALM: too many pings",
        ),
        (
            0,
            Some("max_age"),
            "the callee sent GOAWAY NO_ERROR: max_age",
        ),
        (0, None, "the callee sent GOAWAY NO_ERROR"),
        (99, None, "the callee sent GOAWAY HTTP/2 error code 99"),
    ] {
        let fault = Fault::GoAway(ResetCode(code), By::Peer, debug.map(str::to_owned));
        assert_eq!(sentence(&fault, "the callee"), text);
    }
}

/// What a client reads of a stream that its server treats so.
async fn seen(
    serve: impl AsyncFnOnce(&mut h2::server::Connection<tokio::io::DuplexStream, Bytes>) + 'static,
) -> String {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    tokio::task::spawn_local(async move {
        let mut callee = h2::server::handshake(theirs).await.unwrap();
        serve(&mut callee).await;
        let _ = poll_fn(|cx| callee.poll_closed(cx)).await;
    });
    let mut client = h2::client::Builder::new();
    client.max_header_list_size(1000);
    let (mut requests, connection) = client.handshake::<_, Bytes>(ours).await.unwrap();
    tokio::task::spawn_local(connection);
    let request = Request::post("http://a/b").body(()).unwrap();
    let (response, _body) = requests.send_request(request, false).unwrap();
    of(&response.await.unwrap_err(), "the callee")
}

#[test]
fn what_a_peer_does_is_told_from_what_this_side_refuses() {
    local(async || {
        let reset = seen(async |callee| {
            let (_, mut respond) = callee.accept().await.unwrap().unwrap();
            respond.send_reset(h2::Reason::INTERNAL_ERROR);
        });
        assert_eq!(reset.await, "the callee reset the stream (INTERNAL_ERROR)");
        let goaway = seen(async |callee| {
            callee.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
        });
        assert_eq!(goaway.await, "the callee sent GOAWAY ENHANCE_YOUR_CALM");
        let long = seen(async |callee| {
            let (_, mut respond) = callee.accept().await.unwrap().unwrap();
            let long = Response::builder().header("k", "x".repeat(1500));
            let body = respond
                .send_response(long.body(()).unwrap(), false)
                .unwrap();
            std::mem::forget(body);
        });
        let text = "the callee sent what HTTP/2 forbids, or too long headers, and ripcord reset the stream";
        assert_eq!(long.await, text);
    });
}
