//! Sidecars and services in network namespaces with their own addresses: latency, loss, partition, a
//! rolling restart under load, a ConfigMap's swap, and connections that iptables redirects.
//!
//! `cargo test --test netns`, as root, with `ip`, `iptables`, `ip6tables`, `setpriv`, python3 and Go. What is missing
//! skips the tests, and says so; with `RIPCORD_REQUIRE_INTEROP=1` all of it but the namespaces
//! themselves must be there.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod netns_cases;
// What only the interop suite uses.
#[allow(dead_code)]
mod support;
