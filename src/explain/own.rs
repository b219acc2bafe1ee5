//! The texts of this project's own ends, where they stand in what somebody pasted: behind Kitex's
//! print, behind a gRPC library's, and behind the name of the node that wrote them.

use crate::stream::LocalEndKind;

/// The end that a text is of, and the node that says so if it is named.
pub(super) struct Own<'t> {
    pub(super) kind: LocalEndKind,
    pub(super) node: Option<&'t str>,
}

/// Finds the text of an own end.
pub(super) fn find(text: &str) -> Option<Own<'_>> {
    let (kind, at) = kind(text)?;
    let before = text.get(..at)?;
    let said = before
        .rsplit_once("desc = ")
        .or_else(|| before.rsplit_once("] "))
        .map_or(before, |(_, said)| said);
    let node = said.strip_suffix(": ").filter(|name| {
        let is_of_a_name = |c: char| !c.is_whitespace() && !"=:\"'[](){},".contains(c);
        !name.is_empty() && name.chars().all(is_of_a_name)
    });
    Some(Own { kind, node })
}

/// The kind, and where its text begins.
fn kind(text: &str) -> Option<(LocalEndKind, usize)> {
    let backend = |mark: &str| {
        let mark = text.find(mark)?;
        // What takes or cannot be reached stands before: a backend or a route, and its name.
        let before = text.get(..mark)?;
        let at = before
            .rfind("backend ")
            .or_else(|| before.rfind("route "))?;
        let name = before.get(at..)?.split_once(' ')?.1;
        (!name.is_empty() && !name.contains(' ')).then_some(at)
    };
    let lasts = |mark: &str| {
        let at = text.find(mark)?;
        let time = text.get(at + mark.len()..)?;
        time.starts_with(|c: char| c.is_ascii_digit()).then_some(at)
    };
    let plain = |mark: &str| text.find(mark);
    let mismatch = || backend(" takes thrift").or_else(|| backend(" takes protobuf"));
    plain("no route for service")
        .map(|at| (LocalEndKind::NoRoute, at))
        .or_else(|| mismatch().map(|at| (LocalEndKind::PayloadMismatch, at)))
        .or_else(|| backend(" cannot be reached").map(|at| (LocalEndKind::Unreachable, at)))
        .or_else(|| {
            let at = lasts("no response from the callee within ")?;
            Some((LocalEndKind::FirstResponse, at))
        })
        .or_else(|| lasts("no message for ").map(|at| (LocalEndKind::Idle, at)))
        .or_else(|| plain("the proxy is shutting down").map(|at| (LocalEndKind::DrainOver, at)))
}
