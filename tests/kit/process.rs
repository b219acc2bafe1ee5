//! One process that prints JSON lines: starts it, reads it, writes to it, kills it.
//!
//! Here are pipes and waiting. What the lines mean is not known here. Every wait is for a line and
//! has a bound; nothing sleeps.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take. It is longer than any limit that a test sets for a peer. A busy
/// machine needs that: 30 s were once not enough to start a process.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// Lines kept for a failure's report.
const TAIL: usize = 40;

#[derive(Default)]
struct Heard {
    lines: Vec<Value>,
    /// Line numbers by `event:id` and, for a barrier, by `barrier:id/name`.
    by_key: HashMap<String, usize>,
    /// Lines that are no JSON object: a library's log.
    noise: Vec<String>,
    open: usize,
}

/// A running process. Dropping it kills it.
pub(crate) struct Process {
    name: String,
    child: Mutex<Child>,
    stdin: Mutex<Option<ChildStdin>>,
    pid: u32,
    heard: Arc<(Mutex<Heard>, Condvar)>,
}

impl Process {
    /// Starts `command` with its three streams as pipes.
    pub(crate) fn start(name: &str, mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let heard = Arc::new((
            Mutex::new(Heard {
                open: 2,
                ..Heard::default()
            }),
            Condvar::new(),
        ));
        let stdin = child.stdin.take();
        listen(child.stdout.take().unwrap(), Arc::clone(&heard));
        listen(child.stderr.take().unwrap(), Arc::clone(&heard));
        let pid = child.id();
        watchdog(pid);
        Self {
            name: name.to_owned(),
            child: Mutex::new(child),
            stdin: Mutex::new(stdin),
            pid,
            heard,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Writes one line.
    pub(crate) fn say(&self, line: &Value) {
        let mut stdin = self.stdin.lock().unwrap();
        let stdin = stdin
            .as_mut()
            .unwrap_or_else(|| panic!("{}: stdin is closed", self.name));
        let written = writeln!(stdin, "{line}").and_then(|()| stdin.flush());
        written.unwrap_or_else(|error| panic!("{}: {error}\n{}", self.name, self.tail()));
    }

    /// The line with that event and id; waits for it.
    pub(crate) fn event(&self, event: &str, id: &str) -> Value {
        let key = format!("{event}:{id}");
        self.wait(&key, |heard| {
            heard.by_key.get(&key).map(|at| heard.lines[*at].clone())
        })
    }

    /// Whether that line has come already.
    pub(crate) fn has(&self, event: &str, id: &str) -> bool {
        self.heard
            .0
            .lock()
            .unwrap()
            .by_key
            .contains_key(&format!("{event}:{id}"))
    }

    /// The first line that `wanted` accepts, and `count - 1` more; waits for them.
    pub(crate) fn lines(
        &self,
        what: &str,
        count: usize,
        wanted: impl Fn(&Value) -> bool,
    ) -> Vec<Value> {
        self.wait(what, |heard| {
            let found: Vec<_> = heard
                .lines
                .iter()
                .filter(|line| wanted(line))
                .take(count)
                .cloned()
                .collect();
            (found.len() == count).then_some(found)
        })
    }

    /// What `look` makes of all lines so far. Waits until it makes something.
    pub(crate) fn until<T>(&self, what: &str, look: impl Fn(&[Value]) -> Option<T>) -> T {
        self.wait(what, |heard| look(&heard.lines))
    }

    /// The first line that `wanted` accepts; waits for it.
    pub(crate) fn line(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.lines(what, 1, wanted).remove(0)
    }

    /// What `wanted` finds in a line that is no JSON; waits for it.
    pub(crate) fn text<T>(&self, what: &str, wanted: impl Fn(&str) -> Option<T>) -> T {
        self.wait(what, |heard| {
            heard.noise.iter().find_map(|line| wanted(line))
        })
    }

    /// Every line so far.
    pub(crate) fn all(&self) -> Vec<Value> {
        self.heard.0.lock().unwrap().lines.clone()
    }

    fn wait<T>(&self, what: &str, mut look: impl FnMut(&Heard) -> Option<T>) -> T {
        let end = Instant::now() + LIMIT;
        let (lock, more) = &*self.heard;
        let mut heard = lock.lock().unwrap();
        loop {
            if let Some(found) = look(&heard) {
                return found;
            }
            let left = end.saturating_duration_since(Instant::now());
            if heard.open == 0 || left.is_zero() {
                let why = if left.is_zero() {
                    "has not said"
                } else {
                    "ended without"
                };
                let tail = tail(&heard);
                drop(heard);
                panic!("{} {why} {what}; its last lines:\n{tail}", self.name);
            }
            heard = more.wait_timeout(heard, left).unwrap().0;
        }
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(self.pid.to_string())
            .status();
        assert!(status.unwrap().success(), "kill -{signal} {}", self.name);
    }

    /// Sends two signals, one right after the other.
    pub(crate) fn signal_twice(&self, first: &str, second: &str) {
        let kill = format!("kill -{first} {0} && kill -{second} {0}", self.pid);
        let status = Command::new("sh").args(["-c", &kill]).status();
        assert!(status.unwrap().success(), "{kill}");
    }

    /// Kills it, as `kill -9`, and waits until it is gone.
    pub(crate) fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Waits for its end and its last lines. Returns the exit code.
    pub(crate) fn exit_code(&self) -> Option<i32> {
        let end = Instant::now() + LIMIT;
        let (lock, more) = &*self.heard;
        let mut heard: MutexGuard<'_, Heard> = lock.lock().unwrap();
        while heard.open > 0 {
            let left = end.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "{} does not end:\n{}",
                self.name,
                tail(&heard)
            );
            heard = more.wait_timeout(heard, left).unwrap().0;
        }
        drop(heard);
        self.child.lock().unwrap().wait().unwrap().code()
    }

    /// Its last lines, for a failure's report.
    pub(crate) fn tail(&self) -> String {
        tail(&self.heard.0.lock().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn tail(heard: &Heard) -> String {
    let lines = heard.lines.iter().rev().take(TAIL).map(ToString::to_string);
    let noise = heard.noise.iter().rev().take(TAIL).cloned();
    let mut all: Vec<_> = lines.chain(noise).collect();
    all.reverse();
    all.join("\n")
}

fn listen(from: impl Read + Send + 'static, heard: Arc<(Mutex<Heard>, Condvar)>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            let mut at = heard.0.lock().unwrap();
            match serde_json::from_slice::<Value>(&line) {
                Ok(value) if value.is_object() => {
                    let index = at.lines.len();
                    at.by_key.entry(key(&value)).or_insert(index);
                    at.lines.push(value);
                }
                Ok(_) | Err(_) => at.noise.push(String::from_utf8_lossy(&line).into_owned()),
            }
            heard.1.notify_all();
        }
        heard.0.lock().unwrap().open -= 1;
        heard.1.notify_all();
    });
}

fn key(line: &Value) -> String {
    let text = |name: &str| line[name].as_str().unwrap_or_default();
    match text("event") {
        "barrier" => format!("barrier:{}/{}", text("id"), text("name")),
        event => format!("{event}:{}", text("id")),
    }
}

/// Kills what is left when the test process is gone, for whatever reason: statics are not dropped.
/// A shell reads the process ids, and acts at the end of its input.
fn watchdog(pid: u32) {
    static DOG: OnceLock<Mutex<Child>> = OnceLock::new();
    let dog = DOG.get_or_init(|| {
        let shell = Command::new("sh")
            .arg("-c")
            .arg("while read pid; do all=\"$all $pid\"; done; kill -9 $all 2>/dev/null")
            .stdin(Stdio::piped())
            .spawn();
        Mutex::new(shell.unwrap())
    });
    if let Some(stdin) = &mut dog.lock().unwrap().stdin {
        let _ = writeln!(stdin, "{pid}");
    }
}

/// One case at a time, while the guard lives: the cases share two cores, and time is measured.
pub(crate) fn alone() -> impl Drop {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}
