//! Wire. Masking (RFC 6455 §5.3): `transformed[i] = original[i] XOR key[i MOD 4]`.
//!
//! One operation in both directions. Payloads go in blocks that the compiler turns into vector
//! instructions of whatever width the target has (with the feature `simd`, the machine). A payload
//! is never finished byte by byte: its last word is loaded before the blocks are written and stored
//! after them, so that the two may overlap (in the overlap both hold the same bytes). Long payloads
//! go in whole cache lines: a store across two lines costs as much as two (measured at 64 KiB:
//! 1270 ns unaligned and 1120 aligned with SSE2, 860 and 580 with AVX-512).

/// What one round of a loop masks: a register or two on most targets.
const BLOCK: usize = 32;
/// What long payloads are aligned to.
const LINE: usize = 64;
/// From here on aligning pays.
const LONG: usize = 256;

/// A masking key (RFC 6455 §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaskingKey(u32);

impl MaskingKey {
    /// The length of a key on the wire, in bytes.
    pub const LEN: usize = 4;

    /// The key's bytes on the wire.
    pub const fn to_bytes(self) -> [u8; 4] {
        self.0.to_le_bytes()
    }

    /// The key for what comes behind `n` masked bytes.
    #[inline]
    #[must_use]
    pub const fn skip(self, n: usize) -> Self {
        Self(self.0.rotate_right(8 * (n as u32 % 4)))
    }

    /// Masks or unmasks `payload` in place.
    ///
    /// ```
    /// use ws_proto::frame::mask::MaskingKey;
    ///
    /// let mut payload = *b"\x7f\x9f\x4d\x51\x58";
    /// MaskingKey::from([0x37, 0xfa, 0x21, 0x3d]).apply(&mut payload);
    /// assert_eq!(&payload, b"Hello");
    /// ```
    #[inline]
    pub fn apply(self, payload: &mut [u8]) {
        match payload.len() {
            0..4 => self.apply_bytes(payload),
            4..8 => self.apply_ends::<4>(payload),
            8..16 => self.apply_ends::<8>(payload),
            16..=32 => self.apply_ends::<16>(payload),
            33..LONG => self.apply_blocks(payload),
            _ => self.apply_long(payload),
        }
    }

    /// Masks `from` into `to`, which are equally long; what one has more is left alone.
    #[inline]
    pub fn copy(self, from: &[u8], to: &mut [u8]) {
        let len = from.len().min(to.len());
        let (Some(from), Some(to)) = (from.get(..len), to.get_mut(..len)) else {
            return;
        };
        match len {
            0..4 => {
                for ((from, to), key) in from.iter().zip(to).zip(self.to_bytes()) {
                    *to = from ^ key;
                }
            }
            4..8 => self.copy_ends::<4>(from, to),
            8..16 => self.copy_ends::<8>(from, to),
            16..=32 => self.copy_ends::<16>(from, to),
            _ => {
                let blocks = from.as_chunks::<BLOCK>().0;
                for (from, to) in blocks.iter().zip(to.as_chunks_mut::<BLOCK>().0) {
                    *to = self.xor(*from);
                }
                self.copy_ends::<BLOCK>(from, to);
            }
        }
    }

    /// Of at least `N` bytes, the first `N` and the last `N`.
    #[inline]
    fn copy_ends<const N: usize>(self, from: &[u8], to: &mut [u8]) {
        let tail_key = self.skip(from.len());
        if let (Some(from), Some(to)) = (from.first_chunk::<N>(), to.first_chunk_mut::<N>()) {
            *to = self.xor(*from);
        }
        if let (Some(from), Some(to)) = (from.last_chunk::<N>(), to.last_chunk_mut::<N>()) {
            *to = tail_key.xor(*from);
        }
    }

    #[inline]
    fn apply_bytes(self, payload: &mut [u8]) {
        for (byte, key) in payload.iter_mut().zip(self.to_bytes()) {
            *byte ^= key;
        }
    }

    /// Of `N` to 2 × `N` bytes, the first `N` and the last `N`.
    #[inline]
    fn apply_ends<const N: usize>(self, payload: &mut [u8]) {
        let tail_key = self.skip(payload.len());
        let (Some(&first), Some(&last)) = (payload.first_chunk::<N>(), payload.last_chunk::<N>())
        else {
            return;
        };
        if let Some(to) = payload.last_chunk_mut::<N>() {
            *to = tail_key.xor(last);
        }
        if let Some(to) = payload.first_chunk_mut::<N>() {
            *to = self.xor(first);
        }
    }

    fn apply_blocks(self, payload: &mut [u8]) {
        let tail_key = self.skip(payload.len());
        let Some(&last) = payload.last_chunk::<BLOCK>() else {
            return;
        };
        let blocks_len = payload.len() / BLOCK * BLOCK;
        let Some((blocks, _)) = payload.split_at_mut_checked(blocks_len - BLOCK) else {
            return;
        };
        for block in blocks.as_chunks_mut::<BLOCK>().0 {
            *block = self.xor(*block);
        }
        let Some((_, ends)) = payload.split_at_mut_checked(blocks_len - BLOCK) else {
            return;
        };
        let Some(&first) = ends.first_chunk::<BLOCK>() else {
            return;
        };
        if let Some(to) = ends.last_chunk_mut::<BLOCK>() {
            *to = tail_key.xor(last);
        }
        if let Some(to) = ends.first_chunk_mut::<BLOCK>() {
            *to = self.xor(first);
        }
    }

    #[inline(never)]
    fn apply_long(self, payload: &mut [u8]) {
        let start = payload.as_ptr().align_offset(LINE).min(payload.len());
        let Some((head, rest)) = payload.split_at_mut_checked(start) else {
            return;
        };
        self.apply(head);
        let key = self.skip(start);
        let (lines, tail) = rest.as_chunks_mut::<LINE>();
        key.apply_lines(lines);
        key.apply(tail);
    }

    #[cfg(not(feature = "simd"))]
    fn apply_lines(self, lines: &mut [[u8; LINE]]) {
        for line in lines {
            *line = self.xor(*line);
        }
    }

    /// The same with the widest vectors that the machine has.
    #[cfg(feature = "simd")]
    fn apply_lines(self, lines: &mut [[u8; LINE]]) {
        use fearless_simd::{Bytes, Level, Simd, SimdBase, dispatch, u8x64, u32x16};

        #[inline(always)]
        fn apply_lines<S: Simd>(simd: S, MaskingKey(key): MaskingKey, lines: &mut [[u8; LINE]]) {
            simd.vectorize(
                #[inline(always)]
                || {
                    let pattern = u32x16::splat(simd, key.to_le()).to_bytes();
                    for line in lines {
                        (u8x64::from_slice(simd, line) ^ pattern).store_slice(line);
                    }
                },
            );
        }
        dispatch!(Level::new(), simd => apply_lines(simd, self, lines));
    }

    /// Whole words, masked.
    #[inline]
    fn xor<const N: usize>(self, mut bytes: [u8; N]) -> [u8; N] {
        for word in bytes.as_chunks_mut::<4>().0 {
            *word = (u32::from_le_bytes(*word) ^ self.0).to_le_bytes();
        }
        bytes
    }
}

impl From<[u8; 4]> for MaskingKey {
    #[inline]
    fn from(key: [u8; 4]) -> Self {
        Self(u32::from_le_bytes(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    fn reference(offset: usize, payload: &mut [u8]) {
        for (i, byte) in payload.iter_mut().enumerate() {
            *byte ^= KEY[(offset + i) % 4];
        }
    }

    #[test]
    fn every_length_alignment_and_offset_agrees_with_the_definition() {
        let source: [u8; 480] = core::array::from_fn(|i| (i * 7 + 13) as u8);
        for len in (0..=130).chain([255, 256, 257, 300, 383, 449]) {
            for start in 0..16 {
                for offset in 0..4 {
                    let mut expected = source;
                    reference(offset, &mut expected[start..start + len]);
                    let key = MaskingKey::from(KEY).skip(offset);

                    let mut applied = source;
                    key.apply(&mut applied[start..start + len]);
                    assert_eq!(applied, expected, "apply {len} at {start} + {offset}");

                    let mut copied = source;
                    key.copy(&source[start..start + len], &mut copied[start..start + len]);
                    assert_eq!(copied, expected, "copy {len} at {start} + {offset}");
                }
            }
        }
    }
}
