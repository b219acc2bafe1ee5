//! Two ripcords and the raw peers around them:
//!
//! ```text
//! gRPC caller     -- gRPC -->     [one] -- TTHeader --> [two] -- gRPC -->     gRPC callee
//! TTHeader caller -- TTHeader --> [one] -- gRPC -->     [two] -- TTHeader --> TTHeader callee
//! ```
//!
//! and, for single hops, routes from [one] right to the callees.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use ripcord::{App, config};
use tokio::task::JoinSet;

use super::{Scripts, grpc, tt};

/// One listener of a ripcord, and a caller of each wire connected to it.
pub(crate) struct Entry {
    pub(crate) grpc: grpc::Caller,
    pub(crate) tt: tt::Wire,
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

/// One in this process.
struct InProcess(App);

impl Hop for InProcess {
    fn address(&self, listener: &str) -> SocketAddr {
        self.0.address(listener).unwrap()
    }
}

/// What starts a ripcord, from the name of its node and a configuration without `telemetry`.
pub(crate) type Starting = std::pin::Pin<Box<dyn Future<Output = Box<dyn Hop>>>>;

/// In this process.
fn in_process(_node: &str, text: &str) -> Starting {
    let text = format!("{text}telemetry: {{ access_log: off }}\n");
    Box::pin(async move {
        let config = config::parse("test", &text).unwrap_or_else(|faults| panic!("{faults}"));
        let hop: Box<dyn Hop> = Box::new(InProcess(App::start(config, None, None).await.unwrap()));
        hop
    })
}

impl World {
    async fn start(start: impl Fn(&str, &str) -> Starting) -> Self {
        let (grpc, tt) = (Scripts::default(), Scripts::default());
        let grpc_callee = self::grpc::callee(grpc.clone()).await;
        let tt_callee = self::tt::callee(tt.clone()).await;
        let two = start(
            "two",
            &format!(
                "
node: two
workers: 1
listeners: [{{ name: in, address: '127.0.0.1:0' }}]
backends:
  grpc: {{ protocol: grpc, endpoints: ['{grpc_callee}'] }}
  tt: {{ protocol: ttheader, endpoints: ['{tt_callee}'] }}
routes:
  - {{ name: grpc, match: {{ service: test.Grpc }}, backend: grpc }}
  - {{ name: tt, match: {{ service: Tt }}, backend: tt }}
"
            ),
        )
        .await;
        let next = two.address("in");
        let one = start(
            "one",
            &format!(
                "
node: one
workers: 1
listeners:
  - {{ name: keep, address: '127.0.0.1:0' }}
  - {{ name: strip, address: '127.0.0.1:0', carried: strip }}
backends:
  over-tt: {{ protocol: ttheader, endpoints: ['{next}'] }}
  over-grpc: {{ protocol: grpc, endpoints: ['{next}'], hop: ripcord }}
  grpc: {{ protocol: grpc, endpoints: ['{grpc_callee}'] }}
  tt: {{ protocol: ttheader, endpoints: ['{tt_callee}'] }}
routes:
  - {{ name: over-tt, match: {{ service: test.Grpc }}, backend: over-tt }}
  - {{ name: over-grpc, match: {{ service: Tt }}, backend: over-grpc }}
  - {{ name: to-grpc, match: {{ service: ToGrpc }}, backend: grpc }}
  - {{ name: to-tt, match: {{ service: ToTt }}, backend: tt }}
  - {{ name: checked-grpc, match: {{ service: CheckedGrpc }}, backend: grpc, validate: thrift }}
  - {{ name: checked-tt, match: {{ service: CheckedTt }}, backend: tt, validate: thrift }}
"
            ),
        )
        .await;
        let entry = async |name| {
            let address = one.address(name);
            Entry {
                grpc: grpc::Caller::connect(address).await,
                tt: tt::Wire::connect(address).await,
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

    pub(crate) fn with(start: impl Fn(&str, &str) -> Starting) -> Self {
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
