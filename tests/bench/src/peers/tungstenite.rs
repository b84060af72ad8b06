//! tungstenite: the blocking state machine over a reader.

use tungstenite::{Message, WebSocket, protocol::Role};

use super::Memory;
use crate::{
    decode::Decoder,
    frames::{Batch, Kind},
};

/// `WebSocket::read` over memory, in its default configuration.
#[derive(Debug)]
pub struct Tungstenite {
    websocket: WebSocket<Memory>,
}

impl Decoder for Tungstenite {
    const NAME: &'static str = "tungstenite";
    const CHECKS: &'static str = "RSV, opcode, mask, control, fragments, UTF-8 (std)";
    const READS: bool = true;

    fn new(batch: &Batch) -> Self {
        let memory = Memory::holding(&batch.wire);
        Self {
            websocket: WebSocket::from_raw_socket(memory, Role::Server, None),
        }
    }

    fn drain(&mut self, frames: usize, mut sink: impl FnMut(Kind, &[u8])) {
        for _ in 0..frames {
            match self.websocket.read().expect("valid frames") {
                Message::Text(text) => sink(Kind::Text, text.as_bytes()),
                Message::Binary(bytes) => sink(Kind::Binary, &bytes),
                _ => {}
            }
        }
    }
}
