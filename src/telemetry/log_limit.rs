//! Bounds the log lines that peers can cause. Of each kind, the first few in a second are written.
//! Then one line gives the number of the others.
//!
//! This only decides whether a line is written. The caller still counts every event in its metrics.
//! It is never called per message.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

/// Lines of one kind in one window.
const LINES: u32 = 5;

/// The length of a window, from a kind's first line on.
const WINDOW: Duration = Duration::from_secs(1);

/// Kinds that are kept in memory, before those of old windows are forgotten.
const KEPT: usize = 64;

/// The kind of a line. Lines of one kind are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kind {
    message: &'static str,
    /// The listener or backend, by its configured name: never a peer's text.
    of: Arc<str>,
    what: Cow<'static, str>,
}

/// The lines of one kind since its first one.
struct Window {
    kind: Kind,
    since: Instant,
    written: u32,
    held: u64,
}

impl Window {
    fn over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= WINDOW
    }
}

/// What happens to a line.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Written {
        /// How many of the window before were not written, and not reported yet.
        more: u64,
    },
    /// Not written. The first such line of a window also tells when their number is to be reported.
    Held { tell_at: Option<Instant> },
}

/// The windows of all kinds that had a line lately.
struct LogLimiter(Vec<Window>);

impl LogLimiter {
    fn line(&mut self, kind: &Kind, now: Instant) -> Line {
        let Some(window) = self.0.iter_mut().find(|w| w.kind == *kind) else {
            if self.0.len() >= KEPT {
                self.0.retain(|w| w.held > 0 || !w.over(now));
            }
            self.0.push(Window {
                kind: kind.clone(),
                since: now,
                written: 1,
                held: 0,
            });
            return Line::Written { more: 0 };
        };
        if window.over(now) {
            window.since = now;
            window.written = 1;
            let more = std::mem::take(&mut window.held);
            return Line::Written { more };
        }
        if window.written < LINES {
            window.written += 1;
            return Line::Written { more: 0 };
        }
        window.held += 1;
        Line::Held {
            tell_at: (window.held == 1).then(|| window.since + WINDOW),
        }
    }

    /// How many lines of a kind have to be reported; none while their window is open.
    fn take(&mut self, kind: &Kind, now: Instant) -> u64 {
        let at = self.0.iter().position(|w| w.kind == *kind && w.over(now));
        at.map_or(0, |at| self.0.swap_remove(at).held)
    }
}

static LIMITER: Mutex<LogLimiter> = Mutex::new(LogLimiter(Vec::new()));

fn limiter() -> std::sync::MutexGuard<'static, LogLimiter> {
    LIMITER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a line may be written. `of` is the configured name of what it is about; `what` tells
/// kinds of the same message apart.
#[must_use]
pub(crate) fn admits(
    message: &'static str,
    of: &Arc<str>,
    what: impl Into<Cow<'static, str>>,
) -> bool {
    let kind = Kind {
        message,
        of: Arc::clone(of),
        what: what.into(),
    };
    let line = limiter().line(&kind, Instant::now());
    match line {
        Line::Written { more } => {
            tell(&kind, more);
            true
        }
        Line::Held { tell_at } => {
            if let Some(at) = tell_at {
                tell_later(kind, at);
            }
            false
        }
    }
}

fn tell_later(kind: Kind, at: Instant) {
    // Outside of a runtime, the kind's next line or the end of the process reports it.
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(async move {
            tokio::time::sleep_until(at.into()).await;
            let more = limiter().take(&kind, Instant::now());
            tell(&kind, more);
        });
    }
}

/// Reports what is not reported yet, as the process ends.
pub(crate) fn flush() {
    let rest = std::mem::take(&mut limiter().0);
    for window in rest {
        tell(&window.kind, window.held);
    }
}

fn tell(kind: &Kind, more: u64) {
    let Kind { message, of, what } = kind;
    if more > 0 {
        warn!(%of, what = &**what, more, "{message}: and {more} more like it in the last second");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(of: &str, what: &'static str) -> Kind {
        Kind {
            message: "connection refused",
            of: of.into(),
            what: what.into(),
        }
    }

    fn written(limiter: &mut LogLimiter, kind: &Kind, now: Instant, lines: usize) -> usize {
        (0..lines)
            .filter(|_| matches!(limiter.line(kind, now), Line::Written { .. }))
            .count()
    }

    #[test]
    fn the_first_few_of_a_second_are_written_and_the_rest_is_told_once() {
        let (mut limiter, a) = (LogLimiter(Vec::new()), kind("in", "HTTP/1"));
        let start = Instant::now();
        assert_eq!(written(&mut limiter, &a, start, 5), 5);
        let at = start + WINDOW;
        let late = start + Duration::from_millis(999);
        let first = limiter.line(&a, start);
        assert_eq!(first, Line::Held { tell_at: Some(at) });
        assert_eq!(limiter.line(&a, late), Line::Held { tell_at: None });
        assert_eq!(limiter.take(&a, late), 0, "its window is open");
        assert_eq!(limiter.take(&a, at), 2);
        assert_eq!(limiter.take(&a, at), 0, "they are told once");
        assert_eq!(written(&mut limiter, &a, at, 9), 5);
    }

    #[test]
    fn who_comes_before_the_teller_tells() {
        let (mut limiter, a) = (LogLimiter(Vec::new()), kind("in", "HTTP/1"));
        let start = Instant::now();
        assert_eq!(written(&mut limiter, &a, start, 1000), 5);
        let at = start + WINDOW;
        assert_eq!(limiter.line(&a, at), Line::Written { more: 995 });
        assert_eq!(limiter.take(&a, at), 0);
        assert_eq!(written(&mut limiter, &a, at, 9), 4);
    }

    #[test]
    fn kinds_do_not_hide_each_other() {
        let mut limiter = LogLimiter(Vec::new());
        let start = Instant::now();
        assert_eq!(written(&mut limiter, &kind("in", "HTTP/1"), start, 9), 5);
        assert_eq!(written(&mut limiter, &kind("in", "TLS"), start, 9), 5);
        assert_eq!(written(&mut limiter, &kind("out", "TLS"), start, 9), 5);
    }

    #[test]
    fn old_kinds_are_forgotten_but_not_untold_ones() {
        let mut limiter = LogLimiter(Vec::new());
        let start = Instant::now();
        assert_eq!(written(&mut limiter, &kind("untold", ""), start, 6), 5);
        for name in 0..1000_u32 {
            let now = start + WINDOW * name;
            assert_eq!(
                limiter.line(&kind(&name.to_string(), ""), now),
                Line::Written { more: 0 }
            );
        }
        assert!(limiter.0.len() <= KEPT, "{}", limiter.0.len());
        assert_eq!(limiter.take(&kind("untold", ""), start + WINDOW), 1);
    }
}
