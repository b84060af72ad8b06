//! What happened, for those who read it after a failure, and for those who compare two runs.

use std::{collections::VecDeque, fmt};

use crate::connection::Ready;

/// The last lines of what happened, and a digest of all of them.
pub(super) struct Transcript {
    pub(super) now_ms: u64,
    lines: VecDeque<Line>,
    count: u64,
    digest: Digest,
}

#[derive(Clone, Copy)]
struct Line {
    at_ms: u64,
    client: usize,
    what: What,
}

/// What happened to one connection.
#[derive(Clone, Copy)]
pub(super) enum What {
    Dialled(usize),
    Arrived(usize, bool),
    Ready(Ready),
    Read(usize),
    ReadEnd,
    Wrote(usize, usize),
    Interrupted,
    Blocked,
    Ended,
    Dropped,
    Reset,
    /// The client received this: a word, the length and a digest of the rest.
    Received(&'static str, usize, u64),
}

/// So many lines are shown; a flood of others is only in the digest.
const SHOWN: usize = 200;

impl Transcript {
    pub(super) fn new(now_ms: u64) -> Self {
        Self {
            now_ms,
            lines: VecDeque::with_capacity(SHOWN),
            count: 0,
            digest: Digest::NEW,
        }
    }

    pub(super) fn note(&mut self, client: usize, what: What) {
        let line = Line {
            at_ms: self.now_ms,
            client,
            what,
        };
        // The digest has no failures.
        _ = fmt::write(&mut self.digest, format_args!("{line}\n"));
        self.count += 1;
        if self.lines.len() == SHOWN {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} lines, digest {:016x}", self.count, self.digest.0)?;
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9} ms  #{}  ", self.at_ms, self.client)?;
        let end = |fin: bool| if fin { ", and the end" } else { "" };
        match self.what {
            What::Dialled(loop_index) => write!(f, "connects to loop {loop_index}"),
            What::Arrived(n, fin) => write!(f, "> {n} bytes arrive{}", end(fin)),
            What::Ready(ready) => {
                let word = |is: bool, word| if is { word } else { "" };
                let readable = word(ready.readable, " readable");
                let writable = word(ready.writable, " writable");
                let read_closed = word(ready.read_closed, " read-closed");
                write!(f, "  is told:{readable}{writable}{read_closed}")
            }
            What::Read(n) => write!(f, "  reads {n}"),
            What::ReadEnd => write!(f, "  reads the end"),
            What::Wrote(n, of) => write!(f, "  writes {n} of {of}"),
            What::Interrupted => write!(f, "  is interrupted"),
            What::Blocked => write!(f, "  would block"),
            What::Ended => write!(f, "  ends its half"),
            What::Dropped => write!(f, "  lets go"),
            What::Reset => write!(f, "! reset"),
            What::Received(word, len, digest) => write!(f, "< {word} of {len} ({digest:016x})"),
        }
    }
}

/// FNV-1a: not for security, but for comparing.
#[derive(Clone, Copy)]
pub(super) struct Digest(pub(super) u64);

impl Digest {
    pub(super) const NEW: Self = Self(0xCBF2_9CE4_8422_2325);

    pub(super) fn of(bytes: &[u8]) -> u64 {
        let mut digest = Self::NEW;
        digest.add(bytes);
        digest.0
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3);
        }
    }
}

impl fmt::Write for Digest {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.add(s.as_bytes());
        Ok(())
    }
}
