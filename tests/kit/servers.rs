//! A Kitex and a grpc-go server for one case, and the table of a ripcord in front of them.

use super::lab::Callee;
use super::peers::{address, go};
use super::process::Process;
use super::spec::Table;

/// The two servers.
pub(crate) struct Servers {
    pub(crate) kitex: Process,
    pub(crate) grpc: Process,
}

impl Servers {
    pub(crate) fn start() -> Self {
        Self::start_by(|kind| go(&[kind]))
    }

    /// `start` starts the Go peer of that kind.
    pub(crate) fn start_by(start: impl Fn(&str) -> Process) -> Self {
        Self {
            kitex: start("kitex-server"),
            grpc: start("grpc-server"),
        }
    }

    pub(crate) fn of(&self, callee: Callee) -> &Process {
        match callee {
            Callee::Kitex | Callee::KitexGrpc => &self.kitex,
            Callee::GrpcGo => &self.grpc,
            Callee::Python => panic!("grpcio has a server of its own"),
        }
    }

    /// A backend for each callee.
    pub(crate) fn backends(&self) -> Table {
        backends(&address(&self.kitex), &address(&self.grpc))
    }

    /// A backend for each callee, and its route, taken by `x-to`.
    pub(crate) fn table(&self) -> Table {
        let callees = [Callee::Kitex, Callee::KitexGrpc, Callee::GrpcGo];
        let route = |table, callee: Callee| callee.route_to(table);
        callees.into_iter().fold(self.backends(), route)
    }
}

/// A backend for each callee at these addresses, named as its route is.
pub(crate) fn backends(kitex: &str, grpc: &str) -> Table {
    Table::new()
        .backend("kt", "protocol: ttheader, payload: thrift", kitex)
        .backend("kg", "protocol: grpc", kitex)
        .backend("gg", "protocol: grpc", grpc)
}
