//! The decoder on frames cut anywhere, on garbage, and on frames that are too large. Knows no
//! stream.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const LIMITS: FrameLimits = FrameLimits {
    header: 4096,
    message: 100_000,
    control: 5000,
};

fn frame(kind: Kind, id: i32, payload: Vec<u8>) -> Frame {
    let mut frame = Frame::new(kind, id, 0x10, Bytes::from_static(b"Chat"));
    frame.payload = Bytes::from(payload);
    frame
}

/// Everything that the decoder finds, Data frames rebuilt.
fn drain(decoder: &mut Decoder, found: &mut Vec<(Event, Option<Bytes>)>) {
    while let Some(event) = decoder.next_event().unwrap() {
        let payload = matches!(event, Event::Data { .. }).then(|| {
            let mut run = MessageBatch::new();
            let pinned = decoder.take_data(&mut run);
            let mut all = BytesMut::new();
            let message = run
                .pop_message(|piece| all.extend_from_slice(&piece))
                .unwrap();
            assert!(run.is_empty());
            assert_eq!(message.len, all.len());
            assert!(pinned >= all.len());
            all.freeze()
        });
        found.push((event, payload));
    }
}

fn feed(decoder: &mut Decoder, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let space = decoder.space();
        let n = bytes.len().min(space.capacity() - space.len());
        assert!(n > 0, "there is always room");
        space.extend_from_slice(&bytes[..n]);
        bytes = &bytes[n..];
    }
}

fn wire() -> BytesMut {
    let mut header = frame(Kind::Header, 1, vec![]);
    header
        .info
        .strings
        .push(("isn".into(), "ChatService".into()));
    let mut wire = BytesMut::new();
    header.encode(&mut wire).unwrap();
    frame(Kind::Data, 1, vec![]).encode(&mut wire).unwrap();
    frame(Kind::Data, 1, vec![7; 60]).encode(&mut wire).unwrap();
    frame(Kind::Data, -3, vec![8; 5000])
        .encode(&mut wire)
        .unwrap();
    frame(Kind::Trailer, 1, vec![1; 6000])
        .encode(&mut wire)
        .unwrap();
    let bad = wire.len();
    frame(Kind::Rst, 9, vec![2; 10]).encode(&mut wire).unwrap();
    wire[bad + META] = 0x55;
    frame(Kind::Rst, 5, vec![2; 10]).encode(&mut wire).unwrap();
    wire
}

fn expected() -> Vec<(Event, Option<Bytes>)> {
    let mut header = frame(Kind::Header, 1, vec![]);
    header
        .info
        .strings
        .push(("isn".into(), "ChatService".into()));
    let data = |stream_id, payload: Vec<u8>| {
        let len = payload.len();
        (Event::Data { stream_id, len }, Some(Bytes::from(payload)))
    };
    vec![
        (Event::Frame(header), None),
        data(1, vec![]),
        data(1, vec![7; 60]),
        data(-3, vec![8; 5000]),
        (
            Event::Oversized {
                stream_id: 1,
                kind: Kind::Trailer,
                len: 6000,
            },
            None,
        ),
        (
            Event::Bad {
                stream_id: 9,
                error: BlockError::Protocol(0x55),
            },
            None,
        ),
        (Event::Frame(frame(Kind::Rst, 5, vec![2; 10])), None),
    ]
}

#[test]
fn every_split_point() {
    let wire = wire();
    for split in 0..=wire.len() {
        let mut decoder = Decoder::new(LIMITS, BytesMut::from(&wire[..split]));
        let mut found = Vec::new();
        drain(&mut decoder, &mut found);
        feed(&mut decoder, &wire[split..]);
        drain(&mut decoder, &mut found);
        assert_eq!(found, expected(), "split at {split}");
        assert!(!decoder.in_frame());
    }
}

#[test]
fn byte_by_byte() {
    let mut decoder = Decoder::new(LIMITS, BytesMut::new());
    let mut found = Vec::new();
    for byte in wire() {
        feed(&mut decoder, &[byte]);
        drain(&mut decoder, &mut found);
    }
    assert_eq!(found, expected());
}

proptest! {
    #[test]
    fn any_pieces(cuts in vec(1usize..3000, 1..40)) {
        let wire = wire();
        let mut decoder = Decoder::new(LIMITS, BytesMut::new());
        let mut found = Vec::new();
        let mut at = 0;
        for cut in cuts.into_iter().cycle() {
            let end = wire.len().min(at + cut);
            feed(&mut decoder, &wire[at..end]);
            drain(&mut decoder, &mut found);
            at = end;
            if at == wire.len() { break }
        }
        prop_assert_eq!(found, expected());
    }

    #[test]
    fn garbage_never_panics(bytes in vec(any::<u8>(), 0..600), kitex: bool) {
        let mut decoder = Decoder::new(LIMITS, BytesMut::new());
        if kitex {
            feed(&mut decoder, &[0, 0, 2, 0, 0x10, 0, 0, 2]);
        }
        feed(&mut decoder, &bytes);
        let mut run = MessageBatch::new();
        while let Ok(Some(event)) = decoder.next_event() {
            if let Event::Data { .. } = event {
                decoder.take_data(&mut run);
            }
        }
        prop_assert!(run.len() <= bytes.len() + 5 * bytes.len());
    }
}

#[test]
fn an_oversized_message_is_never_buffered() {
    let mut wire = BytesMut::new();
    frame(Kind::Data, 1, vec![3; 5_000_000])
        .encode(&mut wire)
        .unwrap();
    frame(Kind::Data, 2, vec![4; 3]).encode(&mut wire).unwrap();
    let mut decoder = Decoder::new(LIMITS, BytesMut::new());
    let mut found = Vec::new();
    for piece in wire.chunks(1000) {
        feed(&mut decoder, piece);
        drain(&mut decoder, &mut found);
        assert!(decoder.chunk <= 2 * READ_CHUNK);
        assert_eq!(decoder.assembling(), 0);
    }
    assert_eq!(found.len(), 2);
    assert_eq!(
        found[0].0,
        Event::Oversized {
            stream_id: 1,
            kind: Kind::Data,
            len: 5_000_000
        }
    );
}

#[test]
fn data_that_is_not_taken_is_skipped() {
    let mut wire = BytesMut::new();
    frame(Kind::Data, 1, vec![3; 50]).encode(&mut wire).unwrap();
    frame(Kind::Data, 2, vec![4; 3]).encode(&mut wire).unwrap();
    let mut decoder = Decoder::new(LIMITS, wire);
    assert!(matches!(
        decoder.next_event(),
        Ok(Some(Event::Data { stream_id: 1, .. }))
    ));
    assert!(matches!(
        decoder.next_event(),
        Ok(Some(Event::Data { stream_id: 2, .. }))
    ));
    assert_eq!(decoder.next_event(), Ok(None));
}

#[test]
fn announcing_a_large_frame_takes_little() {
    let limits = FrameLimits {
        message: 64 << 20,
        ..LIMITS
    };
    let mut wire = BytesMut::new();
    frame(Kind::Data, 1, vec![3; 16 << 20])
        .encode(&mut wire)
        .unwrap();
    let mut decoder = Decoder::new(limits, BytesMut::new());
    feed(&mut decoder, &wire[..100]);
    assert_eq!(decoder.next_event(), Ok(None));
    decoder.space();
    assert!(decoder.assembling() <= 2 * EXACT_ROOM);
}

#[test]
fn a_lost_framing_is_said() {
    let mut wire = BytesMut::new();
    frame(Kind::Data, 1, vec![3; 50]).encode(&mut wire).unwrap();
    wire.extend_from_slice(b"GET / HTTP/1.1\r\n");
    let mut decoder = Decoder::new(LIMITS, wire);
    assert!(matches!(decoder.next_event(), Ok(Some(Event::Data { .. }))));
    assert!(matches!(
        decoder.next_event(),
        Err(FramingError::BadMagic(_))
    ));

    let ping_pong = &[0, 0, 0, 14, 0x10, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0][..];
    let mut decoder = Decoder::new(LIMITS, BytesMut::from(ping_pong));
    assert_eq!(decoder.next_event(), Err(FramingError::NotStreaming(0)));
}
