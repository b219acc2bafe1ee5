//! The `ripcord check` command: its output and its exit code.

use std::io::{Write as _, stdin};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{Config, Environment, Fault, Faults, inspect, inspect_bytes, read_bounded, unreadable};

/// Checks files; `-` is standard input. Prints every fault to stderr, and a line for each good file
/// to stdout. The exit code is 1 when a file cannot be used. With `strict` it is 1 for a warning
/// too. `more` looks at what a good configuration names: files of its own.
#[must_use]
pub fn check(
    files: &[PathBuf],
    strict: bool,
    more: impl Fn(&Path, &Config) -> Vec<Fault>,
) -> ExitCode {
    let (mut good, mut only_warned) = (true, true);
    for file in files {
        let (name, found) = look(file);
        let found = found.and_then(|(config, mut faults)| {
            faults.add(more(file, &config));
            if faults.fatal() {
                return Err(faults);
            }
            Ok((config, faults))
        });
        let (faults, line) = match &found {
            Ok((config, warnings)) => (warnings, summary(&name, config, warnings, strict)),
            Err(faults) => (faults, None),
        };
        if !faults.is_empty() {
            eprintln!("{faults}");
        }
        good &= line.is_some();
        only_warned &= line.is_some() || found.is_ok();
        if let Some(line) = line {
            // The reader may have closed the pipe, as in `| head`. That is no failure.
            let _ = writeln!(std::io::stdout(), "{line}");
        }
    }
    if good {
        ExitCode::SUCCESS
    } else {
        if only_warned {
            eprintln!("ripcord check: fails: there are warnings, and --strict is given");
        }
        ExitCode::FAILURE
    }
}

fn look(file: &Path) -> (String, Result<(Config, Faults), Faults>) {
    if file.as_os_str() != "-" {
        return (file.display().to_string(), inspect(file));
    }
    let name = "<stdin>";
    let environment = Environment::process().with_folders();
    let found = match read_bounded(stdin().lock()) {
        Ok(bytes) => inspect_bytes(name, &bytes, environment),
        Err(error) => Err(unreadable(name, &error)),
    };
    (name.to_owned(), found)
}

/// The line for a file that can be used; `None` when its warnings count as errors.
fn summary(name: &str, config: &Config, warnings: &Faults, strict: bool) -> Option<String> {
    if strict && warnings.is_doubtful() {
        return None;
    }
    let schemas = match config.schemas.len() {
        0 => String::new(),
        n => format!(", {n} schemas"),
    };
    Some(format!(
        "{name}: ok: {} listeners, {} backends, {} routes{schemas}",
        config.listeners.len(),
        config.backends.len(),
        config.routes.len()
    ))
}
