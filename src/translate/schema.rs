//! A schema that is ready for streams: which method is which on the other side, and the plan by
//! which its messages are translated.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::pairing::{MethodKind, MethodPair, Options, ServicePair};
use super::{Direction, Pairing, Plan};

/// A schema, as a route uses it. Two are equal when they were read of the same content.
#[derive(Debug)]
pub struct Schema {
    /// Its name in the configuration.
    name: Arc<str>,
    /// A number of everything that it was made of.
    digest: u64,
    plan: Arc<Plan>,
    services: Vec<Service>,
}

/// The form of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Protobuf.
    Protobuf,
    /// Thrift structs in the binary protocol.
    Thrift,
}

/// A service with its methods by both of their names.
#[derive(Debug)]
struct Service {
    pair: ServicePair,
    by_protobuf: FxHashMap<Arc<str>, usize>,
    by_thrift: FxHashMap<Arc<str>, usize>,
}

/// A method of a schema, as a stream of one side calls it.
#[derive(Clone, Copy, Debug)]
pub struct Method<'a> {
    service: &'a ServicePair,
    method: &'a MethodPair,
    /// The form of the caller's messages.
    from: Form,
}

/// How one direction of a stream is translated.
#[derive(Clone, Debug)]
pub struct Translation {
    /// The plan.
    pub plan: Arc<Plan>,
    /// The pair of messages, an index into the plan.
    pub message: usize,
    /// Which way.
    pub direction: Direction,
}

impl Form {
    /// Its name in texts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Protobuf => "protobuf",
            Self::Thrift => "thrift",
        }
    }
}

impl Schema {
    /// Makes a schema of what was paired. `digest` is a number of everything that it was made of.
    #[must_use]
    pub fn new(name: &str, digest: u64, pairing: &Pairing, options: Options) -> Self {
        Self {
            name: name.into(),
            digest,
            plan: Arc::new(Plan::new(pairing, options)),
            services: pairing.services.iter().map(Service::new).collect(),
        }
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The method that a caller names in its own words. A TTHeader caller may leave its service
    /// out; then the method's name must belong to one service only.
    ///
    /// # Errors
    /// Why a stream to it cannot be translated, for the caller.
    pub fn find(&self, from: Form, service: &str, method: &str) -> Result<Method<'_>, String> {
        let of = self.name();
        let named: Vec<&Service> = self
            .services
            .iter()
            .filter(|s| s.is(from, service))
            .collect();
        if named.is_empty() {
            let form = from.name();
            let known: Vec<&str> = self.services.iter().map(|s| s.name(from)).collect();
            let known = known.join(", ");
            return Err(format!(
                "schema {of} has no {form} service {service:?}; it has {known}"
            ));
        }
        let mut found = named.iter().filter_map(|s| {
            let method = s.method(from, method)?;
            let service = &s.pair;
            Some(Method {
                service,
                method,
                from,
            })
        });
        match (found.next(), found.next()) {
            (Some(one), None) => one.checked(of),
            (Some(_), Some(_)) => Err(format!(
                "method {method:?} is in more than one service of schema {of}, and the caller names none"
            )),
            (None, _) => {
                let service = named.first().map_or(service, |s| s.name(from));
                Err(format!(
                    "schema {of} does not pair method {method:?} of service {service}"
                ))
            }
        }
    }

    /// How the messages of a method are translated: the caller's, then the callee's.
    #[must_use]
    pub fn translations(&self, method: &Method<'_>) -> [Translation; 2] {
        let there = match method.from {
            Form::Protobuf => Direction::ToThrift,
            Form::Thrift => Direction::ToProtobuf,
        };
        let back = match method.from {
            Form::Protobuf => Direction::ToProtobuf,
            Form::Thrift => Direction::ToThrift,
        };
        let request = method.method.request;
        let response = method.method.response.unwrap_or(request);
        [(request, there), (response, back)].map(|(message, direction)| Translation {
            plan: Arc::clone(&self.plan),
            message,
            direction,
        })
    }
}

impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.digest == other.digest
    }
}

impl Service {
    fn new(pair: &ServicePair) -> Self {
        let names = |of: fn(&MethodPair) -> &Arc<str>| {
            let methods = pair.methods.iter().enumerate();
            methods
                .map(|(at, method)| (Arc::clone(of(method)), at))
                .collect()
        };
        Self {
            by_protobuf: names(|method| &method.protobuf),
            by_thrift: names(|method| &method.thrift),
            pair: pair.clone(),
        }
    }

    fn name(&self, form: Form) -> &str {
        match form {
            Form::Protobuf => &self.pair.protobuf,
            Form::Thrift => &self.pair.thrift,
        }
    }

    /// Whether a caller of this form means it. Kitex writes a thrift service with its namespace
    /// before it on gRPC, and may write none on TTHeader.
    fn is(&self, form: Form, name: &str) -> bool {
        match form {
            Form::Protobuf => *self.pair.protobuf == *name,
            Form::Thrift => {
                let own = self.pair.thrift.rsplit('.').next().unwrap_or_default();
                let last = name.rsplit('.').next().unwrap_or_default();
                name.is_empty() || name == GENERIC || last == own
            }
        }
    }

    fn method(&self, form: Form, name: &str) -> Option<&MethodPair> {
        let by = match form {
            Form::Protobuf => &self.by_protobuf,
            Form::Thrift => &self.by_thrift,
        };
        self.pair.methods.get(*by.get(name)?)
    }
}

/// The service's name of Kitex' generic clients, which know none.
const GENERIC: &str = "$GenericService";

impl<'a> Method<'a> {
    /// The names by which the callee knows it: service and method.
    #[must_use]
    pub fn names(&self) -> (&'a str, &'a str) {
        match self.from {
            Form::Protobuf => {
                let service = self.service.thrift.rsplit('.').next();
                (service.unwrap_or_default(), &self.method.thrift)
            }
            Form::Thrift => (&self.service.protobuf, &self.method.protobuf),
        }
    }

    /// Only methods that stream in the thrift IDL are carried by streams.
    fn checked(self, schema: &str) -> Result<Self, String> {
        match self.method.kind {
            MethodKind::Stream { .. } if self.method.response.is_some() => Ok(self),
            MethodKind::Stream { .. } | MethodKind::Call => {
                let (service, method) = (&self.service.thrift, &self.method.thrift);
                Err(format!(
                    "{service}.{method} is a ping-pong call in the thrift IDL of schema {schema}, and this \
                     is a stream: give the function a streaming.mode, in the callee too; ripcord does not \
                     translate calls yet"
                ))
            }
        }
    }
}
