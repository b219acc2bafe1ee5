//! Fields: which belong together, and presence.

use std::collections::BTreeMap;

use prost_reflect::{FieldDescriptor, MessageDescriptor};

use super::super::pairing::{FieldPair, Overflow, Presence, Requiredness, Utf8};
use super::super::thrift::{Const, Field, StructKind};
use super::super::{Place, Severity};
use super::{FieldsBy, Pairer, Scope, Shape, Target, names};

/// What a protobuf field belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// The thrift field with this index.
    Field(usize),
    /// The schema says: nothing.
    LeftOut,
    Nothing,
    /// What the schema says of it is wrong, and told.
    Wrong,
}

/// Two fields that are being paired.
pub(super) struct Sides<'f> {
    /// The pair of their messages.
    pub(super) at: usize,
    pub(super) field: &'f FieldDescriptor,
    pub(super) other: &'f Field,
    pub(super) overflow: Overflow,
    pub(super) utf8: Utf8,
    pub(super) places: Vec<Place>,
    /// `` `a.B.c` (int64) and `B.c` (i32)``.
    pub(super) label: String,
}

impl Pairer<'_> {
    /// What each field of `message` belongs to, in their order.
    pub(super) fn matches(
        &mut self,
        message: &MessageDescriptor,
        fields: &[Field],
        shape: Shape,
    ) -> Vec<Match> {
        if matches!(shape, Shape::Results(..)) {
            return message.fields().map(|_| Match::Field(0)).collect();
        }
        // First what the schema says, field by field. What it names is no longer free.
        let mut taken: BTreeMap<usize, FieldDescriptor> = BTreeMap::new();
        let mut found = Vec::new();
        for field in message.fields() {
            let rule = self.options.fields.get(field.full_name());
            let index = match rule.and_then(|r| r.to.as_ref()) {
                None => {
                    found.push(None);
                    continue;
                }
                Some(Target::None) => {
                    found.push(Some(Match::LeftOut));
                    continue;
                }
                Some(Target::Id(id)) => fields.iter().position(|f| f.id == *id),
                Some(Target::Name(name)) => fields.iter().position(|f| *f.name == **name),
            };
            let place = self.protobuf.place(&field);
            let wrong = match index {
                None => "a thrift field that is not there".to_owned(),
                Some(index) => match taken.get(&index) {
                    Some(first) => format!("the same thrift field as `{}`", first.name()),
                    None => {
                        taken.insert(index, field.clone());
                        found.push(Some(Match::Field(index)));
                        continue;
                    }
                },
            };
            let text = format!("`fields` pairs `{}` with {wrong}", field.full_name());
            self.find(Scope::Always, Severity::Error, text, vec![place]);
            found.push(Some(Match::Wrong));
        }
        let by_id: BTreeMap<u32, usize> = fields
            .iter()
            .enumerate()
            .filter_map(|(at, f)| Some((u32::try_from(f.id).ok()?, at)))
            .collect();
        let fields_by = self.options.fields_by;
        let mut matches = Vec::new();
        for (field, found) in message.fields().zip(found) {
            if let Some(found) = found {
                matches.push(found);
                continue;
            }
            let index = match fields_by {
                FieldsBy::ById => by_id.get(&field.number()).copied(),
                FieldsBy::ByName => by_name(field.name(), fields),
            };
            matches.push(match index {
                Some(index) if !taken.contains_key(&index) => {
                    taken.insert(index, field.clone());
                    Match::Field(index)
                }
                _ => Match::Nothing,
            });
        }
        if fields_by == FieldsBy::ById {
            self.swapped(message, fields, &matches);
        }
        matches
    }

    /// Warns of fields that pair by id although a field with the same name has another id.
    fn swapped(&mut self, message: &MessageDescriptor, fields: &[Field], matches: &[Match]) {
        for (field, found) in message.fields().zip(matches) {
            let Match::Field(index) = *found else {
                continue;
            };
            let written = self.options.fields.get(field.full_name());
            if written.is_some_and(|r| r.to.is_some()) {
                continue;
            }
            let plain = names::plain(field.name());
            let Some(paired) = fields.get(index) else {
                continue;
            };
            if names::plain(&paired.name) == plain {
                continue;
            }
            let Some(same) = fields.iter().find(|f| names::plain(&f.name) == plain) else {
                continue;
            };
            let text = format!(
                "`{}` pairs by its number {} with `{}`, but thrift has a field `{}` with id {}. If \
                 that is meant, write `fields: {{ {}: {} }}`",
                field.full_name(),
                field.number(),
                paired.name,
                same.name,
                same.id,
                field.full_name(),
                same.id
            );
            let places = vec![self.protobuf.place(&field), same.place.clone()];
            self.find(Scope::Always, Severity::Warning, text, places);
        }
    }

    /// The pair of two fields; `None` where their types cannot carry each other's values.
    pub(super) fn field(
        &mut self,
        at: usize,
        field: &FieldDescriptor,
        other: &Field,
    ) -> Option<FieldPair> {
        let rule = self.options.fields.get(field.full_name());
        let label = format!(
            "`{}` ({}) and `{}.{}` ({})",
            field.full_name(),
            names::field_type(field),
            self.thrift_name(at),
            other.name,
            names::thrift_type(self.thrift, &other.ty)
        );
        let sides = Sides {
            at,
            field,
            other,
            overflow: rule
                .and_then(|r| r.overflow)
                .unwrap_or(self.options.overflow),
            utf8: rule.and_then(|r| r.utf8).unwrap_or(self.options.utf8),
            places: vec![self.protobuf.place(field), other.place.clone()],
            label,
        };
        let write_zeros = rule
            .and_then(|r| r.zeros)
            .unwrap_or(self.options.write_zeros);
        let value = match self.field_value(&sides, field, &other.ty, 0) {
            Ok(value) => value,
            Err(why) => {
                let text = format!(
                    "{} cannot pair: {why}. Change one of them, or leave the field out with \
                     `fields: {{ {}: none }}`",
                    sides.label,
                    field.full_name()
                );
                self.find(Scope::Always, Severity::Error, text, sides.places);
                return None;
            }
        };
        let presence = presence(field);
        self.presence(&sides, presence);
        Some(FieldPair {
            number: field.number(),
            id: other.id,
            protobuf: field.name().into(),
            thrift: other.name.clone(),
            value,
            presence,
            requiredness: other.requiredness,
            default: None,
            write_zeros,
        })
    }

    /// What can become of an absent value.
    fn presence(&mut self, sides: &Sides<'_>, presence: Presence) {
        let (at, field, other) = (sides.at, sides.field, sides.other);
        let is_union = self
            .jobs
            .get(at)
            .is_some_and(|j| j.kind == StructKind::Union);
        let required = other.requiredness == Requiredness::Required;
        let optional = other.requiredness == Requiredness::Optional;
        let has_default = other.default.is_some();
        let absent = matches!(presence, Presence::Explicit | Presence::Oneof(_));
        if absent && required && !is_union && !has_default {
            let why = "thrift requires it, so a message from protobuf without it ends its stream";
            self.find_at(sides, Scope::ToThrift, Severity::Note, why);
        }
        if presence == Presence::Required && !required && !has_default {
            let why = "protobuf requires it, so a message from thrift without it ends its stream";
            self.find_at(sides, Scope::ToProtobuf, Severity::Note, why);
        }
        if let (Presence::Oneof(_), false, false) = (presence, optional, is_union) {
            let why = "it is a member of a oneof, and thrift writers send a field that is not \
                 `optional` always: several members of the oneof may arrive. Write `optional` in \
                 the thrift file";
            self.find_at(sides, Scope::ToProtobuf, Severity::Warning, why);
        }
        let single = !field.is_list() && !field.is_map();
        if presence == Presence::Implicit && optional && single && !has_default {
            let why = "thrift can leave it out, and protobuf takes that for zero. Write `optional` \
                 in the protobuf file to keep the difference";
            self.find_at(sides, Scope::ToProtobuf, Severity::Note, why);
        }
    }
}

/// Whether a protobuf field can be absent.
pub(in super::super) fn presence(field: &FieldDescriptor) -> Presence {
    if field.is_list() || field.is_map() {
        return Presence::Implicit;
    }
    if field.is_required() {
        return Presence::Required;
    }
    if let Some(one_of) = field.containing_oneof().filter(|o| !o.is_synthetic()) {
        let message = field.parent_message();
        let at = message.oneofs().position(|o| o == one_of);
        return Presence::Oneof(at.and_then(|a| u16::try_from(a).ok()).unwrap_or(u16::MAX));
    }
    match field.supports_presence() {
        true => Presence::Explicit,
        false => Presence::Implicit,
    }
}

/// The thrift field of this name: exactly, else the only one that is equal but for case and `_`.
fn by_name(name: &str, fields: &[Field]) -> Option<usize> {
    if let Some(exact) = fields.iter().position(|f| *f.name == *name) {
        return Some(exact);
    }
    let plain = names::plain(name);
    let mut like = fields.iter().enumerate();
    let mut like = like
        .by_ref()
        .filter(|(_, f)| names::plain(&f.name) == plain);
    match (like.next(), like.next()) {
        (Some((at, _)), None) => Some(at),
        _ => None,
    }
}

/// Whether the constant is what a reader makes of a missing field without a default.
pub(super) fn is_zero(value: &Const) -> bool {
    match value {
        Const::Bool(value) => !value,
        Const::Int(value) => *value == 0,
        // Minus zero is not what protobuf takes for missing.
        Const::Double(value) => value.to_bits() == 0,
        Const::String(value) => value.is_empty(),
        Const::List(value) => value.is_empty(),
        Const::Map(value) => value.is_empty(),
    }
}
