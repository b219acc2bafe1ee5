//! The peers of the soak: callers and callees made of the crate's own halves, with limits that are
//! never reached. [`tap`] looks at the frames on their sockets; `tests/storms.rs` shares it.

mod callee;
mod caller;
mod order;
mod pingpong;
#[path = "../../../tests/kit/halves/tap.rs"]
mod tap;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ripcord::net::budget::Budget;
use ripcord::net::http2::Http2Config;
use ripcord::wire::{grpc, ttheader};

pub(crate) use callee::Callee;
pub(crate) use caller::{Call, Connection, Next, Stop};
pub(crate) use order::{CALLEE, CALLER, CAUSE, Ending, Order, TEXT};
pub(crate) use pingpong::{PingPongCallee, ping};
pub(crate) use tap::Heard;

const NEVER: Duration = Duration::from_secs(24 * 3600);

/// A protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Wire {
    Grpc,
    TtHeader,
}

impl Wire {
    pub(crate) const ALL: [Self; 2] = [Self::Grpc, Self::TtHeader];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::TtHeader => "ttheader",
        }
    }
}

fn http2_config() -> Http2Config {
    Http2Config {
        stream_window: 256 << 10,
        connection_window: 64 << 20,
        max_streams: 1 << 20,
        pending_resets: 1 << 20,
        ..Http2Config::default()
    }
}

fn grpc_config() -> Rc<grpc::StreamConfig> {
    Rc::new(grpc::StreamConfig {
        node: Rc::from("peer"),
        max_message: 4 << 20,
        max_metadata: 16 << 10,
        max_head: 8 * 1024 - 256,
        stream_window: 256 << 10,
        connection_window: 64 << 20,
        slow_receiver_timeout: NEVER,
        budget: Budget::new(usize::MAX),
        slow_streams: Arc::default(),
        carried: false,
        to_ripcord: false,
    })
}

/// `held`: bytes that its streams may leave unread before the socket is not read.
fn ttheader_config(held: usize) -> Rc<ttheader::ConnConfig> {
    let budget = Budget::new(usize::MAX);
    let mut config = ttheader::ConnConfig::new("peer", budget, ttheader::Counters::new());
    (config.slow_receiver_timeout, config.lone_grace) = (NEVER, NEVER);
    config.connection_budget = held;
    config.stream_budget = held;
    config.max_streams = usize::MAX;
    config.carried = false;
    Rc::new(config)
}
