//! The sending side of the control stream: a connection to another ripcord.
//!
//! The rule: a cancel's detail leaves before the RST_STREAM of its stream, in the same flush, and
//! never delays it for long. `h2` writes one frame of each stream in turn, so a reset that it was
//! given now would leave before the details that wait. Hence these steps:
//!
//! 1. [`Hop::detail`] gives the detail to the connection, as DATA of the control stream. Without
//!    room for it, it is left out.
//! 2. [`Hop::reset`] does not reset the stream yet. It queues a [`Reset`], with the number of
//!    details given so far, and wakes the driver.
//! 3. [`Parting::drive`] polls the driver with the flush held: details go into the connection's
//!    queue, and nothing to the socket.
//! 4. Each detail counts itself as done when `h2` drops its buffer ([`Counted`]). That is the only
//!    sign that `h2` has written it.
//! 5. Resets that are due ([`Waiting::due`]) are given to `h2`. On a free socket that is all of
//!    them. On a full one it is those whose details are done.
//! 6. The driver is polled again, now with the flush. Detail and reset leave together.
//!
//! When the last stream is gone, [`Hop`] ends the control stream. The connection stays until the
//! peer has answered or the grace is over, so that the last detail is not lost.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tokio::time::Sleep;

use super::{CONTROL, CancelDetail};
use crate::net::http2::{Control, ResetCode, ResponseFuture, SendBody, SendRequest};
use crate::stream::{Cancel, RequestHead};
use crate::wire::grpc::metadata;
use crate::wire::grpc::send::Sender;

/// Bytes of details that may be given to the connection while the control stream has no capacity.
/// It has none before it is written for the first time, and a storm begins with many cancels.
const UNASSIGNED: usize = 256 * 1024;

/// One connection's control stream. It has no task: it acts only when a stream is canceled. It goes
/// with the last stream of the connection, so that it does not keep an idle connection open.
#[derive(Debug)]
pub(in crate::wire::grpc) struct Hop {
    requests: SendRequest,
    /// The name of the next stream. The first one is random, so that no two connections have the
    /// same names.
    next: Cell<u64>,
    control: RefCell<ControlStream>,
    parting: Parting,
}

#[derive(Debug)]
enum ControlStream {
    /// Nothing was canceled yet.
    None,
    Open(Open),
    /// The peer does not serve it, or serves it no longer.
    Over,
}

#[derive(Debug)]
struct Open {
    answer: ResponseFuture,
    body: SendBody,
    /// What is left of [`UNASSIGNED`].
    unassigned: usize,
}

impl Hop {
    pub(in crate::wire::grpc) fn new(requests: SendRequest) -> Rc<Self> {
        Rc::new(Self {
            requests,
            next: Cell::new(RandomState::new().build_hasher().finish()),
            control: RefCell::new(ControlStream::None),
            parting: Parting::default(),
        })
    }

    /// The part of it that the connection's driver does.
    pub(in crate::wire::grpc) fn parting(&self) -> Parting {
        self.parting.clone()
    }

    /// A name for a new stream.
    pub(in crate::wire::grpc) fn next(&self) -> u64 {
        self.next.replace(self.next.get().wrapping_add(1))
    }

    /// How many of the connection's streams it uses itself.
    pub(in crate::wire::grpc) fn streams(&self) -> usize {
        match &*self.control.borrow() {
            ControlStream::Open(_) => 1,
            ControlStream::None | ControlStream::Over => 0,
        }
    }

    /// Sends the detail of a cancel, if that is possible at once. The stream's reset has to be
    /// given to [`Hop::reset`] next. `active` is the number of the connection's open streams.
    pub(in crate::wire::grpc) fn detail(&self, stream: u64, cancel: &Cancel, active: usize) {
        let control = &mut *self.control.borrow_mut();
        if let ControlStream::None = control {
            // The control stream must not take the place of a stream.
            if active >= self.requests.current_max_send_streams() {
                return;
            }
            *control = self.open().map_or(ControlStream::Over, ControlStream::Open);
        }
        let detail = CancelDetail::new(stream, cancel);
        if let ControlStream::Open(open) = control
            && open.send(&detail, &self.parting).is_err()
        {
            *control = ControlStream::Over;
        }
    }

    /// Resets a stream after all details so far, and in the same flush (see the module's comment).
    pub(in crate::wire::grpc) fn reset(&self, stream: Sender, code: ResetCode) {
        let waiting = &mut *self.parting.0.borrow_mut();
        let behind = waiting.noted;
        waiting.resets.push_back(Reset {
            stream,
            code,
            behind,
        });
        if let Some(driver) = &waiting.driver {
            driver.wake_by_ref();
        }
    }

    fn open(&self) -> Option<Open> {
        let head = RequestHead::default();
        let mut request: Request<()> = metadata::request(&head);
        *request.uri_mut() = format!("http://localhost{CONTROL}").parse().ok()?;
        let (answer, body) = self.requests.clone().send_request(request, false).ok()?;
        Some(Open {
            answer,
            body,
            unassigned: UNASSIGNED,
        })
    }
}

/// The peer ended the control stream.
struct Ended;

impl Open {
    fn send(&mut self, detail: &CancelDetail, parting: &Parting) -> Result<(), Ended> {
        let detail = detail.encode();
        // The peer answers only at the end. Whatever the answer is, the control stream is over.
        let mut nobody = Context::from_waker(Waker::noop());
        if Pin::new(&mut self.answer).poll(&mut nobody).is_ready() {
            return Err(Ended);
        }
        self.body.reserve_capacity(detail.len());
        if self.body.capacity() < detail.len() {
            if self.unassigned < detail.len() {
                // There is no room. A detail that comes after the reset would be of no use.
                self.body.reserve_capacity(0);
                return Ok(());
            }
            self.unassigned -= detail.len();
        }
        let counted = parting.count(detail);
        self.body.send_data(counted, false).map_err(|_| Ended)
    }
}

/// The connection and its last stream were dropped. What was sent last still has to be written.
impl Drop for Hop {
    fn drop(&mut self) {
        let control = std::mem::replace(self.control.get_mut(), ControlStream::Over);
        if let ControlStream::Open(mut open) = control
            && open.body.send_data(Bytes::new(), true).is_ok()
        {
            let waiting = &mut *self.parting.0.borrow_mut();
            waiting.open = Some(open);
            if let Some(driver) = &waiting.driver {
                driver.wake_by_ref();
            }
        }
    }
}

/// What a connection's driver does for its [`Hop`].
#[derive(Clone, Debug, Default)]
pub(in crate::wire::grpc) struct Parting(Rc<RefCell<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    /// Streams that have to be reset, in order.
    resets: VecDeque<Reset>,
    /// How many details were given to the connection.
    noted: u64,
    /// How many of them the connection has finished with. It wrote them in their order, or dropped
    /// all.
    done: Arc<AtomicU64>,
    /// A control stream that has ended. Dropping its handles would take back what is not written
    /// yet.
    open: Option<Open>,
    /// How long the peer may take to answer that it read everything.
    timer: Option<Pin<Box<Sleep>>>,
    driver: Option<Waker>,
}

#[derive(Debug)]
struct Reset {
    stream: Sender,
    code: ResetCode,
    /// How many details the connection had been given before: its own, if there is one, is among
    /// them.
    behind: u64,
}

/// A detail that counts itself as done when it is dropped: the connection then has finished with it
/// ([`SendBody::send_data`]).
struct Counted {
    detail: Bytes,
    done: Arc<AtomicU64>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.detail
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }
}

impl Parting {
    /// The detail as it is sent, counted.
    fn count(&self, detail: Bytes) -> Bytes {
        let waiting = &mut *self.0.borrow_mut();
        waiting.noted += 1;
        Bytes::from_owner(Counted {
            detail,
            done: Arc::clone(&waiting.done),
        })
    }

    /// Drives the connection. It is not over before the control stream is.
    pub(in crate::wire::grpc) async fn drive<T>(
        self,
        driver: impl Future<Output = T>,
        control: Control,
        grace: Duration,
    ) -> T {
        let mut driver = std::pin::pin!(driver);
        poll_fn(|cx| {
            self.0.borrow_mut().poll(cx, grace);
            loop {
                if self.is_to_reset() {
                    control.hold_flush(true);
                    let polled = driver.as_mut().poll(cx);
                    control.hold_flush(false);
                    if polled.is_ready() {
                        return polled;
                    }
                    let due = self.0.borrow_mut().due(control.is_blocked());
                    for mut reset in due {
                        reset.stream.reset(reset.code);
                    }
                }
                let polled = driver.as_mut().poll(cx);
                // A full socket wakes the driver when it takes more.
                if polled.is_ready() || control.is_blocked() || !self.is_to_reset() {
                    return polled;
                }
            }
        })
        .await
    }

    fn is_to_reset(&self) -> bool {
        !self.0.borrow().resets.is_empty()
    }
}

impl Waiting {
    fn poll(&mut self, cx: &mut Context<'_>, grace: Duration) {
        if !self
            .driver
            .as_ref()
            .is_some_and(|w| w.will_wake(cx.waker()))
        {
            self.driver = Some(cx.waker().clone());
        }
        if let Some(open) = &mut self.open {
            let timer = || Box::pin(tokio::time::sleep(grace));
            let timer = self.timer.get_or_insert_with(timer);
            if Pin::new(&mut open.answer).poll(cx).is_ready() || timer.as_mut().poll(cx).is_ready()
            {
                (self.open, self.timer) = (None, None);
            }
        }
    }

    /// The streams that may be reset now.
    ///
    /// While the socket is full, less was written than the windows allow. Then a reset waits for
    /// its detail: it would otherwise take the place of what its stream had queued, and leave long
    /// before the detail. A socket that is not full has taken all that was queued, never more than
    /// the connection may queue ([`Desk`](crate::net::outbox::Desk)). Only the peer's windows can
    /// then keep a detail back, and no reset waits for that.
    fn due(&mut self, blocked: bool) -> VecDeque<Reset> {
        let done = self.done.load(Ordering::Relaxed);
        let count = match blocked {
            true => self.resets.partition_point(|reset| reset.behind <= done),
            false => self.resets.len(),
        };
        self.resets.drain(..count).collect()
    }
}
