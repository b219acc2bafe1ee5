//! The exception codec on what Kitex writes, and on what nobody should write. Knows no frame.

use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;

use super::*;

#[test]
fn the_bytes_are_those_that_gopkg_writes() {
    let bytes = encode("Chat", 7, 6, "no");
    assert_eq!(
        &bytes[..],
        b"\x80\x01\0\x03\0\0\0\x04Chat\0\0\0\x07\x0b\0\x01\0\0\0\x02no\x08\0\x02\0\0\0\x06\0"
    );
}

#[test]
fn every_cut_is_refused() {
    let whole = encode("m", -1, 12007, "text");
    for end in 0..whole.len() {
        assert_eq!(
            decode(&whole.slice(..end)),
            Err(ExceptionError::Short),
            "{end}"
        );
    }
}

#[test]
fn unknown_fields_are_skipped_within_bounds() {
    let mut raw = BytesMut::new();
    raw.put_slice(b"\x80\x01\0\x03\0\0\0\0\0\0\0\0");
    raw.put_slice(b"\x0d\0\x09\x0b\x08\0\0\0\x01\0\0\0\x01k\0\0\0\x01"); // map<string,i32>
    raw.put_slice(b"\x0c\0\x08\x02\0\x01\x01\0"); // struct { bool }
    raw.put_slice(b"\x0f\0\x07\x0a\0\0\0\x01\0\0\0\0\0\0\0\x01"); // list<i64>
    raw.put_slice(b"\x08\0\x02\0\0\0\x05\0");
    assert_eq!(decode(&raw.clone().freeze()).unwrap().exception.type_id, 5);

    let mut deep = BytesMut::new();
    deep.put_slice(b"\x80\x01\0\x03\0\0\0\0\0\0\0\0");
    for _ in 0..1000 {
        deep.put_slice(b"\x0c\0\x01");
    }
    assert_eq!(decode(&deep.freeze()), Err(ExceptionError::Field));

    let huge = Bytes::from_static(b"\x80\x01\0\x03\0\0\0\0\0\0\0\0\x0f\0\x01\x02\x7f\xff\xff\xff");
    assert_eq!(decode(&huge), Err(ExceptionError::Short));
    // A list of 2^31 empty structs would be cheap to claim: each still takes its stop byte.
    let negative = Bytes::from_static(b"\x80\x01\0\x03\xff\xff\xff\xff");
    assert_eq!(decode(&negative), Err(ExceptionError::Field));
}

#[test]
fn other_messages_are_named() {
    assert_eq!(
        decode(&Bytes::from_static(b"\x80\x01\0\x01\0\0\0\0")),
        Err(ExceptionError::Type(1))
    );
    assert_eq!(
        decode(&Bytes::from_static(b"\0\0\0\x01")),
        Err(ExceptionError::Version)
    );
}

proptest! {
    #[test]
    fn what_is_written_is_read(name in ".*", seq: i32, type_id: i32, text in ".*") {
        let message = decode(&encode(&name, seq, type_id, &text)).unwrap();
        prop_assert_eq!(message, ExceptionMessage {
            name, seq, exception: Exception { type_id, text },
        });
    }

    #[test]
    fn nothing_panics(raw: Vec<u8>) {
        let mut framed = BytesMut::from(&b"\x80\x01\0\x03\0\0\0\0\0\0\0\0"[..]);
        framed.extend_from_slice(&raw);
        let _ = decode(&framed.freeze());
        let _ = decode(&Bytes::from(raw));
    }
}
