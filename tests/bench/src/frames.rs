//! The input: batches of equal masked frames, as one large read of a busy connection delivers them.

/// What a frame's payload is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A Binary message.
    Binary,
    /// A Text message.
    Text,
}

/// The alphabet of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alphabet {
    /// Any byte.
    Bytes,
    /// English: one byte per character.
    Ascii,
    /// Russian: two bytes per letter, one per space.
    Cyrillic,
    /// Chinese: three bytes per character.
    Cjk,
}

/// Equal frames in one buffer, and what they carry.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Text or Binary.
    pub kind: Kind,
    /// The payload of every frame, unmasked.
    pub payload: Vec<u8>,
    /// How many frames `wire` holds.
    pub frames: usize,
    /// The frames as a client sends them: final and masked.
    pub wire: Vec<u8>,
}

/// One read's worth of small frames: with its pristine copy it fits into L2 and mostly into L1.
const BATCH_BYTES: usize = 16 * 1024;

/// Fewest frames per batch, so that one look at the clock is spread over some work.
const FRAMES_MIN: usize = 4;

impl Batch {
    /// As many frames with `payload_len` bytes of `alphabet` as one read delivers.
    #[must_use]
    pub fn new(kind: Kind, alphabet: Alphabet, payload_len: usize) -> Self {
        let payload = payload(alphabet, payload_len);
        let frames = (BATCH_BYTES / (payload_len + header_len(payload_len))).max(FRAMES_MIN);
        Self::of(kind, payload, frames)
    }

    /// `frames` frames with this payload.
    #[must_use]
    pub fn of(kind: Kind, payload: Vec<u8>, frames: usize) -> Self {
        let mut wire = Vec::new();
        let mut key = 0x9e37_79b9_u32;
        for _ in 0..frames {
            // Another key for each frame, as a client is bound to choose; all four bytes differ
            // from zero.
            key = key.wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35f);
            write_masked(&mut wire, kind, &payload, (key | 0x0101_0101).to_be_bytes());
        }
        Self {
            kind,
            payload,
            frames,
            wire,
        }
    }

    /// The same payloads, sent as `kind`.
    #[must_use]
    pub fn sent_as(&self, kind: Kind) -> Self {
        Self::of(kind, self.payload.clone(), self.frames)
    }

    /// The same frames as a server sends them back: not masked.
    #[must_use]
    pub fn replies(&self) -> Vec<u8> {
        let mut replies = Vec::with_capacity(self.wire.len());
        for frame in self
            .wire
            .chunks_exact(self.header_len() + self.payload.len())
        {
            let header = &frame[..self.header_len() - 4];
            replies.extend_from_slice(&[header[0], header[1] & 0x7f]);
            replies.extend_from_slice(&header[2..]);
            replies.extend_from_slice(&self.payload);
        }
        replies
    }

    /// Bytes before each payload, the masking key included.
    #[must_use]
    pub fn header_len(&self) -> usize {
        header_len(self.payload.len())
    }
}

/// `len` bytes of the alphabet; text is cut at a character and filled up with full stops.
#[must_use]
pub fn payload(alphabet: Alphabet, len: usize) -> Vec<u8> {
    let sample = match alphabet {
        Alphabet::Bytes => return (0..len).map(|i| (i.wrapping_mul(167) >> 3) as u8).collect(),
        Alphabet::Ascii => "The quick brown fox jumps over the lazy dog, and then again. ",
        Alphabet::Cyrillic => "Съешь же ещё этих мягких французских булок да выпей чаю ",
        Alphabet::Cjk => "天地玄黃宇宙洪荒日月盈昃辰宿列張寒來暑往秋收冬藏",
    };
    let mut text = String::with_capacity(len);
    for character in sample.chars().cycle() {
        if text.len() + character.len_utf8() > len {
            break;
        }
        text.push(character);
    }
    let mut bytes = text.into_bytes();
    bytes.resize(len, b'.');
    bytes
}

/// Appends one final masked frame.
pub fn write_masked(wire: &mut Vec<u8>, kind: Kind, payload: &[u8], key: [u8; 4]) {
    let opcode = match kind {
        Kind::Text => 0x1,
        Kind::Binary => 0x2,
    };
    wire.push(0x80 | opcode);
    match payload.len() {
        short @ 0..=125 => wire.push(0x80 | short as u8),
        medium @ 126..=0xffff => {
            wire.push(0x80 | 126);
            wire.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            wire.push(0x80 | 127);
            wire.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    wire.extend_from_slice(&key);
    wire.extend(
        payload
            .iter()
            .enumerate()
            .map(|(i, byte)| byte ^ key[i % 4]),
    );
}

fn header_len(payload_len: usize) -> usize {
    match payload_len {
        0..=125 => 6,
        126..=0xffff => 8,
        _ => 14,
    }
}
