//! State. [`Output`]: where replies and sends are appended; masking for clients (RFC 6455 §5.3).

use core::fmt;

use crate::{error::Full, frame::mask::MaskingKey};

/// A source of masking keys.
///
/// RFC 6455 §5.3: "The masking key needs to be unpredictable; thus, the masking key MUST be
/// derived from a strong source of entropy". A fresh key is drawn for each frame; a source that
/// repeats itself, or that a forked process shares, lets web pages write bytes of their choice
/// onto the wire.
///
/// Any `FnMut() -> [u8; 4]` is a source.
pub trait MaskingKeys {
    /// The key of the next frame.
    fn next_key(&mut self) -> [u8; 4];
}

impl<F: FnMut() -> [u8; 4]> MaskingKeys for F {
    fn next_key(&mut self) -> [u8; 4] {
        self()
    }
}

/// A lent buffer that whole frames are appended to, and on a client the source of their masks.
///
/// What is written is all or nothing: a frame that does not fit leaves no trace. Nothing is removed
/// by itself; when the bytes of [`written`](Output::written) have left, [`clear`](Output::clear) it,
/// start a new `Output`, or [`resume`](Output::resume) with what is still queued.
///
/// # Buffers
///
/// 131 bytes ([`REPLY_ROOM`](crate::REPLY_ROOM)) always suffice for the reply to what is received.
/// Sends leave that much free, and 10 more for a ping of the heartbeat. An output of `n` bytes thus
/// takes a message of `n` - 155 bytes.
///
/// ```
/// use ws_proto::Output;
///
/// let mut buffer = [0; 512];
/// let output = Output::new(&mut buffer);
/// assert_eq!(output.room(), 512);
/// assert_eq!(output.written(), b"");
/// ```
pub struct Output<'a> {
    buffer: &'a mut [u8],
    len: usize,
    keys: Option<&'a mut dyn MaskingKeys>,
}

impl<'a> Output<'a> {
    /// An empty output of a server. On a client nothing can be written to it, neither sends nor
    /// replies.
    #[inline]
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Self {
            buffer,
            len: 0,
            keys: None,
        }
    }

    /// An empty output of a client, whose frames are masked with keys from `keys`.
    #[inline]
    pub fn masked(buffer: &'a mut [u8], keys: &'a mut dyn MaskingKeys) -> Self {
        Self {
            buffer,
            len: 0,
            keys: Some(keys),
        }
    }

    /// The same output, appending behind the first `len` bytes of the buffer: what is queued from
    /// before. More than the buffer holds counts as all of it.
    #[inline]
    #[must_use]
    pub fn resume(mut self, len: usize) -> Self {
        self.len = len.min(self.buffer.len());
        self
    }

    /// Forgets what is written: it has left, or is kept elsewhere.
    #[inline]
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// An empty output over another buffer, which draws its masking keys from the same source: for
    /// what does not fit here, or must not stand behind what does.
    ///
    /// ```
    /// use ws_proto::{Config, Connection, Output};
    ///
    /// let mut connection = Connection::client(Config::new());
    /// let (mut small, mut large) = ([0; 160], [0; 1024]);
    /// let mut keys = || [1, 2, 3, 4];
    /// let mut output = Output::masked(&mut small, &mut keys);
    /// assert!(connection.send_binary(&[7; 100], &mut output).is_err());
    /// let mut larger = output.over(&mut large);
    /// assert!(connection.send_binary(&[7; 100], &mut larger).is_ok());
    /// ```
    pub fn over<'o>(&'o mut self, buffer: &'o mut [u8]) -> Output<'o> {
        Output {
            buffer,
            len: 0,
            keys: match &mut self.keys {
                Some(keys) => Some(&mut **keys),
                None => None,
            },
        }
    }

    /// What is to be sent, from the start of the buffer.
    #[inline]
    pub fn written(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }

    /// The length of [`written`](Output::written), in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is to be sent.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bytes may still be appended.
    #[inline]
    pub fn room(&self) -> usize {
        self.buffer.len() - self.len
    }

    pub(crate) fn has_keys(&self) -> bool {
        self.keys.is_some()
    }

    /// A fresh key; `None` if this is a server's output.
    #[inline]
    pub(crate) fn next_key(&mut self) -> Option<MaskingKey> {
        Some(MaskingKey::from(self.keys.as_mut()?.next_key()))
    }

    /// What is free of the buffer.
    #[inline]
    pub(crate) fn spare(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.len..).unwrap_or_default()
    }

    /// The first `n` bytes of what was free are filled.
    #[inline]
    pub(crate) fn advance(&mut self, n: usize) {
        self.len += n;
    }

    /// The next `n` bytes, to be filled by the caller, or `None` when there is less room.
    #[inline]
    pub(crate) fn append(&mut self, n: usize) -> Option<&mut [u8]> {
        let space = self.buffer.get_mut(self.len..)?.get_mut(..n)?;
        self.len += n;
        Some(space)
    }

    /// All of `parts`, one behind the other, or nothing.
    pub(crate) fn append_all(&mut self, parts: &[&[u8]]) -> Result<(), Full> {
        let total = parts.iter().map(|part| part.len()).sum();
        let mut space = self.append(total).ok_or(Full)?;
        for part in parts {
            let Some((head, tail)) = space.split_at_mut_checked(part.len()) else {
                break;
            };
            copy(part, head);
            space = tail;
        }
        Ok(())
    }

    /// What `write` appends, or nothing if it fails.
    pub(crate) fn atomically(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<(), Full>,
    ) -> Result<(), Full> {
        let start = self.len;
        let written = write(self);
        if written.is_err() {
            self.len = start;
        }
        written
    }
}

/// Copies as much as both have: their lengths are equal wherever it is called.
///
/// `copy_from_slice` would compare them and panic. That is dead code here, but a build for size
/// does not see it: it keeps the comparison in a function of its own. This loop has nothing to
/// panic with; where speed counts it becomes `memcpy`.
#[inline]
pub(crate) fn copy(from: &[u8], to: &mut [u8]) {
    for (from, to) in from.iter().zip(to) {
        *to = *from;
    }
}

impl fmt::Debug for Output<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("len", &self.len)
            .field("room", &self.room())
            .field("masked", &self.has_keys())
            .finish()
    }
}
