//! ripcord: a sidecar proxy that bridges gRPC and Kitex TTHeader streaming.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

pub mod bridge;
//pub mod grpc;
pub mod net;
pub mod stream;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod ttheader;
