//! Hints: what people try although it does not exist, and what to do instead.
//!
//! Here are the texts. Knows nothing of places.

use super::fault::shown;

/// Top-level keys that begin so belong to the user, as in docker compose.
pub(super) const FREE: &str = "x-";

/// YAML 1.1's key that merges maps.
pub(super) const MERGE: &str = "<<";

const NO_TLS: &str = "TLS is not supported yet; keep plain TCP on the loopback or pod network, or put a proxy that terminates TLS beside ripcord";

/// For a key that its section does not have; `section` is the section's path, empty at the top.
pub(super) fn key(section: &str, key: &str) -> Option<String> {
    let (top, matching) = (section.is_empty(), section.ends_with(".match"));
    match key {
        "log" | "access_log" | "metrics" | "otlp" | "sampling" if top => Some(format!(
            "belongs to telemetry; write telemetry: {{ {key}: ... }}"
        )),
        "path" | "prefix" | "uri" | "url" if matching => Some(MATCH.to_owned()),
        "retry" | "retries" | "retry_policy" => {
            Some(
                "retry policies are not supported yet: ripcord opens a stream again only when no callee has looked \
                 at it (limits.retry_buffer)"
                    .to_owned(),
            )
        }
        "load_balancer" | "load_balancing" | "lb_policy" | "balancer" => Some(
            "load balancers are not supported yet: endpoints are taken in turn (round robin)"
                .to_owned(),
        ),
        "health_check" | "health_checks" => Some(
            "health checks are not supported yet: an endpoint that fails is left alone for a \
             while (backoff)"
                .to_owned(),
        ),
        "tls" | "mtls" | "ssl" => Some(NO_TLS.to_owned()),
        MERGE => Some(
            "merge keys (<<) are not supported; allowed: give a whole map an anchor (&name) and \
             write *name where it is needed again, or repeat its keys"
                .to_owned(),
        ),
        _ if key.starts_with(FREE) => Some(
            "keys that begin with x- are ignored at the top level only; move it there".to_owned(),
        ),
        _ => None,
    }
}

/// For `$NAME` in a value that cannot be read: the value with `${NAME}`.
pub(super) fn variable(text: &str) -> Option<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (mut out, mut rest, mut found) = (String::new(), text, false);
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        out.push('$');
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let end = after.find(|c| !word(c)).unwrap_or(after.len());
        let (name, behind) = after.split_at_checked(end)?;
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            out.push_str(name);
        } else {
            found = true;
            out.push_str(&format!("{{{name}}}"));
        }
        rest = behind;
    }
    out.push_str(rest);
    found.then(|| format!("write {}", shown(&out)))
}

/// For an address to listen on that has a port and no IP address.
pub(super) fn address(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let port: u16 = port.parse().ok()?;
    let name = |c: char| c.is_ascii_alphanumeric() || "*.-_".contains(c);
    let numeric = !host.is_empty() && host.chars().all(|c| c.is_ascii_digit() || c == '.');
    (!numeric && host.chars().all(name)).then(|| {
        format!(
            "an IP address is needed: 127.0.0.1:{port} for this machine only, or 0.0.0.0:{port}"
        )
    })
}

/// Words that are no protocol of the file, and what to write.
pub(super) const PROTOCOLS: [(&str, &str); 8] = [
    ("thrift", KITEX),
    ("kitex", KITEX),
    ("ttstream", KITEX),
    ("http2", HTTP2),
    ("h2c", HTTP2),
    ("h2", HTTP2),
    ("http", HTTP2),
    (
        "auto",
        "auto is for listeners only; write what the backend speaks",
    ),
];

const KITEX: &str = "Kitex streaming is ttheader";
const HTTP2: &str = "gRPC over HTTP/2 is grpc";

const MATCH: &str = "write service and method: match: { service: chat.v1.Chat, method: \"Get*\" }; \
                     a * at the end of a method makes it a prefix";

/// The forms of the sections that are easily written in another one.
pub(super) const LISTENERS: &str = "listeners: [{ name: in, address: 127.0.0.1:15001 }]";
pub(super) const BACKENDS: &str =
    "backends: { chat: { protocol: grpc, endpoints: [127.0.0.1:8888] } }";
pub(super) const SCHEMAS: &str =
    "schemas: { chat: { protobuf: { files: [chat.proto] }, thrift: { files: [chat.thrift] } } }";
pub(super) const PROTOBUF: &str = "protobuf: { files: [proto/chat.proto], include: [proto] }";
pub(super) const THRIFT: &str = "thrift: { files: [idl/chat.thrift] }";
pub(super) const SERVICES: &str = "services: { chat.v1.Chat: Chat }";
pub(super) const METHODS: &str = "methods: { chat.v1.Chat.Talk: talk }";
pub(super) const FIELDS: &str = "fields: { by: by_id, chat.v1.Line.text: 7 }";
pub(super) const ENUMS: &str = "enums: { by: by_number, chat.v1.Color: by_name }";
pub(super) const EXCEPTIONS: &str =
    "exceptions: { chat.v1.Gone: { thrift: Gone, code: NOT_FOUND } }";
pub(super) const ROUTES: &str = "routes: [{ name: all, backend: chat }]";
pub(super) const ENDPOINTS: &str = "endpoints: [127.0.0.1:8888, chat.svc:8888]";

/// For an endpoint that cannot be read.
pub(super) fn endpoint(text: &str) -> Option<String> {
    if let Some((scheme, _)) = text.split_once("://") {
        let tls = matches!(scheme, "https" | "grpcs" | "tls");
        let more = if tls { NO_TLS } else { "" };
        let joint = if tls { ". " } else { "" };
        return Some(format!(
            "write host:port only, without a scheme{joint}{more}"
        ));
    }
    text.contains([',', ' '])
        .then(|| "several endpoints are a list: [a:1, b:2]".to_owned())
}

/// The hint for a service that is written with its method, as in a gRPC path.
pub(super) fn service(text: &str) -> String {
    match text.trim_start_matches('/').rsplit_once('/') {
        Some((service, method)) if !service.is_empty() && !method.is_empty() => {
            format!("write service: {service}, method: {method}")
        }
        Some(_) | None => format!("write service: {}", text.trim_matches('/')),
    }
}

/// What the parser says of each tab in the wrong place.
pub(super) const TAB: &str = "tab";

/// For a line that is not YAML, by what the parser says of it.
pub(super) fn yaml(error: &str, line: &str) -> Option<&'static str> {
    if error.contains("anchor") {
        return Some("an unquoted * begins an alias; quote a star: \"*\"");
    }
    if error.contains("flow") && line.contains("${") {
        return Some("quote a value with a variable within { } and [ ]: \"${NAME}\"");
    }
    if error.contains("flow") && line.contains("]:") {
        return Some("quote an IPv6 address: \"[::1]:8888\"");
    }
    if error.contains("unexpected character") {
        return Some("quote a value that begins with it");
    }
    if error.contains("valid YAML whitespace") && line.contains('\t') {
        return Some("write a space behind the colon, not a tab");
    }
    if error.contains(TAB) {
        return Some("indent with spaces");
    }
    if error.contains("flow construct") {
        return Some("a [ or { before it is not closed, or its lines are not indented");
    }
    let misplaced = [
        "expected key",
        "'-' indicator",
        "invalid indentation",
        "simple key",
        "mapping values",
        "<document start>",
    ];
    misplaced
        .iter()
        .any(|part| error.contains(part))
        .then_some("check the indentation: keys of one map begin in the same column")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_without_braces_gets_them() {
        for (text, hint) in [
            ("$CHAT_ADDR", Some("write ${CHAT_ADDR}")),
            ("a$B:$C", Some("write a${B}:${C}")),
            ("$$A:$B", Some("write $$A:${B}")),
            ("$$A", None),
            ("${A}", None),
            ("$1", None),
            ("$", None),
            ("plain", None),
        ] {
            assert_eq!(variable(text).as_deref(), hint, "{text}");
        }
    }

    #[test]
    fn an_address_is_completed_with_the_port_that_was_written() {
        for (text, port) in [
            (":25001", Some("25001")),
            ("localhost:25001", Some("25001")),
            ("*:80", Some("80")),
            ("25001", Some("25001")),
            ("300.1.1.1:80", None),
            ("::1:80", None),
            ("localhost", None),
            (":x", None),
        ] {
            let meant = port.map(|port| {
                format!(
                    "an IP address is needed: 127.0.0.1:{port} for this machine only, or 0.0.0.0:{port}"
                )
            });
            assert_eq!(address(text), meant, "{text}");
        }
    }
}
