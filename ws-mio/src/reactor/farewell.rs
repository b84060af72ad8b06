//! State. The end of a stream: the last answer, the end of our half, and then what still comes is
//! thrown away for a while (RFC 6455 §7.1.1).

use std::io::{self, ErrorKind};

use super::Stream;
use crate::connection::{Ready, ShortRead, Turn};

/// A stream that is being ended. Closed on unread input it would be reset, and the reset might take
/// our last frames away from the peer.
pub(super) struct Farewell<S> {
    stream: S,
    answer: Vec<u8>,
    written: usize,
    half: Half,
    readable: bool,
    /// The peer's half is known to end.
    read_closed: bool,
    /// How many bytes may still come.
    patience: usize,
    pub(super) end_ms: u64,
}

/// Our half of the stream.
#[derive(PartialEq, Eq)]
enum Half {
    Open,
    Ended,
}

/// As long as cowboy lingers, and as much as one socket buffer.
const PATIENCE_MS: u64 = 1_000;
const PATIENCE: usize = 64 << 10;

impl<S: Stream> Farewell<S> {
    /// `answer` is still to be written.
    pub(super) fn new(stream: S, answer: Vec<u8>, ready: Ready, now_ms: u64) -> Self {
        Self {
            stream,
            answer,
            written: 0,
            half: Half::Open,
            readable: ready.readable,
            read_closed: ready.read_closed,
            patience: PATIENCE,
            end_ms: now_ms.saturating_add(PATIENCE_MS),
        }
    }

    /// Does what can be done without waiting. Behind [`Turn::Closed`] the stream is to be dropped.
    pub(super) fn turn(&mut self, ready: Ready, buffer: &mut [u8]) -> Turn {
        self.readable |= ready.readable || ready.read_closed;
        self.read_closed |= ready.read_closed;
        self.run(buffer).unwrap_or(Turn::Closed)
    }

    fn run(&mut self, buffer: &mut [u8]) -> io::Result<Turn> {
        while self.written < self.answer.len() {
            match unless_blocked(|| self.stream.write(&self.answer[self.written..]))? {
                Some(0) => return Err(ErrorKind::WriteZero.into()),
                Some(n) => self.written += n,
                None => return Ok(Turn::Wait),
            }
        }
        if self.half == Half::Open {
            self.stream.shutdown_write()?;
            self.half = Half::Ended;
        }
        if !self.readable {
            return Ok(Turn::Wait);
        }
        Ok(match unless_blocked(|| self.stream.read(buffer))? {
            None => {
                self.readable = false;
                Turn::Wait
            }
            Some(n) if n == 0 || n > self.patience => Turn::Closed,
            Some(n) => {
                self.patience -= n;
                let is_all = n < buffer.len() && S::SHORT_READ == ShortRead::IsAll;
                self.readable = !is_all || self.read_closed;
                if self.readable {
                    Turn::Again
                } else {
                    Turn::Wait
                }
            }
        })
    }
}

/// `None` when the call would block.
fn unless_blocked(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        match call() {
            Ok(n) => return Ok(Some(n)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    /// A socket with bytes and the end in it, told by one edge.
    struct Ended<'a>(&'a [u8]);

    impl Read for Ended<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for Ended<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Stream for Ended<'_> {
        const SHORT_READ: ShortRead = ShortRead::IsAll;

        fn shutdown_write(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_end_is_found_behind_what_came_with_it() {
        let mut farewell = Farewell::new(Ended(b"x"), b"answer".to_vec(), Ready::AGAIN, 0);
        let edge = Ready {
            readable: true,
            writable: true,
            read_closed: true,
        };
        let mut buffer = [0; 8];
        assert_eq!(farewell.turn(edge, &mut buffer), Turn::Again);
        assert_eq!(farewell.turn(Ready::AGAIN, &mut buffer), Turn::Closed);
    }
}
