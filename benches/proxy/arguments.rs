//! The command line of the instruments.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};

use crate::load::Wire;
use crate::measure::Measure;
use crate::memory::Stall;
use crate::peers::Peer;

#[derive(Parser)]
#[command(name = "proxy", about = "Measures proxies side by side")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) report: ReportArguments,
    #[command(flatten)]
    pub(crate) places: Places,
    /// What `cargo bench` adds.
    #[arg(long = "bench", hide = true, global = true)]
    pub(crate) _bench: bool,
}

#[derive(Args)]
pub(crate) struct Places {
    /// The ripcord to measure [default: target/dist/ripcord, else target/release/ripcord].
    #[arg(long, global = true)]
    pub(crate) ripcord: Option<PathBuf>,
    /// Another build of ripcord, measured in the same rounds: the ratios are of each round.
    #[arg(long, global = true)]
    pub(crate) baseline: Option<PathBuf>,
    #[arg(long, global = true, default_value = "envoy")]
    pub(crate) envoy: PathBuf,
    /// Cores of the load generator (with the echo servers) and of the proxy.
    #[arg(long, global = true, default_value = "0,1", value_parser = cores)]
    pub(crate) cores: (usize, usize),
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Everything, side by side (the default).
    Report(ReportArguments),
    /// Tables, targets and picture from what `--json` wrote.
    Draw {
        json: PathBuf,
        /// Where the picture goes.
        #[arg(long)]
        svg: Option<PathBuf>,
    },
    /// How far memory grows when callers never read.
    Memory(MemoryArguments),
    /// One load against an address, for profiling.
    Load(LoadArguments),
    /// The two echo servers alone.
    Echo {
        #[arg(long, default_value = "127.0.0.1:15051")]
        grpc: SocketAddr,
        #[arg(long, default_value = "127.0.0.1:18888")]
        ttheader: SocketAddr,
    },
    /// A plain TCP relay.
    Relay {
        /// `listen=target`, repeated.
        pairs: Vec<String>,
    },
}

#[derive(Args, Clone)]
pub(crate) struct ReportArguments {
    /// Everything once and briefly: does it still work?
    #[arg(long)]
    pub(crate) smoke: bool,
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Seconds that each load is measured.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) seconds: f64,
    /// Only these proxies.
    #[arg(long, value_delimiter = ',')]
    pub(crate) peers: Vec<Peer>,
    /// Only these measures: 128-w1, 1024-w1, 128-w8, 1024-w8, short, pingpong, cancel, bulk, llm,
    /// idle, stall, growth.
    #[arg(long, value_delimiter = ',', value_parser = measure)]
    pub(crate) only: Vec<String>,
    /// Only gRPC to gRPC.
    #[arg(long)]
    pub(crate) grpc_only: bool,
    #[arg(long, default_value_t = 64)]
    pub(crate) streams: usize,
    #[arg(long, default_value_t = 4)]
    pub(crate) connections: usize,
    /// Idle streams, and the most of `growth`.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) idle: usize,
    /// Streams of `llm`.
    #[arg(long, default_value_t = 1000)]
    pub(crate) paced: usize,
    /// Callers of `stall`.
    #[arg(long, default_value_t = 1000)]
    pub(crate) stalled: usize,
    /// Also write everything, every round, to this file; after each measure what there is.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// Also draw the picture.
    #[arg(long)]
    pub(crate) svg: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct MemoryArguments {
    #[arg(long, default_value_t = 1000)]
    pub(crate) connections: usize,
    #[arg(long, default_value_t = 10.0)]
    pub(crate) seconds: f64,
    #[arg(long, value_enum, default_value_t = Stall::Socket)]
    pub(crate) stall: Stall,
    #[arg(long, value_delimiter = ',')]
    pub(crate) peers: Vec<Peer>,
}

#[derive(Args)]
pub(crate) struct LoadArguments {
    #[arg(long)]
    pub(crate) address: SocketAddr,
    #[arg(long, value_enum, default_value_t = Wire::Grpc)]
    pub(crate) wire: Wire,
    /// `GrpcEcho` and `TtheaderEcho` are where the report's ripcord configuration leads.
    #[arg(long, default_value = "GrpcEcho")]
    pub(crate) service: String,
    #[arg(long, default_value_t = 128)]
    pub(crate) size: usize,
    /// Messages in flight per stream; 0 means short streams.
    #[arg(long, default_value_t = 8)]
    pub(crate) window: usize,
    #[arg(long, default_value_t = 64)]
    pub(crate) streams: usize,
    #[arg(long, default_value_t = 4)]
    pub(crate) connections: usize,
    #[arg(long, default_value_t = 5.0)]
    pub(crate) seconds: f64,
    /// The proxy's process, to account its CPU time.
    #[arg(long)]
    pub(crate) pid: Option<u32>,
}

fn measure(text: &str) -> Result<String> {
    let known = Measure::ALL.iter().any(|m| m.id() == text);
    anyhow::ensure!(known, "no such measure");
    Ok(text.to_owned())
}

fn cores(text: &str) -> Result<(usize, usize)> {
    let (load, proxy) = text.split_once(',').context("two cores, as in 0,1")?;
    Ok((load.parse()?, proxy.parse()?))
}
