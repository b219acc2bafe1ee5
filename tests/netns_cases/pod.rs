//! What runs in a pod beside its sidecar: services and callers.

use serde_json::Value;

use super::net::Net;
use crate::kit::lab::{Callee, Caller};
use crate::kit::process::Process;
use crate::kit::scenario::Scenario;
use crate::kit::servers::Servers;

/// The services of a pod, on addresses that only their pod reaches.
pub(crate) fn services(net: &Net, pod: &str) -> Servers {
    Servers::start_by(|kind| net.go(pod, &[kind]))
}

/// A caller in a pod that dials that address.
pub(crate) fn caller(net: &Net, pod: &str, caller: Caller, address: &str) -> Process {
    let mut arguments = caller.arguments().to_vec();
    arguments.extend(["--addr", address]);
    net.go(pod, &arguments)
}

/// What a callee sees of its caller's cancel behind sidecars `a` and `b`: Kitex prints the path.
pub(crate) fn canceled(caller: Caller, callee: Callee) -> Value {
    match callee {
        Callee::Kitex | Callee::KitexGrpc => {
            let path = format!("~[canceled path: {} -> a -> b]", caller.origin());
            serde_json::json!({ "ctx_err": path, "err": path })
        }
        Callee::GrpcGo | Callee::Python => serde_json::json!({ "ctx_err": "context canceled" }),
    }
}

/// A scenario with its way in its metadata.
pub(crate) fn by(scenario: Scenario, via: &str, callee: Callee) -> Scenario {
    let way = serde_json::json!({ "x-via": via, "x-to": callee.route() });
    scenario.with("metadata", way)
}
