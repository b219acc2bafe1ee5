//! One stream's life: head, route, backend, bridge, record.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use tokio::time::Instant;

use crate::Route;
use crate::backend::pool::Opened;
use crate::bridge::{
    self, Check, Decompress, Early, Limits, Moved, Outcome, Stage, Stages, Start, Switch,
};
use crate::config::{PayloadKind, Protocol, Validate};
use crate::listen::Listener;
use crate::stream::{End, HopKind, Inbound, Payload, Received, RequestHead};
use crate::telemetry::{self, Form, StreamInfo, StreamRecord, Traffic, Wire};
use crate::worker::{Registered, Worker};

/// A stream's end, as a hop observed it.
#[derive(Debug)]
pub struct Observed {
    /// The hop's name.
    pub node: Arc<str>,
    /// When it had told both sides.
    pub at: std::time::Instant,
    /// The end, with the hop's name in a cancel's path.
    pub end: End,
}

/// Where the ends of streams are told to an embedder.
pub type Tap = tokio::sync::mpsc::UnboundedSender<Observed>;

/// Carries one stream that a caller opened to its end.
///
/// The future is what a stream that idles takes for as long as it lives. So what only the opening needs
/// (the head, the way to a backend) is in a box of its own, gone when there is a backend. It is
/// small also since the runtime moves what is spawned nine times.
pub(crate) fn carry<I: Inbound>(
    worker: Rc<Worker>,
    listener: Rc<Listener>,
    wire: Wire,
    peer: SocketAddr,
    head: RequestHead,
    inbound: Box<I>,
) -> impl Future<Output = ()> {
    let opening = Box::pin(open(worker, listener, wire, peer, head, inbound));
    async move {
        let (mut stream, opened) = opening.await;
        let (inbound, switch) = (&mut *stream.inbound, &*stream.switch);
        let node = &*stream.worker.shared.node;
        let live = stream.record.live();
        let seen = |request, response| live.set_traffic(traffic(request, response));
        let outcome = match opened {
            Ok((Opened::Grpc(mut outbound), start)) => {
                bridge::run(inbound, &mut *outbound, start, node, switch, seen).await
            }
            Ok((Opened::TtHeader(mut outbound), start)) => {
                bridge::run(inbound, &mut *outbound, start, node, switch, seen).await
            }
            Err(end) => bridge::refuse(inbound, *end, node),
        };
        stream.finish(outcome);
    }
}

/// A stream, from its routing to its end.
struct Stream<I> {
    worker: Rc<Worker>,
    /// Its backend stays while it does, whatever the table becomes.
    _route: Option<Arc<Route>>,
    record: StreamRecord,
    switch: Registered,
    inbound: Box<I>,
}

impl<I> Stream<I> {
    fn finish(self, outcome: Outcome) {
        let shared = &self.worker.shared;
        if let Some(tap) = &shared.tap {
            // Nobody listens any more: then nobody misses it.
            let _ = tap.send(Observed {
                node: Arc::clone(&shared.node),
                at: std::time::Instant::now(),
                end: outcome.end.clone(),
            });
        }
        let traffic = traffic(outcome.request, outcome.response);
        self.record.finish(telemetry::Outcome {
            end: &outcome.end,
            traffic,
            told: outcome.told,
        });
    }
}

/// Makes a stream of a head, and opens its backend; the end where there is none to open.
async fn open<I: Inbound>(
    worker: Rc<Worker>,
    listener: Rc<Listener>,
    wire: Wire,
    peer: SocketAddr,
    mut head: RequestHead,
    inbound: Box<I>,
) -> (Stream<I>, Result<(Opened, Start), Box<End>>) {
    let received = Instant::now();
    let route = worker.shared.routes.load().table.find(&head);
    let series = listener.series(&worker, wire, route.as_ref());
    let info = StreamInfo {
        series,
        backend: route
            .as_ref()
            .map_or_else(|| Arc::from(""), |r| Arc::clone(&r.backend.name)),
        peer: Some(peer),
        service: head.service.clone(),
        method: head.method.clone(),
        caller: head.caller.clone(),
    };
    let record = worker.shared.telemetry.open(worker.id, info, &head);
    let mut stream = Stream {
        switch: worker.switch(),
        worker: Rc::clone(&worker),
        _route: route.clone(),
        record,
        inbound,
    };
    let opened = match (stream.inbound.refusal(), route) {
        (Some(end), _) => Err(end),
        (None, Some(route)) => {
            let opening = Opening {
                worker: &worker,
                route: &route,
                received,
            };
            opening.run(&mut head, &mut stream).await
        }
        (None, None) => {
            let text = format!(
                "no route for service {:?}, method {:?}",
                head.service, head.method
            );
            Err(End::hop(HopKind::NoRoute, text))
        }
    };
    (stream, opened.map_err(Box::new))
}

fn traffic(request: Moved, response: Moved) -> Traffic {
    Traffic {
        request_messages: request.messages,
        request_bytes: request.payload_bytes(),
        response_messages: response.messages,
        response_bytes: response.payload_bytes(),
    }
}

struct Opening<'a> {
    worker: &'a Worker,
    route: &'a Route,
    received: Instant,
}

impl Opening<'_> {
    async fn run<I: Inbound>(
        &self,
        head: &mut RequestHead,
        stream: &mut Stream<I>,
    ) -> Result<(Opened, Start), End> {
        let limits = self.limits(head);
        self.prepare(head)?;
        let stages = self.stages(head, &*stream.inbound)?;
        let mut early = Early::default();
        let opening = self.open(head, limits.deadline, &mut stream.record);
        let opened =
            listen_while(&mut *stream.inbound, &mut early, &stream.switch, opening).await?;
        Ok((opened, Start::new(early, stages, &limits)))
    }

    /// The earlier of the caller's deadline and the route's, and the route's other limits.
    fn limits(&self, head: &RequestHead) -> Limits {
        let timeouts = &self.route.timeouts;
        let stream = [head.timeout, timeouts.stream].into_iter().flatten().min();
        Limits {
            deadline: stream.map(|t| self.received + t),
            idle: timeouts.idle,
            first_response: timeouts.first_response,
        }
    }

    /// Makes the head what the backend is to see.
    fn prepare(&self, head: &mut RequestHead) -> Result<(), End> {
        let backend = &self.route.backend;
        let fits = match backend.config.payload {
            PayloadKind::Any => true,
            PayloadKind::Thrift => head.payload == Payload::Thrift,
            PayloadKind::Protobuf => head.payload == Payload::Protobuf,
        };
        if !fits {
            let text = format!(
                "backend {} takes other payloads than {:?}",
                backend.name, head.payload
            );
            return Err(End::hop(HopKind::PayloadMismatch, text));
        }
        if self.route.validate == Validate::Thrift && head.payload != Payload::Thrift {
            let text = format!(
                "route {} takes thrift structs, not {:?}",
                self.route.name, head.payload
            );
            return Err(End::hop(HopKind::PayloadMismatch, text));
        }
        self.route.apply(head);
        if let Some(hops) = &mut head.hops {
            hops.append(&self.worker.shared.node);
        }
        if let Some(service) = &backend.config.service {
            head.to = Some(service.clone());
        }
        Ok(())
    }

    async fn open(
        &self,
        head: &mut RequestHead,
        deadline: Option<Instant>,
        record: &mut StreamRecord,
    ) -> Result<Opened, End> {
        let backend = &self.route.backend;
        record.outbound(&mut head.metadata, form(backend.config.protocol));
        head.timeout = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let opening = self.worker.pool.open(backend, head);
        let opened = match deadline {
            Some(at) => tokio::time::timeout_at(at, opening)
                .await
                .unwrap_or_else(|_| {
                    Err(End::hop(
                        HopKind::Deadline,
                        "stream timeout while connecting",
                    ))
                })?,
            None => opening.await?,
        };
        record.connected(opened.1);
        Ok(opened.0)
    }

    /// The stages that messages between these wires need.
    fn stages(&self, head: &mut RequestHead, inbound: &impl Inbound) -> Result<Stages, End> {
        let max = self.worker.shared.limits.max_message;
        let inflate = |encoding: Option<&str>| {
            Decompress::new(encoding, max)
                .map(|stage| Some(Box::new(stage) as Box<dyn Stage>))
                .map_err(|e| End::hop(e.kind, e.text))
        };
        let outbound_takes_compressed = match self.route.backend.config.protocol {
            Protocol::Grpc => true,
            Protocol::TtHeader => false,
        };
        let check = match self.route.validate {
            Validate::Off => None,
            Validate::Thrift => Some(Check::ThriftStruct),
        };
        // What is checked passes decompressed, so nobody is asked to compress it.
        let checked = check.is_some();
        if checked {
            head.metadata
                .retain(|entry| *entry.key != *b"grpc-accept-encoding");
        }
        let request = match &head.encoding {
            Some(encoding) if checked || !outbound_takes_compressed => inflate(Some(encoding))?,
            Some(_) | None => None,
        };
        if checked {
            head.encoding = None;
        }
        let response = match outbound_takes_compressed && (checked || !inbound.takes_compressed()) {
            true => inflate(None)?,
            false => None,
        };
        Ok(Stages {
            request,
            response,
            check,
        })
    }
}

fn form(protocol: Protocol) -> Form {
    match protocol {
        Protocol::Grpc => Form::Grpc,
        Protocol::TtHeader => Form::TtHeader,
    }
}

/// Waits for `opening` while the caller is heard: what it sends is kept, and its end, or an end
/// from outside, ends the wait.
async fn listen_while<I: Inbound, T>(
    inbound: &mut I,
    early: &mut Early,
    switch: &Switch,
    opening: impl Future<Output = Result<T, End>>,
) -> Result<T, End> {
    let mut opening = std::pin::pin!(opening);
    poll_fn(|cx| {
        if let Poll::Ready(opened) = opening.as_mut().poll(cx) {
            return Poll::Ready(opened);
        }
        loop {
            match inbound.poll_recv(cx) {
                Poll::Ready(Received::Messages(mut run)) => early.messages.append(&mut run),
                Poll::Ready(Received::HalfClose) => early.half_closed = true,
                Poll::Ready(Received::End(end)) => return Poll::Ready(Err(end)),
                Poll::Ready(Received::Head(_)) => {
                    debug_assert!(false, "a caller has no response head")
                }
                Poll::Pending => break,
            }
        }
        switch.poll_end(cx).map(Err)
    })
    .await
}
