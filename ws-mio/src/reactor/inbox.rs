//! State. The bounded queue by which any thread posts to an event loop, and which wakes it.
//!
//! A wake-up is a system call, and the loop takes all there is when it wakes: one is enough for
//! everything posted until then. So whoever posts first since the loop last looked wakes it, and the
//! others only post.
//!
//! The invariant, under the lock: where something is queued, a wake-up is on its way. It is given
//! after the lock is released, lest the loop wakes up only to wait for the lock.

use std::sync::PoisonError;

// Not std's directly: tests/inbox_loom.rs includes this file with loom's.
use super::sync::{Mutex, MutexGuard};

/// Shared by a loop and all who post to it. `W` wakes the loop, from any thread; it must not panic,
/// for then nobody else would wake it.
pub(crate) struct Inbox<T, W> {
    state: Mutex<State<T>>,
    capacity: usize,
    wake: W,
}

/// Why something was not taken. It is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused<T> {
    /// The loop is behind by as many as the inbox holds. It has been woken.
    Full(T),
    /// The loop has ended.
    Closed(T),
}

impl<T, W: Fn()> Inbox<T, W> {
    /// Holds `capacity` items at most, besides those that the loop has drained.
    pub(crate) fn new(capacity: usize, wake: W) -> Self {
        Self {
            state: Mutex::new(State {
                queue: Vec::new(),
                notified: false,
                closed: false,
            }),
            capacity,
            wake,
        }
    }

    /// Posts `item`. What one thread posts is drained in that order.
    pub(crate) fn push(&self, item: T) -> Result<(), Refused<T>> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Closed(item));
        }
        if state.queue.len() >= self.capacity {
            return Err(Refused::Full(item));
        }
        state.queue.push(item);
        let notified = std::mem::replace(&mut state.notified, true);
        drop(state);
        if !notified {
            (self.wake)();
        }
        Ok(())
    }

    /// Moves all there is to the end of `into`, and wants to be woken for the next item.
    ///
    /// An empty `into` is swapped in as the next queue, so that two buffers serve for good and the
    /// lock is held for a moment. A buffer that a burst has made large is let go instead.
    pub(crate) fn drain(&self, into: &mut Vec<T>) {
        if into.is_empty() && into.capacity() > KEPT {
            *into = Vec::new();
        }
        let mut state = self.lock();
        state.notified = false;
        if into.is_empty() {
            std::mem::swap(&mut state.queue, into);
        } else {
            into.append(&mut state.queue);
        }
    }

    /// Refuses everything from now on, and returns what was not drained.
    pub(crate) fn close(&self) -> Vec<T> {
        let mut state = self.lock();
        state.closed = true;
        std::mem::take(&mut state.queue)
    }

    /// A panic of another thread while it held the lock is no harm: nothing under it can panic
    /// half-way but an allocation, and that leaves the queue as it was.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What nothing here can do.
    #[cfg(test)]
    pub(super) fn panic_with_lock(&self) {
        let _state = self.lock();
        panic!("on purpose");
    }
}

struct State<T> {
    queue: Vec<T>,
    /// A wake-up was given, or is about to be, and the loop has not drained since.
    notified: bool,
    closed: bool,
}

/// Items for which a drained buffer keeps its memory.
const KEPT: usize = 1024;
