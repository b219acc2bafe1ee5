//! A scripted resolver under a paused clock.

use super::*;
use crate::config;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use tokio::time::Instant;

fn cluster(endpoints: &str) -> Arc<Cluster> {
    let text = format!(
        "
node: n
listeners: [{{ name: in, address: 127.0.0.1:15001 }}]
backends: {{ b: {{ protocol: grpc, endpoints: [{endpoints}], dns: {{ refresh: 10s }} }} }}
routes: [{{ name: r, backend: b }}]
"
    );
    let config = config::parse("f", &text).unwrap();
    Cluster::new("b", &config.backends["b"], 7)
}

fn ports(cluster: &Cluster) -> Vec<u16> {
    cluster
        .endpoints()
        .iter()
        .map(|e| e.address.port())
        .collect()
}

type Answer = Option<Vec<u16>>;

/// Gives its answers in order. A missing answer is a failure. Records when it was asked.
#[derive(Clone, Default)]
struct Resolver {
    answers: Rc<RefCell<VecDeque<Answer>>>,
    asked: Rc<RefCell<Vec<Duration>>>,
}

impl Resolver {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        let resolver = Self::default();
        resolver.answers.borrow_mut().extend(answers);
        resolver
    }

    fn lookup(
        &self,
        since: Instant,
    ) -> impl Fn(String, u16) -> std::future::Ready<io::Result<Vec<SocketAddr>>> + use<> {
        let this = self.clone();
        move |name, port| {
            assert_eq!((name.as_str(), port), ("name", 7));
            this.asked.borrow_mut().push(since.elapsed());
            let answer = this.answers.borrow_mut().pop_front().flatten();
            let found = answer.map(|ports| {
                let addresses = ports.iter().map(|p| SocketAddr::from(([127, 0, 0, 1], *p)));
                addresses.collect()
            });
            std::future::ready(found.ok_or_else(|| io::Error::other("scripted")))
        }
    }

    fn asked(&self) -> Vec<u128> {
        self.asked
            .borrow()
            .iter()
            .map(Duration::as_millis)
            .collect()
    }
}

#[tokio::test(start_paused = true)]
async fn the_endpoints_follow_the_name() {
    let cluster = cluster("127.0.0.1:1, name:7");
    let resolver = Resolver::new([
        Some(vec![3, 2]),
        Some(vec![2, 3]),
        None,
        Some(vec![]),
        Some(vec![4]),
    ]);
    let run = run(Arc::downgrade(&cluster), resolver.lookup(Instant::now()));
    let script = async {
        assert_eq!(ports(&cluster), [1]);
        cluster.changed().await;
        assert_eq!(ports(&cluster), [1, 2, 3]);
        let kept = Arc::clone(&cluster.endpoints()[0]);
        // A rotated answer, a failure and an empty answer are no change.
        cluster.changed().await;
        assert_eq!(ports(&cluster), [1, 4]);
        assert!(Arc::ptr_eq(&kept, &cluster.endpoints()[0]));
    };
    tokio::select! {
        // The script first: it has to wait before the first answer comes.
        biased;
        () = script => {}
        () = run => panic!("ended"),
    }
    // At once, every 10 s, and soon again after failures: 100 ms, then 200 ms.
    assert_eq!(resolver.asked(), [0, 10_000, 20_000, 20_100, 20_300]);
}

#[tokio::test(start_paused = true)]
async fn a_name_without_an_address_is_told() {
    let cluster = cluster("name:7");
    assert_eq!(cluster.no_endpoint(), "name is not resolved yet");
    let resolver = Resolver::new([None, Some(vec![2])]);
    let asked = Rc::clone(&resolver.asked);
    let run = run(Arc::downgrade(&cluster), resolver.lookup(Instant::now()));
    let script = async {
        while asked.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
        tokio::task::yield_now().await;
        let told = "name does not resolve (scripted)";
        assert_eq!(cluster.no_endpoint(), told);
        cluster.changed().await;
        assert_eq!(ports(&cluster), [2]);
    };
    tokio::select! {
        biased;
        () = script => {}
        () = run => panic!("ended"),
    }
}

#[test]
fn only_some_names_are_told() {
    let cluster = cluster("a:1, b:1, c:1, d:1, e:1");
    let names = ["a", "b", "c", "d", "e"].map(|name| (name.to_owned(), "gone".to_owned()));
    cluster.set_unresolved(names.into());
    let told = "a does not resolve (gone), b does not resolve (gone), c does not resolve (gone), and 2 more";
    assert_eq!(cluster.no_endpoint(), told);
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_hangs_counts_as_failed() {
    let cluster = cluster("name:7");
    let asked = Rc::new(RefCell::new(0));
    let count = Rc::clone(&asked);
    let lookup = move |_, _| {
        *count.borrow_mut() += 1;
        let hangs = *count.borrow() == 1;
        async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            Ok(vec![SocketAddr::from(([127, 0, 0, 1], 9))])
        }
    };
    tokio::select! {
        biased;
        () = cluster.changed() => {}
        () = run(Arc::downgrade(&cluster), lookup) => panic!("ended"),
    }
    assert_eq!((*asked.borrow(), ports(&cluster)), (2, vec![9]));
}

/// Plays `script` while names are looked up.
async fn during(looking_up: impl Future<Output = ()>, script: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = script => {}
        () = looking_up => panic!("ended"),
    }
}

/// The system's resolver takes a thread for each look-up.
#[tokio::test(start_paused = true)]
async fn a_resolver_that_never_answers_is_not_asked_again_and_again() {
    let cluster = cluster("name:7");
    let asked = Rc::new(RefCell::new(Vec::new()));
    let open = Rc::clone(&asked);
    let lookup = move |_, _| {
        let (answer, answered) = tokio::sync::oneshot::channel();
        open.borrow_mut().push(answer);
        async move { answered.await.map_err(io::Error::other) }
    };
    let script = async {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let told = "name does not resolve (no answer of the resolver within 5s)";
        assert_eq!(cluster.no_endpoint(), told);
        assert_eq!(asked.borrow().len(), 2);
        // A late answer counts, and then there is room for another look-up.
        let late = asked.borrow_mut().remove(0);
        late.send(vec![SocketAddr::from(([127, 0, 0, 1], 9))])
            .unwrap();
        cluster.changed().await;
        assert_eq!((ports(&cluster), asked.borrow().len()), (vec![9], 1));
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!((ports(&cluster), asked.borrow().len()), (vec![9], 2));
    };
    during(run(Arc::downgrade(&cluster), lookup), script).await;
}

#[tokio::test(start_paused = true)]
async fn the_late_failure_of_a_look_up_is_not_that_of_the_next_one() {
    let cluster = cluster("name:7");
    let asked = Rc::new(RefCell::new(Vec::new()));
    let open = Rc::clone(&asked);
    let lookup = move |_, _| {
        let (answer, answered) = tokio::sync::oneshot::channel();
        open.borrow_mut().push(answer);
        async move { answered.await.unwrap_or_else(|e| Err(io::Error::other(e))) }
    };
    let script = async {
        while asked.borrow().len() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let late: tokio::sync::oneshot::Sender<io::Result<_>> = asked.borrow_mut().remove(0);
        late.send(Err(io::Error::other("late"))).unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
        let since = Instant::now();
        let next = asked.borrow_mut().remove(0);
        next.send(Ok(vec![SocketAddr::from(([127, 0, 0, 1], 9))]))
            .unwrap();
        cluster.changed().await;
        assert_eq!(
            (ports(&cluster), since.elapsed()),
            (vec![9], Duration::ZERO)
        );
    };
    during(run(Arc::downgrade(&cluster), lookup), script).await;
}

#[tokio::test(start_paused = true)]
async fn a_name_that_hangs_delays_no_other_one() {
    let cluster = cluster("hangs:1, name:7");
    let lookup = async |name: String, _| {
        if name == "hangs" {
            std::future::pending::<()>().await;
        }
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], 9))])
    };
    let since = Instant::now();
    tokio::select! {
        biased;
        () = cluster.changed() => {}
        () = run(Arc::downgrade(&cluster), lookup) => panic!("ended"),
    }
    assert_eq!(
        (ports(&cluster), since.elapsed()),
        (vec![9], Duration::ZERO)
    );
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_its_cluster() {
    let cluster = cluster("name:7");
    let resolver = Resolver::new([Some(vec![1])]);
    let run = run(Arc::downgrade(&cluster), resolver.lookup(Instant::now()));
    drop(cluster);
    run.await;
    assert!(resolver.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn nothing_to_resolve() {
    let cluster = cluster("127.0.0.1:1");
    assert!(!needed(&cluster));
    let resolver = Resolver::default();
    run(Arc::downgrade(&cluster), resolver.lookup(Instant::now())).await;
    assert!(resolver.asked().is_empty());
}

/// A name whose pod has moved. The resolver answers at once, or after a while.
async fn moves(answers_after: Duration, asks: impl AsyncFnOnce(&Cluster)) -> Vec<u128> {
    let cluster = cluster("name:7");
    let resolver = Resolver::new([Some(vec![1]), Some(vec![2]), Some(vec![3]), Some(vec![4])]);
    let lookup = resolver.lookup(Instant::now());
    let slow = move |name, port| {
        let found = lookup(name, port);
        async move {
            tokio::time::sleep(answers_after).await;
            found.await
        }
    };
    tokio::select! {
        biased;
        () = async {
            cluster.changed().await;
            asks(&cluster).await;
        } => {}
        () = run(Arc::downgrade(&cluster), slow) => panic!("ended"),
    }
    resolver.asked()
}

#[tokio::test(start_paused = true)]
async fn a_failed_connection_asks_for_a_look_up_but_not_twice_in_a_second() {
    let asked = moves(Duration::ZERO, async |cluster: &Cluster| {
        // The first look-up has just been made.
        assert!(cluster.look_up().is_none());
        tokio::time::sleep(Duration::from_millis(999)).await;
        assert!(cluster.look_up().is_none());
        tokio::time::sleep(Duration::from_millis(2)).await;
        // All who ask wait for the same.
        let waiting = [(); 3].map(|()| cluster.look_up().expect("a look-up"));
        for one in waiting {
            assert!(cluster.looked_up(one).await);
        }
        assert_eq!(ports(cluster), [2]);
        assert!(cluster.look_up().is_none());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(cluster.looked_up(cluster.look_up().unwrap()).await);
        assert_eq!(ports(cluster), [3]);
        // The usual look-up follows.
        cluster.changed().await;
        assert_eq!(ports(cluster), [4]);
    })
    .await;
    assert_eq!(asked[0], 0);
    assert!((1001..1010).contains(&asked[1]), "{asked:?}");
    assert!((2001..2020).contains(&asked[2]), "{asked:?}");
    assert!((12_001..12_040).contains(&asked[3]), "{asked:?}");
    assert_eq!(asked.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_look_up_that_was_asked_for_while_one_ran_is_not_made_again() {
    let asked = moves(Duration::from_millis(1500), async |cluster: &Cluster| {
        tokio::time::sleep(Duration::from_millis(10_500)).await;
        // The second one began half a second ago.
        assert!(cluster.look_up().is_none());
        tokio::time::sleep(Duration::from_millis(600)).await;
        let one = cluster.look_up().expect("it began more than a second ago");
        assert!(cluster.looked_up(one).await);
        assert_eq!(ports(cluster), [2]);
        tokio::time::sleep(Duration::from_secs(9)).await;
    })
    .await;
    assert_eq!(asked.len(), 2, "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn fixed_addresses_are_not_looked_up() {
    assert!(cluster("127.0.0.1:1").look_up().is_none());
}
