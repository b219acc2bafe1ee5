//! The soak: an hour of mixed load with faults through two ripcords. Everything that comes back is
//! compared with what was ordered. Memory and gauges are sampled, plotted and judged.
//!
//! See `cargo bench --bench soak -- --help`; `benches/README.md` explains what it does. One thread
//! drives all callers and callees. The ripcords are processes of their own.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "as in tests: a fault of the instrument ends it"
)]

mod collector;
mod faults;
mod fit;
mod hops;
mod ledger;
mod load;
mod peers;
mod plot;
#[allow(dead_code, reason = "the report needs CPU only")]
#[path = "../proxy/procfs.rs"]
mod procfs;
mod quiet;
mod random;
mod report;
mod samples;
mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result};
use clap::Parser;
use tokio::task::{LocalSet, spawn_local};

use crate::collector::Collector;
use crate::faults::Size;
use crate::hops::{EGRESS, Hop, INGRESS, Settings};
use crate::ledger::Ledger;
use crate::peers::{Callee, PingPongCallee, Wire};
use crate::quiet::Quiet;
use crate::report::Report;
use crate::samples::Samples;
use crate::world::World;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(
    name = "soak",
    about = "Mixed load with faults through two ripcords, for long"
)]
struct Arguments {
    /// How long the load goes on.
    #[arg(long)]
    minutes: Option<f64>,
    /// 20 seconds of everything: does it still work? So it runs without arguments.
    #[arg(long)]
    smoke: bool,
    /// How much load: 1 is some 35 new streams a second [default: 2; 1 for a smoke run].
    #[arg(long)]
    rate: Option<f64>,
    /// Of everything that is random [default: the clock].
    #[arg(long)]
    seed: Option<u64>,
    /// Seconds between two quiet points.
    #[arg(long, default_value_t = 120.0)]
    quiet: f64,
    /// Seconds between two faults.
    #[arg(long, default_value_t = 8.0)]
    faults: f64,
    /// Seconds between two reloads.
    #[arg(long, default_value_t = 5.0)]
    reloads: f64,
    /// Where samples, logs, summary and picture go.
    #[arg(long, default_value = "target/soak")]
    out: PathBuf,
    /// The ripcord to run [default: the one that cargo built with this].
    #[arg(long)]
    ripcord: Option<PathBuf>,
    /// What `cargo bench` adds.
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

/// How often everything is sampled, and how often that is printed.
const SAMPLE: Duration = Duration::from_secs(5);
const PROGRESS: Duration = Duration::from_secs(10);

/// The longest access log, in bytes, before it is cut off.
const ACCESS_LOG: u64 = 8 << 20;

/// Whether such a program can be started.
pub(crate) fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

fn main() -> Result<ExitCode> {
    let mut arguments = Arguments::parse();
    arguments.smoke |= arguments.minutes.is_none();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let passed = LocalSet::new().block_on(&runtime, run(&arguments))?;
    if passed {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("the soak failed: see {}", arguments.out.display());
    Ok(ExitCode::FAILURE)
}

async fn run(arguments: &Arguments) -> Result<bool> {
    let directory = &arguments.out;
    fs::create_dir_all(directory)?;
    let directory = &directory.canonicalize()?;
    let ripcord = ripcord(arguments)?;
    let seed = arguments.seed.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.map_or(1, |now| now.as_secs())
    });
    eprintln!("soak of {}, seed {seed}", ripcord.display());
    let rate = arguments
        .rate
        .unwrap_or(if arguments.smoke { 1.0 } else { 2.0 });
    let world = start(&ripcord, directory).await?;
    let (length, quiet_every, every, size) = if arguments.smoke {
        let size = Size {
            storm: 100,
            connections: 5,
            answer: 90,
            pause: 1000,
        };
        let every = [Duration::from_millis(500), Duration::from_secs(2)];
        (Duration::from_secs(20), Duration::from_secs(8), every, size)
    } else {
        let size = Size {
            storm: 500,
            connections: 20,
            answer: 360,
            pause: 8000,
        };
        let every = [arguments.faults, arguments.reloads].map(Duration::from_secs_f64);
        let length = Duration::from_secs_f64(arguments.minutes.unwrap_or(60.0) * 60.0);
        (
            length,
            Duration::from_secs_f64(arguments.quiet),
            every,
            size,
        )
    };
    spawn_local(load::run(Rc::clone(&world), seed, rate, size));
    spawn_local(faults::run(Rc::clone(&world), seed ^ 1, every[0], size));
    spawn_local(faults::reload(Rc::clone(&world), seed ^ 2, every[1]));
    let mut samples = Samples::new(&directory.join("samples.csv"))?;
    let mut quiet = Vec::new();
    let watched = watch(&world, length, quiet_every, &mut samples, &mut quiet);
    let early = watched.await?;
    world.over.set(true);
    world.paused.set(true);
    // Interrupted, it breaks off what is under way.
    world.ledger.closed.set(early.is_some());
    end(&world, early).await?;
    let report = Report {
        world: &world,
        samples: &samples,
        quiet: &quiet,
        seed,
        rate,
        early,
        ripcord: &ripcord,
    };
    report.write(directory)
}

fn ripcord(arguments: &Arguments) -> Result<PathBuf> {
    let built = || PathBuf::from(env!("CARGO_BIN_EXE_ripcord"));
    let found = arguments.ripcord.clone().unwrap_or_else(built);
    found
        .canonicalize()
        .with_context(|| found.display().to_string())
}

/// Starts the peers and both ripcords.
async fn start(ripcord: &Path, directory: &Path) -> Result<Rc<World>> {
    let ledger = Ledger::new(&directory.join("unexpected.log"))?;
    let collector = Collector::start()?;
    let [grpc, ttheader] = Wire::ALL.map(|wire| Callee::start(wire, None, &ledger));
    let (grpc, ttheader) = (grpc?, ttheader?);
    let pingpong = PingPongCallee::start()?;
    let settings = |node, next| Settings {
        node,
        directory: directory.to_owned(),
        collector: collector.address,
        grpc: grpc.address,
        ttheader: ttheader.address,
        pingpong: pingpong.address,
        next,
    };
    let ingress = Hop::start(ripcord, settings(INGRESS, None)).await?;
    let egress = Hop::start(ripcord, settings(EGRESS, Some(ingress.address))).await?;
    let callees = [Some(grpc), Some(ttheader)];
    Ok(World::new(ledger, (egress, ingress), collector, callees))
}

/// Samples, tells, and makes quiet points until the time is over; why it ended earlier.
async fn watch(
    world: &Rc<World>,
    length: Duration,
    quiet_every: Duration,
    samples: &mut Samples,
    quiet: &mut Vec<Quiet>,
) -> Result<Option<&'static str>> {
    let began = Instant::now();
    let (mut told, mut last_quiet) = (began, began);
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        samples.take(world).await?;
        if told.elapsed() >= PROGRESS {
            told = Instant::now();
            eprintln!("{}", samples.progress(world, length));
        }
        cut_access_logs(world)?;
        if !world.hops().iter().all(|hop| hop.alive()) {
            let what = "a ripcord has ended".to_owned();
            world.ledger.unexpected("ripcord", 0, what);
            return Ok(Some("a ripcord has ended"));
        }
        let over = began.elapsed() >= length;
        if over || last_quiet.elapsed() >= quiet_every {
            let found = tokio::select! {
                biased;
                _ = &mut interrupted => return Ok(Some("interrupted")),
                found = quiet::point(world, quiet, over) => found?,
            };
            quiet.push(found);
            last_quiet = Instant::now();
        }
        if over {
            samples.take(world).await?;
            return Ok(None);
        }
        let left = length.saturating_sub(began.elapsed());
        let next = SAMPLE
            .min(left)
            .min(quiet_every.saturating_sub(last_quiet.elapsed()));
        tokio::select! {
            biased;
            _ = &mut interrupted => return Ok(Some("interrupted")),
            () = tokio::time::sleep(next) => {}
        }
    }
}

/// As a log rotation does that copies and truncates.
fn cut_access_logs(world: &World) -> Result<()> {
    for hop in world.hops() {
        let file = hop.settings.access();
        if fs::metadata(&file).is_ok_and(|file| file.len() > ACCESS_LOG) {
            fs::OpenOptions::new().write(true).open(&file)?.set_len(0)?;
        }
    }
    Ok(())
}

/// Stops both ripcords as a system does. They must end with success, and must not have logged a
/// fault.
async fn end(world: &World, early: Option<&'static str>) -> Result<()> {
    for hop in world.hops() {
        let code = hop.terminate().await?;
        if code != Some(0) && early.is_none() {
            let what = format!("{}: exit code {code:?} after SIGTERM", hop.name);
            world.ledger.unexpected("ripcord", 0, what);
        }
        for line in hop.panics() {
            let what = format!("{}: {line}", hop.name);
            world.ledger.unexpected("ripcord", 0, what);
        }
    }
    Ok(())
}
