//! The load: what single callers do, each kind a number of times in a second. Every message and
//! every end is compared with what was ordered.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ripcord::stream::{CancelSignal, End, LocalEndKind, NON_TTSTREAM, Reason};
use tokio::task::spawn_local;

use crate::faults::Size;
use crate::hops::{LIMITS, Way};
use crate::ledger::{PATIENCE, Told, canceled, label};
use crate::peers::{CALLEE, CALLER, CAUSE, Call, Ending, Order, TEXT, Wire, ping};
use crate::random::{Random, message};
use crate::world::{Checked, On, World, Wrong, wrong};

/// What a caller does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unary,
    Echo,
    Generate,
    GenerateCancel,
    Large,
    Slow,
    PingPong,
    CallerCancel,
    CalleeCancel,
    Deadline,
    Limit,
    Error,
    NoRoute,
}

impl Kind {
    /// Whether its streams are of more than buffers hold (`stream_buffer`).
    fn is_long(self) -> bool {
        matches!(self, Self::GenerateCancel | Self::Large | Self::Slow)
    }
}

/// Under which streams are counted, once more, that were ended for a slow receiver.
const SLOW: &str = "(of these: ended as slow receivers)";

/// Under which those are that went with a connection that a ripcord closed for `cancel_grace`.
const GRACE: &str = "(of these: with a connection that was not read)";

/// Each with its name and how often it begins in a second at rate 1.
const KINDS: [(Kind, &str, f64); 13] = [
    (Kind::Unary, "unary", 15.0),
    (Kind::Echo, "echo", 4.0),
    (Kind::Generate, "generate", 2.0),
    (Kind::GenerateCancel, "generate, canceled", 1.0),
    (Kind::Large, "large", 0.5),
    (Kind::Slow, "slow reader", 0.4),
    (Kind::PingPong, "ping-pong", 2.0),
    (Kind::CallerCancel, "caller cancels", 3.0),
    (Kind::CalleeCancel, "callee cancels", 2.0),
    (Kind::Deadline, "deadline", 1.0),
    (Kind::Limit, "route limit", 1.0),
    (Kind::Error, "error", 4.0),
    (Kind::NoRoute, "no route", 0.5),
];

/// How often it is looked whether something is to begin.
const TICK: Duration = Duration::from_millis(20);

/// No more callers than these at a time.
const MOST: u64 = 600;

/// Bytes of a request that orders messages.
const REQUEST: usize = 64;

/// Begins callers until the run is over.
pub(crate) async fn run(world: Rc<World>, seed: u64, rate: f64, size: Size) {
    let mut random = Random::new(seed);
    let mut due = [0.0; KINDS.len()];
    // Not all kinds at once.
    due.iter_mut()
        .for_each(|due| *due = random.between(0, 1000) as f64 / 1000.0);
    let mut last = Instant::now();
    while !world.over.get() {
        tokio::time::sleep(TICK).await;
        let passed = last.elapsed().as_secs_f64().min(1.0);
        last = Instant::now();
        if world.paused.get() {
            continue;
        }
        for ((kind, name, often), due) in KINDS.iter().zip(&mut due) {
            *due += passed * often * rate;
            while *due >= 1.0 {
                *due -= 1.0;
                if world.in_flight.get() < MOST {
                    spawn_local(one(Rc::clone(&world), *kind, name, random.next(), size));
                }
            }
        }
    }
}

async fn one(world: Rc<World>, kind: Kind, name: &'static str, seed: u64, size: Size) {
    world.in_flight.set(world.in_flight.get() + 1);
    world.ledger.tally(name, |tally| tally.started += 1);
    let began = Instant::now();
    let caller = Caller::new(&world, seed, size);
    let token = caller.order.token;
    let way = caller.way;
    let wire = caller.wire;
    let place = Rc::clone(&caller.place);
    let done = tokio::time::timeout(PATIENCE, Box::pin(caller.play(kind))).await;
    world.ledger.forget(token);
    match done {
        Ok(Ok(())) => world.ledger.tally(name, |tally| tally.good += 1),
        Ok(Err(Wrong::Lost(callee, _))) if world.ledger.was_down(callee, began) => {
            world.ledger.tally(name, |tally| tally.faulted += 1);
        }
        Ok(Err(Wrong::Lost(..))) if world.grace_closed(began).await => {
            world.ledger.tally(name, |tally| tally.faulted += 1);
            world.ledger.tally(GRACE, |tally| tally.started += 1);
        }
        Ok(Err(Wrong::Slow(_))) if kind.is_long() => {
            world.ledger.tally(name, |tally| tally.faulted += 1);
            world.ledger.tally(SLOW, |tally| tally.started += 1);
        }
        Ok(Err(Wrong::Lost(_, what) | Wrong::Slow(what) | Wrong::Unexpected(what))) => {
            let took = began.elapsed().as_secs_f64();
            let what = format!("from {}, after {took:.2} s, {what}", wire.name());
            world.ledger.unexpected(name, seed, what);
        }
        Err(_) => {
            let what = format!(
                "from {} to {}: not over after {PATIENCE:?}; it waits for {}",
                wire.name(),
                way.service,
                place.get()
            );
            world.ledger.unexpected(name, seed, what);
        }
    }
    world.in_flight.set(world.in_flight.get() - 1);
}

/// One caller with one stream.
struct Caller<'a> {
    world: &'a World,
    random: Random,
    wire: Wire,
    way: Way,
    order: Order,
    /// Messages of the longest answer.
    longest: u64,
    began: Instant,
    /// What it waits for, for a report.
    place: Rc<Cell<&'static str>>,
}

impl<'a> Caller<'a> {
    fn new(world: &'a World, seed: u64, size: Size) -> Self {
        let mut random = Random::new(seed);
        Self {
            world,
            wire: *random.pick(&Wire::ALL),
            way: *random.pick(&Way::ALL),
            order: Order {
                token: world.ledger.token(),
                seed,
                count: 0,
                size: 0,
                pause: 0,
                ending: Ending::Complete,
            },
            random,
            longest: size.answer,
            began: Instant::now(),
            place: Rc::new(Cell::new("the stream")),
        }
    }

    async fn play(mut self, kind: Kind) -> Checked {
        match kind {
            Kind::Unary => self.echo(1, 1, (16, 1024)).await,
            Kind::Echo => {
                let (count, window) = (self.random.between(5, 150), self.random.between(1, 9));
                self.echo(count, window, (16, 4096)).await
            }
            Kind::Large => self.echo(3, 1, (1 << 20, (1 << 20) + 1)).await,
            Kind::Generate => {
                // As a language model answers: 30 small messages a second.
                self.order.count = self.random.between(30, self.longest);
                self.order.size = self.random.between(20, 200) as usize;
                self.order.pause = 33;
                self.generate(None, Duration::ZERO).await
            }
            Kind::GenerateCancel => {
                self.order.count = 1000;
                self.order.size = self.random.between(20, 20_000) as usize;
                self.order.pause = 10;
                let after = self.random.between(1, 100);
                self.generate(Some(after), Duration::ZERO).await
            }
            Kind::Slow => {
                // More than windows and buffers take, at once.
                self.order.count = self.random.between(30, 120);
                self.order.size = self.random.between(4 << 10, 32 << 10) as usize;
                self.generate(None, Duration::from_millis(25)).await
            }
            Kind::PingPong => self.ping_pong().await,
            Kind::CallerCancel => self.caller_cancels().await,
            Kind::CalleeCancel => {
                self.order.ending = Ending::Cancel;
                let count = self.random.between(1, 5);
                self.echo(count, 1, (16, 512)).await
            }
            Kind::Error => {
                let business = self.random.between(0, 3) == 0;
                self.order.ending = match (business, self.way.callee) {
                    (true, _) => Ending::Business(40_404),
                    (false, Wire::Grpc) => Ending::Failed(*self.random.pick(&[3, 5, 8, 9, 13, 16])),
                    (false, Wire::TtHeader) => Ending::Failed(*self.random.pick(&[1, 6, 7, 20])),
                };
                let count = self.random.between(1, 3);
                self.echo(count, 1, (16, 512)).await
            }
            Kind::Deadline => self.deadline().await,
            Kind::Limit => self.limit().await,
            Kind::NoRoute => self.no_route().await,
        }
    }

    async fn call(&self, method: &str, slow: bool, timeout: Option<Duration>) -> Checked<Call> {
        let wire = self.wire;
        let on = On::Pool { wire, slow };
        self.place.set("a connection");
        let call = self.world.call(on, &self.way, method, self.order, timeout);
        let call = call.await;
        self.place.set("messages");
        call
    }

    /// What the caller receives for the end that was ordered.
    fn ordered(&self) -> String {
        let mut path: Vec<&str> = self.way.hops().to_vec();
        path.reverse();
        match (self.order.ending, self.way.callee) {
            (Ending::Cancel, Wire::TtHeader) => {
                path.insert(0, CALLEE);
                canceled(CAUSE, &path)
            }
            (Ending::Cancel, Wire::Grpc) => {
                path.insert(0, NON_TTSTREAM);
                canceled(12011, &path)
            }
            (_, callee) => label(&self.order.ending.end(callee, self.order.token)),
        }
    }

    /// `count` messages there and back, `window` at a time; then the end that is ordered.
    async fn echo(&mut self, count: u64, window: u64, sizes: (u64, u64)) -> Checked {
        let mut call = self.call("Echo", false, None).await?;
        let mut number = 0;
        while number < count {
            let some: Vec<_> = (number..count.min(number + window))
                .map(|n| {
                    message(
                        self.order.seed,
                        n,
                        self.random.between(sizes.0, sizes.1) as usize,
                    )
                })
                .collect();
            number += some.len() as u64;
            for message in &some {
                call.send(message.clone()).await;
            }
            for expected in &some {
                self.world.message(&mut call, &self.way, expected).await?;
            }
        }
        call.half_close();
        self.finished(&mut call).await
    }

    /// The end that is ordered, at both sides.
    async fn finished(&self, call: &mut Call) -> Checked {
        self.place.set("the end");
        let expected = self.ordered();
        let order = self.order;
        let same = |end: &End| match (&end.reason, order.ending) {
            (Reason::Complete, Ending::Complete) => order.has_trailer(&end.trailers),
            (Reason::Canceled(cancel), Ending::Cancel) => {
                label(end) == expected && cancel.cause.text.contains(TEXT)
            }
            _ => label(end) == expected,
        };
        let ended = self.world.end(call, &self.way, None, same, &expected);
        ended.await?;
        self.place.set("the callee's end");
        let finished = |told: &Told| matches!(told, Told::Finished);
        let name = "nothing, since it ended the stream";
        let told = self
            .world
            .told(order.token, &self.way, self.began, finished, name);
        told.await
    }

    /// Messages from the callee, read with a pause after each, until the end or a cancel.
    async fn generate(&mut self, cancel_after: Option<u64>, pause: Duration) -> Checked {
        let mut call = self.call("Generate", !pause.is_zero(), None).await?;
        call.send(message(self.order.seed, u64::MAX, REQUEST)).await;
        // A caller may keep its direction open.
        if self.random.between(0, 4) > 0 {
            call.half_close();
        }
        for number in 0..cancel_after.unwrap_or(self.order.count) {
            let expected = message(self.order.seed, number, self.order.size);
            self.world.message(&mut call, &self.way, &expected).await?;
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
        match cancel_after {
            None => self.finished(&mut call).await,
            Some(_) => self.cancel(call).await,
        }
    }

    async fn caller_cancels(&mut self) -> Checked {
        let mut call = self.call("Echo", false, None).await?;
        for number in 0..self.random.between(1, 4) {
            let size = self.random.between(16, 2048) as usize;
            let message = message(self.order.seed, number, size);
            call.send(message.clone()).await;
            self.world.message(&mut call, &self.way, &message).await?;
        }
        self.cancel(call).await
    }

    /// Cancels. The callee must receive it.
    async fn cancel(&self, call: Call) -> Checked {
        self.place.set("the callee to be told");
        if !call.cancel() {
            let what = format!("{}: over before it was canceled", self.way.service);
            return Err(Wrong::Lost(self.way.callee, what));
        }
        hears_cancel(
            self.world,
            self.order.token,
            &self.way,
            self.wire,
            self.began,
        )
        .await
    }

    /// The caller's own deadline, that the hops watch.
    async fn deadline(&mut self) -> Checked {
        let timeout = Duration::from_millis(self.random.between(200, 1200));
        let mut call = self.call("Hold", false, Some(timeout)).await?;
        call.send(message(self.order.seed, 0, REQUEST)).await;
        self.place.set("the deadline");
        let of = Owner::Caller;
        self.timed_out(&mut call, None, 12015, LocalEndKind::Deadline, of)
            .await
    }

    /// A limit of the route.
    async fn limit(&mut self) -> Checked {
        self.way = *self.random.pick(&Way::ALL[..2]);
        let (method, _) = *self.random.pick(&LIMITS);
        let mut call = self.call(method, false, None).await?;
        let sent = message(self.order.seed, 0, REQUEST);
        call.send(sent.clone()).await;
        self.place.set(method);
        let (code, kind) = match method {
            "Idle" => (12014, LocalEndKind::Idle),
            "Silent" => (12014, LocalEndKind::FirstResponse),
            _ => (12015, LocalEndKind::Deadline),
        };
        let before = (method != "Silent").then_some(&sent[..]);
        let of = Owner::Hop;
        self.timed_out(&mut call, before, code, kind, of).await
    }

    /// Both sides must receive a time limit, of a hop or of the caller. The message `before` may come first. The
    /// limit may be late only if something blocked the stream for longer.
    async fn timed_out(
        &self,
        call: &mut Call,
        before: Option<&[u8]>,
        code: i32,
        kind: LocalEndKind,
        of: Owner,
    ) -> Checked {
        let hops = self.way.hops();
        let by_hops = |names: &[String]| {
            let names = match of {
                Owner::Hop => names,
                Owner::Caller => names.get(1..).unwrap_or_default(),
            };
            !names.is_empty() && names.iter().all(|name| hops.contains(&name.as_str()))
        };
        let expected = move |end: &End| match &end.reason {
            Reason::Canceled(cancel) => cancel.cause.code == code && by_hops(cancel.path.names()),
            Reason::Hop(hop) => hop.kind == kind,
            Reason::Complete | Reason::Failed(_) => false,
        };
        let name = format!("a cancel {code} at the limit of a {of:?}");
        let ended = self.world.end(call, &self.way, before, expected, &name);
        ended.await?;
        self.place.set("the callee to be told");
        if !self.world.ledger.opened(self.order.token).await {
            // The time was over before it had a connection.
            return Ok(());
        }
        let grpc = self.way.callee == Wire::Grpc;
        let told = |told: &Told| match told {
            Told::Ended(end) => match &end.reason {
                Reason::Canceled(cancel) if grpc => cancel.signal.name() == "reset",
                Reason::Canceled(cancel) => {
                    cancel.cause.code == code && by_hops(cancel.path.names())
                }
                _ => false,
            },
            Told::Finished => false,
        };
        let told = self
            .world
            .told(self.order.token, &self.way, self.began, told, &name);
        told.await
    }

    async fn no_route(&mut self) -> Checked {
        self.way.service = "Nowhere";
        let mut call = self.call("Echo", false, None).await?;
        let expected = |end: &End| matches!(&end.reason, Reason::Hop(hop) if hop.kind == LocalEndKind::NoRoute);
        let ended = self
            .world
            .end(&mut call, &self.way, None, expected, "no route");
        ended.await?;
        if self.world.ledger.forget(self.order.token) {
            return wrong("a stream without a route came to a callee");
        }
        Ok(())
    }

    async fn ping_pong(&mut self) -> Checked {
        let bodies: Vec<_> = (0..self.random.between(1, 6))
            .map(|n| message(self.order.seed, n, self.random.between(16, 4096) as usize))
            .collect();
        self.place.set("replies");
        ping(self.world.egress.address, "PingPong", &bodies).await?;
        Ok(())
    }
}

/// Who set a time limit. The path of its end begins there.
#[derive(Clone, Copy, Debug)]
enum Owner {
    Caller,
    Hop,
}

/// The callee must receive a caller's cancel, with its cause and path.
pub(crate) async fn hears_cancel(
    world: &World,
    token: u64,
    way: &Way,
    caller: Wire,
    since: Instant,
) -> Checked {
    let mut path = vec![CALLER];
    path.extend(way.hops());
    let code = match caller {
        Wire::Grpc => 12011,
        Wire::TtHeader => CAUSE,
    };
    let expected = canceled(code, &path);
    let heard = |told: &Told| match (told, way.callee) {
        (Told::Ended(end), Wire::TtHeader) => label(end) == expected,
        // HTTP/2 has one number; the names are in the request.
        (Told::Ended(end), Wire::Grpc) => match &end.reason {
            Reason::Canceled(cancel) => cancel.signal == CancelSignal::numbered("reset", 8),
            _ => false,
        },
        (Told::Finished, _) => false,
    };
    world.told(token, way, since, heard, &expected).await
}
