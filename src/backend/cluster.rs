//! The endpoints of one backend. Picks one, and avoids failed ones for a while.
//!
//! All workers share it without locks: the list is in an `ArcSwap`, an endpoint's state in atomics.
//! It owns no connection (each worker's pool does) and knows no wire.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};
use rustc_hash::FxHashMap;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::backend::answer::{Finding, Findings};
use crate::backend::endpoint::{Endpoint, EndpointGuard};
use crate::backend::lookup::Lookup;
use crate::backend::pace::Paces;
use crate::config::{self, Backend, CancelAs, Hop, Keepalive, ResetBudget, Target};
use crate::net::bounds::Ping;
use crate::net::connection::{self, DialOptions};
use crate::net::resets::ResetLimits;
use crate::net::tcp::TcpOptions;
use crate::stream::{RequestHead, Wire};
use crate::wire;

/// One step of SplitMix64: spreads the bits of a counter.
pub(super) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// What is known of a stream or call when its endpoint is picked.
#[derive(Clone, Copy, Debug)]
pub struct PickHint<'a> {
    /// The picker's own counter. The next value also serves the next attempt.
    pub turn: usize,
    /// The caller's request.
    pub head: &'a RequestHead,
}

/// A backend at work.
#[derive(Debug)]
pub struct Cluster {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Unlike any other of this process, also one of the same name before or after a reload. It is
    /// the key of a worker's pool.
    pub id: u64,
    /// The backend's section of the configuration.
    pub config: Backend,
    /// The wire of its endpoints.
    pub wire: &'static Wire,
    /// The options of sockets to its endpoints.
    pub tcp: TcpOptions,
    dial: DialOptions,
    paces: Paces,
    /// How many streams may be reset on one connection; `None` for any number.
    resets: Option<ResetLimits>,
    endpoints: ArcSwap<Vec<Arc<Endpoint>>>,
    changed: Notify,
    /// Look-ups of its names before their time; `None` when it has no names.
    pub(super) lookup: Option<Arc<Lookup>>,
    seed: u64,
    pub(super) findings: Findings,
    /// The names that have no address, each with the resolver's reason.
    unresolved: ArcSwap<Vec<(String, String)>>,
}

/// A look-up that was asked for.
pub(super) struct LookingUp<'a> {
    before: Arc<Vec<Arc<Endpoint>>>,
    done: Notified<'a>,
}

/// The most names without an address that an error tells.
const TOLD_NAMES: usize = 3;

impl Cluster {
    /// A cluster with its fixed addresses; `dns::run` adds those of names. `seed` makes the jitter
    /// repeatable, and different from that of other hops.
    #[must_use]
    pub fn new(name: &str, config: &Backend, seed: u64) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let cluster = Self {
            name: name.into(),
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            config: config.clone(),
            wire: wire_of(config),
            tcp: tcp_options(&config.keepalive),
            dial: DialOptions {
                to_ripcord: match config.hop {
                    Hop::None => false,
                    Hop::Ripcord => true,
                },
                ping: config.keepalive.http2.as_ref().map(ping),
                pace: None,
                until: None,
                cancel_as: cancel_as(config.cancel_as),
                connect_timeout: config.connect_timeout,
                tcp: tcp_options(&config.keepalive),
            },
            resets: reset_limits(config.reset_budget),
            paces: Paces::default(),
            endpoints: ArcSwap::default(),
            changed: Notify::new(),
            lookup: has_names(config).then(Arc::default),
            seed: name.bytes().fold(seed, |s, b| mix(s ^ u64::from(b))),
            findings: Findings::default(),
            unresolved: ArcSwap::default(),
        };
        let fixed = config.endpoints.iter().filter_map(|target| match target {
            Target::Address(address) => Some(*address),
            Target::Dns { .. } | Target::OriginalDestination => None,
        });
        cluster.set_addresses(fixed);
        Arc::new(cluster)
    }

    /// How a connection to the endpoint at `address` is set up.
    #[must_use]
    pub fn dial(&self, address: SocketAddr) -> DialOptions {
        let mut dial = self.dial.clone();
        dial.pace = Some(self.paces.of(&self.name, address));
        dial
    }

    /// The endpoint for a stream or call: round robin by the hint's turn. Failed endpoints are
    /// skipped unless all have failed. `None` when there is no endpoint.
    #[must_use]
    pub fn pick(&self, hint: &PickHint<'_>) -> Option<EndpointGuard> {
        let endpoints = self.endpoints.load();
        let first = hint.turn.checked_rem(endpoints.len())?;
        let (before, from) = endpoints.split_at_checked(first)?;
        let mut order = from.iter().chain(before);
        let well = order.clone().find(|e| e.backoff_left().is_none());
        let picked = well.or_else(|| order.next())?;
        Some(EndpointGuard::new(Arc::clone(picked)))
    }

    /// A good endpoint beside `those`, for a stream that they did not take.
    #[must_use]
    pub fn pick_beside(&self, hint: &PickHint<'_>, those: &[SocketAddr]) -> Option<EndpointGuard> {
        let endpoints = self.endpoints.load();
        let first = hint.turn.checked_rem(endpoints.len())?;
        let (before, from_first) = endpoints.split_at_checked(first)?;
        let mut order = from_first.iter().chain(before);
        let picked = order.find(|e| !those.contains(&e.address) && e.backoff_left().is_none())?;
        Some(EndpointGuard::new(Arc::clone(picked)))
    }

    /// The endpoints, in the order in which they are picked.
    pub fn endpoints(&self) -> Guard<Arc<Vec<Arc<Endpoint>>>> {
        self.endpoints.load()
    }

    /// The last finding of endpoints that speak another protocol than the backend's.
    #[must_use]
    pub fn finding(&self) -> Option<Finding> {
        self.findings.last()
    }

    /// Whether an address is one of its endpoints.
    #[must_use]
    pub fn has(&self, address: SocketAddr) -> bool {
        self.endpoints.load().iter().any(|e| e.address == address)
    }

    /// Learns whether the endpoint at an address ended a connection because too many streams were
    /// reset on it. An address that is not listed has a memory of its own.
    pub(super) fn calm(&self, address: SocketAddr) -> Arc<AtomicBool> {
        let endpoints = self.endpoints.load();
        let listed = endpoints.iter().find(|e| e.address == address);
        listed.map_or_else(Arc::default, |endpoint| Arc::clone(endpoint.calm()))
    }

    /// How many streams may be reset on one connection to an endpoint: what the configuration says,
    /// and no more than Netty takes where an endpoint is known to be strict. `None` for any number.
    pub(super) fn resets(&self, calm: &AtomicBool) -> Option<ResetLimits> {
        let limits = self.resets?;
        Some(match calm.load(Ordering::Relaxed) {
            false => limits,
            true => limits.and(&ResetLimits::NETTY),
        })
    }

    /// Completes when the endpoints change after the call, for example when a name first resolves.
    pub fn changed(&self) -> impl Future<Output = ()> + '_ {
        self.changed.notified()
    }

    /// Asks for a look-up of its names, since a connection has failed. `None` when it has no names,
    /// or has just looked them up.
    pub(super) fn look_up(&self) -> Option<LookingUp<'_>> {
        let done = self.lookup.as_ref()?.ask()?;
        Some(LookingUp {
            before: self.endpoints.load_full(),
            done,
        })
    }

    /// Waits for a look-up, but no longer than for a connection. Returns whether the endpoints are
    /// others than when it was asked for.
    pub(super) async fn looked_up(&self, looking_up: LookingUp<'_>) -> bool {
        let _ = tokio::time::timeout(self.config.connect_timeout, looking_up.done).await;
        !Arc::ptr_eq(&looking_up.before, &self.endpoints.load())
    }

    /// Replaces the endpoints by these addresses. Those that were there before keep their state and
    /// identity. Returns whether anything changed.
    pub fn set_addresses(&self, addresses: impl IntoIterator<Item = SocketAddr>) -> bool {
        let old = self.endpoints.load_full();
        let known: FxHashMap<SocketAddr, &Arc<Endpoint>> =
            old.iter().map(|e| (e.address, e)).collect();
        let mut new: Vec<Arc<Endpoint>> = Vec::new();
        let mut seen = rustc_hash::FxHashSet::default();
        for address in addresses {
            if !seen.insert(address) {
                continue;
            }
            new.push(known.get(&address).map_or_else(
                || {
                    let seed = mix(self.seed ^ self.salt(address));
                    Arc::new(Endpoint::new(address, self.config.backoff.clone(), seed))
                },
                |e| Arc::clone(e),
            ));
        }
        let same = |(a, b): (&Arc<Endpoint>, &Arc<Endpoint>)| Arc::ptr_eq(a, b);
        if new.len() == old.len() && new.iter().zip(old.iter()).all(same) {
            return false;
        }
        self.endpoints.store(Arc::new(new));
        self.changed.notify_waiters();
        true
    }

    /// Takes the names that have no address, each with the resolver's reason.
    pub(super) fn set_unresolved(&self, names: Vec<(String, String)>) {
        self.unresolved.store(Arc::new(names));
    }

    /// Why it has no endpoint.
    #[must_use]
    pub fn no_endpoint(&self) -> String {
        let unresolved = self.unresolved.load();
        let told: Vec<String> = if unresolved.is_empty() {
            // Not looked up yet.
            let names = self
                .config
                .endpoints
                .iter()
                .filter_map(|target| match target {
                    Target::Dns { name, .. } => Some(format!("{name} is not resolved yet")),
                    Target::Address(_) | Target::OriginalDestination => None,
                });
            names.collect()
        } else {
            let names = unresolved.iter();
            names
                .map(|(name, why)| format!("{name} does not resolve ({why})"))
                .collect()
        };
        if told.is_empty() {
            return "it has no endpoint".to_owned();
        }
        let more = match told.len().saturating_sub(TOLD_NAMES) {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        let told: Vec<String> = told.into_iter().take(TOLD_NAMES).collect();
        format!("{}{more}", told.join(", "))
    }

    fn salt(&self, address: SocketAddr) -> u64 {
        let ip = match address.ip() {
            std::net::IpAddr::V4(v4) => u64::from(v4.to_bits()),
            std::net::IpAddr::V6(v6) => {
                let bits = v6.to_bits().to_be_bytes();
                bits.iter().fold(0, |s, b| mix(s ^ u64::from(*b)))
            }
        };
        ip ^ (u64::from(address.port()) << 40)
    }
}

/// The socket options of a `keepalive` section, of a backend or of a listener.
pub(crate) fn tcp_options(keepalive: &Keepalive) -> TcpOptions {
    TcpOptions {
        keepalive: keepalive
            .tcp
            .as_ref()
            .map(|tcp| (tcp.idle, tcp.interval, tcp.count)),
        user_timeout: keepalive.user_timeout,
    }
}

/// The HTTP/2 pings of such a section.
pub(crate) fn ping(ping: &config::Ping) -> Ping {
    Ping {
        interval: ping.interval,
        timeout: ping.timeout,
        without_streams: ping.without_streams,
    }
}

fn reset_limits(budget: ResetBudget) -> Option<ResetLimits> {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    match budget {
        ResetBudget::Unlimited => None,
        ResetBudget::Nghttp2 => Some(ResetLimits::NGHTTP2),
        ResetBudget::Netty => Some(ResetLimits::NETTY),
        ResetBudget::Own {
            burst,
            per_second,
            early,
        } => Some(ResetLimits {
            burst: number(burst),
            per_second: number(per_second),
            early: early.map_or(u32::MAX, number),
        }),
    }
}

/// The form of a cancel that the file names.
pub(crate) const fn cancel_as(word: CancelAs) -> connection::CancelAs {
    match word {
        CancelAs::Auto => connection::CancelAs::Found,
        CancelAs::Rst => connection::CancelAs::Reset,
        CancelAs::Trailer => connection::CancelAs::Trailer,
    }
}

/// Whether one of its endpoints is a name.
fn has_names(config: &Backend) -> bool {
    let mut targets = config.endpoints.iter();
    targets.any(|target| matches!(target, Target::Dns { .. }))
}

/// The wire that the file names.
#[expect(
    clippy::expect_used,
    reason = "a configuration takes registered names only"
)]
fn wire_of(config: &Backend) -> &'static Wire {
    wire::named(config.protocol.name()).expect("a registered wire")
}

#[cfg(test)]
mod tests;
