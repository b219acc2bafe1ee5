//! The first end wins, and what each side receives of it (config/README.md, "Ends and cancels").
//! Plain functions.

use crate::stream::{Cancel, End, Initiator, Reason};

/// Holds the first end offered and ignores every later one.
#[derive(Debug, Default)]
pub struct FirstEnd {
    /// In a box: for most of a stream's life there is no end.
    end: Option<Box<End>>,
    settled: bool,
}

impl FirstEnd {
    /// Whether no end was offered yet.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        !self.settled
    }

    /// Offers an end. Returns true when it is the first.
    pub fn offer(&mut self, end: End) -> bool {
        if self.settled {
            return false;
        }
        self.settled = true;
        self.end = Some(Box::new(end));
        true
    }

    /// Takes the end out. Later offers are still ignored.
    pub fn take(&mut self) -> Option<End> {
        self.end.take().map(|end| *end)
    }
}

/// What each side receives of a stream's end.
#[derive(Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The end. A cancel has this hop in its path.
    pub end: End,
    /// Whether the caller receives the end. It does not when it canceled, or when its connection is
    /// lost.
    pub tell_caller: bool,
    /// The cancel that the callee receives; `None` when the callee ended the stream itself.
    pub to_callee: Option<Cancel>,
}

/// Decides what each side receives of the stream's first end. `callee_open`: the callee has not
/// ended the stream.
#[must_use]
pub fn settle(mut end: End, node: &str, callee_open: bool) -> Settlement {
    if let Reason::Canceled(cancel) = &mut end.reason {
        cancel.path.append(node);
    }
    end.sign(node);
    let tell_caller = match (&end.reason, end.by) {
        // A deadline of the caller's. It may still listen.
        (Reason::Hop(hop), Initiator::Caller) => hop
            .owner
            .as_ref()
            .is_none_or(|owner| !owner.caller_was_first),
        (Reason::Complete | Reason::Failed(_) | Reason::Canceled(_), Initiator::Caller) => false,
        (_, Initiator::Callee | Initiator::Hop) => true,
    };
    let to_callee = match (&end.reason, end.by) {
        (Reason::Canceled(cancel), Initiator::Caller | Initiator::Hop) => Some(cancel.clone()),
        (Reason::Hop(hop), _) => hop.to_callee(node),
        (Reason::Complete | Reason::Failed(_), _) | (Reason::Canceled(_), Initiator::Callee) => {
            None
        }
    };
    Settlement {
        tell_caller,
        to_callee: to_callee.filter(|_| callee_open),
        end,
    }
}
