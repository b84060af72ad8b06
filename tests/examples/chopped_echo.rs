//! `wsd echo` for the Autobahn suite on sockets that cut every read and write at a random size: the
//! one argument is the seed.

use std::{env, io};

use ws_mio::{Config, Context, Decision, Limit, Listener, Message, Server, Session, accept_with};

/// What the suite needs: see `autobahn_client`.
const MAX_MESSAGE: Limit = Limit::At(16 << 20);
const MAX_FRAGMENTS: Limit = Limit::At((4 << 20) / 64 + 1);

fn main() -> io::Result<()> {
    let seed = env::args().nth(1).and_then(|seed| seed.parse().ok());
    let seed = seed.ok_or_else(|| io::Error::other("the seed, a number, is missing"))?;
    let mut config = Config::new();
    config.limits.max_message = MAX_MESSAGE;
    config.limits.max_fragments = MAX_FRAGMENTS;
    let listener = Listener::tcp("127.0.0.1:0")?.chopped(seed)?;
    let server = Server::new([listener])?.loops(2)?.config(config);
    let address = server.local_addr().expect("it is bound");
    println!("listening on ws://{address}/");
    server.run(accept_with(|_, _| Decision::accept(Echo)))?;
    Ok(())
}

struct Echo;

impl Session for Echo {
    fn message(&mut self, message: Message<'_>, cx: &mut Context<'_>) {
        _ = match message {
            Message::Text(text) => cx.send_text(text),
            Message::Binary(bytes) => cx.send_binary(bytes),
        };
    }
}
