//! fastwebsockets: frames over an `AsyncRead`.

use fastwebsockets::{OpCode, Role, WebSocket};

use super::{Memory, run};
use crate::{
    decode::Decoder,
    frames::{Batch, Kind},
};

/// `WebSocket::read_frame` over memory.
pub struct Fastwebsockets {
    websocket: WebSocket<Memory>,
}

impl Decoder for Fastwebsockets {
    const NAME: &'static str = "fastwebsockets";
    const CHECKS: &'static str = "RSV, opcode, control in part, UTF-8 (SIMD)";
    const READS: bool = true;

    fn new(batch: &Batch) -> Self {
        let memory = Memory::holding(&batch.wire);
        Self {
            websocket: WebSocket::after_handshake(memory, Role::Server),
        }
    }

    fn drain(&mut self, frames: usize, mut sink: impl FnMut(Kind, &[u8])) {
        run(async {
            for _ in 0..frames {
                let frame = self.websocket.read_frame().await.expect("valid frames");
                match frame.opcode {
                    OpCode::Text => sink(Kind::Text, &frame.payload),
                    OpCode::Binary => sink(Kind::Binary, &frame.payload),
                    _ => {}
                }
            }
        });
    }
}
