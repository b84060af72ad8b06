//! The peers fed byte by byte.

use bytes::BytesMut;

use crate::{bytewise::contender, frames::Batch, harness::Contender};

/// The peers with a decoder over a buffer; the others zero or move their read buffer for each byte
/// that arrives.
#[must_use]
pub fn bytewise(batch: &Batch) -> Vec<Contender<'_>> {
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
