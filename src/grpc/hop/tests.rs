//! Both sides of the control stream, over an in-memory connection.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::Poll;
use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::task::{JoinHandle, spawn_local};

use super::*;
use crate::grpc::StreamConfig;
use crate::grpc::client::{Client, ClientStream};
use crate::grpc::server::{Connection, ServerStream};
use crate::net::budget::Budget;
use crate::net::http2::{self, ConnectionEnd, Control, Http2Config};
use crate::stream::{
    Class, End, Half, Hops, How, Inbound, Outbound, Reason, Received, RequestHead, ResponseHead,
    Run,
};

fn config(to_ripcord: bool, carried: bool) -> Rc<StreamConfig> {
    Rc::new(StreamConfig {
        node: "hop".into(),
        max_message: 1 << 20,
        stream_window: 1 << 16,
        connection_window: 1 << 20,
        slow_grace: Duration::from_secs(1),
        budget: Budget::new(1 << 30),
        slow_streams: Arc::new(AtomicU64::new(0)),
        to_ripcord,
        carried,
    })
}

fn local<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build_local(tokio::runtime::LocalOptions::default())
        .unwrap();
    runtime.block_on(async { tokio::time::timeout(LIMIT, test).await.expect("in time") })
}

/// Of paused time: it passes only when nothing else can happen.
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
        let (ours, theirs) = tokio::io::duplex(1 << 16);
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
                opened
                    .borrow_mut()
                    .extend(connection.accept(request, respond));
            };
            http2::serve(theirs, BytesMut::new(), &http2, remote, on_request).await
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
        how: How::Rst,
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
            let mut run = Run::new();
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
                // Queued data makes the reset stand before the note.
                let mut run = Run::new();
                run.push_message(false, Bytes::from(vec![1; 9000]));
                std::future::poll_fn(|cx| ours.poll_send(cx, &mut run)).await;
            }
            ours.cancel(&cancel(12007, "in the middle"));
            assert_eq!(heard(&mut theirs).await, exact(12007, "in the middle"));
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
        // The listener strips: it believes no names either.
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
        // Not known to be a ripcord.
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
        // A stream lives on, and can still be spoken of.
        last.cancel(&cancel(12007, "two"));
        assert_eq!(heard(&mut lasts).await, exact(12007, "two"));
        drop((last, lasts));
        assert_eq!(pair.served.await.unwrap(), ConnectionEnd::Closed);

        let pair = Pair::new(true, true, 100).await;
        let (mut ours, mut theirs) = pair.open().await;
        drop(pair.client);
        // The last word on a connection that nobody holds any more.
        ours.cancel(&cancel(12007, "last"));
        drop(ours);
        assert_eq!(heard(&mut theirs).await, exact(12007, "last"));
        drop(theirs);
        assert_eq!(pair.driven.await.unwrap(), ConnectionEnd::Closed);
        assert_eq!(pair.served.await.unwrap(), ConnectionEnd::Closed);
    });
}

/// A peer that takes the control stream and never reads it, or answers it in some way.
async fn foreign(io: DuplexStream, answer: Option<u16>, resets: Rc<RefCell<Vec<u32>>>) {
    let mut builder = h2::server::Builder::new();
    builder.initial_window_size(1000);
    let mut connection: h2::server::Connection<_, Bytes> = builder.handshake(io).await.unwrap();
    let mut held = Vec::new();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        if request.uri().path() == CONTROL {
            if let Some(status) = answer {
                let mut response = Response::new(());
                *response.status_mut() = status.try_into().unwrap();
                let _ = respond.send_response(response, true);
            }
            held.push((request, respond));
            continue;
        }
        let resets = Rc::clone(&resets);
        spawn_local(async move {
            let _request = request;
            let reset = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
            resets.borrow_mut().push(reset.unwrap().into());
        });
    }
}

#[test]
fn a_blocked_or_refused_control_stream_delays_nothing() {
    for answer in [None, Some(404), Some(200)] {
        local(async {
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            let resets: Rc<RefCell<Vec<u32>>> = Rc::default();
            spawn_local(foreign(theirs, answer, Rc::clone(&resets)));
            let (client, _driven) = connect(ours, true).await;
            for n in 1..=2000 {
                let mut stream = client.open(&head()).await.unwrap();
                stream.cancel(&cancel(12007, "why"));
                drop(stream);
                while resets.borrow().len() < n {
                    tokio::task::yield_now().await;
                }
            }
            assert!(resets.borrow().iter().all(|code| *code == 12007));
        });
    }
}

/// A caller that writes what it likes onto the control stream.
#[test]
fn a_malicious_control_stream_speaks_only_for_its_connection_and_is_bounded() {
    local(async {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let connection = Connection::new(config(false, true));
        let control = connection.control();
        let streams: Rc<RefCell<Vec<_>>> = Rc::default();
        let opened = Rc::clone(&streams);
        spawn_local(async move {
            let on_request = |request, respond| {
                opened
                    .borrow_mut()
                    .extend(connection.accept(request, respond));
            };
            let http2 = Http2Config::default();
            http2::serve(theirs, BytesMut::new(), &http2, control, on_request).await
        });
        let (requests, driver) = h2::client::handshake(ours).await.unwrap();
        spawn_local(async move { driver.await.unwrap() });
        let open = async |path: &str, stream: Option<u64>| {
            let mut request = Request::new(());
            *request.method_mut() = http::Method::POST;
            *request.uri_mut() = format!("http://x{path}").parse().unwrap();
            metadata::put_payload(request.headers_mut(), &Payload::Protobuf);
            stream.map(|stream| name(&mut request, stream));
            let mut requests = requests.clone().ready().await.unwrap();
            requests.send_request(request, false).unwrap()
        };
        let (_answer, mut stream) = open("/S/M", Some(7)).await;
        let (_, mut notes) = open(CONTROL, None).await;
        let (second, _) = open(CONTROL, None).await;
        let refused = second.await.unwrap();
        assert_eq!(refused.headers()["grpc-status"], "8");
        let note = |stream, code, text: &str| Note {
            stream,
            cause: Cause {
                code,
                text: text.to_owned(),
            },
            path: Path::parse("forged"),
        };
        // Not a note; other streams; a code that is not the reset's.
        notes
            .send_data(Bytes::from_static(b"\0\0\0\0\x03abc"), false)
            .unwrap();
        for other in 1000..9000 {
            notes
                .send_data(note(other, 12007, &"x".repeat(300)).encode(), false)
                .unwrap();
        }
        notes
            .send_data(note(7, 12015, "no").encode(), false)
            .unwrap();
        // All of it was read: the window is there again.
        notes.reserve_capacity(32 * 1024);
        while notes.capacity() < 32 * 1024 {
            std::future::poll_fn(|cx| notes.poll_capacity(cx))
                .await
                .unwrap()
                .unwrap();
        }
        let (_, mut theirs) = streams.borrow_mut().pop().unwrap();
        let (count, bytes) = theirs.notes().held();
        assert!(count <= 4096 && bytes <= 512 * 1024, "{count} {bytes}");
        assert!(count > 500, "{count}");
        stream.send_reset(12007.into());
        let (code, _, path) = heard(&mut theirs).await;
        assert_eq!((code, path.as_str()), (12007, "non-ttstream path"));
        // What is too large ends the control stream alone.
        notes
            .send_data(Bytes::from_static(b"\0\xff\xff\xff\xff"), false)
            .unwrap();
        let (_answer, mut stream) = open("/S/M", Some(8)).await;
        std::future::poll_fn(|cx| notes.poll_reset(cx))
            .await
            .unwrap();
        let (_, mut notes) = open(CONTROL, None).await;
        notes
            .send_data(note(8, 12007, "honest").encode(), false)
            .unwrap();
        stream.send_reset(12007.into());
        while streams.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
        let (_, mut theirs) = streams.borrow_mut().pop().unwrap();
        let said = (12007, "honest".to_owned(), "forged".to_owned());
        assert_eq!(heard(&mut theirs).await, said);
    });
}

#[test]
fn notes_are_read_as_they_were_written_and_nothing_else_is_one() {
    let note = |text: &str, path: &str| Note {
        stream: 0x0123_4567_89ab_cdef,
        cause: Cause {
            code: -7,
            text: text.into(),
        },
        path: Path::parse(path),
    };
    for note in [
        note("", ""),
        note("why ü\n", "a,,b"),
        note("t", &"n,".repeat(64)),
    ] {
        let bytes = note.encode();
        assert!(bytes.len() >= MIN_NOTE);
        assert_eq!(Note::decode(bytes.slice(PREFIX..)), Some(note.clone()));
        for end in 0..bytes.len() - PREFIX {
            let cut = Note::decode(bytes.slice(PREFIX..PREFIX + end));
            assert!(cut.is_none_or(|read| read == note));
        }
    }
    let long = note(&"é".repeat(20_000), &vec!["x".repeat(128); 64].join(","));
    let bytes = long.encode();
    assert!(bytes.len() < MAX_NOTE, "{}", bytes.len());
    let read = Note::decode(bytes.slice(PREFIX..)).unwrap();
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
