//! The budget against models of the servers that it has to spare. The time is a number.

use proptest::prelude::*;

use super::*;

/// The servers' rules, fed with the resets of one connection. Each returns whether the connection
/// lives.
#[derive(Default)]
struct Servers {
    nghttp2: Option<(i64, u64)>,
    resets: Vec<u64>,
    closed: u64,
    early: u64,
}

impl Servers {
    fn reset(&mut self, now: u64, early: bool) {
        let second = now / 1000;
        let (tokens, last) = self.nghttp2.unwrap_or((1000, second));
        let tokens = (tokens + 33 * (second - last) as i64).min(1000) - 1;
        self.nghttp2 = Some((tokens, second));
        self.resets.push(now);
        self.closed += 1;
        self.early += u64::from(early);
    }

    fn nghttp2_lives(&self) -> bool {
        self.nghttp2.is_none_or(|(tokens, _)| tokens >= 0)
    }

    /// The most resets in any 30 s.
    fn most(&self) -> usize {
        let mut first = 0;
        let window = |(last, at): (usize, &u64)| {
            while at - self.resets[first] > 30_000 {
                first += 1;
            }
            last - first + 1
        };
        self.resets
            .iter()
            .enumerate()
            .map(window)
            .max()
            .unwrap_or(0)
    }

    fn envoy_lives(&self) -> bool {
        self.early * 2 < self.closed.max(500)
    }
}

/// What happens on the connection.
#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Open(u16),
    Answer(u16),
    Finish(u16),
    Reset(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..60_000_u64).prop_map(Step::Pass),
        (0..500_u64).prop_map(Step::Pass),
        (1..2000_u16).prop_map(Step::Open),
        (1..2000_u16).prop_map(Step::Open),
        (1..1000_u16).prop_map(Step::Answer),
        (1..300_u16).prop_map(Step::Finish),
        (1..2000_u16).prop_map(Step::Reset),
        (1..2000_u16).prop_map(Step::Reset),
    ];
    prop::collection::vec(step, 1..120)
}

/// Plays the steps, opening streams only where there is room.
fn play(limits: &ResetLimits, steps: &[Step], check: impl Fn(&Servers)) {
    let (resets, mut servers, mut now) = (Resets::default(), Servers::default(), 0);
    // When each was opened, and whether it is answered.
    let mut open: Vec<(u64, Option<Opened>)> = Vec::new();
    for step in steps {
        let age = Duration::from_millis(now);
        match *step {
            Step::Pass(millis) => now += millis,
            Step::Open(count) => {
                for _ in 0..count {
                    let active = open.len();
                    let has_room = resets.is_free(limits, active)
                        || resets.room(limits, active, age, false) > 0;
                    if !has_room {
                        break;
                    }
                    open.push((now, Some(resets.opened(age))));
                }
            }
            Step::Answer(count) => {
                let unanswered = open.iter_mut().filter(|(_, o)| o.is_some());
                for (_, opened) in unanswered.take(count.into()) {
                    resets.answered(opened.take().unwrap());
                }
            }
            Step::Finish(count) => {
                for _ in 0..count.min(open.len() as u16) {
                    let (_, unanswered) = open.remove(0);
                    resets.closed(unanswered);
                    servers.closed += 1;
                }
            }
            Step::Reset(count) => {
                for _ in 0..count.min(open.len() as u16) {
                    let (since, unanswered) = open.remove(0);
                    resets.reset(unanswered, age, false);
                    servers.reset(now, unanswered.is_some() && now - since < 2_000);
                    check(&servers);
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn no_server_ends_a_connection_within_the_budget(steps in steps()) {
        play(&ResetLimits::NGHTTP2, &steps, |servers| {
            assert!(servers.nghttp2_lives());
            assert!(servers.envoy_lives(), "{} of {}", servers.early, servers.closed);
        });
        play(&ResetLimits::NETTY, &steps, |servers| {
            assert!(servers.nghttp2_lives() && servers.envoy_lives());
        });
    }

    #[test]
    fn no_time_of_thirty_seconds_has_more_than_netty_takes(steps in steps()) {
        let most = std::cell::Cell::new(0);
        play(&ResetLimits::NETTY, &steps, |servers| most.set(servers.resets.len()));
        if most.get() > 180 {
            play(&ResetLimits::NETTY, &steps, |servers| {
                if servers.resets.len() == most.get() {
                    assert!(servers.most() <= 180, "{}", servers.most());
                }
            });
        }
    }
}

/// How many connections open streams need.
fn connections(limits: &ResetLimits, streams: usize, answered: bool) -> usize {
    let (mut all, mut left) = (0, streams);
    while left > 0 {
        let (resets, mut active) = (Resets::default(), 0);
        while left > 0 && resets.room(limits, active, Duration::ZERO, false) > 0 {
            let opened = resets.opened(Duration::ZERO);
            if answered {
                resets.answered(opened);
            }
            (active, left) = (active + 1, left - 1);
        }
        all += 1;
    }
    all
}

#[test]
fn five_thousand_open_streams_need_so_many_connections() {
    assert_eq!(connections(&ResetLimits::NGHTTP2, 5_000, true), 6);
    assert_eq!(connections(&ResetLimits::NGHTTP2, 5_000, false), 23);
    assert_eq!(connections(&ResetLimits::NETTY, 5_000, true), 34);
    let own = ResetLimits {
        burst: 5_000,
        per_second: 0,
        early: u32::MAX,
    };
    assert_eq!(connections(&own, 5_000, false), 1);
}

#[test]
fn what_is_spent_comes_back_and_not_while_the_connection_is_blocked() {
    let (limits, resets) = (ResetLimits::NGHTTP2, Resets::default());
    let at = Duration::from_secs;
    let room = |age, blocked| resets.room(&limits, 0, age, blocked);
    // A long time before does not count.
    assert_eq!(room(at(1), false), 225);
    for _ in 0..900 {
        let opened = resets.opened(at(100));
        resets.answered(opened);
        resets.reset(None, at(100), false);
    }
    assert_eq!(room(at(100), false), 0);
    assert_eq!(room(at(101), false), 29);
    assert_eq!(room(at(111), true), 29);
    assert_eq!(room(at(112), false), 58);
    assert_eq!(resets.spent(), 900 - 58);
    assert_eq!(resets.room(&limits, 100, at(112), false), -42);
    // All of it, and then no more than the burst. Of so many streams, 405 may be early ones.
    assert_eq!(room(at(1_000), false), 405);
}

#[test]
fn streams_with_a_response_or_of_some_age_are_no_early_resets() {
    let limits = ResetLimits {
        burst: u32::MAX,
        ..ResetLimits::NGHTTP2
    };
    let resets = Resets::default();
    let at = Duration::from_millis;
    let room = |age| resets.room(&limits, 0, at(age), false);
    let many: Vec<_> = (0..225).map(|_| resets.opened(at(0))).collect();
    assert_eq!(room(0), 0);
    assert_eq!(room(3_999), 0);
    // The youngest are four seconds old.
    assert!(
        !resets.is_free(&limits, 0),
        "without the time it is not known"
    );
    assert_eq!(room(4_000), 225);
    assert!(resets.is_free(&limits, 0));
    for opened in many {
        resets.reset(Some(opened), at(4_000), false);
    }
    assert_eq!(room(4_000), 225);
    let young = resets.opened(at(4_100));
    assert_eq!(room(4_100), 224);
    resets.reset(Some(young), at(5_000), false);
    assert_eq!(room(60_000), 224, "an early reset stays");
    let answered = resets.opened(at(60_000));
    resets.answered(answered);
    resets.reset(None, at(60_000), false);
    assert_eq!(room(60_000), 224);
}
