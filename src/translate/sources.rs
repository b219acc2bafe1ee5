//! The files of schemas: where readers get them from.
//!
//! It remembers what was read, and what was looked for in vain. So whoever follows the
//! configuration knows which files to follow too: an include that was missing may appear later.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The most bytes that a file of a schema may have.
pub const MAX_FILE: usize = 16 << 20;

/// Reads files, and remembers which. Clones share what is remembered.
#[derive(Clone, Debug, Default)]
pub struct Sources(Arc<Mutex<BTreeMap<PathBuf, Content>>>);

/// What was found at a path: the bytes, or why there are none.
pub type Content = Result<Arc<[u8]>, String>;

impl Sources {
    /// The content of the file at `path`. It is read once; later calls receive the same.
    ///
    /// # Errors
    /// The file cannot be read, or has more than [`MAX_FILE`] bytes.
    pub fn read(&self, path: &Path) -> io::Result<Arc<[u8]>> {
        if let Some(known) = self.files().get(path) {
            return known.clone().map_err(io::Error::other);
        }
        let found = look(path);
        let content = match &found {
            Ok(bytes) => Ok(Arc::clone(bytes)),
            Err(error) => Err(error.to_string()),
        };
        self.files().insert(path.to_owned(), content);
        found
    }

    /// Every path that was asked for so far, with what was found there.
    #[must_use]
    pub fn seen(&self) -> BTreeMap<PathBuf, Content> {
        self.files().clone()
    }

    /// Takes over what another one has seen.
    pub fn add(&self, other: &Self) {
        let more = other.seen();
        self.files().extend(more);
    }

    fn files(&self) -> std::sync::MutexGuard<'_, BTreeMap<PathBuf, Content>> {
        // Nothing panics while it is held, and each entry is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Files whose content is known already: nothing is read at their paths.
impl<P: Into<PathBuf>, T: AsRef<[u8]>> FromIterator<(P, T)> for Sources {
    fn from_iter<I: IntoIterator<Item = (P, T)>>(files: I) -> Self {
        let known = |(path, text): (P, T)| (path.into(), Ok(Arc::from(text.as_ref())));
        Self(Arc::new(Mutex::new(files.into_iter().map(known).collect())))
    }
}

/// What is at `path` now.
///
/// # Errors
/// See [`Sources::read`].
pub fn look(path: &Path) -> io::Result<Arc<[u8]>> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_FILE {
        let text = format!("larger than {} MiB", MAX_FILE >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_remembers_what_is_missing_too() {
        let sources = Sources::default();
        let missing = Path::new("/nonexistent/a.thrift");
        assert!(sources.clone().read(missing).is_err());
        assert!(sources.seen().get(missing).unwrap().is_err());
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let text = sources.read(&own).unwrap();
        assert!(text.starts_with(b"[package]"));
        assert_eq!(sources.seen().len(), 2);
    }
}
