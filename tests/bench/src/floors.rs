//! The least that can be done: what no protocol code can undercut, written as well as safe Rust
//! allows.

use std::hint::black_box;

use crate::{
    decode::Decoder,
    frames::{Batch, Kind},
};

/// A way to apply a masking key in place.
pub type Kernel = fn(&mut [u8], [u8; 4]);

/// Masking kernels. Compilers treat them very differently from one target CPU to the next, so that
/// the floor is whichever of them is fastest in the race at hand.
pub const KERNELS: [(&str, Kernel); 5] = [
    ("xor by u64", xor_words),
    ("xor by 16", xor::<16>),
    ("xor by 32", xor::<32>),
    ("xor by 64", xor::<64>),
    ("xor, ends overlapping", unmask),
];

/// XOR in blocks of `N` bytes, a multiple of the key's four.
#[inline]
pub fn xor<const N: usize>(payload: &mut [u8], key: [u8; 4]) {
    let wide = repeat::<N>(key);
    let (blocks, rest) = payload.as_chunks_mut::<N>();
    for block in blocks {
        *block = xored(block, &wide);
    }
    for (byte, key) in rest.iter_mut().zip(wide) {
        *byte ^= key;
    }
}

/// XOR by machine words: the loop that everybody writes first.
#[inline]
pub fn xor_words(payload: &mut [u8], key: [u8; 4]) {
    let wide = u64::from_ne_bytes(repeat(key));
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(repeat::<8>(key)) {
        *byte ^= key;
    }
}

/// XOR of any length without a loop over single bytes: the last block is read first and written
/// last, so that it may overlap the others.
#[inline]
pub fn unmask(payload: &mut [u8], key: [u8; 4]) {
    match payload.len() {
        0..4 => xor::<4>(payload, key),
        4..8 => xor_overlapping::<4>(payload, key),
        8..16 => xor_overlapping::<8>(payload, key),
        16..32 => xor_overlapping::<16>(payload, key),
        _ => xor_overlapping::<32>(payload, key),
    }
}

/// Of at least `N` bytes: whole blocks, then the last `N`.
#[inline]
fn xor_overlapping<const N: usize>(payload: &mut [u8], key: [u8; 4]) {
    let wide = repeat::<N>(key);
    let tail = u32::from_ne_bytes(key).rotate_right(8 * (payload.len() as u32 % 4));
    let last = xored(
        payload.last_chunk().expect("N bytes"),
        &repeat::<N>(tail.to_ne_bytes()),
    );
    for block in payload.as_chunks_mut::<N>().0 {
        *block = xored(block, &wide);
    }
    *payload.last_chunk_mut().expect("N bytes") = last;
}

fn xored<const N: usize>(bytes: &[u8; N], key: &[u8; N]) -> [u8; N] {
    std::array::from_fn(|i| bytes[i] ^ key[i])
}

fn repeat<const N: usize>(key: [u8; 4]) -> [u8; N] {
    std::array::from_fn(|i| key[i % 4])
}

/// XOR from one buffer into another of the same length, for a client's frames.
#[inline]
pub fn xor_copy<const N: usize>(from: &[u8], to: &mut [u8], key: [u8; 4]) {
    let wide = repeat::<N>(key);
    let (from_blocks, from_rest) = from.as_chunks::<N>();
    let (to_blocks, to_rest) = to.as_chunks_mut::<N>();
    for (from, to) in from_blocks.iter().zip(to_blocks) {
        *to = xored(from, &wide);
    }
    for ((from, to), key) in from_rest.iter().zip(to_rest).zip(wide) {
        *to = from ^ key;
    }
}

/// The same without a loop over single bytes: the last block overlaps the others.
#[inline]
pub fn mask_copy(from: &[u8], to: &mut [u8], key: [u8; 4]) {
    match from.len() {
        0..4 => xor_copy::<4>(from, to, key),
        4..8 => xor_copy_overlapping::<4>(from, to, key),
        8..16 => xor_copy_overlapping::<8>(from, to, key),
        16..32 => xor_copy_overlapping::<16>(from, to, key),
        _ => xor_copy_overlapping::<32>(from, to, key),
    }
}

/// Of at least `N` bytes: whole blocks, then the last `N`.
#[inline]
fn xor_copy_overlapping<const N: usize>(from: &[u8], to: &mut [u8], key: [u8; 4]) {
    let wide = repeat::<N>(key);
    let tail = u32::from_ne_bytes(key).rotate_right(8 * (from.len() as u32 % 4));
    for (from, to) in from
        .as_chunks::<N>()
        .0
        .iter()
        .zip(to.as_chunks_mut::<N>().0)
    {
        *to = xored(from, &wide);
    }
    let last = from.last_chunk().expect("N bytes");
    *to.last_chunk_mut().expect("N bytes") = xored(last, &repeat::<N>(tail.to_ne_bytes()));
}

/// Unmasks every payload of the batch, whose headers are known and not looked at.
pub fn unmask_all(kernel: Kernel, wire: &mut [u8], batch: &Batch, mut then: impl FnMut(&[u8])) {
    let header = batch.header_len();
    for frame in wire.chunks_exact_mut(header + batch.payload.len()) {
        let (header, payload) = frame.split_at_mut(header);
        let key = header
            .last_chunk::<4>()
            .expect("a header ends with the key");
        kernel(payload, *key);
        then(black_box(payload));
    }
}

/// A decoder that keeps no state and checks nothing but its own bounds: header, XOR, on to the
/// next.
#[derive(Debug)]
pub struct Stateless {
    buffer: Vec<u8>,
}

impl Decoder for Stateless {
    const NAME: &'static str = "floor: stateless";
    const CHECKS: &'static str = "none";

    fn new(batch: &Batch) -> Self {
        Self {
            buffer: batch.wire.clone(),
        }
    }

    fn load(&mut self, wire: &[u8]) {
        self.buffer.copy_from_slice(wire);
    }

    fn drain(&mut self, frames: usize, mut sink: impl FnMut(Kind, &[u8])) {
        let mut input = self.buffer.as_mut_slice();
        for _ in 0..frames {
            let kind = if input[0] & 0xf == 1 {
                Kind::Text
            } else {
                Kind::Binary
            };
            let (len, header) = match input[1] & 0x7f {
                126 => (usize::from(u16::from_be_bytes([input[2], input[3]])), 8),
                127 => {
                    let len = input[2..].first_chunk().expect("a whole header");
                    (u64::from_be_bytes(*len) as usize, 14)
                }
                len => (usize::from(len), 6),
            };
            let (frame, rest) = std::mem::take(&mut input).split_at_mut(header + len);
            let (header, payload) = frame.split_at_mut(header);
            let key = header
                .last_chunk::<4>()
                .expect("a header ends with the key");
            unmask(payload, *key);
            sink(kind, payload);
            input = rest;
        }
    }
}
