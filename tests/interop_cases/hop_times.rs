//! Whether a cancel comes later to a callee that is not ripcord when the backend has
//! `hop: ripcord`. With one ripcord on the way that setting is a mistake, with two it is not. Each
//! cancel arrives as one RST_STREAM. The times are printed, not judged:
//! `RIPCORD_CANCELS=2000 cargo test --release --test interop -- hop_times --nocapture`.

use std::time::Instant;

use super::foreign::egress;
use crate::kit::h2peer::{Ended, H2Callee, Heard, Play, headers};
use crate::kit::ripcord::Ripcord;
use crate::kit::trial::cases;
use crate::kit::tt::Connection;

cases! {
    [] {
        a_cancel_reaches_a_callee_that_is_no_ripcord_over_marked_hops,
    }
}

/// How often on each way, when nobody asks for figures.
const CANCELS: usize = 50;

/// What every ripcord tells the next of a stream.
const HOPS: &str = "ripcord-hops";

/// The first ones on each way open connections.
const WARM_UP: usize = 10;

struct Way {
    hops: usize,
    via: &'static str,
    caller: Connection,
    callee: H2Callee,
    /// Microseconds, from the caller's Rst to the callee's RST_STREAM.
    times: Vec<u128>,
    _ripcords: Vec<Ripcord>,
}

impl Way {
    fn new(hops: usize, via: &'static str) -> Self {
        // What is not a caller's stream is the control stream, which no other server knows.
        let callee = H2Callee::start(|head| match head.contains_key(HOPS) {
            true => Play::Hold,
            false => Play::Only(200, headers(&[("grpc-status", "12")])),
        });
        let mut ripcords = Vec::new();
        let mut next = callee.address.clone();
        if hops == 2 {
            let ingress = Ripcord::named("ingress")
                .to("protocol: grpc", &next)
                .start();
            next.clone_from(&ingress.address);
            ripcords.push(ingress);
        }
        let egress = egress("egress", &next);
        let caller = Connection::connect(&egress.address);
        ripcords.push(egress);
        Self {
            hops,
            via,
            caller,
            callee,
            times: Vec::new(),
            _ripcords: ripcords,
        }
    }

    fn cancel(&mut self, n: usize) {
        let id = i32::try_from(n).unwrap() + 1;
        let strings = [("isn", "Interop"), ("x-via", self.via)];
        let stream = self.caller.open(id, "Bidi", &strings);
        assert!(matches!(self.heard(), Heard::Opened(_)));
        let began = Instant::now();
        stream.rst(12007, "why", "caller");
        // CANCEL, or the cause where the file wrongly says that a ripcord is next (rule 7).
        let falsely = self.hops == 1 && self.via == "marked";
        let code = if falsely { 12007 } else { 8 };
        let heard = self.heard();
        self.times.push(began.elapsed().as_micros());
        assert!(
            matches!(heard, Heard::Ended(Ended::Reset(seen)) if seen == code),
            "{} hops, {}: {heard:?}",
            self.hops,
            self.via
        );
    }

    /// What the callee receives next of the caller's streams.
    fn heard(&self) -> Heard {
        loop {
            match self.callee.heard() {
                Heard::Opened(head) if !head.contains_key(HOPS) => {}
                heard => return heard,
            }
        }
    }

    /// p50 and p99, in microseconds.
    fn figures(&self) -> (u128, u128) {
        let mut times = self.times[WARM_UP..].to_vec();
        times.sort_unstable();
        let at = |percent: usize| times[(times.len() - 1) * percent / 100];
        (at(50), at(99))
    }
}

fn a_cancel_reaches_a_callee_that_is_no_ripcord_over_marked_hops() {
    let cancels = std::env::var("RIPCORD_CANCELS");
    let cancels = cancels.map_or(CANCELS, |text| text.parse().unwrap());
    let ways = [(1, "plain"), (1, "marked"), (2, "plain"), (2, "marked")];
    let mut ways = ways.map(|(hops, via)| Way::new(hops, via));
    for n in 0..WARM_UP + cancels {
        // In turns, and nobody always first: what else the machine does meets all alike.
        for at in 0..ways.len() {
            let at = (at + n) % ways.len();
            ways[at].cancel(n);
        }
    }
    println!("{cancels} cancels in turns; µs from the caller's Rst to the callee's RST_STREAM");
    for pair in ways.chunks(2) {
        let plain = pair[0].figures();
        for way in pair {
            let (p50, p99) = way.figures();
            println!(
                "{} ripcord(s), {:<6}  p50 {p50:>6} ({:.2})  p99 {p99:>6} ({:.2})",
                way.hops,
                way.via,
                p50 as f64 / plain.0 as f64,
                p99 as f64 / plain.1 as f64,
            );
        }
    }
}
