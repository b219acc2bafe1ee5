//! Two ripcords and the raw peers around them:
//!
//! ```text
//! gRPC caller     -- gRPC -->     [one] -- TTHeader --> [two] -- gRPC -->     gRPC callee
//! TTHeader caller -- TTHeader --> [one] -- gRPC -->     [two] -- TTHeader --> TTHeader callee
//! ```
//!
//! and, for single hops, routes from [one] right to the callees.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use ripcord::App;
use tokio::task::JoinSet;

use super::{Scripts, grpc, tt};
use crate::kit::ripcord::Ripcord;
use crate::kit::spec::Spec;

/// One listener of a ripcord, and a caller of each wire connected to it.
pub(crate) struct Entry {
    pub(crate) grpc: grpc::Caller,
    pub(crate) tt: tt::Connection,
}

pub(crate) struct World {
    /// `carried: keep`.
    pub(crate) keep: Entry,
    /// `carried: strip`.
    pub(crate) strip: Entry,
    pub(crate) grpc: Scripts<grpc::Script, grpc::Asked>,
    pub(crate) tt: Scripts<tt::Script, tt::Heard>,
    next: AtomicU64,
    _hops: [Box<dyn Hop>; 2],
}

/// A running ripcord. Dropping it ends it.
pub(crate) trait Hop: Send + Sync {
    /// Where one of its listeners is.
    fn address(&self, listener: &str) -> SocketAddr;
}

/// In this process.
impl Hop for App {
    fn address(&self, listener: &str) -> SocketAddr {
        self.address(listener).unwrap()
    }
}

/// A process of its own.
impl Hop for Ripcord {
    fn address(&self, listener: &str) -> SocketAddr {
        self.address_of(listener)
    }
}

/// A ripcord that is being started.
pub(crate) type Starting = Pin<Box<dyn Future<Output = Box<dyn Hop>>>>;

/// In this process.
fn in_process(_node: &str, spec: Spec) -> Starting {
    Box::pin(async move {
        let hop: Box<dyn Hop> = Box::new(spec.start_here().await);
        hop
    })
}

impl World {
    /// `start` gets the name of the node too.
    async fn start(start: impl Fn(&str, Spec) -> Starting) -> Self {
        let (grpc, tt) = (Scripts::default(), Scripts::default());
        let grpc_callee = self::grpc::callee(grpc.clone()).await;
        let tt_callee = self::tt::callee(tt.clone()).await;
        let two = Ripcord::named("two")
            .quiet()
            .backend("grpc", "protocol: grpc", grpc_callee)
            .backend("tt", "protocol: ttheader", tt_callee)
            .route("grpc", "match: { service: test.Grpc }, backend: grpc")
            .route("tt", "match: { service: Tt }, backend: tt");
        let two = start("two", two).await;
        let next = two.address("in");
        let anywhere = "127.0.0.1:0";
        let one = Ripcord::named("one")
            .quiet()
            .listens("keep", anywhere, "")
            .listens("strip", anywhere, "carried: strip")
            .backend("over-tt", "protocol: ttheader", next)
            .backend("over-grpc", "protocol: grpc, hop: ripcord", next)
            .backend("grpc", "protocol: grpc", grpc_callee)
            .backend("tt", "protocol: ttheader", tt_callee)
            .route("over-tt", "match: { service: test.Grpc }, backend: over-tt")
            .route("over-grpc", "match: { service: Tt }, backend: over-grpc")
            .route("to-grpc", "match: { service: ToGrpc }, backend: grpc")
            .route("to-tt", "match: { service: ToTt }, backend: tt")
            .route(
                "checked-grpc",
                "match: { service: CheckedGrpc }, backend: grpc, validate: thrift",
            )
            .route(
                "checked-tt",
                "match: { service: CheckedTt }, backend: tt, validate: thrift",
            );
        let one = start("one", one).await;
        let entry = async |name| {
            let address = one.address(name);
            Entry {
                grpc: grpc::Caller::connect(address).await,
                tt: tt::Connection::connect(address).await,
            }
        };
        Self {
            keep: entry("keep").await,
            strip: entry("strip").await,
            grpc,
            tt,
            next: AtomicU64::new(0),
            _hops: [one, two],
        }
    }

    /// A listener of the first ripcord.
    pub(crate) fn entry(&self, strip: bool) -> &Entry {
        if strip { &self.strip } else { &self.keep }
    }

    /// A name that no other stream has.
    pub(crate) fn name(&self) -> String {
        format!("M{}", self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// Runs `cases` over one world, `together` at a time, each as a task of its own.
pub(crate) struct Runner {
    runtime: tokio::runtime::Runtime,
    world: std::sync::Arc<World>,
}

impl Runner {
    /// With ripcords in this process.
    pub(crate) fn start() -> Self {
        Self::with(in_process)
    }

    pub(crate) fn with(start: impl Fn(&str, Spec) -> Starting) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let world = runtime.block_on(World::start(start));
        Self {
            runtime,
            world: world.into(),
        }
    }

    /// The first complaint, if there is one.
    pub(crate) fn all<C, F>(
        &self,
        cases: Vec<C>,
        run: impl Fn(std::sync::Arc<World>, C) -> F,
    ) -> Result<(), String>
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.runtime.block_on(async {
            let mut running = JoinSet::new();
            for case in cases {
                running.spawn(run(std::sync::Arc::clone(&self.world), case));
            }
            while let Some(done) = running.join_next().await {
                done.unwrap()?;
            }
            Ok(())
        })
    }

    /// Runs batches of streams until one has a complaint. They are the same in every run.
    pub(crate) fn check<S: Strategy>(
        &self,
        one: S,
        run: impl Fn(&Self, Vec<S::Value>) -> Result<(), String>,
    ) where
        S::Value: Clone,
    {
        let config = Config {
            cases: batches(),
            failure_persistence: None,
            max_shrink_iters: 400,
            ..Config::default()
        };
        let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let batches = vec(one, 1..=2 * TOGETHER);
        let result = TestRunner::new_with_rng(config, rng).run(&batches, |batch| {
            run(self, batch).map_err(TestCaseError::fail)
        });
        if let Err(error) = result {
            panic!("{error}");
        }
    }
}

/// Batches, and streams in each on the average. `RIPCORD_BATCHES` asks for more of them.
const BATCHES: u32 = 8;
const TOGETHER: usize = 64;

fn batches() -> u32 {
    std::env::var("RIPCORD_BATCHES").map_or(BATCHES, |n| n.parse().expect("a number"))
}
