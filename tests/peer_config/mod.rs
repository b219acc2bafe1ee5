//! What peers made of the crate's own halves have in common: configurations whose limits are never
//! in the way, and a callee that echoes.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ripcord::net::budget::Budget;
use ripcord::stream::{End, Inbound, Metadata, Received};
use ripcord::wire::{grpc, ttheader};

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

/// Sends back what comes, and ends with the caller; or how it was ended before.
pub(crate) async fn echo(stream: &mut impl Inbound) -> Option<End> {
    loop {
        match poll_fn(|cx| stream.poll_recv(cx)).await {
            Received::Messages(mut run) => {
                stream.release(run.len());
                poll_fn(|cx| stream.poll_send(cx, &mut run)).await;
            }
            Received::HalfClose => {
                stream.finish(&End::complete(Metadata::new()), "peer");
                return None;
            }
            Received::End(end) => return Some(end),
            Received::Head(_) => {}
        }
    }
}
