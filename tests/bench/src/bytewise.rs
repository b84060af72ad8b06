//! Input that arrives one byte at a time: the time per byte must not grow with the message.

use std::hint::black_box;

use crate::{
    frames::Batch,
    harness::{Contender, timed_by_cpu},
};

/// Lengths of the message.
pub const SIZES: [(&str, usize); 3] =
    [("1 KiB", 1 << 10), ("64 KiB", 64 << 10), ("1 MiB", 1 << 20)];

/// Something that is fed the only frame of the batch byte by byte, and returns how many payload
/// bytes came out.
pub fn contender<'a>(
    name: &str,
    batch: &'a Batch,
    mut work: impl FnMut(&[u8]) -> usize + 'a,
) -> Contender<'a> {
    assert_eq!(
        work(&batch.wire),
        batch.payload.len(),
        "{name}: payload lost"
    );
    let pass = move || {
        timed_by_cpu(|| {
            black_box(work(black_box(&batch.wire)));
        })
    };
    Contender {
        name: name.to_owned(),
        note: "",
        units: batch.wire.len(),
        pass: Box::new(pass),
    }
}
