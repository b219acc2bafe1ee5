//! Two builds in one chain: the last landed ripcord and this one, as processes, in both orders,
//! with each wire between them. A mixed pair does what two new ones do, and no message is lost.
//!
//! `RIPCORD_OLD` is the old program: `RIPCORD_OLD=$(.ci/old) cargo test --test mixed`. Without it
//! every case is ignored. The streams are those of tests/loss_free.rs. Beside them, each end of a
//! table goes through every chain. What both peers received is compared to the byte.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod kit;
// What only its own suite uses.
#[allow(dead_code)]
mod loss_free_cases;
mod mixed_cases;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Trial};
use loss_free_cases::world::Runner;
use loss_free_cases::{ends, forge, lies, make};
use mixed_cases::hop::{Pair, start};
use mixed_cases::{Middle, cascade, compare, whole};

/// A case: its name, and what it does with a pair of programs.
type Case = (String, Box<dyn Fn(&Pair) + Send + Sync>);

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut add = |name: &str, run: fn(&Runner)| {
        let with = move |pair: &Pair| {
            run(&Runner::with(|node, spec| start(pair, node, spec)));
        };
        cases.push((format!("loss_free::{name}"), Box::new(with)));
    };
    add("grpc_comes_through_ttheader_as_it_was", |world| {
        world.check(make::grpc_case(), |world, batch| {
            world.all(batch, ends::grpc_nest)
        });
    });
    add("ttheader_comes_through_grpc_as_it_was", |world| {
        world.check(make::tt_case(), |world, batch| {
            world.all(batch, ends::tt_nest)
        });
    });
    add("a_callers_cancel_comes_through_both_ways", |world| {
        world.check(make::cancel(), |world, batch| {
            world.all(make::opening(), ends::cancel)?;
            world.all(batch, ends::cancel)
        });
    });
    add("a_callee_cannot_forge_an_end", |world| {
        world.check(lies::lie(), |world, batch| world.all(batch, forge::lied));
    });
    add("a_caller_cannot_forge_a_request", |world| {
        world.check(lies::lying_call(), |world, batch| {
            world.all(batch, forge::lied_in_request)
        });
    });
    for middle in Middle::ALL {
        let mut add = |name: &str, run: fn(&Pair, Middle)| {
            let name = format!("over_{}::{name}", middle.name());
            cases.push((name, Box::new(move |pair: &Pair| run(pair, middle))));
        };
        add("every_end_is_that_of_two_new_ones", compare::every_end);
        add(
            "a_cancel_cascades_with_code_text_and_path",
            cascade::both_ways,
        );
        add("no_message_is_lost", whole::no_message_is_lost);
    }
    cases
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let old = std::env::var_os("RIPCORD_OLD").filter(|old| !old.is_empty());
    let old = old.map(PathBuf::from);
    let new = PathBuf::from(env!("CARGO_BIN_EXE_ripcord"));
    let mut trials = Vec::new();
    for (name, run) in cases() {
        let run = Arc::new(run);
        for order in ["old_then_new", "new_then_old"] {
            let (run, old, new) = (Arc::clone(&run), old.clone(), new.clone());
            trials.push(Trial::ignorable_test(
                format!("{name}::{order}"),
                move || {
                    let Some(old) = old else {
                        return Ok(Completion::ignored_with("RIPCORD_OLD is not set"));
                    };
                    // A name that leads nowhere is no reason to ignore anything.
                    assert!(old.is_file(), "RIPCORD_OLD={}: no such file", old.display());
                    let (one, two) = match order {
                        "old_then_new" => (old, new.clone()),
                        _ => (new.clone(), old),
                    };
                    run(&Pair { one, two, new });
                    Ok(Completion::Completed)
                },
            ));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}
