//! Following the configuration file.
//!
//! The content is compared, every few seconds and on SIGHUP, instead of waiting for file events: a
//! Kubernetes ConfigMap update swaps a symlink in a directory above the file, which is no event
//! under the file's own name, and network file systems send none at all. Knows nothing of what is
//! done with a new configuration.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::{Config, Environment, Faults, inspect_bytes, read_bounded};

/// Time between two looks at the file.
pub const EVERY: Duration = Duration::from_secs(2);

/// A change must be the same in two reads this far apart: the first half of a file that is just
/// being written can be a valid one with fewer routes.
pub const SETTLE: Duration = Duration::from_millis(100);

/// What became of a look at the file.
#[derive(Clone, Debug)]
pub enum Reload {
    /// A new configuration, to be put in force.
    Good {
        /// The configuration.
        config: Arc<Config>,
        /// What it probably does not mean to say.
        warnings: Faults,
    },
    /// The file cannot be used: the last good one stays in force. Told once per content, and on
    /// each SIGHUP.
    Bad(Faults),
    /// It says the same as the one in force: told on SIGHUP, when only its wording changed, and
    /// when a bad file was put back to what is in force.
    Unchanged,
}

/// Follows `path`, for ever; drop the future to end it. `current` is the configuration in force;
/// `hup` is notified on SIGHUP.
pub async fn run(path: &Path, current: Arc<Config>, hup: &Notify, told: impl FnMut(Reload)) {
    let name = path.display().to_string();
    let path = path.to_owned();
    let read = move || {
        let path = path.clone();
        // Control thread or not, a hanging file system must not stop the timers.
        let task = tokio::task::spawn_blocking(move || read_bounded(std::fs::File::open(path)?));
        async move { task.await.unwrap_or_else(|e| Err(io::Error::other(e))) }
    };
    follow(&name, read, current, hup, told).await;
}

/// What a look found: the bytes, or why there are none.
type Look = Result<Vec<u8>, String>;

async fn follow<R, F>(
    name: &str,
    read: R,
    mut current: Arc<Config>,
    hup: &Notify,
    mut told: impl FnMut(Reload),
) where
    R: Fn() -> F,
    F: Future<Output = io::Result<Vec<u8>>>,
{
    let look = async || -> Look { read().await.map_err(|e| e.to_string()) };
    // What the last event was about; the first look only has to find what is in force.
    let mut seen: Option<Look> = None;
    let mut bad = false;
    loop {
        let asked = tokio::select! {
            biased;
            () = hup.notified() => true,
            () = tokio::time::sleep(EVERY) => false,
        };
        let mut now = look().await;
        if seen.as_ref() == Some(&now) && !asked {
            continue;
        }
        loop {
            tokio::time::sleep(SETTLE).await;
            let again = look().await;
            if again == now {
                break;
            }
            now = again;
        }
        let first = seen.is_none();
        match judge(name, &now) {
            Ok((config, _)) if config == *current => {
                if asked || bad || !first {
                    told(Reload::Unchanged);
                }
                bad = false;
            }
            Ok((config, warnings)) => {
                current = Arc::new(config);
                bad = false;
                told(Reload::Good {
                    config: Arc::clone(&current),
                    warnings,
                });
            }
            Err(faults) => {
                bad = true;
                told(Reload::Bad(faults));
            }
        }
        seen = Some(now);
    }
}

fn judge(name: &str, look: &Look) -> Result<(Config, Faults), Faults> {
    match look {
        Ok(bytes) => inspect_bytes(name, bytes, Environment::process()),
        Err(error) => Err(Faults::whole_file(name, format!("cannot be read: {error}"))),
    }
}

#[cfg(test)]
mod tests;
