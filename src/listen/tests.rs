//! What one worker's listeners and their drain do. Knows no wire's details.

use tokio::time::Instant;

use super::*;
use crate::Routes;
use crate::backend::Cluster;
use crate::config;
use crate::setup;
use crate::telemetry::Telemetry;
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

fn local(test: impl AsyncFnOnce(Rc<Local>)) {
    testing::local(async || {
        let config = parse("One");
        let routes = Routes::new(Arc::clone(&config), Default::default(), |name, backend| {
            Cluster::new(name, backend, 1)
        });
        let telemetry = Telemetry::quiet(1, wire::ALL);
        let process = setup::process(&config, Arc::new(routes), telemetry, None);
        let listeners = setup::listeners(&config, &process);
        test(Local::new(0, process, &listeners)).await;
    });
}

#[test]
fn the_counters_of_a_route_do_not_keep_its_backend() {
    local(async |local| {
        let entry = &local.listeners[0].entry;
        let process = &local.context.process;
        let head = RequestHead::default();
        let route = process.routes.snapshot().table.find(&head).unwrap();
        let wire = wire::ALL[0];
        let names = |route: &crate::Route| (Arc::clone(&route.name), route.backend.wire);
        let metrics = &process.telemetry.metrics;
        let series = entry.series.series(metrics, wire, Some(&route), names);
        assert_eq!((&*series.listener, &*series.route), ("in", "r"));
        let backend = Arc::downgrade(&route.backend);
        drop(route);
        assert!(
            process
                .routes
                .replace(parse("Two"), Default::default(), Vec::new())
                .is_some()
        );
        assert!(
            backend.upgrade().is_none(),
            "its connections would never be closed"
        );
    });
}

#[test]
fn a_connection_that_says_nothing_holds_no_drain_up() {
    local(async |local| {
        let acceptor = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let _silent = std::net::TcpStream::connect(acceptor.local_addr().unwrap()).unwrap();
        let (socket, peer) = acceptor.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        let socket = TcpStream::from_std(socket).unwrap();
        spawn_local(serve(Rc::clone(&local.listeners[0]), socket, peer));
        tokio::task::yield_now().await;
        let start = Instant::now();
        local.context.close().await;
        assert!(
            start.elapsed() < Duration::from_secs(1),
            "{:?}",
            start.elapsed()
        );
    });
}

#[test]
fn every_word_of_the_configuration_is_a_registered_wire() {
    let words: Vec<_> = config::Protocol::ALL.iter().map(|p| p.name()).collect();
    let wires: Vec<_> = wire::ALL.iter().map(|wire| wire.name).collect();
    assert_eq!(words, wires);
}
