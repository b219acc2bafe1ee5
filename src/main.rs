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
    Run {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Checks a configuration file and prints every fault; exit code 1 if there is one.
    Check {
        /// The configuration file.
        file: PathBuf,
    },
    /// Shows a stream each way and a cancel over two hops, on embedded peers; ends by itself.
    Demo,
    /// Explains a code: 12007, grpc:5, NOT_FOUND, exception:6, reset:8, idle, ...
    Explain {
        /// The code.
        code: String,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Check { file } => config::check(&file),
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
    let config = config::load(&file).map_err(|faults| anyhow::anyhow!("{faults}"))?;
    ripcord::init_logs(&config)?;
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
