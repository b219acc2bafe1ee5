//! Two ripcords in this process and the raw peers around them:
//!
//! ```text
//! gRPC caller     -- gRPC -->     [one] -- TTHeader --> [two] -- gRPC -->     gRPC callee
//! TTHeader caller -- TTHeader --> [one] -- gRPC -->     [two] -- TTHeader --> TTHeader callee
//! ```
//!
//! and, for single hops, routes from [one] right to the callees.

use std::sync::atomic::{AtomicU64, Ordering};

use ripcord::App;
use tokio::task::JoinSet;

use super::{Scripts, grpc, tt};
use crate::kit::ripcord::Ripcord;

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
    _apps: [App; 2],
}

impl World {
    pub(crate) async fn start() -> Self {
        let (grpc, tt) = (Scripts::default(), Scripts::default());
        let grpc_callee = self::grpc::callee(grpc.clone()).await;
        let tt_callee = self::tt::callee(tt.clone()).await;
        let two = Ripcord::named("two")
            .quiet()
            .backend("grpc", "protocol: grpc", grpc_callee)
            .backend("tt", "protocol: ttheader", tt_callee)
            .route("grpc", "match: { service: test.Grpc }, backend: grpc")
            .route("tt", "match: { service: Tt }, backend: tt")
            .start_here()
            .await;
        let next = two.address("in").unwrap();
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
            )
            .start_here()
            .await;
        let entry = async |name| {
            let address = one.address(name).unwrap();
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
            _apps: [one, two],
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
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let world = runtime.block_on(World::start());
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
}
