//! The real callees of a storm. All of them answer with their head at once, echo, and print when
//! each stream ended.

use serde_json::json;

use crate::kit::Wire;
use crate::kit::foreign::{Foreign, Kind as Proxy};
use crate::kit::libraries::{java, node, tonic};
use crate::kit::peers::{Peer, address, go};
use crate::kit::process::Process;

/// Which callee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    NodeHttp2,
    GrpcJs,
    Java,
    Tonic,
    GrpcGo,
    Kitex,
    /// In front of grpc-go.
    Envoy,
    /// In front of grpc-go.
    Nghttpx,
}

/// A running callee.
pub(super) struct Server {
    pub(super) process: Process,
    pub(super) address: String,
    _proxy: Option<Foreign>,
}

impl Kind {
    pub(super) const ALL: [Self; 8] = [
        Self::NodeHttp2,
        Self::GrpcJs,
        Self::Java,
        Self::Tonic,
        Self::GrpcGo,
        Self::Kitex,
        Self::Envoy,
        Self::Nghttpx,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::NodeHttp2 => "node_http2",
            Self::GrpcJs => "grpc_js",
            Self::Java => "grpc_java",
            Self::Tonic => "tonic",
            Self::GrpcGo => "grpc_go",
            Self::Kitex => "kitex",
            Self::Envoy => "envoy",
            Self::Nghttpx => "nghttpx",
        }
    }

    pub(super) const fn needs(self) -> &'static [Peer] {
        match self {
            Self::NodeHttp2 | Self::GrpcJs => &[Peer::Node],
            Self::Java => &[Peer::Java],
            Self::Tonic => &[Peer::Tonic],
            Self::GrpcGo | Self::Kitex => &[Peer::Go],
            Self::Envoy => &[Peer::Go, Peer::Envoy],
            Self::Nghttpx => &[Peer::Go, Peer::Nghttpx],
        }
    }

    pub(super) const fn wire(self) -> Wire {
        match self {
            Self::Kitex => Wire::TtHeader,
            Self::NodeHttp2
            | Self::GrpcJs
            | Self::Java
            | Self::Tonic
            | Self::GrpcGo
            | Self::Envoy
            | Self::Nghttpx => Wire::Grpc,
        }
    }

    /// The keys of its backend. Netty's limit has to be said: found out, it costs the first streams.
    pub(super) const fn keys(self) -> &'static str {
        match self {
            Self::Java => "protocol: grpc, reset_budget: netty",
            Self::NodeHttp2
            | Self::GrpcJs
            | Self::Tonic
            | Self::GrpcGo
            | Self::Kitex
            | Self::Envoy
            | Self::Nghttpx => self.wire().protocol(),
        }
    }

    pub(super) const fn service(self) -> &'static str {
        match self {
            Self::NodeHttp2 | Self::GrpcJs | Self::Java | Self::Tonic => "storm.Storm",
            Self::GrpcGo | Self::Envoy | Self::Nghttpx => "interop.Interop",
            Self::Kitex => "Interop",
        }
    }

    pub(super) const fn method(self) -> &'static str {
        match self {
            Self::NodeHttp2 | Self::GrpcJs | Self::Java | Self::Tonic => "Hold",
            Self::GrpcGo | Self::Kitex | Self::Envoy | Self::Nghttpx => "Bidi",
        }
    }
}

impl Server {
    /// A tonic server, on h2 0.4.18, that reads nothing before [`Self::read`].
    pub(super) fn start_held() -> Self {
        let process = tonic(&["server", "--hold"]);
        Self {
            address: address(&process),
            process,
            _proxy: None,
        }
    }

    /// Reads from now on.
    pub(super) fn read(&self) {
        self.process.say(&json!({ "cmd": "read" }));
    }

    pub(super) fn start(kind: Kind) -> Self {
        let process = match kind {
            Kind::NodeHttp2 => node(&["http2-server"]),
            Kind::GrpcJs => node(&["server"]),
            Kind::Java => java(&["server"]),
            Kind::Tonic => tonic(&["server"]),
            Kind::GrpcGo | Kind::Envoy | Kind::Nghttpx => go(&["grpc-server"]),
            Kind::Kitex => go(&["kitex-server"]),
        };
        let callee = address(&process);
        let proxy = match kind {
            Kind::Envoy => Some(Proxy::Envoy.start(&callee)),
            Kind::Nghttpx => Some(Proxy::Nghttpx.start(&callee)),
            Kind::NodeHttp2
            | Kind::GrpcJs
            | Kind::Java
            | Kind::Tonic
            | Kind::GrpcGo
            | Kind::Kitex => None,
        };
        Self {
            address: proxy.as_ref().map_or(callee, |proxy| proxy.address.clone()),
            process,
            _proxy: proxy,
        }
    }
}
