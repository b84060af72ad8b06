//! Two connections on one `Poll`, over loopback.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};
use ws_mio::{CloseCode, Closed, Config, Connection, Event, Turn};

static CONFIG: Config = Config::new();

const SERVER: Token = Token(0);
const CLIENT: Token = Token(1);

/// A connected pair on a poll.
fn pair(poll: &Poll) -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let mut server = loop {
        match listener.accept() {
            Ok((server, _)) => break server,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(error) => return Err(error),
        }
    };
    let both = Interest::READABLE | Interest::WRITABLE;
    poll.registry().register(&mut server, SERVER, both)?;
    poll.registry().register(&mut client, CLIENT, both)?;
    Ok((server, client))
}

/// Turns until the source would block; whether it is to be closed.
fn run<S: Read + Write>(
    connection: &mut Connection<S>,
    buffer: &mut [u8],
    on_event: &mut dyn FnMut(Event<'_>, &mut ws_mio::Sender),
) -> io::Result<bool> {
    loop {
        match connection.turn(buffer, &mut *on_event)? {
            Turn::Again => {}
            Turn::Wait => return Ok(false),
            Turn::Closed => return Ok(true),
        }
    }
}

#[test]
fn echo_of_a_large_message_and_a_clean_close() -> io::Result<()> {
    let mut poll = Poll::new()?;
    let (server, client) = pair(&poll)?;
    let mut server = Connection::server(server, ws_proto::Connection::server(&CONFIG));
    let mut key = 0_u32;
    let keys = move || {
        key = key.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        key.to_ne_bytes()
    };
    let mut client = Connection::client(client, ws_proto::Connection::client(&CONFIG), keys);

    let large: Vec<u8> = (0..1 << 20)
        .map(|i: u32| i.to_le_bytes()[i as usize % 3])
        .collect();
    let sender = client.sender();
    sender.send_text("hello").expect("the connection is open");
    sender.send_binary(&large).expect("the connection is open");
    let (mut echoed, mut ends) = (Vec::new(), Vec::new());
    let mut answer = |event: Event<'_>, sender: &mut ws_mio::Sender| match event {
        Event::Text(text) => sender.send_text(text).expect("the connection is open"),
        Event::Binary(bytes) => sender.send_binary(bytes).expect("the connection is open"),
        _ => {}
    };

    // Smaller than the message, so that it has to be put together.
    let mut buffer = vec![0; 16 << 10];
    let mut events = Events::with_capacity(8);
    let (mut server_ended, mut client_ended) = (false, false);
    while !(server_ended && client_ended) {
        server_ended |= run(&mut server, &mut buffer, &mut answer)?;
        if server_ended {
            server.source().shutdown(std::net::Shutdown::Write)?;
        }
        client_ended |= run(&mut client, &mut buffer, &mut |event, sender| match event {
            Event::Text(text) => echoed.push(text.as_bytes().to_vec()),
            Event::Binary(bytes) => {
                echoed.push(bytes.to_vec());
                sender
                    .close(CloseCode::NORMAL, "done")
                    .expect("it was not closed before");
            }
            Event::Closed(closed) => ends.push(closed),
            _ => {}
        })?;
        poll.poll(&mut events, Some(Duration::from_millis(100)))?;
    }
    assert_eq!(echoed, [b"hello".to_vec(), large]);
    let clean = Closed {
        initiator: ws_proto::Initiator::Local,
        code: CloseCode::NORMAL,
        clean: true,
    };
    assert_eq!(ends, [clean]);
    Ok(())
}
