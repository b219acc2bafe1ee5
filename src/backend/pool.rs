//! One worker's connections to backends: opened on demand, shared by streams, closed when their
//! endpoint is gone. Nothing here crosses threads. Endpoints and their health are shared
//! ([`Cluster`]).

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use tokio::time::Instant;
use tracing::debug;

use crate::backend::cluster::LookingUp;
use crate::backend::{Cluster, EndpointGuard, PickHint, answer};
use crate::config::Connections;
use crate::net::redirect::{LoopGuard, LoopGuardEntry};
use crate::net::socket::Socket;
use crate::stream::{End, LocalEndKind, OpenError, RequestHead};
use crate::telemetry::{ConnectionGuard, Metrics, Side};
use crate::wire::{Dialers, OutboundStream};
use connect::Connector;
use connections::EndpointConnections;

pub(crate) use counters::PoolCounters;

mod connect;
mod connections;
mod counters;
mod queue;

/// How many endpoints are tried for one stream.
const ATTEMPTS: usize = 3;

/// A request to open a stream with.
struct Request<'a> {
    head: &'a mut RequestHead,
    /// When its stream must be over.
    until: Option<Instant>,
    /// The endpoints that are not tried (again): they did not answer in time.
    silent: Vec<SocketAddr>,
    /// Why the last attempt failed.
    failed: Option<String>,
}

impl<'a> Request<'a> {
    const fn new(head: &'a mut RequestHead, until: Option<Instant>) -> Self {
        Self {
            head,
            until,
            silent: Vec::new(),
            failed: None,
        }
    }

    /// The head, to be sent now. Its timeout is what is left: the stream may have waited for its
    /// connection or for a place on it.
    fn now(&mut self) -> &RequestHead {
        let left = |at: Instant| at.saturating_duration_since(Instant::now());
        self.head.timeout = self.until.map(left);
        self.head
    }

    fn hint(&self, turn: usize) -> PickHint<'_> {
        let head = &*self.head;
        PickHint { turn, head }
    }
}

/// A stream that was opened, and the guard of its endpoint.
pub(crate) type OpenedStream = (OutboundStream, EndpointGuard);

/// A connection to a backend that carries calls, with the guards that count it while it lives.
pub(crate) struct Dialed {
    pub(crate) socket: Socket,
    pub(crate) endpoint: EndpointGuard,
    _counted: ConnectionGuard,
    _own: LoopGuardEntry,
}

/// The connections of one worker.
pub(crate) struct Pool {
    connector: Rc<Connector>,
    slots: RefCell<FxHashMap<(u64, SocketAddr), Rc<EndpointConnections>>>,
    /// The next turn among a cluster's endpoints.
    turn: std::cell::Cell<usize>,
}

impl Pool {
    pub(crate) fn new(
        dialers: Dialers,
        metrics: Arc<Metrics>,
        loop_guard: Arc<LoopGuard>,
        counters: PoolCounters,
    ) -> Self {
        Self {
            connector: Connector::new(dialers, metrics, loop_guard, counters),
            slots: RefCell::default(),
            turn: std::cell::Cell::default(),
        }
    }

    /// Opens a stream on one of the cluster's endpoints. It must be over at `until`: the timeout of
    /// the head becomes what is left when the head is sent.
    ///
    /// # Errors
    /// The end that the caller receives: nothing reached a backend.
    pub(crate) async fn open(
        &self,
        cluster: &Arc<Cluster>,
        head: &mut RequestHead,
        until: Option<Instant>,
    ) -> Result<OpenedStream, Box<End>> {
        let request = &mut Request::new(head, until);
        self.open_request(cluster, request).await
    }

    async fn open_request(
        &self,
        cluster: &Arc<Cluster>,
        request: &mut Request<'_>,
    ) -> Result<OpenedStream, Box<End>> {
        if cluster.config.dials_original_destination() {
            return self.open_original(cluster, request).await;
        }
        let mut asked = None;
        let mut opened = self.try_endpoints(cluster, request, &mut asked).await;
        let lost = matches!(opened, Err(OpenError::Connection(_) | OpenError::Silent(_)));
        if lost
            && let Some(asked) = asked
            // A name that has moved costs no stream, if its new addresses are known by now.
            && Box::pin(cluster.looked_up(asked)).await
        {
            opened = self.try_endpoints(cluster, request, &mut None).await;
        }
        opened.map_err(|failed| match failed {
            OpenError::Head(error) => unwritable(&error),
            OpenError::TooLarge(text) => too_large(text),
            OpenError::Connection(why) | OpenError::Silent(why) => unreachable(cluster, &why),
        })
    }

    /// Tries some endpoints in turn. After one that did not answer in time, only a good one beside
    /// it is tried. One that fails asks for a look-up of the cluster's names: `asked`.
    async fn try_endpoints<'a>(
        &self,
        cluster: &'a Arc<Cluster>,
        request: &mut Request<'_>,
        asked: &mut Option<LookingUp<'a>>,
    ) -> Result<OpenedStream, OpenError> {
        for _ in 0..ATTEMPTS {
            let picked = match request.silent.is_empty() {
                true => self.pick(cluster, request.head).await,
                false => {
                    let hint = request.hint(self.next_turn());
                    cluster.pick_beside(&hint, &request.silent)
                }
            };
            let Some(endpoint) = picked else {
                break;
            };
            match self.open_at(cluster, endpoint.address(), request).await {
                Ok(stream) => {
                    endpoint.opened();
                    return Ok((stream, endpoint));
                }
                Err(error @ (OpenError::Head(_) | OpenError::TooLarge(_))) => return Err(error),
                Err(
                    ref failed @ (OpenError::Connection(ref error) | OpenError::Silent(ref error)),
                ) => {
                    let address = endpoint.address();
                    if matches!(failed, OpenError::Silent(_)) {
                        request.silent.push(address);
                    }
                    debug!(backend = %cluster.name, endpoint = %address, %error, "cannot open a stream");
                    request.failed = Some(at(address, error));
                    endpoint.failed();
                    if asked.is_none() {
                        *asked = cluster.look_up();
                    }
                }
            }
        }
        let why = request.failed.take();
        let why = why.unwrap_or_else(|| cluster.no_endpoint());
        Err(OpenError::Connection(why))
    }

    /// Opens a stream once more that the callee at `from` did not look at, on its connection
    /// `refusing`. A good endpoint beside that one comes first, then another connection to it.
    ///
    /// # Errors
    /// As those of [`Pool::open`].
    pub(crate) async fn open_again(
        &self,
        cluster: &Arc<Cluster>,
        head: &mut RequestHead,
        until: Option<Instant>,
        from: SocketAddr,
        refusing: usize,
    ) -> Result<OpenedStream, Box<End>> {
        let request = &mut Request::new(head, until);
        let mut others = vec![from];
        for _ in 1..ATTEMPTS {
            let turn = self.next_turn();
            let Some(endpoint) = cluster.pick_beside(&request.hint(turn), &others) else {
                break;
            };
            match self.open_at(cluster, endpoint.address(), request).await {
                Ok(stream) => {
                    endpoint.opened();
                    return Ok((stream, endpoint));
                }
                Err(OpenError::Head(error)) => return Err(unwritable(&error)),
                Err(OpenError::TooLarge(text)) => return Err(too_large(text)),
                Err(failed @ (OpenError::Connection(_) | OpenError::Silent(_))) => {
                    let address = endpoint.address();
                    if matches!(failed, OpenError::Silent(_)) {
                        request.silent.push(address);
                        others.push(address);
                    }
                    request.failed = Some(at(address, failed.text()));
                    endpoint.failed();
                    let _ = cluster.look_up();
                }
            }
        }
        if let Some(slot) = self.slots.borrow().get(&(cluster.id, from)) {
            slot.leave(refusing);
        }
        self.open_request(cluster, request).await
    }

    fn next_turn(&self) -> usize {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        turn
    }

    /// Opens a stream to where the caller's connection was going. There is one such place, so there
    /// is no other attempt, and no endpoint to avoid.
    async fn open_original(
        &self,
        cluster: &Arc<Cluster>,
        request: &mut Request<'_>,
    ) -> Result<OpenedStream, Box<End>> {
        let Some(address) = request.head.destination else {
            let text = not_redirected(cluster);
            return Err(Box::new(End::hop(LocalEndKind::NoRoute, text)));
        };
        match self.open_at(cluster, address, request).await {
            Ok(stream) => Ok((stream, EndpointGuard::unlisted(address))),
            Err(OpenError::Head(error)) => Err(unwritable(&error)),
            Err(OpenError::Connection(error) | OpenError::Silent(error)) => {
                Err(unreachable(cluster, &at(address, &error)))
            }
            Err(OpenError::TooLarge(text)) => Err(too_large(text)),
        }
    }

    /// Opens a connection for calls, which no stream shares.
    ///
    /// # Errors
    /// The end that the caller receives.
    pub(crate) async fn dial(
        &self,
        cluster: &Arc<Cluster>,
        head: &RequestHead,
    ) -> Result<Dialed, String> {
        let endpoint = if cluster.config.dials_original_destination() {
            let address = head.destination.ok_or_else(|| not_redirected(cluster))?;
            EndpointGuard::unlisted(address)
        } else {
            let picked = self.pick(cluster, head).await;
            picked.ok_or_else(|| cannot_reach(cluster, &cluster.no_endpoint()))?
        };
        let address = endpoint.address();
        match self.connector.socket(cluster, address).await {
            Ok((socket, own)) => {
                endpoint.opened();
                Ok(Dialed {
                    socket: Socket::new(socket),
                    endpoint,
                    _counted: self
                        .connector
                        .metrics
                        .connection(Side::Outbound, cluster.wire),
                    _own: own,
                })
            }
            Err(error) => {
                endpoint.failed();
                let _ = cluster.look_up();
                Err(cannot_reach(
                    cluster,
                    &format!("{address}: {}", error.text()),
                ))
            }
        }
    }

    /// The next endpoint. A cluster whose names are not resolved yet has the connect timeout for
    /// it.
    async fn pick(&self, cluster: &Cluster, head: &RequestHead) -> Option<EndpointGuard> {
        let turn = self.next_turn();
        let hint = PickHint { turn, head };
        if let Some(endpoint) = cluster.pick(&hint) {
            return Some(endpoint);
        }
        let resolved = async {
            loop {
                let changed = cluster.changed();
                if let Some(endpoint) = cluster.pick(&hint) {
                    return endpoint;
                }
                changed.await;
            }
        };
        Box::pin(tokio::time::timeout(
            cluster.config.connect_timeout,
            resolved,
        ))
        .await
        .ok()
    }

    async fn open_at(
        &self,
        cluster: &Arc<Cluster>,
        address: SocketAddr,
        request: &mut Request<'_>,
    ) -> Result<OutboundStream, OpenError> {
        if cluster.config.connections == Connections::PerStream {
            let calm = cluster.calm(address);
            let connecting = self.connector.connect(cluster, address, &calm);
            let connection = Box::pin(connecting).await;
            let connection = connection?;
            let opened = connection.open(request.now()).await;
            connection.retire();
            return opened;
        }
        let slot = self.slot(cluster, address);
        // A connection may turn out to be closing only when it is used, and with it all others. Then
        // try on a new one.
        let mut error = String::new();
        for _ in 0..slot.count() + 2 {
            let connection = slot.connection(cluster).await;
            match connection?.open(request.now()).await {
                Err(OpenError::Connection(e)) => error = e,
                done => return done,
            }
            slot.discard_unusable();
        }
        Err(OpenError::Connection(error))
    }

    /// What a stream of the cluster waits for that is not opened yet.
    pub(crate) fn waits_for(&self, cluster: &Cluster) -> &'static str {
        let slots = self.slots.borrow();
        let mut slots = slots.iter().filter(|((id, _), _)| *id == cluster.id);
        match slots.any(|(_, slot)| slot.is_full()) {
            true => "while waiting: the callee allows no more streams at a time",
            false => "while connecting",
        }
    }

    fn slot(&self, cluster: &Arc<Cluster>, address: SocketAddr) -> Rc<EndpointConnections> {
        let mut slots = self.slots.borrow_mut();
        let slot = slots.entry((cluster.id, address)).or_insert_with(|| {
            Rc::new(EndpointConnections::new(cluster, address, &self.connector))
        });
        slot.used();
        Rc::clone(slot)
    }

    /// Forgets connections whose endpoint or backend is no longer configured, those beyond the
    /// pool's size that are idle, and those that a storm left behind. Their streams go on.
    pub(crate) fn sweep(&self) {
        self.slots.borrow_mut().retain(|_, slot| {
            slot.discard_unusable();
            let wanted = slot.cluster.upgrade().is_some_and(|cluster| {
                slot.discard_spare(cluster.config.pool_size);
                if cluster.config.dials_original_destination() {
                    return slot.in_use();
                }
                cluster.has(slot.address)
            });
            if !wanted {
                slot.retire();
            }
            wanted
        });
    }

    /// Releases every connection, and waits until what was queued on them is written.
    pub(crate) async fn close(&self) {
        for slot in self.slots.borrow_mut().drain().map(|(_, slot)| slot) {
            slot.retire();
        }
        self.connector.finished().await;
    }
}

/// Why a connection that was not redirected here cannot use such a backend.
fn not_redirected(cluster: &Cluster) -> String {
    format!(
        "backend {} is where the caller's connection was going, and this one was not redirected: it was made to ripcord itself",
        cluster.name
    )
}

fn unwritable(error: &str) -> Box<End> {
    let text = format!("the request cannot be written: {error}");
    Box::new(End::hop(LocalEndKind::OverLimit, text))
}

fn too_large(text: String) -> Box<End> {
    Box::new(End::hop(LocalEndKind::OverLimit, text))
}

fn unreachable(cluster: &Cluster, why: &str) -> Box<End> {
    let text = cannot_reach(cluster, why);
    Box::new(End::hop(LocalEndKind::Unreachable, text))
}

/// What went wrong at an endpoint. What the answer of one that speaks another protocol means names
/// backend and endpoint already.
fn at(address: SocketAddr, error: &str) -> String {
    match error.starts_with(answer::SUBJECT) {
        true => error.to_owned(),
        false => format!("{address}: {error}"),
    }
}

fn cannot_reach(cluster: &Cluster, why: &str) -> String {
    if why.starts_with(answer::SUBJECT) {
        return why.to_owned();
    }
    format!("backend {} cannot be reached: {why}", cluster.name)
}

#[cfg(test)]
mod tests;
