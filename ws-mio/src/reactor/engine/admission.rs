//! State. Who is taken on, and what becomes of a connection until its handshake is answered.

use std::{io, mem, net::IpAddr, sync::atomic::Ordering};

use ws_proto::Limit;

use super::{Engine, Phase, Slot};
use crate::{
    accept::{Application, Peer},
    connection::{Connection, Ready},
    reactor::{
        Stream,
        census::network,
        discard,
        open::Open,
        opening::{Host, Opened, Opening},
        slab::{self, Key},
    },
    session::{Extra, Session},
};

impl<S: Stream, A: Application> Engine<S, A> {
    /// Takes on a connection that was accepted, unless there are too many; `register` is told its
    /// token. The deadline of its handshake begins.
    pub(crate) fn admit(
        &mut self,
        stream: S,
        peer: Peer,
        register: impl FnOnce(&mut S, usize) -> io::Result<()>,
    ) {
        if self.drain.is_some() {
            return;
        }
        let network = self.network_of(peer);
        let limit = self.capacity.per_address;
        if network.is_some_and(|network| !self.shared.census.enter(network, limit)) {
            return;
        }
        // Who says nothing keeps nobody out, be it of the handshakes or of all there is.
        self.make_room_for_opening();
        if !self.has_room() {
            self.give_up_oldest_opening();
        }
        if !self.has_room() {
            network
                .into_iter()
                .for_each(|network| self.shared.census.leave(network));
            return;
        }
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

    pub(super) fn network_of(&self, peer: Peer) -> Option<IpAddr> {
        match (self.capacity.per_address, peer) {
            (Limit::Unlimited, _) | (_, Peer::Unix) => None,
            (Limit::At(_), Peer::Internet(address)) => Some(network(address.ip())),
        }
    }

    /// A turn of a connection whose handshake is not done.
    pub(super) fn turn_opening(&mut self, key: Key, ready: Ready) {
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

    /// From 95 % of the connections that there may be, or all but a few: those are to be told.
    pub(super) fn is_crowded(&self) -> bool {
        const TOLD: u64 = 128;
        let count = self.shared.connections.load(Ordering::Relaxed) as u64;
        match self.capacity.connections {
            Limit::At(most) => count > most - (most / 20).min(TOLD),
            Limit::Unlimited => false,
        }
    }

    fn has_room(&self) -> bool {
        let count = self.shared.connections.load(Ordering::Relaxed) as u64;
        self.capacity.connections.allows(count + 1) && self.slots.len() < slab::CAPACITY as usize
    }

    /// Gives up the handshake that has waited longest, if there is one.
    fn give_up_oldest_opening(&mut self) {
        while let Some(oldest) = self.openings.pop_front() {
            if self.is_opening(oldest) {
                return self.remove(oldest);
            }
        }
    }

    fn make_room_for_opening(&mut self) {
        let next = self.opening_count as u64 + 1;
        if self.opening_count > 0 && !self.capacity.handshakes.allows(next) {
            self.give_up_oldest_opening();
        }
        // Those that have been opened meanwhile are forgotten from time to time.
        if self.openings.len() > 2 * self.opening_count + 64 {
            let mut openings = mem::take(&mut self.openings);
            openings.retain(|key| self.is_opening(*key));
            self.openings = openings;
        }
    }

    pub(super) fn is_opening(&self, key: Key) -> bool {
        let slot = self.slots.get(key);
        slot.is_some_and(|slot| matches!(slot.phase, Phase::Opening(_)))
    }

    /// Answers 503 to a request, be it complete or not.
    pub(super) fn turn_away(&mut self, key: Key) {
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
    pub(super) fn end_opening(&mut self, key: Key, answer: Vec<u8>) {
        if let Some(opening) = self.take_opening(key) {
            self.part(key, opening.stream, answer, opening.ready);
        }
    }

    pub(super) fn take_opening(&mut self, key: Key) -> Option<Box<Opening<S>>> {
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
