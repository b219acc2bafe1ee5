//! The gRPC wire over HTTP/2 (the gRPC project's PROTOCOL-HTTP2.md and statuscodes.md): frames to
//! the neutral stream model and back, on the `h2` crate. Knows no other wire.

pub mod end;
pub mod keys;
pub mod metadata;
pub mod status;
