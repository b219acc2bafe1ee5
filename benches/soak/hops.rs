//! The two ripcords: `egress` beside the callers, `ingress` beside the callees. Their
//! configurations, processes, logs, reloads and admin pages.

use std::cell::Cell;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::peers::Wire;

pub(crate) const EGRESS: &str = "egress";
pub(crate) const INGRESS: &str = "ingress";

/// By which way a stream goes from the egress to a callee, and the service that goes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) service: &'static str,
    pub(crate) callee: Wire,
    /// The wire between the two ripcords; none when the egress reaches the callee itself.
    pub(crate) between: Option<Wire>,
}

impl Way {
    pub(crate) const ALL: [Self; 6] = [
        way("DirectGrpc", Wire::Grpc, None),
        way("DirectTt", Wire::TtHeader, None),
        way("GrpcGrpc", Wire::Grpc, Some(Wire::Grpc)),
        way("GrpcTt", Wire::TtHeader, Some(Wire::Grpc)),
        way("TtGrpc", Wire::Grpc, Some(Wire::TtHeader)),
        way("TtTt", Wire::TtHeader, Some(Wire::TtHeader)),
    ];

    /// The hops, from the caller's.
    pub(crate) fn hops(&self) -> &'static [&'static str] {
        match self.between {
            None => &[EGRESS],
            Some(_) => &[EGRESS, INGRESS],
        }
    }
}

const fn way(service: &'static str, callee: Wire, between: Option<Wire>) -> Way {
    Way {
        service,
        callee,
        between,
    }
}

/// Limits that routes set, by method. All of them are of the egress, toward its own callees.
pub(crate) const LIMITS: [(&str, &str); 3] = [
    ("Idle", "idle: 700ms"),
    ("Silent", "first_response: 700ms"),
    ("Limited", "stream: 700ms"),
];

/// The tables that reloads go through.
pub(crate) const VARIANTS: u64 = 4;

/// What a ripcord needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) node: &'static str,
    pub(crate) directory: PathBuf,
    pub(crate) collector: SocketAddr,
    pub(crate) grpc: SocketAddr,
    pub(crate) ttheader: SocketAddr,
    pub(crate) pingpong: SocketAddr,
    /// Of the egress: the ingress.
    pub(crate) next: Option<SocketAddr>,
}

impl Settings {
    /// The access log.
    pub(crate) fn access(&self) -> PathBuf {
        self.directory.join(format!("{}.access.log", self.node))
    }

    fn config(&self, variant: u64) -> String {
        let (collector, access) = (self.collector, self.access());
        let mut text = format!(
            r#"node: {}
workers: 2
admin: {{ address: "127.0.0.1:0" }}
telemetry:
  otlp: {{ endpoint: "http://{collector}", protocol: http, timeout: 2s }}
  access_log: "{}"
  log: {{ format: json }}
listeners: [{{ name: in, address: "127.0.0.1:0" }}]
backends:
"#,
            self.node,
            access.display()
        );
        let more = match variant {
            1 => ", pool_size: 2",
            2 => ", connections: per_stream",
            _ => "",
        };
        let mut backend = |name: &str, wire: Wire, at: SocketAddr, more: &str| {
            let wire = wire.name();
            text += &format!(
                "  {name}: {{ protocol: {wire}, endpoints: [\"{at}\"], backoff: {{ initial: 100ms, max: 1s }}{more} }}\n"
            );
        };
        backend("grpc", Wire::Grpc, self.grpc, more);
        backend("ttheader", Wire::TtHeader, self.ttheader, more);
        backend("pingpong", Wire::TtHeader, self.pingpong, "");
        if let Some(next) = self.next {
            backend("next-grpc", Wire::Grpc, next, ", hop: ripcord");
            backend("next-ttheader", Wire::TtHeader, next, "");
        }
        if variant == 3 {
            backend("spare", Wire::Grpc, self.collector, "");
        }
        text += "routes:\n";
        for way in Way::ALL {
            let (service, callee) = (way.service, way.callee.name());
            let backend = match (way.between, self.next) {
                (Some(between), Some(_)) => format!("next-{}", between.name()),
                (Some(_), None) => callee.to_owned(),
                (None, Some(_)) => {
                    for (method, limit) in LIMITS {
                        text += &format!(
                            "  - {{ name: {service}-{method}, match: {{ service: {service}, method: {method} }}, backend: {callee}, timeouts: {{ {limit} }} }}\n"
                        );
                    }
                    callee.to_owned()
                }
                (None, None) => continue,
            };
            let validate = if way.service == "DirectTt" {
                ", validate: thrift"
            } else {
                ""
            };
            text += &format!(
                "  - {{ name: {service}, match: {{ service: {service} }}, backend: {backend}{validate} }}\n"
            );
        }
        text += "  - { name: pingpong, match: { service: PingPong }, backend: pingpong }\n";
        if variant == 3 {
            text += "  - { name: spare, match: { service: Spare }, backend: spare }\n";
        }
        text
    }
}

/// A running ripcord; killed when dropped.
pub(crate) struct Hop {
    pub(crate) name: &'static str,
    pub(crate) pid: u32,
    pub(crate) address: SocketAddr,
    pub(crate) settings: Settings,
    admin: SocketAddr,
    log: PathBuf,
    variant: Cell<u64>,
    child: std::cell::RefCell<Child>,
}

impl Hop {
    /// Starts one and waits until it listens.
    pub(crate) async fn start(program: &Path, settings: Settings) -> Result<Self> {
        let name = settings.node;
        let file = settings.directory.join(format!("{name}.yaml"));
        fs::write(&file, settings.config(0))?;
        let log = settings.directory.join(format!("{name}.log"));
        // It does not outlive this process where the system can see to that.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program);
        if !crate::on_path("setpriv") {
            command = Command::new(program);
        }
        let child = command
            .args(["run", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let mut hop = Self {
            name,
            pid: child.id(),
            address: settings.collector,
            admin: settings.collector,
            settings,
            log,
            variant: Cell::new(0),
            child: child.into(),
        };
        hop.address = hop.listening("in").await?;
        hop.admin = hop.listening("admin").await?;
        Ok(hop)
    }

    async fn listening(&self, name: &str) -> Result<SocketAddr> {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let text = fs::read_to_string(&self.log)?;
            let lines = text
                .lines()
                .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            for line in lines {
                if line["message"] == "listening" && line["listener"] == name {
                    return Ok(line["address"].as_str().unwrap_or_default().parse()?);
                }
            }
            ensure!(
                self.alive() && Instant::now() < end,
                "{}: {text}",
                self.name
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn alive(&self) -> bool {
        matches!(self.child.borrow_mut().try_wait(), Ok(None))
    }

    /// Lines of its log that show a fault of its own: any error except a refused file.
    pub(crate) fn panics(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let error =
            |line: &str| line.contains("\"ERROR\"") && !line.contains("configuration refused");
        let broken = |line: &&str| line.contains("panicked") || error(line);
        text.lines().filter(broken).map(str::to_owned).collect()
    }

    /// Makes another table effective, or offers one that must be refused.
    pub(crate) fn reload(&self, variant: u64, broken: bool) -> Result<()> {
        let mut text = self.settings.config(variant % VARIANTS);
        if broken {
            text += "  - { name: broken, match: { servce: X }, backend: nobody }\n";
        } else {
            self.variant.set(variant % VARIANTS);
        }
        let file = self.settings.directory.join(format!("{}.yaml", self.name));
        let new = file.with_extension("new");
        fs::write(&new, text)?;
        fs::rename(new, file)?;
        let pid = self.pid.to_string();
        let status = Command::new("kill").args(["-HUP", &pid]).status()?;
        ensure!(status.success(), "kill -HUP {pid}");
        Ok(())
    }

    /// The effective table.
    pub(crate) fn variant(&self) -> u64 {
        self.variant.get()
    }

    /// Stops it as a system would, and waits until it has ended; its exit code.
    pub(crate) async fn terminate(&self) -> Result<Option<i32>> {
        let pid = self.pid.to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        let end = Instant::now() + Duration::from_secs(90);
        loop {
            if let Some(status) = self.child.borrow_mut().try_wait()? {
                return Ok(status.code());
            }
            ensure!(Instant::now() < end, "{} does not end", self.name);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The body of an admin page.
    pub(crate) async fn page(&self, path: &str) -> Result<String> {
        let ask = async {
            let mut socket = TcpStream::connect(self.admin).await?;
            let request = format!("GET {path} HTTP/1.1\r\nHost: admin\r\n\r\n");
            socket.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            socket.read_to_string(&mut answer).await?;
            match answer.split_once("\r\n\r\n") {
                Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
                _ => bail!("{}{path}: {answer}", self.name),
            }
        };
        tokio::time::timeout(Duration::from_secs(60), ask)
            .await
            .with_context(|| format!("{}{path} takes over 60 s", self.name))?
    }
}

impl Drop for Hop {
    fn drop(&mut self) {
        let mut child = self.child.borrow_mut();
        let _ = child.kill();
        let _ = child.wait();
    }
}
