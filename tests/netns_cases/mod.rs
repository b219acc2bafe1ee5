//! The cases, and the parts that they share.

mod load;
mod net;
mod partition;
mod pod;
mod redirect;
mod rollout;
mod weather;

use crate::kit::trial::Case;

/// All of the cases.
pub(crate) fn cases() -> Vec<Case> {
    let cases = [
        partition::cases(),
        redirect::cases(),
        rollout::cases(),
        weather::cases(),
    ];
    cases.into_iter().flatten().collect()
}
