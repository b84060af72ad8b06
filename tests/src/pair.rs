//! Two real ends, a fake wire and a fake clock.

use std::collections::VecDeque;

use ws_proto::{Config, Role};

use crate::{
    end::{End, Script},
    events::Log,
};

/// A client and a server of ours that talk to each other.
///
/// Nothing happens by itself: [`step`](Pair::step) moves the bytes, [`drive`](Pair::drive) until
/// there are none, [`drive_until`](Pair::drive_until) lets time pass. When an end is closed, it ends
/// the transport behind its last byte, and the other end is told.
#[derive(Debug)]
pub struct Pair {
    /// The end that masks.
    pub client: End<Log>,
    /// The other one.
    pub server: End<Log>,
    /// The clock of both, in milliseconds.
    pub now_ms: u64,
    /// How long bytes are under way, in milliseconds.
    pub latency_ms: u64,
    /// In how many bytes at a time the stream arrives.
    pub split: Split,
    to_server: Wire,
    to_client: Wire,
}

/// How a stream is cut when it arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Split {
    /// As it was sent.
    Not,
    /// This many bytes at a time.
    Each(usize),
    /// Once, at this position of the whole stream to the server, and at this of that to the client.
    Once {
        /// Counted in bytes that arrived at the server.
        to_server: usize,
        /// Counted in bytes that arrived at the client.
        to_client: usize,
    },
}

impl Pair {
    /// Two ends with the default configuration, whose applications follow these scripts.
    pub fn new(client: Script, server: Script) -> Self {
        Self::with_configs(client, Config::new(), server, Config::new())
    }

    /// Two ends with their scripts and configurations.
    pub fn with_configs(
        client: Script,
        client_config: Config,
        server: Script,
        server_config: Config,
    ) -> Self {
        Self::of(
            End::new(Role::Client, client_config).with_script(client),
            End::new(Role::Server, server_config).with_script(server),
        )
    }

    /// These two ends.
    pub fn of(client: End<Log>, server: End<Log>) -> Self {
        Self {
            client,
            server,
            now_ms: 0,
            latency_ms: 0,
            split: Split::Not,
            to_server: Wire::default(),
            to_client: Wire::default(),
        }
    }

    /// The end with this role.
    pub fn end(&mut self, role: Role) -> &mut End<Log> {
        match role {
            Role::Client => &mut self.client,
            Role::Server => &mut self.server,
        }
    }

    /// Bytes that were sent start on their way, and bytes that have arrived are received, in both
    /// directions. Whether anything moved.
    pub fn step(&mut self) -> bool {
        let at = self.now_ms + self.latency_ms;
        let [cut_to_server, cut_to_client] = match self.split {
            Split::Not => [Cut::Not; 2],
            Split::Each(n) => [Cut::Each(n); 2],
            Split::Once {
                to_server,
                to_client,
            } => [Cut::At(to_server), Cut::At(to_client)],
        };
        let sent = self.to_server.send(&mut self.client, at);
        let answered = self.to_client.send(&mut self.server, at);
        let arrived = self
            .to_server
            .deliver(&mut self.server, self.now_ms, cut_to_server);
        let returned = self
            .to_client
            .deliver(&mut self.client, self.now_ms, cut_to_client);
        sent || answered || arrived || returned
    }

    /// Steps until all that is under way has arrived, however long it takes. The clock goes on by
    /// what that takes, and no timer is asked.
    pub fn drive(&mut self) {
        loop {
            while self.step() {}
            match self.next_arrival() {
                Some(at) => self.now_ms = at,
                None => break,
            }
        }
    }

    /// Lets time pass until `until_ms`: bytes arrive and timers fire when they are due.
    pub fn drive_until(&mut self, until_ms: u64) {
        loop {
            while self.step() {}
            let timers = [
                self.client.connection.next_timeout(),
                self.server.connection.next_timeout(),
            ];
            let next = timers.into_iter().flatten().chain(self.next_arrival());
            let Some(next) = next.min().filter(|&next| next <= until_ms) else {
                break;
            };
            self.now_ms = self.now_ms.max(next);
            for end in [&mut self.client, &mut self.server] {
                let due = end.connection.next_timeout();
                if due.is_some_and(|due| due <= self.now_ms) {
                    end.handle_timeout(self.now_ms);
                }
            }
        }
        self.now_ms = self.now_ms.max(until_ms);
    }

    /// Ends the transport towards this end, as a broken line does. What is under way is lost.
    pub fn cut_off(&mut self, role: Role) {
        let wire = match role {
            Role::Client => &mut self.to_client,
            Role::Server => &mut self.to_server,
        };
        wire.under_way.clear();
        wire.ended = true;
        self.end(role).end_of_input();
    }

    /// How many bytes have arrived at the server, and at the client.
    pub fn bytes_delivered(&self) -> [usize; 2] {
        [self.to_server.arrived, self.to_client.arrived]
    }

    fn next_arrival(&self) -> Option<u64> {
        let wires = [&self.to_server, &self.to_client];
        wires.into_iter().filter_map(Wire::next_arrival).min()
    }
}

/// One direction of the transport.
#[derive(Debug, Default)]
struct Wire {
    /// When it arrives, and what; the end of the stream is `None`.
    under_way: VecDeque<(u64, Option<Vec<u8>>)>,
    arrived: usize,
    ended: bool,
}

#[derive(Clone, Copy)]
enum Cut {
    Not,
    Each(usize),
    At(usize),
}

impl Wire {
    fn send(&mut self, from: &mut End<Log>, arrives_at: u64) -> bool {
        if self.ended {
            return false;
        }
        let sent = from.take_sent();
        self.ended = from.is_closed();
        let moved = !sent.is_empty() || self.ended;
        if !sent.is_empty() {
            self.under_way.push_back((arrives_at, Some(sent)));
        }
        if self.ended {
            self.under_way.push_back((arrives_at, None));
        }
        moved
    }

    fn deliver(&mut self, to: &mut End<Log>, now_ms: u64, cut: Cut) -> bool {
        let mut moved = false;
        while self.next_arrival().is_some_and(|at| at <= now_ms) {
            let Some((_, arriving)) = self.under_way.pop_front() else {
                break;
            };
            moved = true;
            match arriving {
                None => to.end_of_input(),
                Some(bytes) => self.deliver_bytes(to, &bytes, cut),
            }
        }
        moved
    }

    fn deliver_bytes(&mut self, to: &mut End<Log>, bytes: &[u8], cut: Cut) {
        let piece = match cut {
            Cut::Not => bytes.len(),
            Cut::Each(n) => n,
            Cut::At(at) => at.saturating_sub(self.arrived),
        };
        self.arrived += bytes.len();
        match cut {
            Cut::At(_) => {
                let (before, behind) = bytes.split_at(piece.min(bytes.len()));
                to.receive(before);
                to.receive(behind);
            }
            _ => bytes.chunks(piece).for_each(|piece| to.receive(piece)),
        }
    }

    fn next_arrival(&self) -> Option<u64> {
        Some(self.under_way.front()?.0)
    }
}
