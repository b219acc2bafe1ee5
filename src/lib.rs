//! ripcord: a sidecar proxy that bridges gRPC and Kitex TTHeader streaming, in both directions, and
//! carries cancellation across both. `src/README.md` has the architecture, the glossary, and where
//! to add what.
//!
//! The data path, in reading order:
//!
//! 1. `listen` accepts a connection and hands it to a `worker`, which runs it as a job.
//! 2. The registry of wires ([`wire`]) detects what the connection speaks. It serves the connection
//!    by that wire's server role ([`wire::grpc`], [`wire::ttheader`]): streams of the neutral model
//!    ([`stream`]).
//! 3. `proxy` finds the stream's [`route`] and opens a stream on a [`backend`], by a wire's client
//!    role, on a connection of the worker's pool.
//! 4. The [`bridge`] carries the stream to its first end. Each side receives it in its native form
//!    (`wire::grpc::end`, `wire::ttheader::end`).
//!
//! `context` has what a stream's task needs of its process and worker; `drain` ends what runs.
//! [`config`], [`telemetry`] and [`admin`] stand beside the path. `setup` turns the configuration
//! into the values that the parts take, and [`App`] puts all of it together.
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
pub mod translate;
mod trim;
pub mod wire;
mod worker;

pub use app::App;
pub use setup::{check, init_logs, log_warnings, schema, write_idl};
pub use telemetry::{Observed, Tap};

/// A route to a cluster of endpoints.
type Route = route::Route<backend::Cluster>;

/// The holder of the effective route table.
type Routes = route::Store<backend::Cluster>;
