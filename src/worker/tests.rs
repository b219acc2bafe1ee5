//! A worker's drain and close, and what it holds of routes. Knows no wire's details.

use std::future::poll_fn;

use super::*;
use crate::backend::Cluster;
use crate::config;
use crate::stream::Reason;
use crate::telemetry::{AccessTarget, Settings, Wire};
use crate::testing;

fn parse(service: &str) -> Arc<config::Config> {
    let text = format!(
        "
node: n
listeners: [{{ name: in, address: 127.0.0.1:15001 }}]
backends: {{ b: {{ protocol: grpc, service: {service}, endpoints: [127.0.0.1:1] }} }}
routes: [{{ name: r, backend: b }}]
"
    );
    Arc::new(config::parse("f", &text).unwrap())
}

fn local(test: impl AsyncFnOnce(Rc<Worker>)) {
    testing::local(async || {
        let config = parse("One");
        let settings = Settings {
            node: "n".into(),
            workers: 1,
            trace: None,
            access: AccessTarget::Off,
        };
        let (telemetry, _guard) = Telemetry::start(&settings).unwrap();
        let shared = Arc::new(Shared {
            node: "n".into(),
            limits: config.limits.clone(),
            routes: Arc::new(Routes::new(Arc::clone(&config), |name, backend| {
                Cluster::new(name, backend, 1)
            })),
            telemetry,
            budget: Budget::new(config.limits.process_buffer),
            own: Arc::default(),
            ttheader: ttheader::Counters::new(),
            grpc_slow_streams: Arc::default(),
            listeners: config
                .listeners
                .iter()
                .cloned()
                .map(listen::Shared::new)
                .collect(),
            tap: None,
        });
        test(Worker::new(0, shared, Arc::default())).await;
    });
}

#[test]
fn a_stream_that_comes_while_the_worker_closes_is_ended_too() {
    local(async |worker| {
        let before = worker.switch();
        let closing = Rc::clone(&worker);
        let closed = spawn_local(async move { closing.close().await });
        let end = poll_fn(|cx| before.poll_end(cx)).await;
        assert!(matches!(end.reason, Reason::Hop(hop) if hop.kind == HopKind::DrainOver));
        let late = worker.switch();
        drop(before);
        let end = tokio::time::timeout(Duration::from_secs(1), poll_fn(|cx| late.poll_end(cx)));
        let end = end.await.expect("an end");
        assert!(matches!(end.reason, Reason::Hop(hop) if hop.kind == HopKind::DrainOver));
        // A connection that only now asks is told as well.
        let told = tokio::time::timeout(Duration::from_secs(1), worker.closing());
        told.await.expect("told");
        drop(late);
        closed.await.unwrap();
    });
}

#[test]
fn the_counters_of_a_route_do_not_keep_its_backend() {
    local(async |worker| {
        let head = crate::stream::RequestHead::default();
        let find = || worker.shared.routes.snapshot().table.find(&head);
        let listener = &worker.listeners[0];
        let route = find().unwrap();
        let series = listener.series(&worker, Wire::Grpc, Some(&route));
        let again = listener.series(&worker, Wire::Grpc, Some(&route));
        assert!(Arc::ptr_eq(&series, &again));
        let backend = Arc::downgrade(&route.backend);
        drop(route);
        assert!(worker.shared.routes.replace(parse("Two")));
        assert!(
            backend.upgrade().is_none(),
            "its connections would never be closed"
        );
    });
}

#[test]
fn a_connection_that_says_nothing_holds_no_drain_up() {
    local(async |worker| {
        let acceptor = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let _silent = std::net::TcpStream::connect(acceptor.local_addr().unwrap()).unwrap();
        let (socket, peer) = acceptor.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        worker.connections.fetch_add(1, Ordering::Relaxed);
        worker.serve(socket, peer, 0);
        tokio::task::yield_now().await;
        let start = tokio::time::Instant::now();
        worker.close().await;
        assert!(
            start.elapsed() < Duration::from_secs(1),
            "{:?}",
            start.elapsed()
        );
    });
}
