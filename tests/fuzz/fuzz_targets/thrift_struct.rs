//! Any bytes, in any pieces, as a thrift struct. There is never a panic. The verdict does not
//! depend on how the bytes are cut, nor on earlier messages. What passes is what a reader by
//! recursion accepts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ripcord::bridge::thrift::{Pieces, Walker};

/// What follows a value of that type.
fn skip(bytes: &[u8], kind: u8) -> Option<&[u8]> {
    let length =
        |at: &[u8]| -> Option<usize> { i32::from_be_bytes(*at.first_chunk()?).try_into().ok() };
    let types = match kind {
        2 | 3 => return bytes.get(1..),
        6 => return bytes.get(2..),
        8 => return bytes.get(4..),
        4 | 10 => return bytes.get(8..),
        11 => return bytes.get(4..)?.get(length(bytes)?..),
        12 => {
            let mut at = bytes;
            loop {
                let (kind, rest) = at.split_first()?;
                if *kind == 0 {
                    return Some(rest);
                }
                at = skip(rest.get(2..)?, *kind)?;
            }
        }
        13 => 2,
        14 | 15 => 1,
        _ => return None,
    };
    let (of, mut at) = bytes.split_at_checked(types)?;
    let count = length(at)?;
    at = at.get(4..)?;
    for _ in 0..count {
        for kind in of {
            at = skip(at, *kind)?;
        }
    }
    Some(at)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (step, bytes) = input;
    let mut walker = Walker::default();
    let whole = walker.walk(&mut Pieces::new([bytes]), bytes.len());
    let mut cut = Pieces::new(bytes.chunks(usize::from(step) + 1));
    assert_eq!(walker.walk(&mut cut, bytes.len()), whole);
    // The length decides, not where the pieces end.
    let mut more = Pieces::new([bytes, b"more"]);
    assert_eq!(walker.walk(&mut more, bytes.len()), whole);
    if whole.is_ok() {
        assert_eq!(more.take(), Some(*b"more"));
        assert_eq!(skip(bytes, 12), Some(&[][..]));
    }
});
