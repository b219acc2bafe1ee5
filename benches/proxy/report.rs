//! Runs the measurements side by side, in interleaved rounds: each round takes every proxy once.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::callee::Callee;
use crate::load::Wire;
use crate::measure::{Effort, Measure, take};
use crate::peers::{Bed, Peer, Running};
use crate::results::{Line, Results, Taken};
use crate::tables;

/// One line of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) peer: Peer,
    pub(crate) pair: (Wire, Wire),
}

/// What is to be run.
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) measures: Vec<Measure>,
    pub(crate) rows: Vec<Row>,
    pub(crate) effort: Effort,
}

impl Plan {
    fn rows(&self, measure: Measure) -> impl Iterator<Item = &Row> {
        self.rows
            .iter()
            .filter(move |row| measure.applies(row.peer))
    }

    fn seconds(&self, measure: Measure) -> f64 {
        (self.rounds * self.rows(measure).count()) as f64 * measure.seconds(&self.effort)
    }
}

/// How far a run is; tells it on stderr.
struct Progress {
    began: Instant,
    /// Estimated seconds: of all, and of what has been done.
    all: f64,
    done: f64,
}

impl Progress {
    fn tell(&self, measure: Measure, round: usize, rounds: usize) {
        let spent = self.began.elapsed().as_secs_f64();
        // The estimate counts for the first minute, then what was measured of it.
        let pace = (60.0 + spent) / (60.0 + self.done);
        let left = Duration::from_secs_f64((self.all - self.done).max(0.0) * pace);
        eprintln!(
            "{}: round {round} of {rounds}; {} gone, about {} left",
            measure.id(),
            clock(Duration::from_secs_f64(spent)),
            clock(left)
        );
    }
}

fn clock(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}

/// The proxies of a run: started when first used, and again when they have died.
#[derive(Default)]
struct Proxies {
    running: BTreeMap<Peer, Running>,
    missing: BTreeMap<Peer, String>,
}

impl Proxies {
    fn get(&mut self, peer: Peer, bed: &Bed) -> Option<&Running> {
        if self.missing.contains_key(&peer) {
            return None;
        }
        if !self.running.get_mut(&peer).is_some_and(Running::alive) {
            match bed.start(peer) {
                Ok(proxy) => drop(self.running.insert(peer, proxy)),
                Err(e) => {
                    eprintln!("{peer}: missing: {e:#}");
                    self.missing.insert(peer, format!("{e:#}"));
                    return None;
                }
            }
        }
        self.running.get(&peer)
    }
}

/// Runs the plan; prints the table of each measure as soon as it is done. `keep` is called after
/// each with what there is so far.
pub(crate) async fn run(
    plan: &Plan,
    bed: &Bed,
    callee: &Rc<Callee>,
    about: Vec<String>,
    keep: impl Fn(&Results) -> anyhow::Result<()>,
) -> anyhow::Result<Results> {
    let mut proxies = Proxies::default();
    let mut results = Results {
        about,
        ..Results::default()
    };
    // All at once, so that what is slow to start is not started in the middle of a measurement.
    for row in &plan.rows {
        proxies.get(row.peer, bed);
    }
    let mut progress = Progress {
        began: Instant::now(),
        all: plan.measures.iter().map(|m| plan.seconds(*m)).sum(),
        done: 0.0,
    };
    for measure in &plan.measures {
        let mut taken = taken(plan, *measure);
        for round in 1..=plan.rounds {
            progress.tell(*measure, round, plan.rounds);
            for (line, row) in taken.lines.iter_mut().zip(plan.rows(*measure)) {
                progress.done += measure.seconds(&plan.effort);
                let Some(proxy) = proxies.get(row.peer, bed) else {
                    continue;
                };
                let (peer, pair) = (row.peer, row.pair);
                let sample = take(*measure, bed, proxy, peer, pair, &plan.effort, callee).await;
                let note = match sample {
                    Ok(sample) => {
                        for (column, value) in sample.values {
                            line.values
                                .entry(column.to_owned())
                                .or_default()
                                .push(value);
                        }
                        sample.note
                    }
                    Err(e) => {
                        results.broken |= peer.is_ripcord();
                        Some(format!("failed: {e:#}"))
                    }
                };
                if let Some(text) = note {
                    let text = format!("{peer}, {}, {}: {text}", name(pair), measure.id());
                    *results.notes.entry(text).or_default() += 1;
                }
            }
        }
        results.missing = proxies
            .missing
            .iter()
            .map(|(peer, why)| (peer.to_string(), why.clone()))
            .collect();
        println!("{}", tables::table(&taken, &results.missing));
        results.measures.push(taken);
        keep(&results)?;
    }
    Ok(results)
}

/// The measure, without values.
fn taken(plan: &Plan, measure: Measure) -> Taken {
    let line = |row: &Row| Line {
        proxy: row.peer.to_string(),
        pair: name(row.pair),
        values: BTreeMap::new(),
    };
    Taken {
        id: measure.id(),
        title: measure.title(&plan.effort),
        columns: measure.columns().iter().map(|c| (*c).to_owned()).collect(),
        lines: plan.rows(measure).map(line).collect(),
    }
}

/// As the tables call a pair.
pub(crate) fn name((caller, callee): (Wire, Wire)) -> String {
    format!("{}→{}", caller.name(), callee.name())
}
