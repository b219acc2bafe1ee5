//! What opens each direction of a stream.

use std::net::SocketAddr;
use std::time::Duration;

use crate::stream::{Hops, Metadata};

/// What the bytes of a message are, as far as the wire says.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Payload {
    /// Protobuf: `application/grpc`, `application/grpc+proto`, TTHeader protocol id 0x11.
    #[default]
    Protobuf,
    /// Bare thrift struct, binary protocol: `application/grpc+thrift`, TTHeader protocol id 0x10.
    Thrift,
    /// Another gRPC content subtype, for example `json`.
    Other(Box<str>),
}

impl Payload {
    /// In the words of people and of the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Protobuf => "protobuf",
            Self::Thrift => "thrift",
            Self::Other(subtype) => subtype,
        }
    }
}

/// How a request names the kind of its payload, where its wire leaves a choice. gRPC does: a content
/// type may name none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PayloadNaming {
    /// As the wire does it: gRPC leaves protobuf unnamed.
    #[default]
    Usual,
    /// Not at all: `application/grpc`.
    Unnamed,
    /// Whatever the kind is: `application/grpc+proto`.
    Named,
}

/// The caller's request to open a stream.
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    /// The service: `:path`'s first part, or `isn`. May be empty on TTHeader.
    pub service: String,
    /// The method: `:path`'s last part, or int key 9.
    pub method: String,
    /// Whom the caller addressed: `:authority`, or int key 6 (to-service).
    pub to: Option<String>,
    /// The caller's service name: `source-service`, or int key 3 (from-service).
    pub caller: Option<String>,
    /// By which way it came (`ripcord-hops`); a wire's server role always says it.
    pub hops: Option<Hops>,
    /// The payload's kind.
    pub payload: Payload,
    /// How the wire names it.
    pub naming: PayloadNaming,
    /// `grpc-encoding`: how messages whose flag is 1 are compressed.
    pub encoding: Option<Box<str>>,
    /// The time that remained when the head was sent (`grpc-timeout`, int key 12).
    pub timeout: Option<Duration>,
    /// Where the caller's connection was going before the kernel redirected it to this hop. No wire
    /// says it: whoever accepted the connection does.
    pub destination: Option<SocketAddr>,
    /// Everything else. Trace context stays in here until the proxy replaces it.
    pub metadata: Metadata,
}

/// The callee's headers.
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    /// `grpc-encoding` of the response messages.
    pub encoding: Option<Box<str>>,
    /// The callee's headers.
    pub metadata: Metadata,
    /// The callee sent its head as a frame of its own and may stay silent after it, so it is to
    /// be passed on at once. False where the head came together with the end (Trailers-Only) or
    /// was made up by this hop.
    pub explicit: bool,
}
