//! A ripcord as a process of its own, from whichever program.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use serde_json::Value;

use crate::loss_free_cases::world::{Hop, Starting};

/// No start is slower, on a busy machine either.
const LIMIT: Duration = Duration::from_secs(90);

/// The programs of the two hops, and that of this build.
#[derive(Clone)]
pub(crate) struct Pair {
    /// Of the hop that callers see.
    pub(crate) one: PathBuf,
    pub(crate) two: PathBuf,
    pub(crate) new: PathBuf,
}

impl Pair {
    /// Two of this build.
    pub(crate) fn both_new(&self) -> Self {
        Self {
            one: self.new.clone(),
            two: self.new.clone(),
            new: self.new.clone(),
        }
    }
}

struct Process {
    child: Child,
    program: PathBuf,
    file: PathBuf,
    log: Mutex<Log>,
}

struct Log {
    lines: mpsc::Receiver<String>,
    /// Up to the last listener that was asked for.
    heard: Vec<String>,
    listeners: HashMap<String, SocketAddr>,
}

impl Hop for Process {
    fn address(&self, listener: &str) -> SocketAddr {
        let mut log = self.log.lock().unwrap();
        loop {
            if let Some(address) = log.listeners.get(listener) {
                return *address;
            }
            let Ok(line) = log.lines.recv_timeout(LIMIT) else {
                let (program, heard) = (self.program.display(), log.heard.join("\n"));
                panic!("{program} does not listen at {listener}:\n{heard}");
            };
            let said: Value = serde_json::from_str(&line).unwrap_or_default();
            if let (Some("listening"), Some(name), Some(address)) = (
                said["message"].as_str(),
                said["listener"].as_str(),
                said["address"].as_str(),
            ) {
                let address = address.parse().unwrap();
                log.listeners.insert(name.to_owned(), address);
            }
            log.heard.push(line);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.file);
    }
}

/// Starts the hop of that node, from a configuration without `telemetry`.
pub(crate) fn hop(pair: &Pair, node: &str, text: &str) -> Box<dyn Hop> {
    let program = if node == "one" { &pair.one } else { &pair.two };
    Box::new(Process::start(program.clone(), node, text))
}

/// The same for the world of the loss-free streams.
pub(crate) fn start(pair: &Pair, node: &str, text: &str) -> Starting {
    let hop = hop(pair, node, text);
    Box::pin(async move { hop })
}

impl Process {
    fn start(program: PathBuf, node: &str, text: &str) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("mixed");
        std::fs::create_dir_all(&folder).unwrap();
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let file = folder.join(format!("{node}-{}-{next}.yaml", std::process::id()));
        let telemetry = "telemetry: { log: { format: json }, access_log: off }";
        std::fs::write(&file, format!("{text}{telemetry}\n")).unwrap();
        let mut child = Command::new(&program)
            .arg("run")
            .arg("--config")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let lines = lines(child.stderr.take().unwrap());
        Self {
            child,
            program,
            file,
            log: Mutex::new(Log {
                lines,
                heard: Vec::new(),
                listeners: HashMap::new(),
            }),
        }
    }
}

/// Reads a pipe to its end, so that its writer never blocks.
fn lines(pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (tell, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            // Nobody listens once it runs.
            let _ = tell.send(line);
        }
    });
    lines
}
