//! The thrift walker on structs in pieces, whole and broken. Knows no bridge.

use bytes::BufMut;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn walk(pieces: &[&[u8]]) -> Result<(), Malformed> {
    let len = pieces.iter().map(|piece| piece.len()).sum();
    Walker::default().walk(&mut Pieces::new(pieces.iter().copied()), len)
}

fn fault(bytes: &[u8]) -> (Fault, usize) {
    let error = walk(&[bytes]).unwrap_err();
    (error.fault, error.at)
}

/// The same in its simplest form: what follows a value of that type, by recursion.
fn skip(bytes: &[u8], kind: u8, depth: usize) -> Option<&[u8]> {
    let length =
        |at: &[u8]| usize::try_from(i32::from_be_bytes(at.get(..4)?.try_into().ok()?)).ok();
    match kind {
        2 | 3 => bytes.get(1..),
        6 => bytes.get(2..),
        8 => bytes.get(4..),
        4 | 10 => bytes.get(8..),
        11 => bytes.get(4..)?.get(length(bytes)?..),
        12 => {
            depth.checked_sub(1)?;
            let mut at = bytes;
            loop {
                let (&kind, rest) = at.split_first()?;
                if kind == 0 {
                    return Some(rest);
                }
                at = skip(rest.get(2..)?, kind, depth - 1)?;
            }
        }
        13..=15 => {
            let types = if kind == 13 { 2 } else { 1 };
            let count = length(bytes.get(types..)?)?;
            let mut at = bytes.get(types + 4..)?;
            let simple = (0..types).all(|t| fixed(bytes[t]).is_some());
            if count > 0 && !simple {
                depth.checked_sub(1)?;
            }
            for _ in 0..count {
                for of in &bytes[..types] {
                    at = skip(at, *of, depth.saturating_sub(1))?;
                }
            }
            Some(at)
        }
        _ => None,
    }
}

/// Values of a type, most of them well-formed.
fn value(depth: u32) -> BoxedStrategy<(u8, Vec<u8>)> {
    let simple = prop_oneof![
        any::<u8>().prop_map(|v| (BOOL, vec![v])),
        any::<i16>().prop_map(|v| (I16, v.to_be_bytes().to_vec())),
        any::<i32>().prop_map(|v| (I32, v.to_be_bytes().to_vec())),
        any::<i64>().prop_map(|v| (DOUBLE, v.to_be_bytes().to_vec())),
        vec(any::<u8>(), 0..20).prop_map(|v| {
            let mut out = (v.len() as u32).to_be_bytes().to_vec();
            out.extend(v);
            (STRING, out)
        }),
    ];
    if depth == 0 {
        return simple.boxed();
    }
    let fields = vec((any::<[u8; 2]>(), value(depth - 1)), 0..4).prop_map(|fields| {
        let mut out = Vec::new();
        for (id, (kind, value)) in fields {
            out.push(kind);
            out.extend(id);
            out.extend(value);
        }
        out.push(STOP);
        (STRUCT, out)
    });
    // The same value several times: all of one type.
    let list = (
        prop_oneof![Just(LIST), Just(SET)],
        value(depth - 1),
        0u32..4,
    )
        .prop_map(|(kind, (of, value), count)| {
            let mut out = vec![of];
            out.put_u32(count);
            (0..count).for_each(|_| out.extend(&value));
            (kind, out)
        });
    let map = (value(depth - 1), value(depth - 1), 0u32..4).prop_map(|(key, value, count)| {
        let mut out = vec![key.0, value.0];
        out.put_u32(count);
        for _ in 0..count {
            out.extend(&key.1);
            out.extend(&value.1);
        }
        (MAP, out)
    });
    prop_oneof![2 => simple, 3 => fields, 1 => list, 1 => map].boxed()
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let fields = vec((any::<[u8; 2]>(), value(3)), 0..5).prop_map(|fields| {
        let mut out = Vec::new();
        for (id, (kind, value)) in fields {
            out.push(kind);
            out.extend(id);
            out.extend(value);
        }
        out.push(STOP);
        out
    });
    fields.boxed()
}

proptest! {
    #[test]
    fn a_struct_passes_and_a_changed_one_is_as_the_simple_reader_finds_it(
        whole in message(), changes in vec((any::<proptest::sample::Index>(), any::<u8>()), 0..3),
        cut in any::<proptest::sample::Index>(), cuts in vec(any::<proptest::sample::Index>(), 0..6),
    ) {
        prop_assert_eq!(walk(&[&whole]), Ok(()));
        let mut bytes = whole.clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let cut = cut.index(bytes.len() + 8);
        bytes.truncate(cut.max(1));
        let simple = skip(&bytes, STRUCT, MAX_DEPTH + 1).is_some_and(<[u8]>::is_empty);
        let found = walk(&[&bytes]);
        prop_assert_eq!(found.is_ok(), simple, "{:?}", found);
        // In any pieces, also empty ones, and with another message behind it.
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let mut pieces: Vec<&[u8]> = Vec::new();
        let mut from = 0;
        for cut in cuts.into_iter().chain([bytes.len()]) {
            pieces.push(&bytes[from..cut]);
            from = cut;
        }
        prop_assert_eq!(walk(&pieces), found);
        let mut pieces = Pieces::new(pieces.into_iter().chain([&b"next!"[..]]));
        let mut walker = Walker::default();
        prop_assert_eq!(walker.walk(&mut pieces, bytes.len()), found);
        if found.is_ok() {
            prop_assert_eq!(pieces.take(), Some(*b"next!"));
        }
    }

    #[test]
    fn bytes_of_any_kind_are_as_the_simple_reader_finds_them(bytes in vec(prop_oneof![0u8..17, any::<u8>()], 0..60)) {
        let simple = skip(&bytes, STRUCT, MAX_DEPTH + 1).is_some_and(<[u8]>::is_empty);
        prop_assert_eq!(walk(&[&bytes]).is_ok(), simple);
    }
}

#[test]
fn each_fault_is_named_with_its_place() {
    assert_eq!(walk(&[&[STOP]]), Ok(()));
    assert_eq!(fault(&[]), (Fault::Short, 0));
    assert_eq!(fault(&[STOP, 1]), (Fault::Trailing, 1));
    assert_eq!(fault(&[I32, 0, 1, 0, 0]), (Fault::Short, 3));
    assert_eq!(fault(&[1, 0, 1, 0]), (Fault::Type(1), 3));
    assert_eq!(fault(&[STRING, 0, 1, 0, 0, 0, 9, STOP]), (Fault::Short, 7));
    assert_eq!(
        fault(&[STRING, 0, 1, 0xff, 0, 0, 0, STOP]),
        (Fault::Negative, 7)
    );
    // A count beyond the end costs nothing.
    assert_eq!(
        fault(&[LIST, 0, 1, STRUCT, 0x7f, 0xff, 0xff, 0xff, STOP]),
        (Fault::Short, 8)
    );
    assert_eq!(
        fault(&[MAP, 0, 1, I64, I64, 0x7f, 0xff, 0xff, 0xff, STOP]),
        (Fault::Short, 9)
    );
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| {
        let mut bytes = Vec::new();
        (0..depth).for_each(|_| bytes.extend([STRUCT, 0, 1]));
        bytes.extend(vec![STOP; depth + 1]);
        bytes
    };
    assert_eq!(walk(&[&nested(MAX_DEPTH)]), Ok(()));
    assert_eq!(fault(&nested(MAX_DEPTH + 1)).0, Fault::Deep);
    // Many levels cost what the bytes cost, not more.
    assert_eq!(fault(&nested(1_000_000)).0, Fault::Deep);
}
