//! Both sides of the control stream, over an in-memory connection.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::task::{JoinHandle, spawn_local};

use super::*;
use crate::net::budget::Budget;
use crate::net::http2::{self, ConnectionEnd, Control, Http2Config};
use crate::stream::{
    Class, End, Half, Hops, Inbound, LocalEndKind, MARK, MessageBatch, Outbound, Reason, Received,
    RequestHead, ResponseHead,
};
use crate::testing;
use crate::wire::grpc::StreamConfig;
use crate::wire::grpc::client::{Client, ClientStream};
use crate::wire::grpc::server::{Connection, ServerStream};

mod peers;

fn config(to_ripcord: bool, carried: bool) -> Rc<StreamConfig> {
    Rc::new(StreamConfig {
        to_ripcord,
        carried,
        ..StreamConfig::small(Budget::new(1 << 30))
    })
}

fn local<F: Future>(test: F) -> F::Output {
    testing::local(async || tokio::time::timeout(LIMIT, test).await.expect("in time"))
}

/// Of paused time, which passes only when nothing else can happen.
const LIMIT: Duration = Duration::from_secs(600);

/// Two ripcords' ends of one connection.
struct Pair {
    client: Client,
    streams: Rc<RefCell<Vec<(RequestHead, ServerStream)>>>,
    control: Control,
    served: JoinHandle<ConnectionEnd>,
    driven: JoinHandle<ConnectionEnd>,
}

impl Pair {
    async fn new(to_ripcord: bool, carried: bool, max_streams: u32) -> Self {
        Self::over(1 << 16, to_ripcord, carried, max_streams).await
    }

    /// `socket`: how many bytes can be written before the peer has to read.
    async fn over(socket: usize, to_ripcord: bool, carried: bool, max_streams: u32) -> Self {
        let (ours, theirs) = tokio::io::duplex(socket);
        let connection = Connection::new(config(false, carried));
        let control = connection.control();
        let streams: Rc<RefCell<Vec<_>>> = Rc::default();
        let opened = Rc::clone(&streams);
        let remote = control.clone();
        let served = spawn_local(async move {
            let http2 = Http2Config {
                max_streams,
                stream_window: 1 << 16,
                ..Http2Config::default()
            };
            let on_request = |request, respond| {
                let accepted = connection.accept(request, respond);
                let accepted = accepted.map(|(head, stream)| (*head, *stream));
                opened.borrow_mut().extend(accepted);
            };
            http2::serve(theirs, &http2, remote, on_request).await
        });
        let (client, driven) = connect(ours, to_ripcord).await;
        Self {
            client,
            streams,
            control,
            served,
            driven,
        }
    }

    /// Opens a stream and waits until the server has it.
    async fn open(&self) -> (ClientStream, ServerStream) {
        let ours = self.client.open(&head()).await.unwrap();
        let theirs = loop {
            if let Some((_, stream)) = self.streams.borrow_mut().pop() {
                break stream;
            }
            tokio::task::yield_now().await;
        };
        (ours, theirs)
    }
}

async fn connect(io: DuplexStream, to_ripcord: bool) -> (Client, JoinHandle<ConnectionEnd>) {
    let http2 = Http2Config::default();
    let connecting = Client::connect(io, &http2, config(to_ripcord, true));
    let (client, driver) = connecting.await.unwrap();
    (client, spawn_local(driver))
}

fn head() -> RequestHead {
    let mut hops = Hops::from_origin("caller");
    hops.append("a");
    RequestHead {
        service: "S".into(),
        method: "M".into(),
        hops: Some(hops),
        ..RequestHead::default()
    }
}

fn cancel(code: i32, text: &str) -> Cancel {
    Cancel {
        cause: Cause {
            code,
            text: text.into(),
        },
        path: Path::parse("origin,b,a"),
        class: Class::ByCaller,
        signal: crate::stream::CancelSignal::named("rst"),
        status: None,
    }
}

/// The stream's end, as cause, text and path.
async fn heard(stream: &mut ServerStream) -> (i32, String, String) {
    let end = loop {
        match std::future::poll_fn(|cx| stream.poll_recv(cx)).await {
            Received::End(end) => break end,
            Received::Head(_) | Received::Messages(_) | Received::HalfClose => {}
        }
    };
    told(&end)
}

fn told(end: &End) -> (i32, String, String) {
    let Reason::Canceled(cancel) = &end.reason else {
        panic!("{end:?}");
    };
    let Cause { code, text } = cancel.cause.clone();
    (code, text, cancel.path.to_wire())
}

fn exact(code: i32, text: &str) -> (i32, String, String) {
    (code, text.to_owned(), "origin,b,a".to_owned())
}

#[test]
fn cause_text_and_path_arrive_in_every_phase() {
    local(async {
        let pair = Pair::new(true, true, 100).await;
        // The connection was just opened: nothing was written yet.
        let mut ours = pair.client.open(&head()).await.unwrap();
        ours.cancel(&cancel(12007, "just opened"));
        drop(ours);
        while pair.streams.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
        let (_, mut theirs) = pair.streams.borrow_mut().pop().unwrap();
        assert_eq!(heard(&mut theirs).await, exact(12007, "just opened"));
        // Before the response's headers, with causes that the reset code can be and cannot.
        for code in [12007, 12015, 12011, 1204, 13, 0, -1] {
            let (mut ours, mut theirs) = pair.open().await;
            ours.cancel(&cancel(code, "some text ü"));
            assert_eq!(heard(&mut theirs).await, exact(code, "some text ü"));
        }
        for half_close in [false, true] {
            let (mut ours, mut theirs) = pair.open().await;
            theirs.send_head(ResponseHead {
                explicit: true,
                ..ResponseHead::default()
            });
            let mut run = MessageBatch::new();
            run.push_message(false, Bytes::from_static(b"message"));
            std::future::poll_fn(|cx| ours.poll_send(cx, &mut run)).await;
            if half_close {
                ours.half_close();
            }
            let first = std::future::poll_fn(|cx| theirs.poll_recv(cx)).await;
            assert!(matches!(first, Received::Messages(_)));
            if half_close {
                let second = std::future::poll_fn(|cx| theirs.poll_recv(cx)).await;
                assert!(matches!(second, Received::HalfClose));
            } else {
                // Queued data lets the reset arrive before the detail.
                let mut run = MessageBatch::new();
                run.push_message(false, Bytes::from(vec![1; 9000]));
                std::future::poll_fn(|cx| ours.poll_send(cx, &mut run)).await;
            }
            ours.cancel(&cancel(12007, "in the middle"));
            assert_eq!(heard(&mut theirs).await, exact(12007, "in the middle"));
        }
    });
}

#[test]
fn a_reset_waits_for_its_note_while_the_socket_is_full() {
    local(async {
        for turn in 0..240 {
            let pair = Pair::over(4096, true, true, 100).await;
            let mut streams = Vec::new();
            for _ in 0..5 {
                streams.push(pair.open().await);
            }
            // The control stream is open from here.
            let (mut ours, mut theirs) = streams.remove(0);
            ours.cancel(&cancel(1203, "the first"));
            assert_eq!(heard(&mut theirs).await, exact(1203, "the first"));
            for (ours, _) in &mut streams {
                let mut run = MessageBatch::new();
                run.push_message(false, Bytes::from(vec![1; 50_000]));
                std::future::poll_fn(|cx| ours.poll_send(cx, &mut run)).await;
            }
            let (mut ours, mut theirs) = streams.swap_remove(turn % 4);
            let told = spawn_local(async move {
                // One task's turn at a time.
                let mut turns = turn / 4;
                std::future::poll_fn(|cx| {
                    let done = turns == 0;
                    turns = turns.saturating_sub(1);
                    cx.waker().wake_by_ref();
                    if done { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
                ours.cancel(&cancel(1204, "why"));
                heard(&mut theirs).await
            });
            assert_eq!(told.await.unwrap(), exact(1204, "why"), "{turn}");
        }
    });
}

#[test]
fn a_storm_is_told_apart_and_what_is_too_much_still_has_code_and_names() {
    local(async {
        let pair = Pair::new(true, true, 5000).await;
        let mut streams = Vec::new();
        for _ in 0..3000 {
            streams.push(pair.open().await);
        }
        for (i, (ours, _)) in streams.iter_mut().enumerate() {
            ours.cancel(&cancel(12007, &i.to_string()));
        }
        let mut noted = 0;
        for (i, (_, theirs)) in streams.iter_mut().enumerate() {
            let (code, text, path) = heard(theirs).await;
            assert_eq!(code, 12007);
            if path == "origin,b,a" {
                assert_eq!(text, i.to_string());
                noted += 1;
            } else {
                assert_eq!(path, "caller,a");
            }
        }
        assert!(noted >= 200, "{noted}");
        drop(streams);
        let (mut ours, mut theirs) = pair.open().await;
        ours.cancel(&cancel(12007, "after it"));
        assert_eq!(heard(&mut theirs).await, exact(12007, "after it"));
    });
}

#[test]
fn without_a_control_stream_code_and_names_arrive() {
    local(async {
        // The listener strips carried fields, so it believes no names either.
        let pair = Pair::new(true, false, 100).await;
        for _ in 0..3 {
            let (mut ours, mut theirs) = pair.open().await;
            ours.cancel(&cancel(12007, "why"));
            let (code, _, path) = heard(&mut theirs).await;
            assert_eq!((code, path.as_str()), (12007, "non-ttstream path"));
        }
        // No room for one more stream.
        let pair = Pair::new(true, true, 1).await;
        for _ in 0..3 {
            let (mut ours, mut theirs) = pair.open().await;
            ours.cancel(&cancel(12015, "why"));
            let (code, _, path) = heard(&mut theirs).await;
            assert_eq!((code, path.as_str()), (12015, "caller,a"));
        }
        // The client does not know that the peer is a ripcord.
        let pair = Pair::new(false, true, 100).await;
        let (mut ours, mut theirs) = pair.open().await;
        ours.cancel(&cancel(12007, "why"));
        let (code, _, path) = heard(&mut theirs).await;
        assert_eq!((code, path.as_str()), (12011, "caller,a"));
    });
}

#[test]
fn a_control_stream_holds_neither_a_drain_nor_an_idle_connection() {
    local(async {
        let pair = Pair::new(true, true, 100).await;
        let (mut ours, mut theirs) = pair.open().await;
        let (mut last, mut lasts) = pair.open().await;
        ours.cancel(&cancel(12007, "one"));
        heard(&mut theirs).await;
        drop((ours, theirs));
        pair.control.drain();
        tokio::time::sleep(Duration::from_secs(1)).await;
        // A stream is still open, and can have a detail.
        last.cancel(&cancel(12007, "two"));
        assert_eq!(heard(&mut lasts).await, exact(12007, "two"));
        drop((last, lasts));
        assert_eq!(pair.served.await.unwrap(), ConnectionEnd::Closed);

        let pair = Pair::new(true, true, 100).await;
        let (mut ours, mut theirs) = pair.open().await;
        drop(pair.client);
        // The last detail on a connection that nobody holds any more.
        ours.cancel(&cancel(12007, "last"));
        drop(ours);
        assert_eq!(heard(&mut theirs).await, exact(12007, "last"));
        drop(theirs);
        assert_eq!(pair.driven.await.unwrap(), ConnectionEnd::Closed);
        assert_eq!(pair.served.await.unwrap(), ConnectionEnd::Closed);
    });
}

#[test]
fn notes_are_read_as_they_were_written_and_nothing_else_is_one() {
    let detail = |text: &str, path: &str| CancelDetail {
        stream: 0x0123_4567_89ab_cdef,
        cause: Cause {
            code: -7,
            text: text.into(),
        },
        path: Path::parse(path),
    };
    for detail in [
        detail("", ""),
        detail("why ü\n", "a,,b"),
        detail("t", &"n,".repeat(64)),
    ] {
        let bytes = detail.encode();
        assert_eq!(
            CancelDetail::decode(bytes.slice(PREFIX..)),
            Some(detail.clone())
        );
        for end in 0..bytes.len() - PREFIX {
            let cut = CancelDetail::decode(bytes.slice(PREFIX..PREFIX + end));
            assert!(cut.is_none_or(|read| read == detail));
        }
    }
    let long = detail(&"é".repeat(20_000), &vec!["x".repeat(128); 64].join(","));
    let bytes = long.encode();
    assert!(bytes.len() < MAX_DETAIL, "{}", bytes.len());
    let read = CancelDetail::decode(bytes.slice(PREFIX..)).unwrap();
    assert!(read.cause.text.len() <= MAX_TEXT && read.cause.text.ends_with(MARK));
    assert_eq!(read.path, long.path);
}

#[test]
fn a_request_says_its_streams_name() {
    let mut request = Request::new(());
    for stream in [0, 42, u64::MAX] {
        request.headers_mut().clear();
        name(&mut request, stream);
        assert_eq!(named(request.headers()), Some(stream));
    }
    request
        .headers_mut()
        .insert(keys::STREAM, "no".parse().unwrap());
    assert_eq!(named(request.headers()), None);
}

#[test]
fn notes_of_living_streams_are_bounded_by_a_window() {
    local(async {
        let pair = Pair::new(true, true, 1000).await;
        let mut streams = Vec::new();
        for _ in 0..100 {
            streams.push(pair.open().await);
        }
        let hop = pair.client.hop().unwrap();
        // Sent, but never followed by a reset.
        let text = "x".repeat(2000);
        for (ours, _) in &streams {
            hop.detail(ours.name().unwrap(), &cancel(12007, &text), 1);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let (count, bytes) = streams[0].1.details().held();
        assert!(bytes <= 1 << 16, "{bytes}");
        assert!((10..40).contains(&count), "{count}");
        streams.truncate(1);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(streams[0].1.details().held().0, 1);
        drop(streams);
        let (mut ours, mut theirs) = pair.open().await;
        assert_eq!(theirs.details().held(), (0, 0));
        ours.cancel(&cancel(12007, "there is room"));
        assert_eq!(heard(&mut theirs).await, exact(12007, "there is room"));
    });
}

/// A caller receives an end in trailers, except where a message is half written.
#[test]
fn a_reset_toward_the_caller_says_its_cause() {
    for (to_ripcord, kind, code) in [
        (true, LocalEndKind::Deadline, 12015),
        (true, LocalEndKind::Idle, 12014),
        (true, LocalEndKind::DrainOver, 12013),
        (false, LocalEndKind::Deadline, 12011),
    ] {
        local(async {
            let pair = Pair::new(to_ripcord, true, 100).await;
            let (mut ours, mut theirs) = pair.open().await;
            let mut run = MessageBatch::new();
            // More than the window of a stream that nobody reads.
            run.push_message(false, Bytes::from(vec![0; 900_000]));
            let sent = std::future::poll_fn(|cx| Poll::Ready(theirs.poll_send(cx, &mut run))).await;
            assert!(sent.is_pending());
            theirs.finish(&End::hop(kind, "over"), "b");
            let end = loop {
                match std::future::poll_fn(|cx| ours.poll_recv(cx)).await {
                    Received::End(end) => break end,
                    Received::Head(_) | Received::Messages(_) | Received::HalfClose => {}
                }
            };
            let (seen, _, path) = told(&end);
            assert_eq!(
                (seen, path.as_str()),
                (code, "non-ttstream path"),
                "{kind:?}"
            );
        });
    }
}
