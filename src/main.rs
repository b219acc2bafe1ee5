//! The `ripcord` command: arguments, logs, signals.

mod sd_notify;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use ripcord::{App, config};
use tokio::signal::unix::{SignalKind, signal};

#[cfg(not(feature = "live-heap"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(feature = "live-heap")]
#[global_allocator]
static ALLOCATOR: cap::Cap<mimalloc::MiMalloc> = cap::Cap::new(mimalloc::MiMalloc, usize::MAX);

/// Bridges gRPC and Kitex TTHeader streaming, and carries cancels across hops.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the proxy until SIGTERM or SIGINT, then drains; SIGHUP reloads the configuration.
    #[command(after_help = RUN_CODES)]
    Run {
        /// The configuration file.
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Checks configuration files and prints every fault, and every warning, with its place.
    #[command(after_help = CHECK_CODES)]
    Check {
        /// Fails at warnings too.
        #[arg(long)]
        strict: bool,
        /// The configuration files; `-` is standard input.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Shows a stream each way and a cancel over two hops, on embedded peers; ends by itself.
    Demo,
    /// Explains a code: 12007, grpc:5, NOT_FOUND, exception:6, reset:8, idle, ...
    Explain {
        /// The code.
        code: String,
    },
}

const RUN_CODES: &str = "Exit codes: 0 after a drain; 1 when it cannot start; 2 for bad arguments.";

const CHECK_CODES: &str = "Exit codes: 0 when every file can be used; 1 when one cannot, or has a \
                           warning and --strict is given; 2 for bad arguments.";

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Check { strict, files } => config::check(&files, strict),
        Command::Explain { code } => match ripcord::explain::explain(&code) {
            Ok(text) => {
                // Whoever reads may have seen enough: `| head` is no failure.
                let _ = writeln!(std::io::stdout(), "{text}");
                ExitCode::SUCCESS
            }
            Err(text) => {
                eprintln!("{text}");
                ExitCode::FAILURE
            }
        },
        Command::Demo => exit(ripcord::demo::run()),
        Command::Run { config } => exit(run(config)),
    }
}

fn exit(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ripcord: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The control runtime lives on this thread; the data path has threads of its own.
fn run(file: PathBuf) -> anyhow::Result<()> {
    let (config, warnings) =
        config::inspect(&file).map_err(|faults| anyhow::anyhow!("{faults}"))?;
    ripcord::init_logs(&config)?;
    ripcord::log_warnings(&warnings);
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
            let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
            let mut hangup = signal(SignalKind::hangup()).context("SIGHUP")?;
            let app = App::start(config, Some(file), None).await?;
            #[cfg(feature = "live-heap")]
            app.metrics().gauge_fn(
                "ripcord_heap_bytes",
                "Bytes of the allocations that are not freed; in builds with the feature live-heap",
                &[],
                || ALLOCATOR.allocated() as u64,
            );
            sd_notify::tell(sd_notify::READY);
            loop {
                tokio::select! {
                    _ = terminate.recv() => break,
                    _ = interrupt.recv() => break,
                    _ = hangup.recv() => app.reload(),
                }
            }
            sd_notify::tell(sd_notify::STOPPING);
            app.drain().await;
            Ok(())
        })
}
