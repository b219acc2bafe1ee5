//! Types and values.

use super::super::lexer::{At, Fault, Kind};
use super::super::tree::{TypeKind, TypeName, Value, ValueKind};
use super::{MAX_DEPTH, Parsed, Parser};

impl Parser<'_> {
    /// A type. `depth` is how many it may nest.
    pub(super) fn ty(&mut self, depth: usize) -> Parsed<TypeName> {
        let token = self.peek(0);
        let at = token.at;
        let Kind::Word(word) = token.kind else {
            return Err(self.unexpected("a type"));
        };
        let is_container = match self.peek(1).kind {
            Kind::Symbol(b'<') | Kind::Word("cpp_type") => matches!(word, "list" | "set" | "map"),
            _ => false,
        };
        self.take();
        let kind = match is_container {
            true => {
                let depth = deeper(depth, at)?;
                self.container(word, depth)?
            }
            false => TypeKind::Named(word.into()),
        };
        self.annotations()?;
        Ok(TypeName { kind, at })
    }

    fn container(&mut self, word: &str, depth: usize) -> Parsed<TypeKind> {
        self.cpp_type()?;
        self.expect(b'<')?;
        let first = Box::new(self.ty(depth)?);
        let kind = match word {
            "list" => TypeKind::List(first),
            "set" => TypeKind::Set(first),
            _ => {
                self.expect(b',')?;
                TypeKind::Map(first, Box::new(self.ty(depth)?))
            }
        };
        self.expect(b'>')?;
        self.cpp_type()?;
        Ok(kind)
    }

    fn cpp_type(&mut self) -> Parsed<()> {
        let is_it = self.peek(0).kind == Kind::Word("cpp_type");
        if is_it && matches!(self.peek(1).kind, Kind::Literal { .. }) {
            self.take();
            self.take();
        }
        Ok(())
    }

    /// An integer that is no value of a type: an id, the number of an enum's value.
    pub(super) fn int(&mut self, what: &str) -> Parsed<i64> {
        let token = self.peek(0);
        let at = token.at;
        let Kind::Int { value, octal } = token.kind else {
            return Err(self.unexpected(what));
        };
        check_octal(value, octal, at)?;
        self.take();
        Ok(value)
    }

    /// A value. `depth` is how many it may nest.
    pub(super) fn value(&mut self, depth: usize) -> Parsed<Value> {
        let token = self.peek(0);
        let at = token.at;
        let kind = match &token.kind {
            Kind::Word(word) => ValueKind::Named((*word).into()),
            Kind::Int { value, octal } => ValueKind::Int {
                value: *value,
                octal: *octal,
            },
            Kind::Double(value) => ValueKind::Double(*value),
            Kind::Literal { text, plain } => ValueKind::Literal {
                text: text.clone(),
                plain: *plain,
            },
            Kind::Symbol(b'[') => {
                self.take();
                let depth = deeper(depth, at)?;
                let mut values = Vec::new();
                while !self.is_symbol(0, b']') {
                    values.push(self.value(depth)?);
                    self.separator();
                }
                ValueKind::List(values)
            }
            Kind::Symbol(b'{') => {
                self.take();
                let depth = deeper(depth, at)?;
                let mut entries = Vec::new();
                while !self.is_symbol(0, b'}') {
                    let key = self.value(depth)?;
                    self.expect(b':')?;
                    entries.push((key, self.value(depth)?));
                    self.separator();
                }
                ValueKind::Map(entries)
            }
            Kind::Symbol(_) | Kind::Bad(_) | Kind::End => return Err(self.unexpected("a value")),
        };
        self.take();
        Ok(Value { kind, at })
    }
}

/// One level less than `depth`.
fn deeper(depth: usize, at: At) -> Parsed<usize> {
    depth.checked_sub(1).ok_or_else(|| Fault {
        text: format!("this nests deeper than {MAX_DEPTH} levels"),
        at,
    })
}

/// A number with zeros in front is two numbers: thriftgo reads it in octal, Apache in decimal.
pub(in crate::translate::thrift) fn check_octal(value: i64, octal: bool, at: At) -> Parsed<()> {
    if octal && !(-7..=7).contains(&value) {
        let text = format!(
            "write this number without zeros in front: compilers disagree whether it is {value} \
             or octal"
        );
        return Err(Fault { text, at });
    }
    Ok(())
}
