//! What the process is asked by signals.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that are listened to, from the start on.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// SIGHUP: read the configuration again and reopen the access log.
    Reload,
    /// SIGTERM or SIGINT: drain; while it drains, end at once.
    End {
        /// The signal's name.
        signal: &'static str,
        /// 128 and the signal's number, as a shell shows a process that a signal ended.
        exit_code: i32,
    },
}

impl Signals {
    /// Takes the signals over: from here on they do not end the process by themselves.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("SIGINT")?,
            hangup: signal(SignalKind::hangup()).context("SIGHUP")?,
        })
    }

    /// Waits for the next one.
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
