//! The client role of a connection against scripted frames, in memory. Knows no bridge.

use super::*;
use crate::stream::{Cancel, Cause, Class, Initiator, Outbound, Path, Processed};

fn cancel() -> Cancel {
    let mut path = Path::from_origin("A");
    path.append("hop");
    Cancel {
        cause: Cause {
            code: 12007,
            text: "user code".into(),
        },
        path,
        class: Class::ByCaller,
        signal: crate::wire::ttheader::end::RST,
        status: None,
    }
}

#[tokio::test(start_paused = true)]
async fn one_stream_there_and_back() {
    local(async {
        let mut side = ClientSide::start(config());
        let mut stream = side.client.open(&request()).unwrap();
        let header = side.peer.expect(Kind::Header, 1).await;
        assert_eq!(header.info.string("isn").unwrap(), "ChatService");
        assert_eq!(header.method(), "Chat");
        send(&mut stream, &[b"one"]).await;
        stream.half_close();
        assert_eq!(side.peer.expect(Kind::Data, 1).await.payload, "one");
        assert_eq!(side.peer.expect(Kind::Trailer, 1).await.payload, "");

        side.peer.send(&[frame(Kind::Header, 1)]).await;
        match recv(&mut stream).await {
            Received::Head(head) => assert!(head.explicit),
            other => panic!("{other:?}"),
        }
        side.peer
            .send(&[data(1, b"two"), frame(Kind::Trailer, 1)])
            .await;
        assert_eq!(all(&mut messages(&mut stream).await), ["two"]);
        assert_eq!(end(&mut stream).await.reason, Reason::Complete);
        drop(stream);
        assert!(side.peer.is_silent().await, "already half-closed");
        side.finish().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn stream_ids_are_renumbered() {
    local(async {
        let mut side = ClientSide::start(config());
        let one = side.client.open(&request()).unwrap();
        let two = side.client.open(&request()).unwrap();
        assert_eq!((one.id(), two.id()), (1, 2));
        assert_eq!(side.client.active(), 2);
        side.peer.expect(Kind::Header, 1).await;
        side.peer.expect(Kind::Header, 2).await;
        // Beyond the largest id, past 0 and ids in use.
        side.client.last_id_for_tests(i32::MAX - 1);
        assert_eq!(side.client.open(&request()).unwrap().id(), i32::MAX);
        assert_eq!(side.client.open(&request()).unwrap().id(), i32::MIN);
        side.client.last_id_for_tests(-1);
        assert_eq!(side.client.open(&request()).unwrap().id(), 3);
        drop((one, two));
        side.finish().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_trailer_without_a_header_is_an_end() {
    local(async {
        let mut side = ClientSide::start(config());
        let mut stream = side.client.open(&request()).unwrap();
        side.peer.expect(Kind::Header, 1).await;
        side.peer
            .send(&[with_exception(Kind::Trailer, 1, 6, "biz error: no")])
            .await;
        match recv(&mut stream).await {
            Received::Head(head) => assert!(!head.explicit),
            other => panic!("{other:?}"),
        }
        let end = end(&mut stream).await;
        assert_eq!(end.by, Initiator::Callee);
        assert!(matches!(end.reason, Reason::Failed(_)));
        // What a Kitex caller sends then.
        let owed = side.peer.expect(Kind::Trailer, 1).await;
        assert_eq!(owed.payload, "");
        drop(stream);
        assert!(side.peer.is_silent().await);
        side.finish().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_head_right_before_its_end_is_not_explicit() {
    local(async {
        let mut side = ClientSide::start(config());
        let mut stream = side.client.open(&request()).unwrap();
        side.peer
            .send(&[frame(Kind::Header, 1), frame(Kind::Trailer, 1)])
            .await;
        side.peer.expect(Kind::Header, 1).await;
        match recv(&mut stream).await {
            Received::Head(head) => assert!(!head.explicit),
            other => panic!("{other:?}"),
        }
        drop(stream);
        side.finish().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn rst_is_not_answered() {
    local(async {
        let mut side = ClientSide::start(config());
        let mut stream = side.client.open(&request()).unwrap();
        side.peer.expect(Kind::Header, 1).await;
        side.peer
            .send(&[
                data(1, b"first"),
                with_exception(Kind::Rst, 1, 12011, "went"),
                frame(Kind::Trailer, 1),
            ])
            .await;
        assert_eq!(all(&mut messages(&mut stream).await), ["first"]);
        let end = end(&mut stream).await;
        match end.reason {
            Reason::Canceled(c) => assert_eq!((c.cause.code, c.class), (12011, Class::ByCallee)),
            other => panic!("{other:?}"),
        }
        send(&mut stream, &[b"late"]).await;
        stream.half_close();
        stream.cancel(&cancel());
        drop(stream);
        assert!(side.peer.is_silent().await);
        assert_eq!(read(&side.counters.late_frames), 1);
        side.finish().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_cancel_is_one_rst() {
    local(async {
        let mut side = ClientSide::start(config());
        let mut stream = side.client.open(&request()).unwrap();
        side.peer.expect(Kind::Header, 1).await;
        stream.cancel(&cancel());
        stream.cancel(&cancel());
        drop(stream);
        let rst = side.peer.expect(Kind::Rst, 1).await;
        assert_eq!((type_of(&rst), text_of(&rst)), (12007, "user code".into()));
        assert_eq!(rst.info.string("ttscp").unwrap(), "A,hop");
        // What Kitex callees send after a Rst.
        side.peer
            .send(&[frame(Kind::Header, 1), frame(Kind::Trailer, 1)])
            .await;
        assert!(side.peer.is_silent().await);
        assert_eq!(read(&side.counters.late_frames), 2);
        assert_eq!(side.client.active(), 0);

        drop(side.client.open(&request()).unwrap());
        side.peer.expect(Kind::Header, 2).await;
        let rst = side.peer.expect(Kind::Rst, 2).await;
        assert_eq!(type_of(&rst), 12011);
        assert_eq!(rst.info.string("ttscp").unwrap(), "hop");
        side.finish().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_callee_ends_every_stream() {
    local(async {
        let mut side = ClientSide::start(config());
        let mut stream = side.client.open(&request()).unwrap();
        side.peer.expect(Kind::Header, 1).await;
        side.peer.send(&[data(1, b"before")]).await;
        drop(side.peer);
        assert_eq!(all(&mut messages(&mut stream).await), ["before"]);
        assert_eq!(hop_kind(&end(&mut stream).await), LocalEndKind::BackendLost);
        assert!(side.client.open(&request()).is_err());
        side.done.await.unwrap();
        drop(stream);
        assert_eq!(side.budget.used(), 0);
    })
    .await;
}

/// What a callee has of a stream decides: it may have looked at what was written to it.
#[tokio::test(start_paused = true)]
async fn a_stream_of_which_nothing_was_written_is_unprocessed_when_the_callee_is_lost() {
    local(async {
        let mut side = ClientSide::start(config());
        let mut written = side.client.open(&request()).unwrap();
        assert!(written.refusable());
        side.peer.expect(Kind::Header, 1).await;
        assert!(!written.refusable());
        // The callee is gone before the connection's task has its next turn.
        drop(side.peer);
        let mut waiting = side.client.open(&request()).unwrap();
        let mut run = MessageBatch::new();
        run.push_message(false, Bytes::from_static(b"not sent"));
        let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
        assert!(waiting.poll_send(cx, &mut run).is_ready());
        for (stream, unprocessed) in [(&mut written, false), (&mut waiting, true)] {
            let end = end(stream).await;
            assert_eq!(hop_kind(&end), LocalEndKind::BackendLost);
            assert_eq!(end.processed == Processed::No, unprocessed);
            assert_eq!(stream.refused(), unprocessed);
        }
        side.done.await.unwrap();
        drop((written, waiting));
        assert_eq!(side.budget.used(), 0);
    })
    .await;
}

/// The other stream's Data is taken back, so that what waits moves forward in the queue.
#[tokio::test(start_paused = true)]
async fn what_is_taken_back_does_not_hide_that_a_header_was_written() {
    local(async {
        let mut side = ClientSide::start(config());
        let mut one = side.client.open(&request()).unwrap();
        side.peer.expect(Kind::Header, 1).await;
        let mut run = MessageBatch::new();
        run.push_message(false, vec![0; 50_000].into());
        let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
        assert!(one.poll_send(cx, &mut run).is_ready());
        let mut two = side.client.open(&request()).unwrap();
        one.cancel(&cancel());
        side.peer.expect(Kind::Header, 2).await;
        side.peer.expect(Kind::Rst, 1).await;
        drop(side.peer);
        let lost = end(&mut two).await;
        assert_eq!(lost.processed, Processed::Maybe);
        assert!(!two.refused());
    })
    .await;
}

/// A callee that only half-closed reads on. It must not receive what is opened elsewhere.
#[tokio::test(start_paused = true)]
async fn a_stream_that_counts_as_unprocessed_is_never_written() {
    local(async {
        let side = ClientSide::start(config());
        let (mut io, mut rest) = (side.peer.io, Vec::new());
        io.shutdown().await.unwrap();
        let mut waiting = side.client.open(&request()).unwrap();
        assert!(end(&mut waiting).await.processed == Processed::No && waiting.refused());
        io.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn faults_end_their_stream_and_the_callee_hears_it() {
    local(async {
        let mut side = ClientSide::start(config());
        let mut one = side.client.open(&request()).unwrap();
        let mut two = side.client.open(&request()).unwrap();
        let mut three = side.client.open(&request()).unwrap();
        for id in 1..=3 {
            side.peer.expect(Kind::Header, id).await;
        }
        let header = frame(Kind::Header, 1);
        side.peer.send(&[header.clone(), header]).await;
        let mut wire = BytesMut::new();
        frame(Kind::Trailer, 2).encode(&mut wire).unwrap();
        wire[14] = 0x77;
        side.peer.io.write_all(&wire).await.unwrap();
        assert_eq!(type_of(&side.peer.expect(Kind::Rst, 1).await), 12002);
        assert_eq!(type_of(&side.peer.expect(Kind::Rst, 2).await), 12004);
        assert!(matches!(recv(&mut one).await, Received::Head(_)));
        assert_eq!(hop_kind(&end(&mut one).await), LocalEndKind::Undecodable);
        assert_eq!(hop_kind(&end(&mut two).await), LocalEndKind::Undecodable);
        assert_eq!(read(&side.counters.bad_frames), 2);

        side.peer.io.write_all(&[0; 100]).await.unwrap();
        assert_eq!(hop_kind(&end(&mut three).await), LocalEndKind::Undecodable);
        assert_eq!(type_of(&side.peer.expect(Kind::Rst, 3).await), 12004);
        assert_eq!(side.peer.recv().await, None);
        drop((one, two, three));
        side.finish().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn close_when_idle_waits_for_the_last_stream() {
    local(async {
        let mut side = ClientSide::start(config());
        let mut stream = side.client.open(&request()).unwrap();
        side.peer.expect(Kind::Header, 1).await;
        side.client.close_when_idle();
        assert!(side.client.open(&request()).is_err());
        assert!(side.peer.is_silent().await);
        stream.half_close();
        side.peer.expect(Kind::Trailer, 1).await;
        side.peer
            .send(&[frame(Kind::Header, 1), frame(Kind::Trailer, 1)])
            .await;
        assert_eq!(side.peer.recv().await, None);
        drop(stream);
        side.finish().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_opened_beside_a_slow_one_starts_the_grace() {
    local(async {
        let mut config = config();
        config.stream_budget = 10_000;
        let mut side = ClientSide::start(config);
        let mut slow = side.client.open(&request()).unwrap();
        side.peer.expect(Kind::Header, 1).await;
        side.peer.send(&[data(1, &[0; 20_000])]).await;
        // Alone on its connection, it blocks nobody.
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert_eq!(read(&side.counters.slow_streams), 0);
        let mut other = side.client.open(&request()).unwrap();
        side.peer.expect(Kind::Header, 2).await;
        let start = tokio::time::Instant::now();
        side.peer.send(&[data(2, b"x")]).await;
        assert_eq!(messages(&mut other).await.len(), 6);
        assert_eq!(start.elapsed().as_secs(), 1);
        assert_eq!(hop_kind(&end(&mut slow).await), LocalEndKind::SlowReceiver);
        assert_eq!(type_of(&side.peer.expect(Kind::Rst, 1).await), 12011);
        drop((slow, other));
        side.finish().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_cancel_overtakes_what_its_stream_queued() {
    local(async {
        let mut side = ClientSide::start(config());
        let mut one = side.client.open(&request()).unwrap();
        let mut two = side.client.open(&request()).unwrap();
        send(&mut one, &[b"never seen"]).await;
        send(&mut two, &[b"other"]).await;
        one.cancel(&cancel());
        side.peer.expect(Kind::Header, 1).await;
        side.peer.expect(Kind::Header, 2).await;
        side.peer.expect(Kind::Data, 2).await;
        side.peer.expect(Kind::Rst, 1).await;
        drop((one, two));
        side.finish().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_half_close_waits_for_a_slow_callee_as_its_data_do() {
    local(async {
        let mut side = ClientSide::start(config());
        let mut stream = side.client.open(&request()).unwrap();
        // The pipe holds 64 KiB; the half-close stays in the queue.
        send(&mut stream, &[&[7; 60_000], &[8; 60_000]]).await;
        stream.half_close();
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(read(&side.counters.grace_closes), 0);
        side.peer.expect(Kind::Header, 1).await;
        side.peer.expect(Kind::Data, 1).await;
        side.peer.expect(Kind::Data, 1).await;
        side.peer.expect(Kind::Trailer, 1).await;
        drop(stream);
        side.finish().await;
    })
    .await;
}
