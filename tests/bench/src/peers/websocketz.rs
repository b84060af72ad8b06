//! websocketz: messages over an `embedded_io_async::Read`, in buffers lent by the caller.

use websocketz::{Message, WebSocket, mock::Noop, next};

use super::{Memory, run};
use crate::{
    decode::Decoder,
    frames::{Batch, Kind},
};

/// `next!` over memory. Its buffers are lent once and for ever, so that they are leaked: a few per
/// race.
pub struct Websocketz {
    websocket: WebSocket<'static, Memory, Noop>,
}

impl Decoder for Websocketz {
    const NAME: &'static str = "websocketz";
    const CHECKS: &'static str = "RSV, opcode, mask, control, fragments in part, UTF-8 (std)";
    const READS: bool = true;

    fn new(batch: &Batch) -> Self {
        // One byte more than a batch: it moves its buffer only when that is full.
        let lend = |len: usize| vec![0; len].leak();
        let read = lend(batch.wire.len() + 1);
        let websocket = WebSocket::server(
            Memory::holding(&batch.wire),
            Noop,
            read,
            lend(batch.payload.len() + 14),
            lend(batch.payload.len()),
        );
        Self { websocket }
    }

    fn drain(&mut self, frames: usize, mut sink: impl FnMut(Kind, &[u8])) {
        run(async {
            let websocket = &mut self.websocket;
            for _ in 0..frames {
                match next!(websocket)
                    .expect("more frames")
                    .expect("valid frames")
                {
                    Message::Text(text) => sink(Kind::Text, text.as_bytes()),
                    Message::Binary(bytes) => sink(Kind::Binary, bytes),
                    _ => {}
                }
            }
        });
    }
}
