//! What the access log's thread writes to: a stream, or a file that can be opened again.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tracing::{error, info};

/// What lines are written to.
pub(super) enum Output {
    Stream(Box<dyn Write + Send>),
    File { path: PathBuf, file: File },
}

impl Output {
    pub(super) fn stream(to: impl Write + Send + 'static) -> Self {
        Self::Stream(Box::new(to))
    }

    pub(super) fn file(path: &Path) -> io::Result<Self> {
        Ok(Self::File {
            path: path.to_owned(),
            file: open(path)?,
        })
    }

    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let to: &mut dyn Write = match self {
            Self::Stream(to) => to,
            Self::File { file, .. } => file,
        };
        to.write_all(lines)?;
        to.flush()
    }

    /// Opens the file again. When it cannot be opened, the old one stays in use.
    pub(super) fn reopen(&mut self) {
        let Self::File { path, file } = self else {
            return;
        };
        match open(path) {
            Ok(opened) => {
                *file = opened;
                info!(path = %path.display(), "access log reopened");
            }
            Err(error) => error!(
                path = %path.display(),
                error = why(&error),
                "access log cannot be reopened; lines still go to the old file"
            ),
        }
    }
}

/// The system's words for an error, without its number.
pub(in crate::telemetry) fn why(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.split_once(" (os error ").map(|(words, _)| words);
    words.unwrap_or(&text).to_owned()
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}
