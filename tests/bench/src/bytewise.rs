//! Input that arrives one byte at a time: the time per byte must not grow with the message.

use std::hint::black_box;

use bytes::BytesMut;

use crate::{
    frames::Batch,
    harness::{Contender, timed},
};

/// Lengths of the message.
pub const SIZES: [(&str, usize); 3] =
    [("1 KiB", 1 << 10), ("64 KiB", 64 << 10), ("1 MiB", 1 << 20)];

/// Something that is fed the only frame of the batch byte by byte, and returns how many payload bytes came out.
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
        timed(|| {
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

/// The peers with a decoder over a buffer; the others zero or move their read buffer for each byte that arrives.
#[must_use]
pub fn peers(batch: &Batch) -> Vec<Contender<'_>> {
    vec![sockudo(batch), nexus(batch)]
}

fn sockudo(batch: &Batch) -> Contender<'_> {
    use sockudo_ws::protocol::{Message, Protocol, Role};

    let mut protocol = Protocol::new(Role::Server, 16 << 20, 16 << 20);
    let mut buffer = BytesMut::new();
    let mut messages = Vec::new();
    contender("sockudo-ws", batch, move |wire| {
        let mut seen = 0;
        for byte in wire {
            buffer.extend_from_slice(&[*byte]);
            protocol
                .process_into(&mut buffer, &mut messages)
                .expect("a valid frame");
            seen += messages
                .drain(..)
                .map(|message: Message| message.as_bytes().len())
                .sum::<usize>();
        }
        seen
    })
}

fn nexus(batch: &Batch) -> Contender<'_> {
    use nexus_web::ws::{FrameReader, Role};

    let mut reader = FrameReader::builder().role(Role::Server).build();
    contender("nexus-web", batch, move |wire| {
        let mut seen = 0;
        for byte in wire {
            reader.read(&[*byte]).expect("room for a byte");
            if let Some(message) = reader.next().expect("a valid frame") {
                seen += message.as_bytes().len();
            }
        }
        seen
    })
}
