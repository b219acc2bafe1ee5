//! The configuration of ripcord as a proxy: one worker, and otherwise what a user gets by default.

use std::net::SocketAddr;

use crate::load::Wire;

/// The service under which the echo server of each wire is known.
pub(crate) fn service(callee: Wire) -> &'static str {
    match callee {
        Wire::Grpc => "GrpcEcho",
        Wire::Ttheader => "TtheaderEcho",
    }
}

pub(crate) fn ripcord(
    grpc: SocketAddr,
    ttheader: SocketAddr,
    grpc_echo: SocketAddr,
    ttheader_echo: SocketAddr,
) -> String {
    let (to_grpc, to_ttheader) = (service(Wire::Grpc), service(Wire::Ttheader));
    format!(
        r#"node: bench
workers: 1
listeners:
  - {{ name: grpc, address: "{grpc}", protocol: grpc }}
  - {{ name: ttheader, address: "{ttheader}", protocol: ttheader }}
backends:
  grpc:
    protocol: grpc
    endpoints: ["{grpc_echo}"]
  ttheader:
    protocol: ttheader
    endpoints: ["{ttheader_echo}"]
routes:
  - name: to-grpc
    match: {{ service: {to_grpc}, method: "*" }}
    backend: grpc
  - name: to-ttheader
    match: {{ service: {to_ttheader}, method: "*" }}
    backend: ttheader
"#
    )
}
