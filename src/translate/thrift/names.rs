//! What the names of a schema mean: types, constants and services, over the borders of files.

use std::collections::HashMap;
use std::sync::Arc;

use super::lexer::{At, short};
use super::load::{Unit, error};
use super::tree::{TypeKind, TypeName};
use super::{MAX_DEPTH, MAX_FINDINGS, MAX_PARTS, Type};
use crate::translate::{Finding, Place};

/// What a name of a file means.
#[derive(Clone, Copy, Debug)]
pub(super) enum Symbol {
    /// The index within the file's typedefs.
    Typedef(usize),
    /// The index within the document's enums.
    Enum(usize),
    /// The index within the document's structs.
    Struct(usize),
    /// The index within the file's services.
    Service(usize),
}

/// The names of one file.
#[derive(Default)]
struct Scope {
    symbols: HashMap<Arc<str>, (Symbol, At)>,
    /// Each with its index within the file's constants.
    constants: HashMap<Arc<str>, (usize, At)>,
}

/// The names of all files, and what was found wrong so far.
pub(super) struct Names<'a> {
    pub(super) units: &'a [Unit],
    scopes: Vec<Scope>,
    /// Where the document's enums are: the unit, and the index in its file.
    pub(super) enums: Vec<(usize, usize)>,
    /// Where the document's structs are.
    pub(super) structs: Vec<(usize, usize)>,
    pub(super) findings: Vec<Finding>,
    /// How many parts may still be written out.
    parts: usize,
}

/// Something was wrong, and a finding says so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told;

impl<'a> Names<'a> {
    /// Takes what all files declare.
    pub(super) fn new(units: &'a [Unit]) -> Self {
        let mut names = Self {
            units,
            scopes: Vec::new(),
            enums: Vec::new(),
            structs: Vec::new(),
            findings: Vec::new(),
            parts: MAX_PARTS,
        };
        for index in 0..units.len() {
            names.declare(index);
        }
        names
    }

    fn declare(&mut self, index: usize) {
        let Some(unit) = self.units.get(index) else {
            return;
        };
        let mut symbols = Vec::new();
        let typedefs = unit.file.typedefs.iter().enumerate();
        symbols.extend(typedefs.map(|(i, t)| (&t.name, Symbol::Typedef(i))));
        for (i, declared) in unit.file.enums.iter().enumerate() {
            symbols.push((&declared.name, Symbol::Enum(self.enums.len())));
            self.enums.push((index, i));
        }
        for (i, declared) in unit.file.structs.iter().enumerate() {
            symbols.push((&declared.name, Symbol::Struct(self.structs.len())));
            self.structs.push((index, i));
        }
        let services = unit.file.services.iter().enumerate();
        symbols.extend(services.map(|(i, s)| (&s.name, Symbol::Service(i))));
        // Of two with one name, the later one in the file is the one too many.
        symbols.sort_by_key(|(name, _)| name.at);
        let mut scope = Scope::default();
        for (name, symbol) in symbols {
            let first = *scope
                .symbols
                .entry(Arc::clone(&name.text))
                .or_insert((symbol, name.at));
            if first.1 != name.at {
                self.twice(index, &name.text, name.at, first.1);
            }
        }
        for (i, constant) in unit.file.constants.iter().enumerate() {
            let name = &constant.name;
            let first = *scope
                .constants
                .entry(Arc::clone(&name.text))
                .or_insert((i, name.at));
            if first.1 != name.at {
                self.twice(index, &name.text, name.at, first.1);
            }
        }
        self.scopes.push(scope);
    }

    /// A name is declared twice, at `at` and before it at `first`.
    pub(super) fn twice(&mut self, unit: usize, name: &str, at: At, first: At) {
        let text = format!("`{}` is declared twice", short(name));
        let places = [at, first].map(|at| self.place(unit, at)).to_vec();
        self.findings.push(error(text, places));
    }

    pub(super) fn place(&self, unit: usize, at: At) -> Place {
        match self.units.get(unit) {
            Some(unit) => unit.place(at),
            None => unreachable!("places come with the index of their unit"),
        }
    }

    /// Notes an error at a place.
    pub(super) fn tell(&mut self, unit: usize, at: At, text: impl Into<String>) -> Told {
        let place = self.place(unit, at);
        self.findings.push(error(text, vec![place]));
        Told
    }

    /// Whether so much is wrong that the rest does not matter.
    pub(super) fn is_full(&self) -> bool {
        self.parts == 0 || self.findings.len() >= MAX_FINDINGS
    }

    /// Takes `count` parts of what may be written out.
    pub(super) fn charge(&mut self, count: usize, unit: usize, at: At) -> Result<(), Told> {
        match self.parts.checked_sub(count) {
            Some(left) if left > 0 => {
                self.parts = left;
                Ok(())
            }
            // It was told.
            _ if self.parts == 0 => Err(Told),
            _ => {
                self.parts = 0;
                let text = format!(
                    "the schema is too large: it has more than {MAX_PARTS} parts when each use of \
                     its typedefs, constants and extended services is written out"
                );
                Err(self.tell(unit, at, text))
            }
        }
    }

    /// How many parts were taken.
    pub(super) fn charged(&self) -> usize {
        MAX_PARTS.saturating_sub(self.parts)
    }

    /// What a name means in a unit: of its own, or with the prefix of an include. With the unit
    /// that declares it.
    pub(super) fn symbol(&self, unit: usize, name: &str) -> Option<(usize, Symbol)> {
        let of = |unit: usize, name: &str| {
            let (symbol, _) = self.scopes.get(unit)?.symbols.get(name)?;
            Some((unit, *symbol))
        };
        match name.rsplit_once('.') {
            None => of(unit, name),
            Some((prefix, name)) => self.included(unit, prefix).find_map(|u| of(u, name)),
        }
    }

    /// The constants with a name, each with its unit and index. An include's prefix can be a part
    /// of it.
    pub(super) fn constant(&self, unit: usize, name: &str) -> Option<(usize, usize)> {
        let of = |unit: usize, name: &str| {
            let (index, _) = self.scopes.get(unit)?.constants.get(name)?;
            Some((unit, *index))
        };
        match name.rsplit_once('.') {
            None => of(unit, name),
            Some((prefix, name)) => self.included(unit, prefix).find_map(|u| of(u, name)),
        }
    }

    /// The units that a unit includes with a prefix.
    fn included(&self, unit: usize, prefix: &str) -> impl Iterator<Item = usize> {
        let includes = self.units.get(unit).map(|u| u.includes.as_slice());
        let with_prefix = includes.unwrap_or_default().iter();
        with_prefix
            .filter(move |(p, _)| **p == *prefix)
            .map(|(_, unit)| *unit)
    }

    /// Why a name means nothing, for a text.
    pub(super) fn unknown(&self, unit: usize, name: &str, what: &str) -> String {
        let shown = short(name);
        match name.rsplit_once('.') {
            Some((prefix, _)) if self.included(unit, prefix).next().is_none() => format!(
                "there is no {what} `{shown}`: the file includes no `{}.thrift`",
                short(prefix)
            ),
            _ => format!("there is no {what} `{shown}`"),
        }
    }

    /// A type with its typedefs looked up.
    pub(super) fn ty(&mut self, unit: usize, ty: &TypeName) -> Result<Type, Told> {
        self.ty_within(unit, ty, MAX_DEPTH)
    }

    /// A type that may nest `depth` levels, and refer to as many typedefs.
    fn ty_within(&mut self, unit: usize, ty: &TypeName, depth: usize) -> Result<Type, Told> {
        self.charge(1, unit, ty.at)?;
        let Some(depth) = depth.checked_sub(1) else {
            let text = format!("this type refers to itself, or nests deeper than {MAX_DEPTH}");
            return Err(self.tell(unit, ty.at, text));
        };
        let name = match &ty.kind {
            TypeKind::List(element) => {
                let element = self.ty_within(unit, element, depth)?;
                return Ok(Type::List(Box::new(element)));
            }
            TypeKind::Set(element) => {
                let element = self.ty_within(unit, element, depth)?;
                return Ok(Type::Set(Box::new(element)));
            }
            TypeKind::Map(key, value) => {
                let key = self.ty_within(unit, key, depth)?;
                let value = self.ty_within(unit, value, depth)?;
                return Ok(Type::Map(Box::new(key), Box::new(value)));
            }
            TypeKind::Named(name) => name,
        };
        if let Some(base) = base(name) {
            return Ok(base);
        }
        match self.symbol(unit, name) {
            Some((_, Symbol::Enum(index))) => Ok(Type::Enum(index)),
            Some((_, Symbol::Struct(index))) => Ok(Type::Struct(index)),
            Some((unit, Symbol::Typedef(index))) => {
                let units = self.units;
                match units.get(unit).and_then(|u| u.file.typedefs.get(index)) {
                    Some(typedef) => self.ty_within(unit, &typedef.ty, depth),
                    None => unreachable!("symbols come with their indices"),
                }
            }
            Some((_, Symbol::Service(_))) => {
                let text = format!("`{}` is a service, not a type", short(name));
                Err(self.tell(unit, ty.at, text))
            }
            None => match late_base(name) {
                Some(base) => Ok(base),
                None => {
                    let text = self.unknown(unit, name, "type");
                    Err(self.tell(unit, ty.at, text))
                }
            },
        }
    }
}

fn base(name: &str) -> Option<Type> {
    Some(match name {
        "bool" => Type::Bool,
        "byte" | "i8" => Type::I8,
        "i16" => Type::I16,
        "i32" => Type::I32,
        "i64" => Type::I64,
        "double" => Type::Double,
        "string" => Type::String,
        "binary" => Type::Binary,
        _ => return None,
    })
}

/// Base types of Apache's that are no words of thriftgo's: a file may declare these names itself.
fn late_base(name: &str) -> Option<Type> {
    match name {
        "uuid" => Some(Type::Uuid),
        "slist" => Some(Type::String),
        _ => None,
    }
}
