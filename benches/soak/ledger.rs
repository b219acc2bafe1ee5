//! What was expected and what came: counts by kind, everything unexpected in full, how each stream
//! ended at its callee, and when a callee was down.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Result;
use ripcord::stream::{End, Failure, LocalEndKind, Reason};
use tokio::sync::Notify;

use crate::peers::Wire;

/// How long anything may take that is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// How long after a callee is served again a stream may still have met its absence: that of the
/// other worker's back-off (`hops`).
const AFTERMATH: Duration = Duration::from_secs(3);

/// How late a stream may come to its callee when its caller has already received its end.
const LATE: Duration = Duration::from_secs(5);

/// The unexpected that is shown; all is counted, and stands in the file.
const SHOWN: usize = 40;

/// How a stream ended at its callee.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    /// The callee ended it.
    Finished,
    /// It received this end.
    Ended(End),
}

/// One kind's outcomes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) started: u64,
    pub(crate) good: u64,
    /// Ended by a fault that was being made.
    pub(crate) faulted: u64,
    pub(crate) unexpected: u64,
}

#[derive(Default)]
struct Note {
    opened: u32,
    told: Option<Told>,
    changed: Rc<Notify>,
}

struct Down {
    wire: Wire,
    from: Instant,
    until: Option<Instant>,
}

/// The book of one run.
pub(crate) struct Ledger {
    began: Instant,
    file: RefCell<File>,
    tallies: RefCell<BTreeMap<&'static str, Tally>>,
    unexpected: RefCell<Vec<String>>,
    count: Cell<u64>,
    /// Nothing counts any more.
    pub(crate) closed: Cell<bool>,
    notes: RefCell<HashMap<u64, Note>>,
    live: Cell<u64>,
    down: RefCell<Vec<Down>>,
    /// Connections that the ripcords closed for `cancel_grace`, as of each sample.
    graces: RefCell<Vec<(Instant, f64)>>,
    pub(crate) streams: Cell<u64>,
    pub(crate) messages: Cell<u64>,
    token: Cell<u64>,
}

/// A stream lives at the callee as long as this.
pub(crate) struct Live(Rc<Ledger>);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.live.set(self.0.live.get() - 1);
    }
}

impl Ledger {
    /// The unexpected is written to `file`.
    pub(crate) fn new(file: &Path) -> Result<Rc<Self>> {
        Ok(Rc::new(Self {
            began: Instant::now(),
            file: RefCell::new(File::create(file)?),
            tallies: RefCell::default(),
            unexpected: RefCell::default(),
            count: Cell::new(0),
            closed: Cell::new(false),
            notes: RefCell::default(),
            live: Cell::new(0),
            down: RefCell::default(),
            graces: RefCell::default(),
            streams: Cell::new(0),
            messages: Cell::new(0),
            token: Cell::new(0),
        }))
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    // -- Outcomes --------------------------------------------------------------------------------

    pub(crate) fn tally(&self, kind: &'static str, with: impl FnOnce(&mut Tally)) {
        with(self.tallies.borrow_mut().entry(kind).or_default());
    }

    pub(crate) fn tallies(&self) -> Vec<(&'static str, Tally)> {
        let all = self.tallies.borrow();
        all.iter().map(|(kind, tally)| (*kind, *tally)).collect()
    }

    pub(crate) fn total(&self) -> Tally {
        let mut sum = Tally::default();
        for (_, tally) in self.tallies() {
            sum.started += tally.started;
            sum.good += tally.good;
            sum.faulted += tally.faulted;
            sum.unexpected += tally.unexpected;
        }
        sum
    }

    /// Something that must not happen.
    pub(crate) fn unexpected(&self, kind: &'static str, seed: u64, what: String) {
        if self.closed.get() {
            return;
        }
        self.tally(kind, |tally| tally.unexpected += 1);
        let at = self.elapsed().as_secs_f64();
        let line = format!("{at:9.2} s  {kind}, seed {seed}: {what}");
        let _ = writeln!(self.file.borrow_mut(), "{line}");
        if self.count.get() < SHOWN as u64 {
            eprintln!("UNEXPECTED {line}");
            self.unexpected.borrow_mut().push(line);
        }
        self.count.set(self.count.get() + 1);
    }

    pub(crate) fn count_unexpected(&self) -> u64 {
        self.count.get()
    }

    pub(crate) fn shown(&self) -> Vec<String> {
        self.unexpected.borrow().clone()
    }

    // -- What the callees were told ---------------------------------------------------------------

    /// A name for a new stream.
    pub(crate) fn token(&self) -> u64 {
        self.token.set(self.token.get() + 1);
        self.notes
            .borrow_mut()
            .insert(self.token.get(), Note::default());
        self.streams.set(self.streams.get() + 1);
        self.token.get()
    }

    /// A stream came to a callee.
    pub(crate) fn enter(self: &Rc<Self>, token: u64) -> Live {
        self.live.set(self.live.get() + 1);
        if let Some(note) = self.notes.borrow_mut().get_mut(&token) {
            note.opened += 1;
            note.changed.notify_one();
        }
        Live(Rc::clone(self))
    }

    /// Whether a stream came to a callee; where it has not, that is waited for a little. If it
    /// comes later still, the next quiet point finds what it leaves behind.
    pub(crate) async fn opened(&self, token: u64) -> bool {
        let end = Instant::now() + LATE;
        loop {
            let opened = self
                .notes
                .borrow()
                .get(&token)
                .is_some_and(|n| n.opened > 0);
            if opened || Instant::now() > end {
                return opened;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// It ended there.
    pub(crate) fn told(&self, token: u64, how: Told) {
        if let Some(note) = self.notes.borrow_mut().get_mut(&token) {
            note.told = Some(how);
            note.changed.notify_one();
        }
    }

    /// Waits until the callee received the end of a stream. `None` when that takes too long.
    pub(crate) async fn wait_told(&self, token: u64) -> Option<Told> {
        let wait = async {
            loop {
                let changed = {
                    let notes = self.notes.borrow();
                    let note = notes.get(&token)?;
                    if let Some(told) = &note.told {
                        return Some(told.clone());
                    }
                    Rc::clone(&note.changed)
                };
                changed.notified().await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.ok().flatten()
    }

    /// Whether a callee was given that stream. Forgets it, and complains when it was given twice.
    pub(crate) fn forget(&self, token: u64) -> bool {
        let note = self.notes.borrow_mut().remove(&token).unwrap_or_default();
        if note.opened > 1 {
            let what = format!("stream {token} came {} times to the callee", note.opened);
            self.unexpected("callee", token, what);
        }
        note.opened > 0
    }

    /// Streams that live at the callees, and those that are not forgotten.
    pub(crate) fn left(&self) -> (u64, usize) {
        (self.live.get(), self.notes.borrow().len())
    }

    // -- Faults -----------------------------------------------------------------------------------

    pub(crate) fn goes_down(&self, wire: Wire) {
        let mut down = self.down.borrow_mut();
        // A stream takes less than `PATIENCE`, and its connection's aftermath less than that.
        let old = Instant::now().checked_sub(4 * PATIENCE);
        down.retain(|d| d.until.is_none() || d.until > old);
        let from = Instant::now();
        let until = None;
        down.push(Down { wire, from, until });
    }

    pub(crate) fn is_back(&self, wire: Wire) {
        let mut down = self.down.borrow_mut();
        for down in down.iter_mut().filter(|d| d.wire == wire) {
            down.until.get_or_insert_with(Instant::now);
        }
    }

    /// Whether the callee of that wire was not there at some time since `since`.
    pub(crate) fn was_down(&self, wire: Wire, since: Instant) -> bool {
        self.down.borrow().iter().any(|down| {
            down.wire == wire && down.until.is_none_or(|until| until + AFTERMATH >= since)
        })
    }

    /// Notes how many connections the ripcords have closed since a peer took nothing for
    /// `cancel_grace` while an end waited.
    pub(crate) fn grace_closes(&self, count: f64) {
        self.graces.borrow_mut().push((Instant::now(), count));
    }

    /// How many there were when a stream began, at the latest.
    pub(crate) fn grace_closes_at(&self, began: Instant) -> f64 {
        let graces = self.graces.borrow();
        let before = graces.iter().rev().find(|(at, _)| *at <= began);
        before.map_or(0.0, |(_, count)| *count)
    }

    /// For how long callees were not there, in all.
    pub(crate) fn down_for(&self) -> Duration {
        let down = self.down.borrow();
        down.iter()
            .map(|d| d.until.unwrap_or_else(Instant::now) - d.from)
            .sum()
    }
}

/// An end in one line, without what may differ between two runs.
pub(crate) fn label(end: &End) -> String {
    match &end.reason {
        Reason::Complete => "complete".to_owned(),
        Reason::Failed(Failure::Status(s)) => format!("status {} {:?}", s.code, s.message),
        Reason::Failed(Failure::Exception(e)) => format!("exception {} {:?}", e.type_id, e.text),
        Reason::Failed(Failure::Business(b)) => {
            format!("business {} {:?} {:?}", b.code, b.text, b.extra)
        }
        Reason::Canceled(cancel) => canceled(cancel.cause.code, cancel.path.names()),
        Reason::Hop(hop) => format!("hop {}", hop.kind.name()),
    }
}

/// The label of a cancel.
pub(crate) fn canceled<S: AsRef<str>>(code: i32, path: &[S]) -> String {
    let names: Vec<_> = path.iter().map(AsRef::as_ref).collect();
    format!("canceled {code} [{}]", names.join(" -> "))
}

/// Whether that is the end of a stream whose receiver blocked its connection for
/// `slow_receiver_timeout`.
pub(crate) fn is_slow(end: &End) -> bool {
    match &end.reason {
        Reason::Canceled(cancel) => cancel.cause.text == "the receiver did not keep up",
        Reason::Hop(hop) => hop.kind == LocalEndKind::SlowReceiver,
        // A message was half written, and HTTP/2 has nothing else for that case.
        Reason::Failed(Failure::Status(s)) => {
            s.code == 8 && s.message.contains("ENHANCE_YOUR_CALM")
        }
        Reason::Complete | Reason::Failed(_) => false,
    }
}

/// Whether a caller received that its callee was lost or could not be reached, noticed at a hop.
pub(crate) fn is_lost(end: &End, hops: &[&str]) -> bool {
    match &end.reason {
        Reason::Canceled(cancel) => {
            let names = cancel.path.names();
            cancel.cause.code == 12013
                && !names.is_empty()
                && names.iter().all(|name| hops.contains(&name.as_str()))
        }
        Reason::Hop(hop) => matches!(
            hop.kind,
            LocalEndKind::Unreachable | LocalEndKind::BackendLost
        ),
        Reason::Complete | Reason::Failed(_) => false,
    }
}
