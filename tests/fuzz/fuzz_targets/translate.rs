//! Any bytes as a message of each pair of a rich schema, both ways, whole and in pieces. There is
//! never a panic. What is written is bounded and is read by others. What was translated there and
//! back once is translated there and back again to the same. A message that failed changes
//! nothing for the next one.
#![no_main]

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use prost_reflect::prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use ripcord::bridge::thrift::{Pieces, Walker};
use ripcord::translate::{Direction, Fault, FaultClass, FaultKind, Plan, Translator};
use ripcord_fuzz::schema::RICH;
use ripcord_fuzz::thrift::last_fields;

/// The largest message that is written.
const LIMIT: usize = 16 << 10;

const BEFORE: &[u8] = b"before";

/// What the first bytes of an input decide.
struct Case {
    plan: Arc<Plan>,
    message: usize,
    descriptor: MessageDescriptor,
    toward: Direction,
    defaults: bool,
    limit: usize,
    /// The length of pieces.
    step: usize,
}

impl Case {
    /// Splits an input.
    fn of(input: &[u8]) -> Option<(Self, &[u8])> {
        let (&[message, flags, step], bytes) = input.split_first_chunk()?;
        let [loose, strict] = &RICH.plans;
        let plan = if flags & 1 == 0 { loose } else { strict };
        let (message, descriptor) = &RICH.messages[usize::from(message) % RICH.messages.len()];
        let case = Self {
            message: *message,
            descriptor: descriptor.clone(),
            plan: Arc::clone(plan),
            toward: if flags & 2 == 0 {
                Direction::ToThrift
            } else {
                Direction::ToProtobuf
            },
            defaults: flags & 4 == 0,
            limit: if flags & 8 == 0 {
                LIMIT
            } else {
                usize::from(flags)
            },
            step: usize::from(step) + 1,
        };
        Some((case, bytes))
    }

    fn translator(&self, toward: Direction, limit: usize) -> Translator {
        let plan = Arc::clone(&self.plan);
        Translator::new(plan, self.message, toward, self.defaults, limit)
    }

    /// Translates one message, and checks what is written.
    fn translate(&self, toward: Direction, input: &[u8], limit: usize) -> Result<Vec<u8>, Fault> {
        let mut translator = self.translator(toward, limit);
        let mut out = BEFORE.to_vec();
        let result = translator.translate(input, &mut out);
        // Room is looked at after each value, and a buffer doubles.
        let most = 2 * (limit.min(LIMIT) + input.len()) + 4096;
        assert!(out.capacity() <= most, "{} of {most}", out.capacity());
        let rest = out.strip_prefix(BEFORE).expect("it appends");
        if let Err(fault) = result {
            assert!(rest.is_empty(), "something was left behind");
            assert!(fault.offset <= input.len());
            assert!(!fault.to_string().is_empty());
            assert_eq!(translator.skipped(), 0);
            return Err(fault);
        }
        assert!(rest.len() <= limit);
        self.check(toward, rest);
        Ok(rest.to_vec())
    }

    /// Whether others can read it.
    fn check(&self, form: Direction, message: &[u8]) {
        match form {
            Direction::ToThrift => {
                let mut pieces = Pieces::new([message]);
                let verdict = Walker::default().walk(&mut pieces, message.len());
                assert!(verdict.is_ok(), "no struct: {message:?}");
            }
            Direction::ToProtobuf => {
                let read = DynamicMessage::decode(self.descriptor.clone(), message);
                assert!(read.is_ok(), "{read:?}: {message:?}");
            }
        }
    }

    /// In pieces, it becomes the same.
    fn pieces(&self, input: &[u8], whole: &Result<Vec<u8>, Fault>) {
        let pieces = input.chunks(self.step).map(Bytes::copy_from_slice);
        let mut out = BytesMut::from(BEFORE);
        let mut translator = self.translator(self.toward, self.limit);
        let result = translator.translate_pieces(&pieces.collect::<Vec<_>>(), &mut out);
        assert_eq!(result.as_ref().err(), whole.as_ref().err());
        let whole = whole.as_deref().unwrap_or_default();
        assert_eq!(out.strip_prefix(BEFORE), Some(whole));
    }
}

/// The other way.
fn back(toward: Direction) -> Direction {
    match toward {
        Direction::ToThrift => Direction::ToProtobuf,
        Direction::ToProtobuf => Direction::ToThrift,
    }
}

/// Why what was translated may fail to go back: it is larger in the other form, or an element of a
/// list is a union without a member, for which thrift has no form.
fn may_fail(fault: &Fault) -> bool {
    fault.kind.class() == FaultClass::TooLarge || fault.kind == FaultKind::NoMember
}

/// There and back, and again: from then on nothing changes.
fn settles(case: &Case, first: Vec<u8>) {
    let mut toward = back(case.toward);
    let mut last = vec![first];
    for _ in 0..3 {
        let input = last.last().expect("there is a first");
        match case.translate(toward, input, LIMIT) {
            Ok(next) => last.push(next),
            Err(fault) => {
                assert!(may_fail(&fault), "{toward:?}: {fault}: {input:?}");
                return;
            }
        }
        toward = back(toward);
    }
    assert_eq!(last[1], last[3], "{:?}", back(case.toward));
}

/// Another library's reading of a message, written anew, becomes the same. Only the order of the
/// entries of a map can be another.
fn rewritten(case: &Case, input: &[u8], output: &[u8]) {
    // prost-reflect takes a map's field of any wire type, and loses the sign of a zero.
    let mut translator = case.translator(case.toward, case.limit);
    let _ = translator.translate(input, &mut Vec::new());
    if translator.skipped() > 0 || input.windows(4).any(|four| four == [0, 0, 0, 0x80]) {
        return;
    }
    let Ok(message) = DynamicMessage::decode(case.descriptor.clone(), input) else {
        return;
    };
    let again = case.translate(case.toward, &message.encode_to_vec(), case.limit);
    let again = again.expect("it says the same");
    let sorted = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes.sort_unstable();
        bytes
    };
    assert!(sorted(&again) == sorted(output), "{output:?}, {again:?}");
}

fuzz_target!(|input: &[u8]| {
    let Some((case, bytes)) = Case::of(input) else {
        return;
    };
    let whole = case.translate(case.toward, bytes, case.limit);
    case.pieces(bytes, &whole);
    // A message that fails where it is cut off, and one of the other form.
    for (toward, input) in [
        (
            case.toward,
            bytes.split_last().map_or(bytes, |(_, rest)| rest),
        ),
        (back(case.toward), bytes),
    ] {
        let _ = case.translate(toward, input, case.limit);
        assert_eq!(case.translate(case.toward, bytes, case.limit), whole);
    }
    if let Ok(first) = whole {
        match case.toward {
            Direction::ToThrift => rewritten(&case, bytes, &first),
            Direction::ToProtobuf => {
                let last = last_fields(bytes).expect("it is a struct");
                let again = case.translate(case.toward, &last, case.limit);
                assert_eq!(
                    again.as_ref(),
                    Ok(&first),
                    "of a field twice, the last counts"
                );
            }
        }
        settles(&case, first);
    }
});
