//! [`Buffers`]: the memory of one event loop, lent to each of its connections in turn.

use ws_proto::{MaskingKeys, Output};

/// When a slow peer is noticed, in bytes that wait for the socket to take them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// From here on sends answer [`Sent::OverHighWater`](crate::Sent::OverHighWater), and a server
    /// does not read from its peer. Default 64 KiB, as asyncio and uWebSockets.
    pub high: usize,
    /// Down to it a connection that was over the high mark is drained. Default 16 KiB, as asyncio.
    pub low: usize,
    /// What is never exceeded but by one message that was sent below the high mark, by what a turn
    /// had corked when the peer turned out to be slow (256 KiB at most), and by replies (4 KiB) and a
    /// Close; beyond, [`Overflow`](crate::Overflow) decides. Default 1 MiB and the high mark.
    pub limit: usize,
}

impl Marks {
    /// The defaults named at each field.
    pub const fn new() -> Self {
        Self {
            high: 64 << 10,
            low: 16 << 10,
            limit: (1 << 20) + (64 << 10),
        }
    }
}

impl Default for Marks {
    fn default() -> Self {
        Self::new()
    }
}

/// The memory of one event loop.
///
/// Connections borrow it for the length of a [`turn`](crate::Connection::turn): they read into one
/// buffer, and what they send is collected in another and written with one call. An idle connection
/// owns no buffer at all.
///
/// It also lends the source of masking keys that a client's frames need, and keeps the memory of a few large messages, so that
/// a peer which sends one after the other does not allocate each time.
pub struct Buffers {
    pub(crate) input: Box<[u8]>,
    pub(crate) output: Box<[u8]>,
    pub(crate) pool: Pool,
    pub(crate) marks: Marks,
    keys: Option<Box<dyn MaskingKeys + Send>>,
}

impl Buffers {
    /// For servers: 128 KiB to read into and 256 KiB to send from.
    pub fn new(marks: Marks) -> Self {
        Self {
            input: vec![0; INPUT].into_boxed_slice(),
            output: vec![0; OUTPUT].into_boxed_slice(),
            pool: Pool::default(),
            marks,
            keys: None,
        }
    }

    /// The same for clients too, whose frames are masked with keys from `keys`.
    pub fn masked(marks: Marks, keys: impl MaskingKeys + Send + 'static) -> Self {
        Self {
            keys: Some(Box::new(keys)),
            ..Self::new(marks)
        }
    }

    /// The input and the output.
    pub(crate) fn lend(&mut self) -> (&mut [u8], Output<'_>) {
        let (input, output, ..) = self.lend_all();
        (input, output)
    }

    /// The input, the output, memory for messages, and the marks.
    #[inline]
    pub(crate) fn lend_all(&mut self) -> (&mut [u8], Output<'_>, &mut Pool, &Marks) {
        let output = match &mut self.keys {
            Some(keys) => Output::masked(&mut self.output, &mut **keys),
            None => Output::new(&mut self.output),
        };
        (&mut self.input, output, &mut self.pool, &self.marks)
    }
}

/// A message of 64 KiB is read at once with its header, and the next one's beginning does no harm.
const INPUT: usize = 128 << 10;
/// Twice the input: an echo of all that was read never has to be written in the middle of a turn.
const OUTPUT: usize = 256 << 10;

/// Memory of large messages that have been delivered, for those that come next.
#[derive(Default)]
pub(crate) struct Pool {
    free: Vec<Vec<u8>>,
    bytes: usize,
}

impl Pool {
    /// What a loop may keep: eight messages of the default limit.
    const KEPT: usize = 8 << 20;

    /// The largest there is, or an empty one.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let memory = self.free.pop().unwrap_or_default();
        self.bytes -= memory.len();
        memory
    }

    /// Keeps it for the next message if there is not too much already.
    pub(crate) fn give(&mut self, memory: Vec<u8>) {
        if memory.is_empty() || self.bytes + memory.len() > Self::KEPT {
            return;
        }
        self.bytes += memory.len();
        let at = self
            .free
            .partition_point(|other| other.len() <= memory.len());
        self.free.insert(at, memory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pool_keeps_little_and_gives_the_largest() {
        let mut pool = Pool::default();
        for len in [10, 30, 20, 0, Pool::KEPT] {
            pool.give(vec![0; len]);
        }
        let lens: Vec<_> = (0..4).map(|_| pool.take().len()).collect();
        assert_eq!((lens, pool.bytes), (vec![30, 20, 10, 0], 0));
    }
}
