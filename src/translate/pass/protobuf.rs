//! Pieces of the protobuf wire format. Readers take from the front of a slice.

use super::MAX_DEPTH;
use super::fault::Flaw;

pub(super) const VARINT: u32 = 0;
pub(super) const FIXED64: u32 = 1;
pub(super) const LEN: u32 = 2;
pub(super) const GROUP: u32 = 3;
pub(super) const GROUP_END: u32 = 4;
pub(super) const FIXED32: u32 = 5;

/// A varint.
#[inline(always)]
pub(super) fn varint(input: &mut &[u8]) -> Result<u64, Flaw> {
    match *input {
        [byte, rest @ ..] if *byte < 0x80 => {
            *input = rest;
            Ok(u64::from(*byte))
        }
        _ => long_varint(input),
    }
}

fn long_varint(input: &mut &[u8]) -> Result<u64, Flaw> {
    let mut value = 0;
    let mut rest = *input;
    for shift in (0..70).step_by(7) {
        let [byte, behind @ ..] = rest else {
            return Err(Flaw::Varint);
        };
        rest = behind;
        // The tenth byte has one bit that counts.
        if shift == 63 && *byte > 1 {
            return Err(Flaw::Varint);
        }
        value |= u64::from(*byte & 0x7f) << shift;
        if *byte < 0x80 {
            *input = rest;
            return Ok(value);
        }
    }
    Err(Flaw::Varint)
}

/// A tag: number and wire type.
#[inline(always)]
pub(super) fn tag(input: &mut &[u8]) -> Result<u32, Flaw> {
    let tag = varint(input)?;
    match u32::try_from(tag) {
        Ok(tag) if tag >> 3 != 0 && tag & 7 <= FIXED32 => Ok(tag),
        _ => Err(Flaw::Tag),
    }
}

/// The bytes behind a length.
#[inline(always)]
pub(super) fn bytes<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], Flaw> {
    let len = varint(input)?;
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    let (bytes, rest) = input.split_at_checked(len).ok_or(Flaw::Short)?;
    *input = rest;
    Ok(bytes)
}

/// Four or eight bytes.
#[inline(always)]
pub(super) fn fixed<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], Flaw> {
    let (bytes, rest) = input.split_first_chunk::<N>().ok_or(Flaw::Short)?;
    *input = rest;
    Ok(*bytes)
}

/// The value behind `tag`, whatever it is.
pub(super) fn skip(tag: u32, input: &mut &[u8]) -> Result<(), Flaw> {
    match tag & 7 {
        GROUP => group(tag >> 3, input),
        _ => single(tag, input),
    }
}

fn single(tag: u32, input: &mut &[u8]) -> Result<(), Flaw> {
    match tag & 7 {
        VARINT => varint(input).map(drop),
        FIXED64 => fixed::<8>(input).map(drop),
        LEN => bytes(input).map(drop),
        FIXED32 => fixed::<4>(input).map(drop),
        _ => Err(Flaw::Group),
    }
}

/// What follows the start of a group, with its end.
#[cold]
fn group(number: u32, input: &mut &[u8]) -> Result<(), Flaw> {
    let mut numbers = [0; MAX_DEPTH as usize];
    let mut depth = 0;
    let mut number = number;
    loop {
        let tag = tag(input)?;
        match tag & 7 {
            GROUP => {
                *numbers.get_mut(depth).ok_or(Flaw::Depth)? = number;
                depth += 1;
                number = tag >> 3;
            }
            GROUP_END if tag >> 3 != number => return Err(Flaw::Group),
            GROUP_END if depth == 0 => return Ok(()),
            GROUP_END => {
                depth -= 1;
                number = numbers.get(depth).copied().unwrap_or_default();
            }
            _ => single(tag, input)?,
        }
    }
}

/// How many bytes a varint has.
#[inline(always)]
pub(super) fn varint_len(value: u64) -> usize {
    // 1 for each 7 bits that have begun, and 1 for zero.
    let bits = 64 - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// Appends a varint.
#[inline(always)]
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    if value < 0x80 {
        out.push(value as u8);
        return;
    }
    let (mut bytes, mut len) = ([0; 10], 0);
    for byte in &mut bytes {
        len += 1;
        *byte = value as u8 | 0x80;
        value >>= 7;
        if value == 0 {
            *byte &= 0x7f;
            break;
        }
    }
    out.extend_from_slice(bytes.get(..len).unwrap_or_default());
}

/// Makes room for the length of what follows, which has `least` bytes or more. Its result goes to
/// [`close`].
#[inline(always)]
pub(super) fn open(out: &mut Vec<u8>, least: usize) -> usize {
    let at = out.len();
    match least {
        0..0x80 => out.push(0),
        _ => out.resize(at + varint_len(least as u64), 0),
    }
    at
}

/// Writes the length at `at`, where [`open`] made room for a varint of `least`.
#[inline(always)]
pub(super) fn close(out: &mut Vec<u8>, at: usize, least: usize) {
    let room = varint_len(least as u64);
    let len = out.len().saturating_sub(at + room);
    if len < 0x80 && room == 1 {
        if let Some(place) = out.get_mut(at) {
            *place = len as u8;
        }
        return;
    }
    close_long(out, at, room, len);
}

#[inline(never)]
fn close_long(out: &mut Vec<u8>, at: usize, room: usize, len: usize) {
    let needed = varint_len(len as u64);
    if needed > room {
        let end = out.len();
        out.resize(end + needed - room, 0);
        out.copy_within(at + room..end, at + needed);
    }
    let mut left = len;
    for place in out.iter_mut().skip(at).take(needed) {
        *place = left as u8 | 0x80;
        left >>= 7;
    }
    if let Some(last) = out.get_mut(at + needed - 1) {
        *last &= 0x7f;
    }
}
