//! A wire in memory: bytes each way, room for so many, edges as a poll tells them, and faults.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write},
    mem,
    rc::Rc,
};

use super::transcript::{Transcript, What};
use crate::{
    connection::{Ready, ShortRead},
    reactor::{Stream, slab::Key},
};

/// What goes wrong on a wire, decided by the seed. By default nothing does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// The most bytes that arrive at once, either way: each arrival is of one to so many.
    pub piece: usize,
    /// How many of a hundred writes take less than there is room for.
    pub short_writes: u8,
    /// How many of a hundred calls would block although they need not.
    pub blocked: u8,
    /// How many of a hundred calls a signal interrupts; not all.
    pub interrupted: u8,
    /// How many of a hundred edges are followed by another for no reason.
    pub spurious: u8,
    /// The call with this number, from 1, finds the connection reset.
    pub reset_at_call: Option<u64>,
}

impl Faults {
    /// None.
    pub const fn none() -> Self {
        Self {
            piece: usize::MAX,
            short_writes: 0,
            blocked: 0,
            interrupted: 0,
            spurious: 0,
            reset_at_call: None,
        }
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::none()
    }
}

/// A generator whose numbers follow from its seed (SplitMix64).
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    /// One of `0..n`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.roll() % n.max(1) as u64) as usize
    }

    pub(super) fn percent(&mut self, chance: u8) -> bool {
        chance > 0 && self.below(100) < usize::from(chance)
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

/// Numbers of clients that are to be looked after, each once.
pub(super) type Attention = Rc<RefCell<Vec<usize>>>;

/// Both ends of a connection, and what lies between them.
pub(super) struct Link {
    /// The number of its client.
    pub(super) client: usize,
    pub(super) key: Option<Key>,
    up: Lane,
    down: Lane,
    room: usize,
    faults: Faults,
    dice: Dice,
    /// As kqueue, which tells one edge at a time; epoll tells all that holds when any is new.
    tells_edges_only: bool,
    edges: Ready,
    /// A write was refused, so that room is worth an edge.
    is_blocked: bool,
    is_reset: bool,
    /// Both ends of it are in order, but the server has dropped its own.
    pub(super) is_dropped: bool,
    /// What the server did to it: reads, writes and ends.
    pub(super) calls: u64,
    /// Whom to tell that there is an edge, or something for the client to do.
    pub(super) edgy: Attention,
    pub(super) attention: Attention,
    pub(super) transcript: Rc<RefCell<Transcript>>,
    is_edgy: bool,
    needs_attention: bool,
}

/// One direction.
#[derive(Default)]
struct Lane {
    bytes: VecDeque<u8>,
    fin: bool,
}

/// What a client finds on its end.
pub(super) enum Found {
    Bytes(Vec<u8>),
    Nothing,
    Fin,
    Reset,
}

impl Link {
    pub(super) fn new(
        client: usize,
        room: usize,
        faults: Faults,
        seed: u64,
        lists: (Attention, Attention),
        transcript: Rc<RefCell<Transcript>>,
    ) -> Self {
        let mut dice = Dice::new(seed);
        let tells_edges_only = seed != 0 && dice.percent(50);
        Self {
            client,
            key: None,
            up: Lane::default(),
            down: Lane::default(),
            room,
            faults,
            dice,
            tells_edges_only,
            edges: Ready::AGAIN,
            is_blocked: false,
            is_reset: false,
            is_dropped: false,
            calls: 0,
            edgy: lists.0,
            attention: lists.1,
            transcript,
            is_edgy: false,
            needs_attention: false,
        }
    }

    /// Bytes arrive at the server, as many as there is room for; then the end of them, if `fin` is
    /// all that is left. Whether that was anything.
    pub(super) fn arrive(&mut self, bytes: &mut VecDeque<u8>, fin: bool) -> bool {
        let room = self.room.saturating_sub(self.up.bytes.len());
        let most = self.piece().min(room);
        let n = bytes.len().min(most);
        let ends = fin && n == bytes.len() && !self.up.fin;
        if n == 0 && !ends {
            return false;
        }
        self.up.fin |= ends;
        let piece = bytes.drain(..n);
        if self.is_reset {
            return true;
        }
        if self.is_dropped {
            // Nobody is there any more: that is answered with a reset.
            drop(piece);
            if n > 0 {
                self.break_off();
            }
            return true;
        }
        self.up.bytes.extend(piece);
        self.note(What::Arrived(n, ends));
        self.edge(Ready {
            readable: true,
            writable: false,
            read_closed: ends,
        });
        true
    }

    /// The client takes what has arrived at its end.
    pub(super) fn find(&mut self) -> Found {
        if self.is_reset {
            return Found::Reset;
        }
        if self.down.bytes.is_empty() {
            return if self.down.fin {
                Found::Fin
            } else {
                Found::Nothing
            };
        }
        let n = self.piece().min(self.down.bytes.len());
        let found = self.down.bytes.drain(..n).collect();
        if mem::take(&mut self.is_blocked) {
            self.edge(Ready {
                writable: true,
                ..Ready::AGAIN
            });
        }
        Found::Bytes(found)
    }

    /// Resets the connection: what is under way is lost.
    pub(super) fn break_off(&mut self) {
        self.note(What::Reset);
        self.is_reset = true;
        self.up.bytes.clear();
        self.down.bytes.clear();
        self.edge(Ready::ALL);
        self.call_client();
    }

    /// What the poll tells.
    pub(super) fn take_ready(&mut self) -> Ready {
        self.is_edgy = false;
        let mut ready = mem::replace(&mut self.edges, Ready::AGAIN);
        if !self.tells_edges_only {
            let is_over = self.up.fin || self.is_reset;
            ready.readable |= is_over || !self.up.bytes.is_empty();
            ready.writable |= self.is_reset || self.down.bytes.len() < self.room;
            ready.read_closed |= is_over;
        }
        if self.dice.percent(self.faults.spurious) {
            self.edge(Ready {
                readable: true,
                writable: true,
                read_closed: false,
            });
        }
        self.note(What::Ready(ready));
        ready
    }

    pub(super) fn call_client(&mut self) {
        if !mem::replace(&mut self.needs_attention, true) {
            self.attention.borrow_mut().push(self.client);
        }
    }

    /// The client is being looked after.
    pub(super) fn attended(&mut self) {
        self.needs_attention = false;
    }

    /// The server has something to read that it does not.
    pub(super) fn unread(&self) -> usize {
        self.up.bytes.len()
    }

    fn piece(&mut self) -> usize {
        match self.faults.piece {
            usize::MAX => usize::MAX,
            piece => 1 + self.dice.below(piece),
        }
    }

    fn edge(&mut self, edge: Ready) {
        self.edges.readable |= edge.readable;
        self.edges.writable |= edge.writable;
        self.edges.read_closed |= edge.read_closed;
        if self.key.is_some() && !self.is_dropped && !mem::replace(&mut self.is_edgy, true) {
            self.edgy.borrow_mut().push(self.client);
        }
    }

    /// What all calls have in common.
    fn call(&mut self) -> io::Result<()> {
        self.calls += 1;
        if self.faults.reset_at_call == Some(self.calls) && !self.is_reset {
            self.break_off();
        }
        if self.is_reset {
            return Err(ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }

    fn is_interrupted(&mut self) -> bool {
        let is = self.dice.percent(self.faults.interrupted);
        if is {
            self.note(What::Interrupted);
        }
        is
    }

    /// A call that would block for no good reason; the poll tells when not any more.
    fn blocks(&mut self, edge: Ready) -> bool {
        let blocks = self.dice.percent(self.faults.blocked);
        if blocks {
            self.note(What::Blocked);
            self.edge(edge);
        }
        blocks
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.call()?;
        if self.is_interrupted() {
            return Err(ErrorKind::Interrupted.into());
        }
        let edge = Ready {
            readable: true,
            ..Ready::AGAIN
        };
        if self.up.bytes.is_empty() && self.up.fin {
            self.note(What::ReadEnd);
            return Ok(0);
        }
        if self.up.bytes.is_empty() || self.blocks(edge) {
            return Err(ErrorKind::WouldBlock.into());
        }
        let is_full = self.up.bytes.len() >= self.room;
        let n = self.up.bytes.read(buffer)?;
        // The two halves of the ring.
        let n = n + self.up.bytes.read(&mut buffer[n..])?;
        self.note(What::Read(n));
        if is_full {
            self.call_client();
        }
        Ok(n)
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.call()?;
        if self.is_interrupted() {
            return Err(ErrorKind::Interrupted.into());
        }
        let len: usize = slices.iter().map(|slice| slice.len()).sum();
        let room = self.room.saturating_sub(self.down.bytes.len()).min(len);
        if len > 0 && room == 0 {
            self.is_blocked = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        let edge = Ready {
            writable: true,
            ..Ready::AGAIN
        };
        if self.blocks(edge) {
            return Err(ErrorKind::WouldBlock.into());
        }
        let is_short = self.dice.percent(self.faults.short_writes);
        let n = match is_short {
            true if room > 0 => 1 + self.dice.below(room),
            _ => room,
        };
        let mut left = n;
        for slice in slices {
            let part = &slice[..slice.len().min(left)];
            self.down.bytes.extend(part);
            left -= part.len();
        }
        self.note(What::Wrote(n, len));
        self.call_client();
        Ok(n)
    }

    fn note(&self, what: What) {
        self.transcript.borrow_mut().note(self.client, what);
    }
}

/// The server's end of a [`Link`].
pub(super) struct Wire(pub(super) Rc<RefCell<Link>>);

impl Wire {
    /// As a poll tells a new registration what holds.
    pub(super) fn register(&mut self, token: usize) {
        let mut link = self.0.borrow_mut();
        link.key = Some(Key::from_token(token));
        let readable = !link.up.bytes.is_empty() || link.up.fin;
        let read_closed = link.up.fin;
        link.edge(Ready {
            readable,
            writable: true,
            read_closed,
        });
    }
}

impl Stream for Wire {
    const SHORT_READ: ShortRead = ShortRead::IsAll;

    fn shutdown_write(&mut self) -> io::Result<()> {
        let mut link = self.0.borrow_mut();
        link.call()?;
        link.down.fin = true;
        link.note(What::Ended);
        link.call_client();
        Ok(())
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(buffer)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut link = self.0.borrow_mut();
        let mut read = 0;
        for buffer in buffers.iter_mut().filter(|buffer| !buffer.is_empty()) {
            if read > 0 && link.up.bytes.is_empty() {
                break;
            }
            let n = match read {
                0 => link.read(buffer)?,
                // It is one call, whose first buffer decided how it went.
                _ => {
                    let n = link.up.bytes.read(buffer)?;
                    n + link.up.bytes.read(&mut buffer[n..])?
                }
            };
            read += n;
            if n < buffer.len() {
                break;
            }
        }
        Ok(read)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.borrow_mut().write(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// As a socket: closed on unread input it is reset, and what the client had not taken is lost.
impl Drop for Wire {
    fn drop(&mut self) {
        let mut link = self.0.borrow_mut();
        link.is_dropped = true;
        link.note(What::Dropped);
        if link.up.bytes.is_empty() {
            link.down.fin = true;
            link.call_client();
        } else {
            link.break_off();
        }
    }
}
