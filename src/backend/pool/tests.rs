//! Which connections the pool opens, shares and closes. Knows no listener.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
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

fn cluster(endpoint: impl std::fmt::Display, more: &str) -> Arc<Cluster> {
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
    let end = pool()
        .open(&cluster, &mut head.clone(), None)
        .await
        .err()
        .unwrap();
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
                spawn_local(async move {
                    pool.open(&cluster, &mut RequestHead::default(), None)
                        .await
                        .err()
                })
            })
            .collect();
        for stream in streams {
            assert!(stream.await.unwrap().is_some());
        }
        // Once, and not one after the other.
        let most = Duration::from_millis(5500);
        assert!(start.elapsed() <= most, "{:?}", start.elapsed());
    });
}

/// The first one's back-off is over long before the second one has had its time.
#[test]
fn of_two_endpoints_that_do_not_answer_each_is_tried_once() {
    local(async || {
        let holes = [black_hole(), black_hole()];
        let [first, second] = [holes[0].1, holes[1].1];
        let two = cluster(format!("{first}\", \"{second}"), "");
        let start = Instant::now();
        let opened = pool().open(&two, &mut RequestHead::default(), None).await;
        assert!(opened.is_err());
        let (least, most) = (Duration::from_secs(6), Duration::from_millis(8500));
        let took = start.elapsed();
        assert!(took >= least && took <= most, "{took:?}");
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
        let end = pool
            .open(&cluster, &mut head.clone(), None)
            .await
            .err()
            .unwrap();
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
        let first = pool
            .open(&cluster, &mut head.clone(), None)
            .await
            .ok()
            .unwrap();
        let _accepted = socket.accept().unwrap();
        drop(socket);
        // There is no second connection; the first one has room.
        let second = pool.open(&cluster, &mut head.clone(), None).await;
        assert!(second.is_ok());
        drop(first);
    });
}

#[test]
fn a_name_that_has_moved_costs_no_stream() {
    local(async || {
        let new = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let new = new.local_addr().map(|address| (new, address)).unwrap();
        // Nobody listens there any more.
        let old = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let gone = old.local_addr().unwrap();
        drop(old);
        let text = "
node: n
listeners: [{ name: in, address: 127.0.0.1:15001 }]
backends: { b: { protocol: ttheader, endpoints: name:7, dns: { refresh: 1h } } }
routes: [{ name: r, backend: b }]
";
        let config = config::parse("f", text).unwrap();
        let cluster = Cluster::new("b", &config.backends["b"], 7);
        let moved = Rc::new(std::cell::Cell::new(false));
        let asked = Rc::new(std::cell::Cell::new(0));
        let (is_moved, count) = (Rc::clone(&moved), Rc::clone(&asked));
        let lookup = move |_, _| {
            count.set(count.get() + 1);
            let at = if is_moved.get() { new.1 } else { gone };
            std::future::ready(Ok(vec![at]))
        };
        let weak = Arc::downgrade(&cluster);
        spawn_local(crate::backend::dns::run(weak, lookup));
        let (pool, head) = (pool(), RequestHead::default());
        // The name was looked up a moment ago, and there is nothing to wait for.
        assert!(pool.open(&cluster, &mut head.clone(), None).await.is_err());
        assert_eq!(asked.get(), 1);
        moved.set(true);
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let opened = pool.open(&cluster, &mut head.clone(), None).await;
        let (_stream, endpoint) = opened.unwrap_or_else(|end| panic!("{end:?}"));
        assert_eq!((endpoint.address(), asked.get()), (new.1, 2));
        drop(new);
    });
}

#[test]
fn the_end_of_a_streams_own_connection_asks_for_no_look_up() {
    local(async || {
        let callee = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = callee.local_addr().unwrap();
        std::thread::spawn(move || callee.incoming().for_each(drop));
        let text = "
node: n
listeners: [{ name: in, address: 127.0.0.1:15001 }]
backends:
  b:
    protocol: ttheader
    endpoints: name:7
    connections: per_stream
    dns: { refresh: 1h }
routes: [{ name: r, backend: b }]
";
        let config = config::parse("f", text).unwrap();
        let cluster = Cluster::new("b", &config.backends["b"], 7);
        let asked = Rc::new(std::cell::Cell::new(0));
        let count = Rc::clone(&asked);
        let lookup = move |_, _| {
            count.set(count.get() + 1);
            std::future::ready(Ok(vec![address]))
        };
        let weak = Arc::downgrade(&cluster);
        spawn_local(crate::backend::dns::run(weak, lookup));
        let (pool, head) = (pool(), RequestHead::default());
        for _ in 0..3 {
            let opened = pool.open(&cluster, &mut head.clone(), None).await;
            tokio::time::sleep(Duration::from_secs(2)).await;
            drop(opened);
        }
        pool.connector.finished().await;
        assert_eq!(asked.get(), 1);
    });
}

/// A callee that accepts and closes at once must not be dialed for ever.
#[test]
fn a_callee_that_closes_every_connection_at_once_fails_the_stream() {
    local(async || {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        std::thread::spawn(move || socket.incoming().for_each(drop));
        for protocol in ["grpc", "ttheader"] {
            let text = format!(
                "
node: n
listeners: [{{ name: in, address: 127.0.0.1:15001 }}]
backends: {{ b: {{ protocol: {protocol}, endpoints: [\"{address}\"] }} }}
routes: [{{ name: r, backend: b }}]
"
            );
            let config = config::parse("f", &text).unwrap();
            let cluster = Cluster::new("b", &config.backends["b"], 7);
            let (pool, mut head) = (pool(), RequestHead::default());
            let opening = pool.open(&cluster, &mut head, None);
            let soon = Duration::from_secs(10);
            // On the wire without a handshake, the stream itself may be the one that learns it.
            let opened = tokio::time::timeout(soon, opening)
                .await
                .expect("an answer");
            assert!(opened.is_err() || protocol == "ttheader");
        }
    });
}

/// Its SETTINGS are those of a server that is asked how many small DATA frames it bears.
#[test]
fn a_callee_that_says_nothing_of_small_frames_is_connected_within_the_connect_timeout() {
    local(async || {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let text = format!(
            "
node: n
listeners: [{{ name: in, address: 127.0.0.1:15001 }}]
backends: {{ b: {{ protocol: grpc, endpoints: \"{address}\", connect_timeout: 100ms }} }}
routes: [{{ name: r, backend: b }}]
"
        );
        spawn_local(async move {
            let mut open = Vec::new();
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                if open.is_empty() {
                    let settings = [[4, 1], [5, 0], [6, 0]].map(|[id, a]| [0, id, 0, a, 64, 0]);
                    let mut answer = vec![0, 0, 18, 4, 0, 0, 0, 0, 0];
                    answer.extend(settings.concat());
                    answer.extend([0, 0, 0, 4, 1, 0, 0, 0, 0]);
                    socket.write_all(&answer).await.unwrap();
                }
                open.push(socket);
            }
        });
        let config = config::parse("f", &text).unwrap();
        let cluster = Cluster::new("b", &config.backends["b"], 7);
        let opened = pool()
            .open(&cluster, &mut RequestHead::default(), None)
            .await;
        assert!(opened.is_ok(), "{:?}", opened.err());
    });
}
