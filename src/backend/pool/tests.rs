//! Which connections the pool opens, shares and closes. Knows no listener.

use std::time::Duration;

use tokio::task::spawn_local;
use tokio::time::Instant;

use super::*;
use crate::config;
use crate::net::bounds::Bounds;
use crate::testing::local;
use crate::wire::Counters;

fn pool() -> Rc<Pool> {
    let dialers = Dialers::new(&Bounds::wide("n"), &Counters::default());
    let metrics = Arc::new(Metrics::new(crate::wire::ALL));
    Rc::new(Pool::new(
        dialers,
        metrics,
        Arc::default(),
        PoolCounters::default(),
    ))
}

fn cluster(endpoint: SocketAddr, more: &str) -> Arc<Cluster> {
    let text = format!(
        "
node: n
listeners: [{{ name: in, address: 127.0.0.1:15001 }}]
backends: {{ b: {{ protocol: ttheader, endpoints: [\"{endpoint}\"], connect_timeout: 3s{more} }} }}
routes: [{{ name: r, backend: b }}]
"
    );
    let config = config::parse("f", &text).unwrap();
    Cluster::new("b", &config.backends["b"], 7)
}

/// A listener whose queue is full, so that nobody can connect any more, and the connections that
/// fill it.
fn black_hole() -> (socket2::Socket, SocketAddr, Vec<std::net::TcpStream>) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut filling = Vec::new();
    let wait = Duration::from_millis(200);
    while let Ok(one) = std::net::TcpStream::connect_timeout(&address, wait) {
        filling.push(one);
        assert!(filling.len() < 10);
    }
    (socket, address, filling)
}

#[tokio::test(start_paused = true)]
async fn a_stream_to_a_name_that_does_not_resolve_says_which() {
    let text = "
node: n
listeners: [{ name: in, address: 127.0.0.1:15001 }]
backends: { b: { protocol: grpc, endpoints: no-such-host.invalid:80 } }
routes: [{ name: r, backend: b }]
";
    let config = config::parse("f", text).unwrap();
    let cluster = Cluster::new("b", &config.backends["b"], 7);
    let name = "no-such-host.invalid".to_owned();
    cluster.set_unresolved(vec![(name, "no address".to_owned())]);
    let head = RequestHead::default();
    let end = pool().open(&cluster, &head).await.err().unwrap();
    let crate::stream::Reason::Hop(hop) = end.reason else {
        panic!("{end:?}");
    };
    let told = "backend b cannot be reached: no-such-host.invalid does not resolve (no address)";
    assert_eq!((hop.kind, &*hop.text), (LocalEndKind::Unreachable, told));
    let told_of_a_call = pool().dial(&cluster, &head).await.err().unwrap();
    assert_eq!(told_of_a_call, told);
}

#[test]
fn streams_wait_together_for_a_backend_that_does_not_answer() {
    local(async || {
        let (_socket, address, _filling) = black_hole();
        let (pool, cluster) = (pool(), cluster(address, ""));
        let start = Instant::now();
        let streams: Vec<_> = (0..20)
            .map(|_| {
                let (pool, cluster) = (Rc::clone(&pool), Arc::clone(&cluster));
                spawn_local(async move { pool.open(&cluster, &RequestHead::default()).await.err() })
            })
            .collect();
        for stream in streams {
            assert!(stream.await.unwrap().is_some());
        }
        // Not one after the other.
        let most = Duration::from_millis(3100) * ATTEMPTS as u32;
        assert!(start.elapsed() <= most, "{:?}", start.elapsed());
    });
}

#[test]
fn a_request_that_cannot_be_written_is_no_fault_of_the_endpoint() {
    local(async || {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (pool, cluster) = (pool(), cluster(socket.local_addr().unwrap(), ""));
        let head = RequestHead {
            service: "S".into(),
            method: "M".repeat(300_000),
            ..RequestHead::default()
        };
        let end = pool.open(&cluster, &head).await.err().unwrap();
        let crate::stream::Reason::Hop(hop) = end.reason else {
            panic!("{end:?}");
        };
        assert_eq!(hop.kind, LocalEndKind::OverLimit, "{}", hop.text);
        assert_eq!(cluster.endpoints()[0].failures(), 0);
    });
}

#[test]
fn a_further_connection_that_fails_costs_no_stream() {
    local(async || {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (pool, cluster) = (
            pool(),
            cluster(socket.local_addr().unwrap(), ", pool_size: 2"),
        );
        let head = RequestHead::default();
        let first = pool.open(&cluster, &head).await.ok().unwrap();
        let _accepted = socket.accept().unwrap();
        drop(socket);
        // There is no second connection; the first one has room.
        let second = pool.open(&cluster, &head).await;
        assert!(second.is_ok());
        drop(first);
    });
}
