//! `listeners` and `admin`: where callers connect to.
//!
//! Owns the keys and their defaults. Opens nothing (`crate::listen` does).

use std::fmt;
use std::net::SocketAddr;

use super::Admin;
use super::backend::{self, Keepalive};
use super::limits::{self, Limits};
use super::protocol::Protocol;
use super::walk::{NodeRef, Walk};

pub(super) const KEYS: &[&str] = &[
    "name",
    "address",
    "protocol",
    "carried",
    "original_destination",
    "keepalive",
    "limits",
];
pub(super) const ADMIN_KEYS: &[&str] = &["address"];

/// Which wires a listener's callers may speak.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ListenerProtocol {
    /// Any, told by the first bytes of each connection.
    #[default]
    Auto,
    /// This one.
    Only(Protocol),
}

/// As in the file.
impl fmt::Debug for ListenerProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Only(protocol) => protocol.fmt(f),
        }
    }
}

/// What becomes of the fields that only ripcord understands: those that come with a caller's
/// request, and those that it would be told with heads and ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Carried {
    /// Believed, if they agree with what stands beside them, and written.
    #[default]
    Keep,
    /// Removed unread, and not written: for callers that are not trusted.
    Strip,
}

/// A place where callers connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name in logs and metrics; unique (needed).
    pub name: String,
    /// Where it listens (needed); port 0 picks a free one.
    pub address: SocketAddr,
    /// Which wire its callers speak (default `auto`).
    pub protocol: ListenerProtocol,
    /// Whether ripcord's own fields are believed (default `keep`).
    pub carried: Carried,
    /// Whether the kernel redirects its callers' connections here (iptables REDIRECT): then where each
    /// was going is asked for, routes may match it and backends dial it (default `off`).
    pub original_destination: bool,
    /// How a vanished caller is noticed; same keys and defaults as a backend's.
    pub keepalive: Keepalive,
    /// Its bounds: the top-level ones, with what it overrides.
    pub limits: Limits,
}

/// Reads one listener. `None` when it has no usable address.
pub(super) fn read(walk: &mut Walk, at: &NodeRef<'_>, base: &Limits) -> Option<Listener> {
    let s = walk.section(at, KEYS)?;
    let name = walk.required(&s, "name", "a name for logs and metrics", |w, at| {
        w.label(at, 128)
    });
    let address = walk.required(&s, "address", "ip:port", |w, at| w.address(at).map(Some));
    let protocol = walk.optional(&s, "protocol", ListenerProtocol::default(), |w, at| {
        Protocol::read(
            w,
            at,
            &[("auto", ListenerProtocol::Auto)],
            ListenerProtocol::Only,
        )
    });
    let carried = walk.optional(&s, "carried", Carried::default(), |w, at| {
        let words = [("keep", Carried::Keep), ("strip", Carried::Strip)];
        w.choice(at, "carried", &words)
    });
    let original_destination = walk.optional(&s, "original_destination", false, Walk::switch);
    let keepalive = walk.optional(&s, "keepalive", Keepalive::default(), backend::keepalive);
    let limits = walk.optional(&s, "limits", base.clone(), |w, at| {
        limits::read(w, at, base, false)
    });
    Some(Listener {
        name,
        address: address?,
        protocol,
        carried,
        original_destination,
        keepalive,
        limits,
    })
}

/// Reads `admin`.
pub(super) fn read_admin(walk: &mut Walk, at: &NodeRef<'_>) -> Option<Admin> {
    let s = walk.section(at, ADMIN_KEYS)?;
    let address = walk.required(&s, "address", "ip:port", |w, at| w.address(at).map(Some));
    Some(Admin { address: address? })
}
