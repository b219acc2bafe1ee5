//! Runs the measurements side by side, in interleaved rounds, and prints medians and ratios.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;

use anyhow::Result;
use serde_json::{Value, json};

use crate::callee::Callee;
use crate::load::Wire;
use crate::measure::{Effort, Measure, Sample, take};
use crate::peers::{Bed, Peer, Running};

/// One line of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) peer: Peer,
    pub(crate) pair: (Wire, Wire),
}

/// All samples of one measure.
type Samples = BTreeMap<usize, Vec<Sample>>;

/// What is to be run.
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) measures: Vec<Measure>,
    pub(crate) rows: Vec<Row>,
    pub(crate) effort: Effort,
}

/// Runs the plan, prints a table for each measure as soon as it is done, and returns everything.
pub(crate) async fn run(plan: &Plan, bed: &Bed, callee: &Rc<Callee>) -> Result<Value> {
    let mut running: BTreeMap<Peer, Running> = BTreeMap::new();
    let mut notes: BTreeMap<String, usize> = BTreeMap::new();
    let mut missing: BTreeMap<Peer, String> = BTreeMap::new();
    let mut all = Vec::new();
    let mut broken = false;
    for measure in &plan.measures {
        let mut samples = Samples::new();
        for _ in 0..plan.rounds {
            for (index, row) in plan.rows.iter().enumerate() {
                if missing.contains_key(&row.peer) {
                    continue;
                }
                if !running.get_mut(&row.peer).is_some_and(Running::alive) {
                    match bed.start(row.peer) {
                        Ok(proxy) => drop(running.insert(row.peer, proxy)),
                        Err(e) => {
                            eprintln!("{}: missing: {e:#}", row.peer);
                            missing.insert(row.peer, format!("{e:#}"));
                            continue;
                        }
                    }
                }
                let Some(proxy) = running.get(&row.peer) else {
                    continue;
                };
                let (peer, pair) = (row.peer, row.pair);
                let sample = take(*measure, bed, proxy, peer, pair, &plan.effort, callee).await;
                let mut note = |text: &str| {
                    let text = format!("{peer}, {}, {}: {text}", name(pair), measure.id());
                    *notes.entry(text).or_default() += 1;
                };
                match sample {
                    Ok(sample) => {
                        if let Some(text) = &sample.note {
                            note(text);
                        }
                        samples.entry(index).or_default().push(sample);
                    }
                    Err(e) => {
                        note(&format!("failed: {e:#}"));
                        broken |= peer == Peer::Ripcord;
                    }
                }
            }
        }
        println!("{}", table(plan, *measure, &samples, &missing));
        all.push(json!({ "measure": measure.id(), "rows": values(plan, *measure, &samples) }));
    }
    for (note, times) in &notes {
        println!("note ({times} of {} rounds): {note}", plan.rounds);
    }
    for (peer, why) in &missing {
        println!("missing: {peer}: {why}");
    }
    let missing: BTreeMap<String, &String> = missing
        .iter()
        .map(|(p, why)| (p.to_string(), why))
        .collect();
    Ok(json!({
        "measures": all,
        "notes": notes,
        "missing": missing,
        "ripcord_broken": broken,
    }))
}

fn name((caller, callee): (Wire, Wire)) -> String {
    format!("{}→{}", caller.name(), callee.name())
}

/// Median over the rounds.
fn median(samples: Option<&Vec<Sample>>, column: &str) -> Option<f64> {
    let mut values: Vec<f64> = samples?
        .iter()
        .filter_map(|sample| sample.values.get(column).copied())
        .collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn number(value: Option<f64>) -> String {
    match value {
        None => String::new(),
        Some(v) if v >= 100.0 => format!("{v:.0}"),
        Some(v) if v >= 10.0 => format!("{v:.1}"),
        Some(v) => format!("{v:.2}"),
    }
}

fn table(
    plan: &Plan,
    measure: Measure,
    samples: &Samples,
    missing: &BTreeMap<Peer, String>,
) -> String {
    let columns = measure.columns();
    let compared = columns.get(..columns.len().min(2)).unwrap_or(columns);
    let mut head = vec![String::new(), "pair".to_owned()];
    head.extend(columns.iter().map(|c| (*c).to_owned()));
    let mut rivals = Vec::new();
    for rival in [Peer::Nghttpx, Peer::Envoy] {
        let row = Row {
            peer: rival,
            pair: (Wire::Grpc, Wire::Grpc),
        };
        if let Some(index) = plan.rows.iter().position(|r| *r == row) {
            rivals.push(index);
            head.extend(compared.iter().map(|c| format!("{c} ÷ {rival}")));
        }
    }
    let mut lines = vec![head];
    for (index, row) in plan.rows.iter().enumerate() {
        let mine = samples.get(&index);
        let mut line = vec![row.peer.to_string(), name(row.pair)];
        if missing.contains_key(&row.peer) {
            line.push("missing".to_owned());
        } else {
            line.extend(columns.iter().map(|c| number(median(mine, c))));
            for rival in &rivals {
                line.extend(compared.iter().map(|column| {
                    let theirs = median(samples.get(rival), column);
                    number(median(mine, column).zip(theirs).map(|(a, b)| a / b))
                }));
            }
        }
        lines.push(line);
    }
    format!(
        "\n## {}\n\n{}",
        measure.title(&plan.effort),
        aligned(&lines)
    )
}

/// A Markdown table whose columns line up.
fn aligned(lines: &[Vec<String>]) -> String {
    let width = |column: usize| {
        lines
            .iter()
            .filter_map(|line| line.get(column).map(|cell| cell.chars().count()))
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..lines.first().map_or(0, Vec::len)).map(width).collect();
    let mut out = String::new();
    for (n, line) in lines.iter().enumerate() {
        for (column, width) in widths.iter().enumerate() {
            let cell = line.get(column).map_or("", String::as_str);
            let _ = match column {
                0 | 1 => write!(out, "| {cell:<width$} "),
                _ => write!(out, "| {cell:>width$} "),
            };
        }
        out.push_str("|\n");
        if n == 0 {
            for (column, width) in widths.iter().enumerate() {
                let end = if column < 2 { "-" } else { ":" };
                let _ = write!(out, "|{}{end}", "-".repeat(width + 1));
            }
            out.push_str("|\n");
        }
    }
    out
}

fn values(plan: &Plan, measure: Measure, samples: &Samples) -> Vec<Value> {
    plan.rows
        .iter()
        .enumerate()
        .filter_map(|(index, row)| {
            let mine = samples.get(&index)?;
            let columns: BTreeMap<&str, Value> = measure
                .columns()
                .iter()
                .filter_map(|column| {
                    let rounds: Vec<f64> = mine
                        .iter()
                        .filter_map(|sample| sample.values.get(column).copied())
                        .collect();
                    let median = median(Some(mine), column)?;
                    Some((*column, json!({ "median": median, "rounds": rounds })))
                })
                .collect();
            Some(json!({
                "proxy": row.peer.to_string(),
                "pair": name(row.pair),
                "values": columns,
            }))
        })
        .collect()
}
