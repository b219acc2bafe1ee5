//! The admin endpoint: health, metrics, the effective configuration, the live streams.
//!
//! HTTP/1.1 by hyper, on the control runtime; read-only. It does not know what it shows: `setup`
//! hands it closures. Nobody can keep it busy for long: a connection serves one request within ten
//! seconds, and there are at most [`MAX_CONNECTIONS`].

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::telemetry::{LiveStreams, Metrics, log_limit, metrics};

/// Connections served at a time. Further ones wait in the kernel's queue.
pub const MAX_CONNECTIONS: usize = 32;
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// Streams that `/streams` lists. `?limit=N` asks for another number.
const STREAMS: usize = 1000;
const MAX_STREAMS: usize = 100_000;

const INDEX: &str = "/healthz  the process runs
/readyz   it takes streams
/metrics  numbers, OpenMetrics text
/config   configuration in force, JSON (?format=yaml: as a file that loads)
/streams  live streams, JSON, oldest first (?limit=N)
";

/// Whether this process accepts streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Streams are accepted.
    Ready,
    /// Streams are not accepted; the reason.
    NotReady(String),
}

/// The sources of the pages.
#[derive(Clone)]
pub struct AdminState {
    /// The source of `/metrics`.
    pub metrics: Arc<Metrics>,
    /// The source of `/streams`.
    pub live: LiveStreams,
    /// The source of `/readyz`.
    pub ready: Arc<dyn Fn() -> Readiness + Send + Sync>,
    /// The source of `/config`: the effective configuration, its version, the last reload's error.
    /// Without secrets.
    pub config: Arc<dyn Fn() -> serde_json::Value + Send + Sync>,
    /// The source of `/config?format=yaml`: the effective configuration as a file. Without secrets.
    pub config_file: Arc<dyn Fn() -> String + Send + Sync>,
}

impl fmt::Debug for AdminState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminState").finish_non_exhaustive()
    }
}

/// Serves until `shutdown` is done. Open connections end with the runtime, or at their time limit.
pub async fn serve(listener: TcpListener, state: AdminState, shutdown: impl Future<Output = ()>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    tokio::pin!(shutdown);
    loop {
        let permit = tokio::select! {
            biased;
            () = &mut shutdown => return,
            permit = room.clone().acquire_owned() => permit,
        };
        let Ok(permit) = permit else { return };
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let state = state.clone();
                tokio::spawn(async move {
                    connection(stream, state).await;
                    drop(permit);
                });
            }
            Err(error) => {
                // No descriptors left, or a peer that disconnected in the queue. Go on, but do not
                // spin.
                if log_limit::admits("admin: accept failed", &Arc::from("admin"), "") {
                    tracing::warn!(%error, "admin: accept failed");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, state: AdminState) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = respond(&request, &state);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(REQUEST_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "admin: bad request or lost connection"),
        Err(_) => tracing::debug!("admin: request took too long"),
    }
}

fn respond<B>(request: &Request<B>, state: &AdminState) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n");
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" => match (state.ready)() {
            Readiness::Ready => text(StatusCode::OK, "ready\n"),
            Readiness::NotReady(why) => text(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("not ready: {why}\n"),
            ),
        },
        "/metrics" => reply(
            StatusCode::OK,
            metrics::CONTENT_TYPE,
            state.metrics.encode(),
        ),
        "/config" => match parameter(request, "format") {
            None | Some("json") => json(&(state.config)()),
            Some("yaml") => reply(
                StatusCode::OK,
                "application/yaml; charset=utf-8",
                (state.config_file)(),
            ),
            Some(format) => bad_parameter("format", format, "json, yaml; e.g. ?format=yaml"),
        },
        "/streams" => match parameter(request, "limit").map(str::parse::<usize>) {
            None => json(&state.live.to_json(STREAMS)),
            Some(Ok(limit)) => json(&state.live.to_json(limit.min(MAX_STREAMS))),
            Some(Err(_)) => {
                let given = parameter(request, "limit").unwrap_or_default();
                bad_parameter("limit", given, "a whole number; e.g. ?limit=100")
            }
        },
        path => text(
            StatusCode::NOT_FOUND,
            format!("no page {path:?}; there are:\n{INDEX}"),
        ),
    }
}

/// The value of a query parameter. The first one counts.
fn parameter<'a, B>(request: &'a Request<B>, name: &str) -> Option<&'a str> {
    let pairs = request.uri().query().unwrap_or_default().split('&');
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find_map(|(key, value)| (key == name).then_some(value))
}

fn bad_parameter(name: &str, given: &str, allowed: &str) -> Response<Full<Bytes>> {
    text(
        StatusCode::BAD_REQUEST,
        format!("bad {name} {given:?}; allowed: {allowed}\n"),
    )
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    reply(status, "text/plain; charset=utf-8", body)
}

fn json(value: &serde_json::Value) -> Response<Full<Bytes>> {
    reply(StatusCode::OK, "application/json", format!("{value:#}\n"))
}

/// For a HEAD request, hyper leaves the body out and keeps its length.
fn reply(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
