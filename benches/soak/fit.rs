//! Whether memory is flat: straight lines through the quiet points after the warm-up.
//!
//! What a stream leaves behind shows in the live heap, for builds that count it (feature
//! `live-heap`). It hardly shows in resident memory: mimalloc keeps a page of 64 KiB for as long as
//! one object of its size lives. So resident memory moves in steps larger than the whole live heap.
//! With that count the heap must be flat, and resident memory must keep its level. Without it,
//! resident memory has to be flat.

use crate::quiet::Quiet;

/// A share of the run that warms up: caches fill, the allocator finds its level.
const WARM_UP: f64 = 0.2;

/// With fewer quiet points than these, nothing can be concluded.
const FEWEST: usize = 6;

/// What a finished stream may leave behind for the verdict "flat", in bytes: less than the smallest
/// thing that could be forgotten with it (a pointer and a length).
const PER_STREAM: f64 = 16.0;

/// The most growth in all, as a share of the memory in use, where noise could hide it.
const MOST: f64 = 0.15;

/// What resident memory may be in the second half above its highest in the first, as a share of
/// that.
const LEVEL: f64 = 0.25;

/// The memory of one hop.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    pub(crate) rss: Line,
    /// Where it is counted.
    pub(crate) heap: Option<Line>,
    /// The highest of resident memory in both halves after the warm-up, in KiB.
    highest: [f64; 2],
}

impl Memory {
    /// That of hop `n`; nothing when there are too few quiet points.
    pub(crate) fn new(all: &[Quiet], n: usize) -> Option<Self> {
        let rss = Line::through(all, n, |quiet| Some(quiet.rss_kib[n]))?;
        let middle = f64::midpoint(rss.from, all.last()?.at);
        let mut highest = [0.0; 2];
        for quiet in all.iter().filter(|q| q.at >= rss.from) {
            let half = &mut highest[usize::from(quiet.at > middle)];
            *half = quiet.rss_kib[n].max(*half);
        }
        let heap = Line::through(all, n, |quiet| quiet.heap_kib[n]);
        Some(Self { rss, heap, highest })
    }

    pub(crate) fn is_flat(&self) -> bool {
        match &self.heap {
            Some(heap) => heap.flat && self.keeps_level(),
            None => self.rss.flat,
        }
    }

    fn keeps_level(&self) -> bool {
        let [before, after] = self.highest;
        after <= before * (1.0 + LEVEL)
    }

    /// Why it is flat, or not.
    pub(crate) fn verdict(&self) -> String {
        let Some(heap) = &self.heap else {
            let rss = &self.rss;
            return format!("resident memory {}. {}", rss.verdict(), rss.rule());
        };
        let [before, after] = self.highest.map(|kib| kib / 1024.0);
        format!(
            "live heap {}; resident memory {}, at most {before:.1} MiB in the first half and {after:.1} in the second: {} \
             (at most {:.0} % more). {}",
            heap.verdict(),
            self.rss.measured(),
            if self.keeps_level() {
                "**its level**"
            } else {
                "**not its level**"
            },
            LEVEL * 100.0,
            heap.rule(),
        )
    }
}

/// The line of one kind of memory of one hop.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// KiB per minute, and the standard error of that.
    pub(crate) slope: f64,
    pub(crate) error: f64,
    pub(crate) mean_kib: f64,
    /// KiB at second 0 of the run.
    pub(crate) intercept: f64,
    /// Seconds.
    pub(crate) from: f64,
    pub(crate) points: usize,
    /// Its finished streams per minute.
    pub(crate) streams: f64,
    /// The slope that would still be flat, in KiB per minute.
    pub(crate) bound: f64,
    pub(crate) flat: bool,
}

impl Line {
    /// The line through `kib` of the quiet points; nothing when there are too few.
    fn through(all: &[Quiet], n: usize, kib: impl Fn(&Quiet) -> Option<f64>) -> Option<Self> {
        let from = all.last()?.at * WARM_UP;
        let quiet: Vec<_> = all.iter().filter(|q| q.at >= from).collect();
        let points: Vec<_> = quiet
            .iter()
            .filter_map(|q| Some((q.at / 60.0, kib(q)?)))
            .collect();
        let (Some(first), Some(last)) = (quiet.first(), quiet.last()) else {
            return None;
        };
        if points.len() < FEWEST {
            return None;
        }
        let count = points.len() as f64;
        let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
        let mean_kib = points.iter().map(|(_, y)| y).sum::<f64>() / count;
        let xx: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
        let xy: f64 = points
            .iter()
            .map(|(x, y)| (x - mean_x) * (y - mean_kib))
            .sum();
        let slope = xy / xx;
        let intercept = mean_kib - slope * mean_x;
        let residual: f64 = points
            .iter()
            .map(|(x, y)| (y - intercept - slope * x).powi(2))
            .sum();
        let error = (residual / (count - 2.0) / xx).sqrt();
        let span = (last.at - first.at) / 60.0;
        let streams = (last.streams[n] - first.streams[n]) / span;
        let bound = streams * PER_STREAM / 1024.0;
        Some(Self {
            slope,
            error,
            mean_kib,
            intercept,
            from,
            points: points.len(),
            streams,
            bound,
            // Too little for a leak, or not distinguishable from none (two standard errors) and not
            // so much that only noise hides it.
            flat: slope <= bound || (slope <= 2.0 * error && slope * span <= MOST * mean_kib),
        })
    }

    fn verdict(&self) -> String {
        let flat = if self.flat {
            "**flat**"
        } else {
            "**not flat**"
        };
        format!("{flat}: {}", self.measured())
    }

    fn measured(&self) -> String {
        format!(
            "{:+.2} KiB/min (standard error {:.2}) through {} quiet points after {:.0} s, around {:.1} MiB",
            self.slope,
            self.error,
            self.points,
            self.from,
            self.mean_kib / 1024.0,
        )
    }

    fn rule(&self) -> String {
        format!(
            "Flat is at most {:.2} KiB/min, {PER_STREAM} bytes for each of its {:.0} streams a minute: less than anything that \
             could be forgotten with a stream; or what cannot be told from no growth (at most two standard errors) and is at \
             most {:.0} % of the memory in all.",
            self.bound,
            self.streams,
            MOST * 100.0,
        )
    }
}
