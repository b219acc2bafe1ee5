//! The parts of the mixed suite: a chain of two ripcords of chosen builds, with scripted peers of
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

use crate::kit::ripcord::Ripcord;
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

/// Nothing listens on port 1.
const NOBODY: &str = "127.0.0.1:1";

/// How long the routes with a limit wait. Callees there send nothing at all.
const SHORT: &str = "500ms";

/// A chain, and a caller of each wire.
pub(crate) struct Chain {
    entry: SocketAddr,
    grpc: OnceCell<grpc::Caller>,
    tt: OnceCell<tt::Connection>,
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
        let route = |service: &str, keys: &str| format!("match: {{ service: {service} }}, {keys}");
        let mut two = Ripcord::named("two")
            .quiet()
            .backend("grpc", "protocol: grpc", to_grpc)
            .backend("tt", "protocol: ttheader", to_tt)
            .backend("dead-grpc", "protocol: grpc", NOBODY)
            .backend("dead-tt", "protocol: ttheader", NOBODY)
            .backend("thrift", "protocol: ttheader, payload: thrift", to_tt)
            .route("grpc", &route("Grpc", "backend: grpc"))
            .route("tt", &route("Tt", "backend: tt"))
            .route("dead-grpc", &route("DeadGrpc", "backend: dead-grpc"))
            .route("dead-tt", &route("DeadTt", "backend: dead-tt"))
            .route("thrift", &route("ThriftOnly", "backend: thrift"));
        let limits = [
            ("Silent", "first_response"),
            ("Idle", "idle"),
            ("Late", "stream"),
        ];
        for (service, limit) in limits {
            for (side, backend) in [("Grpc", "grpc"), ("Tt", "tt")] {
                let keys = format!("backend: {backend}, timeouts: {{ {limit}: {SHORT} }}");
                let name = format!("{service}{side}");
                two = two.route(&name, &route(&name, &keys));
            }
        }
        let two = hop::hop(pair, "two", two);
        let next = two.address("in");
        let mut one = Ripcord::named("one")
            .quiet()
            .backend("next", middle.backend(), next)
            .backend("dead", middle.backend(), NOBODY)
            .route("dead", &route("DeadHere", "backend: dead"));
        for service in ["Grpc", "Tt"] {
            let keys = format!(
                "match: {{ service: {service}, method: \"RaceHasty*\" }}, backend: next, \
                 timeouts: {{ stream: {SHORT} }}"
            );
            one = one.route(&format!("hasty-{service}"), &keys);
        }
        for service in [
            "Grpc",
            "Tt",
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
        ] {
            one = one.route(service, &route(service, "backend: next"));
        }
        let one = hop::hop(pair, "one", one);
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

    /// The gRPC caller. It connects at its first stream, since a connection that sends nothing is
    /// closed.
    pub(crate) async fn grpc(&self) -> &grpc::Caller {
        let connect = || grpc::Caller::connect(self.entry);
        self.grpc.get_or_init(connect).await
    }

    /// The TTHeader caller, in the same way.
    pub(crate) async fn tt(&self) -> &tt::Connection {
        self.tt
            .get_or_init(|| tt::Connection::connect(self.entry))
            .await
    }
}
