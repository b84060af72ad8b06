//! Randomness that nobody can predict: one generator for each loop, seeded by the operating system.

use chacha20::{
    ChaCha12Rng,
    rand_core::{Rng, SeedableRng},
};

/// A generator of its own.
pub(crate) fn generator() -> Box<dyn FnMut() -> u64 + Send> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).expect("the operating system has randomness");
    let mut generator = ChaCha12Rng::from_seed(seed);
    Box::new(move || generator.next_u64())
}
