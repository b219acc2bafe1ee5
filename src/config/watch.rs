//! Follows the configuration file.
//!
//! The content is compared every few seconds and on SIGHUP. File events would not do. The update of
//! a Kubernetes ConfigMap swaps a symlink in a directory above the file, which is no event under
//! the file's own name. Network file systems send no events at all. What is done with a new
//! configuration is not known here.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::{Config, Environment, Faults, inspect_bytes, read_bounded};

/// Time between two reads of the file.
pub const EVERY: Duration = Duration::from_secs(2);

/// A change must be the same in two reads this far apart. While a file is written, its first half
/// can be a valid file with fewer routes.
pub const SETTLE: Duration = Duration::from_millis(100);

/// The result of reading the file again.
#[derive(Clone, Debug)]
pub enum Reload {
    /// A new configuration, which has to become effective.
    Good {
        /// The configuration that was read.
        config: Arc<Config>,
        /// What the file probably does not mean.
        warnings: Faults,
    },
    /// The file cannot be used: the last good one stays effective. Reported once per content, and
    /// on each SIGHUP.
    Bad(Faults),
    /// The file means the same as the effective configuration. Reported on SIGHUP, after a change
    /// of its wording only, and when a bad file was put back.
    Unchanged,
}

/// Follows `path` for ever; drop the future to end it. `current` is the effective configuration.
/// `hup` is notified on SIGHUP. `told` receives each result.
pub async fn run(path: &Path, current: Arc<Config>, hup: &Notify, told: impl FnMut(Reload)) {
    let name = path.display().to_string();
    let path = path.to_owned();
    let read = move || {
        let path = path.clone();
        // On a thread of its own: a hanging file system must not stop the timers.
        let task = tokio::task::spawn_blocking(move || read_bounded(std::fs::File::open(path)?));
        async move { task.await.unwrap_or_else(|e| Err(io::Error::other(e))) }
    };
    follow(&name, read, current, hup, told).await;
}

/// The bytes of the file, or why there are none.
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
    // The content of the last report. The first read only has to find the effective content.
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
