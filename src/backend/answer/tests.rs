//! What is reported of a callee that speaks another protocol, and when nothing is.

use super::*;
use crate::config;

fn cluster(protocol: &str) -> Arc<Cluster> {
    let text = format!(
        "
node: n
listeners: [{{ name: in, address: 127.0.0.1:15001 }}]
backends: {{ chat: {{ protocol: {protocol}, endpoints: [127.0.0.1:8888] }} }}
routes: [{{ name: r, backend: chat }}]
"
    );
    let config = config::parse("f", &text).unwrap();
    Cluster::new("chat", &config.backends["chat"], 7)
}

fn judge(cluster: &Arc<Cluster>) -> (Judge, Arc<AtomicBool>) {
    let metrics = Arc::new(Metrics::new(wire::ALL));
    let (told, address) = (Arc::default(), ([127, 0, 0, 1], 8888).into());
    (Judge::new(cluster, address, &metrics, &told), told)
}

#[tokio::test]
async fn the_text_says_what_it_answers_and_what_to_set() {
    for (protocol, first, text) in [
        (
            "ttheader",
            &[0, 0, 0, 4, 0, 0, 0, 0, 0][..],
            "answers HTTP/2; this backend's protocol is ttheader: set protocol: grpc",
        ),
        (
            "grpc",
            &[0, 0, 0, 60, 0x10, 0, 0, 2],
            "answers TTHeader; this backend's protocol is grpc: set protocol: ttheader",
        ),
        (
            "grpc",
            &[0x15, 3, 3, 0, 2, 2, 70],
            "answers TLS, which ripcord does not speak; this backend's protocol is grpc: use a port without TLS",
        ),
        (
            "grpc",
            b"HTTP/1.1 400 Bad Request",
            "answers HTTP/1; this backend's protocol is grpc: use the port that speaks HTTP/2, without TLS",
        ),
    ] {
        let cluster = cluster(protocol);
        for n in 1..3 {
            let (mut judge, told) = judge(&cluster);
            let refused = format!("backend chat (127.0.0.1:8888) {text}");
            assert_eq!(judge.judge(first, true), Verdict::Refused(refused));
            assert!(told.load(Ordering::Relaxed));
            let finding = cluster.finding().unwrap();
            assert_eq!((&*finding.text, finding.count), (text, n));
            assert_eq!(finding.endpoint, judge.address);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_callee_that_goes_later_without_an_answer_has_another_reason() {
    let cluster = cluster("ttheader");
    let (mut judge, told) = judge(&cluster);
    tokio::time::advance(SOON + Duration::from_millis(1)).await;
    assert_eq!(judge.judge(b"", true), Verdict::Expected);
    assert!(!told.load(Ordering::Relaxed) && cluster.finding().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_callee_that_closes_without_an_answer_is_no_finding_and_a_good_answer_ends_one() {
    let cluster = cluster("grpc");
    let (mut judge_of_nothing, told) = judge(&cluster);
    let Verdict::Refused(text) = judge_of_nothing.judge(b"", true) else {
        panic!()
    };
    assert!(text.contains("(127.0.0.1:8888) closed the connection without an answer"));
    assert!(
        !told.load(Ordering::Relaxed),
        "the log says that it was lost"
    );
    assert_eq!(cluster.finding(), None);
    let (mut judge_of_tls, _) = judge(&cluster);
    judge_of_tls.judge(&[0x15, 3, 3, 0, 2, 2, 70], true);
    assert!(cluster.finding().is_some());
    let (mut judge_of_settings, _) = judge(&cluster);
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    assert_eq!(judge_of_settings.judge(&settings, false), Verdict::Expected);
    assert_eq!(cluster.finding(), None);
}
