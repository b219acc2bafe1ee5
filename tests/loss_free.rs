//! Loss-free ends over real sockets (README, "Ends and cancels"): what goes into two ripcords with the other
//! protocol between them comes out equal, the path grown by the hops.
//!
//! The ripcords run in this process; around them are raw peers, so that the code is not proved
//! with itself: TTHeader frames with an exception codec of the test's own, and `h2` with bare
//! header maps. A case of proptest is a batch of streams that run at the same time.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod kit;
mod loss_free_cases;

use loss_free_cases::world::Runner;
use loss_free_cases::{checked, ends, forge, lies, make};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Batches, and streams in each on the average. `RIPCORD_BATCHES` asks for more of them.
const BATCHES: u32 = 8;
const TOGETHER: usize = 64;

fn batches() -> u32 {
    std::env::var("RIPCORD_BATCHES").map_or(BATCHES, |n| n.parse().expect("a number"))
}

/// The same streams in every run.
fn check<S: Strategy>(one: S, run: impl Fn(&Runner, Vec<S::Value>) -> Result<(), String>)
where
    S::Value: Clone,
{
    let world = Runner::start();
    let config = Config {
        cases: batches(),
        failure_persistence: None,
        max_shrink_iters: 400,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let batches = vec(one, 1..=2 * TOGETHER);
    let result = TestRunner::new_with_rng(config, rng).run(&batches, |batch| {
        run(&world, batch).map_err(TestCaseError::fail)
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn grpc_comes_through_ttheader_as_it_was() {
    check(make::grpc_case(), |world, batch| {
        world.all(batch, ends::grpc_nest)
    });
}

#[test]
fn ttheader_comes_through_grpc_as_it_was() {
    check(make::tt_case(), |world, batch| {
        world.all(batch, ends::tt_nest)
    });
}

#[test]
fn a_callers_cancel_comes_through_both_ways() {
    check(make::cancel(), |world, batch| {
        world.all(make::opening(), ends::cancel)?;
        world.all(batch, ends::cancel)
    });
}

#[test]
fn a_callee_cannot_forge_an_end() {
    check(lies::lie(), |world, batch| world.all(batch, forge::lied));
}

#[test]
fn a_caller_cannot_forge_a_request() {
    check(lies::lying_call(), |world, batch| {
        world.all(batch, forge::lied_in_request)
    });
}

#[test]
fn a_checked_route_passes_structs_and_ends_other_streams_on_both_sides() {
    Runner::start()
        .all(checked::cases(), checked::checked)
        .unwrap();
}
