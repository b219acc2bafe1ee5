//! `listeners` and `admin`: the addresses to which callers connect.
//!
//! Here are the keys and their defaults. `crate::listen` opens the sockets.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use super::Admin;
use super::backend::{self, Keepalive};
use super::cancel_as::{self, CancelAs};
use super::limits::{self, Limits};
use super::protocol::Protocol;
use super::walk::{NodeRef, Walk};

pub(super) const KEYS: &[&str] = &[
    "name",
    "address",
    "protocol",
    "carried",
    "cancel_as",
    "original_destination",
    "goaway",
    "keepalive",
    "max_head",
    "limits",
];
pub(super) const ADMIN_KEYS: &[&str] = &["address"];

/// `max_head` of a listener without it: 8 KiB, the least that a gRPC library takes, and some room.
pub const DEFAULT_MAX_HEAD: usize = 8 * 1024 - 256;

/// What `max_head` may be. A status with its text needs the least. The most is what ripcord reads
/// of a callee's head.
const MAX_HEADS: RangeInclusive<usize> = 1024..=256 * 1024;

/// Which wires a listener's callers may speak.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ListenerProtocol {
    /// Any wire. The first bytes of each connection show which.
    #[default]
    Auto,
    /// Only this wire.
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

/// What happens to the fields that only ripcord understands: those in a caller's request, and those
/// that the caller would receive with heads and ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Carried {
    /// Believed if they agree with the fields beside them, and written.
    #[default]
    Keep,
    /// Removed unread, and not written. For callers that are not trusted.
    Strip,
}

/// An address to which callers connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name in logs and metrics; unique (required).
    pub name: String,
    /// The address on which it listens (required). Port 0 picks a free port.
    pub address: SocketAddr,
    /// Which wire its callers speak (default `auto`).
    pub protocol: ListenerProtocol,
    /// Whether ripcord's own fields are believed (default `keep`).
    pub carried: Carried,
    /// In which form its TTHeader callers take a cancel (default `rst`).
    pub cancel_as: CancelAs,
    /// Whether the kernel redirects its callers' connections here by iptables REDIRECT (default
    /// `off`). If so, the kernel is asked where each connection was going. Routes may match that
    /// address, and backends dial it.
    pub original_destination: bool,
    /// Whether a callee's GOAWAY is passed on (default `off`).
    pub goaway: PassGoAway,
    /// How a vanished caller is noticed. The keys and defaults are a backend's.
    pub keepalive: Keepalive,
    /// The most bytes of a head or an end toward a gRPC caller (default 7936). As HTTP/2 counts
    /// them: names, values and 32 for each field. What is longer is cut.
    pub max_head: usize,
    /// Its bounds: the top-level ones with its own changes.
    pub limits: Limits,
}

/// What a listener's callers learn of a callee's GOAWAY.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PassGoAway {
    /// Nothing. New streams take a new connection to the callee, and open ones go on.
    #[default]
    Off,
    /// A caller's connection receives GOAWAY as well, as soon as all its open streams sit behind
    /// connections that received one. Only where the caller's wire has a GOAWAY.
    Pass,
}

/// Reads one listener; `None` when it has no usable address.
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
    let only = match protocol {
        ListenerProtocol::Auto => None,
        ListenerProtocol::Only(protocol) => Some(protocol),
    };
    let cancel_as = walk.optional(&s, "cancel_as", CancelAs::Rst, |w, at| {
        cancel_as::read(w, at, only, false)
    });
    let original_destination = walk.optional(&s, "original_destination", false, Walk::switch);
    let goaway = walk.optional(&s, "goaway", PassGoAway::default(), |w, at| {
        let words = [("off", PassGoAway::Off), ("pass", PassGoAway::Pass)];
        w.choice(at, "goaway", &words)
    });
    let keepalive = walk.optional(&s, "keepalive", Keepalive::default(), backend::keepalive);
    let max_head = walk.optional(&s, "max_head", DEFAULT_MAX_HEAD, |w, at| {
        w.size(at, MAX_HEADS)
    });
    let limits = walk.optional(&s, "limits", base.clone(), |w, at| {
        limits::read(w, at, base, false)
    });
    Some(Listener {
        name,
        address: address?,
        protocol,
        carried,
        cancel_as,
        original_destination,
        goaway,
        keepalive,
        max_head,
        limits,
    })
}

/// Reads `admin`.
pub(super) fn read_admin(walk: &mut Walk, at: &NodeRef<'_>) -> Option<Admin> {
    let s = walk.section(at, ADMIN_KEYS)?;
    let address = walk.required(&s, "address", "ip:port", |w, at| w.address(at).map(Some));
    Some(Admin { address: address? })
}
