//! yawc: its frame codec over `BytesMut`, and its WebSocket with every check switched on.

use bytes::BytesMut;
use tokio_util::codec::Decoder as _;
use yawc::{OpCode, Options, Role, WebSocket, codec};

use super::{Memory, run};
use crate::{
    decode::Decoder,
    frames::{Batch, Kind},
};

const LIMIT: usize = 16 << 20;

/// `codec::Decoder`: single frames.
pub struct YawcCodec {
    decoder: codec::Decoder,
    buffer: BytesMut,
}

impl Decoder for YawcCodec {
    const NAME: &'static str = "yawc (codec)";
    const CHECKS: &'static str = "RSV, opcode, mask, control in part; no UTF-8";

    fn new(batch: &Batch) -> Self {
        Self {
            decoder: codec::Decoder::new(Role::Server, LIMIT),
            buffer: BytesMut::with_capacity(batch.wire.len()),
        }
    }

    fn load(&mut self, wire: &[u8]) {
        self.buffer.clear();
        self.buffer.extend_from_slice(wire);
    }

    fn drain(&mut self, frames: usize, mut sink: impl FnMut(Kind, &[u8])) {
        for _ in 0..frames {
            let frame = self
                .decoder
                .decode(&mut self.buffer)
                .expect("valid")
                .expect("whole");
            sink(kind(frame.opcode()), frame.payload());
        }
    }
}

/// `WebSocket::next_frame` over memory.
pub struct Yawc {
    websocket: WebSocket<Memory>,
}

impl Decoder for Yawc {
    const NAME: &'static str = "yawc";
    const CHECKS: &'static str = "RSV, opcode, mask, control in part, fragments, UTF-8 (SIMD)";
    const READS: bool = true;

    fn new(batch: &Batch) -> Self {
        let options = Options::default().with_utf8().with_limits(LIMIT, 2 * LIMIT);
        let memory = Memory::holding(&batch.wire);
        let websocket = WebSocket::from_stream(memory, Role::Server, options);
        Self {
            websocket: websocket.expect("no extensions"),
        }
    }

    fn drain(&mut self, frames: usize, mut sink: impl FnMut(Kind, &[u8])) {
        run(async {
            for _ in 0..frames {
                let frame = self.websocket.next_frame().await.expect("valid frames");
                sink(kind(frame.opcode()), frame.payload());
            }
        });
    }
}

fn kind(opcode: OpCode) -> Kind {
    if opcode == OpCode::Text {
        Kind::Text
    } else {
        Kind::Binary
    }
}
