//! Decoding races: masked frames in, messages out.

use std::{hint::black_box, time::Duration};

use crate::{
    frames::{Batch, Kind},
    harness::{Contender, timed},
};

/// A decoder, ours or a peer's, driven without sockets.
pub trait Decoder {
    /// Its name in the table.
    const NAME: &'static str;
    /// Which of the RFC's checks it makes, in a few words.
    const CHECKS: &'static str;
    /// Whether `drain` copies the batch out of a reader. Decoders that lend out their buffer get
    /// the bytes in `load`, which is not timed; from the others the time of one `memcpy` of the
    /// batch, taken in the same round, is deducted.
    const READS: bool = false;

    /// A decoder with buffers fit for the batch.
    fn new(batch: &Batch) -> Self;

    /// Brings in the pristine bytes, unless a reader does. Not timed: it stands for the socket.
    fn load(&mut self, wire: &[u8]) {
        assert!(
            Self::READS,
            "{} was loaded with {} bytes in vain",
            Self::NAME,
            wire.len()
        );
    }

    /// Decodes all that was loaded; every message goes to the sink.
    fn drain(&mut self, frames: usize, sink: impl FnMut(Kind, &[u8]));
}

/// What is deducted from decoders that read: it has this name in every race.
pub const COPY: &str = "memcpy of the batch";

/// A decoder as contender, after it has shown that it decodes.
pub fn contender<'a, D: Decoder + 'a>(batch: &'a Batch) -> Contender<'a> {
    let mut decoder = D::new(batch);
    verify(&mut decoder, batch);
    let pass = move || {
        decoder.load(&batch.wire);
        timed(|| {
            decoder.drain(batch.frames, |kind, payload| {
                black_box((kind, payload));
            })
        })
    };
    Contender {
        name: D::NAME.to_owned(),
        note: D::CHECKS,
        units: batch.frames,
        pass: Box::new(pass),
    }
}

/// What a contender that is no decoder does to the loaded batch.
pub fn floor<'a>(
    name: &str,
    batch: &'a Batch,
    mut work: impl FnMut(&mut [u8]) + 'a,
) -> Contender<'a> {
    let mut buffer = batch.wire.clone();
    let pass = move || -> Duration {
        buffer.copy_from_slice(&batch.wire);
        timed(|| work(&mut buffer))
    };
    Contender {
        name: name.to_owned(),
        note: "",
        units: batch.frames,
        pass: Box::new(pass),
    }
}

/// The copy which decoders that read make inside the measured time.
pub fn copy(batch: &Batch) -> Contender<'_> {
    let mut buffer = batch.wire.clone();
    let pass = move || timed(|| black_box(&mut buffer[..]).copy_from_slice(black_box(&batch.wire)));
    Contender {
        name: COPY.to_owned(),
        note: "",
        units: batch.frames,
        pass: Box::new(pass),
    }
}

/// Three times, since decoders that keep their buffers differ between the first batch and the
/// second.
fn verify<D: Decoder>(decoder: &mut D, batch: &Batch) {
    for _ in 0..3 {
        let mut seen = 0;
        decoder.load(&batch.wire);
        decoder.drain(batch.frames, |kind, payload| {
            assert!(kind == batch.kind, "{}: wrong kind", D::NAME);
            assert!(payload == batch.payload, "{}: wrong payload", D::NAME);
            seen += 1;
        });
        assert_eq!(seen, batch.frames, "{}: frames lost", D::NAME);
    }
}
