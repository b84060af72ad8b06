//! tokio-tungstenite's echo server, as its `examples/echo-server.rs` has it: `split` and `forward`.
//!
//! `forward` flushes when no further message can be read, not after each, so that the replies to
//! pipelined messages leave together. The UTF-8 of Text messages is checked.

use futures_util::{StreamExt as _, TryStreamExt as _, future};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Result, protocol::WebSocketConfig};
use ws_bench::serving::{self, Arguments};

fn main() -> std::io::Result<()> {
    let arguments = Arguments::from_env()?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(arguments.max_message))
        .max_frame_size(Some(arguments.max_message));
    serving::serve(arguments.listen, move |stream| echo(stream, config))
}

async fn echo(stream: TcpStream, config: WebSocketConfig) -> Result<()> {
    let websocket = tokio_tungstenite::accept_async_with_config(stream, Some(config)).await?;
    let (write, read) = websocket.split();
    read.try_filter(|message| future::ready(message.is_text() || message.is_binary()))
        .forward(write)
        .await
}
