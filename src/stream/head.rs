//! The heads: what opens each direction of a stream.

use std::net::SocketAddr;
use std::time::Duration;

use crate::stream::{Cut, Hops, Metadata};

/// What the bytes of a message are, as far as the wire tells.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Payload {
    /// Protobuf: `application/grpc`, `application/grpc+proto`, TTHeader protocol id 0x11.
    #[default]
    Protobuf,
    /// A bare thrift struct in the binary protocol: `application/grpc+thrift`, TTHeader protocol id
    /// 0x10.
    Thrift,
    /// Another gRPC content subtype, for example `json`.
    Other(Box<str>),
}

impl Payload {
    /// Its name in texts and in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Protobuf => "protobuf",
            Self::Thrift => "thrift",
            Self::Other(subtype) => subtype,
        }
    }
}

/// How a request names the kind of its payload, where its wire leaves a choice. gRPC does: a
/// content type may leave the kind out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PayloadNaming {
    /// As is usual on the wire: gRPC leaves protobuf unnamed.
    #[default]
    Usual,
    /// The kind is left out: `application/grpc`.
    Unnamed,
    /// The kind is always there: `application/grpc+proto`.
    Named,
}

/// The caller's request to open a stream.
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    /// The service: the first part of `:path`, or `isn`. May be empty on TTHeader.
    pub service: String,
    /// The method: the last part of `:path`, or int key 9.
    pub method: String,
    /// Whom the caller addressed: `:authority`, or int key 6 (to-service).
    pub to: Option<String>,
    /// The caller's service name: `source-service`, or int key 3 (from-service).
    pub caller: Option<String>,
    /// The nodes by which the stream came (`ripcord-hops`). A wire's server role always sets it.
    pub hops: Option<Hops>,
    /// What the payloads are.
    pub payload: Payload,
    /// How the request names the payload's kind.
    pub naming: PayloadNaming,
    /// `grpc-encoding`: how messages whose flag is 1 are compressed.
    pub encoding: Option<Box<str>>,
    /// The time that remained when the head was sent (`grpc-timeout`, int key 12).
    pub timeout: Option<Duration>,
    /// Where the caller's connection was going before the kernel redirected it to this hop. It is
    /// on no wire: whoever accepted the connection sets it.
    pub destination: Option<SocketAddr>,
    /// Everything else. Trace context stays here until the proxy replaces it.
    pub metadata: Metadata,
    /// What a hop before this one had to cut of the head.
    pub cut: Cut,
}

/// The callee's head.
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    /// `grpc-encoding` of the response messages.
    pub encoding: Option<Box<str>>,
    /// The callee's headers, without those above.
    pub metadata: Metadata,
    /// What a hop before this one had to cut of the head.
    pub cut: Cut,
    /// The callee sent its head as a frame of its own, and may stay silent after it: it has to be
    /// passed on at once. False when the head came together with the end (Trailers-Only), or when
    /// this hop made it up.
    pub explicit: bool,
}

impl ResponseHead {
    /// Whether it says nothing but that it is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.encoding.is_none() && self.metadata.is_empty()
    }
}
