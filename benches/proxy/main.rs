//! The measuring instruments. A load generator and echo servers for both wires run in one process
//! on one core, a proxy runs on another core, and a report compares the proxies.
//!
//! See `cargo bench --bench proxy -- --help`; `benches/README.md` explains the numbers. It shares
//! no code with the proxy.

mod arguments;
mod bridge;
mod callee;
mod configs;
mod foreign;
mod gather;
mod grpc_echo;
mod grpc_load;
mod load;
mod loads;
mod measure;
mod memory;
mod pace;
mod peers;
mod picture;
mod procfs;
mod relay;
mod report;
mod results;
mod ring;
mod single;
mod tables;
mod targets;
mod ttheader;
mod ttheader_echo;
mod ttheader_load;

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command as Process;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::LocalSet;

use crate::arguments::{
    Arguments, Command, LoadArguments, MemoryArguments, Places, ReportArguments,
};
use crate::callee::Callee;
use crate::load::{Shape, Spec, Target, Wire};
use crate::measure::{Effort, Measure};
use crate::peers::{Bed, Peer, on_path};
use crate::report::{Plan, Row};
use crate::results::Results;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Windows of the callers and callees here: large enough never to be what is measured.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Set once this process has been pinned.
const PINNED: &str = "RIPCORD_BENCH_PINNED";

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let alone = matches!(
        arguments.command,
        Some(Command::Relay { .. } | Command::Draw { .. })
    );
    if !alone {
        pin(arguments.places.cores.0)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, dispatch(arguments))
}

/// Starts this process again on its core, with enough file descriptors.
fn pin(core: usize) -> Result<()> {
    if std::env::var_os(PINNED).is_some() || !on_path(Path::new("taskset")) {
        return Ok(());
    }
    let error = Process::new("sh")
        .args([
            "-c",
            "ulimit -n $(ulimit -Hn); exec taskset -c \"$@\"",
            "sh",
        ])
        .arg(core.to_string())
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(PINNED, "1")
        // An error that ends each of many streams must not cost a backtrace each.
        .env("RUST_LIB_BACKTRACE", "0")
        .exec();
    Err(error).context("pinning this process")
}

async fn dispatch(arguments: Arguments) -> Result<()> {
    let places = &arguments.places;
    match arguments.command {
        Some(Command::Report(mut report)) => {
            report.smoke |= arguments.report.smoke;
            side_by_side(&report, places).await
        }
        Some(Command::Draw { json, svg }) => draw(&json, svg.as_deref()),
        Some(Command::Memory(memory)) => stall(&memory, places).await,
        Some(Command::Load(load)) => load_once(&load).await,
        Some(Command::Echo { grpc, ttheader }) => echo(grpc, ttheader).await,
        Some(Command::Relay { pairs }) => relay::run(&pairs).await,
        None => {
            let mut report = arguments.report;
            // `cargo test --benches` runs this too, with no arguments at all.
            report.smoke |= std::env::args_os().len() == 1;
            side_by_side(&report, places).await
        }
    }
}

/// On a free port. nginx opens a connection for each stream, thousands at once: the kernel shall
/// keep as many waiting as it may.
fn listener() -> Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    Ok(socket.listen(1 << 16)?)
}

/// The echo servers on free ports, and where the proxies are.
async fn bed(places: &Places, callee: &Rc<Callee>) -> Result<Bed> {
    let grpc = listener()?;
    let ttheader = listener()?;
    let directory = std::env::temp_dir().join(format!("ripcord-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let ripcord = places.ripcord.clone().unwrap_or_else(|| {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
        let dist = target.join("dist/ripcord");
        if dist.is_file() {
            dist
        } else {
            target.join("release/ripcord")
        }
    });
    tokio::task::spawn_local(Rc::clone(&callee.pacer).run());
    let bed = Bed {
        proxy_core: places.cores.1,
        ripcord,
        baseline: places.baseline.clone(),
        envoy: places.envoy.clone(),
        directory,
        grpc_echo: grpc.local_addr()?,
        ttheader_echo: ttheader.local_addr()?,
    };
    tokio::task::spawn_local(grpc_echo::listen(grpc, Rc::clone(callee)));
    tokio::task::spawn_local(ttheader_echo::listen(ttheader, Rc::clone(callee)));
    Ok(bed)
}

/// What a reader of the numbers must know, printed and returned.
fn introduce(places: &Places, bed: &Bed) -> Vec<String> {
    let mut about = vec![format!(
        "load and echo on core {}, proxy on core {}; {}; CPU clock {}; load average {:.2}; ripcord {}",
        places.cores.0,
        places.cores.1,
        procfs::machine(),
        procfs::resolution(),
        procfs::load_average(),
        bed.ripcord.display(),
    )];
    about.push(bed.versions().join("; "));
    if procfs::load_average() > 0.5 {
        about.push(
            "warning: the machine is busy: rates and latencies are worth little, CPU columns more"
                .to_owned(),
        );
    }
    for line in &about {
        println!("{line}");
    }
    about
}

async fn side_by_side(arguments: &ReportArguments, places: &Places) -> Result<()> {
    let callee = Rc::new(Callee::default());
    let bed = bed(places, &callee).await?;
    let about = introduce(places, &bed);
    let plan = Plan {
        rounds: if arguments.smoke {
            1
        } else {
            arguments.rounds.max(1)
        },
        measures: Measure::ALL
            .into_iter()
            .filter(|m| arguments.only.is_empty() || arguments.only.contains(&m.id()))
            .collect(),
        rows: rows(
            &arguments.peers,
            arguments.grpc_only,
            places.baseline.is_some(),
        ),
        effort: effort(arguments),
    };
    let keep = |results: &Results| {
        let Some(path) = &arguments.json else {
            return Ok(());
        };
        std::fs::write(path, serde_json::to_vec_pretty(&results.to_json())?)
            .with_context(|| path.display().to_string())
    };
    let results = report::run(&plan, &bed, &callee, about, keep).await?;
    conclude(&results, arguments.svg.as_deref())?;
    let _ = std::fs::remove_dir_all(&bed.directory);
    anyhow::ensure!(
        !arguments.smoke || !results.broken,
        "a stream through ripcord failed, see the notes"
    );
    Ok(())
}

/// How much, by the arguments or as little as shows that it works.
fn effort(arguments: &ReportArguments) -> Effort {
    let smoke = arguments.smoke;
    let brief = |full: f64, smoked: f64| {
        let seconds = if smoke { smoked } else { full };
        Duration::from_secs_f64(seconds)
    };
    let few = |full: usize, smoked: usize| if smoke { smoked } else { full.max(1) };
    Effort {
        warm_up: brief(0.2, 0.02),
        duration: brief(arguments.seconds, 0.05),
        connections: arguments.connections.max(1),
        streams: arguments.streams.max(1),
        cancels: few(1000, 3),
        idle: few(arguments.idle, 100),
        paced: few(arguments.paced, 20),
        stalled: few(arguments.stalled, 20),
        stall: brief(2.5, 0.2),
        most: few(arguments.idle, 100),
    }
}

/// What comes after the tables of the measures.
fn conclude(results: &Results, svg: Option<&Path>) -> Result<()> {
    println!("{}", tables::everything(results));
    println!("{}", tables::notes(results));
    println!("{}", targets::table(results));
    if let Some(path) = svg {
        let picture = picture::draw(results).context("the picture needs 128-w1")?;
        std::fs::write(path, picture).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn draw(json: &Path, svg: Option<&Path>) -> Result<()> {
    let text = std::fs::read(json).with_context(|| json.display().to_string())?;
    let results = Results::from_json(&serde_json::from_slice(&text)?)?;
    for line in &results.about {
        println!("{line}");
    }
    for taken in &results.measures {
        println!("{}", tables::table(taken, &results.missing));
    }
    conclude(&results, svg)
}

fn rows(peers: &[Peer], grpc_only: bool, baseline: bool) -> Vec<Row> {
    let mut rows: Vec<Row> = Peer::ALL
        .into_iter()
        .filter(|peer| peers.is_empty() || peers.contains(peer))
        .filter(|peer| baseline || *peer != Peer::Baseline)
        .flat_map(|peer| {
            peer.pairs()
                .iter()
                .map(move |pair| Row { peer, pair: *pair })
        })
        .filter(|row| !grpc_only || row.pair == (Wire::Grpc, Wire::Grpc))
        .collect();
    // By pair, those without a change of protocol first; within a pair in the order of the peers.
    rows.sort_by_key(|row| {
        let mixed = row.pair.0 != row.pair.1;
        (mixed, row.pair.0 != Wire::Grpc)
    });
    rows
}

async fn stall(arguments: &MemoryArguments, places: &Places) -> Result<()> {
    let callee = Rc::new(Callee::default());
    let bed = bed(places, &callee).await?;
    introduce(places, &bed);
    println!(
        "{} callers that never read ({:?}), callee sends without end, {} s; proxy RSS in MiB",
        arguments.connections, arguments.stall, arguments.seconds
    );
    println!(
        "| | pair | stalled | before | after | most | last quarter |\n|---|---|--:|--:|--:|--:|--:|"
    );
    for row in rows(&arguments.peers, false, places.baseline.is_some()) {
        if row.peer == Peer::Direct {
            continue;
        }
        let duration = Duration::from_secs_f64(arguments.seconds);
        let (caller, answerer) = (row.pair.0.name(), row.pair.1.name());
        match memory::run(
            &bed,
            row.peer,
            row.pair,
            arguments.connections,
            arguments.stall,
            duration,
        )
        .await
        {
            Ok(grown) => println!(
                "| {} | {caller}→{answerer} | {} | {:.1} | {:.1} | {:.1} | {:+.1} |",
                row.peer,
                grown.stalled,
                grown.before as f64 / 1024.0,
                grown.after as f64 / 1024.0,
                grown.most as f64 / 1024.0,
                grown.late as f64 / 1024.0,
            ),
            Err(e) => println!(
                "| {} | {caller}→{answerer} | missing: {e:#} | | | | |",
                row.peer
            ),
        }
        callee.reaches(|n| n == 0, Duration::from_secs(5)).await;
    }
    let _ = std::fs::remove_dir_all(&bed.directory);
    Ok(())
}

async fn load_once(arguments: &LoadArguments) -> Result<()> {
    let target = Target {
        address: arguments.address,
        wire: arguments.wire,
        service: arguments.service.clone(),
        thrift: arguments.service == configs::service(Wire::Ttheader),
    };
    let spec = Spec {
        connections: arguments.connections.max(1),
        streams: arguments.streams.max(1),
        size: arguments.size,
        shape: match arguments.window {
            0 => Shape::Short,
            window => Shape::Long { window },
        },
    };
    let pids = arguments.pid.map(procfs::tree).unwrap_or_default();
    let duration = Duration::from_secs_f64(arguments.seconds);
    let m = load::run(&target, &spec, Duration::from_millis(500), duration, &pids).await?;
    let done = m.done as f64;
    println!(
        "{:.1} k/s, {:.2} frames per message, proxy CPU {:.3} s per million",
        done / m.elapsed.as_secs_f64() / 1e3,
        m.frames as f64 / done,
        m.cpu.as_secs_f64() / done * 1e6,
    );
    Ok(())
}

async fn echo(grpc: SocketAddr, ttheader: SocketAddr) -> Result<()> {
    let callee = Rc::new(Callee::default());
    let grpc = TcpListener::bind(grpc).await?;
    let ttheader = TcpListener::bind(ttheader).await?;
    println!(
        "gRPC {}, TTHeader {}",
        grpc.local_addr()?,
        ttheader.local_addr()?
    );
    tokio::task::spawn_local(grpc_echo::listen(grpc, Rc::clone(&callee)));
    ttheader_echo::listen(ttheader, callee).await;
    Ok(())
}
