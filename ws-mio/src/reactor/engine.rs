//! State. The engine of one loop: turns, deadlines and errands of its connections, without sockets
//! and without a clock.
//!
//! Whoever drives it tells what is ready and what time it is: the event loop, or a test.

use std::{
    collections::VecDeque,
    io, mem,
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
};

use ws_proto::{Config, Limit};

use super::{
    Stream,
    census::network,
    discard,
    drain::Drain,
    farewell::Farewell,
    open::{Open, Outcome, Surroundings},
    opening::{Host, Opened, Opening},
    slab::{self, Key, Slab},
    wheel::{TICK_MS, Wheel},
};
use crate::{
    accept::{Application, Peer},
    buffers::{Buffers, Marks},
    config::{Capacity, Report, Shutdown},
    connection::{Connection, Ready, Turn},
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

    /// Takes on a connection that was accepted, unless there are too many; `register` is told its
    /// token. The deadline of its handshake begins.
    pub(crate) fn admit(
        &mut self,
        stream: S,
        peer: Peer,
        register: impl FnOnce(&mut S, usize) -> io::Result<()>,
    ) {
        let count = self.shared.connections.load(Ordering::Relaxed) as u64;
        let has_room = self.capacity.connections.allows(count + 1)
            && self.slots.len() < slab::CAPACITY as usize;
        if self.drain.is_some() || !has_room {
            return;
        }
        let network = self.network_of(peer);
        if let Some(network) = &network
            && !self
                .shared
                .census
                .enter(*network, self.capacity.per_address)
        {
            return;
        }
        self.make_room_for_opening();
        self.shared.connections.fetch_add(1, Ordering::Relaxed);
        let mut opening = Box::new(Opening::new(stream, peer));
        // The first tick starts the deadline.
        opening
            .handshake
            .handle_timeout(self.now.monotonic_ms, &self.config.timeouts);
        let key = self.slots.insert(Slot {
            phase: Phase::Gone,
            extra: network.map(|network| Box::new(Extra::of(network))),
            is_again: false,
        });
        let registered = register(&mut opening.stream, key.to_token());
        if let Some(slot) = self.slots.get_mut(key) {
            slot.phase = Phase::Opening(opening);
            self.opening_count += 1;
            self.openings.push_back(key);
        }
        match registered {
            Ok(()) => self.rearm(key),
            Err(_) => self.remove(key),
        }
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
                    && slot.extra.is_none()
                    && self.wheel.is_armed(key.index());
                if !is_quiet {
                    self.settle(key, outcome);
                }
            }
            Phase::Opening(_) => self.open(key, ready),
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

    /// Begins to end, as the plan says; a second plan takes the place of the first.
    pub(crate) fn shut_down(&mut self, plan: Shutdown) {
        if let Some(drain) = &mut self.drain {
            drain.plan = plan;
        } else {
            let keys: Vec<_> = self.slots.keys().collect();
            // Who goes at once is in the report too.
            self.drain = Some(Drain::new(plan, keys.clone(), self.now.monotonic_ms));
            for key in keys {
                self.turn_away(key);
            }
        }
        self.go_on_draining();
    }

    /// The report, when a shutdown is done.
    pub(crate) fn report(&self) -> Option<Report> {
        let drain = self.drain.as_ref()?;
        self.slots.is_empty().then_some(drain.report)
    }

    fn network_of(&self, peer: Peer) -> Option<IpAddr> {
        match (self.capacity.per_address, peer) {
            (Limit::Unlimited, _) | (_, Peer::Unix) => None,
            (Limit::At(_), Peer::Internet(address)) => Some(network(address.ip())),
        }
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

    /// A turn of a connection whose handshake is not done.
    fn open(&mut self, key: Key, ready: Ready) {
        let is_crowded = self.is_crowded();
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        let Phase::Opening(opening) = &mut slot.phase else {
            return;
        };
        let host = Host {
            app: &*self.app,
            config: &self.config,
            is_crowded,
        };
        let (input, mut output) = self.buffers.lend();
        match opening.turn(ready, host, input, &mut output) {
            Opened::Wait => {}
            Opened::Again => self.want_turn(key),
            Opened::Gone => self.remove(key),
            Opened::Answered => {
                let answer = output.written().to_vec();
                self.end_opening(key, answer);
            }
            Opened::Accepted {
                core,
                session,
                delivery,
                behind,
            } => {
                let Ok(written) = write_once(&mut opening.stream, output.written()) else {
                    discard(session);
                    return self.remove(key);
                };
                let unsent = output.written()[written..].to_vec();
                let Some(opening) = self.take_opening(key) else {
                    return;
                };
                let connection = Connection::new(opening.stream, core)
                    .delivery(delivery)
                    .behind(&unsent)
                    .resume(&behind)
                    .ready(opening.ready);
                self.set_phase(key, Phase::Open(Open::new(connection, session)));
                self.call(key, |session, cx| session.open(cx));
                if !behind.is_empty() || opening.ready.readable {
                    self.want_turn(key);
                }
            }
        }
    }

    /// From 95 % of the connections that there may be.
    fn is_crowded(&self) -> bool {
        let count = self.shared.connections.load(Ordering::Relaxed) as u64;
        match self.capacity.connections {
            Limit::At(most) => count > most - most / 20,
            Limit::Unlimited => false,
        }
    }

    /// The handshake that has waited longest is given up, so that who says nothing keeps nobody out.
    fn make_room_for_opening(&mut self) {
        while !self
            .capacity
            .handshakes
            .allows(self.opening_count as u64 + 1)
            && let Some(oldest) = self.openings.pop_front()
        {
            if self.is_opening(oldest) {
                self.remove(oldest);
            }
        }
        // Those that have been opened meanwhile are forgotten from time to time.
        if self.openings.len() > 2 * self.opening_count + 64 {
            let mut openings = mem::take(&mut self.openings);
            openings.retain(|key| self.is_opening(*key));
            self.openings = openings;
        }
    }

    fn is_opening(&self, key: Key) -> bool {
        let slot = self.slots.get(key);
        slot.is_some_and(|slot| matches!(slot.phase, Phase::Opening(_)))
    }

    /// Answers 503 to a request, be it complete or not.
    fn turn_away(&mut self, key: Key) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        if let Phase::Opening(opening) = &mut slot.phase {
            let (_, mut output) = self.buffers.lend();
            opening.turn_away(&mut output);
            let answer = output.written().to_vec();
            self.end_opening(key, answer);
        }
    }

    /// The handshake was answered, and there will be no WebSocket.
    fn end_opening(&mut self, key: Key, answer: Vec<u8>) {
        if let Some(opening) = self.take_opening(key) {
            self.part(key, opening.stream, answer, opening.ready);
        }
    }

    fn take_opening(&mut self, key: Key) -> Option<Box<Opening<S>>> {
        let slot = self.slots.get_mut(key)?;
        match mem::replace(&mut slot.phase, Phase::Gone) {
            Phase::Opening(opening) => {
                self.opening_count -= 1;
                Some(opening)
            }
            phase => {
                slot.phase = phase;
                None
            }
        }
    }

    fn set_phase(&mut self, key: Key, phase: Phase<S, A::Session>) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.phase = phase;
        }
    }

    /// The WebSocket has ended: its session goes, and its stream is ended in order.
    fn say_farewell(&mut self, key: Key, unsent: Vec<u8>) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        let Phase::Open(open) = &slot.phase else {
            return;
        };
        // RFC 6455 §7.1.1: "the server MUST close the TCP connection immediately". Where the peer may
        // send nothing more and nothing is unread, there will be no reset.
        if unsent.is_empty() && open.is_done() {
            return self.remove(key);
        }
        if let Phase::Open(open) = mem::replace(&mut slot.phase, Phase::Gone) {
            let (stream, ready) = open.into_stream();
            self.part(key, stream, unsent, ready);
        }
    }

    /// Ends a stream in order, behind `answer`.
    fn part(&mut self, key: Key, stream: S, answer: Vec<u8>, ready: Ready) {
        let now_ms = self.now.monotonic_ms;
        let mut farewell = Box::new(Farewell::new(stream, answer, ready, now_ms));
        let turn = farewell.turn(Ready::AGAIN, &mut self.buffers.input);
        self.set_phase(key, Phase::Farewell(farewell));
        self.settle_farewell(key, turn);
    }

    fn settle_farewell(&mut self, key: Key, turn: Turn) {
        match turn {
            Turn::Wait => self.rearm(key),
            Turn::Again => self.want_turn(key),
            Turn::Closed => self.remove(key),
        }
    }

    /// The session panicked: the peer is told that it is our fault, and the session that it is over.
    fn fail(&mut self, key: Key) {
        tracing::error!(target: "ws::conn", ?key, "a session panicked");
        if let Some((open, buffers, around)) = self.lend(key) {
            let unsent = open.fail(buffers, around);
            self.say_farewell(key, unsent);
        }
    }

    /// Ends a connection at once.
    fn abort(&mut self, key: Key) {
        if let Some((open, buffers, around)) = self.lend(key) {
            open.end(buffers, around);
        }
        self.remove(key);
    }

    fn remove(&mut self, key: Key) {
        let Some(slot) = self.slots.remove(key) else {
            return;
        };
        self.wheel.disarm(key.index());
        self.shared.connections.fetch_sub(1, Ordering::Relaxed);
        if let Some(network) = slot.extra.and_then(|extra| extra.network) {
            self.shared.census.leave(network);
        }
        match slot.phase {
            Phase::Opening(_) => self.opening_count -= 1,
            // A panic in a session's drop is contained there.
            Phase::Open(open) => drop(open.into_stream()),
            Phase::Farewell(_) | Phase::Gone => {}
        }
        if let Some(drain) = &mut self.drain {
            drain.report.in_time += 1;
        }
    }

    fn go_on_draining(&mut self) {
        let now_ms = self.now.monotonic_ms;
        let Some(drain) = &mut self.drain else {
            return;
        };
        let code = drain.plan.code;
        if !drain.is_over(now_ms) {
            for key in drain.due(now_ms) {
                self.call(key, |_, cx| _ = cx.close(code, ""));
            }
            return;
        }
        let rest: Vec<_> = self.slots.keys().collect();
        for key in &rest {
            self.abort(*key);
        }
        if let Some(drain) = &mut self.drain {
            drain.report.in_time -= rest.len();
            drain.report.aborted += rest.len();
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

/// What the stream takes of `bytes`.
fn write_once(stream: &mut impl io::Write, bytes: &[u8]) -> io::Result<usize> {
    match stream.write(bytes) {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        result => result,
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
