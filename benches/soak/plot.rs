//! The picture, an SVG written by hand: resident memory and live heap with quiet points and line,
//! open streams, streams per second, and the times of faults.

use std::fmt::Write as _;

use crate::fit::{Line, Memory};
use crate::quiet::Quiet;
use crate::samples::Sample;

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 20.0;
const PANEL: f64 = 190.0;
const GAP: f64 = 42.0;
const TOP: f64 = 46.0;

/// Colours that can be distinguished without red and green, on light and dark pages.
const COLOURS: [&str; 2] = ["#1f77b4", "#d95f02"];
/// The same, for the live heap.
const HEAP: [&str; 2] = ["#0b3c5d", "#8c4a00"];
const INK: &str = "#444";
const FAULT: &str = "#b0b0b0";

pub(crate) struct Plot<'a> {
    pub(crate) title: String,
    pub(crate) samples: &'a [Sample],
    pub(crate) quiet: &'a [Quiet],
    pub(crate) memory: [Option<Memory>; 2],
    pub(crate) faults: &'a [(f64, &'static str)],
    /// The run's length in seconds.
    pub(crate) length: f64,
}

/// One panel's axes.
struct Axes {
    top: f64,
    most: f64,
    length: f64,
}

impl Axes {
    fn x(&self, seconds: f64) -> f64 {
        LEFT + seconds / self.length * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        self.top + PANEL * (1.0 - value / self.most)
    }
}

/// The next 1, 2 or 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    let power = 10f64.powf(value.max(1e-9).log10().floor());
    let of = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    let factor = of.iter().find(|f| *f * power >= value).unwrap_or(&10.0);
    factor * power
}

impl Plot<'_> {
    pub(crate) fn svg(&self) -> String {
        let height = TOP + 4.0 * (PANEL + GAP);
        let mut out = format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12" fill="{INK}">
<rect width="100%" height="100%" fill="#fff"/>
<text x="{LEFT}" y="22" font-size="15">{}</text>
"##,
            escape(&self.title)
        );
        self.memory(&mut out, 0);
        let open: [Vec<(f64, f64)>; 2] =
            [0, 1].map(|n| self.samples.iter().map(|s| (s.at, s.open[n])).collect());
        self.panel(
            &mut out,
            1,
            "open streams",
            &[("egress", &open[0]), ("ingress", &open[1])],
        );
        let rate = |of: fn(&Sample) -> f64| -> Vec<(f64, f64)> {
            let steps = self.samples.windows(2);
            let step = |w: &[Sample]| {
                let passed = w[1].at - w[0].at;
                (passed > 0.0).then(|| (w[1].at, (of(&w[1]) - of(&w[0])) / passed))
            };
            steps.filter_map(step).collect()
        };
        let streams = rate(|s| s.streams);
        self.panel(
            &mut out,
            2,
            "finished streams a second (egress)",
            &[("streams/s", &streams)],
        );
        let cpu = [rate(|s| s.cpu[0]), rate(|s| s.cpu[1])];
        self.panel(
            &mut out,
            3,
            "CPU, cores",
            &[("both ripcords", &cpu[0]), ("load and peers", &cpu[1])],
        );
        let _ = writeln!(
            out,
            r#"<text x="{LEFT}" y="{}">minutes; grey ticks: faults; dots: quiet points</text>"#,
            height - 6.0
        );
        out.push_str("</svg>\n");
        out
    }

    fn axes(&self, out: &mut String, panel: usize, title: &str, most: f64) -> Axes {
        let top = TOP + panel as f64 * (PANEL + GAP);
        let axes = Axes {
            top,
            most: round_up(most),
            length: self.length.max(1.0),
        };
        let (bottom, right) = (top + PANEL, WIDTH - RIGHT);
        let _ = writeln!(out, r#"<text x="{LEFT}" y="{}">{title}</text>"#, top - 6.0);
        for fault in self.faults {
            let x = axes.x(fault.0);
            let _ = writeln!(
                out,
                r#"<path d="M{x:.1} {bottom:.1}v-6" stroke="{FAULT}"><title>{}</title></path>"#,
                escape(fault.1)
            );
        }
        for n in 0..=4 {
            let value = axes.most * f64::from(n) / 4.0;
            let y = axes.y(value);
            let _ = writeln!(
                out,
                r##"<path d="M{LEFT} {y:.1}H{right}" stroke="#ddd"/><text x="{}" y="{:.1}" text-anchor="end">{}</text>"##,
                LEFT - 6.0,
                y + 4.0,
                tick(value)
            );
        }
        let minutes = self.length / 60.0;
        let step = round_up(minutes / 10.0);
        let mut at = 0.0;
        while at <= minutes {
            let _ = writeln!(
                out,
                r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                axes.x(at * 60.0),
                bottom + 15.0,
                tick(at)
            );
            at += step;
        }
        axes
    }

    fn panel(&self, out: &mut String, at: usize, title: &str, lines: &[(&str, &Vec<(f64, f64)>)]) {
        let points = lines.iter().flat_map(|(_, points)| points.iter());
        let most = points.map(|p| p.1).fold(0.0, f64::max);
        let axes = self.axes(out, at, title, most);
        for (n, (name, points)) in lines.iter().enumerate() {
            let colour = COLOURS[n % COLOURS.len()];
            polyline(out, &axes, points, colour);
            legend(out, &axes, n, name, colour);
        }
    }

    fn memory(&self, out: &mut String, at: usize) {
        let most = self.samples.iter().flat_map(|s| s.rss_kib);
        let most = most.fold(0.0, f64::max) / 1024.0;
        let axes = self.axes(out, at, "memory, MiB", most);
        for (n, name) in ["egress", "ingress"].into_iter().enumerate() {
            let memory = self.memory[n].as_ref();
            let rss = self.samples.iter().map(|s| (s.at, s.rss_kib[n])).collect();
            let quiet = self.quiet.iter().map(|q| (q.at, q.rss_kib[n])).collect();
            let line = memory.map(|memory| &memory.rss);
            self.kind(out, &axes, (n, name, COLOURS[n]), rss, quiet, line);
            let heap: Vec<_> = (self.samples.iter())
                .filter_map(|s| Some((s.at, s.heap_kib[n]?)))
                .collect();
            if heap.is_empty() {
                continue;
            }
            let quiet = (self.quiet.iter()).filter_map(|q| Some((q.at, q.heap_kib[n]?)));
            let line = memory.and_then(|memory| memory.heap.as_ref());
            let legend = (n + 2, &*format!("{name}, live heap"), HEAP[n]);
            self.kind(out, &axes, legend, heap, quiet.collect(), line);
        }
    }

    /// One kind of memory of one hop, in KiB: all samples, the quiet points, and their line.
    fn kind(
        &self,
        out: &mut String,
        axes: &Axes,
        (n, name, colour): (usize, &str, &str),
        mut samples: Vec<(f64, f64)>,
        quiet: Vec<(f64, f64)>,
        line: Option<&Line>,
    ) {
        for (_, kib) in &mut samples {
            *kib /= 1024.0;
        }
        polyline(out, axes, &samples, colour);
        for (at, kib) in quiet {
            let (x, y) = (axes.x(at), axes.y(kib / 1024.0));
            let _ = writeln!(
                out,
                r#"<circle cx="{x:.1}" cy="{y:.1}" r="3.5" fill="{colour}"/>"#
            );
        }
        let mut name = name.to_owned();
        if let Some(line) = line {
            let y = |at: f64| axes.y((line.intercept + line.slope * at / 60.0) / 1024.0);
            let (from, to) = (line.from, self.length);
            let _ = writeln!(
                out,
                r#"<path d="M{:.1} {:.1}L{:.1} {:.1}" stroke="{colour}" stroke-dasharray="6 4"/>"#,
                axes.x(from),
                y(from),
                axes.x(to),
                y(to)
            );
            let _ = write!(name, " ({:+.2} KiB/min at the quiet points)", line.slope);
        }
        legend(out, axes, n, &name, colour);
    }
}

fn polyline(out: &mut String, axes: &Axes, points: &[(f64, f64)], colour: &str) {
    let mut path = String::new();
    for (x, y) in points {
        let _ = write!(path, "{:.1},{:.1} ", axes.x(*x), axes.y(*y));
    }
    let _ = writeln!(
        out,
        r#"<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.2"/>"#
    );
}

fn legend(out: &mut String, axes: &Axes, n: usize, name: &str, colour: &str) {
    let _ = writeln!(
        out,
        r#"<text x="{}" y="{:.1}" text-anchor="end" fill="{colour}">{}</text>"#,
        WIDTH - RIGHT - 4.0,
        axes.top + 14.0 + 15.0 * n as f64,
        escape(name)
    );
}

fn tick(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
