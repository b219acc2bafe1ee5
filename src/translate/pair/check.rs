//! Entries of a schema that name nothing.

use super::super::Severity;
use super::{Pairer, Scope, Target, names};

impl Pairer<'_> {
    /// Tells of each entry of the options that names nothing in the protobuf files.
    pub(super) fn check_options(&mut self) {
        let pool = self.protobuf.pool().clone();
        let options = self.options;
        let split = |name: &str| {
            let (of, name) = name.rsplit_once('.')?;
            Some((of.to_owned(), name.to_owned()))
        };
        for name in options.services.keys() {
            if pool.get_service_by_name(name).is_none() {
                self.names_nothing("services", name, "service");
            }
        }
        for name in options.methods.keys() {
            let found = split(name).and_then(|(service, method)| {
                let service = pool.get_service_by_name(&service)?;
                service.methods().find(|m| m.name() == method)
            });
            if found.is_none() && !self.used.contains(name) {
                self.names_nothing("methods", name, "method");
            }
        }
        for (name, rule) in &options.fields {
            let found = split(name).and_then(|(message, field)| {
                let message = pool.get_message_by_name(&message)?;
                message.get_field_by_name(&field)
            });
            let is_thrift = self.used.contains(name) && rule.to == Some(Target::None);
            if found.is_none() && !is_thrift {
                self.names_nothing("fields", name, "field");
            }
        }
        for name in options.enums.keys() {
            if pool.get_enum_by_name(name).is_none() {
                self.names_nothing("enums", name, "enum");
            }
        }
        for (name, rule) in &options.exceptions {
            if pool.get_message_by_name(name).is_none() {
                self.names_nothing("exceptions", name, "message");
            }
            let thrift = rule
                .thrift
                .as_deref()
                .unwrap_or_else(|| names::simple(name));
            let structs = &self.thrift.structs;
            if !structs
                .iter()
                .any(|s| names::means(thrift, &s.name, &s.place))
            {
                let text = format!(
                    "`exceptions` pairs `{name}` with `{thrift}`, which the thrift files do not \
                     have"
                );
                self.find(Scope::Always, Severity::Error, text, Vec::new());
            }
            if rule.code.is_some_and(|c| !(1..=16).contains(&c)) {
                let text = format!("`exceptions` gives `{name}` a code that is not 1 to 16");
                self.find(Scope::Always, Severity::Error, text, Vec::new());
            }
        }
    }

    fn names_nothing(&mut self, key: &str, name: &str, what: &str) {
        let text = format!(
            "`{key}` names `{name}`, and the protobuf files have no such {what}: write its full \
             name"
        );
        self.find(Scope::Always, Severity::Error, text, Vec::new());
    }
}
