//! Follows the configuration file.
//!
//! The content is compared every few seconds and on SIGHUP. File events would not do. The update of
//! a Kubernetes ConfigMap swaps a symlink in a directory above the file, which is no event under
//! the file's own name. Network file systems send no events at all. What is done with a new
//! configuration is not known here.
//!
//! A configuration names files of its own: IDL files. [`Attached`] reads them. They belong to the
//! content: a change of one of them is a change of the configuration.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::{Config, Environment, Fault, Faults, inspect_bytes, read_bounded};

/// Time between two reads of the file.
pub const EVERY: Duration = Duration::from_secs(2);

/// A change must be the same in two reads this far apart. While a file is written, its first half
/// can be a valid file with fewer routes.
pub const SETTLE: Duration = Duration::from_millis(100);

/// The result of reading the file again.
#[derive(Clone, Debug)]
pub enum Reload<T = ()> {
    /// A new configuration, which has to become effective.
    Good {
        /// The configuration that was read.
        config: Arc<Config>,
        /// What was read of the files that it names.
        attached: T,
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

/// What reading the files gave that a configuration names, with the number that [`Attached::look`]
/// gives of them. What is good comes with its warnings.
pub type ReadFiles<T> = (Result<(T, Vec<Fault>), Vec<Fault>>, u64);

/// The files that a configuration names.
pub trait Attached: Clone + Send + Sync + 'static {
    /// What they say.
    type Read: Send + 'static;

    /// A number that is another one when the content of the files is another one that
    /// [`Attached::read`] read, or looked for in vain, the last time.
    fn look(&self) -> u64;

    /// Reads the files that `config` names.
    fn read(&self, config: &Config) -> ReadFiles<Self::Read>;
}

/// No files.
impl Attached for () {
    type Read = ();

    fn look(&self) -> u64 {
        0
    }

    fn read(&self, _: &Config) -> ReadFiles<()> {
        (Ok(((), Vec::new())), 0)
    }
}

/// Follows `path` for ever; drop the future to end it. `current` is the effective configuration,
/// and `in_force` the number of the files that it names ([`Attached::read`]). `hup` is notified on SIGHUP. `told` receives each
/// result.
pub async fn run<A: Attached>(
    path: &Path,
    attached: A,
    (current, in_force): (Arc<Config>, u64),
    hup: &Notify,
    told: impl FnMut(Reload<A::Read>),
) {
    let name = path.display().to_string();
    let path = path.to_owned();
    // On threads of their own: a hanging file system must not stop the timers.
    let look = {
        let attached = attached.clone();
        move || {
            let (path, attached) = (path.clone(), attached.clone());
            let task = tokio::task::spawn_blocking(move || Look {
                file: std::fs::File::open(path)
                    .and_then(read_bounded)
                    .map_err(|e| e.to_string()),
                attached: attached.look(),
            });
            async move {
                task.await.unwrap_or_else(|e| Look {
                    file: Err(e.to_string()),
                    attached: 0,
                })
            }
        }
    };
    let read = move |config: Arc<Config>| {
        let attached = attached.clone();
        let task = tokio::task::spawn_blocking(move || attached.read(&config));
        async move {
            task.await.unwrap_or_else(|e| {
                let fault = Fault::whole(format!("its IDL files cannot be read: {e}"));
                (Err(vec![fault]), 0)
            })
        }
    };
    follow(&name, look, read, (current, in_force), hup, told).await;
}

/// The content of all files.
#[derive(PartialEq, Eq)]
struct Look {
    /// The bytes of the configuration, or why there are none.
    file: Result<Vec<u8>, String>,
    /// [`Attached::look`].
    attached: u64,
}

async fn follow<T, L, R>(
    name: &str,
    look: impl Fn() -> L,
    read: impl Fn(Arc<Config>) -> R,
    (mut current, mut in_force): (Arc<Config>, u64),
    hup: &Notify,
    mut told: impl FnMut(Reload<T>),
) where
    L: Future<Output = Look>,
    R: Future<Output = ReadFiles<T>>,
{
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
            Ok((config, _)) if config == *current && now.attached == in_force => {
                if asked || bad || !first {
                    told(Reload::Unchanged);
                }
                bad = false;
            }
            Ok((config, mut warnings)) => {
                let config = Arc::new(config);
                let (attached, number) = read(Arc::clone(&config)).await;
                now.attached = number;
                match attached {
                    Ok((attached, more)) => {
                        warnings.add(more);
                        current = Arc::clone(&config);
                        in_force = number;
                        bad = false;
                        told(Reload::Good {
                            config,
                            attached,
                            warnings,
                        });
                    }
                    Err(more) => {
                        warnings.add(more);
                        bad = true;
                        told(Reload::Bad(warnings));
                    }
                }
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
    match &look.file {
        Ok(bytes) => inspect_bytes(name, bytes, Environment::process()),
        Err(error) => Err(Faults::whole_file(name, format!("cannot be read: {error}"))),
    }
}

#[cfg(test)]
mod tests;
