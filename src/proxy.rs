//! One stream's life: head, route, backend, bridge, record.

use std::convert::identity;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{self, Poll};

use tokio::time::Instant;

use crate::Route;
use crate::backend::EndpointGuard;
use crate::bridge::{
    self, Chain, Check, Deadline, Decompress, Early, Heads, Outcome, PreparedStream, Stage, Stages,
    StreamTimeouts, Switch, Transferred,
};
use crate::config::Validate;
use crate::context::Context;
use crate::drain::{Watch, Watcher};
use crate::stream::{End, Inbound, LocalEndKind, Received, RequestHead, Scope, Wire};
use crate::telemetry::{
    self, Observed, Series, SeriesCache, StreamInfo, StreamRecord, TraceFormats, Traffic,
};
use crate::translate::Translation;
use crate::wire::{self, OutboundStream};
use parting::{Parting, PartingStream};
use payload::PayloadCheck;

mod again;
pub(crate) mod parting;
mod payload;
mod translate;

/// The text for streams that the drain ended.
const OVER: &str = "the proxy is shutting down";

/// Where streams enter: one listener on one worker.
pub(crate) struct Entry {
    pub(crate) context: Rc<Context>,
    /// The counters of its streams.
    pub(crate) series: SeriesCache<Route>,
}

/// Ends a stream when the drain ends all streams.
#[derive(Default)]
struct DrainSwitch(Switch);

impl Watch for DrainSwitch {
    fn ending(&self) {
        self.0.end(LocalEndKind::DrainOver, OVER);
    }

    fn is_work(&self) -> bool {
        true
    }
}

/// Carries one stream that a caller opened to its end.
///
/// An idle stream keeps this future for as long as it lives. So what only the opening needs is in a
/// box of its own: the head, the search for a backend. The box goes when there is a backend.
/// Another reason for its small size: the runtime moves what is spawned nine times.
pub(crate) fn carry<I: Inbound>(
    entry: Rc<Entry>,
    wire: &'static Wire,
    peer: SocketAddr,
    head: Box<RequestHead>,
    inbound: Box<I>,
    parting: Option<Rc<Parting>>,
) -> impl Future<Output = ()> {
    let parting = parting.map(|connection| Box::new(PartingStream::new(connection)));
    let opening = Box::pin(open(entry, wire, peer, head, inbound, parting));
    async move {
        let (mut stream, opened) = opening.await;
        // What a `match` takes apart keeps its room in the future until the statement is over. So
        // there are three of them, each in a statement of its own.
        let (mut outbound, mut start) = match identity(opened) {
            Ok(opened) => opened,
            Err(end) => return Box::pin(stream.refuse(end)).await,
        };
        let outcome = loop {
            let node = &*stream.entry.context.process.node;
            if let Some(parting) = &mut stream.parting {
                parting.opened(&outbound);
            }
            let (inbound, switch) = (&mut *stream.inbound, &stream.switch.0);
            let live = stream.record.live();
            let seen = |request, response| live.set_traffic(traffic(request, response));
            let run = bridge::run(inbound, &mut outbound, start, node, switch, seen);
            let refused = match run.await {
                Ok(outcome) => {
                    drop(outbound);
                    break outcome;
                }
                Err(refused) => refused,
            };
            match Box::pin(stream.open_again(refused, outbound)).await {
                Ok(again) => (outbound, start) = again,
                Err(outcome) => break outcome,
            }
        };
        stream.finish(*outcome);
    }
}

/// A stream, from its routing to its end.
struct Stream<I> {
    entry: Rc<Entry>,
    /// Keeps the backend while the stream lives, even if the table changes.
    route: Option<Arc<Route>>,
    /// Learns how the stream ended.
    endpoint: Option<EndpointGuard>,
    record: StreamRecord,
    switch: Rc<DrainSwitch>,
    _watching: Watcher,
    inbound: Box<I>,
    /// Tells the caller's connection that this stream's callee takes no new streams.
    parting: Option<Box<PartingStream>>,
}

impl<I: Inbound> Stream<I> {
    /// No callee was opened for it.
    async fn refuse(mut self, end: Box<End>) {
        let node = &self.entry.context.process.node;
        let outcome = bridge::refuse(&mut *self.inbound, end, node).await;
        self.finish(*outcome);
    }

    fn finish(self, outcome: Outcome) {
        let process = &self.entry.context.process;
        let at = process.tap.as_ref().map(|_| std::time::Instant::now());
        if let Some(endpoint) = self.endpoint {
            endpoint.ended(&outcome.end);
        }
        let traffic = traffic(outcome.request, outcome.response);
        self.record.finish(telemetry::Outcome {
            end: &outcome.end,
            traffic,
            native_code: outcome.native_code,
        });
        // Last, so that a receiver of this event finds the stream counted.
        if let (Some(tap), Some(at)) = (&process.tap, at) {
            // When nobody receives any more, nobody misses it.
            let _ = tap.send(Observed {
                node: Arc::clone(&process.node),
                at,
                end: outcome.end,
            });
        }
    }
}

/// Makes a stream of a head and opens its backend. The error is the end when there is no backend to
/// open.
async fn open<I: Inbound>(
    entry: Rc<Entry>,
    wire: &'static Wire,
    peer: SocketAddr,
    head: Box<RequestHead>,
    inbound: Box<I>,
    parting: Option<Box<PartingStream>>,
) -> (
    Stream<I>,
    Result<(OutboundStream, PreparedStream), Box<End>>,
) {
    let context = Rc::clone(&entry.context);
    let process = &context.process;
    let route = process.routes.load().table.find(&head);
    let metrics = &process.telemetry.metrics;
    let names = |route: &Route| (Arc::clone(&route.name), route.backend.wire);
    let series = entry.series.series(metrics, wire, route.as_ref(), names);
    let info = StreamInfo {
        series: Arc::clone(&series),
        backend: route
            .as_ref()
            .map_or_else(|| Arc::from(""), |r| Arc::clone(&r.backend.name)),
        peer: Some(peer),
        service: head.service.as_str().into(),
        method: head.method.as_str().into(),
        caller: head.caller.as_deref().map(Box::from),
    };
    let record = process.telemetry.open(context.worker, info, &head);
    let switch = Rc::<DrainSwitch>::default();
    let mut stream = Stream {
        _watching: context.drain.watch(switch.clone()),
        switch,
        entry,
        route: route.clone(),
        endpoint: None,
        record,
        inbound,
        parting,
    };
    let opened = match (stream.inbound.refusal(), route) {
        (Some(end), _) => Err(Box::new(end)),
        (None, Some(route)) => {
            stream.inbound.set_callee_wire(route.backend.wire);
            let opening = Opening {
                context: &context,
                route: &route,
                wire,
                series,
            };
            opening.run(head, &mut stream).await
        }
        (None, None) => {
            let text = format!(
                "no route for service {:?}, method {:?}",
                head.service, head.method
            );
            Err(Box::new(End::hop(LocalEndKind::NoRoute, text)))
        }
    };
    (stream, opened)
}

fn traffic(request: Transferred, response: Transferred) -> Traffic {
    Traffic {
        request_messages: request.messages,
        request_bytes: request.payload_bytes(),
        response_messages: response.messages,
        response_bytes: response.payload_bytes(),
    }
}

/// The limits of a stream, and whether its deadline is the route's.
struct Limits {
    timeouts: StreamTimeouts,
    is_own: bool,
}

struct Opening<'a> {
    context: &'a Context,
    route: &'a Route,
    /// The caller's wire.
    wire: &'static Wire,
    /// The stream's counters.
    series: Arc<Series>,
}

impl Opening<'_> {
    async fn run<I: Inbound>(
        &self,
        mut head: Box<RequestHead>,
        stream: &mut Stream<I>,
    ) -> Result<(OutboundStream, PreparedStream), Box<End>> {
        let limits = self.limits(&head);
        let translations = self.prepare(&mut head)?;
        if limits.is_own
            && let Some(hops) = &mut head.hops
        {
            hops.limit_here();
        }
        let limits = limits.timeouts;
        self.check_metadata(&head)?;
        let stages = self.stages(&mut head, translations)?;
        let mut early = Early::default();
        let opened = {
            let opening = self.open(&mut head, limits.deadline.as_ref(), &mut stream.record);
            let (inbound, switch) = (&mut *stream.inbound, &stream.switch.0);
            // The deadline is the only limit until the backend is open.
            let others = |_: &mut task::Context<'_>, _: &Early| Poll::Pending;
            listen_while(inbound, &mut early, switch, others, pin!(opening)).await
        };
        let (outbound, endpoint) = opened.map_err(|end| match &limits.deadline {
            Some(deadline) => Box::new(deadline.recognize(*end, &self.context.process.node)),
            None => end,
        })?;
        stream.endpoint = Some(endpoint);
        let kept = again::keep(self.context, &outbound, head);
        let start = PreparedStream::new(early, stages, &limits, kept);
        Ok((outbound, start))
    }

    /// The stream's limits: the earlier of the caller's deadline and the route's, and the route's
    /// other limits.
    fn limits(&self, head: &RequestHead) -> Limits {
        let timeouts = &self.route.timeouts;
        let is_own = timeouts
            .stream
            .is_some_and(|own| head.timeout.is_none_or(|callers| own < callers));
        let stream = match is_own {
            true => timeouts.stream,
            false => head.timeout,
        };
        let set_by = || head.hops.as_ref().filter(|_| !is_own)?.limit_path();
        let deadline = stream.map(|timeout| Deadline {
            at: Instant::now() + timeout,
            set_by: set_by().map(Box::new),
        });
        Limits {
            timeouts: StreamTimeouts {
                deadline,
                idle: timeouts.idle,
                first_response: timeouts.first_response,
            },
            is_own,
        }
    }

    /// Rewrites the head to what the backend has to receive. Says how messages are translated, if
    /// they are.
    fn prepare(&self, head: &mut RequestHead) -> Result<Option<[Translation; 2]>, Box<End>> {
        let backend = &self.route.backend;
        let mut kind = PayloadCheck {
            head,
            route: &self.route.name,
            wire: self.wire,
            callee: backend.wire,
        };
        kind.assume(self.route.assume_payload);
        let translations = match &self.route.translate {
            Some(schema) => {
                let config = &backend.config;
                let form = translate::form_of(backend.wire, config.payload, config.assume_payload);
                translate::pair(schema, form, kind.head)?
            }
            None => None,
        };
        kind.check_backend(&backend.name, backend.config.payload)?;
        kind.check_route(self.route.validate)?;
        if let Some(schema) = &self.route.translate {
            translate::check_form(schema, kind.head)?;
        }
        kind.name_for(backend.config.assume_payload);
        self.route.apply(head);
        if let Some(hops) = &mut head.hops {
            hops.append(&self.context.process.node);
        }
        if let Some(service) = &backend.config.service {
            head.to = Some(service.clone());
        }
        Ok(translations)
    }

    /// Checks that the backend's wire can write the caller's metadata.
    fn check_metadata(&self, head: &RequestHead) -> Result<(), Box<End>> {
        let verbatim = self.route.backend.wire.verbatim;
        match head.metadata.fault().filter(|_| !verbatim) {
            Some(fault) => {
                let text = format!("the request's metadata are malformed: {fault}");
                Err(Box::new(End::hop(LocalEndKind::BadRequest, text)))
            }
            None => Ok(()),
        }
    }

    async fn open(
        &self,
        head: &mut RequestHead,
        deadline: Option<&Deadline>,
        record: &mut StreamRecord,
    ) -> Result<(OutboundStream, EndpointGuard), Box<End>> {
        let backend = &self.route.backend;
        let written = backend.config.trace_context;
        let formats = TraceFormats {
            w3c: written.w3c,
            b3: written.b3,
            b3multi: written.b3multi,
        };
        record.outbound(&mut head.metadata, backend.wire.propagation, formats);
        let until = deadline.map(|limit| limit.at);
        let opening = pin!(self.context.pool.open(backend, head, until));
        let waits_for = || self.context.pool.waits_for(backend);
        let (outbound, endpoint) = before(deadline, waits_for, opening).await?;
        record.connected(endpoint.address());
        Ok((outbound, endpoint))
    }

    /// What the caller's wire makes of the callee's heads.
    fn heads(&self) -> Heads {
        if !self.wire.heads {
            Heads::Drop
        } else if self.route.backend.wire.head_before_end && !self.wire.head_before_end {
            Heads::AwaitEnd
        } else {
            Heads::Pass
        }
    }

    /// The stages that messages between these two wires need.
    fn stages(
        &self,
        head: &mut RequestHead,
        translations: Option<[Translation; 2]>,
    ) -> Result<Stages, Box<End>> {
        let max = self.context.process.limits.max_message;
        let inflate = |encoding: Option<&str>| {
            Decompress::new(encoding, max)
                .map(|stage| Some(Box::new(stage) as Box<dyn Stage>))
                .map_err(|e| {
                    let mut end = End::hop(e.kind, e.text);
                    // A caller may take another compression then, and call again (gRPC's
                    // compression.md).
                    if let Some(key) = self.wire.accept_encoding {
                        end.trailers.push(Scope::Plain, key, bridge::ACCEPTED);
                    }
                    Box::new(end)
                })
        };
        let outbound_takes_compressed = self.route.backend.wire.takes_compressed;
        let check = match self.route.validate {
            Validate::Off => None,
            Validate::Thrift => Some(Check::ThriftStruct),
        };
        // Messages that are looked at must pass decompressed, so nobody is asked to compress them.
        let checked = check.is_some() || translations.is_some();
        if checked {
            head.metadata
                .retain(|entry| !wire::accept_encodings().any(|key| *entry.key == *key.as_bytes()));
        }
        let request = match &head.encoding {
            Some(encoding) if checked || !outbound_takes_compressed => inflate(Some(encoding))?,
            Some(_) | None => None,
        };
        if checked {
            head.encoding = None;
        }
        let response = match outbound_takes_compressed && (checked || !self.wire.takes_compressed) {
            true => inflate(None)?,
            false => None,
        };
        let [to_callee, to_caller] = match translations {
            Some(both) => translate::stages(both, max, &self.series).map(Some),
            None => [None, None],
        };
        Ok(Stages {
            request: Chain::of(request, to_callee),
            response: Chain::of(response, to_caller),
            check,
            heads: self.heads(),
            refuse_malformed: !self.wire.verbatim,
        })
    }
}

/// Waits for `opening`, but not after the stream's deadline. `waits_for` says what it waited for.
async fn before<T>(
    deadline: Option<&Deadline>,
    waits_for: impl FnOnce() -> &'static str,
    opening: impl Future<Output = Result<T, Box<End>>>,
) -> Result<T, Box<End>> {
    let Some(deadline) = deadline else {
        return opening.await;
    };
    let late = |_| {
        Err(Box::new(
            deadline.end(&format!("stream timeout {}", waits_for())),
        ))
    };
    tokio::time::timeout_at(deadline.at, opening)
        .await
        .unwrap_or_else(late)
}

/// Waits for `opening` and receives what the caller sends meanwhile. Its messages are kept. Its
/// end, an end from outside, or one of `limits` ends the wait.
async fn listen_while<I: Inbound, T>(
    inbound: &mut I,
    early: &mut Early,
    switch: &Switch,
    mut limits: impl FnMut(&mut task::Context<'_>, &Early) -> Poll<End>,
    mut opening: Pin<&mut impl Future<Output = Result<T, Box<End>>>>,
) -> Result<T, Box<End>> {
    poll_fn(|cx| {
        if let Poll::Ready(opened) = opening.as_mut().poll(cx) {
            return Poll::Ready(opened);
        }
        loop {
            match inbound.poll_recv(cx) {
                Poll::Ready(Received::Messages(mut run)) => early.messages.append(&mut run),
                Poll::Ready(Received::HalfClose) => early.half_closed = true,
                Poll::Ready(Received::End(end)) => return Poll::Ready(Err(Box::new(end))),
                Poll::Ready(Received::Head(_)) => {
                    debug_assert!(false, "a caller has no response head")
                }
                Poll::Pending => break,
            }
        }
        if let Poll::Ready(end) = switch.poll_end(cx) {
            return Poll::Ready(Err(Box::new(end)));
        }
        limits(cx, early).map(Box::new).map(Err)
    })
    .await
}

#[cfg(test)]
mod tests;
