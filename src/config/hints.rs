//! Hints: what people try although it does not exist, and what to do instead.
//!
//! Here are the texts. Knows nothing of places.

/// Top-level keys with this prefix belong to the user, as in docker compose.
pub(super) const FREE: &str = "x-";

/// YAML 1.1's key that merges maps.
pub(super) const MERGE: &str = "<<";

const NO_TLS: &str = "TLS is not supported yet; keep plain TCP on the loopback or pod network, or put a proxy that terminates TLS beside ripcord";

/// The hint for a key that no section has.
pub(super) fn key(key: &str) -> Option<String> {
    match key {
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

/// The hint for an endpoint that cannot be read.
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

/// The hint for a line that is not YAML, by the parser's error.
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
    error
        .contains("unexpected character")
        .then_some("quote a value that begins with it")
}
