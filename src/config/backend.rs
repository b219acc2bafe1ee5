//! `backends`: where streams go, and how connections to them are made and kept.
//!
//! Here are the keys, their defaults and their ranges. `crate::backend` opens the connections.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::hints;
use super::limits::TIMEOUTS;
use super::protocol::Protocol;
use super::walk::{NodeRef, Walk};
use super::yaml::Kind;

pub(super) const KEYS: &[&str] = &[
    "protocol",
    "service",
    "endpoints",
    "payload",
    "assume_payload",
    "hop",
    "connections",
    "pool_size",
    "max_connections",
    "reset_budget",
    "connect_timeout",
    "keepalive",
    "backoff",
    "dns",
];

/// What payloads a backend accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PayloadKind {
    /// No kind is set: every payload is passed on.
    #[default]
    Any,
    /// Thrift structs. Protobuf is refused.
    Thrift,
    /// Protobuf. Thrift is refused.
    Protobuf,
}

/// What the payloads are when the content type names no kind: plain `application/grpc`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AssumedPayload {
    /// Protobuf, as gRPC libraries read it.
    #[default]
    Protobuf,
    /// Thrift structs, for gRPC libraries that can send no other content type.
    Thrift,
}

/// Reads `assume_payload`, of a backend or of a route.
pub(super) fn assume_payload(walk: &mut Walk, at: &NodeRef<'_>) -> Option<AssumedPayload> {
    let words = [
        ("protobuf", AssumedPayload::Protobuf),
        ("thrift", AssumedPayload::Thrift),
    ];
    walk.choice(at, "assume_payload", &words)
}

/// Whether a backend is another ripcord.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Hop {
    /// It is not: only plain gRPC or TTHeader is sent to it.
    #[default]
    None,
    /// It is. A cancel then carries its cause, text and exact path.
    Ripcord,
}

/// How streams share connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Connections {
    /// Many streams on each connection.
    #[default]
    Shared,
    /// One connection per stream.
    PerStream,
}

/// How many streams may be canceled on one connection before its callee would end it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ResetBudget {
    /// As nghttp2 tolerates: 900 at once, 29 more each second. Envoy's rule holds too.
    #[default]
    Nghttp2,
    /// As Netty tolerates: 180 in 30 s. Envoy's rule holds too.
    Netty,
    /// Any number.
    Unlimited,
    /// The callee's own figures.
    Own {
        /// At once.
        burst: usize,
        /// How many of them come back each second.
        per_second: usize,
        /// Of the first 500 streams, those that may be canceled young and without a response
        /// (default 225; `None` for any number).
        early: Option<usize>,
    },
}

const RESET_BUDGET_KEYS: &[&str] = &["burst", "per_second", "early"];

/// The default of `early`: half of 500, at which Envoy ends a connection, less 10 %.
const EARLY: usize = 225;

fn reset_budget(walk: &mut Walk, at: &NodeRef<'_>) -> Option<ResetBudget> {
    if let Kind::Scalar { .. } = &at.node.kind {
        let words = [
            ("nghttp2", ResetBudget::Nghttp2),
            ("netty", ResetBudget::Netty),
            ("unlimited", ResetBudget::Unlimited),
        ];
        return walk.choice(at, "reset_budget", &words);
    }
    let s = walk.section(at, RESET_BUDGET_KEYS)?;
    let number = |least| move |w: &mut Walk, at: &NodeRef<'_>| w.count(at, least..=1_000_000);
    Some(ResetBudget::Own {
        burst: walk.required(&s, "burst", "a number", number(1)),
        per_second: walk.required(&s, "per_second", "a number", number(0)),
        early: walk.optional(&s, "early", Some(EARLY), |w, at| match w.is_off(at) {
            true => Some(None),
            false => w.count(at, 1..=1_000_000).map(Some),
        }),
    })
}

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// An IP address with its port.
    Address(SocketAddr),
    /// A DNS name and a port. Every address of the name is an endpoint.
    Dns {
        /// The DNS name.
        name: String,
        /// The port of every address.
        port: u16,
    },
    /// Where the caller's connection was going before it was redirected to this hop.
    OriginalDestination,
}

/// The word in place of a list of endpoints.
const ORIGINAL_DESTINATION: &str = "original_destination";

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Dns { name, port } => write!(f, "{name}:{port}"),
            Self::OriginalDestination => f.write_str(ORIGINAL_DESTINATION),
        }
    }
}

/// A named set of endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// The wire that it speaks (required).
    pub protocol: Protocol,
    /// The callee's service name: int key 6 (to-service), `destination-service` (default: none).
    pub service: Option<String>,
    /// Its endpoints; at least one. [`Target::OriginalDestination`] stands alone.
    pub endpoints: Vec<Target>,
    /// What payloads it accepts (default `any`).
    pub payload: PayloadKind,
    /// What it takes plain `application/grpc` to be (default `protobuf`). gRPC only.
    pub assume_payload: AssumedPayload,
    /// Whether it is another ripcord (default `none`).
    pub hop: Hop,
    /// How streams share connections (default `shared`).
    pub connections: Connections,
    /// Shared connections per endpoint and worker (default 1).
    pub pool_size: usize,
    /// Connections per endpoint and worker that may be opened while the others have as many streams
    /// as the callee allows (default 8; never fewer than `pool_size`). Then streams wait.
    pub max_connections: usize,
    /// How many streams may be canceled on one connection to a gRPC endpoint (default `nghttp2`;
    /// `unlimited` toward another ripcord).
    pub reset_budget: ResetBudget,
    /// How long a connection may take to open (default 3 s, so that one lost SYN does no harm).
    pub connect_timeout: Duration,
    /// How a silent connection is found to be dead.
    pub keepalive: Keepalive,
    /// How long a failed endpoint is avoided.
    pub backoff: Backoff,
    /// Time between two lookups of the DNS names (default 10 s).
    pub dns_refresh: Duration,
}

pub(super) const KEEPALIVE_KEYS: &[&str] = &["tcp", "user_timeout", "http2"];
pub(super) const TCP_KEYS: &[&str] = &["idle", "interval", "count"];
pub(super) const PING_KEYS: &[&str] = &["interval", "timeout"];

/// How a silent connection is found to be dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Probes by the kernel, also for wires without a ping (default: on; `off` for none).
    pub tcp: Option<TcpKeepalive>,
    /// TCP_USER_TIMEOUT: how long sent data may stay unacknowledged (default 20 s; `off` for the
    /// kernel's own, about 15 minutes).
    pub user_timeout: Option<Duration>,
    /// HTTP/2 PING (default `off`). A gRPC server may answer pings more frequent than every 5
    /// minutes with GOAWAY `too_many_pings`. No effect on TTHeader, which has no ping.
    pub http2: Option<Ping>,
}

impl Backend {
    /// Whether it is dialed where each caller's connection was going.
    #[must_use]
    pub fn dials_original_destination(&self) -> bool {
        self.endpoints.contains(&Target::OriginalDestination)
    }
}

impl Default for Keepalive {
    fn default() -> Self {
        Self {
            tcp: Some(TcpKeepalive::default()),
            user_timeout: Some(Duration::from_secs(20)),
            http2: None,
        }
    }
}

/// TCP keepalive, by the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpKeepalive {
    /// Silence before the first probe (default 15 s; whole seconds).
    pub idle: Duration,
    /// Time between two probes (default 5 s; whole seconds).
    pub interval: Duration,
    /// Unanswered probes until the connection is dead (default 3).
    pub count: usize,
}

impl Default for TcpKeepalive {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(15),
            interval: Duration::from_secs(5),
            count: 3,
        }
    }
}

/// HTTP/2 PING frames of this hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Time between two pings, at least 1 s (required).
    pub interval: Duration,
    /// How long an answer may take (default 10 s).
    pub timeout: Duration,
}

pub(super) const BACKOFF_KEYS: &[&str] = &["initial", "max"];

/// How long a failed endpoint is avoided. The time doubles with each failure, and has jitter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The time after the first failure (default 100 ms).
    pub initial: Duration,
    /// The longest time (default 10 s).
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(100),
            max: Duration::from_secs(10),
        }
    }
}

pub(super) const DNS_KEYS: &[&str] = &["refresh"];

/// Reads one backend; `None` when it is not even a map.
pub(super) fn read(walk: &mut Walk, at: &NodeRef<'_>) -> Option<Backend> {
    let s = walk.section(at, KEYS)?;
    let mut backend = Backend {
        protocol: walk.required(&s, "protocol", Protocol::WORDS, |w, at| {
            Protocol::read(w, at, &[], |protocol| protocol)
        }),
        service: walk.optional(&s, "service", None, |w, at| w.label(at, 256).map(Some)),
        endpoints: walk.required(
            &s,
            "endpoints",
            "a list of ip:port or name:port, or original_destination",
            endpoints,
        ),
        payload: walk.optional(&s, "payload", PayloadKind::default(), |w, at| {
            let words = [
                ("any", PayloadKind::Any),
                ("thrift", PayloadKind::Thrift),
                ("protobuf", PayloadKind::Protobuf),
            ];
            w.choice(at, "payload", &words)
        }),
        assume_payload: walk.optional(
            &s,
            "assume_payload",
            AssumedPayload::default(),
            assume_payload,
        ),
        hop: walk.optional(&s, "hop", Hop::default(), |w, at| {
            w.choice(at, "hop", &[("none", Hop::None), ("ripcord", Hop::Ripcord)])
        }),
        connections: walk.optional(&s, "connections", Connections::default(), |w, at| {
            let words = [
                ("shared", Connections::Shared),
                ("per_stream", Connections::PerStream),
            ];
            w.choice(at, "connections", &words)
        }),
        pool_size: walk.optional(&s, "pool_size", 1, |w, at| w.count(at, 1..=1024)),
        max_connections: walk.optional(&s, "max_connections", 8, |w, at| w.count(at, 1..=1024)),
        reset_budget: ResetBudget::default(),
        connect_timeout: walk.optional(&s, "connect_timeout", Duration::from_secs(3), |w, at| {
            w.duration(at, TIMEOUTS)
        }),
        keepalive: walk.optional(&s, "keepalive", Keepalive::default(), keepalive),
        backoff: walk.optional(&s, "backoff", Backoff::default(), backoff),
        dns_refresh: walk.optional(&s, "dns", DNS_REFRESH, |w, at| {
            let s = w.section(at, DNS_KEYS)?;
            Some(w.optional(&s, "refresh", DNS_REFRESH, |w, at| {
                w.duration(at, Duration::from_millis(100)..=*TIMEOUTS.end())
            }))
        }),
    };
    let default = match backend.hop {
        Hop::None => ResetBudget::Nghttp2,
        Hop::Ripcord => ResetBudget::Unlimited,
    };
    backend.reset_budget = walk.optional(&s, "reset_budget", default, reset_budget);
    if backend.assume_payload == AssumedPayload::Thrift && backend.protocol == Protocol::TTHEADER {
        let message = "bad assume_payload \"thrift\": TTHeader frames name the kind of their payload; allowed: protocol: grpc, or no assume_payload";
        let path = format!("{}.assume_payload", at.path);
        walk.error(at.place_of("assume_payload"), &path, message);
    }
    Some(backend)
}

const DNS_REFRESH: Duration = Duration::from_secs(10);

fn endpoints(walk: &mut Walk, at: &NodeRef<'_>) -> Option<Vec<Target>> {
    if walk.is(at, ORIGINAL_DESTINATION) {
        return Some(vec![Target::OriginalDestination]);
    }
    // A single text is a list of one.
    let items = match &at.node.kind {
        Kind::Scalar { .. } if !at.node.is_null() => vec![at.clone()],
        Kind::Scalar { .. } | Kind::List(_) | Kind::Map(_) => walk.list(at, hints::ENDPOINTS)?,
    };
    let mut targets: Vec<Target> = Vec::new();
    for item in items {
        let Some(text) = walk.text(&item, "an endpoint") else {
            continue;
        };
        match target(&text) {
            Some(target) if targets.contains(&target) => {
                let message = format!("endpoint {} is listed twice", item.quoted());
                walk.warn(item.node.place, &item.path, message);
            }
            Some(target) => targets.push(target),
            None => {
                let message = format!(
                    "bad endpoint {}; allowed: ip:port or dns name:port, e.g. 127.0.0.1:8888, \
                     [::1]:8888 or chat.svc:8888",
                    item.quoted()
                );
                walk.refuse_value::<Target>(&item, &message, hints::endpoint(&text));
            }
        }
    }
    Some(targets)
}

/// Reads `ip:port` or `name:port`.
fn target(text: &str) -> Option<Target> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return (address.port() > 0).then_some(Target::Address(address));
    }
    let (name, port) = text.rsplit_once(':')?;
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let port: u16 = port.parse().ok().filter(|p| *p > 0)?;
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let labels = name.strip_suffix('.').unwrap_or(name);
    let numeric = labels.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if labels.len() > 253 || numeric || !labels.split('.').all(label) {
        return None;
    }
    Some(Target::Dns {
        name: name.to_owned(),
        port,
    })
}

/// Whole seconds in the range of the kernel's options.
const SECONDS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(32_767);

/// Reads `keepalive`, of a backend or of a listener.
pub(super) fn keepalive(walk: &mut Walk, at: &NodeRef<'_>) -> Option<Keepalive> {
    let s = walk.section(at, KEEPALIVE_KEYS)?;
    let default = Keepalive::default();
    Some(Keepalive {
        tcp: walk.optional(&s, "tcp", default.tcp, |w, at| {
            if w.is_off(at) {
                return Some(None);
            }
            let s = w.section(at, TCP_KEYS)?;
            let default = TcpKeepalive::default();
            Some(Some(TcpKeepalive {
                idle: w.optional(&s, "idle", default.idle, |w, at| w.duration(at, SECONDS)),
                interval: w.optional(&s, "interval", default.interval, |w, at| {
                    w.duration(at, SECONDS)
                }),
                count: w.optional(&s, "count", default.count, |w, at| w.count(at, 1..=127)),
            }))
        }),
        user_timeout: walk.optional(&s, "user_timeout", default.user_timeout, |w, at| {
            w.duration_or_off(at, TIMEOUTS)
        }),
        http2: walk.optional(&s, "http2", default.http2, |w, at| {
            if w.is_off(at) {
                return Some(None);
            }
            let s = w.section(at, PING_KEYS)?;
            Some(Some(Ping {
                interval: w.required(&s, "interval", "a duration, e.g. 5m", |w, at| {
                    w.duration(at, Duration::from_secs(1)..=*TIMEOUTS.end())
                }),
                timeout: w.optional(&s, "timeout", Duration::from_secs(10), |w, at| {
                    w.duration(at, TIMEOUTS)
                }),
            }))
        }),
    })
}

fn backoff(walk: &mut Walk, at: &NodeRef<'_>) -> Option<Backoff> {
    let s = walk.section(at, BACKOFF_KEYS)?;
    let default = Backoff::default();
    let backoff = Backoff {
        initial: walk.optional(&s, "initial", default.initial, |w, at| {
            w.duration(at, TIMEOUTS)
        }),
        max: walk.optional(&s, "max", default.max, |w, at| w.duration(at, TIMEOUTS)),
    };
    if backoff.initial > backoff.max {
        let message = "initial is over max; allowed: at most as long";
        walk.error(s.place, &at.path, message);
    }
    Some(backoff)
}
