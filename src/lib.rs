//! ripcord: a sidecar proxy that bridges gRPC and Kitex TTHeader streaming, in both directions.
//!
//! The data path, in reading order: `listen` accepts a connection, tells the protocols apart and
//! hands it to a `worker`; a wire's server role ([`wire::grpc`], [`wire::ttheader`]) turns it into streams of the
//! neutral model ([`stream`]); `proxy` finds the stream's [`route`], opens a stream on a
//! [`backend`] by a wire's client role, and lets the [`bridge`] carry it to its first end, which each
//! side hears in its native form (`wire::grpc::end`, `wire::ttheader::end`). [`config`], [`telemetry`] and
//! [`admin`] stand beside it; [`App`] puts all of it together.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

pub mod admin;
mod app;
pub mod backend;
pub mod bridge;
pub mod config;
mod context;
pub mod demo;
mod drain;
pub mod explain;
mod listen;
pub mod net;
mod proxy;
mod relay;
pub mod route;
mod setup;
pub mod stream;
pub mod telemetry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod trim;
pub mod wire;
mod worker;

pub use app::App;
pub use setup::init_logs;
pub use telemetry::{Observed, Tap};

/// A route to a cluster of endpoints.
type Route = route::Route<backend::Cluster>;

/// The table in force.
type Routes = route::Store<backend::Cluster>;
