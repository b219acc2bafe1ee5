//! What the rest knows of a wire: its name and what it can do. Names no wire: each describes itself
//! in its own folder, and `crate::wire` lists them.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};

use crate::stream::{Payload, PayloadNaming};

/// A wire, described by itself. Two are the same when their names are.
#[derive(Debug)]
pub struct Wire {
    /// In the configuration, in labels, logs and attributes. Lower case, unique.
    pub name: &'static str,
    /// What its peers speak, in the words of people: `HTTP/2`.
    pub spoken: &'static str,
    /// Whether a message whose compressed flag is set can be written on it.
    pub takes_compressed: bool,
    /// The metadata key by which its callers say which compressions they take.
    pub accept_encoding: Option<&'static str>,
    /// Whether its callees look at a payload's kind. Kitex on TTHeader does not: it reads whatever
    /// comes as thrift.
    pub callees_tell_kinds: bool,
    /// Whether the callee's answer begins with a head, before its first message.
    pub heads: bool,
    /// The format of the trace context that its peers read.
    pub propagation: Propagation,
    /// What stands for the kind of a payload on it, in texts for people.
    pub payload_text: fn(&Payload, PayloadNaming) -> Cow<'static, str>,
    /// The numbers by which its callers are told ends; `None` where it has none.
    pub codes: Option<Codes>,
    /// `rpc.system` of its spans (OpenTelemetry semantic conventions, RPC).
    pub rpc_system: &'static str,
    /// `network.protocol.name` of its spans.
    pub protocol_name: &'static str,
    /// `network.protocol.version` of its spans.
    pub protocol_version: Option<&'static str>,
    /// What callers are counted for on its connections, by label (`ripcord_violations_total`).
    pub caller_violations: &'static [&'static str],
    /// What callees are counted for.
    pub callee_violations: &'static [&'static str],
}

/// How trace context is written for the peers of a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Plain metadata, and the same as `rpc-transit-*` for Kitex's suite: gRPC's peers.
    Plain,
    /// Transit metainfo only: Kitex's suite on TTHeader.
    Transit,
}

/// How a wire's numbers are called ([`NativeCode`](crate::stream::NativeCode)).
#[derive(Clone, Copy, Debug)]
pub struct Codes {
    /// Their key in the access log.
    pub log_key: &'static str,
    /// Their attribute on spans.
    pub attribute: &'static str,
    /// Whether they are the statuses of [`Status`](crate::stream::Status), so that an end that has
    /// one says the number by itself.
    pub statuses: bool,
}

impl PartialEq for Wire {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Wire {}

impl Hash for Wire {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
