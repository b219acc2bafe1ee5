//! What the suites share. A suite includes it with `mod kit;`.
//!
//! | what | modules |
//! |---|---|
//! | ripcords: what one has to be, its process, its file | [`spec`], [`ripcord`], [`mount`] |
//! | processes; peers of others, and whether they are installed | [`process`], [`peers`], [`libraries`], [`foreign`], [`collector`] |
//! | suites that decide at run time which cases they can run | [`trial`] |
//! | scenarios between real applications | [`scenario`], [`servers`], [`lab`], [`chain`], [`rows`] |
//! | peers that a test plays step by step, or frame by frame | [`tt`], [`h2peer`], [`h2raw`], [`strict`] |
//! | raw peers that carry many streams at a time | [`grpc`], [`streams`], [`scripts`], [`frames`] |
//! | peers made of the crate's own halves | [`halves`] |
#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "each suite uses a part of it"
)]

pub(crate) mod chain;
pub(crate) mod collector;
pub(crate) mod foreign;
pub(crate) mod frames;
pub(crate) mod grpc;
pub(crate) mod h2peer;
pub(crate) mod h2raw;
pub(crate) mod halves;
pub(crate) mod lab;
pub(crate) mod libraries;
pub(crate) mod mount;
pub(crate) mod peers;
pub(crate) mod process;
pub(crate) mod ripcord;
pub(crate) mod rows;
pub(crate) mod scenario;
pub(crate) mod scripts;
pub(crate) mod servers;
pub(crate) mod spec;
pub(crate) mod streams;
pub(crate) mod strict;
pub(crate) mod trial;
pub(crate) mod tt;

/// A wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Grpc,
    TtHeader,
}

impl Wire {
    pub(crate) const ALL: [Self; 2] = [Self::Grpc, Self::TtHeader];

    /// Its name in a configuration, a metric and the access log.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::TtHeader => "ttheader",
        }
    }

    /// The key of a backend for this wire.
    pub(crate) const fn protocol(self) -> &'static str {
        match self {
            Self::Grpc => "protocol: grpc",
            Self::TtHeader => "protocol: ttheader",
        }
    }
}
