//! What servers are loaded with.

use ws_bench::frames::{Alphabet, Batch, Kind, payload};

/// A way to load an echo server.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    kind: Kind,
    alphabet: Alphabet,
    len: usize,
    pub(crate) connections: usize,
    /// Messages sent before the first of them is awaited.
    pub(crate) outstanding: usize,
    /// The most that our CPU time per message may be of the floor's.
    pub(crate) target: f64,
}

const PING_PONG: Workload = Workload {
    name: "ping-pong 20 B",
    kind: Kind::Binary,
    alphabet: Alphabet::Bytes,
    len: 20,
    connections: 64,
    outstanding: 1,
    target: 1.02,
};

const PIPELINED: Workload = Workload {
    name: "pipelined 20 B",
    kind: Kind::Binary,
    alphabet: Alphabet::Bytes,
    len: 20,
    connections: 16,
    outstanding: 64,
    target: 1.10,
};

/// One message at a time.
pub(crate) const PING_PONGS: [Workload; 5] = [
    PING_PONG,
    Workload {
        name: "ping-pong 1 KiB",
        len: 1 << 10,
        ..PING_PONG
    },
    Workload {
        name: "ping-pong 16 KiB",
        len: 16 << 10,
        ..PING_PONG
    },
    Workload {
        name: "ping-pong 64 KiB",
        len: 64 << 10,
        connections: 16,
        target: 1.05,
        ..PING_PONG
    },
    Workload {
        name: "ping-pong 1 MiB",
        len: 1 << 20,
        connections: 4,
        target: 1.05,
        ..PING_PONG
    },
];

/// Many messages at a time.
pub(crate) const PIPELINES: [Workload; 6] = [
    PIPELINED,
    Workload {
        name: "pipelined 20 B text",
        kind: Kind::Text,
        alphabet: Alphabet::Ascii,
        ..PIPELINED
    },
    Workload {
        name: "pipelined 125 B",
        len: 125,
        ..PIPELINED
    },
    Workload {
        name: "pipelined 125 B text",
        kind: Kind::Text,
        alphabet: Alphabet::Ascii,
        len: 125,
        ..PIPELINED
    },
    Workload {
        name: "pipelined 1 KiB ASCII",
        kind: Kind::Text,
        alphabet: Alphabet::Ascii,
        len: 1 << 10,
        ..PIPELINED
    },
    Workload {
        name: "pipelined 1 KiB CJK",
        kind: Kind::Text,
        alphabet: Alphabet::Cjk,
        len: 1 << 10,
        ..PIPELINED
    },
];

/// One long message at a time, which a streaming server echoes in chunks.
pub(crate) const STREAM: Workload = Workload {
    name: "streamed 16 MiB",
    len: 16 << 20,
    connections: 1,
    target: 1.10,
    ..PING_PONG
};

/// What fills connections that are measured for their memory.
pub(crate) const LONG: Workload = Workload {
    name: "1 MiB",
    len: 1 << 20,
    ..PING_PONG
};

/// Bytes to send, and the bytes that must come back.
pub(crate) struct Script {
    pub(crate) wire: Vec<u8>,
    pub(crate) replies: Replies,
    /// Messages in `wire`.
    pub(crate) messages: usize,
}

/// What must come back.
pub(crate) enum Replies {
    /// Exactly these bytes.
    Bytes(Vec<u8>),
    /// This payload in one message, in whatever fragments.
    Message { opcode: u8, payload: Vec<u8> },
}

impl Workload {
    /// For servers that send each message back as one frame.
    pub(crate) fn script(&self) -> Script {
        let batch = self.batch();
        Script {
            replies: Replies::Bytes(batch.replies()),
            wire: batch.wire,
            messages: self.outstanding,
        }
    }

    /// For servers that may send a message back in fragments.
    pub(crate) fn streaming_script(&self) -> Script {
        let batch = self.batch();
        Script {
            replies: Replies::Message {
                opcode: match batch.kind {
                    Kind::Text => 1,
                    Kind::Binary => 2,
                },
                payload: batch.payload,
            },
            wire: batch.wire,
            messages: 1,
        }
    }

    /// For servers that send back what they get.
    pub(crate) fn raw_script(&self) -> Script {
        let batch = self.batch();
        Script {
            replies: Replies::Bytes(batch.wire.clone()),
            wire: batch.wire,
            messages: self.outstanding,
        }
    }

    fn batch(&self) -> Batch {
        let payload = payload(self.alphabet, self.len);
        Batch::of(self.kind, payload, self.outstanding)
    }
}
