//! sockudo-ws's echo server, as its README has it for echo loops: `feed`, and no flush.
//!
//! Replies gather in its cork buffer until `next` has handed out all that was read; before it reads
//! again it writes them. The UTF-8 of Text messages is checked; heartbeat and timeouts keep their
//! defaults.

use futures_util::{SinkExt as _, StreamExt as _};
use sockudo_ws::{Config, Http1, Message, Result, server::WebSocketServer};
use tokio::net::TcpStream;
use ws_bench::serving::{self, Arguments};

fn main() -> std::io::Result<()> {
    let arguments = Arguments::from_env()?;
    let config = Config::builder()
        .max_message_size(arguments.max_message)
        .max_frame_size(arguments.max_message)
        .build();
    // The clock's calibration takes its time; the crate asks to be done with it early.
    sockudo_ws::init_clock();
    let server = WebSocketServer::<Http1>::new(config);
    serving::serve(arguments.listen, move |stream| echo(stream, server.clone()))
}

async fn echo(stream: TcpStream, server: WebSocketServer<Http1>) -> Result<()> {
    // Without type erasure: the stream keeps its type.
    let (mut websocket, _) = server.accept_raw(stream).await?;
    while let Some(message) = websocket.next().await {
        match message? {
            message @ (Message::Text(_) | Message::Binary(_)) => websocket.feed(message).await?,
            Message::Close(_) => break,
            Message::Ping(_) | Message::Pong(_) => {}
        }
    }
    Ok(())
}
