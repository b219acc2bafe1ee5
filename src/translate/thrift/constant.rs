//! Values of defaults and constants, in the form that their types have.
//!
//! A constant is worked out anew at each use, by the type of what uses it. That is simple, finds
//! each misfit, and is bounded like everything that is written out.

use std::sync::Arc;

use super::lexer::short;
use super::names::{Names, Symbol, Told};
use super::parse::check_octal;
use super::tree::{Enum, Value, ValueKind};
use super::{Const, MAX_DEPTH, Struct, Type};

/// Works out a value of the type `ty`. Of `structs`, the names and types of fields are needed.
pub(super) fn value(
    names: &mut Names<'_>,
    structs: &[Struct],
    unit: usize,
    value: &Value,
    ty: &Type,
) -> Result<Const, Told> {
    within(names, structs, unit, value, ty, MAX_DEPTH)
}

fn within(
    names: &mut Names<'_>,
    structs: &[Struct],
    unit: usize,
    value: &Value,
    ty: &Type,
    depth: usize,
) -> Result<Const, Told> {
    names.charge(1, unit, value.at)?;
    let Some(depth) = depth.checked_sub(1) else {
        let text = format!("this value refers to itself, or nests deeper than {MAX_DEPTH}");
        return Err(names.tell(unit, value.at, text));
    };
    if let ValueKind::Named(name) = &value.kind
        && !matches!(&**name, "true" | "false")
    {
        return named(names, structs, unit, value, name, ty, depth);
    }
    let inner = |names: &mut Names<'_>, value: &Value, ty: &Type| {
        within(names, structs, unit, value, ty, depth)
    };
    match (ty, &value.kind) {
        (Type::List(ty) | Type::Set(ty), ValueKind::List(values)) => {
            let values = values.iter().map(|v| inner(names, v, ty));
            Ok(Const::List(values.collect::<Result<_, _>>()?))
        }
        (Type::Map(key, ty), ValueKind::Map(entries)) => {
            let entries = entries
                .iter()
                .map(|(k, v)| Ok((inner(names, k, key)?, inner(names, v, ty)?)));
            Ok(Const::Map(entries.collect::<Result<_, Told>>()?))
        }
        // Empty is empty, whatever the brackets.
        (Type::List(_) | Type::Set(_), ValueKind::Map(entries)) if entries.is_empty() => {
            Ok(Const::List(Vec::new()))
        }
        (Type::Map(..) | Type::Struct(_), ValueKind::List(values)) if values.is_empty() => {
            Ok(Const::Map(Vec::new()))
        }
        (Type::Struct(index), ValueKind::Map(entries)) => {
            let known = structs.get(*index).map(|s| s.fields.as_slice());
            let known = known.unwrap_or_default();
            let mut given = Vec::new();
            for (key, value) in entries {
                let name = match &key.kind {
                    ValueKind::Literal { text, .. } | ValueKind::Named(text) => text,
                    _ => {
                        let text = "the name of a field is expected here, in quotes";
                        return Err(names.tell(unit, key.at, text));
                    }
                };
                let Some(field) = known.iter().find(|f| f.name == *name) else {
                    let text = format!("the struct has no field `{}`", short(name));
                    return Err(names.tell(unit, key.at, text));
                };
                let value = inner(names, value, &field.ty)?;
                given.push((Const::String(Arc::clone(&field.name)), value));
            }
            Ok(Const::Map(given))
        }
        _ => scalar(names, unit, value, ty),
    }
}

/// What a name stands for: a constant or a value of an enum.
fn named(
    names: &mut Names<'_>,
    structs: &[Struct],
    unit: usize,
    value: &Value,
    name: &str,
    ty: &Type,
    depth: usize,
) -> Result<Const, Told> {
    if let Some((other, index)) = names.constant(unit, name) {
        let units = names.units;
        let constant = units.get(other).and_then(|u| u.file.constants.get(index));
        return match constant {
            Some(constant) => within(names, structs, other, &constant.value, ty, depth),
            None => unreachable!("constants come with their indices"),
        };
    }
    // `Color.RED`, `base.Color.RED`, or `RED` where only a Color can stand.
    let (index, value_name) = match name.rsplit_once('.') {
        Some((of, value_name)) => (enum_named(names, unit, of), value_name),
        None => match ty {
            Type::Enum(index) => (Some(*index), name),
            _ => (None, name),
        },
    };
    let found = index.and_then(|i| Some((i, enum_at(names, i)?)));
    let number_in = |found: Option<(usize, &Enum)>| {
        let (index, e) = found?;
        let value = e.values.iter().find(|v| *v.name.text == *value_name)?;
        Some((index, value.number))
    };
    // Apache's compiler does not look at what stands before the value's name.
    let number = number_in(found).or_else(|| match ty {
        Type::Enum(index) => number_in(Some((*index, enum_at(names, *index)?))),
        _ => None,
    });
    let Some((index, number)) = number else {
        let text = match found {
            Some((_, of)) => format!(
                "the enum `{}` has no value `{}`",
                short(&of.name.text),
                short(value_name)
            ),
            None => names.unknown(unit, name, "constant or value of an enum"),
        };
        return Err(names.tell(unit, value.at, text));
    };
    match ty {
        Type::Enum(wanted) if *wanted == index => Ok(Const::Int(number.into())),
        Type::Enum(_) => {
            let text = format!("`{}` is a value of another enum", short(name));
            Err(names.tell(unit, value.at, text))
        }
        _ => {
            let kind = ValueKind::Int {
                value: number.into(),
                octal: false,
            };
            let at = value.at;
            scalar(names, unit, &Value { kind, at }, ty)
        }
    }
}

fn enum_at<'a>(names: &Names<'a>, index: usize) -> Option<&'a Enum> {
    let (unit, index) = *names.enums.get(index)?;
    names.units.get(unit)?.file.enums.get(index)
}

/// The enum with a name, or behind a typedef with it.
fn enum_named(names: &Names<'_>, unit: usize, name: &str) -> Option<usize> {
    let (mut unit, mut symbol) = names.symbol(unit, name)?;
    for _ in 0..MAX_DEPTH {
        match symbol {
            Symbol::Enum(index) => return Some(index),
            Symbol::Typedef(index) => {
                let typedef = names.units.get(unit)?.file.typedefs.get(index)?;
                let super::tree::TypeKind::Named(name) = &typedef.ty.kind else {
                    return None;
                };
                (unit, symbol) = names.symbol(unit, name)?;
            }
            Symbol::Struct(_) | Symbol::Service(_) => return None,
        }
    }
    None
}

/// A value that names nothing, of a type that holds no other.
fn scalar(names: &mut Names<'_>, unit: usize, value: &Value, ty: &Type) -> Result<Const, Told> {
    let int = match &value.kind {
        ValueKind::Int { value: int, octal } => {
            if let Err(fault) = check_octal(*int, *octal, value.at) {
                return Err(names.tell(unit, fault.at, fault.text));
            }
            Some(*int)
        }
        // For Apache the two words are 1 and 0.
        ValueKind::Named(word) => Some(i64::from(&**word == "true")),
        _ => None,
    };
    let range = match ty {
        Type::I8 => i64::from(i8::MIN)..=i64::from(i8::MAX),
        Type::I16 => i64::from(i16::MIN)..=i64::from(i16::MAX),
        Type::I32 | Type::Enum(_) => i64::from(i32::MIN)..=i64::from(i32::MAX),
        _ => i64::MIN..=i64::MAX,
    };
    match (ty, &value.kind, int) {
        (Type::Bool, _, Some(int)) => Ok(Const::Bool(int != 0)),
        (Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::Enum(_), _, Some(int)) => {
            if range.contains(&int) {
                return Ok(Const::Int(int));
            }
            let text = format!("{int} does not fit into {}", wanted(ty));
            Err(names.tell(unit, value.at, text))
        }
        #[allow(clippy::cast_precision_loss)] // As in every compiler.
        (Type::Double, _, Some(int)) => Ok(Const::Double(int as f64)),
        (Type::Double, ValueKind::Double(double), _) => Ok(Const::Double(*double)),
        (Type::String | Type::Binary, ValueKind::Literal { text, plain }, _) => {
            if *plain {
                return Ok(Const::String(Arc::clone(text)));
            }
            let text = "compilers disagree about an escape in this literal: \
                        they all take \\n \\r \\t \\\" \\' \\\\ only";
            Err(names.tell(unit, value.at, text))
        }
        (Type::Uuid, ValueKind::Literal { text, .. }, _) if is_uuid(text) => {
            Ok(Const::String(Arc::clone(text)))
        }
        _ => {
            let found = match &value.kind {
                ValueKind::Int { .. } => "an integer",
                ValueKind::Double(_) => "a number with a fraction",
                ValueKind::Literal { .. } => "a literal",
                ValueKind::Named(_) => "a bool",
                ValueKind::List(_) => "a list",
                ValueKind::Map(_) => "a map",
            };
            let text = format!("{} is expected here, not {found}", wanted(ty));
            Err(names.tell(unit, value.at, text))
        }
    }
}

fn wanted(ty: &Type) -> &'static str {
    match ty {
        Type::Bool => "a bool",
        Type::I8 => "an i8",
        Type::I16 => "an i16",
        Type::I32 => "an i32",
        Type::I64 => "an i64",
        Type::Double => "a double",
        Type::String => "a string",
        Type::Binary => "a binary",
        Type::Uuid => "a uuid (8-4-4-4-12 hex digits, in quotes)",
        Type::Enum(_) => "a value of the enum",
        Type::Struct(_) => "the fields of a struct, `{ \"name\": value }`,",
        Type::List(_) => "a list",
        Type::Set(_) => "a set, written as a list,",
        Type::Map(..) => "a map",
    }
}

fn is_uuid(text: &str) -> bool {
    let text = text.strip_prefix('{').unwrap_or(text);
    let text = text.strip_suffix('}').unwrap_or(text);
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|g| g.len()).collect();
    lengths == [8, 4, 4, 4, 12]
        && groups
            .iter()
            .all(|g| g.bytes().all(|b| b.is_ascii_hexdigit()))
}
