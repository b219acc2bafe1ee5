//! The picture of a report: CPU per million round trips, with a bar for each proxy, grouped by
//! pair. It is an SVG that is readable on light and dark pages.

use std::fmt::Write as _;

use crate::measure::CPU;
use crate::peers::Peer;
use crate::results::{Results, Taken};

/// Pixels.
const WIDTH: f64 = 820.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 90.0;
const BAR: f64 = 16.0;
const STEP: f64 = 22.0;
const HEADING: f64 = 30.0;

const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#57606a}.h{font-weight:600;fill:#24292f}\
.bar{fill:#8c959f}.rip{fill:#0969da}\
@media(prefers-color-scheme:dark){text{fill:#9da7b3}.h{fill:#e6edf3}.bar{fill:#6e7681}.rip{fill:#58a6ff}}";

/// Draws the measure that decides, messages of 128 bytes with a window of 1; `None` if it is not
/// there.
pub(crate) fn draw(results: &Results) -> Option<String> {
    let taken = results.measure("128-w1")?;
    let bars = bars(taken);
    let most = bars.iter().map(|bar| bar.cost).reduce(f64::max)?;
    let mut body = String::new();
    let mut y = 26.0;
    let _ = writeln!(
        body,
        r#"<text class="h" x="8" y="{y}">CPU seconds of the proxy per million messages: less is better</text>"#
    );
    y += 20.0;
    let _ = writeln!(body, r#"<text x="8" y="{y}">{}</text>"#, taken.title);
    let mut pair = "";
    for bar in &bars {
        if bar.pair != pair {
            pair = bar.pair;
            y += HEADING;
            let _ = writeln!(body, r#"<text class="h" x="8" y="{y}">{pair}</text>"#);
            y += 8.0;
        }
        let class = if bar.ours { "rip" } else { "bar" };
        let length = bar.cost / most * (WIDTH - LEFT - RIGHT);
        let (text, end) = (y + 13.0, LEFT + length + 6.0);
        let _ = writeln!(
            body,
            r#"<text x="{:.0}" y="{text:.0}" text-anchor="end">{}</text><rect class="{class}" x="{LEFT}" y="{y:.0}" width="{length:.1}" height="{BAR}" rx="2"/><text x="{end:.0}" y="{text:.0}">{:.2}</text>"#,
            LEFT - 8.0,
            bar.proxy,
            bar.cost,
        );
        y += STEP;
    }
    let height = y + 12.0;
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\" \
aria-label=\"CPU seconds per million round trips by proxy\">\n<style>{STYLE}</style>\n{body}</svg>\n"
    ))
}

struct Bar<'a> {
    proxy: &'a str,
    pair: &'a str,
    cost: f64,
    ours: bool,
}

/// In the order of the table, within a pair the cheapest first; the relay is no proxy for streams.
fn bars(taken: &Taken) -> Vec<Bar<'_>> {
    let left_out = [Peer::Relay, Peer::RipcordDefaults].map(|peer| peer.to_string());
    let ours = Peer::Ripcord.to_string();
    let mut bars: Vec<Bar<'_>> = taken
        .lines
        .iter()
        .filter(|line| !left_out.contains(&line.proxy))
        .filter_map(|line| {
            Some(Bar {
                proxy: &line.proxy,
                pair: &line.pair,
                cost: line.median(CPU)?,
                ours: line.proxy == ours,
            })
        })
        .collect();
    let order: Vec<String> = taken.lines.iter().map(|l| l.pair.clone()).collect();
    let place = |pair: &str| order.iter().position(|p| p == pair);
    bars.sort_by(|a, b| {
        place(a.pair)
            .cmp(&place(b.pair))
            .then(a.cost.total_cmp(&b.cost))
    });
    bars
}
