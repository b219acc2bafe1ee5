//! A body's messages and the window that they hold, over an in-memory connection on a paused clock.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use http::Request;
use tokio::sync::oneshot;

use super::*;
use crate::net::budget::Budget;
use crate::net::held::Held;
use crate::net::http2::{Control, Http2Config, SendBody};
use crate::stream::Message;
use crate::testing::local;

const WINDOW: usize = 64 * 1024;
const MESSAGE: usize = 100 * 1024;

/// A receiver whose body the test writes; both connections are driven.
async fn body() -> (SendBody, Receiver) {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let config = Http2Config {
        stream_window: WINDOW as u32,
        connection_window: 16 * WINDOW as u32,
        ..Http2Config::default()
    };
    let connecting = http2::connect(theirs, &config, Control::default());
    let (mut requests, driver) = connecting.await.unwrap();
    tokio::task::spawn_local(driver);
    let (accept, accepted) = oneshot::channel();
    tokio::task::spawn_local(async move {
        let mut accept = Some(accept);
        let on_request = |request, respond| {
            let _ = accept.take().unwrap().send((request, respond));
        };
        http2::serve(ours, &config, Control::default(), on_request).await
    });
    let (response, send) = requests.send_request(Request::new(()), false).unwrap();
    let (request, respond) = accepted.await.unwrap();
    tokio::task::spawn_local(async move {
        let _open = (response, respond, requests);
        std::future::pending::<()>().await;
    });
    let held = Held::new(
        16 * WINDOW,
        Duration::from_secs(1),
        Budget::new(usize::MAX),
        Arc::new(AtomicU64::new(0)),
    );
    let body = request.into_body();
    let receiver = Receiver::new(body, held.share(), 1 << 20, WINDOW as u32, true);
    (send, receiver)
}

/// Sends messages of [`MESSAGE`] bytes as long as there is room.
async fn send_all(mut send: SendBody) {
    let mut one = MessageBatch::new();
    loop {
        one.push_message(false, vec![7; MESSAGE].into());
        while !one.is_empty() {
            send.reserve_capacity(16 * 1024);
            match poll_fn(|cx| send.poll_capacity(cx)).await {
                Some(Ok(n)) => {
                    let piece = one.take_piece(n).unwrap();
                    send.send_data(piece, false).unwrap();
                }
                _ => return,
            }
        }
    }
}

/// Counts whole messages until no more come.
async fn receive(receiver: &mut Receiver) -> usize {
    let mut messages = 0;
    while let Ok(got) =
        tokio::time::timeout(Duration::from_millis(500), poll_fn(|cx| receiver.poll(cx))).await
    {
        let Got::Messages(mut run) = got else {
            panic!("{got:?}");
        };
        while let Some(message) = run.pop_message(|_| {}) {
            assert_eq!(
                message,
                Message {
                    compressed: false,
                    len: MESSAGE
                }
            );
            messages += 1;
        }
        assert!(messages < 100, "no end of it");
    }
    messages
}

#[test]
fn large_messages_wait_for_those_before_them() {
    local(async || {
        let (send, mut receiver) = body().await;
        tokio::task::spawn_local(send_all(send));
        // The first is larger than the window, and still comes. While nobody takes it, no more
        // come.
        assert_eq!(receive(&mut receiver).await, 1);
        assert!(receiver.share.held() <= MESSAGE + PREFIX + WINDOW);
        // It is taken bit by bit. Then the next one comes, and only one.
        for _ in 0..5 {
            for _ in 0..MESSAGE / 1024 {
                receiver.release(1024);
            }
            receiver.release(PREFIX);
            assert_eq!(receive(&mut receiver).await, 1);
            assert!(receiver.share.held() <= MESSAGE + PREFIX + WINDOW);
        }
    });
}
