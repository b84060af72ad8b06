//! embedded-websocket: frame by frame from one slice into another.

use embedded_websocket::{WebSocketReceiveMessageType, WebSocketServer, WebSocketState};

use crate::{
    decode::Decoder,
    frames::{Batch, Kind},
};

/// `WebSocket::read`: it unmasks while copying, so that nothing has to be restored.
pub struct EmbeddedWebsocket {
    websocket: WebSocketServer,
    wire: Vec<u8>,
    payload: Vec<u8>,
}

impl Decoder for EmbeddedWebsocket {
    const NAME: &'static str = "embedded-websocket";
    const CHECKS: &'static str = "opcode";

    fn new(batch: &Batch) -> Self {
        let mut websocket = WebSocketServer::new_server();
        websocket.state = WebSocketState::Open;
        Self {
            websocket,
            wire: batch.wire.clone(),
            payload: batch.payload.clone(),
        }
    }

    fn load(&mut self, wire: &[u8]) {
        self.wire.copy_from_slice(wire);
    }

    fn drain(&mut self, _: usize, mut sink: impl FnMut(Kind, &[u8])) {
        let mut input = self.wire.as_slice();
        while !input.is_empty() {
            let read = self
                .websocket
                .read(input, &mut self.payload)
                .expect("valid frames");
            let payload = &self.payload[..read.len_to];
            match read.message_type {
                WebSocketReceiveMessageType::Text => sink(Kind::Text, payload),
                WebSocketReceiveMessageType::Binary => sink(Kind::Binary, payload),
                _ => {}
            }
            input = &input[read.len_from..];
        }
    }
}
