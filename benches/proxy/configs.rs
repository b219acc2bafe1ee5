//! The configuration of ripcord as a proxy: one worker, and otherwise the defaults. Telemetry is
//! off, as the other proxies have it, or as a user gets it by default.

use std::net::SocketAddr;
use std::path::Path;

use crate::load::Wire;

/// The service under which the echo server of each wire is known.
pub(crate) fn service(callee: Wire) -> &'static str {
    match callee {
        Wire::Grpc => "GrpcEcho",
        Wire::Ttheader => "TtheaderEcho",
    }
}

/// No metrics, no access log.
pub(crate) fn silent() -> String {
    "telemetry: { metrics: off, access_log: off }\n".to_owned()
}

/// The defaults: metrics, and a line for each stream, here into a file; no spans are exported.
pub(crate) fn telling(admin: SocketAddr, directory: &Path) -> String {
    let log = directory.join("access.log");
    format!(
        "admin: {{ address: \"{admin}\" }}\ntelemetry: {{ access_log: \"{}\" }}\n",
        log.display()
    )
}

pub(crate) fn ripcord(
    telemetry: &str,
    grpc: SocketAddr,
    ttheader: SocketAddr,
    grpc_echo: SocketAddr,
    ttheader_echo: SocketAddr,
) -> String {
    let (to_grpc, to_ttheader) = (service(Wire::Grpc), service(Wire::Ttheader));
    format!(
        r#"node: bench
workers: 1
{telemetry}listeners:
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
