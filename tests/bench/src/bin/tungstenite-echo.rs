//! The peer of `ws echo`: tungstenite's textbook server, a thread per connection in its default
//! configuration.

use std::{
    io::Write as _,
    net::{TcpListener, TcpStream},
    thread,
};

fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("listening on ws://{}/", listener.local_addr()?);
    std::io::stdout().flush()?;
    for stream in listener.incoming() {
        let stream = stream?;
        // As `ws echo` does, and everybody who cares for latency.
        stream.set_nodelay(true)?;
        thread::spawn(move || echo(stream));
    }
    Ok(())
}

fn echo(stream: TcpStream) {
    let Ok(mut websocket) = tungstenite::accept(stream) else {
        return;
    };
    // Every error ends the connection, the ordinary close among them.
    while let Ok(message) = websocket.read() {
        if (message.is_text() || message.is_binary()) && websocket.send(message).is_err() {
            return;
        }
    }
}
