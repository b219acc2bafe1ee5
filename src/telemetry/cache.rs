//! The counters of the routes that a listener's streams take, looked up once for each.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use rustc_hash::FxHashMap;

use crate::stream::Wire;
use crate::telemetry::{Metrics, Series};

/// The series of one listener on one worker. The weak handle of a route `R` keeps its address from
/// being used again, but keeps nothing that the route owns.
#[derive(Debug)]
pub struct SeriesCache<R> {
    listener: Arc<str>,
    known: RefCell<FxHashMap<(usize, usize), Counted<R>>>,
}

/// A route and its counters.
type Counted<R> = (Option<Weak<R>>, Arc<Series>);

impl<R> SeriesCache<R> {
    /// An empty cache for a listener of that name.
    #[must_use]
    pub fn new(listener: Arc<str>) -> Self {
        Self {
            listener,
            known: RefCell::default(),
        }
    }

    /// The counters of streams that came by `inbound` and take `route`. `names` gives the route's
    /// name and its backend's wire.
    pub fn series(
        &self,
        metrics: &Metrics,
        inbound: &'static Wire,
        route: Option<&Arc<R>>,
        names: impl Fn(&R) -> (Arc<str>, &'static Wire),
    ) -> Arc<Series> {
        // Descriptions are statics, with one address each.
        let wire = std::ptr::from_ref(inbound) as usize;
        let key = (wire, route.map_or(0, |r| Arc::as_ptr(r) as usize));
        let mut known = self.known.borrow_mut();
        if let Some((_, series)) = known.get(&key) {
            return Arc::clone(series);
        }
        // The route table is new. Entries of routes that are gone would stay, and keep the routes'
        // memory.
        known.retain(|_, (route, _)| route.as_ref().is_none_or(|r| r.strong_count() > 0));
        let (name, outbound) = match route {
            Some(route) => {
                let (name, wire) = names(route);
                (name, Some(wire))
            }
            None => (Arc::from(""), None),
        };
        let series = metrics.series(&self.listener, &name, inbound, outbound);
        known.insert(key, (route.map(Arc::downgrade), Arc::clone(&series)));
        series
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{ALL, grpc};

    #[test]
    fn the_counters_of_a_route_do_not_keep_what_it_holds() {
        let metrics = Metrics::new(ALL);
        let cache = SeriesCache::new(Arc::from("in"));
        let name: Arc<str> = Arc::from("r");
        let wire = &grpc::WIRE;
        let find = |route: &Arc<Arc<str>>| {
            cache.series(&metrics, wire, Some(route), |name| {
                (Arc::clone(name), &grpc::WIRE)
            })
        };
        let route = Arc::new(Arc::clone(&name));
        let series = find(&route);
        assert!(Arc::ptr_eq(&series, &find(&route)));
        assert_eq!((&*series.listener, &*series.route), ("in", "r"));
        let backend = Arc::downgrade(&route);
        drop(route);
        assert!(backend.upgrade().is_none());
        // Another route is found in the end, whatever its address. The one that is gone is
        // forgotten.
        let other = Arc::new(Arc::clone(&name));
        find(&other);
        assert_eq!(cache.known.borrow().len(), 1);
    }
}
