//! Sidecars and services in network namespaces with their own addresses: latency, loss, partition,
//! a rolling restart under load, a ConfigMap's swap, and connections that iptables redirects.
//!
//! Run `cargo test --test netns` as root, with `ip`, `iptables`, `ip6tables`, `setpriv`, python3
//! and Go. Cases without what they need are ignored, and the last lines report it. With
//! `RIPCORD_REQUIRE_INTEROP=1` they fail.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod kit;
mod netns_cases;

fn main() -> std::process::ExitCode {
    kit::trial::run("netns", netns_cases::cases())
}
