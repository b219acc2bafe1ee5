//! The streams of one connection, of which a fixed number have a message in flight. A stream whose
//! message came back goes to the end of the line, and the next in line sends. So the load does not
//! depend on the number of streams. Knows no wire.

use std::collections::VecDeque;

pub(crate) struct Ring<S> {
    line: VecDeque<S>,
    joined: usize,
    total: usize,
    in_flight: usize,
}

/// What came back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Back {
    /// A stream's first message: the stream is up.
    Joined,
    /// A round trip.
    Done,
}

impl<S> Ring<S> {
    /// A line of `total` streams; the load begins when all of them are up.
    pub(crate) fn new(total: usize, in_flight: usize) -> Self {
        Self {
            line: VecDeque::with_capacity(total),
            joined: 0,
            total,
            in_flight,
        }
    }

    /// Takes a stream whose message came back; `send` is called for each that is to send now.
    pub(crate) fn back(&mut self, stream: S, mut send: impl FnMut(&S)) -> Back {
        self.line.push_back(stream);
        let was = if self.joined < self.total {
            self.joined += 1;
            Back::Joined
        } else {
            Back::Done
        };
        let count = match was {
            Back::Done => 1,
            Back::Joined if self.joined == self.total => self.in_flight,
            Back::Joined => 0,
        };
        for _ in 0..count {
            if let Some(next) = self.line.pop_front() {
                send(&next);
            }
        }
        was
    }
}
