//! Randomness that is the same in each run.

/// A small generator (xorshift): good enough to choose cuts, and nothing else.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence that belongs to this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `n`, 0 if that is 0.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % n.max(1)
    }

    /// `count` positions in 0 to `len`, in order. Some lie close together, as segments of a
    /// stream do around a boundary.
    pub fn cuts(&mut self, len: usize, count: usize) -> Vec<usize> {
        let mut cuts: Vec<usize> = (0..count).map(|_| self.below(len + 1)).collect();
        if let Some(&near) = cuts.first() {
            cuts.push((near + self.below(4)).min(len));
        }
        cuts.sort_unstable();
        cuts
    }
}
