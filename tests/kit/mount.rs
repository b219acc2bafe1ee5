//! The file from which a ripcord reads its configuration, and the ways of replacing it: by one
//! rename, or as the kubelet does with a ConfigMap. Also a folder that any user can read, for
//! ripcords that run as another user: the folders of a checkout may be closed to them.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A configuration on disk; dropping it removes it.
pub(crate) struct Mount {
    folder: PathBuf,
    config_map: bool,
    generation: AtomicUsize,
}

impl Mount {
    /// Makes one below `folder`.
    pub(crate) fn make(folder: &Path, name: &str, config_map: bool, text: &str) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = folder.join(format!("{name}-{}-{next}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        open(&folder, 0o755);
        let mount = Self {
            folder,
            config_map,
            generation: AtomicUsize::new(0),
        };
        if config_map {
            symlink("..data/ripcord.yaml", mount.file()).unwrap();
        }
        mount.replace(text);
        mount
    }

    /// The file's path.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.join("ripcord.yaml")
    }

    /// Replaces the text. A reader sees the old one or the new one.
    pub(crate) fn replace(&self, text: &str) {
        let next = self.generation.fetch_add(1, Ordering::Relaxed);
        if self.config_map {
            return self.swap(next, text);
        }
        let new = self.folder.join("new");
        write(&new, text);
        std::fs::rename(&new, self.file()).unwrap();
    }

    /// A ConfigMap's update: a new folder, then one rename of the link `..data`, then the old
    /// folder goes. `ripcord.yaml` is a link through it, and never changes.
    fn swap(&self, next: usize, text: &str) {
        let data = self.folder.join("..data");
        let old = std::fs::read_link(&data);
        let new = format!("..2026_11_22_{next}");
        std::fs::create_dir(self.folder.join(&new)).unwrap();
        open(&self.folder.join(&new), 0o755);
        write(&self.folder.join(&new).join("ripcord.yaml"), text);
        symlink(&new, self.folder.join("..data_tmp")).unwrap();
        std::fs::rename(self.folder.join("..data_tmp"), &data).unwrap();
        if let Ok(old) = old {
            std::fs::remove_dir_all(self.folder.join(old)).unwrap();
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn write(file: &Path, text: &str) {
    std::fs::write(file, text).unwrap();
    open(file, 0o644);
}

fn open(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A folder of this process that any user can read.
pub(crate) fn open_folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let all = std::env::temp_dir().join("ripcord-tests");
        // What processes left behind that are gone.
        for old in std::fs::read_dir(&all).into_iter().flatten().flatten() {
            if !Path::new("/proc").join(old.file_name()).exists() {
                let _ = std::fs::remove_dir_all(old.path());
            }
        }
        let own = all.join(std::process::id().to_string());
        std::fs::create_dir_all(&own).unwrap();
        open(&own, 0o755);
        own
    })
}

/// A copy of a program that any user can run.
pub(crate) fn open_copy(program: &Path) -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let copy = open_folder().join(format!("program-{next}"));
    std::fs::copy(program, &copy).unwrap();
    open(&copy, 0o755);
    copy
}
