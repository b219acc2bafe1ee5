//! The project's own targets, each with what was measured: met or not.

use crate::measure::{CPU, GROWTH, IDLE, P50, P99, RATE, RATIO};
use crate::peers::Peer;
use crate::results::Results;
use crate::tables::{aligned, number};

const GRPC: &str = "gRPC→gRPC";
const MIXED: [&str; 3] = ["TTHeader→TTHeader", "gRPC→TTHeader", "TTHeader→gRPC"];
const LOADS: [&str; 4] = ["128-w1", "1024-w1", "128-w8", "1024-w8"];

/// The table. Windows of 1 decide; a window of 8 and short streams are listed beside them.
pub(crate) fn table(results: &Results) -> String {
    let mut rows = Rows {
        results,
        lines: Vec::new(),
    };
    rows.against_c_proxies();
    rows.against_go();
    rows.of_itself();
    let met = rows
        .lines
        .iter()
        .filter(|line| line.contains(&"met".to_owned()));
    let summary = format!("{} of {} met", met.count(), rows.lines.len());
    let mut lines = vec![
        ["target", "measured by", "limit", "is", ""]
            .map(str::to_owned)
            .to_vec(),
    ];
    lines.append(&mut rows.lines);
    format!("\n## targets: {summary}\n\n{}", aligned(&lines))
}

struct Rows<'a> {
    results: &'a Results,
    lines: Vec<Vec<String>>,
}

/// A limit on a value.
#[derive(Clone, Copy)]
enum Limit {
    Most(f64),
    Least(f64),
}

impl Rows<'_> {
    fn of(&self, id: &str, peer: Peer, pair: &str, column: &str) -> Option<f64> {
        self.results.median(id, &peer.to_string(), pair, column)
    }

    /// One line, unless nothing was measured.
    fn row(&mut self, target: String, by: &str, limit: Limit, value: Option<f64>) {
        let Some(value) = value else { return };
        let (limit, met) = match limit {
            Limit::Most(most) => (format!("≤ {most}"), value <= most),
            Limit::Least(least) => (format!("≥ {least}"), value >= least),
        };
        let met = if met { "met" } else { "**not met**" };
        let decides = if by.ends_with("w1") { " (decides)" } else { "" };
        self.lines.push(vec![
            target,
            format!("{by}{decides}"),
            limit,
            number(Some(value)),
            met.to_owned(),
        ]);
    }

    fn against_c_proxies(&mut self) {
        for rival in [Peer::Nghttpx, Peer::Haproxy] {
            let ratio = |rows: &Self, id: &str, column: &str| {
                let mine = rows.of(id, Peer::Ripcord, GRPC, column)?;
                Some(mine / rows.of(id, rival, GRPC, column)?)
            };
            let loads = LOADS.into_iter().chain(["short"]);
            for id in loads.clone() {
                let value = ratio(self, id, CPU);
                self.row(format!("CPU ÷ {rival}"), id, Limit::Most(1.0), value);
            }
            for (name, column) in [("p50", P50), ("p99", P99)] {
                let value = ratio(self, "pingpong", column);
                let target = format!("{name} ÷ {rival}");
                self.row(target, "pingpong", Limit::Most(1.0), value);
            }
            for id in loads {
                let value = ratio(self, id, RATE);
                self.row(format!("rate ÷ {rival}"), id, Limit::Least(1.0), value);
            }
        }
    }

    fn against_go(&mut self) {
        for pair in MIXED {
            let ratio = |rows: &Self, id: &str, column: &str| {
                let mine = rows.of(id, Peer::Ripcord, pair, column)?;
                Some(mine / rows.of(id, Peer::GoBridge, pair, column)?)
            };
            for id in LOADS {
                let value = ratio(self, id, RATE);
                let target = format!("{pair}: rate ÷ Go bridge");
                self.row(target, id, Limit::Least(4.0), value);
                let value = ratio(self, id, CPU);
                let target = format!("{pair}: CPU ÷ Go bridge");
                self.row(target, id, Limit::Most(0.25), value);
            }
        }
    }

    fn of_itself(&mut self) {
        for pair in MIXED {
            for id in LOADS {
                let mine = self.of(id, Peer::Ripcord, pair, CPU);
                let grpc = self.of(id, Peer::Ripcord, GRPC, CPU);
                let value = mine.zip(grpc).map(|(mine, grpc)| mine / grpc);
                let target = format!("{pair}: CPU ÷ gRPC→gRPC");
                self.row(target, id, Limit::Most(1.0), value);
            }
        }
        for pair in [GRPC].into_iter().chain(MIXED) {
            let value = self.of("cancel", Peer::Ripcord, pair, RATIO);
            let target = format!("{pair}: cancel ÷ one-way message, p50");
            self.row(target, "cancel", Limit::Most(1.2), value);
        }
        for pair in [GRPC].into_iter().chain(MIXED) {
            let value = self.of("idle", Peer::Ripcord, pair, IDLE);
            let target = format!("{pair}: KiB per idle stream");
            self.row(target, "idle", Limit::Most(4.0), value);
        }
        for pair in [GRPC].into_iter().chain(MIXED) {
            let cost = |column| self.of("growth", Peer::Ripcord, pair, column);
            let costs = || {
                GROWTH
                    .iter()
                    .filter(|(n, ..)| *n >= 10)
                    .map(|(_, cpu, _)| cost(cpu))
            };
            let most = costs().flatten().reduce(f64::max);
            let base = costs().next().flatten();
            let value = most.zip(base).map(|(most, base)| most / base);
            let target = format!("{pair}: dearest message ÷ that of 10 streams");
            self.row(target, "growth", Limit::Most(1.3), value);
        }
    }
}
