//! The `ripcord` command: arguments, logs, signals.

mod sd_notify;
mod signals;

use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use ripcord::{App, config};

use signals::{Asked, Signals};

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
    /// Runs the proxy until SIGTERM or SIGINT, then drains; a second one ends it at once. SIGHUP
    /// reloads the configuration and reopens the access log. RUST_LOG overrides
    /// telemetry.log.level.
    #[command(after_help = RUN_CODES)]
    Run {
        /// The configuration file.
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
        /// Nothing can stand here: whoever writes the file without `--config` is told.
        #[arg(hide = true, value_name = "FILE", value_parser = misplaced)]
        file: Option<Infallible>,
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
    /// Prints what pairs in a schema of a configuration file, protobuf beside thrift, and everything
    /// that a reader of the two should know. `to-proto FILE` and `to-thrift FILE` print the missing
    /// half for IDL files, and to standard error what the schema needs beside both.
    Schema {
        /// The configuration file; or to-proto, or to-thrift.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The schema's name in it; or the IDL files.
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
        /// A folder for includes and imports, for to-proto and to-thrift; may be repeated.
        #[arg(long, value_name = "FOLDER")]
        include: Vec<PathBuf>,
    },
    /// Shows a stream each way and a cancel over two hops, on embedded peers; ends by itself.
    Demo,
    /// Explains a code, a word of the metrics or the access log, or a printed error line.
    Explain {
        /// 12007, NOT_FOUND, exception:6, REFUSED_STREAM, idle, cause=12011, a line that Kitex or a
        /// gRPC library printed; - reads lines from standard input.
        #[arg(required = true, value_name = "WORD", allow_hyphen_values = true)]
        asked: Vec<String>,
    },
}

const RUN_CODES: &str = "Exit codes: 0 after a drain; 1 when it cannot start; 2 for bad arguments; \
                         130 or 143 when a second SIGINT or SIGTERM cut the drain.";

const CHECK_CODES: &str = "Exit codes: 0 when every file can be used; 1 when one cannot, or has a \
                           warning and --strict is given; 2 for bad arguments.";

/// The most of standard input that `ripcord explain -` reads.
const MAX_INPUT: u64 = 1 << 20;

/// How long the access log's last lines may take when the process ends at once.
const LAST_LINES: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Check { strict, files } => ripcord::check(&files, strict),
        Command::Schema {
            file,
            names,
            include,
        } => schema(&file, &names, &include),
        Command::Explain { asked } => explain(&asked),
        Command::Demo => exit(ripcord::demo::run()),
        Command::Run { config, file: None } => exit(run(config)),
    }
}

fn schema(file: &Path, names: &[String], include: &[PathBuf]) -> ExitCode {
    let files = || names.iter().map(PathBuf::from).collect::<Vec<_>>();
    match (file.to_str(), names) {
        (Some("to-proto"), _) => ripcord::write_idl(true, &files(), include),
        (Some("to-thrift"), _) => ripcord::write_idl(false, &files(), include),
        (_, [name]) => ripcord::schema(file, name),
        (_, _) => {
            eprintln!("ripcord schema: one name of a schema is needed");
            ExitCode::from(2)
        }
    }
}

fn misplaced(file: &str) -> Result<Infallible, String> {
    Err(format!("did you mean: ripcord run --config {file}"))
}

fn explain(asked: &[String]) -> ExitCode {
    let text = match asked {
        [one] if one == "-" => {
            let mut bytes = Vec::new();
            if let Err(error) = std::io::stdin().take(MAX_INPUT).read_to_end(&mut bytes) {
                eprintln!("ripcord: standard input: {error}");
                return ExitCode::FAILURE;
            }
            String::from_utf8_lossy(&bytes).into_owned()
        }
        words => words.join(" "),
    };
    match ripcord::explain::explain(&text) {
        Ok(text) => {
            // The reader may have closed the pipe, as in `| head`. That is no failure.
            let _ = writeln!(std::io::stdout(), "{text}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("ripcord: {text}");
            ExitCode::FAILURE
        }
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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let app = App::start(config, Some(file), None).await?;
        #[cfg(feature = "live-heap")]
        app.metrics().gauge_fn(
            "ripcord_heap_bytes",
            "Bytes of the allocations that are not freed; in builds with the feature live-heap",
            &[],
            || ALLOCATOR.allocated() as u64,
        );
        sd_notify::tell(sd_notify::READY);
        while signals.next().await == Asked::Reload {
            app.reload();
        }
        sd_notify::tell(sd_notify::STOPPING);
        drain(app, &mut signals).await;
        Ok(())
    });
    // A look at the file may hang, on a file system that is gone: nobody waits for it.
    runtime.shutdown_background();
    result
}

/// Signals that come this soon after the first one count as the same: `timeout` and some init
/// programs signal the process and then its group.
const SAME_WISH: Duration = Duration::from_millis(500);

/// Drains. A second SIGTERM or SIGINT ends the process at once.
async fn drain(app: App, signals: &mut Signals) {
    let telemetry = app.telemetry().clone();
    let drained = std::pin::pin!(app.drain());
    let began = tokio::time::Instant::now();
    let cut = async {
        loop {
            match signals.next().await {
                Asked::Reload => telemetry.access.reopen(),
                Asked::End { .. } if began.elapsed() < SAME_WISH => {}
                Asked::End { signal, exit_code } => break (signal, exit_code),
            }
        }
    };
    tokio::select! {
        () = drained => {}
        (signal, exit_code) = cut => {
            let streams = telemetry.live.len();
            tracing::warn!(
                signal,
                streams,
                exit_code,
                "a second signal ends the process at once; streams that are open are cut"
            );
            telemetry.access.flush(LAST_LINES);
            std::process::exit(exit_code);
        }
    }
}
