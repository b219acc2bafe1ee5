//! Streams that get small messages at an even pace, like the tokens of a language model. Decides
//! who sends what when, and writes the time stamp by which the caller knows a message's age.
//!
//! The pacer spins while there are such streams. Timers of 1 ms would make bursts, and a core that
//! sleeps would add its waking to every latency. Knows no wire.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Messages per second on each stream.
pub(crate) const RATE: u32 = 30;
/// Payload bytes of each; the first eight are the stamp.
pub(crate) const SIZE: usize = 64;

/// How many overdue messages leave before the sockets get their turn.
const BURST: usize = 64;

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The time at which a message was made, in nanoseconds of this process, as bytes.
pub(crate) fn stamp() -> [u8; 8] {
    u64::try_from(EPOCH.elapsed().as_nanos())
        .unwrap_or(u64::MAX)
        .to_be_bytes()
}

/// How old a message with this payload is.
pub(crate) fn age(payload: &[u8]) -> Option<Duration> {
    let stamp = u64::from_be_bytes(*payload.first_chunk()?);
    Some(EPOCH.elapsed().saturating_sub(Duration::from_nanos(stamp)))
}

/// Sends one message; false once the stream is gone.
type Send = Box<dyn Fn() -> bool>;

/// All paced streams of the echo servers, each at [`RATE`], spread evenly over time.
#[derive(Default)]
pub(crate) struct Pacer {
    turn: RefCell<VecDeque<Send>>,
    joined: Notify,
    slips: Cell<u64>,
}

impl Pacer {
    /// Adds a stream.
    pub(crate) fn join(&self, send: impl Fn() -> bool + 'static) {
        self.turn.borrow_mut().push_back(Box::new(send));
        self.joined.notify_one();
    }

    /// How often the pacer was 100 ms late and gave up what was overdue.
    pub(crate) fn slips(&self) -> u64 {
        self.slips.get()
    }

    /// Serves until the task is dropped.
    pub(crate) async fn run(self: Rc<Self>) {
        loop {
            self.joined.notified().await;
            let mut next = Instant::now();
            let mut burst = 0;
            loop {
                let streams = self.turn.borrow().len();
                let now = Instant::now();
                if now < next || burst >= BURST {
                    burst = 0;
                    tokio::task::yield_now().await;
                    continue;
                }
                if now - next > Duration::from_millis(100) {
                    self.slips.set(self.slips.get() + 1);
                    next = now;
                }
                let Some(send) = self.turn.borrow_mut().pop_front() else {
                    break;
                };
                if send() {
                    self.turn.borrow_mut().push_back(send);
                }
                next += Duration::from_secs(1) / RATE / u32::try_from(streams).unwrap_or(1).max(1);
                burst += 1;
            }
        }
    }
}
