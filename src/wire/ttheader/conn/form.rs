//! In which form a connection's peer takes a cancel, and the cancels that wait until it is known.
//!
//! The first cancel to a callee may come while its probe runs. It waits for the probe, at most
//! [`WAIT`]. Then it goes as a Trailer, which every callee knows.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use tokio::time::Instant;
use tracing::info;

use crate::stream::Cancel;
use crate::wire::ttheader::conn::config::{Counters, count};
use crate::wire::ttheader::conn::shared::SharedConnection;
use crate::wire::ttheader::conn::slot::StreamSlot;
use crate::wire::ttheader::end::{self, CancelForm};
use crate::wire::ttheader::exception;
use crate::wire::ttheader::frame::Frame;
use crate::wire::ttheader::known::{self, Callee};

/// How long a cancel may wait for the probe of its callee.
const WAIT: Duration = Duration::from_millis(250);

/// How soon after a Rst an old caller closes its connection.
const AFTER_RST: Duration = Duration::from_millis(200);

/// In which form a connection's peer takes a cancel.
#[derive(Clone, Debug)]
pub(crate) enum PeerForm {
    /// The configuration says it.
    Always(CancelForm),
    /// What the callee's probe finds, for a connection that was opened at that time
    /// ([`known`]).
    Callee(Arc<Callee>, u64),
    /// A Rst, until a caller from that address shows that it does not know it.
    Caller(IpAddr),
}

/// The cancels that wait. In a box: most connections never have one.
#[derive(Debug)]
pub(crate) struct Waiting {
    cancels: Vec<(Rc<StreamSlot>, Cancel)>,
    until: Instant,
}

impl SharedConnection {
    /// `None` while it is not known.
    fn form(&self) -> Option<CancelForm> {
        match &self.peer {
            PeerForm::Always(form) => Some(*form),
            PeerForm::Callee(callee, opened) => callee.form(*opened),
            PeerForm::Caller(address) => Some(self.known().caller_form(*address)),
        }
    }

    /// The form for an end that is written now.
    pub(crate) fn form_now(&self) -> CancelForm {
        self.form().unwrap_or(CancelForm::Trailer)
    }

    fn known(&self) -> &known::Known {
        &self.config.counters.known
    }

    /// Whether a cancel has to wait for its callee's probe. If so, it will be written later.
    pub(crate) fn waits(&self, slot: &Rc<StreamSlot>, cancel: &Cancel) -> bool {
        let PeerForm::Callee(callee, _) = &self.peer else {
            return false;
        };
        if self.form().is_some() || self.dead.get() || !callee.hurry() {
            return false;
        }
        if slot.inner.borrow_mut().state.send_terminal() {
            self.waiting
                .borrow_mut()
                .get_or_insert_with(|| {
                    Box::new(Waiting {
                        cancels: Vec::new(),
                        until: Instant::now() + WAIT,
                    })
                })
                .cancels
                .push((Rc::clone(slot), cancel.clone()));
            self.notify();
        }
        true
    }

    /// Until when cancels wait.
    pub(crate) fn waits_until(&self) -> Option<Instant> {
        self.waiting.borrow().as_ref().map(|waiting| waiting.until)
    }

    /// Writes the cancels that waited, once their form is known or their time is over.
    pub(crate) fn write_waiting(&self, cx: &Context<'_>) {
        let Some(until) = self.waits_until() else {
            return;
        };
        if let PeerForm::Callee(callee, _) = &self.peer
            && until > Instant::now()
        {
            callee.wait(cx.waker());
            if self.form().is_none() && callee.hurry() {
                return;
            }
        }
        let Some(waiting) = self.waiting.take() else {
            return;
        };
        for (slot, cancel) in waiting.cancels {
            // Its callee may have ended it meanwhile.
            let open = self.find(slot.id).is_some_and(|s| Rc::ptr_eq(&s, &slot));
            if open {
                let terminal = end::to_callee(&cancel, &self.context(&slot, &self.config.node));
                self.write_terminal(&slot, terminal);
            }
            self.forget(&slot);
        }
    }

    /// Looks at a Trailer: does the peer say in it that it does not know the Rst frame?
    pub(crate) fn look_at(&self, frame: &Frame) {
        if self.rst_sent.get().is_none() || frame.payload.is_empty() {
            return;
        }
        let said = exception::decode(&frame.payload);
        if said.is_ok_and(|said| known::refuses_rst(&said.exception)) {
            self.does_not_know_rst("it said so on a stream");
        }
    }

    /// The peer closed the connection. An old caller does so after a Rst, and says nothing on
    /// streams that it has half-closed. Since callers also end for other reasons, only the second
    /// time counts.
    pub(crate) fn look_at_close(&self) {
        let PeerForm::Caller(address) = &self.peer else {
            return;
        };
        let soon = |at: Instant| at.elapsed() < AFTER_RST;
        let slots = self.slots.borrow();
        let all_half_closed = || {
            slots
                .values()
                .all(|s| s.inner.borrow().state.is_half_closed())
        };
        if self.rst_sent.get().is_some_and(soon)
            && !slots.is_empty()
            && all_half_closed()
            && self.known().suspect(*address)
        {
            self.does_not_know_rst("twice it closed its connection at a Rst");
        }
    }

    fn does_not_know_rst(&self, why: &str) {
        let Counters { known, .. } = &*self.config.counters;
        match &self.peer {
            PeerForm::Always(_) => {}
            PeerForm::Callee(callee, _) => {
                if callee.found(CancelForm::Trailer, known.now()) {
                    count(&self.config.counters.old_callees);
                    info!(
                        why,
                        "a callee does not know the Rst frame: it gets Trailers"
                    );
                }
            }
            PeerForm::Caller(address) => {
                if known.old_caller(*address) {
                    count(&self.config.counters.old_callers);
                    info!(caller = %address, why, "a caller does not know the Rst frame: it gets Trailers");
                }
            }
        }
    }
}
