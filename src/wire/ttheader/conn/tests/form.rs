//! In which form cancels and ends go to peers of which not everything is known.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::*;
use crate::stream::{Cancel, Cause, Class, Inbound, Outbound, Path};
use crate::wire::ttheader::conn::form::PeerForm;
use crate::wire::ttheader::end::{CancelForm, RST};
use crate::wire::ttheader::known::{Callee, Phase};

const ILLEGAL: &str = "[illegal frame] unexpected frame type: 5";
const IP: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn cancel() -> Cancel {
    Cancel {
        cause: Cause {
            code: 12007,
            text: "enough".into(),
        },
        path: Path::parse("caller,hop"),
        class: Class::ByCaller,
        signal: RST,
        status: None,
    }
}

/// A connection to a callee of which nothing is known. Its probe is planned.
fn unknown() -> (ClientSide, Arc<Callee>) {
    let config = config();
    let known = &config.counters.known;
    let callee = known.callee(SocketAddr::from((IP, 8888)));
    let now = known.now();
    assert!(callee.plan(now));
    assert!(!callee.plan(now), "two probes");
    let form = PeerForm::Callee(Arc::clone(&callee), now);
    (ClientSide::with(config, form), callee)
}

#[tokio::test(start_paused = true)]
async fn a_cancel_waits_for_the_probe_that_it_hurries() {
    for (found, kind) in [
        (CancelForm::Rst, Kind::Rst),
        (CancelForm::Trailer, Kind::Trailer),
    ] {
        local(async {
            let (mut side, callee) = unknown();
            let mut stream = side.client.open(&request()).unwrap();
            side.peer.expect(Kind::Header, 1).await;
            stream.cancel(&cancel());
            callee.hurried().await;
            callee.set(Phase::Asking);
            assert!(side.peer.is_silent().await);
            let begun = tokio::time::Instant::now();
            callee.found(found, side.counters.known.now());
            let frame = side.peer.expect(kind, 1).await;
            assert!(begun.elapsed() < Duration::from_millis(5));
            assert_eq!((type_of(&frame), text_of(&frame)), (12007, "enough".into()));
            assert_eq!(frame.info.string("ttscp").unwrap(), "caller,hop");
            drop(stream);
            side.finish().await;
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancel_goes_as_a_trailer_when_the_probe_takes_long_or_cannot_ask() {
    for phase in [Phase::Asking, Phase::Resting, Phase::Idle] {
        local(async {
            let (mut side, callee) = unknown();
            callee.set(phase);
            let mut stream = side.client.open(&request()).unwrap();
            side.peer.expect(Kind::Header, 1).await;
            stream.cancel(&cancel());
            let begun = tokio::time::Instant::now();
            side.peer.expect(Kind::Trailer, 1).await;
            let waited = begun.elapsed() >= Duration::from_millis(250);
            assert_eq!(waited, phase == Phase::Asking, "{phase:?}");
            assert_eq!(side.client.active(), 0);
            drop(stream);
            side.finish().await;
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancel_that_waits_is_not_sent_to_a_callee_that_ends_the_stream() {
    local(async {
        let (mut side, callee) = unknown();
        let mut stream = side.client.open(&request()).unwrap();
        side.peer.expect(Kind::Header, 1).await;
        stream.cancel(&cancel());
        side.peer.send(&[frame(Kind::Trailer, 1)]).await;
        assert!(side.peer.is_silent().await);
        callee.found(CancelForm::Rst, side.counters.known.now());
        assert!(side.peer.is_silent().await);
        drop(stream);
        side.finish().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_callee_that_refuses_a_rst_gets_trailers() {
    local(async {
        let (mut side, callee) = unknown();
        callee.found(CancelForm::Rst, side.counters.known.now());
        let mut streams: Vec<_> = (0..3)
            .map(|_| side.client.open(&request()).unwrap())
            .collect();
        for id in 1..=3 {
            side.peer.expect(Kind::Header, id).await;
        }
        // Before any Rst it is an error like another.
        let refusal = |id| with_exception(Kind::Trailer, id, 6, ILLEGAL);
        side.peer.send(&[refusal(1)]).await;
        side.peer.expect(Kind::Trailer, 1).await;
        streams[1].cancel(&cancel());
        side.peer.expect(Kind::Rst, 2).await;
        side.peer.send(&[refusal(2)]).await;
        assert!(side.peer.is_silent().await);
        streams[2].cancel(&cancel());
        side.peer.expect(Kind::Trailer, 3).await;
        assert_eq!(read(&side.counters.old_callees), 1);
        drop(streams);
        side.finish().await;
    })
    .await;
}

fn caller() -> Server {
    Server::with(config(), 1 << 16, PeerForm::Caller(IP))
}

fn own() -> End {
    End::hop(LocalEndKind::Deadline, "late")
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_refuses_a_rst_gets_trailers_behind_a_header() {
    local(async {
        let mut server = caller();
        let mut one = server.open(1).await;
        let mut two = server.open(2).await;
        one.finish(&own(), "hop");
        server.peer.expect(Kind::Rst, 1).await;
        // Also on the stream that is over already.
        let refusal = with_exception(Kind::Trailer, 1, 6, ILLEGAL);
        server.peer.send(&[refusal]).await;
        assert!(server.peer.is_silent().await);
        two.finish(&own(), "hop");
        server.peer.expect(Kind::Header, 2).await;
        let end = server.peer.expect(Kind::Trailer, 2).await;
        assert_eq!(type_of(&end), 12015);
        assert_eq!(end.info.string("ttscp").unwrap(), "hop");
        assert_eq!(read(&server.counters.old_callers), 1);
        drop((one, two));
        server.finish().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn only_the_second_close_after_a_rst_tells_something() {
    let config = config();
    for (half_closes, known) in [(false, 0), (true, 0), (true, 1)] {
        local(async {
            let form = PeerForm::Caller(IP);
            let mut server = Server::with(config.clone(), 1 << 16, form);
            let mut one = server.open(1).await;
            let two = server.open(2).await;
            if half_closes {
                server.peer.send(&[frame(Kind::Trailer, 2)]).await;
            }
            assert!(server.peer.is_silent().await);
            one.finish(&own(), "hop");
            server.peer.expect(Kind::Rst, 1).await;
            let counters = Arc::clone(&server.counters);
            drop((server.peer, one));
            server.done.await.unwrap();
            assert_eq!(read(&counters.old_callers), known, "{half_closes}");
            drop(two);
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_finding_counts_for_ten_minutes_and_for_living_connections() {
    let counters = Counters::new();
    let known = &counters.known;
    let callee = known.callee(SocketAddr::from((IP, 8888)));
    let begun = known.now();
    assert_eq!(callee.form(begun), None);
    assert!(callee.found(CancelForm::Rst, known.now()));
    let minutes = |n: u64| tokio::time::advance(Duration::from_secs(60 * n));
    minutes(5).await;
    let (five, shown) = (known.now(), known.shown());
    assert_eq!(callee.form(five), Some(CancelForm::Rst));
    assert!(!callee.plan(five));
    assert_eq!(shown[0].age.as_secs(), 300);
    // It is renewed in time.
    minutes(4).await;
    assert!(callee.plan(known.now()));
    callee.set(Phase::Idle);
    minutes(2).await;
    assert_eq!(callee.form(known.now()), None);
    assert_eq!(callee.form(five), Some(CancelForm::Rst));
    assert!(callee.found(CancelForm::Trailer, known.now()));
    assert_eq!(callee.form(five), Some(CancelForm::Trailer));

    assert!(known.old_caller(IP) && !known.old_caller(IP));
    assert_eq!(known.caller_form(IP), CancelForm::Trailer);
    minutes(10).await;
    assert_eq!(known.caller_form(IP), CancelForm::Rst);
}
