//! From the trees of files to one document, with every name looked up.

use std::collections::HashMap;
use std::sync::Arc;

use super::constant::value;
use super::lexer::{At, short};
use super::load::Unit;
use super::names::{Names, Symbol};
use super::tree;
use super::{Document, Enum, EnumValue, Field, Function, MAX_DEPTH, MAX_FINDINGS};
use super::{Service, Struct, StructKind, Type};
use crate::translate::{Finding, Severity};

/// Makes a document of the files of a schema.
///
/// # Errors
/// Names that mean nothing, and everything else that is wrong with what the files declare.
pub(super) fn resolve(units: &[Unit]) -> Result<Document, Vec<Finding>> {
    let mut resolver = Resolver {
        names: Names::new(units),
        remarks: Vec::new(),
    };
    let structs = resolver.structs();
    let enums = resolver.enums();
    resolver.constants(&structs);
    let services = resolver.services(&structs);
    let mut findings = resolver.names.findings;
    if !findings.is_empty() {
        // A constant's fault is found at each use.
        let mut seen = std::collections::HashSet::new();
        findings.retain(|f| seen.insert((f.places.clone(), f.text.clone())));
        findings.sort_by(|a, b| a.places.cmp(&b.places));
        findings.truncate(MAX_FINDINGS);
        return Err(findings);
    }
    let mains = units.iter().filter(|u| u.is_main);
    Ok(Document {
        structs,
        enums,
        services,
        namespaces: mains.flat_map(|u| u.file.namespaces.clone()).collect(),
        findings: resolver.remarks,
    })
}

struct Resolver<'a> {
    names: Names<'a>,
    /// Findings that are no errors.
    remarks: Vec<Finding>,
}

/// A function of a service, and how many parts it has.
type Costly = (Function, usize);

impl<'a> Resolver<'a> {
    /// The tree's part behind an index of the document.
    fn at<T>(
        &self,
        (unit, index): (usize, usize),
        of: fn(&tree::File) -> &[T],
    ) -> Option<(&'a Unit, &'a T)> {
        let unit = self.names.units.get(unit)?;
        Some((unit, of(&unit.file).get(index)?))
    }

    fn enums(&mut self) -> Vec<Enum> {
        let mut enums = Vec::new();
        for key in self.names.enums.clone() {
            let Some((unit, declared)) = self.at(key, |f| &f.enums) else {
                continue;
            };
            let named = declared.values.iter().map(|v| &v.name);
            self.no_twins(key.0, named);
            let values = declared.values.iter().map(|value| EnumValue {
                name: Arc::clone(&value.name.text),
                number: value.number,
                comment: value.comment.clone(),
                place: unit.place(value.name.at),
            });
            enums.push(Enum {
                name: Arc::clone(&declared.name.text),
                values: values.collect(),
                comment: declared.comment.clone(),
                place: unit.place(declared.name.at),
                is_main: unit.is_main,
            });
        }
        enums
    }

    /// The structs, first with the types of their fields, then with defaults: a default can be of
    /// any of these types.
    fn structs(&mut self) -> Vec<Struct> {
        let mut structs: Vec<Struct> = Vec::new();
        let keys = self.names.structs.clone();
        for key in &keys {
            let Some((unit, declared)) = self.at(*key, |f| &f.structs) else {
                continue;
            };
            let what = match declared.kind {
                StructKind::Struct => "the struct",
                StructKind::Union => "the union",
                StructKind::Exception => "the exception",
            };
            structs.push(Struct {
                name: Arc::clone(&declared.name.text),
                kind: declared.kind,
                fields: self.fields(key.0, &declared.fields, what, &declared.name),
                annotations: declared.annotations.clone(),
                comment: declared.comment.clone(),
                place: unit.place(declared.name.at),
                is_main: unit.is_main,
            });
        }
        let mut defaults = Vec::new();
        for (key, own) in keys.iter().zip(&structs) {
            let declared = self.at(*key, |f| &f.structs);
            let declared = declared.map(|(_, s)| s.fields.as_slice());
            let declared = declared.unwrap_or_default();
            defaults.push(self.defaults(key.0, declared, &own.fields, &structs));
        }
        for (own, defaults) in structs.iter_mut().zip(defaults) {
            for (field, default) in own.fields.iter_mut().zip(defaults) {
                field.default = default;
            }
        }
        structs
    }

    /// Fields without their defaults. A field with a fault is there all the same, with some type:
    /// they keep their places.
    fn fields(
        &mut self,
        unit: usize,
        declared: &[tree::Field],
        what: &str,
        of: &tree::Name,
    ) -> Vec<Field> {
        self.no_twins(unit, declared.iter().map(|f| &f.name));
        let mut ids: HashMap<i16, At> = HashMap::new();
        let mut fields = Vec::new();
        let mut implicit = None;
        for field in declared {
            if self.names.is_full() {
                break;
            }
            let first = *ids.entry(field.id).or_insert(field.name.at);
            if first != field.name.at {
                let mut text = format!("two fields have the id {}", field.id);
                if implicit.is_some() || field.implicit {
                    text.push_str(": one without an id has that after the field before it, or 1");
                }
                let places = [field.name.at, first].map(|at| self.names.place(unit, at));
                let finding = super::load::error(text, places.to_vec());
                self.names.findings.push(finding);
            }
            if field.implicit {
                implicit = implicit.or(Some(field.name.at));
            }
            fields.push(Field {
                id: field.id,
                name: Arc::clone(&field.name.text),
                requiredness: field.requiredness,
                ty: self.names.ty(unit, &field.ty).unwrap_or(Type::Bool),
                default: None,
                annotations: field.annotations.clone(),
                comment: field.comment.clone(),
                place: self.names.place(unit, field.name.at),
            });
        }
        if let Some(at) = implicit
            && self.remarks.len() < MAX_FINDINGS
        {
            self.remarks.push(Finding {
                severity: Severity::Warning,
                text: format!(
                    "{what} `{}` has fields without ids: thriftgo counts up from the field before, \
                     and so does ripcord; Apache's compiler counts down from -1. Write the ids",
                    short(&of.text)
                ),
                places: vec![self.names.place(unit, at)],
            });
        }
        fields
    }

    fn defaults(
        &mut self,
        unit: usize,
        declared: &[tree::Field],
        own: &[Field],
        structs: &[Struct],
    ) -> Vec<Option<super::Const>> {
        let one = |(declared, field): (&tree::Field, &Field)| {
            let default = declared.default.as_ref()?;
            if self.names.is_full() {
                return None;
            }
            value(&mut self.names, structs, unit, default, &field.ty).ok()
        };
        declared.iter().zip(own).map(one).collect()
    }

    /// Works out the constants, for their faults only: those that a default needs are in it.
    fn constants(&mut self, structs: &[Struct]) {
        for (index, unit) in self.names.units.iter().enumerate() {
            for constant in &unit.file.constants {
                if self.names.is_full() {
                    return;
                }
                if let Ok(ty) = self.names.ty(index, &constant.ty) {
                    let _ = value(&mut self.names, structs, index, &constant.value, &ty);
                }
            }
            for typedef in &unit.file.typedefs {
                if self.names.is_full() {
                    return;
                }
                let _ = self.names.ty(index, &typedef.ty);
            }
        }
    }

    /// Tells of names that stand twice among those of one definition.
    fn no_twins<'n>(&mut self, unit: usize, names: impl Iterator<Item = &'n tree::Name>) {
        let mut seen: HashMap<&str, At> = HashMap::new();
        for name in names {
            let first = *seen.entry(&name.text).or_insert(name.at);
            if first != name.at {
                self.names.twice(unit, &name.text, name.at, first);
            }
        }
    }

    fn services(&mut self, structs: &[Struct]) -> Vec<Service> {
        let mut own: Vec<Vec<Vec<Costly>>> = Vec::new();
        for (index, unit) in self.names.units.iter().enumerate() {
            let of_unit = unit.file.services.iter().map(|service| {
                self.no_twins(index, service.functions.iter().map(|f| &f.name));
                let functions = service.functions.iter();
                functions
                    .map(|f| self.function(index, f, structs))
                    .collect()
            });
            own.push(of_unit.collect());
        }
        let mut services = Vec::new();
        for (index, unit) in self.names.units.iter().enumerate() {
            for (number, declared) in unit.file.services.iter().enumerate() {
                services.push(Service {
                    name: Arc::clone(&declared.name.text),
                    functions: self.inherited(index, number, &own),
                    comment: declared.comment.clone(),
                    place: unit.place(declared.name.at),
                    is_main: unit.is_main,
                });
            }
        }
        services
    }

    /// The functions of a service and of those that it extends.
    fn inherited(&mut self, unit: usize, number: usize, own: &[Vec<Vec<Costly>>]) -> Vec<Function> {
        let mut functions: Vec<Function> = Vec::new();
        let mut seen = HashMap::new();
        let mut next = Some((unit, number));
        for _ in 0..MAX_DEPTH {
            let Some((at_unit, at)) = next else {
                return functions;
            };
            let Some((_, service)) = self.at((at_unit, at), |f| &f.services) else {
                return functions;
            };
            let here = own.get(at_unit).and_then(|u| u.get(at));
            for (function, cost) in here.into_iter().flatten() {
                let where_from = (at_unit, at);
                let (first, place) = seen
                    .entry(Arc::clone(&function.name))
                    .or_insert_with(|| (where_from, function.place.clone()));
                if *first != where_from {
                    let text = format!(
                        "`{}` is a function of the extended service too",
                        short(&function.name)
                    );
                    let places = vec![place.clone(), function.place.clone()];
                    self.names.findings.push(super::load::error(text, places));
                }
                let is_own = where_from == (unit, number);
                let cost = if is_own { 0 } else { *cost };
                if self.names.is_full()
                    || self.names.charge(cost, at_unit, service.name.at).is_err()
                {
                    return functions;
                }
                functions.push(function.clone());
            }
            next = match &service.extends {
                None => None,
                Some(base) => match self.names.symbol(at_unit, &base.text) {
                    Some((unit, Symbol::Service(index))) => Some((unit, index)),
                    _ => {
                        let text = self.names.unknown(at_unit, &base.text, "service");
                        self.names.tell(at_unit, base.at, text);
                        None
                    }
                },
            };
        }
        if next.is_some()
            && let Some((_, service)) = self.at((unit, number), |f| &f.services)
        {
            let text = format!("this service extends itself, or more than {MAX_DEPTH} others");
            self.names.tell(unit, service.name.at, text);
        }
        functions
    }

    fn function(&mut self, unit: usize, declared: &tree::Function, structs: &[Struct]) -> Costly {
        let before = self.names.charged();
        let name = &declared.name;
        let mut arguments = self.fields(unit, &declared.arguments, "the function", name);
        let defaults = self.defaults(unit, &declared.arguments, &arguments, structs);
        for (argument, default) in arguments.iter_mut().zip(defaults) {
            argument.default = default;
        }
        let known = self.names.findings.len();
        let throws = self.fields(unit, &declared.throws, "the list of exceptions of", name);
        let are_known = self.names.findings.len() == known;
        for (field, written) in throws.iter().zip(&declared.throws) {
            // Some compilers take a struct too. On the wire it is the same.
            if are_known && !matches!(field.ty, Type::Struct(_)) {
                let text = "only exceptions can be thrown: declare the type as `exception`";
                self.names.tell(unit, written.ty.at, text);
            }
        }
        let result = declared.result.as_ref();
        let function = Function {
            name: Arc::clone(&name.text),
            result: result.and_then(|ty| self.names.ty(unit, ty).ok()),
            arguments,
            throws,
            oneway: declared.oneway,
            streaming: declared.streaming,
            annotations: declared.annotations.clone(),
            comment: declared.comment.clone(),
            place: self.names.place(unit, name.at),
        };
        let cost = self.names.charged().saturating_sub(before);
        (function, cost.saturating_add(1))
    }
}
