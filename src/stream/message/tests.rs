//! Batches of messages against a plain list of them, checked by properties. Knows no wire.

use proptest::prelude::*;

use super::*;

fn messages() -> impl Strategy<Value = Vec<(bool, Vec<u8>)>> {
    let payload = prop_oneof![
        Just(vec![]),
        proptest::collection::vec(any::<u8>(), 0..300),
        (4000usize..40_000).prop_map(|n| (0..n).map(|i| i as u8).collect()),
    ];
    proptest::collection::vec((any::<bool>(), payload), 0..12)
}

fn drain(run: &mut MessageBatch) -> Vec<(bool, Vec<u8>)> {
    let mut out = Vec::new();
    loop {
        let mut payload = Vec::new();
        let Some(message) = run.pop_message(|piece| payload.extend_from_slice(&piece)) else {
            return out;
        };
        assert_eq!(message.len, payload.len());
        out.push((message.compressed, payload));
    }
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(messages in messages(), split in 0usize..12) {
        let mut run = MessageBatch::new();
        let mut second = MessageBatch::new();
        for (i, (compressed, payload)) in messages.iter().enumerate() {
            let target = if i < split { &mut run } else { &mut second };
            target.push_message(*compressed, Bytes::from(payload.clone()));
        }
        run.append(&mut second);
        prop_assert!(second.is_empty());
        let total: usize = messages.iter().map(|(_, p)| p.len() + PREFIX).sum();
        prop_assert_eq!(run.len(), total);
        prop_assert_eq!(drain(&mut run), messages);
        prop_assert!(run.is_empty());
    }

    #[test]
    fn boundaries_do_not_depend_on_the_pieces(messages in messages(), sizes in proptest::collection::vec(1usize..5000, 1..40)) {
        let mut run = MessageBatch::new();
        for (compressed, payload) in &messages {
            run.push_message(*compressed, Bytes::from(payload.clone()));
        }
        let mut boundary = Boundary::default();
        let (mut count, mut longest, mut i) = (0, 0, 0);
        let mut rebuilt = MessageBatch::new();
        while let Some(piece) = run.take_piece(sizes[i % sizes.len()]) {
            let found = boundary.advance(&piece);
            prop_assert_eq!(found.bad_flag, None);
            if let Some(whole) = found.whole {
                prop_assert_eq!(whole == piece.len(), boundary.at_boundary());
            }
            count += found.messages;
            longest = longest.max(found.longest);
            rebuilt.push_bytes(piece);
            i += 1;
        }
        prop_assert!(boundary.at_boundary());
        prop_assert_eq!(count, messages.len());
        prop_assert_eq!(longest, messages.iter().map(|(_, p)| p.len()).max().unwrap_or(0));
        prop_assert_eq!(drain(&mut rebuilt), messages);
    }
}

#[test]
fn large_payloads_are_not_copied() {
    let payload = Bytes::from(vec![7u8; GATHER_BELOW]);
    let mut run = MessageBatch::new();
    run.push_message(false, payload.clone());
    let mut got = Vec::new();
    run.pop_message(|piece| got.push(piece));
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].as_ptr(), payload.as_ptr());
}

#[test]
fn a_flag_that_is_not_one_is_reported() {
    let mut boundary = Boundary::default();
    assert_eq!(boundary.advance(&[2, 0, 0, 0, 0]).bad_flag, Some(2));
}

#[test]
fn peeking_and_copying_agree_with_popping() {
    let mut run = MessageBatch::new();
    let mut again = MessageBatch::new();
    for len in [0usize, 3, 5000, 0, 4096, 17, 4095, 1] {
        let payload = Bytes::from(vec![len as u8; len]);
        run.push_message(len == 3, payload.clone());
        again.push_message(len == 3, payload);
    }
    // Prefixes that are cut between pieces.
    let mut split = MessageBatch::new();
    while let Some(piece) = again.take_piece(2) {
        split.push_bytes(piece);
    }
    for mut run in [run, split] {
        for len in [0usize, 3, 5000, 0, 4096, 17, 4095, 1] {
            let want = Message {
                compressed: len == 3,
                len,
            };
            assert_eq!(run.peek_message().as_ref(), Some(&want));
            let mut payload = BytesMut::new();
            assert_eq!(run.pop_message_into(&mut payload), Some(want));
            assert_eq!(payload, vec![len as u8; len]);
        }
        assert_eq!(run.peek_message(), None);
        assert!(run.is_empty());
    }
}

#[test]
fn what_a_begun_message_lacks_is_found_wherever_it_was_cut() {
    let mut batch = MessageBatch::new();
    batch.push_message(false, Bytes::from_static(b"0123456789"));
    batch.push_message(true, Bytes::from_static(b"another"));
    let all: Vec<u8> = batch.pieces().flatten().copied().collect();
    for cut in 0..=all.len() {
        let (sent, rest) = all.split_at(cut);
        let mut boundary = Boundary::default();
        boundary.advance(sent);
        let lacks = match cut {
            0 | 15 | 27 => 0,
            1..15 => 15 - cut,
            _ => 27 - cut,
        };
        for size in [1, 3, 100] {
            assert_eq!(
                boundary.lacking(rest.chunks(size)),
                lacks,
                "{cut}, by {size}"
            );
        }
    }
}
