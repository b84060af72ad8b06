//! sockudo-ws: `Protocol::process_into`, a sans-I/O decoder over `BytesMut`.

use bytes::BytesMut;
use sockudo_ws::protocol::{Message, Protocol, Role};

use crate::{
    decode::Decoder,
    frames::{Batch, Kind},
};

const LIMIT: usize = 16 << 20;

/// `Protocol::process_into`; its messages share the buffer they arrived in.
pub struct SockudoWs {
    protocol: Protocol,
    buffer: BytesMut,
    messages: Vec<Message>,
}

impl Decoder for SockudoWs {
    const NAME: &'static str = "sockudo-ws";
    const CHECKS: &'static str = "RSV, opcode, mask, control, length, fragments, UTF-8 (SIMD)";

    fn new(batch: &Batch) -> Self {
        Self {
            protocol: Protocol::new(Role::Server, LIMIT, LIMIT),
            buffer: BytesMut::with_capacity(batch.wire.len()),
            messages: Vec::with_capacity(batch.frames),
        }
    }

    fn load(&mut self, wire: &[u8]) {
        // With the last batch's messages gone the buffer is its own again.
        self.messages.clear();
        self.buffer.clear();
        self.buffer.extend_from_slice(wire);
    }

    fn drain(&mut self, _: usize, mut sink: impl FnMut(Kind, &[u8])) {
        self.protocol
            .process_into(&mut self.buffer, &mut self.messages)
            .expect("valid frames");
        for message in self.messages.drain(..) {
            match &message {
                Message::Text(text) => sink(Kind::Text, text),
                Message::Binary(bytes) => sink(Kind::Binary, bytes),
                _ => {}
            }
        }
    }
}
