//! The configuration of each third-party proxy, from one gRPC listener to one callee. It has one
//! worker, no logs, no limits that a load would meet, and otherwise a user's defaults. Shared with
//! the interop tests, so it uses `std` only.

use std::net::SocketAddr;
use std::path::Path;

pub(crate) fn nghttpx(listen: SocketAddr, echo: SocketAddr) -> Vec<String> {
    let (from, to) = (listen.port(), echo.port());
    [
        "--conf=/dev/null",
        &format!("--frontend=127.0.0.1,{from};no-tls"),
        &format!("--backend=127.0.0.1,{to};;proto=h2"),
        "--workers=1",
        "--single-process",
        "--frontend-http2-max-concurrent-streams=100000",
        "--backend-read-timeout=1h",
        "--backend-write-timeout=1h",
        "--accesslog-file=/dev/null",
        "--no-ocsp",
    ]
    .map(str::to_owned)
    .to_vec()
}

pub(crate) fn haproxy(listen: SocketAddr, echo: SocketAddr) -> String {
    format!(
        "global
  nbthread 1
  maxconn 5000
  tune.h2.max-concurrent-streams 10000
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  http-reuse always
frontend bench
  bind {listen} proto h2
  default_backend echo
backend echo
  server echo {echo} proto h2
"
    )
}

pub(crate) fn nginx(listen: SocketAddr, echo: SocketAddr, directory: &Path) -> String {
    let directory = directory.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("  {kind}_temp_path {directory}/{kind};\n"))
        .collect();
    format!(
        "daemon off;
master_process off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/nginx-error.log crit;
events {{ worker_connections 16384; }}
http {{
{temporary}  access_log off;
  client_max_body_size 0;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;
  http2_max_concurrent_streams 10000;
  client_header_timeout 1h;
  client_body_timeout 1h;
  send_timeout 1h;
  upstream echo {{
    server {echo};
    keepalive 1024;
    keepalive_requests 1000000000;
  }}
  server {{
    listen {listen} http2;
    location / {{
      grpc_pass grpc://echo;
      grpc_read_timeout 1h;
      grpc_send_timeout 1h;
    }}
  }}
}}
"
    )
}

pub(crate) fn envoy_arguments(config: String) -> Vec<String> {
    let mut arguments = [
        "--concurrency",
        "1",
        "-l",
        "error",
        "--disable-hot-restart",
        "-c",
    ]
    .map(str::to_owned)
    .to_vec();
    arguments.push(config);
    arguments
}

pub(crate) fn envoy(listen: SocketAddr, echo: SocketAddr) -> String {
    let (from, to) = (listen.port(), echo.port());
    format!(
        r#"static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {from} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: bench
          codec_type: HTTP2
          stream_idle_timeout: 0s
          http2_protocol_options: {{ max_concurrent_streams: 100000 }}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{ prefix: "/" }}
                route: {{ cluster: echo, timeout: 0s }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: echo
    type: STATIC
    circuit_breakers:
      thresholds:
      - {{ max_connections: 1000000, max_pending_requests: 1000000, max_requests: 1000000, max_retries: 1000000 }}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{ http2_protocol_options: {{}} }}
    load_assignment:
      cluster_name: echo
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {to} }} }} }}
"#
    )
}
