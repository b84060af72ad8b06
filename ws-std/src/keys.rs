//! Masking keys: one CSPRNG per thread, seeded by the operating system (RFC 6455 §5.3, §10.3).

use std::{cell::RefCell, process};

use chacha20::{
    ChaCha12Rng,
    rand_core::{Rng, SeedableRng},
};
use ws_proto::MaskingKeys;

/// The masking keys of the current thread.
///
/// RFC 6455 §5.3: "the masking key MUST be derived from a strong source of entropy, and the masking
/// key for a given frame MUST NOT make it simple for a server/proxy to predict the masking key for
/// a subsequent frame." A system call per frame would be that, too, but cost more than the frame.
#[derive(Debug, Default)]
pub(crate) struct ThreadKeys {
    checked: Checked,
}

/// Whether this process was compared with the one that seeded, since the last write.
#[derive(Debug, Default, PartialEq, Eq)]
enum Checked {
    #[default]
    No,
    Yes,
}

impl ThreadKeys {
    /// The next key belongs to another write: the process may have forked since.
    pub(crate) fn expire(&mut self) {
        self.checked = Checked::No;
    }
}

impl MaskingKeys for ThreadKeys {
    fn next_key(&mut self) -> [u8; 4] {
        GENERATOR.with_borrow_mut(|generator| {
            // A forked child would repeat its parent's keys. Asking who we are is a system call, so
            // it is asked once for all the keys of one write.
            if self.checked == Checked::No {
                let process = process::id();
                if generator.process != process {
                    *generator = Generator::seeded(process);
                }
                self.checked = Checked::Yes;
            }
            generator.rng.next_u32().to_ne_bytes()
        })
    }
}

/// Bytes that nobody can guess, straight from the operating system.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has randomness");
    bytes
}

struct Generator {
    rng: ChaCha12Rng,
    process: u32,
}

impl Generator {
    fn seeded(process: u32) -> Self {
        Self {
            rng: ChaCha12Rng::from_seed(random()),
            process,
        }
    }
}

thread_local! {
    static GENERATOR: RefCell<Generator> = RefCell::new(Generator::seeded(process::id()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_and_a_change_of_process_reseeds() {
        let mut keys = ThreadKeys::default();
        let first: Vec<_> = (0..64).map(|_| keys.next_key()).collect();
        assert!(first.windows(2).any(|pair| pair[0] != pair[1]));

        // What a forked child sees: the parent's generator, and another process id.
        let seed = [7; 32];
        GENERATOR.with_borrow_mut(|generator| {
            generator.rng = ChaCha12Rng::from_seed(seed);
            generator.process ^= 1;
        });
        let parents = ChaCha12Rng::from_seed(seed).next_u32().to_ne_bytes();
        keys.expire();
        assert_ne!(keys.next_key(), parents, "the child repeats its parent");
        GENERATOR.with_borrow(|generator| assert_eq!(generator.process, process::id()));
    }
}
