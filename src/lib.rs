//! ripcord: a sidecar proxy that bridges gRPC and Kitex TTHeader streaming.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

pub mod explain;
pub mod grpc;
pub mod stream;
pub mod ttheader;
