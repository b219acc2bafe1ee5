//! Scalars: which carry which, and what can get lost.

use prost_reflect::Kind;

use super::super::Severity;
use super::super::pairing::{Overflow, ProtobufScalar, Scalar, ThriftScalar, Utf8};
use super::super::thrift::Type;
use super::fields::Sides;
use super::{Pairer, Scope, names};

impl Pairer<'_> {
    /// How two scalars pair.
    ///
    /// # Errors
    /// Why they cannot.
    pub(super) fn scalar(
        &mut self,
        sides: &Sides<'_>,
        kind: &Kind,
        ty: &Type,
    ) -> Result<Scalar, String> {
        let protobuf = protobuf_scalar(kind).ok_or("one of them is a message")?;
        let thrift = thrift_scalar(ty).ok_or("Kitex and ripcord do not know the type uuid")?;
        let mut scalar = Scalar {
            protobuf,
            thrift,
            overflow: sides.overflow,
            utf8: sides.utf8,
            numbers: None,
        };
        let names = (names::kind_name(kind), names::thrift_type(self.thrift, ty));
        if let (Some(p), Some(t)) = (protobuf_range(protobuf), thrift_range(thrift)) {
            if let (Kind::Enum(e), Type::Enum(at)) = (kind, ty) {
                scalar.numbers = self.enums(e, *at);
                return Ok(scalar);
            }
            let become_ = match sides.overflow {
                Overflow::Error => "end the stream",
                Overflow::Saturate => "become the nearest that fits",
                Overflow::Wrap => "lose their high bits",
            };
            let cannot = |ty: &str| format!("numbers that {ty} cannot hold {become_}");
            if p.0 < t.0 || p.1 > t.1 {
                self.find_at(sides, Scope::ToThrift, Severity::Note, &cannot(&names.1));
            }
            if t.0 < p.0 || t.1 > p.1 {
                self.find_at(sides, Scope::ToProtobuf, Severity::Note, &cannot(&names.0));
            }
            return Ok(scalar);
        }
        use {ProtobufScalar as P, ThriftScalar as T};
        match (protobuf, thrift) {
            (P::Bool, T::Bool) | (P::Double, T::Double) | (P::String, T::String) => Ok(scalar),
            (P::Float, T::Double) => {
                let why = "a double is rounded on its way to float";
                self.find_at(sides, Scope::ToProtobuf, Severity::Note, why);
                Ok(scalar)
            }
            (P::Bytes, T::Binary) => {
                scalar.utf8 = Utf8::Bytes;
                Ok(scalar)
            }
            (P::String, T::Binary) => {
                if sides.utf8 == Utf8::Error {
                    let why = "bytes that are no UTF-8 end the stream";
                    self.find_at(sides, Scope::ToProtobuf, Severity::Note, why);
                }
                Ok(scalar)
            }
            (P::Bytes, T::String) => {
                if sides.utf8 == Utf8::Error {
                    let why =
                        "bytes that are no UTF-8 end the stream; `utf8: bytes` lets them pass";
                    self.find_at(sides, Scope::ToThrift, Severity::Note, why);
                }
                Ok(scalar)
            }
            _ => Err(format!("{} cannot carry {}", names.0, names.1)),
        }
    }
}

/// The scalar type of a kind; `None` for a message.
pub(super) fn protobuf_scalar(kind: &Kind) -> Option<ProtobufScalar> {
    use ProtobufScalar as P;
    Some(match kind {
        Kind::Double => P::Double,
        Kind::Float => P::Float,
        Kind::Int32 => P::Int32,
        Kind::Int64 => P::Int64,
        Kind::Uint32 => P::Uint32,
        Kind::Uint64 => P::Uint64,
        Kind::Sint32 => P::Sint32,
        Kind::Sint64 => P::Sint64,
        Kind::Fixed32 => P::Fixed32,
        Kind::Fixed64 => P::Fixed64,
        Kind::Sfixed32 => P::Sfixed32,
        Kind::Sfixed64 => P::Sfixed64,
        Kind::Bool => P::Bool,
        Kind::String => P::String,
        Kind::Bytes => P::Bytes,
        Kind::Enum(_) => P::Enum,
        Kind::Message(_) => return None,
    })
}

/// The scalar type of a thrift type; `None` for others, and for a uuid.
fn thrift_scalar(ty: &Type) -> Option<ThriftScalar> {
    use ThriftScalar as T;
    Some(match ty {
        Type::Bool => T::Bool,
        Type::I8 => T::I8,
        Type::I16 => T::I16,
        Type::I32 => T::I32,
        Type::I64 => T::I64,
        Type::Double => T::Double,
        Type::String => T::String,
        Type::Binary => T::Binary,
        Type::Enum(_) => T::Enum,
        Type::Uuid | Type::Struct(_) | Type::List(_) | Type::Set(_) | Type::Map(..) => return None,
    })
}

/// The least and the greatest number of an integer type.
pub(super) fn protobuf_range(scalar: ProtobufScalar) -> Option<(i128, i128)> {
    use ProtobufScalar as P;
    match scalar {
        P::Int32 | P::Sint32 | P::Sfixed32 | P::Enum => Some((i32::MIN.into(), i32::MAX.into())),
        P::Int64 | P::Sint64 | P::Sfixed64 => Some((i64::MIN.into(), i64::MAX.into())),
        P::Uint32 | P::Fixed32 => Some((0, u32::MAX.into())),
        P::Uint64 | P::Fixed64 => Some((0, u64::MAX.into())),
        P::Bool | P::Float | P::Double | P::String | P::Bytes => None,
    }
}

/// See [`protobuf_range`].
fn thrift_range(scalar: ThriftScalar) -> Option<(i128, i128)> {
    use ThriftScalar as T;
    match scalar {
        T::I8 => Some((i8::MIN.into(), i8::MAX.into())),
        T::I16 => Some((i16::MIN.into(), i16::MAX.into())),
        T::I32 | T::Enum => Some((i32::MIN.into(), i32::MAX.into())),
        T::I64 => Some((i64::MIN.into(), i64::MAX.into())),
        T::Bool | T::Double | T::String | T::Binary => None,
    }
}
