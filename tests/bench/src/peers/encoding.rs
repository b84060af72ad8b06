//! The peers as encoders.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use tokio_util::codec::Encoder as _;
use ws_proto::MaskingKeys as _;

use super::Memory;
use crate::{
    encode::{Keys, Sender, contender, room},
    frames::Batch,
    harness::Contender,
};

/// The peers which can write frames into memory. The others (fastwebsockets, tokio-websockets,
/// websocketz) only write into a stream, flushing each message.
#[must_use]
pub fn encoders(sender: Sender, batch: &Batch) -> Vec<Contender<'_>> {
    vec![
        sockudo(sender, batch),
        nexus(sender, batch),
        tungstenite(sender, batch),
        yawc(sender, batch),
        embedded_websocket(sender, batch),
    ]
}

fn sockudo(sender: Sender, batch: &Batch) -> Contender<'_> {
    use sockudo_ws::frame::{OpCode, encode_frame};

    let frames = batch.frames;
    let mut keys = Keys::default();
    let mut buffer = BytesMut::with_capacity(room(batch.payload.len(), frames));
    let mut shown = false;
    contender("sockudo-ws", sender, batch, move |payload, output| {
        buffer.clear();
        for _ in 0..frames {
            let key = (sender == Sender::Client).then(|| keys.next_key());
            encode_frame(&mut buffer, OpCode::Binary, payload, true, key);
        }
        show_once(&mut shown, &buffer, output);
    })
}

fn nexus(sender: Sender, batch: &Batch) -> Contender<'_> {
    use nexus_web::ws::{FrameWriter, Role};

    let frames = batch.frames;
    let role = if sender == Sender::Server {
        Role::Server
    } else {
        Role::Client
    };
    let mut writer = FrameWriter::new(role);
    contender("nexus-web", sender, batch, move |payload, output| {
        output.resize(room(payload.len(), frames), 0);
        let mut at = 0;
        for _ in 0..frames {
            at += writer.encode_binary(payload, &mut output[at..]);
        }
    })
}

fn tungstenite(sender: Sender, batch: &Batch) -> Contender<'_> {
    use tungstenite::{
        Message, WebSocket,
        protocol::{Role, WebSocketConfig},
    };

    let frames = batch.frames;
    let role = if sender == Sender::Server {
        Role::Server
    } else {
        Role::Client
    };
    // All frames of a pass in one write, as a program would that knows it sends a batch.
    let config = WebSocketConfig::default().write_buffer_size(usize::MAX / 2);
    let mut websocket = WebSocket::from_raw_socket(Memory::default(), role, Some(config));
    let shared = Bytes::from(batch.payload.clone());
    let mut shown = false;
    contender("tungstenite", sender, batch, move |_, output| {
        for _ in 0..frames {
            websocket
                .write(Message::Binary(shared.clone()))
                .expect("an open connection");
        }
        websocket.flush().expect("memory takes everything");
        show_once(&mut shown, &websocket.get_ref().written, output);
        websocket.get_mut().forgetful = true;
    })
}

fn yawc(sender: Sender, batch: &Batch) -> Contender<'_> {
    use yawc::{Frame, Role, codec::Encoder};

    let frames = batch.frames;
    let role = if sender == Sender::Server {
        Role::Server
    } else {
        Role::Client
    };
    let mut encoder = Encoder::new(role);
    let mut buffer = BytesMut::with_capacity(room(batch.payload.len(), frames));
    let shared = Bytes::from(batch.payload.clone());
    let mut shown = false;
    contender("yawc (codec)", sender, batch, move |_, output| {
        buffer.clear();
        for _ in 0..frames {
            encoder
                .encode(Frame::binary(shared.clone()), &mut buffer)
                .expect("a valid frame");
        }
        show_once(&mut shown, &buffer, output);
    })
}

fn embedded_websocket(sender: Sender, batch: &Batch) -> Contender<'_> {
    use embedded_websocket::{
        EmptyRng, WebSocketClient, WebSocketSendMessageType, WebSocketServer, WebSocketState,
    };

    let frames = batch.frames;
    let mut server = WebSocketServer::new_server();
    // Its key is always zero here: a random number generator of its own would be measured instead.
    let mut client = WebSocketClient::new_client(EmptyRng::new());
    server.state = WebSocketState::Open;
    client.state = WebSocketState::Open;
    contender(
        "embedded-websocket",
        sender,
        batch,
        move |payload, output| {
            output.resize(room(payload.len(), frames), 0);
            let mut at = 0;
            for _ in 0..frames {
                let (kind, to) = (WebSocketSendMessageType::Binary, &mut output[at..]);
                at += match sender {
                    Sender::Server => server.write(kind, true, payload, to),
                    Sender::Client => client.write(kind, true, payload, to),
                }
                .expect("room for the frame");
            }
        },
    )
}

/// Copies what was encoded for the verification, which comes first and only once.
fn show_once(shown: &mut bool, encoded: &[u8], output: &mut Vec<u8>) {
    black_box(encoded);
    if !std::mem::replace(shown, true) {
        output.extend_from_slice(encoded);
    }
}
