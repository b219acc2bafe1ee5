//! Messages: a pair for each two that meet, and what is said of a pair as a whole.

use std::sync::Arc;

use prost_reflect::{FieldDescriptor, MessageDescriptor};

use super::super::pairing::{MessagePair, OnlyThrift, Requiredness};
use super::super::thrift::{Field, StructKind, Type};
use super::super::{Place, Severity};
use super::{Job, MAX_PAIRS, Pairer, Scope, Shape, Target, Ways, names};

/// The ids that protobuf keeps for itself.
const RESERVED: std::ops::RangeInclusive<i16> = 19000..=19999;

impl<'d> Pairer<'d> {
    /// The index of the pair of `message` and `shape`. Its fields are paired later, so that types
    /// may refer to themselves. `None`: there is no such thrift side, or the schema is too large.
    pub(super) fn pair_of(&mut self, message: &MessageDescriptor, shape: Shape) -> Option<usize> {
        let key = (message.full_name().to_owned(), shape);
        if let Some(&at) = self.by_key.get(&key) {
            return Some(at);
        }
        if self.jobs.len() >= MAX_PAIRS {
            if !std::mem::replace(&mut self.is_full, true) {
                let text = format!("a schema has at most {MAX_PAIRS} pairs of messages");
                self.find(Scope::Always, Severity::Error, text, Vec::new());
            }
            return None;
        }
        let (name, job) = self.job(message, shape)?;
        let at = self.jobs.len();
        self.messages.push(MessagePair {
            protobuf: message.full_name().into(),
            thrift: name.into(),
            is_union: job.kind == StructKind::Union,
            fields: Vec::new(),
            missing_in_thrift: Vec::new(),
            only_thrift: Vec::new(),
        });
        self.jobs.push(job);
        self.by_key.insert(key, at);
        self.open.push_back(at);
        Some(at)
    }

    /// The thrift side of a new pair, and its name.
    fn job(&self, message: &MessageDescriptor, shape: Shape) -> Option<(String, Job)> {
        let function = |service: usize, function: usize| {
            let service = self.thrift.services.get(service)?;
            let function = service.functions.get(function)?;
            Some((format!("{}.{}", service.name, function.name), function))
        };
        let (name, kind, fields, place) = match shape {
            Shape::Struct(at) => {
                let item = self.thrift.structs.get(at)?;
                let fields = Arc::from(&*item.fields);
                let place = item.place.clone();
                (names::struct_name(item), item.kind, fields, place)
            }
            Shape::Arguments(service, index) => {
                let (name, function) = function(service, index)?;
                let name = format!("{name} arguments");
                let fields = Arc::from(&*function.arguments);
                (name, StructKind::Struct, fields, function.place.clone())
            }
            Shape::Results(service, index) => {
                let (name, function) = function(service, index)?;
                let name = format!("{name} result");
                let success = Field {
                    id: 0,
                    name: "success".into(),
                    // The result is written even where it is zero.
                    requiredness: Requiredness::Default,
                    ty: function.result.clone()?,
                    default: None,
                    annotations: Vec::new(),
                    comment: String::new(),
                    place: function.place.clone(),
                };
                let fields = Arc::from([success]);
                (name, StructKind::Struct, fields, function.place.clone())
            }
        };
        let job = Job {
            message: message.clone(),
            shape,
            fields,
            kind,
            place,
            ways: Ways::default(),
            inner: Vec::new(),
            matched: Vec::new(),
            only_thrift: Vec::new(),
        };
        Some((name, job))
    }

    /// Pairs the fields of the pair `at`.
    pub(super) fn message(&mut self, at: usize) {
        let Some(job) = self.jobs.get(at) else {
            return;
        };
        let (message, fields, shape) = (job.message.clone(), Arc::clone(&job.fields), job.shape);
        if job.kind == StructKind::Union {
            self.union(at, &message);
        }
        let matches = self.matches(&message, &fields, shape);
        let mut pairs = Vec::new();
        let mut matched = Vec::new();
        let mut is_taken = vec![false; fields.len()];
        for (field, found) in message.fields().zip(&matches) {
            match *found {
                super::fields::Match::Field(index) => {
                    let Some(other) = fields.get(index) else {
                        continue;
                    };
                    if let Some(taken) = is_taken.get_mut(index) {
                        *taken = true;
                    }
                    if let Some(pair) = self.field(at, &field, other) {
                        matched.push((pairs.len(), index));
                        pairs.push(pair);
                    }
                }
                super::fields::Match::Nothing => self.only_protobuf(at, &field, &fields, &matches),
                super::fields::Match::LeftOut | super::fields::Match::Wrong => {}
            }
        }
        for ((index, field), taken) in fields.iter().enumerate().zip(is_taken) {
            if !taken {
                self.only_thrift(at, index, field);
            }
        }
        self.extensions(at, &message);
        if let (Some(pair), Some(job)) = (self.messages.get_mut(at), self.jobs.get_mut(at)) {
            pair.fields = pairs;
            job.matched = matched;
        }
    }

    /// What has to hold of a message that pairs with a thrift union.
    fn union(&mut self, at: usize, message: &MessageDescriptor) {
        let mut one_ofs = message.oneofs().filter(|o| !o.is_synthetic());
        let outside = message.fields().find(|f| match f.containing_oneof() {
            Some(one_of) => one_of.is_synthetic(),
            None => true,
        });
        if one_ofs.next().is_some() && one_ofs.next().is_none() && outside.is_none() {
            return;
        }
        let name = self.thrift_name(at);
        let text = format!(
            "`{name}` is a union, and `{}` does not hold exactly one oneof with all of its fields: \
             put them into one",
            message.full_name()
        );
        let places = self.places(at, message);
        self.find(Scope::Always, Severity::Error, text, places);
    }

    pub(super) fn thrift_name(&self, at: usize) -> Arc<str> {
        let pair = self.messages.get(at);
        pair.map_or_else(|| "".into(), |m| Arc::clone(&m.thrift))
    }

    fn places(&self, at: usize, message: &MessageDescriptor) -> Vec<Place> {
        let mut places = vec![self.protobuf.place(message)];
        places.extend(self.jobs.get(at).map(|j| j.place.clone()));
        places
    }

    /// A protobuf field without a thrift field.
    fn only_protobuf(
        &mut self,
        at: usize,
        field: &FieldDescriptor,
        fields: &[Field],
        matches: &[super::fields::Match],
    ) {
        let (full, number) = (field.full_name(), field.number());
        let name = self.thrift_name(at);
        let places = |place: Option<&Place>, s: &Self| {
            let mut places = vec![s.protobuf.place(field)];
            places.extend(
                place
                    .cloned()
                    .or_else(|| s.jobs.get(at).map(|j| j.place.clone())),
            );
            places
        };
        let plain = names::plain(field.name());
        let is_free = |index: usize| !matches.contains(&super::fields::Match::Field(index));
        let like = fields.iter().enumerate();
        let like = like.filter(|(i, f)| is_free(*i) && names::plain(&f.name) == plain);
        let like = like.map(|(_, f)| f).next();
        let remedy = match like {
            Some(like) => format!(
                "If `{name}.{}` (id {}) is its counterpart, write `fields: {{ {full}: {} }}`",
                like.name, like.id, like.id
            ),
            None => format!("Give `{name}` a field for it, or write `fields: {{ {full}: none }}`"),
        };
        let places = places(like.map(|f| &f.place), self);
        if field.is_required() {
            let text = format!(
                "`{full}` (number {number}) is `required` and has no thrift field: no message from \
                 thrift can be complete. {remedy}"
            );
            self.find(Scope::ToProtobuf(at), Severity::Error, text, places.clone());
            if let Some(pair) = self.messages.get_mut(at) {
                pair.missing_in_thrift.push((number, field.name().into()));
            }
        }
        let text = format!(
            "`{full}` (number {number}) has no thrift field: its values are dropped on the way to \
             thrift. {remedy}"
        );
        self.find(Scope::ToThrift(at), Severity::Warning, text, places);
    }

    /// A thrift field without a protobuf field.
    fn only_thrift(&mut self, at: usize, index: usize, field: &Field) {
        let Some(job) = self.jobs.get_mut(at) else {
            return;
        };
        job.only_thrift.push(index);
        let message = job.message.clone();
        let required = field.requiredness == Requiredness::Required;
        if let Some(pair) = self.messages.get_mut(at) {
            pair.only_thrift.push(OnlyThrift {
                id: field.id,
                name: Arc::clone(&field.name),
                required,
                default: None,
            });
        }
        let key = format!("{}.{}", message.full_name(), field.name);
        let rule = self.options.fields.get(&key);
        let left_out = rule.is_some_and(|r| r.to == Some(Target::None));
        let named = format!(
            "`{}.{}` (id {})",
            self.thrift_name(at),
            field.name,
            field.id
        );
        let full = message.full_name();
        let plain = names::plain(&field.name);
        let same = message.fields().find(|f| names::plain(f.name()) == plain);
        let remedy = if let Some(same) = same {
            format!(
                "If `{}` is its counterpart, write `fields: {{ {}: {} }}`",
                same.full_name(),
                same.full_name(),
                field.id
            )
        } else if field.id <= 0 || RESERVED.contains(&field.id) {
            format!(
                "Protobuf has no number {}: give `{full}` a field with a free number, and write \
                 `fields: {{ {full}.NAME: {} }}`",
                field.id, field.id
            )
        } else {
            format!("Give `{full}` a field for it, or write `fields: {{ {key}: none }}`")
        };
        let places = vec![self.protobuf.place(&message), field.place.clone()];
        if required && field.default.is_none() {
            let text = format!(
                "{named} is `required` and has no protobuf field: no message from protobuf can be \
                 complete. {}",
                remedy.split(", or").next().unwrap_or_default()
            );
            self.find(Scope::ToThrift(at), Severity::Error, text, places.clone());
        }
        if left_out {
            self.used.insert(key);
            return;
        }
        let is_base = field.id == 255 && matches!(field.ty, Type::Struct(_));
        let severity = if is_base {
            Severity::Note
        } else {
            Severity::Warning
        };
        let text = format!(
            "{named} has no protobuf field: its values are dropped on the way to protobuf. {remedy}"
        );
        self.find(Scope::ToProtobuf(at), severity, text, places);
    }

    /// Extensions are not translated.
    fn extensions(&mut self, at: usize, message: &MessageDescriptor) {
        for extension in message.extensions() {
            let text = format!(
                "the extension `{}` of `{}` is dropped on the way to thrift: extensions do not \
                 pair",
                extension.full_name(),
                message.full_name()
            );
            let places = self.places(at, message);
            self.find(Scope::ToThrift(at), Severity::Warning, text, places);
        }
    }
}
