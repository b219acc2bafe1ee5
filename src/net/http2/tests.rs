//! Drain, storms and unread ends on one HTTP/2 connection, against scripted frames on a paused
//! clock. Knows no gRPC.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::testing::local;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
const PING: u8 = 6;
const ACK: u8 = 1;

#[test]
fn a_drained_connection_reads_on_until_its_peer_has_closed() {
    local(async || {
        let (ours, mut peer) = tokio::io::duplex(1 << 16);
        let control = Control::default();
        let remote = control.clone();
        let served = tokio::task::spawn_local(async move {
            let config = Http2Config::default();
            serve(ours, &config, control, |_, _| {}).await
        });
        peer.write_all(PREFACE).await.unwrap();
        peer.write_all(&SETTINGS).await.unwrap();
        remote.drain();
        let mut head = [0; 9];
        // Until it has closed its side.
        while peer.read_exact(&mut head).await.is_ok() {
            let [_, hi, lo, kind, flags, ..] = head;
            let mut payload = vec![0; usize::from(u16::from_be_bytes([hi, lo]))];
            peer.read_exact(&mut payload).await.unwrap();
            if kind == PING && flags & ACK == 0 {
                head[4] = ACK;
                peer.write_all(&head).await.unwrap();
                peer.write_all(&payload).await.unwrap();
            }
        }
        // Bytes on their way to it do not meet a closed socket.
        peer.write_all(&[0; 30_000]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        peer.write_all(&[0; 60_000]).await.expect("still read");
        assert!(!served.is_finished());
        drop(peer);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(served.is_finished());
        assert_eq!(served.await.unwrap(), ConnectionEnd::Closed);
    });
}

#[test]
fn a_connection_that_is_left_reads_on_until_its_callee_has_closed() {
    local(async || {
        let (ours, mut peer) = tokio::io::duplex(1 << 16);
        let config = Http2Config::default();
        let connecting = connect(ours, &config, Control::default());
        let (requests, drive) = connecting.await.unwrap();
        let driver = tokio::task::spawn_local(drive);
        peer.write_all(&SETTINGS).await.unwrap();
        let mut requests = requests.ready().await.unwrap();
        let request = Request::post("http://callee/x").body(()).unwrap();
        let (response, mut stream) = requests.send_request(request, false).unwrap();
        peer.read_exact(&mut [0; PREFACE.len()]).await.unwrap();
        until(&mut peer, HEADERS, 1).await;
        stream.send_reset(ResetCode::CANCEL);
        drop((response, stream, requests));
        // Until it has closed its side.
        let mut said = Vec::new();
        peer.read_to_end(&mut said).await.unwrap();
        let reset = frame(RESET, 0, 1, &8u32.to_be_bytes());
        assert!(said.windows(reset.len()).any(|w| w == reset));
        // Bytes that the callee had sent do not meet a closed socket, which would lose the reset.
        peer.write_all(&[0; 30_000]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        peer.write_all(&[0; 60_000]).await.expect("still read");
        assert!(!driver.is_finished());
        drop(peer);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(driver.is_finished());
        assert_eq!(driver.await.unwrap(), ConnectionEnd::Closed);
    });
}

/// The socket takes a part of a long DATA frame, or all of it, and no more. A cancel waits behind
/// it.
#[test]
fn a_peer_that_takes_no_cancel_for_its_grace_loses_the_connection() {
    for (room, taken) in [(1 << 10, 0), (1 << 10, 5_000), (9 + (16 << 10), 0)] {
        local(async move || {
            let (ours, mut peer) = tokio::io::duplex(room);
            let config = Http2Config {
                cancel_grace: Duration::from_secs(5),
                ..Http2Config::default()
            };
            let control = Control::default();
            let connecting = connect(ours, &config, control.clone());
            let (requests, drive) = connecting.await.unwrap();
            let driver = tokio::task::spawn_local(drive);
            peer.write_all(&SETTINGS).await.unwrap();
            let mut requests = requests.ready().await.unwrap();
            let request = Request::post("http://callee/x").body(()).unwrap();
            let (_response, mut stream) = requests.send_request(request, false).unwrap();
            peer.read_exact(&mut [0; PREFACE.len()]).await.unwrap();
            until(&mut peer, HEADERS, 1).await;
            let mut rest = [0; 64];
            let soon = Duration::from_millis(10);
            while tokio::time::timeout(soon, peer.read(&mut rest))
                .await
                .is_ok()
            {}
            stream.send_data(vec![0; 60_000].into(), false).unwrap();
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert!(!driver.is_finished(), "data alone has no grace to keep");
            control.urgent();
            stream.send_reset(ResetCode::CANCEL);
            tokio::time::sleep(Duration::from_secs(4)).await;
            peer.read_exact(&mut vec![0; taken]).await.unwrap();
            // When it takes something, the grace begins again.
            let left = if taken == 0 { 0 } else { 4 };
            tokio::time::sleep(Duration::from_secs(left)).await;
            assert!(!driver.is_finished(), "{room} {taken}");
            tokio::time::sleep(Duration::from_secs(6)).await;
            assert!(driver.is_finished(), "{room} {taken}");
            assert_eq!(driver.await.unwrap(), ConnectionEnd::Grace);
        });
    }
}

/// More than `h2` remembers by default, and more than the 1024 late frames that it tolerates.
const STORM: u32 = 3000;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const GO_AWAY: u8 = 7;
const END_HEADERS: u8 = 4;

/// Far fewer resets are allowed than there are streams. From the window, `h2` would make a budget
/// of a hundred small frames.
fn config() -> Http2Config {
    Http2Config {
        pending_resets: 1000,
        connection_window: 1 << 16,
        ..Http2Config::default()
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u32).to_be_bytes();
    let mut out = vec![len[1], len[2], len[3], kind, flags];
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// Reads frames until `count` of that kind came. Returns how many resets and GOAWAYs were among
/// them.
async fn until(peer: &mut tokio::io::DuplexStream, kind: u8, count: u32) -> (u32, u32) {
    let (mut found, mut resets, mut go_aways) = (0, 0, 0);
    while found < count {
        let mut head = [0; 9];
        peer.read_exact(&mut head).await.expect("still connected");
        let mut payload = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
        peer.read_exact(&mut payload).await.unwrap();
        found += u32::from(head[3] == kind && !(kind == PING && head[4] & ACK == 0));
        resets += u32::from(head[3] == RESET);
        go_aways += u32::from(head[3] == GO_AWAY);
    }
    (resets, go_aways)
}

/// Sends DATA for each of the streams, which are all over, and expects no answer.
async fn late_data(peer: &mut tokio::io::DuplexStream, head: &[u8]) {
    let mut late = Vec::new();
    for stream in 0..STORM {
        if !head.is_empty() {
            late.extend(frame(HEADERS, END_HEADERS, stream * 2 + 1, head));
        }
        late.extend(frame(DATA, 0, stream * 2 + 1, &[0; 5]));
    }
    late.extend(frame(PING, 0, 0, &[7; 8]));
    peer.write_all(&late).await.unwrap();
    assert_eq!(until(peer, PING, 1).await, (0, 0));
}

#[test]
fn what_a_callee_had_sent_before_a_storm_of_cancels_does_not_end_the_connection() {
    local(async || {
        let (ours, mut peer) = tokio::io::duplex(1 << 20);
        let many = [0, 3, 0, 0x7f, 0xff, 0xff];
        peer.write_all(&frame(4, 0, 0, &many)).await.unwrap();
        let config = config();
        let (requests, driver) = connect(ours, &config, Control::default()).await.unwrap();
        let driver = tokio::task::spawn_local(driver);
        peer.read_exact(&mut [0; PREFACE.len()]).await.unwrap();
        // Its SETTINGS, and the answer to ours.
        until(&mut peer, 4, 2).await;
        let mut open = Vec::new();
        for _ in 0..STORM {
            let mut requests = requests.clone().ready().await.unwrap();
            let request = Request::new(());
            open.push(requests.send_request(request, false).unwrap());
        }
        until(&mut peer, HEADERS, STORM).await;
        for (_, stream) in &mut open {
            stream.send_reset(ResetCode::CANCEL);
        }
        drop(open);
        until(&mut peer, RESET, STORM).await;
        late_data(&mut peer, &[0x88]).await;
        assert!(!driver.is_finished());
    });
}

#[test]
fn what_a_caller_had_sent_before_all_its_streams_ended_does_not_end_the_connection() {
    local(async || {
        let (ours, mut peer) = tokio::io::duplex(1 << 20);
        let served = tokio::task::spawn_local(async move {
            let config = config();
            let end = |_, mut respond: Respond| {
                respond
                    .send_response(http::Response::new(()), true)
                    .unwrap();
            };
            serve(ours, &config, Control::default(), end).await
        });
        let mut storm = [PREFACE, &SETTINGS].concat();
        for stream in 0..STORM {
            // POST, http, /, and an empty :authority.
            let block = [0x83, 0x86, 0x84, 0x01, 0x00];
            storm.extend(frame(HEADERS, END_HEADERS, stream * 2 + 1, &block));
        }
        peer.write_all(&storm).await.unwrap();
        // After the response, NO_ERROR: the rest of the request is not needed.
        let (_, go_aways) = until(&mut peer, RESET, STORM).await;
        assert_eq!(go_aways, 0);
        late_data(&mut peer, &[]).await;
        assert!(!served.is_finished());
    });
}

/// Every stream has sent a small message before any of them is read.
#[test]
fn a_first_message_on_thousands_of_streams_does_not_end_the_connection() {
    local(async || {
        let (ours, mut peer) = tokio::io::duplex(1 << 20);
        let served = tokio::task::spawn_local(async move {
            let hold = |request, respond| {
                tokio::task::spawn_local(async move {
                    let (_request, _respond): (Request<RecvBody>, Respond) = (request, respond);
                    std::future::pending::<()>().await;
                });
            };
            serve(ours, &config(), Control::default(), hold).await
        });
        let mut storm = [PREFACE, &SETTINGS].concat();
        for stream in 0..STORM {
            let block = [0x83, 0x86, 0x84, 0x01, 0x00];
            storm.extend(frame(HEADERS, END_HEADERS, stream * 2 + 1, &block));
            storm.extend(frame(DATA, 0, stream * 2 + 1, &[0; 6]));
        }
        storm.extend(frame(PING, 0, 0, &[7; 8]));
        peer.write_all(&storm).await.unwrap();
        assert_eq!(until(&mut peer, PING, 1).await, (0, 0));
        assert!(!served.is_finished());
    });
}

/// Servers on the real layer, with the budget of `h2` 0.4.16 to 0.4.18 and with a larger one, which
/// no request reaches. One that closes at once says nothing.
#[test]
fn a_server_says_whether_it_bears_small_frames() {
    local(async || {
        for (budget, expected) in [(25_600, Some(false)), (1 << 19, Some(true))] {
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            let server = tokio::task::spawn_local(async move {
                let mut builder = h2::server::Builder::new();
                builder.data_frame_budget(budget);
                let mut connection = builder.handshake::<_, Bytes>(theirs).await.unwrap();
                let accepted = connection.accept().await;
                assert!(accepted.is_none_or(|accepted| accepted.is_err()));
            });
            assert_eq!(bears_small_frames(ours).await, expected, "{budget}");
            server.await.unwrap();
        }
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        drop(theirs);
        assert_eq!(bears_small_frames(ours).await, None);
    });
}

#[derive(Debug)]
struct Few;

impl Pace for Few {
    fn interval(&self, configured: Duration) -> Duration {
        configured
    }
    fn slower(&self, _: Duration) {}
    fn bears_few(&self) -> bool {
        true
    }
    fn is_to_ask(&self) -> bool {
        false
    }
    fn answered(&self, _: bool) {}
    fn too_many_small(&self) {}
}

/// A real server with the small budget reads nothing before all streams have waited. All of them
/// send small messages all the time.
#[test]
fn a_server_that_bears_few_small_frames_and_reads_late_keeps_its_connection() {
    local(async || {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let (read, wait) = tokio::sync::watch::channel(false);
        tokio::task::spawn_local(async move {
            let mut builder = h2::server::Builder::new();
            builder.data_frame_budget(25_600);
            let mut connection = builder.handshake::<_, Bytes>(theirs).await.unwrap();
            while let Some(Ok((request, _respond))) = connection.accept().await {
                let mut wait = wait.clone();
                tokio::task::spawn_local(async move {
                    let _respond = _respond;
                    wait.wait_for(|read| *read).await.unwrap();
                    let mut body = request.into_body();
                    while let Some(Ok(_)) = body.data().await {}
                });
            }
        });
        let config = Http2Config {
            pace: Some(Arc::new(Few)),
            ..Http2Config::default()
        };
        let control = Control::default();
        let (requests, driver) = connect(ours, &config, control.clone()).await.unwrap();
        let driver = tokio::task::spawn_local(driver);
        let mut streams = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let mut requests = requests.clone().ready().await.unwrap();
            let request = Request::post("http://a/b").body(()).unwrap();
            let (response, mut stream) = requests.send_request(request, false).unwrap();
            let mut desk = control.desk();
            streams.spawn_local(async move {
                for _ in 0..4 {
                    poll_fn(|cx| desk.poll_room(cx, 20)).await;
                    desk.queue(20, 1);
                    stream
                        .send_data(Bytes::from_static(&[0; 20]), false)
                        .unwrap();
                }
                let _keep = (response, stream, desk);
                std::future::pending::<()>().await;
            });
        }
        tokio::time::sleep(Duration::from_millis(900)).await;
        assert!(!driver.is_finished());
        read.send(true).unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!driver.is_finished());
    });
}

/// What it answers proves nothing of what was sent ahead.
#[test]
fn a_server_that_answers_slowly_what_is_sent_ahead_keeps_its_connection() {
    local(async || {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        tokio::task::spawn_local(async move {
            let mut builder = h2::server::Builder::new();
            builder.data_frame_budget(25_600);
            let mut connection = builder.handshake::<_, Bytes>(theirs).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                tokio::task::spawn_local(async move {
                    let mut out = respond
                        .send_response(http::Response::new(()), false)
                        .unwrap();
                    let mut body = request.into_body();
                    while let Some(Ok(_)) = body.data().await {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                        let _ = out.send_data(Bytes::from_static(&[0; 20]), false);
                    }
                });
            }
        });
        let config = Http2Config {
            pace: Some(Arc::new(Few)),
            ..Http2Config::default()
        };
        let control = Control::default();
        let (requests, driver) = connect(ours, &config, control.clone()).await.unwrap();
        let driver = tokio::task::spawn_local(driver);
        let mut requests = requests.clone().ready().await.unwrap();
        let request = Request::post("http://a/b").body(()).unwrap();
        let (response, mut stream) = requests.send_request(request, false).unwrap();
        let desk = std::rc::Rc::new(std::cell::RefCell::new(control.desk()));
        let mine = std::rc::Rc::clone(&desk);
        tokio::task::spawn_local(async move {
            let mut body = response.await.unwrap().into_body();
            while let Some(Ok(_)) = poll_fn(|cx| body.poll_data(cx)).await {
                mine.borrow_mut().heard(1);
            }
        });
        for n in 0..2000 {
            poll_fn(|cx| desk.borrow_mut().poll_room(cx, 20)).await;
            desk.borrow_mut().queue(20, 1);
            let sent = stream.send_data(Bytes::from_static(&[0; 20]), false);
            tokio::task::yield_now().await;
            assert!(sent.is_ok() && !driver.is_finished(), "{n}");
        }
    });
}
