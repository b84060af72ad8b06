//! fastwebsockets' echo server, as its `examples/echo_server.rs` has it: hyper's upgrade, then
//! `FragmentCollector` in a task without a budget.
//!
//! Its defaults are those that its README sets: vectored writes (above 1 KiB), automatic Pong and
//! Close, payloads unmasked. It writes each frame at once: there is `flush`, but nothing tells
//! whether another frame is already in its buffer. The UTF-8 of Text messages is checked.

use std::io;

use fastwebsockets::{
    FragmentCollector, OpCode, WebSocketError,
    upgrade::{self, UpgradeFut},
};
use http_body_util::Empty;
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task};
use ws_bench::serving::{self, Arguments};

fn main() -> io::Result<()> {
    let arguments = Arguments::from_env()?;
    // The limit is the first length that it refuses.
    let limit = arguments.max_message.saturating_add(1);
    serving::serve(arguments.listen, move |stream| accept(stream, limit))
}

async fn accept(stream: TcpStream, limit: usize) -> hyper::Result<()> {
    http1::Builder::new()
        .serve_connection(
            TokioIo::new(stream),
            service_fn(move |request| respond(request, limit)),
        )
        .with_upgrades()
        .await
}

async fn respond(
    mut request: Request<Incoming>,
    limit: usize,
) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let (response, websocket) = upgrade::upgrade(&mut request)?;
    task::spawn(task::unconstrained(echo(websocket, limit)));
    Ok(response)
}

async fn echo(websocket: UpgradeFut, limit: usize) -> Result<(), WebSocketError> {
    let mut websocket = websocket.await?;
    websocket.set_max_message_size(limit);
    let mut websocket = FragmentCollector::new(websocket);
    loop {
        let frame = websocket.read_frame().await?;
        match frame.opcode {
            OpCode::Text | OpCode::Binary => websocket.write_frame(frame).await?,
            OpCode::Close => return Ok(()),
            _ => {}
        }
    }
}
