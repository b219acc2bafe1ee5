//! The access log: one JSON line per finished stream.
//!
//! A worker formats its line and appends it to a shared buffer. A thread of its own writes the
//! buffer out, with the lines of some milliseconds at a time. To wake it for each line would cost
//! more than the stream (a third of the CPU of short streams).
//!
//! The buffer is bounded in bytes, not in lines, since peers choose how long a line is. When it is
//! full, lines are dropped and counted. A worker never waits for the disk. The lock around the
//! buffer is held for one copy on one side and one swap on the other.
//!
//! A file can be reopened while lines come, so that a log rotation may move it away.

mod line;
mod output;

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::telemetry::record::Finished;
use crate::telemetry::trace::StreamTrace;

pub(crate) use line::rfc3339;

use output::Output;
pub(super) use output::why;

/// Bytes that may wait to be written.
const BUFFER: usize = 4 * 1024 * 1024;
/// How long a line may wait for others, to be written together.
const LINGER: Duration = Duration::from_millis(20);
/// As many waiting bytes are written at once, without waiting for more.
const BATCH: usize = 64 * 1024;
/// The longest time that a flush waits.
const FLUSH: Duration = Duration::from_secs(2);

/// Writes lines. Cheap to clone. When off, it does nothing.
#[derive(Clone, Debug, Default)]
pub struct AccessLog {
    inner: Option<Arc<Inner>>,
}

#[derive(Debug)]
struct Inner {
    node: Arc<str>,
    shared: Arc<LineQueue>,
}

#[derive(Debug, Default)]
struct LineQueue {
    buffer: Mutex<Buffer>,
    /// Signals the thread that there is something to do.
    work: Condvar,
    /// Signals that the thread wrote everything that it had taken.
    written: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    /// Whether the thread holds bytes that it took and has not flushed yet.
    busy: bool,
    /// Whether somebody waits until everything is written.
    hurry: bool,
    /// Whether the file has to be opened again, after what is there.
    reopen: bool,
    closed: bool,
}

impl Buffer {
    fn may_linger(&self) -> bool {
        self.bytes.len() < BATCH && !self.hurry && !self.reopen && !self.closed
    }

    fn is_idle(&self) -> bool {
        self.bytes.is_empty() && !self.reopen
    }
}

impl LineQueue {
    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        let mut buffer = self.lock();
        if buffer.closed || buffer.bytes.len() + line.len() > BUFFER {
            drop(buffer);
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        let before = buffer.bytes.len();
        buffer.bytes.extend_from_slice(line);
        let is_batch = before < BATCH && buffer.bytes.len() >= BATCH;
        drop(buffer);
        if before == 0 || is_batch {
            self.work.notify_one();
        }
    }

    fn run(&self, mut to: Output) {
        let mut taken = Vec::new();
        loop {
            let mut buffer = self.lock();
            while buffer.is_idle() && !buffer.closed {
                buffer = self
                    .work
                    .wait(buffer)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            if buffer.is_idle() {
                return;
            }
            (buffer, _) = self
                .work
                .wait_timeout_while(buffer, LINGER, |b| b.may_linger())
                .unwrap_or_else(PoisonError::into_inner);
            buffer.hurry = false;
            let reopen = std::mem::take(&mut buffer.reopen);
            std::mem::swap(&mut buffer.bytes, &mut taken);
            buffer.busy = true;
            drop(buffer);
            if to.write(&taken).is_err() {
                let lines = taken.iter().filter(|b| **b == b'\n').count() as u64;
                self.dropped.fetch_add(lines, Relaxed);
            }
            taken.clear();
            if reopen {
                to.reopen();
            }
            self.lock().busy = false;
            self.written.notify_all();
        }
    }

    fn reopen(&self) {
        self.lock().reopen = true;
        self.work.notify_one();
    }

    fn flush(&self, limit: Duration) -> bool {
        let mut buffer = self.lock();
        buffer.hurry = true;
        self.work.notify_one();
        let (buffer, timeout) = self
            .written
            .wait_timeout_while(buffer, limit, |b| b.busy || !b.is_idle())
            .unwrap_or_else(PoisonError::into_inner);
        drop(buffer);
        !timeout.timed_out()
    }
}

/// Ends the writing thread. Dropping it flushes, for at most two seconds.
#[derive(Debug)]
pub struct AccessGuard {
    shared: Arc<LineQueue>,
    thread: Option<JoinHandle<()>>,
}

impl AccessGuard {
    /// Blocks until everything was written. False when that took more than two seconds.
    pub fn flush(&self) -> bool {
        self.shared.flush(FLUSH)
    }
}

impl Drop for AccessGuard {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_one();
        // A thread that hangs in a write is left to the end of the process.
        if let (true, Some(thread)) = (self.flush(), self.thread.take()) {
            let _ = thread.join();
        }
    }
}

impl AccessLog {
    /// A log that writes nothing.
    #[must_use]
    pub const fn off() -> Self {
        Self { inner: None }
    }

    /// A log of the hop `node`. A thread of its own writes it to `to`.
    pub fn start(
        node: &Arc<str>,
        to: impl Write + Send + 'static,
    ) -> std::io::Result<(Self, AccessGuard)> {
        Self::start_to(node, Output::stream(to))
    }

    /// A log that is appended to the file `path`. [`AccessLog::reopen`] opens it again.
    pub fn start_file(node: &Arc<str>, path: &Path) -> std::io::Result<(Self, AccessGuard)> {
        Self::start_to(node, Output::file(path)?)
    }

    fn start_to(node: &Arc<str>, to: Output) -> std::io::Result<(Self, AccessGuard)> {
        let shared = Arc::new(LineQueue::default());
        let of_thread = shared.clone();
        let thread = std::thread::Builder::new()
            .name("ripcord-access".to_owned())
            .spawn(move || of_thread.run(to))?;
        let guard = AccessGuard {
            shared: shared.clone(),
            thread: Some(thread),
        };
        let inner = Arc::new(Inner {
            node: node.clone(),
            shared,
        });
        let log = Self { inner: Some(inner) };
        Ok((log, guard))
    }

    /// Whether lines are written.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.inner.is_some()
    }

    /// Opens the file again, as a rotation needs it that has moved the file away. Lines so far go
    /// to the old file, later ones to the new one. Does not wait. When the file cannot be opened,
    /// the old one stays in use, and the process' log has the error. A log that is no file goes on
    /// unchanged.
    pub fn reopen(&self) {
        if let Some(inner) = &self.inner {
            inner.shared.reopen();
        }
    }

    /// Blocks until everything was written. False when that took longer than `limit`.
    pub fn flush(&self, limit: Duration) -> bool {
        self.inner
            .as_ref()
            .is_none_or(|inner| inner.shared.flush(limit))
    }

    /// Lines lost because the buffer was full or could not be written.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.inner
            .as_ref()
            .map_or(0, |inner| inner.shared.dropped.load(Relaxed))
    }

    pub(crate) fn write(&self, finished: &Finished<'_>, trace: &StreamTrace) {
        if let Some(inner) = &self.inner {
            let mut line = Vec::with_capacity(768);
            line::format(&mut line, &inner.node, finished, trace);
            inner.shared.push(&line);
        }
    }
}

#[cfg(test)]
mod tests;
