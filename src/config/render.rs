//! Writes a configuration back: the file's keys, each with its value.
//!
//! It is the one rendering behind the admin page `/config`, as JSON and as YAML. Every key is
//! there, defaults included, in the order of `config/reference.yaml`. A key that is not set and has
//! no default (`service`, `match.to`, `otlp`, ...) is left out. Values have the forms of the file:
//! durations `30s`, sizes `64KiB`, switches `on` and `off`. Secrets are [`HIDDEN`].
//!
//! Each struct is taken apart by name here, so a new key does not compile until it is rendered.

mod schema;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::tree::Tree;
use super::units::{format_duration, format_size};
use super::{
    AccessLog, Admin, AssumedPayload, Backend, Backoff, Carried, Config, Connections, Drain, Hop,
    Keepalive, Limits, Listener, ListenerProtocol, Log, LogFormat, Match, Otlp, OtlpProtocol,
    PassGoAway, Pattern, PayloadKind, Ping, ResetBudget, Rewrite, Route, Target, TcpKeepalive,
    Telemetry, Timeouts, Validate,
};

/// The text in place of a secret. It loads like any other text.
pub const HIDDEN: &str = "(hidden)";

/// As JSON: objects, lists, text and numbers.
#[must_use]
pub fn json(config: &Config) -> Value {
    tree(config).to_json()
}

/// As YAML. [`super::parse`] makes an equal configuration of it, except for secrets.
#[must_use]
pub fn yaml(config: &Config) -> String {
    tree(config).to_yaml()
}

/// A map under construction.
#[derive(Default)]
struct Keys(Vec<(String, Tree)>);

impl Keys {
    fn with(mut self, key: &str, value: Tree) -> Self {
        self.0.push((key.to_owned(), value));
        self
    }

    /// A key that may be left out.
    fn with_some(self, key: &str, value: Option<Tree>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    fn done(self) -> Tree {
        Tree::Map(self.0)
    }

    /// `None` when no key was written.
    fn unless_empty(self) -> Option<Tree> {
        (!self.0.is_empty()).then(|| self.done())
    }
}

fn text<T: ToString + ?Sized>(value: &T) -> Tree {
    Tree::Text(value.to_string())
}

fn duration(value: Duration) -> Tree {
    Tree::Text(format_duration(value))
}

fn duration_or_off(value: Option<Duration>) -> Tree {
    value.map_or_else(off, duration)
}

fn off() -> Tree {
    text("off")
}

fn switch(value: bool) -> Tree {
    text(if value { "on" } else { "off" })
}

fn size(value: usize) -> Tree {
    Tree::Text(format_size(value as u64))
}

fn list<T>(items: &[T], one: impl Fn(&T) -> Tree) -> Tree {
    Tree::List(items.iter().map(one).collect())
}

fn map<T>(items: &BTreeMap<String, T>, one: impl Fn(&T) -> Tree) -> Tree {
    let pairs = items.iter().map(|(name, item)| (name.clone(), one(item)));
    Tree::Map(pairs.collect())
}

fn map_unless_empty<T>(items: &BTreeMap<String, T>, one: impl Fn(&T) -> Tree) -> Option<Tree> {
    (!items.is_empty()).then(|| map(items, one))
}

fn tree(config: &Config) -> Tree {
    let Config {
        node,
        workers,
        admin,
        listeners,
        backends,
        schemas,
        routes,
        limits,
        drain,
        telemetry,
    } = config;
    Keys::default()
        .with("node", text(node))
        .with("workers", Tree::Count(*workers))
        .with_some("admin", admin.as_ref().map(admin_keys))
        .with("listeners", list(listeners, listener))
        .with("backends", map(backends, backend))
        .with_some("schemas", map_unless_empty(schemas, schema::keys))
        .with("routes", list(routes, route))
        .with("limits", limit_keys(limits, true))
        .with("drain", drain_keys(drain))
        .with("telemetry", telemetry_keys(telemetry))
        .done()
}

fn admin_keys(admin: &Admin) -> Tree {
    let Admin { address } = admin;
    Keys::default().with("address", text(address)).done()
}

fn listener(listener: &Listener) -> Tree {
    let Listener {
        name,
        address,
        protocol,
        carried,
        cancel_as,
        original_destination,
        goaway,
        keepalive,
        max_head,
        limits,
    } = listener;
    Keys::default()
        .with("name", text(name))
        .with("address", text(address))
        .with(
            "protocol",
            match protocol {
                ListenerProtocol::Auto => text("auto"),
                ListenerProtocol::Only(protocol) => text(protocol.name()),
            },
        )
        .with(
            "carried",
            match carried {
                Carried::Keep => text("keep"),
                Carried::Strip => text("strip"),
            },
        )
        .with("cancel_as", text(cancel_as.word()))
        .with("original_destination", switch(*original_destination))
        .with("goaway", text(goaway_word(*goaway)))
        .with("keepalive", keepalive_keys(keepalive))
        .with("max_head", size(*max_head))
        .with("limits", limit_keys(limits, false))
        .done()
}

fn goaway_word(goaway: PassGoAway) -> &'static str {
    match goaway {
        PassGoAway::Off => "off",
        PassGoAway::Pass => "pass",
    }
}

fn keepalive_keys(keepalive: &Keepalive) -> Tree {
    let Keepalive {
        tcp,
        user_timeout,
        http2,
    } = keepalive;
    let tcp = tcp.as_ref().map(|tcp| {
        let TcpKeepalive {
            idle,
            interval,
            count,
        } = tcp;
        Keys::default()
            .with("idle", duration(*idle))
            .with("interval", duration(*interval))
            .with("count", Tree::Count(*count))
            .done()
    });
    let http2 = http2.as_ref().map(|ping| {
        let Ping {
            interval,
            timeout,
            without_streams,
        } = ping;
        Keys::default()
            .with("interval", duration(*interval))
            .with("timeout", duration(*timeout))
            .with("without_streams", switch(*without_streams))
            .done()
    });
    Keys::default()
        .with("tcp", tcp.unwrap_or_else(off))
        .with("user_timeout", duration_or_off(*user_timeout))
        .with("http2", http2.unwrap_or_else(off))
        .done()
}

/// `process_buffer` and `retry_buffer` are keys of the top-level limits only.
fn limit_keys(limits: &Limits, top: bool) -> Tree {
    let Limits {
        max_message,
        stream_buffer,
        connection_buffer,
        process_buffer,
        retry_buffer,
        max_streams_per_connection,
        max_connections,
        max_resets,
        metadata_size,
        slow_receiver_timeout,
        cancel_grace,
        handshake_timeout,
    } = limits;
    Keys::default()
        .with("max_message", size(*max_message))
        .with("stream_buffer", size(*stream_buffer))
        .with("connection_buffer", size(*connection_buffer))
        .with_some("process_buffer", top.then(|| size(*process_buffer)))
        .with_some("retry_buffer", top.then(|| size(*retry_buffer)))
        .with(
            "max_streams_per_connection",
            Tree::Count(*max_streams_per_connection),
        )
        .with("max_connections", Tree::Count(*max_connections))
        .with("max_resets", Tree::Count(*max_resets))
        .with("metadata_size", size(*metadata_size))
        .with("slow_receiver_timeout", duration(*slow_receiver_timeout))
        .with("cancel_grace", duration(*cancel_grace))
        .with("handshake_timeout", duration(*handshake_timeout))
        .done()
}

fn resets(budget: &ResetBudget) -> Tree {
    match budget {
        ResetBudget::Nghttp2 => text("nghttp2"),
        ResetBudget::Netty => text("netty"),
        ResetBudget::Unlimited => text("unlimited"),
        ResetBudget::Own {
            burst,
            per_second,
            early,
        } => Keys::default()
            .with("burst", Tree::Count(*burst))
            .with("per_second", Tree::Count(*per_second))
            .with("early", early.map_or_else(|| text("off"), Tree::Count))
            .done(),
    }
}

fn backend(backend: &Backend) -> Tree {
    let Backend {
        protocol,
        service,
        endpoints,
        payload,
        assume_payload,
        hop,
        connections,
        cancel_as,
        pool_size,
        max_connections,
        reset_budget,
        connect_timeout,
        keepalive,
        backoff,
        dns_refresh,
        trace_context,
    } = backend;
    let Backoff { initial, max } = backoff;
    let backoff = Keys::default()
        .with("initial", duration(*initial))
        .with("max", duration(*max));
    let dns = Keys::default().with("refresh", duration(*dns_refresh));
    Keys::default()
        .with("protocol", text(protocol.name()))
        .with_some("service", service.as_ref().map(text))
        .with(
            "endpoints",
            match endpoints.as_slice() {
                [Target::OriginalDestination] => text(&Target::OriginalDestination),
                targets => list(targets, text),
            },
        )
        .with(
            "payload",
            match payload {
                PayloadKind::Any => text("any"),
                PayloadKind::Thrift => text("thrift"),
                PayloadKind::Protobuf => text("protobuf"),
            },
        )
        .with("assume_payload", assumed(*assume_payload))
        .with(
            "hop",
            match hop {
                Hop::None => text("none"),
                Hop::Ripcord => text("ripcord"),
            },
        )
        .with(
            "connections",
            match connections {
                Connections::Shared => text("shared"),
                Connections::PerStream => text("per_stream"),
            },
        )
        .with("cancel_as", text(cancel_as.word()))
        .with("pool_size", Tree::Count(*pool_size))
        .with("max_connections", Tree::Count(*max_connections))
        .with("reset_budget", resets(reset_budget))
        .with("connect_timeout", duration(*connect_timeout))
        .with("keepalive", keepalive_keys(keepalive))
        .with("backoff", backoff.done())
        .with("dns", dns.done())
        .with("trace_context", list(&trace_context.words(), text))
        .done()
}

fn route(route: &Route) -> Tree {
    let Route {
        name,
        matching,
        backend,
        rewrite,
        timeouts,
        metadata_to_transit,
        assume_payload,
        validate,
        translate,
    } = route;
    Keys::default()
        .with("name", text(name))
        .with("match", match_keys(matching))
        .with("backend", text(backend))
        .with_some("rewrite", rewrite_keys(rewrite))
        .with("timeouts", timeout_keys(timeouts))
        .with_some(
            "metadata_to_transit",
            map_unless_empty(metadata_to_transit, text),
        )
        .with("assume_payload", assumed(*assume_payload))
        .with(
            "validate",
            match validate {
                Validate::Off => off(),
                Validate::Thrift => text("thrift"),
            },
        )
        .with_some("translate", translate.as_ref().map(text))
        .done()
}

fn assumed(payload: AssumedPayload) -> Tree {
    match payload {
        AssumedPayload::Protobuf => text("protobuf"),
        AssumedPayload::Thrift => text("thrift"),
    }
}

fn match_keys(matching: &Match) -> Tree {
    let Match {
        service,
        method,
        to,
        caller,
        metadata,
        destination,
    } = matching;
    Keys::default()
        .with("service", text(service.as_deref().unwrap_or("*")))
        .with_some("method", method.as_ref().map(pattern))
        .with_some("to", to.as_ref().map(pattern))
        .with_some("caller", caller.as_ref().map(pattern))
        .with_some("metadata", map_unless_empty(metadata, pattern))
        .with_some("destination", destination.as_ref().map(text))
        .done()
}

fn pattern(pattern: &Pattern) -> Tree {
    match pattern {
        Pattern::Any => text("*"),
        Pattern::Exact(exact) => text(exact),
        Pattern::Prefix(prefix) => Tree::Text(format!("{prefix}*")),
    }
}

fn rewrite_keys(rewrite: &Rewrite) -> Option<Tree> {
    let Rewrite {
        service,
        method,
        to,
    } = rewrite;
    Keys::default()
        .with_some("service", service.as_ref().map(text))
        .with_some("method", method.as_ref().map(text))
        .with_some("to", to.as_ref().map(text))
        .unless_empty()
}

fn timeout_keys(timeouts: &Timeouts) -> Tree {
    let Timeouts {
        stream,
        idle,
        first_response,
    } = timeouts;
    Keys::default()
        .with("stream", duration_or_off(*stream))
        .with("idle", duration_or_off(*idle))
        .with("first_response", duration_or_off(*first_response))
        .done()
}

fn drain_keys(drain: &Drain) -> Tree {
    let Drain { timeout } = drain;
    Keys::default().with("timeout", duration(*timeout)).done()
}

fn telemetry_keys(telemetry: &Telemetry) -> Tree {
    let Telemetry {
        otlp,
        sampling,
        metrics,
        access_log,
        log,
    } = telemetry;
    let Log { level, format } = log;
    let log = Keys::default().with("level", text(level.name())).with(
        "format",
        match format {
            LogFormat::Text => text("text"),
            LogFormat::Json => text("json"),
        },
    );
    Keys::default()
        .with_some("otlp", otlp.as_ref().map(otlp_keys))
        .with("sampling", Tree::Ratio(*sampling))
        .with("metrics", switch(*metrics))
        .with(
            "access_log",
            match access_log {
                AccessLog::Off => off(),
                AccessLog::Stdout => text("stdout"),
                AccessLog::Stderr => text("stderr"),
                AccessLog::File(path) => text(&path.display()),
            },
        )
        .with("log", log.done())
        .done()
}

fn otlp_keys(otlp: &Otlp) -> Tree {
    let Otlp {
        endpoint,
        protocol,
        headers,
        timeout,
    } = otlp;
    Keys::default()
        .with("endpoint", text(endpoint))
        .with(
            "protocol",
            match protocol {
                OtlpProtocol::Grpc => text("grpc"),
                OtlpProtocol::Http => text("http"),
            },
        )
        .with_some("headers", map_unless_empty(headers, |_| text(HIDDEN)))
        .with("timeout", duration(*timeout))
        .done()
}

#[cfg(test)]
mod tests;
