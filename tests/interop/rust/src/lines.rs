//! JSON lines: what the test says on stdin, and what it reads on stdout.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Prints one line.
pub(crate) fn emit(line: &Value) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

/// Microseconds since 1970, which processes of one machine can compare.
pub(crate) fn now_us() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.as_micros() as u64)
}

fn gate(key: &str) -> Arc<Semaphore> {
    static GATES: OnceLock<Mutex<HashMap<String, Arc<Semaphore>>>> = OnceLock::new();
    let mut gates = GATES.get_or_init(Mutex::default).lock().expect("gates");
    let gate = gates.entry(key.to_owned());
    Arc::clone(gate.or_insert_with(|| Arc::new(Semaphore::new(0))))
}

/// Prints that a scenario is at a barrier, and waits for `{"go":"id/name"}`.
pub(crate) async fn barrier(id: &str, name: &str) {
    let gate = gate(&format!("{id}/{name}"));
    emit(&json!({ "event": "barrier", "id": id, "name": name }));
    gate.acquire().await.expect("gates stay").forget();
}

/// The lines of stdin that open no barrier. Ends with stdin.
pub(crate) fn stdin() -> UnboundedReceiver<Value> {
    let (sender, lines) = unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let Ok(line) = serde_json::from_str::<Value>(&line) else {
                continue;
            };
            if let Some(key) = line["go"].as_str() {
                gate(key).add_permits(1);
            } else if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}
