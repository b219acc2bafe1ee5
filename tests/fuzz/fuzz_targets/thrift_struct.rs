//! Any bytes, in any pieces, as a thrift struct. There is never a panic. The verdict does not
//! depend on how the bytes are cut, nor on earlier messages. What passes is what a reader by
//! recursion accepts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ripcord::bridge::thrift::{Pieces, Walker};
use ripcord_fuzz::thrift::skip;

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
