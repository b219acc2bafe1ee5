//! Short streams without a pause, on several lanes, while the test changes the world.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use crate::kit::lab::say;
use crate::kit::process::Process;
use crate::kit::scenario::Scenario;

/// Streams that one lane has open.
const DEEP: usize = 2;

/// What came of one stream.
pub(crate) struct Outcome {
    /// Its lane's name.
    pub(crate) lane: String,
    pub(crate) id: String,
    pub(crate) result: Value,
}

impl Outcome {
    /// Whether it came to its proper end, with every message in its place.
    pub(crate) fn is_well(&self) -> bool {
        let result = &self.result;
        result["kind"] == "ok" && result["corrupt"] != true && result["out_of_order"] != true
    }
}

/// Lanes at work.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    outcomes: Arc<Mutex<Vec<Outcome>>>,
    workers: Vec<(JoinHandle<()>, Arc<AtomicUsize>)>,
}

impl Load {
    /// Starts one lane for each name, caller and scenario.
    pub(crate) fn start(lanes: &[(String, Arc<Process>, Scenario)]) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            outcomes: Arc::default(),
            workers: Vec::new(),
        };
        for (name, client, scenario) in lanes {
            for _ in 0..DEEP {
                let (name, client, scenario) = (name.clone(), Arc::clone(client), scenario.clone());
                let (stop, outcomes) = (Arc::clone(&load.stop), Arc::clone(&load.outcomes));
                let turns = Arc::new(AtomicUsize::new(0));
                let counted = Arc::clone(&turns);
                let thread = std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let id = say(&client, &scenario);
                        let result = client.event("result", &id);
                        let lane = name.clone();
                        let outcome = Outcome { lane, id, result };
                        outcomes.lock().unwrap().push(outcome);
                        counted.fetch_add(1, Ordering::Relaxed);
                    }
                });
                load.workers.push((thread, turns));
            }
        }
        load
    }

    /// Waits until all that was under way is over, and as much again was begun and ended.
    pub(crate) fn turn(&self) {
        for (thread, turns) in &self.workers {
            let wanted = turns.load(Ordering::Relaxed) + 2;
            while turns.load(Ordering::Relaxed) < wanted {
                // It ends early only by a panic, for a failed stream: `finish` reports which.
                assert!(!thread.is_finished(), "a lane stopped");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// Lets every lane end its streams, and gives what came of all.
    pub(crate) fn finish(self) -> Vec<Outcome> {
        self.stop.store(true, Ordering::Relaxed);
        for (thread, _) in self.workers {
            thread.join().unwrap();
        }
        std::mem::take(&mut *self.outcomes.lock().unwrap())
    }
}

/// Asserts that every stream came to its proper end; how many there were.
#[track_caller]
pub(crate) fn all_well(outcomes: &[Outcome]) -> usize {
    let bad: Vec<String> = outcomes
        .iter()
        .filter(|o| !o.is_well())
        .map(|o| format!("{} {}: {}", o.lane, o.id, o.result))
        .collect();
    let (failed, all) = (bad.len(), outcomes.len());
    assert!(failed == 0, "{failed} of {all} failed:\n{}", bad.join("\n"));
    all
}
