//! ws-mio's inbox in all interleavings of small models: nothing is lost, least of all a wake-up.
//!
//! The file is included rather than linked, so that the locks are loom's. A loop's poll is modelled
//! by a flag: a wake-up sets it, and the loop drains if it was set.

use loom::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use inbox::{Inbox, Refused};

#[expect(dead_code, reason = "part of it is for the tests beside it")]
#[path = "../ws-mio/src/reactor/inbox.rs"]
mod inbox;

mod sync {
    pub(crate) use loom::sync::{Mutex, MutexGuard};
}

/// Who posted, and as which of its items.
type Item = (char, u32);

/// An inbox, and what its loop has seen.
struct Loop {
    inbox: Arc<Inbox<Item, Box<dyn Fn() + Send + Sync>>>,
    capacity: usize,
    woken: Arc<AtomicBool>,
    wakes: Arc<AtomicUsize>,
    drained: Vec<Item>,
    drains: usize,
}

impl Loop {
    fn new(capacity: usize) -> Self {
        let woken = Arc::new(AtomicBool::new(false));
        let wakes = Arc::new(AtomicUsize::new(0));
        let (flag, count) = (Arc::clone(&woken), Arc::clone(&wakes));
        let wake = Box::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
            // As an eventfd does, a wake-up reads and writes: loom may let a later load pass over a
            // mere store that fell beside the loop's swap.
            flag.swap(true, Ordering::AcqRel);
        });
        Self {
            inbox: Arc::new(Inbox::new(capacity, wake)),
            capacity,
            woken,
            wakes,
            drained: Vec::new(),
            drains: 0,
        }
    }

    /// A thread which posts its items, and returns which were taken.
    fn pusher(&self, name: char, count: u32) -> JoinHandle<Vec<Item>> {
        let inbox = Arc::clone(&self.inbox);
        thread::spawn(move || {
            let items = (0..count).map(|n| (name, n));
            items.filter(|item| inbox.push(*item).is_ok()).collect()
        })
    }

    fn drain_if_woken(&mut self) {
        if self.woken.swap(false, Ordering::AcqRel) {
            let mut items = Vec::new();
            self.inbox.drain(&mut items);
            assert!(items.len() <= self.capacity);
            self.drained.append(&mut items);
            self.drains += 1;
        }
    }

    /// After the pushers: a wake-up is pending, or everything was drained.
    fn check(mut self, taken: &[Item]) {
        if !self.woken.load(Ordering::Acquire) {
            assert_eq!(self.drained.len(), taken.len(), "a wake-up was lost");
        }
        self.drain_if_woken();
        for name in ['a', 'b'] {
            let of = |items: &[Item]| -> Vec<_> {
                items
                    .iter()
                    .filter(|item| item.0 == name)
                    .copied()
                    .collect()
            };
            assert_eq!(
                of(&self.drained),
                of(taken),
                "lost, doubled or out of order"
            );
        }
        assert_eq!(self.drained.len(), taken.len());
        let wakes = self.wakes.load(Ordering::Relaxed);
        assert!(
            wakes <= self.drains + 1,
            "{wakes} wake-ups for {} drains",
            self.drains
        );
    }
}

fn joined(pushers: impl IntoIterator<Item = JoinHandle<Vec<Item>>>) -> Vec<Item> {
    pushers
        .into_iter()
        .flat_map(|pusher| pusher.join().expect("pushers do not panic"))
        .collect()
}

#[test]
fn two_pushers_and_a_loop() {
    loom::model(|| {
        let mut looped = Loop::new(8);
        let pushers = [looped.pusher('a', 2), looped.pusher('b', 1)];
        looped.drain_if_woken();
        looped.drain_if_woken();
        let taken = joined(pushers);
        assert_eq!(taken.len(), 3);
        looped.check(&taken);
    });
}

#[test]
fn one_wake_up_for_all_that_came_before_the_loop_looked() {
    loom::model(|| {
        let looped = Loop::new(8);
        let taken = joined([looped.pusher('a', 2), looped.pusher('b', 2)]);
        assert_eq!(looped.wakes.load(Ordering::Relaxed), 1);
        looped.check(&taken);
    });
}

#[test]
fn full_inbox_has_woken_its_loop() {
    loom::model(|| {
        let mut looped = Loop::new(1);
        let pushers = [looped.pusher('a', 2), looped.pusher('b', 1)];
        looped.drain_if_woken();
        let taken = joined(pushers);
        assert!(!taken.is_empty());
        looped.check(&taken);
    });
}

/// HTTP.jl JLSEC-2026-620, gorilla/websocket #957, nhooyr/websocket #437: a reply, a send and a close
/// race for the socket. Here only the loop writes, for a `Sender` borrows its connection; others post
/// sends and closes, and this is all that they share with it.
#[test]
fn sec_33_push_against_close() {
    loom::model(|| {
        let looped = Loop::new(8);
        let pushers = [looped.pusher('a', 2), looped.pusher('b', 1)];
        let mut rest = looped.inbox.close();
        let mut taken = joined(pushers);
        rest.sort_unstable();
        taken.sort_unstable();
        assert_eq!(rest, taken, "what was taken is what close returned");
        let late = ('c', 0);
        assert_eq!(looped.inbox.push(late), Err(Refused::Closed(late)));
        assert_eq!(looped.inbox.close(), []);
    });
}
