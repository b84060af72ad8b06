//! A server on a `Poll` of one's own: it sends every message back. `poll_client` talks to it.
use mio::{Events, Interest, Poll, Token, net::TcpListener, net::TcpStream};
use std::{
    collections::HashMap, io, io::Read, io::Write, sync::Arc, time::Duration, time::Instant,
};
use ws_mio::{Buffers, Config, Connection, Event, Marks, Ready, Turn};
use ws_proto::{Output, ServerHandshake, handshake::Acceptance, handshake::EMPTY_HEADER};

fn main() -> io::Result<()> {
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(256));
    let mut listener = TcpListener::bind(([127, 0, 0, 1], 8765).into())?;
    let both = Interest::READABLE | Interest::WRITABLE;
    poll.registry().register(&mut listener, Token(0), both)?;
    let (config, mut buffers) = (Arc::new(Config::new()), Buffers::new(Marks::new()));
    let (mut opening, mut open, mut ready) = (HashMap::new(), HashMap::new(), Vec::new());
    let (start, mut next) = (Instant::now(), 1);
    loop {
        // Those that are not done yet do not wait; and a clock that ticks each second will do.
        let wait = Duration::from_secs(u64::from(ready.is_empty()));
        poll.poll(&mut events, Some(wait))?;
        ready.extend(events.iter().map(|event| (event.token(), event.into())));
        let now = start.elapsed().as_millis() as u64;
        while let Ok((mut stream, _)) = listener.accept() {
            poll.registry().register(&mut stream, Token(next), both)?;
            opening.insert(Token(next), (stream, now));
            next += 1;
        }
        for (token, edges) in std::mem::take(&mut ready) {
            if let Some((mut stream, since)) = opening.remove(&token) {
                match accept(&mut stream, &config) {
                    Ok(Some(core)) => _ = open.insert(token, Connection::new(stream, core)),
                    Ok(None) => _ = opening.insert(token, (stream, since)),
                    Err(error) => eprintln!("no WebSocket: {error}"),
                }
            }
            let turn = |socket: &mut Connection<TcpStream>| {
                socket.turn(edges, &mut buffers, |event, sender| match event {
                    Event::Text(text) => _ = sender.send_text(text),
                    Event::Binary(bytes) => _ = sender.send_binary(bytes),
                    _ => {}
                })
            };
            match open.get_mut(&token).map(turn) {
                Some(Ok(Turn::Again)) => ready.push((token, Ready::AGAIN)),
                Some(Ok(Turn::Closed) | Err(_)) => _ = open.remove(&token),
                Some(Ok(Turn::Wait)) | None => {}
            }
        }
        opening.retain(|_, (_, since)| now < *since + 10_000);
        let mut tick =
            |socket: &mut Connection<_>| socket.handle_timeout(now, &mut buffers, |_, _| {});
        open.retain(|_, socket| tick(socket).is_ok_and(|turn| turn != Turn::Closed));
    }
}

/// Answers the request when all of it has come. The frames behind it are left in the stream.
fn accept(
    stream: &mut TcpStream,
    config: &Arc<Config>,
) -> io::Result<Option<ws_proto::Connection<Arc<Config>>>> {
    let (mut head, mut answer) = ([0; 8 << 10], [0; 512]);
    let n = match stream.peek(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
        peeked => peeked?,
    };
    let (mut handshake, mut output) = (ServerHandshake::new(), Output::new(&mut answer));
    match handshake.receive(&head[..n], &mut [EMPTY_HEADER; 64], &config.limits) {
        Ok(None) if (1..head.len()).contains(&n) => return Ok(None),
        Err(error) => _ = handshake.reject_error(error, &mut output),
        _ => {}
    }
    stream.read_exact(&mut head[..handshake.head_len()])?;
    let core = handshake.accept(&Acceptance::new(), config.clone(), &mut output);
    stream.write_all(output.written())?;
    core.map(Some).map_err(io::Error::other)
}
