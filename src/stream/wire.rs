//! What the rest of the crate knows of a wire: its name and its abilities. No wire is named here.
//! Each describes itself in its own folder, and `crate::wire` lists them.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};

use crate::stream::{Payload, PayloadNaming};

/// A wire's description of itself. Two are equal when their names are.
#[derive(Debug)]
pub struct Wire {
    /// Its name in the configuration, in labels, logs and attributes. Lower case and unique.
    pub name: &'static str,
    /// What its peers speak, for texts: `HTTP/2`.
    pub spoken: &'static str,
    /// Whether it can carry a message whose compressed flag is set.
    pub takes_compressed: bool,
    /// Whether it can write a malformed field of metadata as it came.
    pub verbatim: bool,
    /// The metadata key by which its callers list the compressions that they accept.
    pub accept_encoding: Option<&'static str>,
    /// Whether its callees look at a payload's kind. Kitex on TTHeader does not: it reads whatever
    /// comes as thrift.
    pub callees_tell_kinds: bool,
    /// Whether the callee's answer begins with a head, before its first message.
    pub heads: bool,
    /// Whether its callees send a head before every end, also before one that comes at once. If not,
    /// its callers see whether an end came without a head.
    pub head_before_end: bool,
    /// Whether a caller's connection can say that it takes no new streams, so that the caller opens
    /// them on another one and none is refused.
    pub says_leaving: bool,
    /// The format of the trace context that its peers read.
    pub propagation: Propagation,
    /// The name of a payload's kind on this wire, for texts.
    pub payload_text: fn(&Payload, PayloadNaming) -> Cow<'static, str>,
    /// The numbers by which its callers receive ends; `None` where it has none.
    pub codes: Option<Codes>,
    /// `rpc.system` of its spans (OpenTelemetry semantic conventions, RPC).
    pub rpc_system: &'static str,
    /// `network.protocol.name` of its spans.
    pub protocol_name: &'static str,
    /// `network.protocol.version` of its spans.
    pub protocol_version: Option<&'static str>,
    /// The kinds for which its callers are counted (label of `ripcord_violations_total`).
    pub caller_violations: &'static [&'static str],
    /// The kinds for which its callees are counted.
    pub callee_violations: &'static [&'static str],
}

/// How trace context is written for the peers of a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// For gRPC's peers: plain metadata, and the same as `rpc-transit-*` for Kitex's suite.
    Plain,
    /// For TTHeader's peers: transit metainfo only, as Kitex's suite reads it.
    Transit,
}

/// What a wire's numbers ([`NativeCode`](crate::stream::NativeCode)) are called.
#[derive(Clone, Copy, Debug)]
pub struct Codes {
    /// Their key in the access log.
    pub log_key: &'static str,
    /// Their attribute on spans.
    pub attribute: &'static str,
    /// Whether they are the codes of [`Status`](crate::stream::Status). An end with a status then
    /// gives the number by itself.
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
