//! What everything of a run shares: the hops, the callees, the callers' connections, the ledger.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use ripcord::stream::End;

use crate::collector::Collector;
use crate::hops::{Hop, Way};
use crate::ledger::{Ledger, Told, is_lost, is_slow, label};
use crate::peers::{Call, Callee, Connection, Heard, Next, Order, Wire};
use crate::samples::Page;

/// Connections of each kind of caller.
const CONNECTIONS: u64 = 3;

/// Calls after which a connection is left for another.
const CALLS: u64 = 400;

pub(crate) struct World {
    pub(crate) ledger: Rc<Ledger>,
    pub(crate) egress: Hop,
    pub(crate) ingress: Hop,
    pub(crate) collector: Collector,
    /// By wire; none while it is killed.
    pub(crate) callees: RefCell<[Option<Callee>; 2]>,
    pool: RefCell<Vec<Slot>>,
    /// Nothing new is begun.
    pub(crate) paused: Cell<bool>,
    /// The run is over.
    pub(crate) over: Cell<bool>,
    pub(crate) in_flight: Cell<u64>,
    /// A fault or a reload is under way.
    pub(crate) busy: Cell<u64>,
    /// What faults there were: when, and which.
    pub(crate) faults: RefCell<Vec<(f64, &'static str)>>,
}

struct Slot {
    key: (Wire, bool, u64),
    connection: Rc<Connection>,
    calls: u64,
}

/// Why a scenario did not go as expected.
#[derive(Debug)]
pub(crate) enum Wrong {
    Unexpected(String),
    /// The callee of that wire was lost or not there: right if it was killed.
    Lost(Wire, String),
    /// Ended since its receiver was too slow for too long. That is right for a stream of more than
    /// buffers hold, when this process gets too little CPU.
    Slow(String),
}

pub(crate) type Checked<T = ()> = Result<T, Wrong>;

pub(crate) fn wrong<T>(what: impl Into<String>) -> Checked<T> {
    Err(Wrong::Unexpected(what.into()))
}

impl From<anyhow::Error> for Wrong {
    fn from(error: anyhow::Error) -> Self {
        Self::Unexpected(format!("{error:#}"))
    }
}

impl World {
    pub(crate) fn new(
        ledger: Rc<Ledger>,
        (egress, ingress): (Hop, Hop),
        collector: Collector,
        callees: [Option<Callee>; 2],
    ) -> Rc<Self> {
        Rc::new(Self {
            ledger,
            egress,
            ingress,
            collector,
            callees: RefCell::new(callees),
            pool: RefCell::default(),
            paused: Cell::new(false),
            over: Cell::new(false),
            in_flight: Cell::new(0),
            busy: Cell::new(0),
            faults: RefCell::default(),
        })
    }

    pub(crate) fn hops(&self) -> [&Hop; 2] {
        [&self.egress, &self.ingress]
    }

    pub(crate) fn fault(&self, which: &'static str) {
        let at = self.ledger.elapsed().as_secs_f64();
        self.faults.borrow_mut().push((at, which));
    }

    /// A caller's connection to the egress, one of a few.
    async fn connection(&self, wire: Wire, slow: bool, random: u64) -> Checked<Rc<Connection>> {
        let key = (wire, slow, random % CONNECTIONS);
        let found = {
            let mut pool = self.pool.borrow_mut();
            let at = pool.iter().position(|slot| slot.key == key);
            match at.and_then(|at| pool.get_mut(at)) {
                Some(slot) if slot.calls < CALLS && slot.connection.usable() => {
                    slot.calls += 1;
                    Some(Rc::clone(&slot.connection))
                }
                _ => None,
            }
        };
        if let Some(connection) = found {
            return Ok(connection);
        }
        let opened = Connection::open(wire, self.egress.address, slow, false).await?;
        let connection = Rc::new(opened);
        let old = {
            let mut pool = self.pool.borrow_mut();
            let at = pool.iter().position(|slot| slot.key == key);
            let slot = Slot {
                key,
                connection: Rc::clone(&connection),
                calls: 1,
            };
            pool.push(slot);
            at.map(|at| pool.swap_remove(at))
        };
        if let Some(old) = old {
            self.check("caller", &old.connection.heard.lock().unwrap());
        }
        Ok(connection)
    }

    /// Whether a ripcord has closed a connection since then, because the other end read nothing for
    /// `cancel_grace` while an end waited. All its streams go with it.
    pub(crate) async fn grace_closed(&self, since: Instant) -> bool {
        let mut now = 0.0;
        for hop in self.hops() {
            now += Page::read(hop)
                .await
                .map_or(0.0, |page| page.grace_closes());
        }
        now > self.ledger.grace_closes_at(since)
    }

    /// Leaves all callers' connections: they close when they are idle.
    pub(crate) fn leave_connections(&self) {
        for slot in self.pool.take() {
            self.check("caller", &slot.connection.heard.lock().unwrap());
        }
    }

    /// Checks what came on connections that were not broken on purpose.
    pub(crate) fn check(&self, who: &'static str, heard: &Heard) {
        if heard.doubled + heard.after + heard.errors > 0 {
            let what = format!("streams were not ended exactly once: {heard:?}");
            self.ledger.unexpected(who, 0, what);
        }
    }

    /// Makes a call: on one of the callers' connections, or on that.
    pub(crate) async fn call(
        &self,
        on: On<'_>,
        way: &Way,
        method: &str,
        order: Order,
        timeout: Option<std::time::Duration>,
    ) -> Checked<Call> {
        let mut tried = 0;
        loop {
            let connection = match on {
                On::This(connection) => Rc::clone(connection),
                On::Pool { wire, slow } => self.connection(wire, slow, order.seed >> 8).await?,
            };
            match connection.call(way.service, method, order, timeout).await {
                Ok(call) => return Ok(call),
                // It went away after it was looked at; nothing was sent.
                Err(_) if tried < 3 && matches!(on, On::Pool { .. }) => tried += 1,
                Err(error) => return wrong(format!("no stream can be opened: {error:#}")),
            }
        }
    }

    /// The next message must be `expected`.
    pub(crate) async fn message(&self, call: &mut Call, way: &Way, expected: &[u8]) -> Checked {
        match call.next().await {
            Next::Message(message) if message == expected => {
                self.ledger.messages.set(self.ledger.messages.get() + 1);
                Ok(())
            }
            Next::Message(message) => wrong(format!(
                "a message of {} bytes in place of one of {}, {}",
                message.len(),
                expected.len(),
                way.service
            )),
            Next::End(end) => Err(early(way, &end)),
        }
    }

    /// The stream must end like that; before it one message may come, `before`.
    pub(crate) async fn end(
        &self,
        call: &mut Call,
        way: &Way,
        before: Option<&[u8]>,
        expected: impl Fn(&End) -> bool,
        name: &str,
    ) -> Checked {
        let mut next = call.next().await;
        if matches!((&next, before), (Next::Message(message), Some(before)) if message == before) {
            next = call.next().await;
        }
        match next {
            Next::Message(message) => wrong(format!(
                "a message of {} bytes in place of the end, {}",
                message.len(),
                way.service
            )),
            Next::End(end) if expected(&end) => Ok(()),
            Next::End(end) => match early(way, &end) {
                Wrong::Unexpected(what) => wrong(format!("{what}; expected {name}")),
                other @ (Wrong::Lost(..) | Wrong::Slow(_)) => Err(other),
            },
        }
    }

    /// The callee must have received that. A callee that was killed since is not checked.
    pub(crate) async fn told(
        &self,
        token: u64,
        way: &Way,
        since: Instant,
        expected: impl Fn(&Told) -> bool,
        name: &str,
    ) -> Checked {
        match self.ledger.wait_told(token).await {
            Some(told) if expected(&told) => Ok(()),
            _ if self.ledger.was_down(way.callee, since) => {
                let what = format!("{}: the callee was killed", way.service);
                Err(Wrong::Lost(way.callee, what))
            }
            Some(Told::Ended(end)) if is_slow(&end) => {
                Err(Wrong::Slow(format!("{}: {}", way.service, label(&end))))
            }
            Some(Told::Ended(end)) => wrong(format!(
                "{}: the callee was told {} ({:?}); expected {name}",
                way.service,
                label(&end),
                end
            )),
            Some(Told::Finished) => wrong(format!(
                "{}: the callee ended it; expected {name}",
                way.service
            )),
            None => wrong(format!(
                "{}: the callee was told nothing; expected {name}",
                way.service
            )),
        }
    }
}

/// On which connection.
#[derive(Clone, Copy)]
pub(crate) enum On<'a> {
    Pool { wire: Wire, slow: bool },
    This(&'a Rc<Connection>),
}

fn early(way: &Way, end: &End) -> Wrong {
    let what = format!("{}: {} ({end:?})", way.service, label(end));
    if is_lost(end, way.hops()) {
        Wrong::Lost(way.callee, what)
    } else if is_slow(end) {
        Wrong::Slow(what)
    } else {
        Wrong::Unexpected(what)
    }
}
