//! edge-ws: a header codec and a masking loop, put together as its `recv` does, without the reader.

use edge_ws::{FrameHeader, FrameType};

use crate::{
    decode::Decoder,
    frames::{Batch, Kind},
};

/// `FrameHeader::deserialize` and `FrameHeader::mask` over a slice.
#[derive(Debug)]
pub struct EdgeWs {
    buffer: Vec<u8>,
}

impl Decoder for EdgeWs {
    const NAME: &'static str = "edge-ws";
    const CHECKS: &'static str = "RSV, opcode";

    fn new(batch: &Batch) -> Self {
        Self {
            buffer: batch.wire.clone(),
        }
    }

    fn load(&mut self, wire: &[u8]) {
        self.buffer.copy_from_slice(wire);
    }

    fn drain(&mut self, _: usize, mut sink: impl FnMut(Kind, &[u8])) {
        let mut input = self.buffer.as_mut_slice();
        while !input.is_empty() {
            let (header, header_len) = FrameHeader::deserialize(input).expect("valid frames");
            let (_, rest) = input.split_at_mut(header_len);
            let (payload, rest) = rest.split_at_mut(header.payload_len as usize);
            header.mask(payload, 0);
            match header.frame_type {
                FrameType::Text(_) => sink(Kind::Text, payload),
                FrameType::Binary(_) => sink(Kind::Binary, payload),
                _ => {}
            }
            input = rest;
        }
    }
}
