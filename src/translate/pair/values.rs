//! Types: which values can carry which.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::super::Severity;
use super::super::pairing::{List, Map, Value};
use super::super::thrift::Type;
use super::fields::Sides;
use super::{Pairer, Scope, Shape, names};

/// How deep containers may lie in each other.
const MAX_DEPTH: usize = 63;

impl Pairer<'_> {
    /// How a field, with its label, pairs with a thrift type.
    ///
    /// # Errors
    /// Why they cannot pair.
    pub(super) fn field_value(
        &mut self,
        sides: &Sides<'_>,
        field: &FieldDescriptor,
        ty: &Type,
        depth: usize,
    ) -> Result<Value, String> {
        if depth > MAX_DEPTH {
            return Err("its containers lie too deep in each other".into());
        }
        if field.is_group() {
            return Err("a group is not translated; write a message".into());
        }
        if field.is_map() {
            return self.map(sides, field, ty, depth);
        }
        if !field.is_list() {
            return self.element(sides, &field.kind(), ty, depth);
        }
        match ty {
            Type::List(element) | Type::Set(element) => {
                let is_set = matches!(ty, Type::Set(_));
                let element = self.element(sides, &field.kind(), element, depth)?;
                if is_set {
                    self.set(sides);
                }
                Ok(Value::List(List {
                    element: Box::new(element),
                    is_set,
                    is_packed: field.is_packed(),
                }))
            }
            Type::Map(key, value) => {
                let kind = field.kind();
                let entry = kind.as_message().and_then(entry);
                let Some((first, second)) = entry else {
                    return Err(
                        "a thrift map pairs with a map, or with a repeated message that has \
                                the fields 1 (key) and 2 (value) only"
                            .into(),
                    );
                };
                Ok(Value::Map(Map {
                    key: Box::new(self.part(sides, &first, key, depth)?),
                    value: Box::new(self.part(sides, &second, value, depth)?),
                }))
            }
            _ => Err("one of them is repeated".into()),
        }
    }

    fn set(&mut self, sides: &Sides<'_>) {
        let text = match self.options.wire.duplicates {
            super::super::pairing::Duplicates::Drop => "dropped",
            super::super::pairing::Duplicates::Error => "refused",
        };
        let why = format!("an element that is there twice is {text} on the way to thrift");
        self.find_at(sides, Scope::ToThrift, Severity::Note, &why);
    }

    fn map(
        &mut self,
        sides: &Sides<'_>,
        field: &FieldDescriptor,
        ty: &Type,
        depth: usize,
    ) -> Result<Value, String> {
        let kind = field.kind();
        let entry = kind.as_message();
        let part = |number| entry.and_then(|e| e.get_field(number));
        let (Type::Map(key, value), Some(first), Some(second)) = (ty, part(1), part(2)) else {
            return Err("a protobuf map pairs with a thrift map only".into());
        };
        match &**key {
            Type::Double | Type::Struct(_) | Type::List(_) | Type::Set(_) | Type::Map(..) => {
                return Err(format!(
                    "protobuf has no map whose keys are {}; write a repeated message with the \
                     fields 1 (key) and 2 (value)",
                    names::thrift_type(self.thrift, key)
                ));
            }
            _ => {}
        }
        Ok(Value::Map(Map {
            key: Box::new(self.element(sides, &first.kind(), key, depth)?),
            value: Box::new(self.element(sides, &second.kind(), value, depth)?),
        }))
    }

    /// Key or value of an entry that is a message.
    fn part(
        &mut self,
        sides: &Sides<'_>,
        field: &FieldDescriptor,
        ty: &Type,
        depth: usize,
    ) -> Result<Value, String> {
        if field.is_list() || field.is_map() {
            return Err(format!(
                "`{}` is repeated; put it into a message of its own, with this one field",
                field.full_name()
            ));
        }
        if field.is_group() {
            return Err("a group is not translated; write a message".into());
        }
        self.element(sides, &field.kind(), ty, depth)
    }

    /// How one value, without a label, pairs with a thrift type.
    fn element(
        &mut self,
        sides: &Sides<'_>,
        kind: &Kind,
        ty: &Type,
        depth: usize,
    ) -> Result<Value, String> {
        match (kind, ty) {
            (Kind::Message(message), Type::Struct(at)) => {
                let index = self.pair_of(message, Shape::Struct(*at));
                let index =
                    index.ok_or("the thrift type is not declared, or there are too many")?;
                if let Some(job) = self.jobs.get_mut(sides.at)
                    && !job.inner.contains(&index)
                {
                    job.inner.push(index);
                }
                Ok(Value::Message(index))
            }
            (Kind::Message(message), Type::List(_) | Type::Set(_) | Type::Map(..)) => {
                let Some(inner) = wrapper(message) else {
                    return Err(format!(
                        "{} pairs with a repeated field, or with a message that has one field, \
                         repeated or a map",
                        names::thrift_type(self.thrift, ty)
                    ));
                };
                let value = self.field_value(sides, &inner, ty, depth + 1)?;
                Ok(Value::Wrapper {
                    number: inner.number(),
                    value: Box::new(value),
                })
            }
            (Kind::Message(message), _) => Err(format!(
                "`{}` is a message: it pairs with a struct that has the same fields",
                message.full_name()
            )),
            (_, Type::Struct(_)) => Err("a struct pairs with a message only".into()),
            (_, Type::List(_) | Type::Set(_) | Type::Map(..)) => {
                let ty = names::thrift_type(self.thrift, ty);
                Err(format!(
                    "{ty} pairs with a repeated field or a map; within a container, with a message \
                     that has one such field"
                ))
            }
            _ => self.scalar(sides, kind, ty).map(Value::Scalar),
        }
    }
}

/// The fields 1 and 2 of a message that has no others: an entry of a map.
fn entry(message: &MessageDescriptor) -> Option<(FieldDescriptor, FieldDescriptor)> {
    match message.fields().len() {
        2 => Some((message.get_field(1)?, message.get_field(2)?)),
        _ => None,
    }
}

/// The one field of a message that stands for a container.
fn wrapper(message: &MessageDescriptor) -> Option<FieldDescriptor> {
    let mut fields = message.fields();
    let field = fields.next()?;
    (fields.next().is_none() && (field.is_list() || field.is_map())).then_some(field)
}
