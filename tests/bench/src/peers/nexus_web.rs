//! nexus-web: `FrameReader`, a sans-I/O decoder over its own buffer.

use nexus_web::ws::{FrameReader, Message, Role};

use crate::{
    decode::Decoder,
    frames::{Batch, Kind},
};

/// `FrameReader::next`; messages borrow from the reader's buffer.
pub struct NexusWeb {
    reader: FrameReader,
}

impl Decoder for NexusWeb {
    const NAME: &'static str = "nexus-web";
    const CHECKS: &'static str = "RSV, opcode, mask, control, fragments, UTF-8 (SIMD)";

    fn new(batch: &Batch) -> Self {
        // Room for one more frame: a buffer that is exactly full would be compacted.
        let capacity = batch.wire.len() * 2;
        Self {
            reader: FrameReader::builder()
                .role(Role::Server)
                .buffer_capacity(capacity)
                .build(),
        }
    }

    fn load(&mut self, wire: &[u8]) {
        // Its way to read from a socket is into `spare()`, like this.
        self.reader.reset();
        self.reader.read(wire).expect("room for the batch");
    }

    fn drain(&mut self, _: usize, mut sink: impl FnMut(Kind, &[u8])) {
        while let Some(message) = self.reader.next().expect("valid frames") {
            match message {
                Message::Text(text) => sink(Kind::Text, text.as_bytes()),
                Message::Binary(bytes) => sink(Kind::Binary, bytes),
                _ => {}
            }
        }
    }
}
