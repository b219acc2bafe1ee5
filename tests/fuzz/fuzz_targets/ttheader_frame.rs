//! Any bytes, in any pieces, through the TTHeader decoder. There is never a panic, and never more
//! memory than the limits allow. The events do not depend on how the bytes are cut. Every frame
//! encodes to something that decodes to itself.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use ripcord::stream::MessageBatch;
use ripcord::wire::ttheader::frame::{Decoder, Event, FrameLimits};
use ripcord::wire::ttheader::header::FramingError;
use ripcord::wire::ttheader::pingpong;

const LIMITS: FrameLimits = FrameLimits {
    header: 4096,
    message: 32 * 1024,
    control: 8192,
};

type Found = (Vec<(Event, Option<Bytes>)>, Option<FramingError>);

fn drain(decoder: &mut Decoder, found: &mut Found) {
    while found.1.is_none() {
        match decoder.next_event() {
            Ok(None) => return,
            Err(error) => found.1 = Some(error),
            Ok(Some(event)) => {
                let payload = matches!(event, Event::Data { .. }).then(|| {
                    let mut run = MessageBatch::new();
                    decoder.take_data(&mut run);
                    let mut all = BytesMut::new();
                    run.pop_message(|piece| all.extend_from_slice(&piece));
                    assert!(run.is_empty());
                    all.freeze()
                });
                found.0.push((event, payload));
            }
        }
    }
}

fuzz_target!(|input: (u8, &[u8])| {
    let (step, bytes) = input;
    let _ = pingpong::parse(bytes);

    let mut whole: Found = Default::default();
    drain(&mut Decoder::new(LIMITS, BytesMut::from(bytes)), &mut whole);

    let mut pieces: Found = Default::default();
    let mut decoder = Decoder::new(LIMITS, BytesMut::new());
    for piece in bytes.chunks(usize::from(step) + 1) {
        let mut rest = piece;
        while !rest.is_empty() && pieces.1.is_none() {
            let space = decoder.space();
            let n = rest.len().min(space.capacity() - space.len());
            assert!(n > 0);
            space.extend_from_slice(&rest[..n]);
            rest = &rest[n..];
            drain(&mut decoder, &mut pieces);
            assert!(decoder.assembling() <= 2 * (LIMITS.header + LIMITS.message));
        }
    }
    assert_eq!(whole, pieces);

    for (event, _) in whole.0 {
        if let Event::Frame(frame) = event {
            let mut wire = BytesMut::new();
            frame.encode(&mut wire).expect("what was read fits");
            let mut decoder = Decoder::new(LIMITS, wire);
            // Padding and order of blocks may differ, and so the size of the header.
            if let Ok(Some(Event::Frame(again))) = decoder.next_event() {
                assert_eq!(again.payload, frame.payload);
                assert_eq!(again.info.ints, frame.info.ints);
            }
        }
    }
});
