//! The cases, by what must hold.

mod assumed;
mod b3;
mod cancels;
mod chain;
mod control;
mod crowd;
mod deadlines;
mod drain;
mod early;
mod ends;
mod fields;
mod foreign;
mod frames;
mod goaway;
mod golden;
mod h2spec;
mod heads;
mod hop_times;
mod hops;
mod keepalive;
mod libraries;
mod limits;
mod official;
mod old_kitex;
mod other_protocol;
mod payloads;
mod pingpong;
mod reload;
mod retries;
mod sizes;
mod storm;
mod translate;
mod validate;

use crate::kit::trial::Case;

/// All of them.
pub(crate) fn cases() -> Vec<Case> {
    let cases = [
        assumed::cases(),
        b3::cases(),
        cancels::cases(),
        chain::cases(),
        chain::cancels::cases(),
        chain::ends::cases(),
        chain::trace::cases(),
        control::cases(),
        crowd::cases(),
        deadlines::cases(),
        drain::cases(),
        early::cases(),
        ends::cases(),
        fields::cases(),
        foreign::cases(),
        frames::cases(),
        goaway::cases(),
        golden::cases(),
        h2spec::cases(),
        hop_times::cases(),
        hops::cases(),
        keepalive::cases(),
        libraries::cases(),
        limits::cases(),
        official::cases(),
        old_kitex::cases(),
        other_protocol::cases(),
        payloads::cases(),
        pingpong::cases(),
        reload::cases(),
        heads::cases(),
        retries::cases(),
        sizes::cases(),
        storm::cases(),
        storm::small::cases(),
        translate::cases(),
        validate::cases(),
    ];
    cases.into_iter().flatten().collect()
}
