//! The compared proxies: how each is found and started. Their configurations, with the settings
//! without which they break or mislead, are in `foreign` and `configs`.
//!
//! A proxy that is not installed, or does not start, is reported as missing. It is never an error.

use std::fmt;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::load::{Target, Wire};
use crate::procfs;
use crate::{bridge, configs, foreign};

/// What can stand between the load generator and the echo servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Peer {
    Direct,
    Relay,
    Nghttpx,
    Haproxy,
    Nginx,
    Envoy,
    /// With telemetry off, as the others have it.
    Ripcord,
    /// Another build of it (`--baseline`), with telemetry off.
    Baseline,
    /// With an access log and metrics.
    RipcordDefaults,
    /// `benches/bridge`: what a Go team would write today.
    GoBridge,
}

impl Peer {
    pub(crate) const ALL: [Self; 10] = [
        Self::Direct,
        Self::Relay,
        Self::Nghttpx,
        Self::Haproxy,
        Self::Nginx,
        Self::Envoy,
        Self::Ripcord,
        Self::Baseline,
        Self::RipcordDefaults,
        Self::GoBridge,
    ];

    /// Whether this is the program that this repository is about.
    pub(crate) fn is_ripcord(self) -> bool {
        matches!(self, Self::Ripcord | Self::RipcordDefaults)
    }

    /// The pairs of protocols that it can join.
    pub(crate) fn pairs(self) -> &'static [(Wire, Wire)] {
        const SAME: [(Wire, Wire); 2] =
            [(Wire::Grpc, Wire::Grpc), (Wire::Ttheader, Wire::Ttheader)];
        match self {
            Self::Direct | Self::Relay => &SAME,
            Self::Nghttpx | Self::Haproxy | Self::Nginx | Self::Envoy => {
                &[(Wire::Grpc, Wire::Grpc)]
            }
            Self::GoBridge => &[
                (Wire::Ttheader, Wire::Ttheader),
                (Wire::Grpc, Wire::Ttheader),
                (Wire::Ttheader, Wire::Grpc),
            ],
            Self::Ripcord | Self::Baseline | Self::RipcordDefaults => &[
                (Wire::Grpc, Wire::Grpc),
                (Wire::Ttheader, Wire::Ttheader),
                (Wire::Grpc, Wire::Ttheader),
                (Wire::Ttheader, Wire::Grpc),
            ],
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "no proxy",
            Self::Relay => "TCP relay",
            Self::Nghttpx => "nghttpx",
            Self::Haproxy => "HAProxy",
            Self::Nginx => "nginx",
            Self::Envoy => "Envoy",
            Self::Ripcord => "ripcord",
            Self::Baseline => "baseline",
            Self::RipcordDefaults => "ripcord, defaults",
            Self::GoBridge => "Go bridge",
        })
    }
}

/// Where things are, for all proxies of one run.
#[derive(Clone, Debug)]
pub(crate) struct Bed {
    pub(crate) proxy_core: usize,
    pub(crate) ripcord: PathBuf,
    pub(crate) baseline: Option<PathBuf>,
    pub(crate) envoy: PathBuf,
    /// Configurations and logs.
    pub(crate) directory: PathBuf,
    pub(crate) grpc_echo: SocketAddr,
    pub(crate) ttheader_echo: SocketAddr,
}

/// A proxy that runs; killed when dropped.
pub(crate) struct Running {
    child: Option<Child>,
    pub(crate) pids: Vec<u32>,
    grpc: SocketAddr,
    ttheader: SocketAddr,
}

impl Running {
    /// How a caller reaches the callee through this proxy.
    pub(crate) fn target(&self, caller: Wire, callee: Wire) -> Target {
        Target {
            address: match caller {
                Wire::Grpc => self.grpc,
                Wire::Ttheader => self.ttheader,
            },
            wire: caller,
            service: configs::service(callee).to_owned(),
            thrift: callee == Wire::Ttheader,
        }
    }

    pub(crate) fn rss_kib(&self) -> u64 {
        procfs::rss_kib(&self.pids)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Bed {
    /// What each program that is there calls itself.
    pub(crate) fn versions(&self) -> Vec<String> {
        let programs: [(&Path, &str); 6] = [
            (&self.ripcord, "--version"),
            (Path::new("nghttpx"), "--version"),
            (Path::new("haproxy"), "-v"),
            (Path::new("nginx"), "-v"),
            (&self.envoy, "--version"),
            (Path::new("go"), "version"),
        ];
        programs
            .iter()
            .filter_map(|(program, flag)| {
                let output = Command::new(program).arg(flag).output().ok()?;
                let said = [output.stdout, output.stderr].concat();
                let said = String::from_utf8_lossy(&said).into_owned();
                let line = said.lines().find(|l| !l.trim().is_empty())?;
                Some(line.trim().to_owned())
            })
            .collect()
    }

    /// Starts a proxy and waits until it listens.
    pub(crate) fn start(&self, peer: Peer) -> Result<Running> {
        if peer == Peer::Direct {
            return Ok(Running {
                child: None,
                pids: Vec::new(),
                grpc: self.grpc_echo,
                ttheader: self.ttheader_echo,
            });
        }
        let grpc = free_address()?;
        let ttheader = free_address()?;
        let (program, arguments) = self.command(peer, grpc, ttheader)?;
        if !on_path(&program) {
            bail!("{} not found", program.display());
        }
        let log = self.directory.join(format!("{peer}.log"));
        let child = pinned(self.proxy_core, &program)
            .args(&arguments)
            .env("GOMAXPROCS", "1")
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let mut running = Running {
            pids: vec![child.id()],
            child: Some(child),
            grpc,
            ttheader,
        };
        running.wait(&log, grpc)?;
        if peer.pairs().iter().any(|pair| pair.0 == Wire::Ttheader) {
            running.wait(&log, ttheader)?;
        }
        running.pids = procfs::tree(running.pids.first().copied().unwrap_or_default());
        Ok(running)
    }

    fn command(
        &self,
        peer: Peer,
        grpc: SocketAddr,
        ttheader: SocketAddr,
    ) -> Result<(PathBuf, Vec<String>)> {
        let config = |extension: &str, text: String| -> Result<String> {
            let path = self.directory.join(format!("{peer}.{extension}"));
            fs::write(&path, text)?;
            Ok(path.display().to_string())
        };
        let echo = self.grpc_echo;
        Ok(match peer {
            Peer::Direct => bail!("nothing to start"),
            Peer::Relay => (
                std::env::current_exe()?,
                vec![
                    "relay".to_owned(),
                    format!("{grpc}={echo}"),
                    format!("{ttheader}={}", self.ttheader_echo),
                ],
            ),
            Peer::Nghttpx => ("nghttpx".into(), foreign::nghttpx(grpc, echo)),
            Peer::Haproxy => (
                "haproxy".into(),
                vec![
                    "-f".to_owned(),
                    config("cfg", foreign::haproxy(grpc, echo))?,
                ],
            ),
            Peer::Nginx => {
                let text = foreign::nginx(grpc, echo, &self.directory);
                let directory = self.directory.display().to_string();
                let arguments = ["-c", &config("conf", text)?, "-p", &directory];
                ("nginx".into(), arguments.map(str::to_owned).to_vec())
            }
            Peer::Envoy => {
                let text = foreign::envoy(grpc, echo);
                let path = config("yaml", text)?;
                (self.envoy.clone(), foreign::envoy_arguments(path))
            }
            Peer::GoBridge => {
                let arguments = [
                    format!("--grpc={grpc}"),
                    format!("--ttheader={ttheader}"),
                    format!("--grpc-echo={echo}"),
                    format!("--ttheader-echo={}", self.ttheader_echo),
                ];
                (bridge::program()?, arguments.to_vec())
            }
            Peer::Ripcord | Peer::Baseline | Peer::RipcordDefaults => {
                let telemetry = if peer == Peer::RipcordDefaults {
                    configs::telling(free_address()?, &self.directory)
                } else {
                    configs::silent()
                };
                let baseline = self.baseline.clone().filter(|_| peer == Peer::Baseline);
                let program = baseline.unwrap_or_else(|| self.ripcord.clone());
                let text = configs::ripcord(&telemetry, grpc, ttheader, echo, self.ttheader_echo);
                let arguments = ["run", "--config", &config("yaml", text)?];
                (program, arguments.map(str::to_owned).to_vec())
            }
        })
    }
}

impl Running {
    /// Whether it still runs.
    pub(crate) fn alive(&mut self) -> bool {
        match &mut self.child {
            Some(child) => matches!(child.try_wait(), Ok(None)),
            None => true,
        }
    }

    /// Until the proxy accepts connections.
    fn wait(&mut self, log: &Path, address: SocketAddr) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if TcpStream::connect(address).is_ok() {
                return Ok(());
            }
            let exited = match &mut self.child {
                Some(child) => child.try_wait()?,
                None => None,
            };
            if exited.is_some() || Instant::now() > deadline {
                let text = fs::read_to_string(log).unwrap_or_default();
                let last = text.lines().rfind(|l| !l.trim().is_empty()).unwrap_or("");
                match exited {
                    Some(status) => bail!("{status} {last}"),
                    None => bail!("does not listen {last}"),
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A command pinned to one core, that does not outlive this process.
fn pinned(core: usize, program: &Path) -> Command {
    let mut command = if on_path(Path::new("setpriv")) {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if on_path(Path::new("taskset")) {
            command.args(["taskset", "-c", &core.to_string()]);
        }
        command
    } else {
        let mut command = Command::new("taskset");
        command.args(["-c", &core.to_string()]);
        command
    };
    command.arg(program);
    command
}

/// Whether this is a program that can be started.
pub(crate) fn on_path(program: &Path) -> bool {
    if program.components().count() > 1 {
        return program.is_file();
    }
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
        || Path::new("/usr/sbin").join(program).is_file()
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
