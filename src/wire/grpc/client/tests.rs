//! When a connection to a callee opens no more streams. The clock is paused, so a sleep lasts until
//! no task can run any more.

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::net::budget::Budget;
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
        assert_eq!(written.refusable(), Refusable::UntilAnswered);
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
