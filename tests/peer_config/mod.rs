//! Configurations of peers made of the crate's own halves, whose limits are never in the way.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ripcord::net::budget::Budget;
use ripcord::{grpc, ttheader};

/// Longer than any test.
const NEVER: Duration = Duration::from_secs(3600);

/// Bytes that a connection may receive unread.
pub(crate) const CONNECTION_WINDOW: u32 = 256 << 20;

/// `carried`: whether what a ripcord says beside the native end is read and written.
pub(crate) fn grpc(stream_window: u32, carried: bool) -> Rc<grpc::StreamConfig> {
    Rc::new(grpc::StreamConfig {
        node: Rc::from("peer"),
        max_message: 4 << 20,
        max_metadata: 16 << 10,
        stream_window,
        connection_window: CONNECTION_WINDOW,
        slow_grace: NEVER,
        budget: Budget::new(usize::MAX),
        slow_streams: Arc::default(),
        carried,
        to_ripcord: false,
    })
}

/// The same of the other wire.
pub(crate) fn ttheader(carried: bool) -> Rc<ttheader::ConnConfig> {
    let budget = Budget::new(usize::MAX);
    let mut config = ttheader::ConnConfig::new("peer", budget, ttheader::Counters::new());
    (config.slow_grace, config.lone_grace) = (NEVER, NEVER);
    config.connection_budget = usize::MAX;
    config.max_streams = usize::MAX;
    config.carried = carried;
    Rc::new(config)
}
