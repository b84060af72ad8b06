//! The inbox with one thread, and with real ones. `tests/inbox_loom.rs` tries all interleavings.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use super::inbox::{Inbox, Refused};

/// An inbox which counts its wake-ups.
fn counting<T>(capacity: usize) -> (Inbox<T, impl Fn()>, Arc<AtomicUsize>) {
    let wakes = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&wakes);
    let wake = move || {
        counter.fetch_add(1, Ordering::Relaxed);
    };
    (Inbox::new(capacity, wake), wakes)
}

#[test]
fn first_post_after_a_drain_wakes() {
    let (inbox, wakes) = counting(8);
    let mut items = Vec::new();
    for round in 1..4 {
        for item in 0..3 {
            assert_eq!(inbox.push(item), Ok(()));
            assert_eq!(wakes.load(Ordering::Relaxed), round);
        }
        items.clear();
        inbox.drain(&mut items);
        assert_eq!(items, [0, 1, 2]);
    }
    inbox.drain(&mut items);
    assert_eq!((items.len(), wakes.load(Ordering::Relaxed)), (3, 3));
}

#[test]
fn full_gives_back_until_drained() {
    let (inbox, wakes) = counting(2);
    let mut items = Vec::new();
    for first in [0, 10] {
        assert_eq!(inbox.push(first), Ok(()));
        assert_eq!(inbox.push(first + 1), Ok(()));
        assert_eq!(inbox.push(first + 2), Err(Refused::Full(first + 2)));
        inbox.drain(&mut items);
    }
    assert_eq!(
        items,
        [0, 1, 10, 11],
        "appended to what the caller still had"
    );
    assert_eq!(wakes.load(Ordering::Relaxed), 2);
    let (inbox, wakes) = counting(0);
    assert_eq!(inbox.push(1), Err(Refused::Full(1)));
    assert_eq!(wakes.load(Ordering::Relaxed), 0);
}

#[test]
fn closed_gives_back_for_good() {
    let (inbox, wakes) = counting(1);
    assert_eq!(inbox.push('a'), Ok(()));
    assert_eq!(inbox.close(), ['a']);
    assert_eq!(inbox.push('b'), Err(Refused::Closed('b')));
    let mut items = Vec::new();
    inbox.drain(&mut items);
    assert_eq!(inbox.push('c'), Err(Refused::Closed('c')));
    assert_eq!((items.len(), inbox.close().len()), (0, 0));
    assert_eq!(wakes.load(Ordering::Relaxed), 1);
}

#[test]
fn two_buffers_serve_for_good_unless_a_burst_made_them_large() {
    let (inbox, _) = counting(usize::MAX);
    let mut items = Vec::new();
    let mut round = |count: usize| {
        (0..count).for_each(|item| inbox.push(item).expect("neither full nor closed"));
        items.clear();
        inbox.drain(&mut items);
        assert!(items.iter().copied().eq(0..count));
        (items.as_ptr(), items.capacity())
    };
    let (first, second) = (round(16), round(16));
    assert_eq!((round(16), round(16)), (first, second));
    assert!(round(100_000).1 >= 100_000);
    assert!((0..3).all(|_| round(16).1 < 100_000));
}

#[test]
fn boxed_wake_serves_any_waker() {
    let (told, hear) = mpsc::channel();
    let wake: Box<dyn Fn() + Send + Sync> = Box::new(move || told.send(()).expect("heard below"));
    let inbox = Inbox::new(1, wake);
    assert_eq!(inbox.push(1), Ok(()));
    assert_eq!(hear.try_iter().count(), 1);
}

#[test]
fn poisoned_lock_is_taken_all_the_same() {
    let (inbox, _) = counting(2);
    assert_eq!(inbox.push(1), Ok(()));
    assert!(catch_unwind(AssertUnwindSafe(|| inbox.panic_with_lock())).is_err());
    assert_eq!(inbox.push(2), Ok(()));
    let mut items = Vec::new();
    inbox.drain(&mut items);
    assert_eq!(items, [1, 2]);
    assert_eq!(inbox.close(), [0; 0]);
}

/// A loop which does nothing unless woken gets everything, however little fits at a time.
#[test]
fn threads_post_all_to_a_loop_that_sleeps() {
    const SENDERS: usize = 3;
    const EACH: usize = 2_000;
    let this = thread::current();
    let inbox = Inbox::new(16, move || this.unpark());
    let mut next = [0; SENDERS];
    thread::scope(|scope| {
        for sender in 0..SENDERS {
            let inbox = &inbox;
            scope.spawn(move || {
                for item in 0..EACH {
                    while let Err(refused) = inbox.push((sender, item)) {
                        assert_eq!(refused, Refused::Full((sender, item)));
                        thread::yield_now();
                    }
                }
            });
        }
        let mut items = Vec::new();
        while next != [EACH; SENDERS] {
            thread::park();
            inbox.drain(&mut items);
            for (sender, item) in items.drain(..) {
                assert_eq!(item, next[sender], "of sender {sender}");
                next[sender] += 1;
            }
        }
    });
}
