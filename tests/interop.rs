//! Streams between real peers (Kitex, grpc-go, grpcio), with the built ripcord between them.
//!
//! `tests/interop/README.md` describes the peers and their scenarios. A case whose peer is missing
//! is ignored, and the last lines report it. `RIPCORD_REQUIRE_INTEROP=1` makes that a failure.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod interop_cases;
mod kit;

fn main() -> std::process::ExitCode {
    kit::trial::run("interop", interop_cases::cases())
}
