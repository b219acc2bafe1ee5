//! Pieces of thrift's binary protocol. Readers take from the front of a slice.

use super::MAX_DEPTH;
use super::fault::Flaw;

pub(in crate::translate) const STOP: u8 = 0;
pub(in crate::translate) const BOOL: u8 = 2;
pub(in crate::translate) const BYTE: u8 = 3;
pub(in crate::translate) const DOUBLE: u8 = 4;
pub(in crate::translate) const I16: u8 = 6;
pub(in crate::translate) const I32: u8 = 8;
pub(in crate::translate) const I64: u8 = 10;
pub(in crate::translate) const STRING: u8 = 11;
pub(in crate::translate) const STRUCT: u8 = 12;
pub(in crate::translate) const MAP: u8 = 13;
pub(in crate::translate) const SET: u8 = 14;
pub(in crate::translate) const LIST: u8 = 15;

/// A number of a fixed size.
#[inline(always)]
pub(super) fn fixed<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], Flaw> {
    let (bytes, rest) = input.split_first_chunk::<N>().ok_or(Flaw::Short)?;
    *input = rest;
    Ok(*bytes)
}

/// The bytes behind a length.
#[inline(always)]
pub(super) fn bytes<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], Flaw> {
    let len = i32::from_be_bytes(fixed(input)?);
    let len = usize::try_from(len).map_err(|_| Flaw::Negative)?;
    let (bytes, rest) = input.split_at_checked(len).ok_or(Flaw::Short)?;
    *input = rest;
    Ok(bytes)
}

/// A count of elements with at least `least` bytes each.
#[inline(always)]
pub(super) fn count(input: &mut &[u8], least: usize) -> Result<u32, Flaw> {
    let count = i32::from_be_bytes(fixed(input)?);
    let count = u32::try_from(count).map_err(|_| Flaw::Negative)?;
    match u64::from(count) * least as u64 <= input.len() as u64 {
        true => Ok(count),
        false => Err(Flaw::Count),
    }
}

/// The size of a scalar without a length. `None`: it has a length, or it is no scalar.
#[inline(always)]
pub(super) fn size(ty: u8) -> Option<usize> {
    match ty {
        BOOL | BYTE => Some(1),
        I16 => Some(2),
        I32 => Some(4),
        DOUBLE | I64 => Some(8),
        _ => None,
    }
}

/// The fewest bytes that a value has.
#[inline(always)]
pub(super) fn least(ty: u8) -> usize {
    match ty {
        STRING => 4,
        LIST | SET => 5,
        MAP => 6,
        _ => size(ty).unwrap_or(1),
    }
}

/// A type that a value can have.
#[inline(always)]
pub(super) fn known(ty: u8) -> Result<(), Flaw> {
    match ty {
        BOOL | BYTE | DOUBLE | I16 | I32 | I64 | STRING | STRUCT | MAP | SET | LIST => Ok(()),
        _ => Err(Flaw::ThriftType(ty)),
    }
}

/// A value of the type, which is at the level `depth` if it is a struct or container.
pub(super) fn skip(ty: u8, input: &mut &[u8], depth: u32) -> Result<(), Flaw> {
    if let Some(size) = size(ty) {
        *input = input.get(size..).ok_or(Flaw::Short)?;
        return Ok(());
    }
    if ty == STRING {
        return bytes(input).map(drop);
    }
    if depth > MAX_DEPTH {
        return Err(Flaw::Depth);
    }
    match ty {
        STRUCT => loop {
            let [ty] = fixed(input)?;
            if ty == STOP {
                return Ok(());
            }
            let [_, _] = fixed(input)?;
            skip(ty, input, depth + 1)?;
        },
        LIST | SET => {
            let [element] = fixed(input)?;
            let count = count(input, least(element))?;
            elements(&[element], count, input, depth + 1)
        }
        MAP => {
            let [key, value] = fixed(input)?;
            let count = count(input, least(key) + least(value))?;
            elements(&[key, value], count, input, depth + 1)
        }
        _ => Err(Flaw::ThriftType(ty)),
    }
}

/// `count` times values of these types.
fn elements(types: &[u8], count: u32, input: &mut &[u8], depth: u32) -> Result<(), Flaw> {
    if count == 0 {
        return Ok(());
    }
    let sizes: Option<usize> = types.iter().map(|&ty| size(ty)).sum();
    if let Some(sizes) = sizes {
        *input = input.get(sizes * count as usize..).ok_or(Flaw::Short)?;
        return Ok(());
    }
    for _ in 0..count {
        for &ty in types {
            skip(ty, input, depth)?;
        }
    }
    Ok(())
}

/// Appends a text with its length.
#[inline(always)]
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}
