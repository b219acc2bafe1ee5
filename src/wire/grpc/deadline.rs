//! When a reset means that a stream's deadline passed.

use std::time::Duration;

use tokio::time::Instant;

/// A reset at a stream's deadline counts as the deadline: RST_STREAM(CANCEL) is gRPC's only sign of
/// it. A reset before it is a cancel, however near the deadline is. What is known of the two clocks
/// decides: a peer's may be ahead only by what the head lost on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    /// From here on a reset counts as the deadline.
    near: Instant,
}

/// How much longer than its caller's reset a head may have been under way: a connection that was
/// just made, a burst of streams, a busy machine. Of streams that were opened one by one on a
/// machine with three times as much work as processors, this was enough.
const HEAD_LATE: Duration = Duration::from_millis(50);

/// A callee's clock starts after this hop's. What is left is the resolution of timers.
const TIMERS: Duration = Duration::from_millis(2);

impl Deadline {
    /// The deadline of a stream whose head was read now: the caller's clock started before, and
    /// `timeout` may have been rounded up. `heads`: how many were read on the way, this one
    /// included. A hop before this one that knows its caller's reset for the deadline has no other
    /// sign for it, and its clock runs behind the caller's too. Short deadlines leave less room for
    /// doubt: a tenth.
    pub(super) fn of_caller(timeout: Duration, heads: usize) -> Self {
        let heads = u32::try_from(heads).unwrap_or(u32::MAX);
        let late = HEAD_LATE.saturating_mul(heads).min(timeout / 10);
        Self::after(timeout, rounding(timeout) + late)
    }

    /// The deadline of a stream whose head was sent now.
    pub(super) fn of_callee(timeout: Duration) -> Self {
        Self::after(timeout, TIMERS.min(timeout / 10))
    }

    fn after(timeout: Duration, ahead: Duration) -> Self {
        Self {
            near: Instant::now() + timeout.saturating_sub(ahead),
        }
    }

    pub(super) fn is_near(self) -> bool {
        Instant::now() >= self.near
    }
}

/// By how much a peer may have rounded its deadline up to `timeout`: at most to the power of ten
/// that divides it, and never more than a hundredth (gRPC core keeps three digits).
fn rounding(timeout: Duration) -> Duration {
    let nanos = timeout.as_nanos();
    let mut unit: u128 = 1;
    while nanos.is_multiple_of(unit * 10) && unit * 1000 <= nanos {
        unit *= 10;
    }
    Duration::from_nanos(u64::try_from(unit).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::time::advance;

    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// Whether a caller's and a callee's reset after this time is the deadline.
    fn near(timeout: Duration, after: Duration) -> (bool, bool) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(async {
                let caller = Deadline::of_caller(timeout, 1);
                let callee = Deadline::of_callee(timeout);
                advance(after).await;
                (caller.is_near(), callee.is_near())
            })
    }

    #[test]
    fn a_cancel_before_the_deadline_is_a_cancel() {
        for (timeout, after) in [
            (ms(90), ms(5)),
            (ms(90), ms(70)),
            (ms(20), ms(15)),
            (ms(1), Duration::ZERO),
            (ms(1000), ms(930)),
            (ms(10_000), ms(9_800)),
            // Written exactly to the microsecond, so nothing was rounded up.
            (Duration::from_micros(9_994_214), ms(9_940)),
        ] {
            assert_eq!(
                near(timeout, after),
                (false, false),
                "{after:?} of {timeout:?}"
            );
        }
    }

    /// Each hop's clock runs behind the one before, and the caller's reset comes through at once.
    #[tokio::test(start_paused = true)]
    async fn the_heads_of_all_hops_may_have_been_late() {
        let late = ms(45);
        let timeout = ms(4000);
        let mut hops = Vec::new();
        let start = Instant::now();
        for heads in 1..=6 {
            advance(late).await;
            // A hop that reads the head hands all of the time on.
            hops.push((start.elapsed(), Deadline::of_caller(timeout, heads)));
        }
        advance(ms(4000) - start.elapsed()).await;
        for (late, hop) in &hops {
            assert!(hop.is_near(), "read after {late:?}");
        }
    }

    #[test]
    fn a_reset_at_the_deadline_is_the_deadline() {
        for (timeout, after) in [
            (ms(90), ms(90)),
            (ms(1), ms(1)),
            // The head was read some milliseconds late.
            (ms(90), ms(82)),
            (ms(1000), ms(952)),
            // gRPC core rounds 9.9 s and a little up to 10 s.
            (ms(10_000), ms(9_901)),
            (Duration::from_secs(600), ms(599_000)),
        ] {
            assert!(near(timeout, after).0, "{after:?} of {timeout:?}");
        }
        assert_eq!(near(ms(90), ms(89)), (true, true));
        assert_eq!(near(ms(90), ms(85)), (true, false));
    }

    /// gRPC core's `Timeout`: three digits, rounded up.
    fn core(timeout: Duration) -> Duration {
        let millis = timeout.as_nanos().div_ceil(1_000_000);
        let mut unit = 1;
        while millis.div_ceil(unit) >= 1000 {
            unit *= 10;
        }
        let rounded = millis.div_ceil(unit) * unit;
        Duration::from_millis(u64::try_from(rounded).unwrap())
    }

    proptest! {
        #[test]
        fn what_is_rounded_up_is_allowed_for(micros in 1_000u64..4_000_000_000) {
            let meant = Duration::from_micros(micros);
            prop_assert!(near(core(meant), meant).0);
            prop_assert_eq!(near(meant, meant), (true, true));
        }

        #[test]
        fn the_first_four_fifths_prove_nothing(micros in 1_000u64..4_000_000_000, part in 0u32..80) {
            let timeout = Duration::from_micros(micros);
            prop_assert_eq!(near(timeout, timeout * part / 100), (false, false));
        }
    }
}
