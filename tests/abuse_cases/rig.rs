//! One ripcord, a callee that echoes, bystanders on both wires, and what must hold for every row.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;

use ripcord::stream::Reason;

use super::callee;
use crate::kit::h2peer::{H2Callee, Play};
use crate::kit::halves::{Callee, Callers, Storm, Then, Traffic, Wire};
use crate::kit::ripcord::Ripcord;
use crate::kit::spec::Table;

pub(crate) const NODE: &str = "abuse";

/// What memory may grow by over all rows of a table, in bytes: a debug build's allocator and the
/// buffers of one connection (4 MiB), several times.
const GROWTH: u64 = 64 << 20;

/// Messages of bystanders that must pass after each row.
const PROGRESS: usize = 50;

/// An abuse and its defined answer.
pub(crate) struct Row {
    /// What the peer does, and what it gets.
    pub(crate) abuse: &'static str,
    /// The metric and the labels that count it. Empty when nothing does; the row's name explains
    /// why.
    pub(crate) counted: (&'static str, &'static str),
    /// Does it and holds the answer.
    pub(crate) act: fn(&Rig),
}

/// The world of one table.
pub(crate) struct Rig {
    pub(crate) hop: Ripcord,
    _callee: Callee,
    /// Takes streams of service `Stall` and reads nothing.
    pub(crate) stalled: H2Callee,
    bystanders: Vec<Callers>,
    idle: u64,
}

impl Rig {
    pub(crate) fn start(outbound: Wire) -> Self {
        Self::with(outbound, callee::table(callee::CALLEES), "", "")
    }

    /// One with the table of these bad callees, keys of its listener, and more of its limits
    /// (`, key: value`).
    pub(crate) fn with(outbound: Wire, callees: Table, listener: &str, limits: &str) -> Self {
        let echo = Callee::start(outbound, None);
        let stalled = H2Callee::start(|_| Play::Stall);
        let limits = format!(
            "limits: {{ handshake_timeout: 1s, slow_receiver_timeout: 500ms, max_resets: 100, \
             max_streams_per_connection: 100, max_message: 256KiB, metadata_size: 4KiB{limits} }}"
        );
        let hop = Ripcord::named(NODE)
            .listener(listener)
            .set(&limits)
            .backend("main", outbound.protocol(), echo.address)
            .backend("stalled", "protocol: grpc", &stalled.address)
            .route("main", "match: { service: Storm }, backend: main")
            .route("stalled", "match: { service: Stall }, backend: stalled")
            .table(callees)
            .start();
        let address = hop.socket_address();
        let bystanders = [Wire::Grpc, Wire::TtHeader].map(|wire| {
            let callers = Callers::start(wire, address, (1, 1), Traffic::Busy, Then::Nothing);
            callers.seen.wait_ready(1);
            callers
        });
        let mut rig = Self {
            hop,
            _callee: echo,
            stalled,
            bystanders: bystanders.into(),
            idle: 0,
        };
        rig.idle = rig.memory();
        rig
    }

    /// Plays the rows, one after the other.
    pub(crate) fn run(self, rows: &[Row]) {
        println!("{:<90} counted by", "abuse: answer");
        let mut failed = Vec::new();
        for row in rows {
            let (name, labels) = row.counted;
            println!("{:<90} {name}{{{labels}}}", row.abuse);
            let before = self.metric(name, labels);
            let acted = std::panic::catch_unwind(AssertUnwindSafe(|| (row.act)(&self)));
            if acted.is_err() {
                failed.push(row.abuse);
                continue;
            }
            if !name.is_empty() {
                self.wait(row.abuse, || self.metric(name, labels) > before);
            }
            self.unharmed(row.abuse);
        }
        assert!(failed.is_empty(), "{failed:#?}");
        for callers in &self.bystanders {
            callers.let_go(Storm::Finish);
            let end = callers.seen.wait_ended(1).remove(0).1;
            assert!(matches!(end.reason, Reason::Complete), "{end:?}");
        }
        self.bystanders.into_iter().for_each(Callers::close);
        for gauge in ["ripcord_connections_active", "ripcord_streams_active"] {
            self.hop
                .wait(gauge, || self.hop.metric(gauge, "inbound") == 0);
        }
        self.hop.wait_empty();
    }

    /// The bystanders go on, and memory stays.
    fn unharmed(&self, abuse: &str) {
        for (callers, wire) in self.bystanders.iter().zip(["grpc", "ttheader"]) {
            let before = callers.seen.talked();
            self.wait(&format!("{abuse}: {wire} stopped"), || {
                callers.seen.talked() >= before + PROGRESS
            });
            assert_eq!(callers.seen.extra(), 0, "{abuse}: a {wire} stream ended");
        }
        let memory = self.memory();
        assert!(
            memory <= self.idle + GROWTH,
            "{abuse}: {} KiB, {} KiB idle",
            memory >> 10,
            self.idle >> 10
        );
    }

    /// The sum of a metric's values, of those series whose labels contain `labels`.
    pub(crate) fn metric(&self, name: &str, labels: &str) -> u64 {
        self.hop.metric(name, labels)
    }

    pub(crate) fn wait(&self, what: &str, done: impl FnMut() -> bool) {
        self.hop.wait(what, done);
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.hop.socket_address()
    }

    fn memory(&self) -> u64 {
        self.hop.memory("VmRSS")
    }
}
