//! A client on a `Poll` of one's own: `poll_client [WORD..]` sends words to `poll_server`, prints what
//! comes back, and closes.
use mio::{Events, Interest, Poll, Token, net::TcpStream};
use std::{error::Error, io::ErrorKind, io::Read, io::Write, sync::Arc, time::Duration};
use ws_mio::{Buffers, CloseCode, Config, Connection, Marks, Ready, Turn};
use ws_proto::handshake::{ClientRequest, EMPTY_HEADER, Outcome};
use ws_proto::{ClientHandshake, Output, WsUri};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(8));
    let mut stream = TcpStream::connect(([127, 0, 0, 1], 8765).into())?;
    let both = Interest::READABLE | Interest::WRITABLE;
    poll.registry().register(&mut stream, Token(0), both)?;
    poll.poll(&mut events, None)?;
    if let Some(error) = stream.take_error()? {
        return Err(error.into());
    }

    let (mut nonce, mut buffer, mut head) = ([0; 16], [0; 512], Vec::new());
    getrandom::fill(&mut nonce)?;
    let mut request = Output::new(&mut buffer);
    let uri = ClientRequest::new(WsUri::parse("ws://127.0.0.1:8765/")?);
    let mut handshake = ClientHandshake::start(&uri, nonce, &mut request)?;
    stream.write_all(request.written())?;
    let config = Arc::new(Config::new());
    let core = loop {
        match handshake.receive(&head, &mut [EMPTY_HEADER; 64], &config.limits)? {
            Some(Outcome::Accepted { agreed, .. }) => break agreed.finish(config),
            Some(Outcome::Rejected(response)) => return Err(response.status().to_string().into()),
            None => {}
        }
        match stream.read(&mut buffer) {
            Ok(0) => return Err("there is no answer".into()),
            Ok(n) => head.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => poll.poll(&mut events, None)?,
            Err(error) => return Err(error.into()),
        }
    };

    let unread = head.split_off(handshake.head_len());
    let mut connection = Connection::new(stream, core).resume(&unread);
    // RFC 6455 §5.3: the keys come from a strong source of entropy.
    let keys = || {
        getrandom::u32()
            .expect("the system has randomness")
            .to_ne_bytes()
    };
    let mut buffers = Buffers::masked(Marks::new(), keys);
    connection.send(&mut buffers, |sender| {
        words.iter().for_each(|word| _ = sender.send_text(word));
        _ = sender.close(CloseCode::NORMAL, "");
    })?;
    let (start, mut turn, mut ready) = (std::time::Instant::now(), Turn::Again, Ready::ALL);
    while turn != Turn::Closed {
        let now = start.elapsed().as_millis() as u64;
        turn = connection.turn(ready, &mut buffers, |event, _| println!("{event:?}"))?;
        if turn == Turn::Wait {
            turn =
                connection.handle_timeout(now, &mut buffers, |event, _| println!("{event:?}"))?;
        }
        let due = connection.next_timeout().map(|at| at.saturating_sub(now));
        let wait = if turn == Turn::Wait { due } else { Some(0) };
        poll.poll(&mut events, wait.map(Duration::from_millis))?;
        ready = events.iter().next().map_or(Ready::AGAIN, Ready::from);
    }
    Ok(())
}
