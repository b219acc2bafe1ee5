//! The effective route table, swapped as a whole.
//!
//! A new configuration is built aside and then swapped in. Streams keep the route with which they
//! started. A backend whose configuration did not change stays the same value, with its endpoints
//! and connections. Knows neither files nor wires.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::SystemTime;

use arc_swap::{ArcSwap, Guard};

use crate::config::changes::{Changes, Names};
use crate::config::{Backend, Config, Faults};
use crate::translate::Schema;

use super::Table;

/// One effective version: a configuration, and what was built from it.
#[derive(Debug)]
pub struct Snapshot<B> {
    /// The configuration that it was built from.
    pub config: Arc<Config>,
    /// The routes.
    pub table: Arc<Table<B>>,
    /// What was built for each backend, by its name.
    pub backends: BTreeMap<String, Arc<B>>,
    /// What was read for each schema, by its name.
    pub schemas: Schemas,
    /// 1 at the start, and one more for each configuration that becomes effective.
    pub version: u64,
    /// When this version became effective.
    pub loaded_at: SystemTime,
    /// The keys that the file changes, but that take effect only after a restart.
    pub restart_needed: Vec<String>,
    /// Why the file as it is now is not effective; `None` when it is.
    pub last_error: Option<LastError>,
}

/// Schemas that are ready for streams, by their names.
pub type Schemas = BTreeMap<String, Arc<Schema>>;

/// A configuration that was refused.
#[derive(Clone, Debug)]
pub struct LastError {
    /// When it was refused.
    pub at: SystemTime,
    /// Everything that is wrong with it.
    pub faults: Faults,
}

/// The holder of the effective [`Snapshot`]. Reading it takes no lock.
pub struct Store<B> {
    current: ArcSwap<Snapshot<B>>,
    /// Builds a backend. Its lock also keeps writers apart.
    make: Mutex<Make<B>>,
}

type Make<B> = Box<dyn FnMut(&str, &Backend) -> Arc<B> + Send>;

impl<B> Store<B> {
    /// Builds everything for the first configuration and its schemas. `make` is called once for each backend, now
    /// and whenever one is new or changed.
    pub fn new(
        config: Arc<Config>,
        schemas: Schemas,
        make: impl FnMut(&str, &Backend) -> Arc<B> + Send + 'static,
    ) -> Self {
        let mut make: Make<B> = Box::new(make);
        let first = build(config, schemas, None, &mut make);
        Self {
            current: ArcSwap::from_pointee(first),
            make: Mutex::new(make),
        }
    }

    /// The effective version, for a short look: do not hold it.
    pub fn load(&self) -> Guard<Arc<Snapshot<B>>> {
        self.current.load()
    }

    /// The effective version, to keep.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot<B>> {
        self.current.load_full()
    }

    /// Makes a configuration and its schemas effective and returns what changed. `restart_needed`
    /// are the keys that its file changes and this does not. Equal content makes no new version, and
    /// returns `None`.
    pub fn replace(
        &self,
        config: Arc<Config>,
        mut schemas: Schemas,
        restart_needed: Vec<String>,
    ) -> Option<Changes> {
        let mut make = self.writer();
        let old = self.current.load_full();
        // Streams and counters keep what did not change.
        for (name, schema) in &mut schemas {
            if let Some(same) = old.schemas.get(name).filter(|old| **old == *schema) {
                *schema = Arc::clone(same);
            }
        }
        if *old.config == *config && old.schemas == schemas {
            self.note(&old, restart_needed, None);
            return None;
        }
        let mut changes = Changes::between(&old.config, &config);
        changes.schemas = Names::between(&old.schemas, &schemas);
        let new = Snapshot {
            restart_needed,
            ..build(config, schemas, Some(&old), &mut make)
        };
        self.current.store(Arc::new(new));
        Some(changes)
    }

    /// Records that a new configuration was refused. The effective one stays.
    pub fn refused(&self, faults: Faults) {
        let _writer = self.writer();
        let old = self.current.load_full();
        let error = LastError {
            at: SystemTime::now(),
            faults,
        };
        self.note(&old, old.restart_needed.clone(), Some(error));
    }

    /// Records that the file is again the last one that was accepted.
    pub fn accepted(&self) {
        let _writer = self.writer();
        let old = self.current.load_full();
        self.note(&old, old.restart_needed.clone(), None);
    }

    /// The same version, with what is now known of the file.
    fn note(&self, old: &Snapshot<B>, restart_needed: Vec<String>, last_error: Option<LastError>) {
        let known = last_error.is_none() && old.last_error.is_none();
        if known && restart_needed == old.restart_needed {
            return;
        }
        self.current.store(Arc::new(Snapshot {
            config: Arc::clone(&old.config),
            table: Arc::clone(&old.table),
            backends: old.backends.clone(),
            schemas: old.schemas.clone(),
            version: old.version,
            loaded_at: old.loaded_at,
            restart_needed,
            last_error,
        }));
    }

    fn writer(&self) -> std::sync::MutexGuard<'_, Make<B>> {
        // A panic in `make` left nothing half done, since the swap comes last.
        self.make.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl<B> std::fmt::Debug for Store<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let version = self.current.load().version;
        f.debug_struct("Store").field("version", &version).finish()
    }
}

fn build<B>(
    config: Arc<Config>,
    schemas: Schemas,
    old: Option<&Snapshot<B>>,
    make: &mut Make<B>,
) -> Snapshot<B> {
    let kept = |name: &str, backend: &Backend| {
        let old = old?;
        if old.config.backends.get(name) == Some(backend) {
            old.backends.get(name).cloned()
        } else {
            None
        }
    };
    let backends: BTreeMap<String, Arc<B>> = config
        .backends
        .iter()
        .map(|(name, backend)| {
            let built = kept(name, backend).unwrap_or_else(|| make(name, backend));
            (name.clone(), built)
        })
        .collect();
    Snapshot {
        table: Arc::new(Table::compile(
            &config.routes,
            |name| backends.get(name).cloned(),
            |name| schemas.get(name).cloned(),
        )),
        backends,
        schemas,
        version: old.map_or(1, |old| old.version + 1),
        loaded_at: SystemTime::now(),
        restart_needed: Vec::new(),
        last_error: None,
        config,
    }
}

#[cfg(test)]
mod tests;
