//! tokio-websockets: a `Stream` of messages over an `AsyncRead`.

use std::{future::poll_fn, pin::Pin};

use futures_core::Stream;
use tokio_websockets::{Config, Limits, ServerBuilder, WebSocketStream};

use super::{Memory, run};
use crate::{
    decode::Decoder,
    frames::{Batch, Kind},
};

/// `WebSocketStream::poll_next` over memory.
#[derive(Debug)]
pub struct TokioWebsockets {
    stream: WebSocketStream<Memory>,
}

impl Decoder for TokioWebsockets {
    const NAME: &'static str = "tokio-websockets";
    const CHECKS: &'static str = "RSV, opcode, mask, control, length, fragments, UTF-8 (SIMD)";
    const READS: bool = true;

    fn new(batch: &Batch) -> Self {
        let builder = ServerBuilder::new()
            .config(Config::default())
            .limits(Limits::default());
        Self {
            stream: builder.serve(Memory::holding(&batch.wire)),
        }
    }

    fn drain(&mut self, frames: usize, mut sink: impl FnMut(Kind, &[u8])) {
        run(async {
            for _ in 0..frames {
                let next = poll_fn(|context| Pin::new(&mut self.stream).poll_next(context)).await;
                let message = next.expect("more frames").expect("valid frames");
                let kind = if message.is_text() {
                    Kind::Text
                } else {
                    Kind::Binary
                };
                sink(kind, message.as_payload());
            }
        });
    }
}
