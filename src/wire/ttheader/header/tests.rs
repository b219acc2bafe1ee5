//! The header block's codec and its bounds. Knows no frame kinds.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn text() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

pub(crate) fn any_info() -> impl Strategy<Value = Info> {
    (
        vec((any::<u16>(), text()), 0..8),
        vec((text(), text()), 0..8),
        proptest::option::of(text()),
    )
        .prop_map(|(ints, mut strings, acl)| {
            if let Some(acl) = acl {
                strings.insert(0, (Bytes::from_static(ACL_TOKEN.as_bytes()), acl));
            }
            Info { ints, strings }
        })
}

fn split(frame: &[u8]) -> (Fixed, Bytes) {
    let fixed = Fixed::parse(frame.first_chunk().unwrap()).unwrap();
    let block = Bytes::copy_from_slice(&frame[META..META + fixed.block]);
    (fixed, block)
}

proptest! {
    #[test]
    fn round_trip(info in any_info(), seq: i32, flags: u16, payload in 0usize..1 << 20, empty: bool) {
        let prelude = Prelude { flags, seq, protocol: 0x10 };
        let mut out = BytesMut::from(&b"before"[..]);
        encode(&mut out, prelude, &info, payload).unwrap();
        let (fixed, block) = split(&out[6..]);
        prop_assert_eq!((fixed.flags, fixed.seq, fixed.payload), (flags, seq, payload));
        prop_assert_eq!(fixed.total(), out.len() - 6 + payload);
        prop_assert_eq!(decode(&block).unwrap(), (0x10, info));
    }

    #[test]
    fn garbage_never_panics(block in vec(any::<u8>(), 0..200)) {
        let block = Bytes::from(block);
        prop_assert_eq!(decode(&block).map(|_| ()), scan(&block, 27).map(|_| ()));
    }

    #[test]
    fn a_cut_block_is_an_error_or_shorter(info in any_info(), cut in 0usize..600) {
        let prelude = Prelude { flags: 2, seq: 1, protocol: 0x11 };
        let mut out = BytesMut::new();
        encode(&mut out, prelude, &info, 0).unwrap();
        let (_, block) = split(&out);
        let cut = block.slice(..cut.min(block.len()));
        if let Ok((_, got)) = decode(&cut) {
            prop_assert!(got.ints.len() <= info.ints.len());
            prop_assert!(got.strings.len() <= info.strings.len());
        }
    }
}

/// A Data frame's header as Kitex's encoder writes it, by hand.
const KITEX_DATA: &[u8] = &[
    0, 0, 0, 0x27, 0x10, 0x00, 0x00, 0x02, 0xFF, 0xFF, 0xFF, 0xFE, 0, 6, // LENGTH .. size 24
    0x10, 0, // protocol id, transforms
    0x10, 0, 2, // int map of two
    0, 9, 0, 4, b'C', b'h', b'a', b't', // to-method
    0, 27, 0, 1, b'3', // frame type
    0, 0, 0, 0, 0, 0, // padding
    1, 2, 3, 4, 5, // payload
];

#[test]
fn hand_made_kitex_frame() {
    let (fixed, block) = split(KITEX_DATA);
    assert_eq!(
        fixed,
        Fixed {
            flags: FLAG_STREAMING,
            seq: -2,
            block: 24,
            payload: 5
        }
    );
    let (protocol, info) = decode(&block).unwrap();
    assert_eq!(protocol, PROTOCOL_THRIFT_STRUCT);
    assert_eq!(info.int(9).unwrap(), "Chat");
    assert_eq!(scan(&block, 27).unwrap(), Some(&b"3"[..]));
    assert_eq!(info.string("isn"), None);

    let prelude = Prelude {
        flags: 2,
        seq: -2,
        protocol,
    };
    let mut again = BytesMut::new();
    encode(&mut again, prelude, &info, 5).unwrap();
    // Ours needs no second row of padding: the block's own length decides it.
    assert_eq!(again.len(), META + 20);
    assert_eq!(again[META..], KITEX_DATA[META..META + 20]);
}

#[test]
fn each_fault_is_named() {
    let mut frame: [u8; META] = *KITEX_DATA.first_chunk().unwrap();
    frame[4] = 0x80;
    assert_eq!(
        Fixed::parse(&frame),
        Err(FramingError::BadMagic(0x8000)),
        "magic"
    );
    frame[4] = 0x10;
    frame[3] = 33;
    assert_eq!(
        Fixed::parse(&frame),
        Err(FramingError::BadLength {
            length: 33,
            block: 24
        })
    );
    frame[0] = 0x40;
    assert!(matches!(
        Fixed::parse(&frame),
        Err(FramingError::BadLength { .. })
    ));

    let fault = |bytes: &'static [u8]| decode(&Bytes::from_static(bytes)).unwrap_err();
    assert_eq!(fault(&[]), BlockError::TooShort(0));
    assert_eq!(fault(&[0x02, 0]), BlockError::Protocol(0x02));
    assert_eq!(fault(&[0x10, 1, 1, 0]), BlockError::Transforms(1));
    assert_eq!(fault(&[0x10, 0, 0x12, 0]), BlockError::UnknownInfo(0x12));
    assert_eq!(
        fault(&[0x10, 0, 0x01, 0, 1, 0, 9, b'x']),
        BlockError::Truncated("a string key")
    );
    assert_eq!(
        fault(&[0x10, 0, 0x10, 0]),
        BlockError::Truncated("the int map's size")
    );
    let mut many = vec![0x10, 0, 0x10, 0xFF, 0xFF];
    many.extend_from_slice(&[0; 4 * (MAX_ENTRIES + 1)]);
    assert_eq!(
        decode(&Bytes::from(many)).unwrap_err(),
        BlockError::TooManyEntries
    );
}

#[test]
fn what_does_not_fit_is_not_written() {
    let prelude = Prelude {
        flags: 2,
        seq: 1,
        protocol: 0x10,
    };
    let mut out = BytesMut::from(&b"x"[..]);
    let big = Info {
        ints: vec![(1, Bytes::from(vec![0; 70_000]))],
        strings: vec![],
    };
    assert_eq!(
        encode(&mut out, prelude, &big, 0),
        Err(EncodeError::Entry(70_000))
    );
    let value = Bytes::from(vec![0; 65_000]);
    let huge = Info {
        ints: (0..5).map(|k| (k, value.clone())).collect(),
        strings: vec![],
    };
    assert!(matches!(
        encode(&mut out, prelude, &huge, 0),
        Err(EncodeError::Block(_))
    ));
    assert!(matches!(
        encode(&mut out, prelude, &Info::default(), 0x3FFF_FFFF),
        Err(EncodeError::Payload(_))
    ));
    assert_eq!(&out[..], b"x");
}
