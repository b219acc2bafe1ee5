//! The three time limits of a stream, on one timer that costs nothing per message.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::bridge::Deadline;
use crate::stream::{End, LocalEndKind};

/// How long a stream and its parts may take. `None` means no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamTimeouts {
    /// When the whole stream must be over: the earlier of the caller's deadline and the route's.
    pub deadline: Option<Deadline>,
    /// The longest time in which no byte of a message moves in either direction. It is noticed at
    /// most a quarter late.
    pub idle: Option<Duration>,
    /// The longest time until the callee sends anything.
    pub first_response: Option<Duration>,
}

/// One timer, set to the earliest limit. Activity is compared only when the timer fires.
pub(super) struct Clock {
    // In boxes: most streams have none of these, or not for long.
    deadline: Option<Box<Deadline>>,
    idle: Option<Box<Idle>>,
    first_response: Option<Box<(Instant, Duration)>>,
    /// Set once the callee has ended: until when its messages may wait for the caller, and how many
    /// bytes were waiting.
    leaving: Option<Box<(Instant, usize)>>,
    timer: Option<Pin<Box<Sleep>>>,
    registered: bool,
}

/// How long a caller that reads nothing may keep a stream that the callee has ended.
const LINGER: Duration = Duration::from_secs(30);

struct Idle {
    limit: Duration,
    check: Instant,
    activity: u64,
    quiet_since: Instant,
}

impl Clock {
    pub(super) fn new(limits: &StreamTimeouts) -> Self {
        let mut clock = Self {
            deadline: limits.deadline.clone().map(Box::new),
            idle: limits.idle.map(|limit| {
                let now = Instant::now();
                Box::new(Idle {
                    limit,
                    check: now + limit / 4,
                    activity: 0,
                    quiet_since: now,
                })
            }),
            first_response: limits
                .first_response
                .map(|limit| Box::new((Instant::now() + limit, limit))),
            leaving: None,
            timer: None,
            registered: false,
        };
        clock.timer = clock
            .earliest()
            .map(|at| Box::pin(tokio::time::sleep_until(at)));
        clock
    }

    /// See [`Deadline::recognize`].
    pub(super) fn recognize(&self, end: End, node: &str) -> End {
        match &self.deadline {
            Some(deadline) => deadline.recognize(end, node),
            None => end,
        }
    }

    pub(super) fn deadline(&self) -> Option<&Deadline> {
        self.deadline.as_deref()
    }

    fn rearm(&mut self) {
        self.registered = false;
        match (self.earliest(), &mut self.timer) {
            (Some(at), Some(timer)) => timer.as_mut().reset(at),
            (Some(at), None) => self.timer = Some(Box::pin(tokio::time::sleep_until(at))),
            (None, _) => self.timer = None,
        }
    }

    fn earliest(&self) -> Option<Instant> {
        [
            self.deadline.as_ref().map(|deadline| deadline.at),
            self.idle.as_ref().map(|i| i.check),
            self.first_response.as_ref().map(|first| first.0),
            self.leaving.as_ref().map(|leaving| leaving.0),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Ready with the end of a limit that has passed. Cheap when the timer has not fired.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        answered: bool,
        activity: u64,
        leaving: Option<usize>,
    ) -> Poll<End> {
        let this = self;
        if let Some(left) = leaving
            && this.leaving.is_none()
        {
            this.leaving = Some(Box::new((Instant::now() + LINGER, left)));
            this.rearm();
        }
        loop {
            let Some(timer) = &mut this.timer else {
                return Poll::Pending;
            };
            // A registered timer wakes the task by itself: polling it again would only cost.
            if this.registered && !timer.is_elapsed() {
                return Poll::Pending;
            }
            this.registered = true;
            ready!(timer.as_mut().poll(cx));
            let now = Instant::now();
            if let Some(deadline) = this.deadline.as_deref().filter(|limit| limit.at <= now) {
                return Poll::Ready(deadline.end("stream timeout"));
            }
            if let Some((at, limit)) = this.first_response.as_deref().copied() {
                if answered {
                    this.first_response = None;
                } else if at <= now {
                    let text = format!(
                        "no response from the callee within {limit:?} (timeouts.first_response)"
                    );
                    return Poll::Ready(End::hop(LocalEndKind::FirstResponse, text));
                }
            }
            if let Some(idle) = &mut this.idle
                && idle.check <= now
            {
                if idle.activity != activity {
                    idle.activity = activity;
                    idle.quiet_since = now;
                } else if now - idle.quiet_since >= idle.limit {
                    let text = format!("no message for {:?} (timeouts.idle)", idle.limit);
                    return Poll::Ready(End::hop(LocalEndKind::Idle, text));
                }
                idle.check = (now + idle.limit / 4)
                    .min(idle.quiet_since + idle.limit)
                    .max(now + Duration::from_millis(1));
            }
            if let (Some(waiting), Some(left)) = (&mut this.leaving, leaving)
                && waiting.0 <= now
            {
                if waiting.1 == left {
                    let text =
                        format!("the caller took nothing for {LINGER:?} after the callee's end");
                    return Poll::Ready(End::hop(LocalEndKind::SlowReceiver, text));
                }
                **waiting = (now + LINGER, left);
            }
            this.rearm();
        }
    }
}
