//! Encoding races: payloads in, frames out.

use std::hint::black_box;

use ws_proto::MaskingKeys;

use crate::{
    decode::Decoder,
    floors::{self, Stateless},
    frames::{Batch, Kind},
    harness::{Contender, timed},
};

/// Which end sends: a client masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// Frames without masking key.
    Server,
    /// Masked frames.
    Client,
}

/// Header and `memcpy`, or header and XOR while copying: names of the floors.
pub const FLOORS: [&str; 4] = [
    "floor: memcpy",
    "floor: xor by 32",
    "floor: xor by 64",
    "floor: xor, ends overlapping",
];

/// Something that writes `batch.frames` Binary frames behind one another into memory it keeps.
///
/// The bytes written are the work's result, for the verification.
pub fn contender<'a>(
    name: &str,
    sender: Sender,
    batch: &'a Batch,
    mut work: impl FnMut(&[u8], &mut Vec<u8>) + 'a,
) -> Contender<'a> {
    let mut output = Vec::new();
    work(&batch.payload, &mut output);
    verify(name, sender, batch, &output);
    let pass = move || timed(|| work(black_box(&batch.payload), black_box(&mut output)));
    Contender {
        name: name.to_owned(),
        note: "",
        units: batch.frames,
        pass: Box::new(pass),
    }
}

/// The floors: what has to be done, into a slice of sufficient size.
#[must_use]
pub fn floors(sender: Sender, batch: &Batch) -> Vec<Contender<'_>> {
    let frames = batch.frames;
    match sender {
        Sender::Server => vec![contender(
            FLOORS[0],
            sender,
            batch,
            move |payload: &[u8], output: &mut Vec<u8>| {
                output.resize(room(payload.len(), frames), 0);
                let mut at = 0;
                for _ in 0..frames {
                    at += write_header(&mut output[at..], payload.len(), None);
                    output[at..at + payload.len()].copy_from_slice(payload);
                    at += payload.len();
                }
            },
        )],
        Sender::Client => vec![
            xor_floor(FLOORS[1], batch, floors::xor_copy::<32>),
            xor_floor(FLOORS[2], batch, floors::xor_copy::<64>),
            xor_floor(FLOORS[3], batch, floors::mask_copy),
        ],
    }
}

fn xor_floor<'a>(
    name: &str,
    batch: &'a Batch,
    xor: impl Fn(&[u8], &mut [u8], [u8; 4]) + 'a,
) -> Contender<'a> {
    let frames = batch.frames;
    let mut keys = Keys::default();
    contender(name, Sender::Client, batch, move |payload, output| {
        output.resize(room(payload.len(), frames), 0);
        // Drawn as from an application's generator, which our sends cannot see through either.
        let keys: &mut dyn MaskingKeys = black_box(&mut keys);
        let mut at = 0;
        for _ in 0..frames {
            let key = keys.next_key();
            at += write_header(&mut output[at..], payload.len(), Some(key));
            xor(payload, &mut output[at..at + payload.len()], key);
            at += payload.len();
        }
    })
}

/// The cheapest keys that are not all alike: what is measured is not the generator.
#[derive(Clone, Copy, Debug)]
pub struct Keys(u32);

impl Default for Keys {
    fn default() -> Self {
        Self(0x9e37_79b9)
    }
}

impl MaskingKeys for Keys {
    #[inline]
    fn next_key(&mut self) -> [u8; 4] {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0.to_ne_bytes()
    }
}

/// Enough for `frames` frames with headers of any length.
#[must_use]
pub fn room(payload_len: usize, frames: usize) -> usize {
    (payload_len + 14) * frames
}

/// A final Binary header; its length is returned.
#[inline]
fn write_header(to: &mut [u8], payload_len: usize, key: Option<[u8; 4]>) -> usize {
    let mask = if key.is_some() { 0x80 } else { 0 };
    to[0] = 0x82;
    let len = match payload_len {
        0..=125 => {
            to[1] = mask | payload_len as u8;
            2
        }
        126..=0xffff => {
            to[1] = mask | 126;
            to[2..4].copy_from_slice(&(payload_len as u16).to_be_bytes());
            4
        }
        _ => {
            to[1] = mask | 127;
            to[2..10].copy_from_slice(&(payload_len as u64).to_be_bytes());
            10
        }
    };
    match key {
        Some(key) => {
            to[len..len + 4].copy_from_slice(&key);
            len + 4
        }
        None => len,
    }
}

fn verify(name: &str, sender: Sender, batch: &Batch, output: &[u8]) {
    let mut expected = Vec::new();
    let mut header = [0; 14];
    let key = (sender == Sender::Client).then_some([0; 4]);
    let len = write_header(&mut header, batch.payload.len(), key);
    for _ in 0..batch.frames {
        expected.extend_from_slice(&header[..len]);
        expected.extend_from_slice(&batch.payload);
    }
    assert!(
        output.len() >= expected.len(),
        "{name}: {} bytes written",
        output.len()
    );
    let output = &output[..expected.len()];
    match sender {
        Sender::Server => assert!(output == expected, "{name}: wrong frames"),
        Sender::Client => {
            let mut decoder = Stateless::new(batch);
            decoder.load(output);
            decoder.drain(batch.frames, |kind, payload| {
                assert!(
                    kind == Kind::Binary && payload == batch.payload,
                    "{name}: wrong frames"
                );
            });
        }
    }
}
