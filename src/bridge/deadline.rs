//! The deadline of a stream, and whose limit it is. It ends the stream in the same way whichever
//! clock is first: the caller's, another hop's, the callee's, or the one of this hop.

use std::time::Duration;

use tokio::time::Instant;

use crate::stream::{
    Cancel, Code, End, Failure, Initiator, LimitOwner, LocalEnd, LocalEndKind, Path, Reason, code,
};

/// The resolution of timers: by so much a callee's clock can be ahead, although it starts later.
const TIMERS: Duration = Duration::from_millis(2);

/// The text of the end.
const AT_DEADLINE: &str = "stream timeout";

/// When a stream must be over, and who said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// The time.
    pub at: Instant,
    /// The names from the one who set it to the one before this hop. `None` when this hop set it,
    /// or when it is not known who did.
    pub set_by: Option<Box<Path>>,
}

impl Deadline {
    /// One that is over now and that another than this hop set.
    #[must_use]
    pub fn passed(set_by: Path) -> Self {
        Self {
            at: Instant::now(),
            set_by: Some(Box::new(set_by)),
        }
    }

    /// The end at the deadline, of a stream that the callee may have seen.
    #[must_use]
    pub fn end(&self, text: &str) -> End {
        self.owned(End::hop(LocalEndKind::Deadline, text), false)
    }

    /// The same end for `end`, if that is this deadline as another clock saw it: a callee's reset at
    /// the deadline, or a cancel with this cause whose path begins with the one who set it.
    #[must_use]
    pub fn recognize(&self, mut end: End, node: &str) -> End {
        if self.is_callees_own(&end) {
            return self.end(AT_DEADLINE);
        }
        let caller_was_first = end.by == Initiator::Caller;
        match &mut end.reason {
            Reason::Hop(hop) if hop.kind == LocalEndKind::Deadline && end.by == Initiator::Hop => {}
            Reason::Canceled(cancel) if self.is_seen_in(cancel, end.by, node) => {
                let text = std::mem::take(&mut cancel.cause.text);
                end.reason = Reason::Hop(LocalEnd::new(LocalEndKind::Deadline, text));
            }
            Reason::Complete | Reason::Failed(_) | Reason::Canceled(_) | Reason::Hop(_) => {
                return end;
            }
        }
        self.owned(end, caller_was_first)
    }

    /// Whether it is the status of a callee whose own clock of this deadline was first, by the
    /// resolution of timers.
    fn is_callees_own(&self, end: &End) -> bool {
        let Reason::Failed(Failure::Status(status)) = &end.reason else {
            return false;
        };
        end.by == Initiator::Callee
            && Code::from_number(status.code) == Code::DeadlineExceeded
            && Instant::now() + TIMERS >= self.at
    }

    fn is_seen_in(&self, cancel: &Cancel, by: Initiator, node: &str) -> bool {
        if cancel.cause.code != code::STREAM_TIMEOUT {
            return false;
        }
        match (by, self.set_by.as_deref()) {
            (Initiator::Caller, Some(set_by)) => cancel.path == *set_by,
            // A hop behind this one counts the same limit. This hop's name is in its path.
            (Initiator::Callee, Some(set_by)) => {
                let mut passed = set_by.clone();
                passed.append(node);
                cancel.path.names().starts_with(passed.names())
            }
            (Initiator::Callee, None) => cancel.path.origin() == Some(node),
            (Initiator::Caller, None) | (Initiator::Hop, _) => false,
        }
    }

    fn owned(&self, mut end: End, caller_was_first: bool) -> End {
        if let (Some(set_by), Reason::Hop(hop)) = (&self.set_by, &mut end.reason) {
            hop.owner = Some(Box::new(LimitOwner {
                path: Path::clone(set_by),
                caller_was_first,
            }));
            end.by = Initiator::Caller;
        } else {
            end.by = Initiator::Hop;
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::settle;
    use crate::stream::{CancelSignal, Cause, Class};

    fn deadline(set_by: Option<&str>) -> Deadline {
        Deadline {
            at: Instant::now(),
            set_by: set_by.map(|names| Box::new(Path::parse(names))),
        }
    }

    fn canceled(by: Initiator, code: i32, path: &str) -> End {
        let cancel = Cancel {
            cause: Cause {
                code,
                text: "stream timeout".to_owned(),
            },
            path: Path::parse(path),
            class: Class::Foreign,
            signal: CancelSignal::STATUS,
            status: None,
        };
        End::canceled(by, cancel)
    }

    /// Whichever clock is first, the callee, the caller and the access log have the same.
    #[test]
    fn every_clock_of_one_deadline_gives_the_same_end() {
        use Initiator::{Callee, Caller};
        for (set_by, clocks, path) in [
            (
                Some("app,a"),
                vec![
                    (Caller, "app,a"),
                    (Callee, "app,a,b,c"),
                    (Callee, "app,a,b"),
                ],
                "app,a,b",
            ),
            (Some("a"), vec![(Caller, "a"), (Callee, "a,b,c")], "a,b"),
            (None, vec![(Callee, "b,c"), (Callee, "b")], "b"),
        ] {
            let deadline = deadline(set_by);
            let own = settle(deadline.end("stream timeout"), "b", true);
            assert_eq!(own.to_callee.as_ref().unwrap().path.to_wire(), path);
            assert!(own.tell_caller, "a caller that waits receives it");
            let Reason::Hop(hop) = &own.end.reason else {
                panic!("{own:?}")
            };
            assert_eq!(hop.to_caller("b").path.to_wire(), path);
            assert_eq!(own.end.by == Initiator::Hop, set_by.is_none());
            for (by, seen) in clocks {
                let end = canceled(by, code::STREAM_TIMEOUT, seen);
                let mut end = settle(deadline.recognize(end, "b"), "b", true);
                assert_eq!(
                    end.tell_caller,
                    by == Callee,
                    "its own reset is not answered"
                );
                end.tell_caller = true;
                if let Reason::Hop(hop) = &mut end.end.reason
                    && let Some(owner) = &mut hop.owner
                {
                    owner.caller_was_first = false;
                }
                assert_eq!(end, own, "{set_by:?}: {by:?}, {seen}");
            }
            let reset = End::hop(LocalEndKind::Deadline, "stream timeout");
            let end = deadline.recognize(reset, "b");
            assert_eq!(
                settle(end, "b", true),
                own,
                "{set_by:?}: the callee's reset"
            );
        }
    }

    /// A callee that knows the deadline may say so a moment before this hop's timer.
    #[tokio::test(start_paused = true)]
    async fn a_callees_status_is_the_deadline_only_at_the_deadline() {
        let deadline = Deadline {
            at: Instant::now() + Duration::from_secs(1),
            ..deadline(Some("app,a"))
        };
        let status = |code| {
            let status = crate::stream::Status {
                code,
                message: "context deadline exceeded".to_owned(),
                details: None,
            };
            End::failed(Failure::Status(status), Default::default())
        };
        let said = |code| deadline.recognize(status(code), "b");
        tokio::time::advance(Duration::from_millis(990)).await;
        assert_eq!(said(4), status(4), "the callee's own limit");
        tokio::time::advance(Duration::from_millis(9)).await;
        assert_eq!(said(4), deadline.end("stream timeout"));
        assert_eq!(said(14), status(14));
    }

    #[test]
    fn another_end_stays_as_it_is() {
        use Initiator::{Callee, Caller};
        for (set_by, end) in [
            // Another limit, of somebody further on.
            (Some("app,a"), canceled(Callee, code::STREAM_TIMEOUT, "c")),
            (
                Some("app,a"),
                canceled(Callee, code::STREAM_TIMEOUT, "app,x,b"),
            ),
            (Some("app,a"), canceled(Callee, code::STREAM_TIMEOUT, "")),
            (None, canceled(Callee, code::STREAM_TIMEOUT, "c")),
            // A Kitex caller's own timeout, of which nothing was on the wire.
            (None, canceled(Caller, code::STREAM_TIMEOUT, "app")),
            (Some("a"), canceled(Caller, code::STREAM_TIMEOUT, "app,a")),
            (Some("app,a"), canceled(Caller, code::FOREIGN, "app,a")),
            (
                Some("app,a"),
                canceled(Callee, code::RECV_TIMEOUT, "app,a,b"),
            ),
            (Some("app,a"), End::hop(LocalEndKind::Idle, "idle")),
            (Some("app,a"), End::complete(Default::default())),
        ] {
            assert_eq!(deadline(set_by).recognize(end.clone(), "b"), end);
        }
    }
}
