//! Codecs of status messages, `-bin` values, timeouts and details. Knows no stream.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

#[test]
fn messages_are_encoded_as_the_specification_says() {
    assert_eq!(encode_message("a b%é\n~"), "a b%25%C3%A9%0A~");
    assert_eq!(encode_message(" a "), "%20a%20");
    assert_eq!(encode_message("  "), "%20%20");
    assert_eq!(decode_message(b"100% %zz %C3 %2"), "100% %zz \u{fffd} %2");
}

#[test]
fn bin_values_are_read_padded_or_not() {
    assert_eq!(decode_bin(b"aGk="), Some(b"hi".to_vec()));
    assert_eq!(decode_bin(b"aGk"), Some(b"hi".to_vec()));
    assert_eq!(decode_bin(b"a!"), None);
    assert_eq!(encode_bin(b"hi"), "aGk");
}

#[test]
fn timeouts_are_never_zero_and_never_longer_than_eight_digits() {
    assert_eq!(format_timeout(Duration::ZERO), "1n");
    assert_eq!(format_timeout(Duration::from_secs(1)), "1000000u");
    assert_eq!(format_timeout(Duration::from_nanos(100_000_001)), "100001u");
    assert_eq!(format_timeout(Duration::MAX), "99999999H");
    assert_eq!(parse_timeout(b"10S"), Some(Duration::from_secs(10)));
    for bad in [&b""[..], b"S", b"123456789S", b"1x", b"-1S", b"1"] {
        assert_eq!(parse_timeout(bad), None);
    }
}

#[test]
fn details_are_the_bytes_that_protobuf_writes() {
    let info = ErrorInfo {
        reason: "R".into(),
        domain: "d".into(),
        metadata: vec![("k".into(), "v".into())],
    };
    let raw = encode_details(1, "m", &info);
    let mut expected =
        b"\x08\x01\x12\x01m\x1a\x3a\x0a\x28type.googleapis.com/google.rpc.ErrorInfo".to_vec();
    expected.extend_from_slice(b"\x12\x0e\x0a\x01R\x12\x01d\x1a\x06\x0a\x01k\x12\x01v");
    assert_eq!(raw, expected);
    let (status, read) = decode_details(&raw).unwrap();
    assert_eq!((status.code, status.message.as_str()), (1, "m"));
    assert_eq!(read, Some(info));
    for end in 1..raw.len() {
        let _ = decode_details(&raw.slice(..end));
    }
}

proptest! {
    #[test]
    fn texts_come_back(text in ".*") {
        let encoded = encode_message(&text);
        prop_assert!(encoded.bytes().all(|b| (0x20..=0x7e).contains(&b)));
        prop_assert_eq!(encoded.trim(), &encoded);
        prop_assert_eq!(decode_message(encoded.as_bytes()), text);
    }

    #[test]
    fn a_timeout_loses_at_most_what_its_unit_hides(ms in 0u64..10_000_000_000) {
        let timeout = Duration::from_millis(ms);
        let text = format_timeout(timeout);
        prop_assert!(text.len() <= 9);
        let read = parse_timeout(text.as_bytes()).unwrap();
        prop_assert!(read >= timeout && read > Duration::ZERO);
        prop_assert!(read <= timeout + Duration::from_secs(60).max(timeout / 1000));
    }

    #[test]
    fn nothing_panics(raw: Vec<u8>) {
        let _ = decode_message(&raw);
        let _ = decode_bin(&raw);
        let _ = parse_timeout(&raw);
        let _ = decode_details(&Bytes::from(raw));
    }
}
