//! Frames as bytes: a builder that may break every rule, and a reader of what was sent.

use ws_proto::{
    Role,
    frame::{FrameHeader, Opcode, mask::MaskingKey},
};

/// The bytes that a peer sends, frame by frame. It masks as its role asks, with a new key each
/// time, unless it is told to do wrong.
#[derive(Clone, Debug)]
pub struct Frames {
    sender: Role,
    keys: Keys,
    bytes: Vec<u8>,
}

impl Frames {
    /// Nothing yet, of a peer that has this role.
    pub fn of(sender: Role) -> Self {
        Self {
            sender,
            keys: Keys::default(),
            bytes: Vec::new(),
        }
    }

    /// A whole text message; it need not be UTF-8.
    pub fn text(&mut self, payload: impl AsRef<[u8]>) -> &mut Self {
        self.frame(true, Opcode::Text, payload)
    }

    /// A whole binary message.
    pub fn binary(&mut self, payload: impl AsRef<[u8]>) -> &mut Self {
        self.frame(true, Opcode::Binary, payload)
    }

    /// A Ping.
    pub fn ping(&mut self, payload: impl AsRef<[u8]>) -> &mut Self {
        self.frame(true, Opcode::Ping, payload)
    }

    /// A Pong.
    pub fn pong(&mut self, payload: impl AsRef<[u8]>) -> &mut Self {
        self.frame(true, Opcode::Pong, payload)
    }

    /// A Close with a code and a reason.
    pub fn close(&mut self, code: u16, reason: impl AsRef<[u8]>) -> &mut Self {
        let payload = [&code.to_be_bytes()[..], reason.as_ref()].concat();
        self.frame(true, Opcode::Close, payload)
    }

    /// Any frame with RSV bits 0.
    pub fn frame(&mut self, fin: bool, opcode: Opcode, payload: impl AsRef<[u8]>) -> &mut Self {
        let fin = if fin { 0x80 } else { 0 };
        self.first_byte(fin | opcode as u8, payload)
    }

    /// A frame whose FIN, RSV and opcode are these bits.
    pub fn first_byte(&mut self, first: u8, payload: impl AsRef<[u8]>) -> &mut Self {
        self.masked(first, self.sender == Role::Client, payload)
    }

    /// A frame of the wrong role: a client's without a mask, a server's with one.
    pub fn wrong_mask(&mut self, first: u8, payload: impl AsRef<[u8]>) -> &mut Self {
        self.masked(first, self.sender == Role::Server, payload)
    }

    /// A frame that declares any length in any form: `form` has 0, 2 or 8 bytes for it. Behind the
    /// header come only the bytes of `payload`.
    pub fn declared(&mut self, first: u8, form: usize, len: u64, payload: &[u8]) -> &mut Self {
        let masked = self.sender == Role::Client;
        let mask = if masked { 0x80 } else { 0 };
        self.bytes.push(first);
        match form {
            0 => self.bytes.push(mask | len as u8),
            2 => {
                self.bytes.push(mask | 126);
                self.bytes.extend((len as u16).to_be_bytes());
            }
            _ => {
                self.bytes.push(mask | 127);
                self.bytes.extend(len.to_be_bytes());
            }
        }
        let key = if masked { self.keys.next() } else { [0; 4] };
        if masked {
            self.bytes.extend(key);
        }
        let masked_payload = payload.iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k);
        self.bytes.extend(masked_payload);
        self
    }

    /// These bytes, whatever they are.
    pub fn raw(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.bytes.extend_from_slice(bytes.as_ref());
        self
    }

    /// Leaves off the last `n` bytes.
    pub fn cut_off(&mut self, n: usize) -> &mut Self {
        self.bytes.truncate(self.bytes.len() - n);
        self
    }

    /// What was built since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    fn masked(&mut self, first: u8, masked: bool, payload: impl AsRef<[u8]>) -> &mut Self {
        let payload = payload.as_ref();
        let form = match payload.len() {
            0..=125 => 0,
            126..=0xFFFF => 2,
            _ => 8,
        };
        let sender = self.sender;
        self.sender = if masked { Role::Client } else { Role::Server };
        self.declared(first, form, payload.len() as u64, payload);
        self.sender = sender;
        self
    }
}

/// Masking keys that are the same in each run, and never the same twice in one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keys(u32);

impl Keys {
    #[expect(
        clippy::should_implement_trait,
        reason = "the source never ends, and is not an iterator"
    )]
    /// The next key.
    pub fn next(&mut self) -> [u8; 4] {
        self.0 += 1;
        self.0.wrapping_mul(0x9E37_79B9).to_be_bytes()
    }
}

impl ws_proto::MaskingKeys for Keys {
    fn next_key(&mut self) -> [u8; 4] {
        self.next()
    }
}

/// A frame that was read back, its payload unmasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// This is the last fragment of its message.
    pub fin: bool,
    /// The RSV bits where they stand in the first byte.
    pub rsv: u8,
    /// What the frame is.
    pub opcode: Opcode,
    /// Whether it was masked.
    pub masked: bool,
    /// The payload, unmasked.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Reads `bytes`, which are whole frames.
    ///
    /// # Panics
    ///
    /// If they are not.
    pub fn read_all(mut bytes: &[u8]) -> Vec<Self> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let (frame, len) = Self::read(bytes).expect("what is sent is made of whole frames");
            frames.push(frame);
            bytes = &bytes[len..];
        }
        frames
    }

    /// Reads the frame at the start of `bytes`, and says how long it is; `None` if it is not whole.
    ///
    /// # Panics
    ///
    /// If its header cannot be right.
    pub fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let (header, header_len) =
            FrameHeader::parse(bytes).expect("what is sent has good headers")?;
        let len = header_len + usize::try_from(header.payload_len).ok()?;
        let mut payload = bytes.get(header_len..len)?.to_vec();
        let key = header.masking_key.map(MaskingKey::to_bytes);
        for (i, byte) in payload.iter_mut().enumerate() {
            *byte ^= key.map_or(0, |key| key[i % 4]);
        }
        let frame = Self {
            fin: header.fin,
            rsv: header.rsv,
            opcode: header.opcode,
            masked: key.is_some(),
            payload,
        };
        Some((frame, len))
    }
}
