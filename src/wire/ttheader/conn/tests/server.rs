//! The server role of a connection against scripted frames, in memory. Knows no bridge.

use super::*;
use crate::stream::{Inbound, Initiator, ResponseHead};

#[tokio::test(start_paused = true)]
async fn one_stream_there_and_back() {
    local(async {
        let mut server = Server::start(config());
        let large = vec![7; 100_000];
        let mut stream = server.open(-5).await;
        let sender = async {
            server
                .peer
                .send(&[data(-5, b"one"), data(-5, &large), frame(Kind::Trailer, -5)])
                .await;
            server
        };
        let receiver = async {
            let mut got = Vec::new();
            loop {
                match recv(&mut stream).await {
                    Received::Messages(mut run) => {
                        let bytes = run.len();
                        got.append(&mut all(&mut run));
                        stream.release(bytes);
                    }
                    Received::HalfClose => break,
                    other => panic!("{other:?}"),
                }
            }
            got
        };
        let (mut server, got) = tokio::join!(sender, receiver);
        assert_eq!(got, [&b"one"[..], &large]);

        let write = async {
            send(&mut stream, &[b"two", &large, b""]).await;
            stream.finish(&completed(), "hop");
        };
        let read = async {
            server.peer.expect(Kind::Header, -5).await;
            assert_eq!(server.peer.expect(Kind::Data, -5).await.payload, "two");
            assert_eq!(server.peer.expect(Kind::Data, -5).await.payload, large);
            assert_eq!(server.peer.expect(Kind::Data, -5).await.payload, "");
            let trailer = server.peer.expect(Kind::Trailer, -5).await;
            assert_eq!(trailer.payload, "");
        };
        tokio::join!(write, read);
        assert_eq!(server.handle.streams(), 0);
        drop(stream);
        server.finish().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn second_header_never_written() {
    local(async {
        let mut server = Server::start(config());
        let mut stream = server.open(1).await;
        stream.send_head(ResponseHead::default());
        stream.send_head(ResponseHead::default());
        send(&mut stream, &[b"x"]).await;
        stream.send_head(ResponseHead::default());
        stream.finish(&completed(), "hop");
        stream.finish(&completed(), "hop");
        drop(stream);
        for kind in [Kind::Header, Kind::Data, Kind::Trailer] {
            server.peer.expect(kind, 1).await;
        }
        assert!(server.peer.is_silent().await);

        // And a Trailer never goes without one.
        let mut stream = server.open(2).await;
        stream.finish(&completed(), "hop");
        server.peer.expect(Kind::Header, 2).await;
        server.peer.expect(Kind::Trailer, 2).await;
        drop(stream);
        server.finish().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_second_header_from_the_caller_ends_its_stream_only() {
    local(async {
        let mut server = Server::start(config());
        let mut other = server.open(2).await;
        let mut stream = server.open(1).await;
        server.peer.send(&[frame(Kind::Header, 1)]).await;
        let end = end(&mut stream).await;
        assert_eq!(hop_kind(&end), LocalEndKind::BadRequest);
        stream.finish(&end, "hop");
        let told = server.peer.recv().await.unwrap();
        assert_eq!(told.stream_id, 1);
        server.peer.send(&[data(2, b"still here")]).await;
        assert_eq!(all(&mut messages(&mut other).await), ["still here"]);
        drop((stream, other));
        server.finish().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn rst_is_not_answered() {
    local(async {
        let mut server = Server::start(config());
        let mut stream = server.open(1).await;
        server
            .peer
            .send(&[data(1, b"lost"), with_exception(Kind::Rst, 1, 12007, "bye")])
            .await;
        let end = end(&mut stream).await;
        assert_eq!((end.by, cause(&end)), (Initiator::Caller, 12007));
        send(&mut stream, &[b"late"]).await;
        stream.finish(&end, "hop");
        drop(stream);
        assert!(server.peer.is_silent().await);
        server.finish().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn late_frames_are_counted_and_dropped() {
    local(async {
        let mut server = Server::start(config());
        let mut stream = server.open(1).await;
        stream.finish(&completed(), "hop");
        drop(stream);
        let late = [
            data(1, b"late"),
            frame(Kind::Trailer, 1),
            with_exception(Kind::Rst, 1, 12007, "late"),
            data(99, b"never opened"),
            frame(Kind::Meta, 0),
            frame(Kind::Trailer, 0),
        ];
        server.peer.send(&late).await;
        // The id is free again, and what comes next is not disturbed.
        let mut again = server.open(1).await;
        assert_eq!(read(&server.counters.late_frames), 4);
        assert_eq!(read(&server.counters.bad_frames), 1);
        server
            .peer
            .send(&[frame(Kind::Trailer, 1), data(1, b"after half-close")])
            .await;
        assert!(matches!(recv(&mut again).await, Received::HalfClose));
        server
            .peer
            .send(&[with_exception(Kind::Rst, 1, 12007, "")])
            .await;
        assert_eq!(cause(&end(&mut again).await), 12007);
        assert_eq!(read(&server.counters.late_frames), 5);
        drop(again);
        server.finish().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn eof_after_buffered_rst_delivers_the_rst_first() {
    local(async {
        let mut server = Server::start(config());
        let mut one = server.open(1).await;
        let mut two = server.open(2).await;
        server
            .peer
            .send(&[data(2, b"x"), with_exception(Kind::Rst, 1, 12015, "over")])
            .await;
        drop(server.peer);
        assert_eq!(cause(&end(&mut one).await), 12015);
        assert_eq!(cause(&end(&mut two).await), 12013);
        server.done.await.unwrap();
        assert_eq!(read(&server.counters.lost_connections), 1);
        drop((one, two));
        assert_eq!(server.budget.used(), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_by_trailer() {
    local(async {
        let mut server = Server::start(config());
        let mut stream = server.open(1).await;
        server
            .peer
            .send(&[with_exception(Kind::Trailer, 1, 6, "gave up")])
            .await;
        let end = end(&mut stream).await;
        assert_eq!((end.by, cause(&end)), (Initiator::Caller, 6));
        drop(stream);
        assert!(server.peer.is_silent().await);
        server.finish().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn drain_flushes_then_closes() {
    local(async {
        let mut server = Server::start(config());
        let mut stream = server.open(1).await;
        server.handle.drain();
        server
            .peer
            .send(&[frame(Kind::Header, 2), data(1, b"goes on")])
            .await;
        server.peer.expect(Kind::Header, 2).await;
        let refused = server.peer.expect(Kind::Trailer, 2).await;
        assert_eq!(type_of(&refused), 12006);
        assert_eq!(all(&mut messages(&mut stream).await), ["goes on"]);
        let large = vec![3; 500_000];
        let write = async {
            send(&mut stream, &[&large]).await;
            stream.finish(&completed(), "hop");
        };
        let read_all = async {
            server.peer.expect(Kind::Header, 1).await;
            assert_eq!(server.peer.expect(Kind::Data, 1).await.payload, large);
            server.peer.expect(Kind::Trailer, 1).await;
            assert_eq!(server.peer.recv().await, None);
        };
        tokio::join!(write, read_all);
        assert_eq!(read(&server.counters.drained), 1);
        drop(stream);
        server.finish().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_stream_tells_its_caller() {
    local(async {
        let mut server = Server::start(config());
        drop(server.open(1).await);
        let told = server.peer.expect(Kind::Rst, 1).await;
        assert_eq!(type_of(&told), 12011);
        server.finish().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_framing_ends_every_stream_and_flushes() {
    local(async {
        let mut server = Server::start(config());
        let mut one = server.open(1).await;
        let mut two = server.open(2).await;
        server
            .peer
            .io
            .write_all(b"GET / HTTP/1.1\r\n")
            .await
            .unwrap();
        for stream in [&mut one, &mut two] {
            let own = end(stream).await;
            assert_eq!(hop_kind(&own), LocalEndKind::BadRequest);
            stream.finish(&own, "hop");
        }
        assert_eq!(type_of(&server.peer.expect(Kind::Rst, 1).await), 12004);
        assert_eq!(type_of(&server.peer.expect(Kind::Rst, 2).await), 12004);
        assert_eq!(server.peer.recv().await, None);
        assert_eq!(read(&server.counters.lost_framing), 1);
        drop((one, two));
        server.finish().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_header_is_answered() {
    local(async {
        let mut server = Server::start(config());
        let mut stream = server.open(1).await;
        let mut wire = BytesMut::new();
        frame(Kind::Header, 7).encode(&mut wire).unwrap();
        wire[14] = 0x77;
        server.peer.io.write_all(&wire).await.unwrap();
        let told = server.peer.recv().await.unwrap();
        assert_eq!(told.stream_id, 7);
        server.peer.send(&[data(1, b"undisturbed")]).await;
        assert_eq!(all(&mut messages(&mut stream).await), ["undisturbed"]);
        drop(stream);
        server.finish().await;
    })
    .await;
}
