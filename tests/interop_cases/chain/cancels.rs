//! A cancel from each node of the chain; the path at every node.

use serde_json::json;

use super::{in_the_middle, stage};
use crate::support::chain::{CALLEES, CALLERS, HOPS};
use crate::support::scenario::{Kind, op};

#[test]
fn look() {
    let Some(stage) = stage() else { return };
    let mut runs = Vec::new();
    for caller in CALLERS {
        for callee in CALLEES {
            for (limit, last) in [
                ("none", op("cancel")),
                ("idle-r3", json!({"op":"recv"})),
                ("deadline-r3", json!({"op":"recv"})),
            ] {
                runs.push(stage.run(caller, callee, &in_the_middle(Kind::Bidi, limit, last)));
            }
        }
    }
    for run in &runs {
        stage.callee_passes(run, "ready");
        run.caller_passes("now");
    }
    for run in &runs {
        println!("== {}\n  caller {}", run.what, run.caller_end());
        println!("  callee {}", stage.callee_end(run));
        for n in 1..=HOPS {
            println!("  r{n} {}", stage.chain.access(n, &run.trace));
        }
    }
}
