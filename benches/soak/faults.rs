//! The faults, one after the other beside the load: killed callees, dropped connections of callers,
//! floods, storms of cancels, garbage, readers that never read; and reloads.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ripcord::stream::{End, Reason};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::hops::{Hop, Way};
use crate::ledger::{PATIENCE, Told, canceled};
use crate::load::hears_cancel;
use crate::peers::{CALLER, Callee, Connection, Ending, Order, Stop, Wire};
use crate::random::{Random, message};
use crate::samples::Page;
use crate::world::{Checked, On, World, Wrong, wrong};

/// How much of some things, for a whole run or a short one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Cancels of a storm, and connections of a flood.
    pub(crate) storm: u64,
    /// Connections that are dropped.
    pub(crate) connections: u64,
    /// The most messages of an answer, 30 a second.
    pub(crate) answer: u64,
    /// The longest that a callee is down or nothing is read, in milliseconds.
    pub(crate) pause: u64,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill,
    Drop,
    Flood,
    Storm,
    Garbage,
    NeverRead,
    Collector,
}

const FAULTS: [(Fault, &str); 7] = [
    (Fault::Storm, "storm of cancels"),
    (Fault::Kill, "callee killed"),
    (Fault::Drop, "connections dropped"),
    (Fault::Garbage, "garbage"),
    (Fault::Flood, "connection flood"),
    (Fault::NeverRead, "never read"),
    (Fault::Collector, "collector down"),
];

/// Makes a fault every now and then until the run is over.
pub(crate) async fn run(world: Rc<World>, seed: u64, every: Duration, size: Size) {
    let mut random = Random::new(seed);
    let mut round = FAULTS.iter().cycle();
    while pause(&world, every).await {
        let Some((fault, name)) = round.next() else {
            return;
        };
        let seed = random.next();
        world.busy.set(world.busy.get() + 1);
        world.fault(name);
        world.ledger.tally(name, |tally| tally.started += 1);
        let maker = Maker {
            world: &world,
            random: Random::new(seed),
            size,
        };
        let began = Instant::now();
        let made = tokio::time::timeout(2 * PATIENCE, Box::pin(maker.make(*fault))).await;
        match made {
            Ok(Ok(())) => world.ledger.tally(name, |tally| tally.good += 1),
            Ok(Err(Wrong::Unexpected(what) | Wrong::Lost(_, what) | Wrong::Slow(what))) => {
                let what = format!("after {:.1} s, {what}", began.elapsed().as_secs_f64());
                world.ledger.unexpected(name, seed, what);
            }
            Err(_) => {
                let what = "the fault takes too long".to_owned();
                world.ledger.unexpected(name, seed, what);
            }
        }
        world.busy.set(world.busy.get() - 1);
    }
}

/// Waits, and until nothing is paused; false when the run is over.
async fn pause(world: &World, every: Duration) -> bool {
    tokio::time::sleep(every).await;
    while world.paused.get() && !world.over.get() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    !world.over.get()
}

struct Maker<'a> {
    world: &'a World,
    random: Random,
    size: Size,
}

impl Maker<'_> {
    async fn make(mut self, fault: Fault) -> Checked {
        match fault {
            Fault::Kill => self.kill().await,
            Fault::Drop => self.drop_connections().await,
            Fault::Flood => Ok(self.flood().await?),
            Fault::Storm => self.storm().await,
            Fault::Garbage => self.garbage().await,
            Fault::NeverRead => self.never_read().await,
            Fault::Collector => {
                self.world.collector.set_up(false);
                self.wait().await;
                self.world.collector.set_up(true);
                Ok(())
            }
        }
    }

    /// As long as a fault lasts.
    async fn wait(&mut self) {
        let pause = self.random.between(100, self.size.pause);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }

    fn order(&mut self) -> Order {
        Order {
            token: self.world.ledger.token(),
            seed: self.random.next(),
            count: 0,
            size: 0,
            pause: 0,
            ending: Ending::Complete,
        }
    }

    /// A callee is gone for a while; then streams reach it again.
    async fn kill(&mut self) -> Checked {
        let wire = *self.random.pick(&Wire::ALL);
        let at = usize::from(wire == Wire::TtHeader);
        let killed = self.world.callees.borrow_mut()[at].take();
        let Some(killed) = killed else {
            return wrong("there is no callee to kill");
        };
        self.world.ledger.goes_down(wire);
        let address = killed.address;
        self.world.check("callee", &killed.heard.lock().unwrap());
        killed.kill().await;
        self.wait().await;
        let back = Callee::start(wire, Some(address), &self.world.ledger)?;
        self.world.callees.borrow_mut()[at] = Some(back);
        let since = Instant::now();
        for way in Way::ALL.iter().filter(|way| way.callee == wire) {
            for caller in Wire::ALL {
                while self.probe(way, caller).await.is_err() {
                    if since.elapsed() > PATIENCE {
                        return wrong(format!("{} is not served again", way.service));
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        self.world.ledger.is_back(wire);
        Ok(())
    }

    /// One message there and back.
    async fn probe(&mut self, way: &Way, wire: Wire) -> Checked {
        let order = self.order();
        let done = async {
            let on = On::Pool { wire, slow: false };
            let mut call = self.world.call(on, way, "Echo", order, None).await?;
            let sent = message(order.seed, 0, 64);
            call.send(sent.clone()).await;
            self.world.message(&mut call, way, &sent).await?;
            call.half_close();
            let complete = |end: &End| matches!(end.reason, Reason::Complete);
            self.world
                .end(&mut call, way, None, complete, "complete")
                .await
        };
        let done = done.await;
        self.world.ledger.forget(order.token);
        done
    }

    /// A connection with streams on it that were all answered once.
    async fn busy(
        &mut self,
        way: &Way,
        wire: Wire,
        streams: u64,
        reset: bool,
    ) -> Checked<(Rc<Connection>, Vec<crate::peers::Call>)> {
        let address = self.world.egress.address;
        let connection = Rc::new(Connection::open(wire, address, false, reset).await?);
        let mut calls = Vec::new();
        for _ in 0..streams {
            let order = self.order();
            let on = On::This(&connection);
            let mut call = self.world.call(on, way, "Echo", order, None).await?;
            call.send(message(order.seed, 0, 100)).await;
            calls.push(call);
        }
        for call in &mut calls {
            let expected = message(call.order.seed, 0, 100);
            self.world.message(call, way, &expected).await?;
        }
        Ok((connection, calls))
    }

    /// Hundreds of cancels at once.
    async fn storm(&mut self) -> Checked {
        let (way, wire) = (*self.random.pick(&Way::ALL), *self.random.pick(&Wire::ALL));
        let since = Instant::now();
        let (connection, calls) = self.busy(&way, wire, self.size.storm, false).await?;
        let tokens: Vec<_> = calls.iter().map(|call| call.order.token).collect();
        for call in calls {
            if !call.cancel() {
                return wrong(format!(
                    "{}: a stream is over before its cancel",
                    way.service
                ));
            }
        }
        let mut first = Ok(());
        for token in tokens {
            let heard = hears_cancel(self.world, token, &way, wire, since).await;
            self.world.ledger.forget(token);
            if let (Err(Wrong::Unexpected(what)), Ok(())) = (heard, &first) {
                first = wrong(format!("from {}: {what}", wire.name()));
            }
        }
        self.world
            .check("caller", &connection.heard.lock().unwrap());
        first
    }

    /// Callers vanish with their connections.
    async fn drop_connections(&mut self) -> Checked {
        let mut dropped = Vec::new();
        let since = Instant::now();
        for _ in 0..self.size.connections {
            let (way, wire) = (*self.random.pick(&Way::ALL), *self.random.pick(&Wire::ALL));
            let reset = self.random.between(0, 2) == 0;
            let (connection, calls) = self.busy(&way, wire, 3, reset).await?;
            dropped.push((connection, way, wire, calls));
        }
        for (connection, ..) in &dropped {
            connection.stop(Stop::Close);
        }
        let mut first = Ok(());
        for (_connection, way, wire, calls) in dropped {
            for call in calls {
                let heard = self.hears_loss(call.order.token, &way, wire, since).await;
                self.world.ledger.forget(call.order.token);
                if let (Err(Wrong::Unexpected(what)), Ok(())) = (heard, &first) {
                    first = wrong(format!("from {}: {what}", wire.name()));
                }
            }
        }
        first
    }

    /// The callee must receive that the caller's connection was lost, noticed by the egress.
    async fn hears_loss(&self, token: u64, way: &Way, caller: Wire, since: Instant) -> Checked {
        let expected = match caller {
            Wire::TtHeader => canceled(12013, way.hops()),
            Wire::Grpc => {
                let mut path = vec![CALLER];
                path.extend(way.hops());
                canceled(12011, &path)
            }
        };
        let heard = |told: &Told| match told {
            Told::Ended(end) if way.callee == Wire::Grpc => {
                matches!(&end.reason, Reason::Canceled(cancel) if cancel.signal == ripcord::stream::CancelSignal::numbered("reset", 8))
            }
            Told::Ended(end) => crate::ledger::label(end) == expected,
            Told::Finished => false,
        };
        self.world.told(token, way, since, heard, &expected).await
    }

    /// Many connections that send nothing, or the beginning of something.
    async fn flood(&mut self) -> Result<()> {
        let mut open = Vec::new();
        for n in 0..self.size.storm {
            let mut socket = self.raw(n % 8 == 0).await?;
            if n % 2 == 0 {
                socket.write_all(&PREFACE[..(n % 24) as usize]).await?;
            }
            open.push(socket);
        }
        self.wait().await;
        Ok(())
    }

    async fn raw(&mut self, ingress: bool) -> Result<TcpStream> {
        let [egress, other] = self.world.hops();
        let hop = if ingress { other } else { egress };
        connect(hop.address).await
    }

    /// What is none of the protocols, or breaks off: its connection is closed.
    async fn garbage(&mut self) -> Checked {
        for kind in 0..8 {
            let mut bytes = Vec::new();
            let random_bytes = |random: &mut Random, n: u64| -> Vec<u8> {
                (0..n).map(|_| random.next() as u8).collect()
            };
            // Whether it has to be closed although the peer could go on.
            let mut at_once = true;
            match kind {
                0 => {
                    let n = self.random.between(8, 4096);
                    bytes = random_bytes(&mut self.random, n);
                    // Neither a TTHeader magic nor a preface.
                    (bytes[0], bytes[4]) = (0xff, 0xff);
                }
                1 => bytes.extend(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
                2 => bytes.extend(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
                3 => {
                    bytes.extend(PREFACE);
                    bytes.extend(random_bytes(&mut self.random, 600));
                    // A frame that cannot be: longer than any that is allowed.
                    bytes[24] = 0xff;
                }
                4 => {
                    // DATA on stream 0.
                    bytes.extend(PREFACE);
                    bytes.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
                    bytes.extend([0, 0, 1, 0, 0, 0, 0, 0, 0, 7]);
                }
                5 => {
                    // TTHeader whose length is over what is legal.
                    bytes.extend([0x7f, 0xff, 0xff, 0xff, 0x10, 0, 0, 2, 0, 0, 0, 1, 0, 4]);
                    bytes.extend(random_bytes(&mut self.random, 64));
                }
                6 => {
                    // A TTHeader frame with an unknown info block, and then nothing.
                    bytes.extend([0, 0, 0, 18, 0x10, 0, 0, 2, 0, 0, 0, 9, 0, 2]);
                    bytes.extend([0x10, 0, 0x77, 1, 2, 3, 4, 5]);
                    at_once = false;
                }
                _ => {
                    let n = self.random.between(1, 7) as usize;
                    bytes.extend(&PREFACE[..n]);
                }
            }
            let ingress = self.random.between(0, 2) == 0;
            let mut socket = self.raw(ingress).await?;
            // It may close before it has read all of it.
            let _ = socket.write_all(&bytes).await;
            if !at_once {
                let _ = socket.shutdown().await;
            }
            let mut buffer = [0; 4096];
            let closed = async { while socket.read(&mut buffer).await.is_ok_and(|n| n > 0) {} };
            if tokio::time::timeout(PATIENCE, closed).await.is_err() {
                return wrong(format!(
                    "garbage {kind} ({bytes:x?}) leaves a connection open"
                ));
            }
        }
        Ok(())
    }

    /// Callers that order without end and never read; then they vanish.
    async fn never_read(&mut self) -> Checked {
        let mut frozen = Vec::new();
        let since = Instant::now();
        for wire in Wire::ALL {
            for way in [Way::ALL[0], Way::ALL[1], *self.random.pick(&Way::ALL[2..])] {
                let address = self.world.egress.address;
                let connection = Rc::new(Connection::open(wire, address, false, true).await?);
                let order = Order {
                    count: u64::MAX,
                    size: self.random.between(1 << 10, 64 << 10) as usize,
                    ..self.order()
                };
                let on = On::This(&connection);
                let mut call = self.world.call(on, &way, "Generate", order, None).await?;
                call.send(message(order.seed, u64::MAX, 64)).await;
                let expected = message(order.seed, 0, order.size);
                self.world.message(&mut call, &way, &expected).await?;
                connection.stop(Stop::Freeze);
                frozen.push((connection, way, call));
            }
        }
        self.wait().await;
        for (connection, ..) in &frozen {
            connection.stop(Stop::Close);
        }
        let mut first = Ok(());
        for (_connection, way, call) in frozen {
            // It was too slow, or its connection is lost. The callee receives that nobody needs it
            // any more.
            let heard = |told: &Told| match told {
                Told::Ended(end) => matches!(end.reason, Reason::Canceled(_)),
                Told::Finished => false,
            };
            let token = call.order.token;
            let told = self.world.told(token, &way, since, heard, "a cancel").await;
            self.world.ledger.forget(token);
            if let (Err(Wrong::Unexpected(what)), Ok(())) = (told, &first) {
                first = wrong(what);
            }
        }
        first
    }
}

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

async fn connect(address: SocketAddr) -> Result<TcpStream> {
    let connecting = TcpStream::connect(address);
    let connected = tokio::time::timeout(Duration::from_secs(60), connecting).await;
    Ok(connected.context("connecting takes over 60 s")??)
}

/// Makes other tables effective, and offers some that must be refused, until the run is over.
pub(crate) async fn reload(world: Rc<World>, seed: u64, every: Duration) {
    const NAME: &str = "reload";
    let mut random = Random::new(seed);
    while pause(&world, every).await {
        world.busy.set(world.busy.get() + 1);
        world.ledger.tally(NAME, |tally| tally.started += 1);
        let hop = world.hops()[random.between(0, 2) as usize];
        let broken = random.between(0, 4) == 0;
        match reload_one(hop, &mut random, broken).await {
            Ok(()) => world.ledger.tally(NAME, |tally| tally.good += 1),
            Err(error) => world.ledger.unexpected(NAME, seed, format!("{error:#}")),
        }
        world.busy.set(world.busy.get() - 1);
    }
}

async fn reload_one(hop: &Hop, random: &mut Random, broken: bool) -> Result<()> {
    let result = if broken { "rejected" } else { "applied" };
    let name = format!("ripcord_reloads_total{{result=\"{result}\"}}");
    let before = Page::read(hop).await?.get(&name);
    let next = hop.variant() + random.between(1, crate::hops::VARIANTS);
    hop.reload(next, broken)?;
    let end = Instant::now() + PATIENCE;
    while Page::read(hop).await?.get(&name) <= before {
        ensure!(Instant::now() < end, "{}: no reload {result}", hop.name);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
