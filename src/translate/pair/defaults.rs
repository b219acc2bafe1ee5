//! Defaults: of thrift's IDL, and of proto2.

use std::sync::Arc;

use prost_reflect::{FieldDescriptor, Value};

use super::super::Severity;
use super::super::pairing::{DefaultValue, FieldPair, Presence};
use super::super::thrift::{Const, Field};
use super::encode;
use super::fields::is_zero;
use super::{Pairer, Scope};

impl Pairer<'_> {
    /// Writes down the defaults of all pairs. All of them have to be paired: a default may be a
    /// struct.
    pub(super) fn defaults(&mut self) {
        for at in 0..self.jobs.len() {
            let Some(job) = self.jobs.get(at) else {
                continue;
            };
            let (message, fields) = (job.message.clone(), Arc::clone(&job.fields));
            for (index, of) in job.matched.clone() {
                let pair = self.messages.get(at).and_then(|m| m.fields.get(index));
                let (Some(pair), Some(other)) = (pair, fields.get(of)) else {
                    continue;
                };
                let (pair, field) = (pair.clone(), message.get_field(pair.number));
                if let Some(field) = field {
                    self.proto2(at, &field, other);
                    self.default(at, index, &pair, &field, other);
                }
            }
            for (index, of) in self.only_thrift_of(at).into_iter().enumerate() {
                if let Some(field) = fields.get(of) {
                    self.only_thrift_default(at, index, field);
                }
            }
        }
    }

    fn only_thrift_of(&self, at: usize) -> Vec<usize> {
        self.jobs
            .get(at)
            .map(|j| j.only_thrift.clone())
            .unwrap_or_default()
    }

    fn wrong(&mut self, at: usize, field: &Field, why: &str) {
        let text = format!(
            "the default of `{}.{}` cannot be used: {why}",
            self.thrift_name(at),
            field.name
        );
        let places = vec![field.place.clone()];
        self.find(Scope::Always, Severity::Error, text, places);
    }

    fn default(
        &mut self,
        at: usize,
        index: usize,
        pair: &FieldPair,
        field: &FieldDescriptor,
        other: &Field,
    ) {
        let Some(value) = &other.default else {
            return;
        };
        let mut thrift = Vec::new();
        let mut protobuf = Vec::new();
        let how = (&pair.value, pair.presence);
        let written =
            encode::thrift(self.thrift, &other.ty, value, &mut thrift, 0).and_then(|()| {
                encode::protobuf(&self.messages, pair.number, how, value, &mut protobuf, 0)
            });
        if let Err(why) = written {
            return self.wrong(at, other, &why);
        }
        let rule = self.options.fields.get(field.full_name());
        let is_hidden = pair.presence == Presence::Implicit && !is_zero(value);
        let full = field.full_name();
        if let Some(pair) = self
            .messages
            .get_mut(at)
            .and_then(|m| m.fields.get_mut(index))
        {
            pair.default = Some(DefaultValue {
                thrift: thrift.into(),
                protobuf: protobuf.into(),
            });
            // Otherwise a reader would take its default for the zero that was meant.
            if is_hidden && rule.is_none_or(|r| r.zeros.is_none()) {
                pair.write_zeros = true;
            }
        }
        if is_hidden {
            let single = !field.is_list() && !field.is_map();
            let remedy = match single {
                true => ". Write `optional` in the protobuf file to keep the default",
                false => "",
            };
            let text = format!(
                "the default of `{}.{}` is not used for messages from protobuf: `{full}` is never \
                 missing, only zero or empty{remedy}",
                self.thrift_name(at),
                other.name
            );
            let places = vec![self.protobuf.place(field), other.place.clone()];
            self.find(Scope::ToThrift(at), Severity::Warning, text, places);
        }
    }

    fn only_thrift_default(&mut self, at: usize, index: usize, field: &Field) {
        let Some(value) = &field.default else {
            return;
        };
        let mut bytes = vec![encode::type_byte(&field.ty)];
        if let Err(why) = encode::thrift(self.thrift, &field.ty, value, &mut bytes, 0) {
            return self.wrong(at, field, &why);
        }
        let message = self.messages.get_mut(at);
        if let Some(only) = message.and_then(|m| m.only_thrift.get_mut(index)) {
            only.default = Some(bytes.into());
        }
    }

    /// Warns of a default of proto2 that thrift does not share.
    fn proto2(&mut self, at: usize, field: &FieldDescriptor, other: &Field) {
        if field.field_descriptor_proto().default_value.is_none() {
            return;
        }
        let default = field.default_value();
        let is_same = match &other.default {
            Some(value) => is_equal(&default, value),
            None => default.is_default(&field.kind()),
        };
        if is_same {
            return;
        }
        let text = format!(
            "`{}` has a default in protobuf that `{}.{}` does not have: each side takes another \
             value for a missing one. Write the same default in both files",
            field.full_name(),
            self.thrift_name(at),
            other.name
        );
        let places = vec![self.protobuf.place(field), other.place.clone()];
        self.find(Scope::Always, Severity::Warning, text, places);
    }
}

/// Whether two defaults are the same value.
fn is_equal(protobuf: &Value, thrift: &Const) -> bool {
    let int = |n: i64| *thrift == Const::Int(n);
    match protobuf {
        Value::Bool(b) => *thrift == Const::Bool(*b) || int((*b).into()),
        Value::I32(n) | Value::EnumNumber(n) => int((*n).into()),
        Value::I64(n) => int(*n),
        Value::U32(n) => int((*n).into()),
        Value::U64(n) => i64::try_from(*n).is_ok_and(int),
        Value::F32(n) => is_double(f64::from(*n), thrift),
        Value::F64(n) => is_double(*n, thrift),
        Value::String(s) => matches!(thrift, Const::String(t) if **t == **s),
        Value::Bytes(s) => matches!(thrift, Const::String(t) if t.as_bytes() == &**s),
        Value::Message(_) | Value::List(_) | Value::Map(_) => false,
    }
}

fn is_double(n: f64, thrift: &Const) -> bool {
    match thrift {
        Const::Double(d) => d.to_bits() == n.to_bits(),
        #[allow(clippy::cast_precision_loss)]
        Const::Int(i) => (*i as f64).to_bits() == n.to_bits(),
        Const::Bool(_) | Const::String(_) | Const::List(_) | Const::Map(_) => false,
    }
}
