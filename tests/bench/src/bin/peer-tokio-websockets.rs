//! tokio-websockets' echo server, as its `examples/echo_server.rs` has it: `send` in a task without
//! a budget, and messages that leave in one frame.
//!
//! Batches do not exist here: `next` begins with a flush of all that is queued, so that `feed`
//! would write as often as `send`. The UTF-8 of Text messages is checked.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{net::TcpStream, task};
use tokio_websockets::{Config, Error, Limits, ServerBuilder};
use ws_bench::serving::{self, Arguments};

fn main() -> std::io::Result<()> {
    let arguments = Arguments::from_env()?;
    let limits = Limits::default().max_payload_len(Some(arguments.max_message));
    serving::serve(arguments.listen, move |stream| {
        task::unconstrained(echo(stream, limits))
    })
}

async fn echo(stream: TcpStream, limits: Limits) -> Result<(), Error> {
    let (_request, mut websocket) = ServerBuilder::new()
        .config(Config::default().frame_size(usize::MAX))
        .limits(limits)
        .accept(stream)
        .await?;
    while let Some(message) = websocket.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            websocket.send(message).await?;
        }
    }
    Ok(())
}
