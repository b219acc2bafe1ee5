//! Loss-free ends over real sockets (config/README.md, "Ends and cancels"). What goes into two
//! ripcords with the other protocol between them comes out equal, and only the path has grown by
//! the hops.
//!
//! The ripcords run in this process. Around them are raw peers, so that the code is not tested with
//! itself. They use TTHeader frames with an exception codec of the test's own, and `h2` with bare
//! header maps. A case of proptest is a batch of streams that run at the same time.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod kit;
mod loss_free_cases;

use loss_free_cases::world::Runner;
use loss_free_cases::{checked, ends, forge, lies, make};

#[test]
fn grpc_comes_through_ttheader_as_it_was() {
    Runner::start().check(make::grpc_case(), |world, batch| {
        world.all(batch, ends::grpc_nest)
    });
}

#[test]
fn ttheader_comes_through_grpc_as_it_was() {
    Runner::start().check(make::tt_case(), |world, batch| {
        world.all(batch, ends::tt_nest)
    });
}

#[test]
fn a_callers_cancel_comes_through_both_ways() {
    Runner::start().check(make::cancel(), |world, batch| {
        world.all(make::opening(), ends::cancel)?;
        world.all(batch, ends::cancel)
    });
}

#[test]
fn a_callee_cannot_forge_an_end() {
    Runner::start().check(lies::lie(), |world, batch| world.all(batch, forge::lied));
}

#[test]
fn a_caller_cannot_forge_a_request() {
    Runner::start().check(lies::lying_call(), |world, batch| {
        world.all(batch, forge::lied_in_request)
    });
}

#[test]
fn a_checked_route_passes_structs_and_ends_other_streams_on_both_sides() {
    Runner::start()
        .all(checked::cases(), checked::checked)
        .unwrap();
}
