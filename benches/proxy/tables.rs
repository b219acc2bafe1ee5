//! Results as Markdown: a table for each measure with its ratios, two of everything, notes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::measure::{BYTES, CPU, IDLE, MOST, P50, P99, RATE, RATIO};
use crate::peers::Peer;
use crate::results::{Line, Results, Taken};

/// Names and lines of the ones that others are compared with: on gRPC→gRPC the C proxies, on the
/// pairs with TTHeader the Go bridge.
const RIVALS: [Peer; 4] = [Peer::Nghttpx, Peer::Haproxy, Peer::GoBridge, Peer::Baseline];

pub(crate) fn number(value: Option<f64>) -> String {
    match value {
        None => String::new(),
        Some(v) if v >= 100.0 => format!("{v:.0}"),
        Some(v) if v >= 10.0 => format!("{v:.1}"),
        Some(v) => format!("{v:.2}"),
    }
}

fn ratio(line: &Line, rival: Option<&Line>, column: &str) -> Option<f64> {
    let rival = rival.filter(|rival| rival.proxy != line.proxy)?;
    Some(line.median(column)? / rival.median(column)?)
}

/// One measure: its columns, then the first two divided by the rivals'.
pub(crate) fn table(taken: &Taken, missing: &BTreeMap<String, String>) -> String {
    let compared = match taken.id.as_str() {
        "growth" => 0,
        "stall" | "idle" => 1,
        _ => 2,
    };
    let compared = taken.columns.get(..compared).unwrap_or_default();
    let rivals: Vec<String> = RIVALS
        .iter()
        .map(Peer::to_string)
        .filter(|rival| taken.lines.iter().any(|l| l.proxy == *rival))
        .filter(|rival| !missing.contains_key(rival))
        .collect();
    let mut head = vec![String::new(), "pair".to_owned()];
    head.extend(taken.columns.iter().cloned());
    let direct = taken.id == "llm";
    if direct {
        head.extend(["p50 − no proxy", "p99 − no proxy"].map(str::to_owned));
    }
    for rival in &rivals {
        head.extend(compared.iter().map(|c| format!("{c} ÷ {rival}")));
    }
    let mut lines = vec![head];
    for line in &taken.lines {
        let mut cells = vec![line.proxy.clone(), line.pair.clone()];
        if missing.contains_key(&line.proxy) {
            cells.push("missing".to_owned());
            lines.push(cells);
            continue;
        }
        cells.extend(taken.columns.iter().map(|c| number(line.median(c))));
        if direct {
            for column in [P50, P99] {
                let base = direct_line(taken, line).and_then(|base| base.median(column));
                let over = line.median(column).zip(base).map(|(a, b)| a - b);
                cells.push(over.map_or_else(String::new, |v| format!("{v:.0}")));
            }
        }
        for rival in &rivals {
            let rival = taken.line(rival, &line.pair);
            cells.extend(compared.iter().map(|c| number(ratio(line, rival, c))));
        }
        lines.push(cells);
    }
    format!(
        "\n## {}: {}\n\n{}{}",
        taken.id,
        taken.title,
        aligned(&lines),
        against_baseline(taken)
    )
}

/// CPU (or memory) divided by the baseline's of the same round: quartiles over the rounds.
fn against_baseline(taken: &Taken) -> String {
    let mut out = String::new();
    for line in &taken.lines {
        let baseline = taken.line(&Peer::Baseline.to_string(), &line.pair);
        let (true, Some(baseline)) = (line.proxy == Peer::Ripcord.to_string(), baseline) else {
            continue;
        };
        for column in [CPU, IDLE] {
            let (Some(mine), Some(theirs)) = (line.values.get(column), baseline.values.get(column))
            else {
                continue;
            };
            let mut ratios: Vec<f64> = mine.iter().zip(theirs).map(|(a, b)| a / b).collect();
            ratios.sort_by(f64::total_cmp);
            let at = |share: f64| {
                let place = share * ratios.len().saturating_sub(1) as f64;
                number(ratios.get(place.round() as usize).copied())
            };
            let _ = write!(
                out,
                "\n{}: {column} ÷ baseline, {} rounds: quartiles {}, {}, {}\n",
                line.pair,
                ratios.len(),
                at(0.25),
                at(0.5),
                at(0.75),
            );
        }
    }
    out
}

/// The row without a proxy on the wire that this row's caller speaks.
fn direct_line<'a>(taken: &'a Taken, line: &Line) -> Option<&'a Line> {
    let wire = line.pair.split('→').next()?;
    taken.line(&Peer::Direct.to_string(), &format!("{wire}→{wire}"))
}

/// How a cell of the table of everything is made: measure, its column, and one for the brackets.
type Cell = (
    &'static str,
    &'static str,
    &'static str,
    Option<&'static str>,
);

const LOADS: [Cell; 6] = [
    ("128 B, window 1: k/s (CPU)", "128-w1", RATE, Some(CPU)),
    ("1 KiB, window 1", "1024-w1", RATE, Some(CPU)),
    ("128 B, window 8", "128-w8", RATE, Some(CPU)),
    ("1 KiB, window 8", "1024-w8", RATE, Some(CPU)),
    ("short streams", "short", RATE, Some(CPU)),
    ("1 MiB: MiB/s", "bulk", BYTES, None),
];

const OTHERS: [Cell; 6] = [
    ("ping-pong p50 (p99) µs", "pingpong", P50, Some(P99)),
    ("LLM p50 (p99) µs", "llm", P50, Some(P99)),
    ("LLM CPU", "llm", CPU, None),
    ("cancel p50 (÷ message)", "cancel", P50, Some(RATIO)),
    ("KiB per idle stream", "idle", IDLE, None),
    ("MiB, nobody reads", "stall", MOST, None),
];

/// Two tables of everything, a line for each proxy and pair: loads, and the rest.
pub(crate) fn everything(results: &Results) -> String {
    let loads = cells(results, &LOADS);
    format!("\n## everything\n\n{loads}\n{}", cells(results, &OTHERS))
}

fn cells(results: &Results, columns: &[Cell]) -> String {
    let columns: Vec<&Cell> = columns
        .iter()
        .filter(|(_, id, ..)| results.measure(id).is_some())
        .collect();
    let longest = results.measures.iter().max_by_key(|t| t.lines.len());
    let Some(longest) = longest.filter(|_| !columns.is_empty()) else {
        return String::new();
    };
    let mut head = vec!["proxy".to_owned(), "pair".to_owned()];
    head.extend(columns.iter().map(|(name, ..)| (*name).to_owned()));
    let mut lines = vec![head];
    for line in &longest.lines {
        let mut cells = vec![line.proxy.clone(), line.pair.clone()];
        if results.missing.contains_key(&line.proxy) {
            cells.push("missing".to_owned());
        } else {
            cells.extend(columns.iter().map(|(_, id, column, second)| {
                let median = |column| results.median(id, &line.proxy, &line.pair, column);
                let first = number(median(column));
                match second.and_then(median) {
                    Some(second) => format!("{first} ({})", number(Some(second))),
                    None => first,
                }
            }));
        }
        lines.push(cells);
    }
    aligned(&lines)
}

pub(crate) fn notes(results: &Results) -> String {
    let mut out = String::new();
    for (note, times) in &results.notes {
        let _ = writeln!(out, "- note ({times} samples): {note}");
    }
    for (peer, why) in &results.missing {
        let _ = writeln!(out, "- missing: {peer}: {why}");
    }
    out
}

/// A Markdown table whose columns line up.
pub(crate) fn aligned(lines: &[Vec<String>]) -> String {
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
