//! State. The engine of one loop: turns, deadlines and errands of its connections, without sockets
//! and without a clock.
//!
//! Whoever drives it tells what is ready and what time it is: the event loop, or a test.

mod admission;
mod ending;

use std::{collections::VecDeque, mem, sync::Arc};

use ws_proto::{Config, Limit};

use super::{
    Stream, discard,
    drain::Drain,
    farewell::Farewell,
    open::{Open, Outcome, Surroundings},
    opening::Opening,
    slab::{Key, Slab},
    wheel::{TICK_MS, Wheel},
};
use crate::{
    accept::Application,
    buffers::{Buffers, Marks},
    config::Capacity,
    connection::{Ready, Turn},
    handle::{ConnectionId, Errand, Shared},
    session::{Context, Extra, NEVER, Now, Outside, Session},
};

/// What all engines of a server are told alike.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) config: Arc<Config>,
    pub(crate) capacity: Capacity,
    pub(crate) marks: Marks,
}

impl Settings {
    /// Those of each of so many loops. One message is always taken, and then the high mark may be
    /// reached before the limit is.
    pub(crate) fn for_each_of(mut self, loops: usize) -> Self {
        if let Limit::At(message) = self.config.limits.max_message {
            let message = usize::try_from(message).unwrap_or(usize::MAX);
            let least = message.saturating_add(self.marks.high);
            self.marks.limit = self.marks.limit.max(least);
        }
        self.capacity = self.capacity.share_of(loops);
        self
    }
}

/// All connections of one loop.
pub(crate) struct Engine<S, A: Application> {
    app: Arc<A>,
    config: Arc<Config>,
    capacity: Capacity,
    shared: Arc<Shared>,
    loop_index: u16,
    now: Now,
    slots: Slab<Slot<S, A::Session>>,
    wheel: Wheel,
    buffers: Buffers,
    outside: Outside,
    /// Those that are to have another turn, each once.
    again: Vec<Key>,
    /// Those whose handshake is not done, the oldest first; and others, which are passed over.
    openings: VecDeque<Key>,
    opening_count: usize,
    drain: Option<Drain>,
}

struct Slot<S, T> {
    phase: Phase<S, T>,
    /// What few connections have.
    extra: Option<Box<Extra>>,
    is_again: bool,
}

enum Phase<S, T> {
    Opening(Box<Opening<S>>),
    Open(Open<S, T>),
    Farewell(Box<Farewell<S>>),
    Gone,
}

impl<S: Stream, A: Application> Engine<S, A> {
    pub(crate) fn new(
        app: Arc<A>,
        shared: Arc<Shared>,
        loop_index: u16,
        settings: &Settings,
        now: Now,
        random: Box<dyn FnMut() -> u64 + Send>,
    ) -> Self {
        Self {
            app,
            config: Arc::clone(&settings.config),
            capacity: settings.capacity,
            shared,
            loop_index,
            now,
            slots: Slab::new(),
            wheel: Wheel::new(now.monotonic_ms),
            buffers: Buffers::new(settings.marks),
            outside: Outside {
                errands: Vec::new(),
                random,
            },
            again: Vec::new(),
            openings: VecDeque::new(),
            opening_count: 0,
            drain: None,
        }
    }

    /// What time it is, for all that follows.
    pub(crate) fn set_now(&mut self, now: Now) {
        self.now = now;
    }

    /// Something is ready.
    pub(crate) fn ready(&mut self, key: Key, ready: Ready) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        match &mut slot.phase {
            Phase::Open(open) => {
                let around = Surroundings {
                    id: ConnectionId {
                        key,
                        loop_index: self.loop_index,
                    },
                    now: self.now,
                    extra: &mut slot.extra,
                    outside: &mut self.outside,
                };
                let outcome = open.turn(ready, &mut self.buffers, around);
                // Nothing follows from most turns.
                let is_quiet = matches!(outcome, Outcome::Done(Turn::Wait))
                    && open.is_quiet()
                    && Extra::wake_at_ms(&slot.extra) == NEVER
                    && self.wheel.is_armed(key.index());
                if !is_quiet {
                    self.settle(key, outcome);
                }
            }
            Phase::Opening(_) => self.turn_opening(key, ready),
            Phase::Farewell(farewell) => {
                let turn = farewell.turn(ready, &mut self.buffers.input);
                self.settle_farewell(key, turn);
            }
            Phase::Gone => {}
        }
    }

    /// Does what is due: another turn for those who want one, deadlines, errands, the shutdown.
    pub(crate) fn run(&mut self) {
        for key in mem::take(&mut self.again) {
            if let Some(slot) = self.slots.get_mut(key) {
                slot.is_again = false;
                self.ready(key, Ready::AGAIN);
            }
        }
        self.expire();
        // Those that come up meanwhile wait for the next round: two sessions that answer each other
        // must not keep the loop for themselves.
        for (to, errand) in mem::take(&mut self.outside.errands) {
            self.dispatch(to, errand);
        }
        self.go_on_draining();
    }

    /// When [`run`](Self::run) is to be called at the latest; at once if that is past.
    pub(crate) fn next_timeout(&self) -> Option<u64> {
        if !self.again.is_empty() || !self.outside.errands.is_empty() {
            return Some(0);
        }
        let now_ms = self.now.monotonic_ms;
        let drain = self.drain.as_ref().map(|drain| drain.next_ms(now_ms));
        [self.wheel.next(), drain].into_iter().flatten().min()
    }

    /// Does something to a connection of this loop, unless it has gone.
    pub(crate) fn perform(&mut self, key: Key, errand: Errand) {
        self.call(key, |session, cx| match errand {
            Errand::Note(note) => session.post(note, cx),
            Errand::Send(message) => _ = cx.send_prepared(message.prepared()),
            Errand::Close(code, reason) => _ = cx.close(code, &reason),
        });
    }

    /// An errand that a session sent out.
    fn dispatch(&mut self, to: ConnectionId, errand: Errand) {
        if to.loop_index == self.loop_index {
            return self.perform(to.key, errand);
        }
        let side = self.shared.loops.get(usize::from(to.loop_index));
        if let Some(side) = side
            && let Err(refused) = side.inbox.push((to.key, errand))
        {
            discard(refused);
            tracing::warn!(target: "ws::loop", ?to, "an errand is lost: the other loop is far behind, or has ended");
        }
    }

    /// Calls a session outside of a turn.
    fn call(&mut self, key: Key, call: impl FnOnce(&mut A::Session, &mut Context<'_>)) {
        // Behind `close` a session is not called: the connection is only there for its last bytes.
        if let Some((open, buffers, around)) = self.lend(key)
            && !open.is_over()
        {
            let outcome = open.call(buffers, around, call);
            self.settle(key, outcome);
        } else {
            discard(call);
        }
    }

    /// An open connection, and what its calls need.
    #[expect(clippy::type_complexity, reason = "three things of one call")]
    fn lend(
        &mut self,
        key: Key,
    ) -> Option<(&mut Open<S, A::Session>, &mut Buffers, Surroundings<'_>)> {
        let slot = self.slots.get_mut(key)?;
        let Phase::Open(open) = &mut slot.phase else {
            return None;
        };
        let around = Surroundings {
            id: ConnectionId {
                key,
                loop_index: self.loop_index,
            },
            now: self.now,
            extra: &mut slot.extra,
            outside: &mut self.outside,
        };
        Some((open, &mut self.buffers, around))
    }

    /// What follows from a turn or a call.
    #[inline(never)]
    fn settle(&mut self, key: Key, outcome: Outcome) {
        match outcome {
            Outcome::Done(Turn::Wait) => {}
            Outcome::Done(Turn::Again) => self.want_turn(key),
            Outcome::Done(Turn::Closed) => return self.say_farewell(key, Vec::new()),
            Outcome::Broken(error) => {
                tracing::debug!(target: "ws::conn", ?key, %error, "the stream is broken");
                return self.abort(key);
            }
            Outcome::Panicked => return self.fail(key),
        }
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        if let Phase::Open(open) = &mut slot.phase
            && open.connection.take_drained()
            && !open.is_over()
        {
            return self.call(key, |session, cx| session.drained(cx));
        }
        self.rearm(key);
    }

    fn want_turn(&mut self, key: Key) {
        if let Some(slot) = self.slots.get_mut(key)
            && !mem::replace(&mut slot.is_again, true)
        {
            self.again.push(key);
        }
    }

    /// Sees to it that the wheel comes to this connection in time. A deadline that was put off is
    /// found out when the earlier one comes.
    fn rearm(&mut self, key: Key) {
        let Some(slot) = self.slots.get(key) else {
            return;
        };
        let next = slot.deadline();
        if next != NEVER {
            self.wheel.arm_by(key.index(), next);
        }
    }

    /// Tells the time to those who wait for it.
    fn expire(&mut self) {
        let mut due = Vec::new();
        while let Some(index) = self.wheel.expire(self.now.monotonic_ms) {
            due.extend(self.slots.key_at(index));
        }
        for key in due {
            self.handle_timeout(key);
        }
    }

    fn handle_timeout(&mut self, key: Key) {
        let now_ms = self.now.monotonic_ms;
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        match &mut slot.phase {
            Phase::Open(_) => self.tell_time(key),
            Phase::Opening(opening) => {
                let timeouts = &self.config.timeouts;
                if let Some(error) = opening.handshake.handle_timeout(now_ms, timeouts) {
                    let (_, mut output) = self.buffers.lend();
                    opening.refuse(error, &mut output);
                    let answer = output.written().to_vec();
                    self.end_opening(key, answer);
                }
            }
            Phase::Farewell(farewell) if farewell.end_ms <= now_ms => self.remove(key),
            Phase::Farewell(_) | Phase::Gone => {}
        }
        self.rearm(key);
    }

    /// Tells the time to an open connection, and then to its session if it wanted to be woken.
    fn tell_time(&mut self, key: Key) {
        let now_ms = self.now.monotonic_ms;
        if let Some((open, buffers, around)) = self.lend(key)
            && open
                .connection
                .next_timeout()
                .is_some_and(|at| at <= now_ms)
        {
            let outcome = open.handle_timeout(buffers, around);
            self.settle(key, outcome);
        }
        if let Some(slot) = self.slots.get_mut(key)
            && Extra::wake_at_ms(&slot.extra) <= now_ms
        {
            Extra::set_wake_at_ms(&mut slot.extra, NEVER);
            self.call(key, |session, cx| session.timer(cx));
        }
    }

    fn set_phase(&mut self, key: Key, phase: Phase<S, A::Session>) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.phase = phase;
        }
    }
}

/// What a test asks after each of its steps.
impl<S: Stream, A: Application> Engine<S, A> {
    /// Panics unless what is counted and kept agrees with the connections there are. How many that
    /// are, and how many of them are counted by address.
    pub(crate) fn check(&self) -> (usize, usize) {
        let keys: Vec<_> = self.slots.keys().collect();
        let mut by_address = 0;
        for key in &keys {
            let Some(slot) = self.slots.get(*key) else {
                unreachable!("it was there")
            };
            assert!(!matches!(slot.phase, Phase::Gone), "{key:?} is nothing");
            assert_eq!(slot.is_again, self.again.contains(key), "{key:?}'s turn");
            assert!(
                !self.is_opening(*key) || self.openings.contains(key),
                "{key:?} opens"
            );
            by_address += usize::from(
                slot.extra
                    .as_ref()
                    .is_some_and(|extra| extra.network.is_some()),
            );
            // The wheel comes at the first tick at or after a deadline, or before.
            let armed = self.wheel.armed_at(key.index()).unwrap_or(NEVER);
            let deadline = slot.deadline();
            let is_armed = armed < deadline.saturating_add(TICK_MS);
            assert!(
                is_armed || deadline == NEVER,
                "{key:?} would miss {deadline}"
            );
        }
        let openings = keys.iter().filter(|key| self.is_opening(**key)).count();
        assert_eq!(self.opening_count, openings, "handshakes");
        let most = keys.iter().map(|key| key.index() + 1).max().unwrap_or(0);
        for index in 0..most + 1024 {
            let is_idle = self.slots.key_at(index).is_some() || !self.wheel.is_armed(index);
            assert!(is_idle, "a deadline of nobody's at {index}");
        }
        (keys.len(), by_address)
    }
}

impl<S: Stream, T: Session> Slot<S, T> {
    /// When something is to be done though nothing becomes ready, or [`NEVER`].
    fn deadline(&self) -> u64 {
        match &self.phase {
            Phase::Open(open) => {
                let next = open.connection.next_timeout().unwrap_or(NEVER);
                next.min(Extra::wake_at_ms(&self.extra))
            }
            Phase::Opening(opening) => opening.handshake.next_timeout().unwrap_or(NEVER),
            Phase::Farewell(farewell) => farewell.end_ms,
            Phase::Gone => NEVER,
        }
    }
}

/// What an idle connection costs; the session's own state, 8 bytes of the slab and 16 of the wheel
/// aside. (mio's sockets are larger in debug builds, and all are for tests that cut them.)
#[cfg(all(
    target_pointer_width = "64",
    not(debug_assertions),
    not(feature = "chopped")
))]
const _: () = assert!(size_of::<Slot<super::listener::Socket, ()>>() == 152);
