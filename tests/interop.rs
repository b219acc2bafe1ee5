//! Streams between real peers (Kitex, grpc-go, grpcio), with the built ripcord between them.
//!
//! `tests/interop/README.md` describes the peers and their scenarios. Without `go` the suite is
//! skipped, and says so; `RIPCORD_REQUIRE_INTEROP=1` makes that a failure.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod interop_cases;
mod support;
