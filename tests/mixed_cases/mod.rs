//! What the mixed suite stands on: a chain of two ripcords of chosen builds, with scripted peers of
//! both wires on both sides, and one of three wires in the middle.
//!
//! ```text
//! caller -- gRPC or TTHeader --> [one] -- the middle --> [two] -- gRPC or TTHeader --> callee
//! ```

pub(crate) mod cascade;
pub(crate) mod compare;
pub(crate) mod hop;
pub(crate) mod streams;
pub(crate) mod whole;

use std::net::SocketAddr;

use tokio::sync::OnceCell;

use crate::loss_free_cases::world::Hop;
use crate::loss_free_cases::{Scripts, grpc, tt};
use hop::Pair;

/// What the two hops speak with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Middle {
    TtHeader,
    /// gRPC, with `hop: ripcord`.
    Hop,
    /// gRPC, as with any server.
    Grpc,
}

impl Middle {
    pub(crate) const ALL: [Self; 3] = [Self::TtHeader, Self::Hop, Self::Grpc];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::TtHeader => "ttheader",
            Self::Hop => "grpc_hop",
            Self::Grpc => "grpc",
        }
    }

    /// Keys of the backend.
    const fn backend(self) -> &'static str {
        match self {
            Self::TtHeader => "protocol: ttheader",
            Self::Hop => "protocol: grpc, hop: ripcord",
            Self::Grpc => "protocol: grpc",
        }
    }
}

/// How long the routes that give up wait. Callees there say nothing at all.
const SHORT: &str = "500ms";

/// A chain, and a caller of each wire.
pub(crate) struct Chain {
    entry: SocketAddr,
    grpc: OnceCell<grpc::Caller>,
    tt: OnceCell<tt::Wire>,
    pub(crate) grpc_callee: Scripts<grpc::Script, grpc::Asked>,
    pub(crate) tt_callee: Scripts<tt::Script, tt::Heard>,
    /// What is another address in every chain, and what to call it.
    pub(crate) addresses: [(SocketAddr, &'static str); 3],
    _hops: [Box<dyn Hop>; 2],
}

impl Chain {
    pub(crate) async fn start(pair: &Pair, middle: Middle) -> Self {
        let (grpc_callee, tt_callee) = (Scripts::default(), Scripts::default());
        let to_grpc = grpc::callee(grpc_callee.clone()).await;
        let to_tt = tt::callee(tt_callee.clone()).await;
        // Nothing listens on port 1.
        let two = format!(
            "
node: two
workers: 1
listeners: [{{ name: in, address: '127.0.0.1:0' }}]
backends:
  grpc: {{ protocol: grpc, endpoints: ['{to_grpc}'] }}
  tt: {{ protocol: ttheader, endpoints: ['{to_tt}'] }}
  dead-grpc: {{ protocol: grpc, endpoints: ['127.0.0.1:1'] }}
  dead-tt: {{ protocol: ttheader, endpoints: ['127.0.0.1:1'] }}
  thrift: {{ protocol: ttheader, endpoints: ['{to_tt}'], payload: thrift }}
routes:
  - {{ name: grpc, match: {{ service: Grpc }}, backend: grpc }}
  - {{ name: tt, match: {{ service: Tt }}, backend: tt }}
  - {{ name: dead-grpc, match: {{ service: DeadGrpc }}, backend: dead-grpc }}
  - {{ name: dead-tt, match: {{ service: DeadTt }}, backend: dead-tt }}
  - {{ name: thrift, match: {{ service: ThriftOnly }}, backend: thrift }}
  - {{ name: silent-grpc, match: {{ service: SilentGrpc }}, backend: grpc, timeouts: {{ first_response: {SHORT} }} }}
  - {{ name: silent-tt, match: {{ service: SilentTt }}, backend: tt, timeouts: {{ first_response: {SHORT} }} }}
  - {{ name: idle-grpc, match: {{ service: IdleGrpc }}, backend: grpc, timeouts: {{ idle: {SHORT} }} }}
  - {{ name: idle-tt, match: {{ service: IdleTt }}, backend: tt, timeouts: {{ idle: {SHORT} }} }}
  - {{ name: late-grpc, match: {{ service: LateGrpc }}, backend: grpc, timeouts: {{ stream: {SHORT} }} }}
  - {{ name: late-tt, match: {{ service: LateTt }}, backend: tt, timeouts: {{ stream: {SHORT} }} }}
"
        );
        let two = hop::hop(pair, "two", &two);
        let next = two.address("in");
        let middle = middle.backend();
        let one = format!(
            "
node: one
workers: 1
listeners: [{{ name: in, address: '127.0.0.1:0' }}]
backends:
  next: {{ {middle}, endpoints: ['{next}'] }}
  dead: {{ {middle}, endpoints: ['127.0.0.1:1'] }}
routes:
  - {{ name: dead, match: {{ service: DeadHere }}, backend: dead }}
  - {{ name: hasty-grpc, match: {{ service: Grpc, method: 'RaceHasty*' }}, backend: next, timeouts: {{ stream: {SHORT} }} }}
  - {{ name: hasty-tt, match: {{ service: Tt, method: 'RaceHasty*' }}, backend: next, timeouts: {{ stream: {SHORT} }} }}
  - {{ name: grpc, match: {{ service: Grpc }}, backend: next }}
  - {{ name: tt, match: {{ service: Tt }}, backend: next }}
"
        );
        let rest = [
            "DeadGrpc",
            "DeadTt",
            "ThriftOnly",
            "SilentGrpc",
            "SilentTt",
            "IdleGrpc",
            "IdleTt",
            "LateGrpc",
            "LateTt",
            "Nowhere",
        ];
        let rest: String = rest
            .iter()
            .map(|name| {
                format!("  - {{ name: {name}, match: {{ service: {name} }}, backend: next }}\n")
            })
            .collect();
        let one = hop::hop(pair, "one", &format!("{}{rest}", one));
        let entry = one.address("in");
        Self {
            entry,
            grpc: OnceCell::new(),
            tt: OnceCell::new(),
            grpc_callee,
            tt_callee,
            addresses: [
                (to_grpc, "<grpc callee>"),
                (to_tt, "<tt callee>"),
                (next, "<two>"),
            ],
            _hops: [one, two],
        }
    }

    /// The gRPC caller. It connects at its first stream: a connection that says nothing is closed.
    pub(crate) async fn grpc(&self) -> &grpc::Caller {
        let connect = || grpc::Caller::connect(self.entry);
        self.grpc.get_or_init(connect).await
    }

    /// The TTHeader caller, in the same way.
    pub(crate) async fn tt(&self) -> &tt::Wire {
        self.tt.get_or_init(|| tt::Wire::connect(self.entry)).await
    }
}
