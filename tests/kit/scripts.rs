//! What raw callees with many streams have to do with each of them, and what they report as
//! received.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::process::LIMIT;

/// Keys or header names and values, as bytes.
pub(crate) type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// The same as a multimap: the values of one key in order.
pub(crate) type Fields = BTreeMap<Bytes, Vec<Bytes>>;

/// Pairs as a multimap, without ripcord's own fields and trace context, which every hop writes.
pub(crate) fn fields<'a>(pairs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Fields {
    let mut out = Fields::new();
    for (key, value) in pairs {
        let lower = key.to_ascii_lowercase();
        let traced = lower
            .strip_prefix(b"rpc_transit_")
            .or(lower.strip_prefix(b"rpc-transit-"))
            .unwrap_or(&lower);
        if lower.starts_with(b"ripcord-") || traced == b"traceparent" {
            continue;
        }
        out.entry(Bytes::copy_from_slice(key))
            .or_default()
            .push(Bytes::copy_from_slice(value));
    }
    out
}

/// What callees have to do with the streams that come, by the name at the beginning of the method.
/// Also who receives what they observed.
pub(crate) struct Scripts<S, H>(Arc<Mutex<HashMap<String, Waiting<S, H>>>>);

type Waiting<S, H> = (S, oneshot::Sender<H>);

impl<S, H> Clone for Scripts<S, H> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S, H> Default for Scripts<S, H> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<S, H> Scripts<S, H> {
    pub(crate) fn add(&self, name: &str, script: S) -> oneshot::Receiver<H> {
        let (heard, listen) = oneshot::channel();
        let old = self
            .0
            .lock()
            .unwrap()
            .insert(name.to_owned(), (script, heard));
        assert!(old.is_none(), "two streams are called {name}");
        listen
    }

    /// Whoever opens a stream of this name again finds the script again. What it observes then is
    /// reported to nobody.
    pub(super) fn again(&self, method: &str, script: S) {
        let name = method.split('-').next().unwrap_or_default();
        let (heard, _) = oneshot::channel();
        self.0
            .lock()
            .unwrap()
            .insert(name.to_owned(), (script, heard));
    }

    /// `M7-any.thing` is the stream M7.
    pub(super) fn take(&self, method: &str) -> Option<Waiting<S, H>> {
        let name = method.split('-').next().unwrap_or_default();
        self.0.lock().unwrap().remove(name)
    }
}

/// Waits, but not for ever.
pub(crate) async fn soon<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, wait)
        .await
        .unwrap_or_else(|_| panic!("waited too long for {what}"))
}
