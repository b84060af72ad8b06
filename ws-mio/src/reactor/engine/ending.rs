//! State. How connections end: in order, by a failure, or with the server.

use std::{mem, sync::atomic::Ordering};

use super::{Engine, Phase};
use crate::{
    accept::Application,
    config::{Report, Shutdown},
    connection::{Ready, Turn},
    reactor::{Stream, drain::Drain, farewell::Farewell, slab::Key},
};

impl<S: Stream, A: Application> Engine<S, A> {
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

    /// The WebSocket has ended: its session goes, and its stream is ended in order.
    pub(super) fn say_farewell(&mut self, key: Key, unsent: Vec<u8>) {
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
    pub(super) fn part(&mut self, key: Key, stream: S, answer: Vec<u8>, ready: Ready) {
        let now_ms = self.now.monotonic_ms;
        let mut farewell = Box::new(Farewell::new(stream, answer, ready, now_ms));
        let turn = farewell.turn(Ready::AGAIN, &mut self.buffers.input);
        self.set_phase(key, Phase::Farewell(farewell));
        self.settle_farewell(key, turn);
    }

    pub(super) fn settle_farewell(&mut self, key: Key, turn: Turn) {
        match turn {
            Turn::Wait => self.rearm(key),
            Turn::Again => self.want_turn(key),
            Turn::Closed => self.remove(key),
        }
    }

    /// The session panicked: the peer is told that it is our fault, and the session that it is over.
    pub(super) fn fail(&mut self, key: Key) {
        tracing::error!(target: "ws::conn", ?key, "a session panicked");
        if let Some((open, buffers, around)) = self.lend(key) {
            let unsent = open.fail(buffers, around);
            self.say_farewell(key, unsent);
        }
    }

    /// Ends a connection at once.
    pub(super) fn abort(&mut self, key: Key) {
        if let Some((open, buffers, around)) = self.lend(key) {
            open.end(buffers, around);
        }
        self.remove(key);
    }

    pub(super) fn remove(&mut self, key: Key) {
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

    pub(super) fn go_on_draining(&mut self) {
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
