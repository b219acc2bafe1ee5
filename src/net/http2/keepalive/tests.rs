//! When pings are sent, on a paused clock, in both roles. The peer is scripted and notes the time of
//! each ping.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::{JoinHandle, spawn_local};

use super::*;
use crate::net::connection;
use crate::net::http2::{ConnectionEnd, Control, Http2Config, SendRequest, connect, serve};
use crate::testing::local;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
const PING: u8 = 6;
const ACK: u8 = 1;
const FIVE: Duration = Duration::from_secs(300);
const TEN: Duration = Duration::from_secs(10);
const HOUR: Duration = Duration::from_secs(3600);

/// How the peer behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Peer {
    /// It answers each ping after that time.
    Answers(Duration),
    /// It answers, and sends a frame each time so much has passed.
    Talks(Duration),
    /// It answers nothing.
    Silent,
    /// It takes so many pings, then ends the connection as grpc-go does.
    Complains(usize),
}

struct World {
    control: Control,
    /// When each ping came, in seconds since the start.
    pings: Rc<RefCell<Vec<u64>>>,
    driver: JoinHandle<ConnectionEnd>,
    _requests: Option<SendRequest>,
}

/// A connection whose settings are read. `client`: this side is the client.
async fn world(client: bool, without_streams: bool, peer: Peer, pace: Option<Arc<Pace>>) -> World {
    let (ours, mut theirs) = tokio::io::duplex(1 << 16);
    let config = Http2Config {
        ping: Some(Ping {
            interval: FIVE,
            timeout: TEN,
            without_streams,
        }),
        pace: pace.map(|pace| pace as Arc<dyn connection::Pace>),
        ..Http2Config::default()
    };
    let control = Control::default();
    let remote = control.clone();
    let mut requests = None;
    let driver = if client {
        let (sender, driver) = connect(ours, &config, remote).await.unwrap();
        requests = Some(sender);
        let driver = spawn_local(driver);
        theirs.read_exact(&mut [0; PREFACE.len()]).await.unwrap();
        driver
    } else {
        theirs.write_all(PREFACE).await.unwrap();
        spawn_local(async move { serve(ours, &config, remote, |_, _| {}).await })
    };
    theirs.write_all(&SETTINGS).await.unwrap();
    let pings = Rc::default();
    spawn_local(play(theirs, peer, Rc::clone(&pings)));
    World {
        control,
        pings,
        driver,
        _requests: requests,
    }
}

async fn play(io: DuplexStream, peer: Peer, pings: Rc<RefCell<Vec<u64>>>) {
    let begun = Instant::now();
    let (mut reader, mut writer) = tokio::io::split(io);
    let (sender, mut answers) = tokio::sync::mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    if let Peer::Talks(pause) = peer {
        let sender = sender.clone();
        spawn_local(async move {
            let mut at = Instant::now();
            loop {
                at += pause;
                if sender.send((at, SETTINGS.to_vec())).is_err() {
                    return;
                }
                tokio::time::sleep_until(at).await;
            }
        });
    }
    let silent = Rc::new(Cell::new(false));
    spawn_local(async move {
        while let Some((at, frame)) = answers.recv().await {
            tokio::time::sleep_until(at).await;
            let _ = writer.write_all(&frame).await;
        }
    });
    let mut head = [0; 9];
    while reader.read_exact(&mut head).await.is_ok() {
        let [_, hi, lo, kind, flags, ..] = head;
        let mut payload = vec![0; usize::from(u16::from_be_bytes([hi, lo]))];
        reader.read_exact(&mut payload).await.unwrap();
        if kind != PING || flags & ACK != 0 || silent.get() {
            continue;
        }
        pings.borrow_mut().push(begun.elapsed().as_secs());
        let mut pong = head.to_vec();
        pong[4] = ACK;
        pong.extend(payload);
        let delay = match peer {
            Peer::Answers(delay) => delay,
            Peer::Talks(_) => Duration::ZERO,
            Peer::Silent => continue,
            Peer::Complains(taken) if pings.borrow().len() <= taken => Duration::ZERO,
            Peer::Complains(_) => {
                let text = b"too_many_pings";
                let mut goaway = vec![0, 0, 8 + text.len() as u8, 7, 0, 0, 0, 0, 0];
                goaway.extend([0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 11]);
                goaway.extend(text);
                silent.set(true);
                let _ = sender.send((Instant::now(), goaway));
                return;
            }
        };
        let _ = sender.send((Instant::now() + delay, pong));
    }
}

#[derive(Debug, Default)]
struct Pace(AtomicU32);

impl connection::Pace for Pace {
    fn interval(&self, configured: Duration) -> Duration {
        configured
    }

    fn slower(&self, configured: Duration) {
        assert_eq!(configured, FIVE);
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn bears_few(&self) -> bool {
        false
    }

    fn is_to_ask(&self) -> bool {
        false
    }

    fn answered(&self, _: bool) {}

    fn too_many_small(&self) {}
}

/// The time counts from what was read last, so the gap is the interval and the way there and back.
#[test]
fn with_a_stream_open_pings_come_one_interval_apart() {
    for client in [true, false] {
        for (delay, expected) in [(0, [300, 600, 900, 1200]), (2, [300, 602, 904, 1206])] {
            local(async move || {
                let peer = Peer::Answers(Duration::from_secs(delay));
                let world = world(client, false, peer, None).await;
                world.control.stream_opened();
                tokio::time::sleep(Duration::from_secs(1500)).await;
                assert_eq!(*world.pings.borrow(), expected, "client {client}");
                assert!(!world.driver.is_finished());
            });
        }
    }
}

#[test]
fn without_a_stream_no_ping_is_sent_unless_a_setting_says_so() {
    for client in [true, false] {
        for (without_streams, expected) in [(false, 0), (true, 12)] {
            local(async move || {
                let peer = Peer::Answers(Duration::ZERO);
                let world = world(client, without_streams, peer, None).await;
                tokio::time::sleep(HOUR + TEN).await;
                assert_eq!(world.pings.borrow().len(), expected, "client {client}");
            });
        }
    }
}

#[test]
fn the_ping_that_was_due_while_no_stream_was_open_is_sent_with_the_next_one() {
    local(async || {
        let world = world(true, false, Peer::Answers(Duration::ZERO), None).await;
        let quarter = Duration::from_secs(900);
        for _ in 0..2 {
            world.control.stream_opened();
            // What a request does.
            world.control.wake();
            tokio::time::sleep(Duration::from_secs(1)).await;
            world.control.stream_over();
            tokio::time::sleep(quarter).await;
        }
        // The first stream came when no ping was due yet.
        assert_eq!(*world.pings.borrow(), [901]);
    });
}

#[test]
fn a_peer_that_talks_is_not_asked() {
    local(async || {
        let world = world(true, false, Peer::Talks(Duration::from_secs(299)), None).await;
        world.control.stream_opened();
        tokio::time::sleep(HOUR).await;
        assert!(world.pings.borrow().is_empty());
        assert!(!world.driver.is_finished());
    });
}

#[test]
fn a_peer_that_does_not_answer_is_dead_after_the_timeout() {
    for client in [true, false] {
        local(async move || {
            let world = world(client, false, Peer::Silent, None).await;
            world.control.stream_opened();
            tokio::time::sleep(FIVE + TEN - Duration::from_secs(1)).await;
            assert!(!world.driver.is_finished());
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert!(world.driver.is_finished());
            assert_eq!(world.driver.await.unwrap(), ConnectionEnd::Keepalive);
            assert_eq!(*world.pings.borrow(), [300]);
        });
    }
}

#[test]
fn a_complaint_of_too_many_pings_is_reported_at_once_and_is_the_reason_of_the_end() {
    local(async || {
        let pace: Arc<Pace> = Arc::default();
        let world = world(true, false, Peer::Complains(2), Some(Arc::clone(&pace))).await;
        world.control.stream_opened();
        tokio::time::sleep(Duration::from_secs(899)).await;
        assert_eq!(pace.0.load(Ordering::Relaxed), 0);
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(pace.0.load(Ordering::Relaxed), 1);
        let end = world.driver.await.unwrap();
        let text = "the callee sent GOAWAY ENHANCE_YOUR_CALM: too many pings";
        assert_eq!(end, ConnectionEnd::SentAway(text.to_owned()));
    });
}
