//! When a connection to a callee opens no more streams. The clock is paused, so a sleep lasts until
//! no task can run any more.

use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::net::budget::Budget;
use crate::stream::{
    End, Failure, Half as _, LocalEndKind, Outbound as _, Processed, Reason, Received, Scope,
};
use crate::testing::local;

fn config() -> Rc<StreamConfig> {
    Rc::new(StreamConfig::small(Budget::new(1 << 30)))
}

#[test]
fn a_connection_that_is_going_away_is_not_used_again() {
    local(async || {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let http2 = Http2Config::default();
        let callee = h2::server::handshake(theirs);
        let caller = Client::connect(ours, &http2, config());
        let (client, driver) = caller.await.unwrap();
        tokio::task::spawn_local(driver);
        let mut callee: h2::server::Connection<_, Bytes> = callee.await.unwrap();
        let head = RequestHead {
            service: "S".into(),
            method: "M".into(),
            ..RequestHead::default()
        };
        let mut living = client.open(&head).await.unwrap();
        let _accepted = callee.accept().await.unwrap().unwrap();
        assert!(client.is_usable());
        callee.graceful_shutdown();
        tokio::task::spawn_local(async move { while callee.accept().await.is_some() {} });
        tokio::time::sleep(Duration::from_secs(1)).await;
        // A stream is open on it, so it is not over. But it opens no other.
        assert!(client.open(&head).await.is_err());
        assert!(!client.is_usable());
        assert_eq!(client.active(), 1);
        let polled = std::future::poll_fn(|cx| Poll::Ready(living.poll_recv(cx))).await;
        assert!(polled.is_pending());
    });
}

/// How the stream ends that a callee resets with this code, after its head or before.
async fn reset(code: u32, answered: bool, after: Duration) -> End {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let callee = h2::server::handshake(theirs);
    let http2 = Http2Config::default();
    let (client, driver) = Client::connect(ours, &http2, config()).await.unwrap();
    tokio::task::spawn_local(driver);
    let mut callee: h2::server::Connection<_, Bytes> = callee.await.unwrap();
    let head = RequestHead {
        service: "S".into(),
        method: "M".into(),
        timeout: Some(Duration::from_millis(90)),
        ..RequestHead::default()
    };
    let mut stream = client.open(&head).await.unwrap();
    let (_request, mut respond) = callee.accept().await.unwrap().unwrap();
    tokio::task::spawn_local(async move { while callee.accept().await.is_some() {} });
    if answered {
        let head = http::Response::builder().header("content-type", "application/grpc");
        let mut body = respond
            .send_response(head.body(()).unwrap(), false)
            .unwrap();
        let head = std::future::poll_fn(|cx| stream.poll_recv(cx)).await;
        assert!(matches!(head, Received::Head(_)));
        tokio::time::sleep(after).await;
        body.send_reset(code.into());
    } else {
        tokio::time::sleep(after).await;
        respond.send_reset(code.into());
    }
    match std::future::poll_fn(|cx| stream.poll_recv(cx)).await {
        Received::End(end) => end,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_refused_stream_is_unprocessed_only_before_an_answer() {
    local(async || {
        for (answered, processed) in [(false, Processed::No), (true, Processed::Maybe)] {
            let end = reset(7, answered, Duration::ZERO).await;
            assert_eq!(end.processed, processed, "{answered}");
            let Reason::Failed(Failure::Status(status)) = end.reason else {
                panic!("{end:?}")
            };
            assert_eq!(status.code, 14);
        }
    });
}

/// The callee's clock starts after this hop's, so it has nothing to be ahead of.
#[test]
fn a_callees_reset_is_the_deadline_only_at_the_deadline() {
    local(async || {
        for (after, is_deadline) in [(5, false), (80, false), (90, true), (95, true)] {
            for answered in [false, true] {
                let end = reset(8, answered, Duration::from_millis(after)).await;
                let is =
                    matches!(&end.reason, Reason::Hop(hop) if hop.kind == LocalEndKind::Deadline);
                assert_eq!(is, is_deadline, "{after} ms: {end:?}");
            }
        }
    });
}

/// A callee's server would answer 431, or reset the stream.
#[test]
fn a_request_over_what_the_callee_announced_is_refused_here() {
    local(async || {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let http2 = Http2Config::default();
        let mut server = h2::server::Builder::new();
        server.max_header_list_size(8192);
        let callee = server.handshake(theirs);
        let (client, driver) = Client::connect(ours, &http2, config()).await.unwrap();
        tokio::task::spawn_local(driver);
        let mut callee: h2::server::Connection<_, Bytes> = callee.await.unwrap();
        tokio::task::spawn_local(async move { while callee.accept().await.is_some() {} });
        let mut head = RequestHead {
            service: "S".into(),
            method: "M".into(),
            ..RequestHead::default()
        };
        assert_eq!(client.refuses(&head), None, "nothing is known yet");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(client.refuses(&head), None);
        // `:method` and the rest, `te`, the content type: 280 bytes; 33 for this field.
        head.metadata
            .push(Scope::Plain, "k", "x".repeat(8192 - 280 - 33));
        assert_eq!(client.refuses(&head), None);
        head.metadata.push(Scope::Plain, "l", "");
        let text = client.refuses(&head).unwrap();
        let expected = "the request's headers have 8225 bytes, and the callee takes 8192 \
                        (SETTINGS_MAX_HEADER_LIST_SIZE)";
        assert_eq!(text, expected);
    });
}

fn head() -> RequestHead {
    RequestHead {
        service: "S".into(),
        method: "M".into(),
        ..RequestHead::default()
    }
}

async fn end(stream: &mut ClientStream) -> End {
    loop {
        let received = std::future::poll_fn(|cx| stream.poll_recv(cx)).await;
        if let Received::End(end) = received {
            return end;
        }
    }
}

/// What the socket took since a stream was opened decides: the callee may have looked at that.
#[test]
fn a_stream_of_which_nothing_was_written_is_unprocessed_when_the_callee_is_lost() {
    local(async || {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let callee = h2::server::handshake(theirs);
        let http2 = Http2Config::default();
        let (client, driver) = Client::connect(ours, &http2, config()).await.unwrap();
        tokio::task::spawn_local(driver);
        let mut callee: h2::server::Connection<_, Bytes> = callee.await.unwrap();
        let mut written = client.open(&head()).await.unwrap();
        assert!(written.refusable());
        let accepted = callee.accept().await.unwrap().unwrap();
        // The callee is gone before the connection's task has its next turn.
        drop((accepted, callee));
        let mut waiting = client.open(&head()).await.unwrap();
        for (stream, unprocessed) in [(&mut written, false), (&mut waiting, true)] {
            let end = end(stream).await;
            assert_eq!(end.processed == Processed::No, unprocessed, "{end:?}");
            assert_eq!(stream.refused(), unprocessed);
        }
    });
}

/// RFC 9113, section 8.7, speaks of a request. A callee that has answered did look at it.
#[test]
fn refused_stream_proves_something_before_the_head_only() {
    for answered in [false, true] {
        local(async move || {
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            let callee = h2::server::handshake(theirs);
            let http2 = Http2Config::default();
            let (client, driver) = Client::connect(ours, &http2, config()).await.unwrap();
            tokio::task::spawn_local(driver);
            let mut callee: h2::server::Connection<_, Bytes> = callee.await.unwrap();
            let mut stream = client.open(&head()).await.unwrap();
            let (_request, mut respond) = callee.accept().await.unwrap().unwrap();
            tokio::task::spawn_local(async move { while callee.accept().await.is_some() {} });
            if answered {
                let kind = ("content-type", "application/grpc");
                let response = http::Response::builder().header(kind.0, kind.1);
                let mut body = respond
                    .send_response(response.body(()).unwrap(), false)
                    .unwrap();
                let head = std::future::poll_fn(|cx| stream.poll_recv(cx)).await;
                assert!(matches!(head, Received::Head(_)));
                body.send_reset(h2::Reason::REFUSED_STREAM);
            } else {
                respond.send_reset(h2::Reason::REFUSED_STREAM);
            }
            let end = end(&mut stream).await;
            let expected = match answered {
                true => Processed::Maybe,
                false => Processed::No,
            };
            assert_eq!((end.processed, stream.refused()), (expected, !answered));
        });
    }
}
