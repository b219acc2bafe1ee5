//! Scalars, in both directions.

use super::fault::{Flaw, Outcome};
use super::protobuf::{self, put_varint};
use super::thrift;
use super::{FaultKind, Pass};
use crate::translate::pairing::{Overflow, ProtobufScalar, ThriftScalar, Utf8};
use crate::translate::plan::{ScalarPlan, Tag};

/// A number that was read.
#[derive(Clone, Copy)]
enum Number {
    Int(i64),
    /// Above `i64::MAX`.
    Large(u64),
    Real(f64),
}

fn is_text(scalar: ProtobufScalar) -> bool {
    matches!(scalar, ProtobufScalar::String | ProtobufScalar::Bytes)
}

impl Pass<'_, '_> {
    /// A protobuf value becomes a thrift value, with `header` before it. `omit_zero`: nothing is
    /// written for a zero.
    #[inline]
    pub(super) fn scalar_to_thrift(
        &mut self,
        plan: &ScalarPlan,
        header: Option<[u8; 3]>,
        omit_zero: bool,
        rest: &mut &[u8],
    ) -> Outcome<()> {
        let begin = *rest;
        if is_text(plan.protobuf) {
            let text = protobuf::bytes(rest).map_err(|flaw| self.stop(flaw, begin))?;
            if omit_zero && text.is_empty() {
                return Ok(());
            }
            self.room(text.len(), begin)?;
            if let Some(header) = header {
                self.out.extend_from_slice(&header);
            }
            return self.text_to_thrift(plan, text);
        }
        let number = read_protobuf(plan.protobuf, rest).map_err(|flaw| self.stop(flaw, begin))?;
        if omit_zero && is_zero(number) {
            return Ok(());
        }
        if let Some(header) = header {
            self.out.extend_from_slice(&header);
        }
        write_thrift(plan, number, self.out).map_err(|flaw| self.stop(flaw, begin))
    }

    /// The zero of a scalar, without a header.
    pub(super) fn zero_to_thrift(&mut self, plan: &ScalarPlan) -> Result<(), Flaw> {
        if is_text(plan.protobuf) {
            self.out.extend_from_slice(&[0; 4]);
            return Ok(());
        }
        let zero = match plan.protobuf {
            ProtobufScalar::Float | ProtobufScalar::Double => Number::Real(0.0),
            _ => Number::Int(0),
        };
        write_thrift(plan, zero, self.out)
    }

    fn text_to_thrift(&mut self, plan: &ScalarPlan, text: &[u8]) -> Outcome<()> {
        let checked = match plan.thrift {
            ThriftScalar::String => true,
            ThriftScalar::Binary => plan.protobuf == ProtobufScalar::String,
            _ => return Err(self.stop(FaultKind::Types, text)),
        };
        if checked && plan.utf8 != Utf8::Bytes && !is_utf8(text) {
            if plan.utf8 == Utf8::Error {
                return Err(self.stop(FaultKind::Utf8, text));
            }
            let at = self.out.len();
            self.out.extend_from_slice(&[0; 4]);
            self.replaced(text)?;
            let len = (self.out.len() - at - 4) as u32;
            if let Some(place) = self.out.get_mut(at..at + 4) {
                place.copy_from_slice(&len.to_be_bytes());
            }
            return Ok(());
        }
        thrift::put_bytes(self.out, text);
        Ok(())
    }

    /// A text with U+FFFD in the place of each bad sequence.
    #[cold]
    fn replaced(&mut self, text: &[u8]) -> Outcome<()> {
        for chunk in text.utf8_chunks() {
            self.out.extend_from_slice(chunk.valid().as_bytes());
            if !chunk.invalid().is_empty() {
                self.out.extend_from_slice("\u{FFFD}".as_bytes());
            }
        }
        self.room(0, text)
    }

    /// A thrift value becomes a protobuf value, with `tag` before it. `omit_zero`: nothing is
    /// written for a zero.
    #[inline]
    pub(super) fn scalar_to_protobuf(
        &mut self,
        plan: &ScalarPlan,
        tag: Option<&Tag>,
        omit_zero: bool,
        rest: &mut &[u8],
    ) -> Outcome<()> {
        let begin = *rest;
        match plan.thrift {
            ThriftScalar::String | ThriftScalar::Binary => {
                let text = thrift::bytes(rest).map_err(|flaw| self.stop(flaw, begin))?;
                if omit_zero && text.is_empty() {
                    return Ok(());
                }
                self.room(text.len(), begin)?;
                put_tag(self.out, tag);
                self.text_to_protobuf(plan, text)
            }
            _ => {
                let number = read_thrift(plan.thrift, rest);
                let number = number.map_err(|flaw| self.stop(flaw, begin))?;
                write_protobuf(plan, number, tag, omit_zero, self.out)
                    .map_err(|flaw| self.stop(flaw, begin))
            }
        }
    }

    fn text_to_protobuf(&mut self, plan: &ScalarPlan, text: &[u8]) -> Outcome<()> {
        let checked = match plan.protobuf {
            ProtobufScalar::String => plan.utf8 != Utf8::Bytes,
            ProtobufScalar::Bytes => false,
            _ => return Err(self.stop(FaultKind::Types, text)),
        };
        if checked && !is_utf8(text) {
            if plan.utf8 == Utf8::Error {
                return Err(self.stop(FaultKind::Utf8, text));
            }
            let at = protobuf::open(self.out, text.len());
            self.replaced(text)?;
            protobuf::close(self.out, at, text.len());
            return Ok(());
        }
        put_varint(self.out, text.len() as u64);
        self.out.extend_from_slice(text);
        Ok(())
    }
}

#[inline(always)]
fn put_tag(out: &mut Vec<u8>, tag: Option<&Tag>) {
    if let Some(tag) = tag {
        tag.put(out);
    }
}

/// Most texts are short, and ASCII.
#[inline(always)]
fn is_utf8(text: &[u8]) -> bool {
    let (words, bytes) = text.as_chunks::<8>();
    let words = words
        .iter()
        .fold(0, |all, word| all | u64::from_ne_bytes(*word));
    let bytes = bytes.iter().fold(0, |all, byte| all | byte);
    (words & 0x8080_8080_8080_8080 == 0 && bytes < 0x80) || std::str::from_utf8(text).is_ok()
}

#[inline(always)]
fn is_zero(number: Number) -> bool {
    match number {
        Number::Int(int) => int == 0,
        Number::Large(_) => false,
        // -0.0 is not the default.
        Number::Real(real) => real.to_bits() == 0,
    }
}

#[inline(always)]
fn read_protobuf(scalar: ProtobufScalar, rest: &mut &[u8]) -> Result<Number, Flaw> {
    use ProtobufScalar as P;
    Ok(Number::Int(match scalar {
        P::Int32 | P::Enum => i64::from(protobuf::varint(rest)? as i32),
        P::Int64 => protobuf::varint(rest)? as i64,
        P::Uint32 => i64::from(protobuf::varint(rest)? as u32),
        P::Uint64 => return Ok(unsigned(protobuf::varint(rest)?)),
        P::Sint32 => {
            let raw = protobuf::varint(rest)? as u32;
            i64::from((raw >> 1) as i32 ^ -((raw & 1) as i32))
        }
        P::Sint64 => {
            let raw = protobuf::varint(rest)?;
            (raw >> 1) as i64 ^ -((raw & 1) as i64)
        }
        P::Fixed32 => i64::from(u32::from_le_bytes(protobuf::fixed(rest)?)),
        P::Fixed64 => return Ok(unsigned(u64::from_le_bytes(protobuf::fixed(rest)?))),
        P::Sfixed32 => i64::from(i32::from_le_bytes(protobuf::fixed(rest)?)),
        P::Sfixed64 => i64::from_le_bytes(protobuf::fixed(rest)?),
        P::Bool => i64::from(protobuf::varint(rest)? != 0),
        P::Float => {
            let float = f32::from_le_bytes(protobuf::fixed(rest)?);
            return Ok(Number::Real(f64::from(float)));
        }
        P::Double => return Ok(Number::Real(f64::from_le_bytes(protobuf::fixed(rest)?))),
        P::String | P::Bytes => return Err(Flaw::Types),
    }))
}

#[inline(always)]
fn unsigned(value: u64) -> Number {
    match i64::try_from(value) {
        Ok(int) => Number::Int(int),
        Err(_) => Number::Large(value),
    }
}

#[inline(always)]
fn write_thrift(plan: &ScalarPlan, number: Number, out: &mut Vec<u8>) -> Result<(), Flaw> {
    use ThriftScalar as T;
    if let Number::Real(real) = number {
        if plan.thrift != T::Double {
            return Err(Flaw::Types);
        }
        out.extend_from_slice(&real.to_bits().to_be_bytes());
        return Ok(());
    }
    let number = match (number, &plan.numbers) {
        (Number::Int(int), Some(numbers)) => Number::Int(mapped(int, |n| numbers.to_thrift(n))?),
        (number, _) => number,
    };
    let fit = |least, most| fit(number, least, most, plan.overflow);
    match plan.thrift {
        T::Bool => out.push(u8::from(!is_zero(number))),
        T::I8 => {
            let value = fit(i64::from(i8::MIN), i64::from(i8::MAX))? as i8;
            out.extend_from_slice(&value.to_be_bytes());
        }
        T::I16 => {
            let value = fit(i64::from(i16::MIN), i64::from(i16::MAX))? as i16;
            out.extend_from_slice(&value.to_be_bytes());
        }
        T::I32 | T::Enum => {
            let value = fit(i64::from(i32::MIN), i64::from(i32::MAX))? as i32;
            out.extend_from_slice(&value.to_be_bytes());
        }
        T::I64 => out.extend_from_slice(&fit(i64::MIN, i64::MAX)?.to_be_bytes()),
        T::Double | T::String | T::Binary => return Err(Flaw::Types),
    }
    Ok(())
}

/// The number of an enum by the names of its values. A number without a name on both sides could
/// mean another value there, so it does not pass.
#[cold]
fn mapped(int: i64, map: impl Fn(i32) -> Option<i32>) -> Result<i64, Flaw> {
    let number = i32::try_from(int).ok().and_then(map);
    number.map(i64::from).ok_or(Flaw::NoName)
}

/// A number within bounds. Where it does not fit, `Wrap` leaves its low bits to the caller, which
/// keeps as many as its type has.
#[inline(always)]
fn fit(number: Number, least: i64, most: i64, overflow: Overflow) -> Result<i64, Flaw> {
    match number {
        Number::Int(int) if least <= int && int <= most => Ok(int),
        number => does_not_fit(number, least, most, overflow),
    }
}

#[cold]
fn does_not_fit(number: Number, least: i64, most: i64, overflow: Overflow) -> Result<i64, Flaw> {
    match (overflow, number) {
        (_, Number::Real(_)) => Err(Flaw::Types),
        (Overflow::Error, _) => Err(Flaw::Overflow),
        (Overflow::Saturate, Number::Int(int)) => Ok(int.clamp(least, most)),
        (Overflow::Saturate, Number::Large(_)) => Ok(most),
        (Overflow::Wrap, Number::Int(int)) => Ok(int),
        (Overflow::Wrap, Number::Large(large)) => Ok(large as i64),
    }
}

#[inline(always)]
fn read_thrift(scalar: ThriftScalar, rest: &mut &[u8]) -> Result<Number, Flaw> {
    use ThriftScalar as T;
    Ok(Number::Int(match scalar {
        T::Bool => match thrift::fixed(rest)? {
            [0] => 0,
            [1] => 1,
            [_] => return Err(Flaw::Bool),
        },
        T::I8 => i64::from(i8::from_be_bytes(thrift::fixed(rest)?)),
        T::I16 => i64::from(i16::from_be_bytes(thrift::fixed(rest)?)),
        T::I32 | T::Enum => i64::from(i32::from_be_bytes(thrift::fixed(rest)?)),
        T::I64 => i64::from_be_bytes(thrift::fixed(rest)?),
        T::Double => {
            let bits = u64::from_be_bytes(thrift::fixed(rest)?);
            return Ok(Number::Real(f64::from_bits(bits)));
        }
        T::String | T::Binary => return Err(Flaw::Types),
    }))
}

#[inline(always)]
fn write_protobuf(
    plan: &ScalarPlan,
    number: Number,
    tag: Option<&Tag>,
    omit_zero: bool,
    out: &mut Vec<u8>,
) -> Result<(), Flaw> {
    use ProtobufScalar as P;
    if let Number::Real(real) = number {
        return write_real(plan.protobuf, real, tag, omit_zero, out);
    }
    let number = match (number, &plan.numbers) {
        (Number::Int(int), Some(numbers)) => Number::Int(mapped(int, |n| numbers.to_protobuf(n))?),
        (number, _) => number,
    };
    let fit = |least, most| fit(number, least, most, plan.overflow);
    // As many bits as the type has: `Wrap` leaves more.
    let value = match plan.protobuf {
        P::Int32 | P::Enum | P::Sint32 | P::Sfixed32 => {
            i64::from(fit(i64::from(i32::MIN), i64::from(i32::MAX))? as i32)
        }
        P::Uint32 | P::Fixed32 => i64::from(fit(0, i64::from(u32::MAX))? as u32),
        P::Uint64 | P::Fixed64 => fit(0, i64::MAX)?,
        P::Int64 | P::Sint64 | P::Sfixed64 => fit(i64::MIN, i64::MAX)?,
        P::Bool => i64::from(!is_zero(number)),
        P::Float | P::Double | P::String | P::Bytes => return Err(Flaw::Types),
    };
    if omit_zero && value == 0 {
        return Ok(());
    }
    put_tag(out, tag);
    match plan.protobuf {
        P::Sint32 => put_varint(
            out,
            u64::from(((value as i32) << 1 ^ (value as i32) >> 31) as u32),
        ),
        P::Sint64 => put_varint(out, (value << 1 ^ value >> 63) as u64),
        P::Fixed32 | P::Sfixed32 => out.extend_from_slice(&(value as u32).to_le_bytes()),
        P::Fixed64 | P::Sfixed64 => out.extend_from_slice(&value.to_le_bytes()),
        _ => put_varint(out, value as u64),
    }
    Ok(())
}

fn write_real(
    scalar: ProtobufScalar,
    real: f64,
    tag: Option<&Tag>,
    omit_zero: bool,
    out: &mut Vec<u8>,
) -> Result<(), Flaw> {
    match scalar {
        ProtobufScalar::Double if omit_zero && real.to_bits() == 0 => {}
        ProtobufScalar::Double => {
            put_tag(out, tag);
            out.extend_from_slice(&real.to_bits().to_le_bytes());
        }
        ProtobufScalar::Float if omit_zero && (real as f32).to_bits() == 0 => {}
        ProtobufScalar::Float => {
            put_tag(out, tag);
            out.extend_from_slice(&(real as f32).to_bits().to_le_bytes());
        }
        _ => return Err(Flaw::Types),
    }
    Ok(())
}
