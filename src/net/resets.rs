//! The budget of resets on one connection to a callee. HTTP/2 servers end a connection whose client
//! resets many streams (the attack is CVE-2023-44487). A proxy resets a stream whenever a caller
//! cancels, and every other stream of the connection would die with it.
//!
//! The budget is *reserved when a stream is opened*: resets that are spent and not yet refilled,
//! plus open streams, stay within the burst. So any number of open streams may be canceled together.
//! A cancel itself never waits.
//!
//! | server | ends the connection |
//! |---|---|
//! | nghttp2 (Node, nghttpx) | a bucket of 1,000 resets, refilled by 33 a second (`nghttp2_option_set_stream_reset_rate_limit`) |
//! | Netty | after 200 resets within 30 s of the first (`Http2MaxRstFrameListener`) |
//! | Envoy | when by the 500th closed stream, or later, half of them were reset before their response began, within the first second (`overload.premature_reset_*`; whole seconds, so nearly two) |
//!
//! Pure arithmetic: the time is given.

use std::cell::Cell;
use std::time::Duration;

/// What a callee tolerates on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResetLimits {
    /// Resets at once. At least 1.
    pub burst: u32,
    /// How many of them come back each second.
    pub per_second: u32,
    /// Early resets, while fewer than 500 streams of the connection are over: those of young streams
    /// without a response. Later they may be 45 % of all streams that are over.
    pub early: u32,
}

impl ResetLimits {
    /// nghttp2's figures, less 10 %.
    pub const NGHTTP2: Self = Self {
        burst: 900,
        per_second: 29,
        early: Self::EARLY,
    };

    /// At most 180 resets in any 30 s: Netty's figures, less 10 %. In a time of 30 s a bucket gives
    /// its burst and what comes back meanwhile.
    pub const NETTY: Self = Self {
        burst: 150,
        per_second: 1,
        early: Self::EARLY,
    };

    /// Half of 500, less 10 %.
    const EARLY: u32 = 225;

    /// What two callees tolerate both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self {
            burst: self.burst.min(other.burst),
            per_second: self.per_second.min(other.per_second),
            early: self.early.min(other.early),
        }
    }
}

/// A stream is young for that long. Envoy counts in whole seconds: its first second ends just before
/// the second one does.
const YOUNG: u32 = 2_000;

/// The unit of what is spent: a thousandth of a reset.
const UNIT: u64 = 1_000;

/// What one connection has spent.
#[derive(Debug, Default)]
pub struct Resets {
    /// Not yet refilled, at the time `at` (in milliseconds of the connection's life).
    spent: Cell<u64>,
    at: Cell<u64>,
    /// How many come back each second, by the limits of the last look.
    per_second: Cell<u32>,
    /// Streams that are over, and those of them that were reset early.
    closed: Cell<u64>,
    early: Cell<u64>,
    /// Streams without a response, by when they were opened: in the current period, and in the one
    /// before. All that are young are among them.
    period: Cell<u32>,
    young: Cell<[u32; 2]>,
}

/// When a stream was opened, as long as it has no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened(u32);

impl Resets {
    /// How many more streams may be opened, with `active` open ones. Negative when there are too
    /// many already. `age` is that of the connection. While it is `blocked`, resets that this side
    /// wrote may not have arrived, so that nothing comes back.
    #[must_use]
    pub fn room(&self, limits: &ResetLimits, active: usize, age: Duration, blocked: bool) -> i64 {
        self.refill(age, blocked);
        self.per_second.set(limits.per_second);
        let spent = i64::try_from(self.spent.get().div_ceil(UNIT)).unwrap_or(i64::MAX);
        let active = i64::try_from(active).unwrap_or(i64::MAX);
        let burst = i64::from(limits.burst)
            .saturating_sub(spent)
            .saturating_sub(active);
        burst.min(self.early_room(limits, age))
    }

    /// Whether there is room for one more stream for certain, whatever the time is. False says
    /// nothing: [`Resets::room`] does.
    #[must_use]
    pub fn is_free(&self, limits: &ResetLimits, active: usize) -> bool {
        self.per_second.set(limits.per_second);
        let burst = usize::try_from(limits.burst).unwrap_or(usize::MAX);
        // As time goes on, streams that are young now are no longer.
        self.spent.get() == 0 && active < burst && self.early_left(limits) > 0
    }

    fn early_left(&self, limits: &ResetLimits) -> i64 {
        let allowed = u64::from(limits.early).max(self.closed.get().saturating_mul(9) / 20);
        let [current, before] = self.young.get();
        let taken = self.early.get() + u64::from(current) + u64::from(before);
        i64::try_from(allowed)
            .unwrap_or(i64::MAX)
            .saturating_sub_unsigned(taken)
    }

    fn early_room(&self, limits: &ResetLimits, age: Duration) -> i64 {
        if limits.early == u32::MAX {
            return i64::MAX;
        }
        self.turn(period(age));
        self.early_left(limits)
    }

    fn refill(&self, age: Duration, blocked: bool) {
        let now = millis(age);
        let passed = now.saturating_sub(self.at.replace(now));
        if !blocked {
            let back = passed.saturating_mul(u64::from(self.per_second.get()));
            self.spent.set(self.spent.get().saturating_sub(back));
        }
    }

    /// A stream was opened.
    pub fn opened(&self, age: Duration) -> Opened {
        let now = period(age);
        self.turn(now);
        let [current, before] = self.young.get();
        self.young.set([current + 1, before]);
        Opened(now)
    }

    /// The response to a stream has begun.
    pub fn answered(&self, opened: Opened) {
        let [current, before] = self.young.get();
        let now = self.period.get();
        if opened.0 == now {
            self.young.set([current.saturating_sub(1), before]);
        } else if opened.0 + 1 == now {
            self.young.set([current, before.saturating_sub(1)]);
        }
    }

    /// A stream is over. `unanswered` when its response had not begun.
    pub fn closed(&self, unanswered: Option<Opened>) {
        self.closed.set(self.closed.get() + 1);
        if let Some(opened) = unanswered {
            self.answered(opened);
        }
    }

    /// A stream is over by a reset of this side.
    pub fn reset(&self, unanswered: Option<Opened>, age: Duration, blocked: bool) {
        self.closed(unanswered);
        self.refill(age, blocked);
        self.spent.set(self.spent.get().saturating_add(UNIT));
        if let Some(opened) = unanswered
            && opened.0 + 1 >= period(age)
        {
            self.early.set(self.early.get() + 1);
        }
    }

    /// The resets that are spent and not yet refilled, at the last look.
    #[must_use]
    pub fn spent(&self) -> u64 {
        self.spent.get().div_ceil(UNIT)
    }

    fn turn(&self, now: u32) {
        let before = self.period.replace(now);
        let [current, _] = self.young.get();
        match now.saturating_sub(before) {
            0 => {}
            1 => self.young.set([0, current]),
            _ => self.young.set([0, 0]),
        }
    }
}

fn millis(age: Duration) -> u64 {
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}

fn period(age: Duration) -> u32 {
    u32::try_from(millis(age) / u64::from(YOUNG)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
