//! The signals that the process handles.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The handled signals, from the start of the process on.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// SIGHUP: read the configuration again and reopen the access log.
    Reload,
    /// SIGTERM or SIGINT: drain. While the process drains: end at once.
    End {
        /// The signal's name.
        signal: &'static str,
        /// 128 and the signal's number, as a shell reports a process that a signal ended.
        exit_code: i32,
    },
}

impl Signals {
    /// Takes the signals over. From here on they do not end the process by themselves.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("SIGINT")?,
            hangup: signal(SignalKind::hangup()).context("SIGHUP")?,
        })
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::end("SIGTERM", SignalKind::terminate()),
            _ = self.interrupt.recv() => Asked::end("SIGINT", SignalKind::interrupt()),
            _ = self.hangup.recv() => Asked::Reload,
        }
    }
}

impl Asked {
    const fn end(signal: &'static str, kind: SignalKind) -> Self {
        Self::End {
            signal,
            exit_code: 128 + kind.as_raw_value(),
        }
    }
}
