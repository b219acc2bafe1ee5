//! Whether memory is flat: a straight line through the quiet points after the warm-up.

use crate::quiet::Quiet;

/// A share of the run that warms up: caches fill, the allocator finds its level.
const WARM_UP: f64 = 0.2;

/// Fewer quiet points than these say nothing.
const FEWEST: usize = 6;

/// What a finished stream may leave behind for the verdict "flat", in bytes: less than the smallest
/// thing that could be forgotten with it (a pointer and a length).
const PER_STREAM: f64 = 16.0;

/// What all of the growth may be, as a share of the memory in use, where it cannot be told from noise.
const MOST: f64 = 0.15;

/// The line of one hop.
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

/// The line through the quiet points of hop `n`; nothing when there are too few.
pub(crate) fn line(all: &[Quiet], n: usize) -> Option<Line> {
    let from = all.last()?.at * WARM_UP;
    let points: Vec<_> = all.iter().filter(|q| q.at >= from).collect();
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return None;
    };
    if points.len() < FEWEST {
        return None;
    }
    let count = points.len() as f64;
    let minutes = |q: &&Quiet| q.at / 60.0;
    let mean_x = points.iter().map(minutes).sum::<f64>() / count;
    let mean_kib = points.iter().map(|q| q.rss_kib[n]).sum::<f64>() / count;
    let xx: f64 = points.iter().map(|q| (minutes(q) - mean_x).powi(2)).sum();
    let xy: f64 = points
        .iter()
        .map(|q| (minutes(q) - mean_x) * (q.rss_kib[n] - mean_kib))
        .sum();
    let slope = xy / xx;
    let intercept = mean_kib - slope * mean_x;
    let residual: f64 = points
        .iter()
        .map(|q| (q.rss_kib[n] - intercept - slope * minutes(q)).powi(2))
        .sum();
    let error = (residual / (count - 2.0) / xx).sqrt();
    let streams = (last.streams[n] - first.streams[n]) / ((last.at - first.at) / 60.0);
    let bound = streams * PER_STREAM / 1024.0;
    let span = (last.at - first.at) / 60.0;
    Some(Line {
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

/// Why it is flat, or not.
pub(crate) fn verdict(line: &Line) -> String {
    format!(
        "{}: {:+.2} KiB/min (standard error {:.2}) through {} quiet points after {:.0} s, around {:.1} MiB. \
         Flat is at most {:.2} KiB/min, {PER_STREAM} bytes for each of its {:.0} streams a minute: less than anything that could be \
         forgotten with a stream; or what cannot be told from no growth (at most two standard errors) and is at most {:.0} % of \
         the memory in all.",
        if line.flat {
            "**flat**"
        } else {
            "**not flat**"
        },
        line.slope,
        line.error,
        line.points,
        line.from,
        line.mean_kib / 1024.0,
        line.bound,
        line.streams,
        MOST * 100.0,
    )
}
