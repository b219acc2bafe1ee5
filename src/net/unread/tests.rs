//! The account against the peer's own count, on a paused clock.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Wake;

use super::*;

#[derive(Debug, Default)]
struct Few(AtomicBool);

impl Pace for Few {
    fn interval(&self, configured: Duration) -> Duration {
        configured
    }
    fn slower(&self, _: Duration) {}
    fn bears_few(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
    fn is_to_ask(&self) -> bool {
        false
    }
    fn answered(&self, _: bool) {}
    fn too_many_small(&self) {}
}

fn account() -> Unread {
    let unread = Unread::default();
    unread.follow(Arc::new(Few(true.into())));
    unread
}

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Sends pieces until one has to wait, at most so many. Returns how many.
fn send(unread: &Unread, part: &mut Part, len: usize, most: usize) -> usize {
    let mut cx = Context::from_waker(Waker::noop());
    for n in 0..most {
        if unread.poll_room(part, len, &mut cx).is_pending() {
            return n;
        }
        unread.sent(part, len, 1);
    }
    most
}

#[tokio::test(start_paused = true)]
async fn no_more_is_sent_than_may_be_unread() {
    for (len, alone, all) in [(0, 50, 100), (20, 54, 108), (255, 12_800, 12_850)] {
        let unread = account();
        let (mut one, mut total) = (Part::default(), 0);
        total += send(&unread, &mut one, len, 100_000);
        assert_eq!(total, alone, "{len}");
        // Other streams have their first frame at once.
        let mut others: Vec<_> = (0..50).map(|_| Part::default()).collect();
        for other in &mut others {
            total += send(&unread, other, len, 1);
            assert_eq!(send(&unread, other, len, 1), 0);
        }
        assert!(total * (SMALL - len) <= BUDGET, "{len}");
        let mut further: Vec<_> = (0..100).map(|_| Part::default()).collect();
        if len < 255 {
            total += further
                .iter_mut()
                .map(|part| send(&unread, part, len, 1))
                .sum::<usize>();
            assert_eq!(total, all, "{len}");
        }
        // A long frame is for free, and pays for others.
        assert_eq!(send(&unread, &mut one, 256, 1000), 1000);
        assert_eq!(send(&unread, &mut one, BUDGET + SMALL, 1), 1);
        assert!(send(&unread, &mut one, len, 1) > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_where_nothing_is_counted() {
    let unread = Unread::default();
    assert!(!unread.counts());
    unread.follow(Arc::new(Few::default()));
    assert!(!unread.counts());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_answered_never_waits() {
    let unread = account();
    let mut slow = Part::default();
    send(&unread, &mut slow, 20, 1000);
    let mut parts: Vec<_> = (0..STREAMS).map(|_| Part::default()).collect();
    for _ in 0..1000 {
        for part in &mut parts {
            assert_eq!(send(&unread, part, 20, 1), 1);
        }
        parts.iter_mut().for_each(|part| unread.read(part));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_waits_is_woken_when_another_is_answered() {
    let unread = account();
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&count));
    let mut cx = Context::from_waker(&waker);
    let mut one = Part::default();
    send(&unread, &mut one, 20, 1000);
    unread.stop_waiting(&mut one);
    let (mut two, mut gone) = (Part::default(), Part::default());
    send(&unread, &mut two, 20, 1);
    send(&unread, &mut gone, 20, 1);
    assert!(unread.poll_room(&mut gone, 20, &mut cx).is_pending());
    assert!(unread.poll_room(&mut two, 20, &mut cx).is_pending());
    unread.stop_waiting(&mut gone);
    unread.read(&mut gone);
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    assert!(unread.poll_room(&mut two, 20, &mut cx).is_pending());
    unread.read(&mut one);
    assert_eq!(count.0.load(Ordering::SeqCst), 2);
    assert!(unread.poll_room(&mut two, 20, &mut cx).is_ready());
    assert!(unread.waiting.borrow().is_empty());
}

#[tokio::test(start_paused = true)]
async fn no_stream_waits_longer_than_two_seconds() {
    let unread = account();
    let mut parts: Vec<_> = (0..300).map(|_| Part::default()).collect();
    let began = Instant::now();
    let mut sent = 0;
    for part in &mut parts {
        sent += send(&unread, part, 20, 1);
    }
    assert_eq!(sent, 108);
    for part in &mut parts[sent..sent + 100] {
        std::future::poll_fn(|cx| unread.poll_room(part, 20, cx)).await;
        unread.sent(part, 20, 1);
    }
    let took = began.elapsed();
    assert!(
        took >= READ_WITHIN && took <= READ_WITHIN * 2 + Duration::from_millis(5),
        "{took:?}"
    );
}

/// One frame that nobody reads keeps a period open. What was sent since is young.
#[tokio::test(start_paused = true)]
async fn a_young_frame_does_not_count_as_read_with_an_old_one() {
    let unread = account();
    send(&unread, &mut Part::default(), 0, 1);
    tokio::time::advance(READ_WITHIN * 10).await;
    let mut parts: Vec<_> = (0..300).map(|_| Part::default()).collect();
    let sent: usize = parts
        .iter_mut()
        .map(|part| send(&unread, part, 0, 100))
        .sum();
    assert!(sent * SMALL <= BUDGET, "{sent}");
}

/// What a stream has sent ahead is not read because one message was answered.
#[tokio::test(start_paused = true)]
async fn an_answer_gives_back_one_message() {
    let unread = account();
    let mut part = Part::default();
    assert_eq!(send(&unread, &mut part, 0, 1000), 50);
    for answers in [1, 2, 7] {
        unread.answered(&mut part, answers);
        assert_eq!(send(&unread, &mut part, 0, 1000), answers as usize);
    }
    // More answers than messages.
    unread.answered(&mut part, 51);
    assert_eq!(unread.all(), 0);
}
