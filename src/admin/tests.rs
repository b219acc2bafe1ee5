//! The endpoint over real sockets, with raw requests.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use super::*;
use crate::stream::{End, Metadata, RequestHead};
use crate::telemetry::{Outcome, StreamInfo, Telemetry, Traffic};

struct Server {
    address: std::net::SocketAddr,
    telemetry: Telemetry,
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<()>,
}

async fn server(readiness: Readiness) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let telemetry = Telemetry::quiet(2, crate::wire::ALL);
    let state = AdminState {
        metrics: telemetry.metrics.clone(),
        live: telemetry.live.clone(),
        ready: Arc::new(move || readiness.clone()),
        config: Arc::new(|| serde_json::json!({ "version": 3, "last_error": null })),
        config_file: Arc::new(|| "node: n\n".to_owned()),
    };
    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(serve(listener, state, async {
        let _ = stopped.await;
    }));
    Server {
        address,
        telemetry,
        stop,
        served,
    }
}

impl Server {
    /// Sends bytes and reads to the end of the answer: head and body.
    async fn send(&self, request: &[u8]) -> (String, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        (head.to_owned(), body.to_owned())
    }

    async fn get(&self, path: &str) -> (String, String) {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes())
            .await
    }
}

#[tokio::test]
async fn every_path_answers() {
    let server = server(Readiness::Ready).await;
    let (head, body) = server.get("/healthz").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(body, "ok\n");
    assert_eq!(server.get("/readyz").await.1, "ready\n");
    let (head, body) = server.get("/metrics").await;
    assert!(head.contains("application/openmetrics-text"));
    assert!(body.ends_with("# EOF\n"));
    let (head, body) = server.get("/config?x=y").await;
    assert!(head.contains("application/json"));
    let config: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(config["version"], 3);
    let (head, body) = server.get("/nothing").await;
    assert!(head.starts_with("HTTP/1.1 404"));
    assert!(
        body.starts_with("no page \"/nothing\"; there are:\n"),
        "{body}"
    );
    for path in ["/healthz", "/readyz", "/metrics", "/config", "/streams"] {
        assert!(body.contains(path), "{path}");
    }
}

#[tokio::test]
async fn the_configuration_has_two_forms() {
    let server = server(Readiness::Ready).await;
    let json = server.get("/config").await;
    assert!(json.0.contains("application/json"));
    assert_eq!(server.get("/config?format=json").await.1, json.1);
    let (head, body) = server.get("/config?x=y&format=yaml&format=json").await;
    assert!(head.contains("application/yaml"), "{head}");
    assert_eq!(body, "node: n\n");
    for bad in ["xml", "", "YAML"] {
        let (head, body) = server.get(&format!("/config?format={bad}")).await;
        assert!(head.starts_with("HTTP/1.1 400"), "{head}");
        let said = format!("bad format \"{bad}\"; allowed: json, yaml; e.g. ?format=yaml\n");
        assert_eq!(body, said);
    }
    assert!(
        server
            .get("/config?format")
            .await
            .0
            .starts_with("HTTP/1.1 400")
    );
}

#[tokio::test]
async fn not_ready_says_why() {
    let server = server(Readiness::NotReady("draining".to_owned())).await;
    let (head, body) = server.get("/readyz").await;
    assert!(head.starts_with("HTTP/1.1 503"));
    assert_eq!(body, "not ready: draining\n");
    assert!(server.get("/healthz").await.0.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn live_streams_are_listed_while_they_live() {
    let server = server(Readiness::Ready).await;
    let open = |worker, service: &str| {
        let series = server.telemetry.metrics.series(
            &Arc::from("egress"),
            &Arc::from("chat"),
            &crate::wire::grpc::WIRE,
            Some(&crate::wire::ttheader::WIRE),
        );
        let info = StreamInfo {
            series,
            backend: Arc::from("b"),
            peer: None,
            service: service.into(),
            method: "Talk\"\u{7}".into(),
            caller: None,
        };
        server.telemetry.open(worker, info, &RequestHead::default())
    };
    let (first, second) = (open(0, "a"), open(7, "b"));
    first.connected("10.0.0.1:1".parse().unwrap());
    first.live().set_traffic(Traffic {
        request_messages: 5,
        ..Traffic::default()
    });
    let listed = |body: String| -> serde_json::Value { serde_json::from_str(&body).unwrap() };
    let all = listed(server.get("/streams").await.1);
    assert_eq!(
        (&all["total"], &all["streams"][1]["service"]),
        (&2.into(), &"b".into())
    );
    let shown = &all["streams"][0];
    assert_eq!(shown["method"], "Talk\"\u{7}");
    assert_eq!(shown["endpoint"], "10.0.0.1:1");
    assert_eq!(shown["request_messages"], 5);
    let one = listed(server.get("/streams?limit=1").await.1);
    assert_eq!(
        (one["streams"].as_array().unwrap().len(), &one["total"]),
        (1, &2.into())
    );
    assert!(
        server
            .get("/streams?limit=-1")
            .await
            .0
            .starts_with("HTTP/1.1 400")
    );
    first.finish(Outcome {
        end: &End::complete(Metadata::new()),
        traffic: Traffic::default(),
        native_code: None,
    });
    // As when the stream's task panics.
    drop(second);
    assert_eq!(listed(server.get("/streams").await.1)["total"], 0);
    assert!(server.telemetry.live.is_empty());
    let active = r#"ripcord_streams_active{listener="egress",route="chat",inbound="grpc",outbound="ttheader"} 0"#;
    assert!(server.get("/metrics").await.1.contains(active));
}

#[tokio::test]
async fn head_has_no_body_and_writes_are_refused() {
    let server = server(Readiness::Ready).await;
    let (head, body) = server
        .send(b"HEAD /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
        .await;
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-length: "));
    assert_eq!(body, "");
    let post = b"POST /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}";
    let (head, _) = server.send(post).await;
    assert!(head.starts_with("HTTP/1.1 405") && head.contains("allow: GET, HEAD"));
}

#[tokio::test]
async fn bad_requests_are_harmless() {
    let server = server(Readiness::Ready).await;
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
    let bad: [&[u8]; 5] = [
        b"\r\n\r\n\r\n",
        b"\x00\x00\x00\x10\x10\x00\x00\x02\xff\xff",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\n\r\n",
        long.as_bytes(),
    ];
    for request in bad {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let _ = stream.write_all(request).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP/1.1 200"));
    }
    assert_eq!(server.get("/healthz").await.1, "ok\n");
}

#[tokio::test]
async fn idle_connections_cannot_keep_the_endpoint_busy() {
    let server = server(Readiness::Ready).await;
    let mut idle = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        idle.push(TcpStream::connect(server.address).await.unwrap());
    }
    // Answered once the header timeout has ended the idle connections. The clock is paused and runs
    // ahead.
    tokio::time::pause();
    assert_eq!(server.get("/healthz").await.1, "ok\n");
}

#[tokio::test]
async fn it_stops_when_told() {
    let server = server(Readiness::Ready).await;
    server.stop.send(()).unwrap();
    server.served.await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}
