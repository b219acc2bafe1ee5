//! Services, methods and exceptions.

use prost_reflect::{MessageDescriptor, MethodDescriptor, ServiceDescriptor};

use super::super::pairing::{
    Arguments, ExceptionPair, MethodKind, MethodPair, Returns, ServicePair,
};
use super::super::thrift::{Field, Function, Service, Streaming, StructKind, Type};
use super::super::{Place, Severity};
use super::{Callers, Pairer, Scope, Shape, Target, Ways, names};

/// The code of an exception's status where the schema gives none.
const INTERNAL: u32 = 13;

/// A method's two sides.
struct Sides<'d> {
    method: &'d MethodDescriptor,
    function: &'d Function,
    /// Indices of service and function.
    at: (usize, usize),
    places: Vec<Place>,
}

impl<'d> Pairer<'d> {
    pub(super) fn services(&mut self) -> Vec<ServicePair> {
        let mut pairs = Vec::new();
        let mut taken = std::collections::BTreeMap::new();
        let pool = self.protobuf.pool().clone();
        for service in pool.services() {
            let name = service.full_name();
            let mapped = self.options.services.contains_key(name);
            if !mapped && !self.protobuf.is_main(&service.parent_file()) {
                continue;
            }
            let Some(at) = self.thrift_service(&service) else {
                continue;
            };
            let thrift = self.thrift;
            let Some(other) = thrift.services.get(at) else {
                continue;
            };
            if let Some(first) = taken.insert(at, name.to_owned()) {
                let text = format!(
                    "`{first}` and `{name}` both pair with the thrift service `{}`: a call from \
                     thrift goes to `{first}`",
                    other.name
                );
                let places = vec![self.protobuf.place(&service), other.place.clone()];
                if self.options.callers != Callers::Protobuf {
                    self.find(Scope::Always, Severity::Warning, text, places);
                }
            }
            let methods = self.methods(&service, at, other);
            pairs.push(ServicePair {
                protobuf: name.into(),
                thrift: other.name.clone(),
                methods,
            });
        }
        if pairs.is_empty() {
            let text = "no service of the protobuf files has a counterpart in the thrift files: \
                        name one, `services: { package.Service: ThriftService }`";
            self.find(Scope::Always, Severity::Error, text, Vec::new());
        }
        pairs
    }

    fn thrift_service(&mut self, service: &ServiceDescriptor) -> Option<usize> {
        let full = service.full_name();
        let written = self.options.services.get(full);
        let name = written.map_or(service.name(), String::as_str);
        let services = self.thrift.services.iter().enumerate();
        let mut found: Vec<_> = services
            .filter(|(_, s)| match written {
                Some(written) => names::means(written, &s.name, &s.place),
                None => *s.name == *name,
            })
            .collect();
        if found.iter().any(|(_, s)| s.is_main) {
            found.retain(|(_, s)| s.is_main);
        }
        let place = self.protobuf.place(service);
        match (&*found, written) {
            (&[(at, _)], _) => Some(at),
            (&[], Some(_)) => {
                let text = format!(
                    "`services` pairs `{full}` with `{name}`, which the thrift files do not have"
                );
                self.find(Scope::Always, Severity::Error, text, vec![place]);
                None
            }
            (&[], None) => {
                let text = format!(
                    "the service `{full}` has no thrift counterpart and is not translated; if it \
                     has another name there, write `services: {{ {full}: NAME }}`"
                );
                self.find(Scope::Always, Severity::Note, text, vec![place]);
                None
            }
            (many, _) => {
                let mut places = vec![place];
                places.extend(many.iter().map(|(_, s)| s.place.clone()));
                let text = format!(
                    "several thrift files have a service `{name}`: write which, `services: {{ \
                     {full}: FILE.{name} }}`"
                );
                self.find(Scope::Always, Severity::Error, text, places);
                None
            }
        }
    }

    fn methods(
        &mut self,
        service: &ServiceDescriptor,
        at: usize,
        other: &'d Service,
    ) -> Vec<MethodPair> {
        let mut pairs = Vec::new();
        let mut taken = vec![None; other.functions.len()];
        for method in service.methods() {
            let Some(index) = self.function(&method, other) else {
                continue;
            };
            let Some(function) = other.functions.get(index) else {
                continue;
            };
            let places = vec![self.protobuf.place(&method), function.place.clone()];
            if let Some(slot) = taken.get_mut(index)
                && let Some(first) = slot.replace(method.name().to_owned())
            {
                let text = format!(
                    "`{first}` and `{}` both pair with `{}.{}`: write which under `methods`",
                    method.full_name(),
                    other.name,
                    function.name
                );
                self.find(Scope::Always, Severity::Error, text, places);
                continue;
            }
            let sides = Sides {
                method: &method,
                function,
                at: (at, index),
                places,
            };
            pairs.extend(self.method(&sides));
        }
        for (function, taken) in other.functions.iter().zip(taken) {
            if taken.is_none() && !self.is_left_out(service, &function.name) {
                let text = format!(
                    "`{}.{}` has no counterpart in `{}`: calls of it from thrift are refused",
                    other.name,
                    function.name,
                    service.full_name()
                );
                let severity = match self.options.callers {
                    Callers::Protobuf => Severity::Note,
                    Callers::Thrift | Callers::Both => Severity::Warning,
                };
                let places = vec![self.protobuf.place(service), function.place.clone()];
                self.find(Scope::Always, severity, text, places);
            }
        }
        pairs
    }

    /// Whether `methods` says that this thrift function has no counterpart.
    fn is_left_out(&mut self, service: &ServiceDescriptor, function: &str) -> bool {
        let key = format!("{}.{function}", service.full_name());
        let rule = self.options.methods.get(&key);
        rule == Some(&Target::None) && self.used.insert(key)
    }

    fn function(&mut self, method: &MethodDescriptor, other: &Service) -> Option<usize> {
        let full = method.full_name();
        let place = self.protobuf.place(method);
        let functions = || other.functions.iter().enumerate();
        let error = match self.options.methods.get(full) {
            Some(Target::None) => return None,
            Some(Target::Id(_)) => {
                format!("`methods` pairs `{full}` with a number: write the thrift name")
            }
            Some(Target::Name(name)) => match functions().find(|(_, f)| *f.name == **name) {
                Some((at, _)) => return Some(at),
                None => format!(
                    "`methods` pairs `{full}` with `{name}`, which `{}` does not have",
                    other.name
                ),
            },
            None => {
                let exact = functions().find(|(_, f)| *f.name == *method.name());
                let plain = names::plain(method.name());
                let mut like = functions().filter(|(_, f)| names::plain(&f.name) == plain);
                match (exact, like.next(), like.next()) {
                    (Some((at, _)), _, _) | (None, Some((at, _)), None) => return Some(at),
                    (None, Some((_, a)), Some((_, b))) => format!(
                        "`{full}` may be `{}` or `{}` in thrift: write which, `methods: {{ {full}: \
                         {} }}`",
                        a.name, b.name, a.name
                    ),
                    (None, None, _) => {
                        let text = format!(
                            "`{full}` has no counterpart in the thrift service `{}`: calls of it \
                             are refused; if it has another name there, write `methods: {{ \
                             {full}: NAME }}`, or `none`",
                            other.name
                        );
                        let severity = match self.options.callers {
                            Callers::Thrift => Severity::Note,
                            Callers::Protobuf | Callers::Both => Severity::Warning,
                        };
                        let places = vec![place, other.place.clone()];
                        self.find(Scope::Always, severity, text, places);
                        return None;
                    }
                }
            }
        };
        let places = vec![place, other.place.clone()];
        self.find(Scope::Always, Severity::Error, error, places);
        None
    }

    fn method(&mut self, sides: &Sides<'_>) -> Option<MethodPair> {
        let Sides {
            method, function, ..
        } = sides;
        let kind = self.kind(sides)?;
        let (requests, responses) = self.ways();
        let input = method.input();
        let (request, arguments) = match (kind, &*function.arguments) {
            (
                MethodKind::Call,
                [
                    Field {
                        id,
                        ty: Type::Struct(at),
                        ..
                    },
                ],
            ) => (
                self.pair_of(&input, Shape::Struct(*at)),
                Arguments::One(*id),
            ),
            (MethodKind::Call, _) => {
                let (service, index) = sides.at;
                let shape = Shape::Arguments(service, index);
                (self.pair_of(&input, shape), Arguments::All)
            }
            (
                MethodKind::Stream { .. },
                [
                    Field {
                        id,
                        ty: Type::Struct(at),
                        ..
                    },
                ],
            ) => (
                self.pair_of(&input, Shape::Struct(*at)),
                Arguments::One(*id),
            ),
            (MethodKind::Stream { .. }, _) => {
                let text = "a streaming function has one argument, a struct";
                self.method_error(sides, text);
                return None;
            }
        };
        let request = request?;
        self.goes(request, requests);
        let (response, returns) = self.response(sides, kind)?;
        if let Some(response) = response {
            self.goes(response, responses);
        }
        let mut exceptions = Vec::new();
        for field in &function.throws {
            exceptions.extend(self.exception(sides, field, responses));
        }
        Some(MethodPair {
            protobuf: method.name().into(),
            thrift: function.name.clone(),
            kind,
            request,
            response,
            arguments,
            returns,
            oneway: function.oneway,
            exceptions,
        })
    }

    fn method_error(&mut self, sides: &Sides<'_>, why: &str) {
        let (method, function) = (sides.method.full_name(), &sides.function.name);
        let text = format!("`{method}` and `{function}` cannot pair: {why}");
        self.find(Scope::Always, Severity::Error, text, sides.places.clone());
    }

    /// The ways of requests and of responses.
    fn ways(&self) -> (Ways, Ways) {
        let (out, back) = match self.options.callers {
            Callers::Protobuf => (true, false),
            Callers::Thrift => (false, true),
            Callers::Both => (true, true),
        };
        let ways = |to_thrift, to_protobuf| Ways {
            to_thrift,
            to_protobuf,
        };
        (ways(out, back), ways(back, out))
    }

    fn goes(&mut self, at: usize, ways: Ways) {
        if let Some(job) = self.jobs.get_mut(at) {
            job.ways = job.ways.or(ways);
        }
    }

    fn kind(&mut self, sides: &Sides<'_>) -> Option<MethodKind> {
        let client = sides.method.is_client_streaming();
        let server = sides.method.is_server_streaming();
        let (kind, thrift) = match sides.function.streaming {
            None => (MethodKind::Call, (false, false)),
            Some(mode) => {
                let (client, server) = match mode {
                    Streaming::Unary => (false, false),
                    Streaming::Client => (true, false),
                    Streaming::Server => (false, true),
                    Streaming::Bidirectional => (true, true),
                };
                (MethodKind::Stream { client, server }, (client, server))
            }
        };
        if thrift == (client, server) {
            return Some(kind);
        }
        let word = |(client, server)| match (client, server) {
            (false, false) => "unary",
            (true, false) => "client",
            (false, true) => "server",
            (true, true) => "bidirectional",
        };
        let mode = word((client, server));
        let is = match sides.function.streaming {
            None => "a ping-pong function in thrift",
            Some(_) => word(thrift),
        };
        let why = format!(
            "it is {mode} streaming in protobuf and {is}{}. Write `(streaming.mode = \"{mode}\")` \
             behind the function, or change the rpc",
            sides
                .function
                .streaming
                .map_or("", |_| " streaming in thrift")
        );
        self.method_error(
            sides,
            &why.replace("unary streaming in protobuf", "unary in protobuf"),
        );
        None
    }

    /// The pair of the responses, and where it is in the struct of results.
    fn response(
        &mut self,
        sides: &Sides<'_>,
        kind: MethodKind,
    ) -> Option<(Option<usize>, Returns)> {
        let output = sides.method.output();
        match (kind, &sides.function.result) {
            (_, Some(Type::Struct(at))) => {
                let at = self.pair_of(&output, Shape::Struct(*at))?;
                Some((Some(at), Returns::Message))
            }
            (MethodKind::Stream { .. }, _) => {
                let text = "a streaming function returns a struct";
                self.method_error(sides, text);
                None
            }
            (MethodKind::Call, None) => {
                if output.fields().len() > 0 {
                    let text = format!(
                        "`{}` returns nothing, so the fields of `{}` are never set, and dropped \
                         toward thrift: use google.protobuf.Empty",
                        sides.function.name,
                        output.full_name()
                    );
                    let places = vec![self.protobuf.place(&output), sides.function.place.clone()];
                    self.find(Scope::Always, Severity::Warning, text, places);
                }
                Some((None, Returns::Message))
            }
            (MethodKind::Call, Some(_)) => {
                if output.fields().len() != 1 {
                    let text = format!(
                        "a result that is no struct pairs with a message of one field, and `{}` \
                         has {}",
                        output.full_name(),
                        output.fields().len()
                    );
                    self.method_error(sides, &text);
                    return None;
                }
                let (service, index) = sides.at;
                let at = self.pair_of(&output, Shape::Results(service, index))?;
                Some((Some(at), Returns::Value))
            }
        }
    }

    fn exception(&mut self, sides: &Sides<'_>, field: &Field, ways: Ways) -> Option<ExceptionPair> {
        let thrift = self.thrift;
        let Type::Struct(at) = field.ty else {
            self.method_error(sides, "it throws something that is no exception");
            return None;
        };
        let item = thrift.structs.get(at)?;
        if item.kind != StructKind::Exception {
            self.method_error(sides, "it throws something that is no exception");
            return None;
        }
        let Some((message, code)) = self.exception_message(sides, at) else {
            let package = sides.method.parent_file().package_name().to_owned();
            let name = names::struct_name(item);
            let text = format!(
                "the exception `{name}` has no protobuf message: callers get its text without its \
                 fields. Write a message `{}`, or name one, `exceptions: {{ package.Message: {{ \
                 thrift: {name} }} }}`",
                [&*package, &*item.name].join(".").trim_start_matches('.')
            );
            let places = vec![self.protobuf.place(sides.method), item.place.clone()];
            self.find(Scope::Always, Severity::Warning, text, places);
            return None;
        };
        let index = self.pair_of(&message, Shape::Struct(at))?;
        self.goes(index, ways);
        Some(ExceptionPair {
            id: field.id,
            thrift: item.name.clone(),
            protobuf: message.full_name().into(),
            message: index,
            code: code.unwrap_or(INTERNAL),
        })
    }

    /// The message that stands for the exception with this index, and its code.
    fn exception_message(
        &self,
        sides: &Sides<'_>,
        at: usize,
    ) -> Option<(MessageDescriptor, Option<u32>)> {
        let item = self.thrift.structs.get(at)?;
        let pool = self.protobuf.pool();
        let rule = self.options.exceptions.iter().find(|(message, rule)| {
            let name = rule.thrift.as_deref();
            let name = name.unwrap_or_else(|| names::simple(message));
            names::means(name, &item.name, &item.place)
        });
        if let Some((message, rule)) = rule {
            return Some((pool.get_message_by_name(message)?, rule.code));
        }
        let file = sides.method.parent_file();
        let named = match file.package_name() {
            "" => item.name.to_string(),
            package => format!("{package}.{}", item.name),
        };
        if let Some(message) = pool.get_message_by_name(&named) {
            return Some((message, None));
        }
        let mut like = pool.all_messages().filter(|m| m.name() == &*item.name);
        match (like.next(), like.next()) {
            (Some(message), None) => Some((message, None)),
            _ => None,
        }
    }
}
