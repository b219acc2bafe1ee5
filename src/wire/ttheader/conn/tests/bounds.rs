//! Budgets, limits and graces.

use super::*;
use crate::stream::Inbound;

#[tokio::test(start_paused = true)]
async fn slow_stream_alone_is_ended() {
    local(async {
        let mut server = Server::start(config());
        let mut fast = server.open(1).await;
        let mut slow = server.open(2).await;
        let payload = vec![1; 8000];
        let write = async {
            for _ in 0..50 {
                server.peer.send(&[data(2, &payload)]).await;
            }
            server.peer.send(&[data(1, b"through")]).await;
        };
        let start = tokio::time::Instant::now();
        let (_, got) = tokio::join!(write, messages(&mut fast));
        assert_eq!(got.len(), 5 + 7);
        assert_eq!(
            start.elapsed().as_millis() / 10,
            100,
            "after slow_receiver_timeout"
        );
        let slow_end = end(&mut slow).await;
        assert_eq!(hop_kind(&slow_end), LocalEndKind::SlowReceiver);
        slow.finish(&slow_end, "hop");
        let told = server.peer.expect(Kind::Rst, 2).await;
        assert_eq!(type_of(&told), 12011);
        assert_eq!(read(&server.counters.slow_streams), 1);
        assert_eq!(read(&server.counters.paused_reads), 1);
        assert!(read(&server.counters.late_frames) > 0);
        drop((slow, fast));
        server.finish().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_lone_slow_stream_is_waited_for() {
    local(async {
        let mut server = Server::start(config());
        let mut stream = server.open(1).await;
        let payload = vec![1; 8000];
        let write = async {
            for _ in 0..100 {
                server.peer.send(&[data(1, &payload)]).await;
            }
        };
        let read_slowly = async {
            let mut left = 100 * 8005;
            while left > 0 {
                let run = messages(&mut stream).await;
                tokio::time::sleep(Duration::from_secs(20)).await;
                left -= run.len();
                stream.release(run.len());
            }
        };
        tokio::join!(write, read_slowly);
        assert_eq!(read(&server.counters.slow_streams), 0);
        assert!(read(&server.counters.paused_reads) > 0);
        drop(stream);
        server.finish().await;
    })
    .await;
}

/// Writes messages until the server stops reading; returns how many it took.
async fn fill(peer: &mut Peer, id: i32, payload: &[u8], most: usize) -> usize {
    for n in 0..most {
        let one = [data(id, payload)];
        let sent = tokio::time::timeout(Duration::from_millis(1), peer.send(&one)).await;
        if sent.is_err() {
            return n;
        }
    }
    most
}

#[tokio::test(start_paused = true)]
async fn reading_stops_when_nobody_takes() {
    for (payload, stream, connection, process) in [
        (1000, 64 << 10, usize::MAX, usize::MAX / 2),
        (1000, usize::MAX, 64 << 10, usize::MAX / 2),
        (1000, usize::MAX, usize::MAX, 64 << 10),
        (5000, usize::MAX, usize::MAX, 64 << 10),
        // One message is always taken.
        (60_000, 10, usize::MAX, usize::MAX / 2),
    ] {
        local(async move {
            let mut config = config();
            config.stream_budget = stream;
            config.connection_budget = connection;
            config.budget = Budget::new(process);
            config.slow_receiver_timeout = Duration::from_secs(3600);
            config.lone_grace = Duration::from_secs(3600);
            let mut server = Server::with_pipe(config, 4096);
            let mut half = server.open(1).await;
            let taken = fill(&mut server.peer, 1, &vec![9; payload], 1000).await;
            assert!((1..150).contains(&taken), "{taken} messages of {payload}");
            assert_eq!(read(&server.counters.paused_reads), 1);
            // Pinned memory is counted, with an allowance for what is not settled yet.
            assert!(server.budget.used() + 16 * 1024 >= taken.saturating_sub(20) * payload);
            let run = messages(&mut half).await;
            half.release(run.len());
            // There is room again. The cut frame is completed with what it lacked.
            drop(run);
            drop(half);
            server.finish().await;
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn reading_goes_on_when_there_is_room() {
    local(async {
        let mut config = config();
        config.budget = Budget::new(100_000);
        let mut server = Server::with_pipe(config, 4096);
        let mut stream = server.open(1).await;
        let payload = vec![1; 3000];
        let write = async {
            for _ in 0..500 {
                server.peer.send(&[data(1, &payload)]).await;
            }
        };
        let drain = async {
            let mut left = 500 * 3005;
            while left > 0 {
                let run = messages(&mut stream).await;
                left -= run.len();
                stream.release(run.len());
            }
        };
        tokio::join!(write, drain);
        drop(stream);
        server.finish().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn oversized_message_ends_its_stream_only() {
    local(async {
        let mut config = config();
        config.max_message = 10_000;
        let mut server = Server::start(config);
        let mut other = server.open(2).await;
        let mut stream = server.open(1).await;
        let write = async {
            server
                .peer
                .send(&[data(1, &vec![0; 1_000_000]), data(1, b"x"), data(2, b"y")])
                .await;
        };
        let (_, got) = tokio::join!(write, messages(&mut other));
        assert_eq!(got.len(), 6);
        let own = end(&mut stream).await;
        assert_eq!(hop_kind(&own), LocalEndKind::MessageTooLarge);
        stream.finish(&own, "hop");
        assert_eq!(type_of(&server.peer.expect(Kind::Rst, 1).await), 12011);
        assert_eq!(read(&server.counters.oversized_messages), 1);
        assert_eq!(read(&server.counters.late_frames), 1);
        drop((stream, other));
        server.finish().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn too_many_streams_are_refused() {
    local(async {
        let mut config = config();
        config.max_streams = 2;
        let mut server = Server::start(config);
        let one = server.open(1).await;
        let two = server.open(2).await;
        server.peer.send(&[frame(Kind::Header, 3)]).await;
        server.peer.expect(Kind::Header, 3).await;
        let refused = server.peer.expect(Kind::Trailer, 3).await;
        assert_eq!(type_of(&refused), 6, "{}", text_of(&refused));
        assert_eq!(read(&server.counters.over_limit), 1);
        drop((one, two));
        server.finish().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_closed_after_the_grace() {
    local(async {
        let mut server = Server::with_pipe(config(), 1024);
        let mut one = server.open(1).await;
        let mut two = server.open(2).await;
        let mut run = MessageBatch::new();
        run.push_message(false, Bytes::from(vec![0; 200_000]));
        run.push_message(false, Bytes::from(vec![0; 200_000]));
        // The first message fills the queue, the second waits.
        let waits = poll_fn(|cx| std::task::Poll::Ready(one.poll_send(cx, &mut run))).await;
        assert!(waits.is_pending());
        let start = tokio::time::Instant::now();
        two.finish(&completed(), "hop");
        assert_eq!(cause(&end(&mut one).await), 12013);
        assert_eq!(start.elapsed().as_secs(), 5);
        assert_eq!(read(&server.counters.grace_closes), 1);
        poll_fn(|cx| one.poll_send(cx, &mut run)).await;
        assert!(run.is_empty(), "swallowed");
        drop((one, two));
        server.finish().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_room_take_turns() {
    local(async {
        let mut server = Server::with_pipe(config(), 1024);
        let mut tasks = Vec::new();
        for id in 1..=10 {
            let mut stream = server.open(id).await;
            tasks.push(spawn_local(async move {
                let payload = vec![id as u8; 3000];
                for _ in 0..20 {
                    send(&mut stream, &[&payload, &payload]).await;
                }
                stream.finish(&completed(), "hop");
            }));
        }
        let mut last = Vec::new();
        let mut ended = 0;
        while ended < 10 {
            let frame = server.peer.recv().await.unwrap();
            match frame.kind {
                Kind::Trailer => ended += 1,
                Kind::Data => last.push(frame.stream_id),
                _ => {}
            }
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(last.len(), 400);
        // In the middle, no stream is far behind.
        for id in 1..=10 {
            let early = last[..200].iter().filter(|i| **i == id).count();
            assert!(
                early >= 10,
                "stream {id}: {early} of its 40 in the first half"
            );
        }
        server.finish().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_full_process_ends_the_largest_holder() {
    local(async {
        let mut config = config();
        config.budget = Budget::new(64 << 10);
        let mut server = Server::start(config);
        let mut small = server.open(1).await;
        let mut large = server.open(2).await;
        server.peer.send(&[data(1, &[0; 1000])]).await;
        let filled = fill(&mut server.peer, 2, &[0; 1000], 1000).await;
        assert!(filled < 300);
        tokio::time::sleep(Duration::from_secs(2)).await;
        let own = end(&mut large).await;
        assert_eq!(hop_kind(&own), LocalEndKind::SlowReceiver);
        assert!(!server.budget.is_over());
        assert_eq!(messages(&mut small).await.len(), 1005);
        drop((small, large));
        server.finish().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_refusals_is_bounded() {
    local(async {
        let mut config = config();
        config.max_streams = 0;
        let mut server = Server::with_pipe(config, 1024);
        let mut wire = BytesMut::new();
        for id in 1..=20_000 {
            frame(Kind::Header, id).encode(&mut wire).unwrap();
        }
        // The peer never reads. At some point it is not read either, and then its connection is
        // closed.
        assert!(server.peer.io.write_all(&wire).await.is_err());
        let refused = read(&server.counters.over_limit);
        assert!((4000..6000).contains(&refused), "{refused}");
        assert_eq!(read(&server.counters.grace_closes), 1);
        server.finish().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn reading_goes_on_after_a_flood_of_refusals() {
    local(async {
        let mut config = config();
        config.max_streams = 0;
        // Everything queued fits the pipe once it is empty: the write that ends the flood finishes.
        let mut server = Server::with_pipe(config, 1 << 20);
        let mut wire = BytesMut::new();
        for id in 1..=20_000 {
            frame(Kind::Header, id).encode(&mut wire).unwrap();
        }
        let Peer { io, decoder } = &mut server.peer;
        let (mut reader, mut writer) = tokio::io::split(io);
        let write = async { writer.write_all(&wire).await.unwrap() };
        let read = async {
            let mut refused = 0;
            // The flood first.
            tokio::time::sleep(Duration::from_secs(1)).await;
            while refused < 20_000 {
                while let Some(event) = decoder.next_event().unwrap() {
                    refused +=
                        usize::from(matches!(event, Event::Frame(f) if f.kind == Kind::Trailer));
                }
                if refused < 20_000 {
                    assert_ne!(reader.read_buf(decoder.space()).await.unwrap(), 0);
                }
            }
        };
        let both = async { tokio::join!(write, read) };
        let all = tokio::time::timeout(Duration::from_secs(60), both).await;
        assert!(all.is_ok(), "the connection is not read any more");
        assert_eq!(server.counters.grace_closes.load(Ordering::Relaxed), 0);
        server.finish().await;
    })
    .await;
}
