//! The account of a connection: the bytes that were received and not yet released.

use crate::wire::ttheader::conn::shared::SharedConnection;
use crate::wire::ttheader::conn::slot::Inner;

impl SharedConnection {
    pub(crate) fn held(&self) -> usize {
        self.held.get()
    }

    pub(crate) fn credit(&self, inner: &mut Inner, bytes: usize) {
        let (bytes, pinned) = inner.credit(bytes);
        if bytes == 0 {
            return;
        }
        self.held.set(self.held.get() - bytes);
        self.owe(-(pinned as isize));
        if self.paused.get() {
            self.progress.set(true);
            self.notify();
        }
    }

    /// Records a change of the account. The process' budget receives changes in bulk, since all
    /// threads write to it.
    pub(crate) fn owe(&self, pinned: isize) {
        let owed = self.unsettled.get() + pinned;
        self.unsettled.set(owed);
        let budget = &self.config.budget;
        if owed.unsigned_abs() >= (budget.limit() / 64).min(16 * 1024) || self.paused.get() {
            self.settle_budget();
        }
    }

    pub(crate) fn settle_budget(&self) {
        let owed = self.unsettled.take();
        match usize::try_from(owed) {
            Ok(charge) => self.config.budget.charge(charge),
            Err(_) => self.config.budget.credit(owed.unsigned_abs()),
        }
    }
}
