//! What runs in a pod beside its sidecar: services and callers.

use serde_json::Value;

use super::net::Net;
use crate::kit::lab::{Callee, Caller, callee_table};
use crate::kit::peers::address;
use crate::kit::process::Process;
use crate::kit::scenario::Scenario;
use crate::kit::spec::Table;

/// The services of a pod.
pub(crate) struct Services {
    pub(crate) kitex: Process,
    pub(crate) grpc: Process,
}

impl Services {
    /// Starts them on addresses that only their pod reaches.
    pub(crate) fn start(net: &Net, pod: &str) -> Self {
        Self {
            kitex: net.go(pod, &["kitex-server"]),
            grpc: net.go(pod, &["grpc-server"]),
        }
    }

    /// The table of the sidecar beside them.
    pub(crate) fn table(&self) -> Table {
        callee_table(&address(&self.kitex), &address(&self.grpc), None)
    }

    pub(crate) fn of(&self, callee: Callee) -> &Process {
        match callee {
            Callee::Kitex | Callee::KitexGrpc => &self.kitex,
            Callee::GrpcGo | Callee::Python => &self.grpc,
        }
    }
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
