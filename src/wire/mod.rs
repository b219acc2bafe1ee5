//! The wires: one folder each, and this file, the only place that knows all of them.

pub mod grpc;
pub mod ttheader;
