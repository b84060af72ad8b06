//! Two connections on one `Poll`, over loopback.

use std::{
    io,
    net::{Ipv4Addr, Shutdown, SocketAddr},
    sync::Arc,
    time::Duration,
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};
use ws_mio::{
    Buffers, CloseCode, Closed, Config, Connection, Delivery, Event, Marks, Ready, Sender,
    ShortRead, Turn,
};
use ws_proto::{Initiator, Limit};

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

/// An end, what the poll told of it, and what its last turn came to.
struct End {
    connection: Connection<TcpStream>,
    buffers: Buffers,
    ready: Ready,
    turn: Turn,
    ends: Vec<Closed>,
}

impl End {
    fn new(connection: Connection<TcpStream>, buffers: Buffers) -> Self {
        Self {
            connection: connection.short_read(ShortRead::IsAll),
            buffers,
            ready: Ready::ALL,
            turn: Turn::Again,
            ends: Vec::new(),
        }
    }

    /// One turn, if there is a reason for one.
    fn turn(&mut self, mut act: impl FnMut(Event<'_>, &mut Sender<'_>)) -> io::Result<()> {
        let ready = std::mem::replace(&mut self.ready, Ready::AGAIN);
        let is_due = ready != Ready::AGAIN || self.turn == Turn::Again;
        if self.turn == Turn::Closed || !is_due {
            return Ok(());
        }
        let (buffers, ends) = (&mut self.buffers, &mut self.ends);
        self.turn = self.connection.turn(ready, buffers, |event, sender| {
            if let Event::Closed(closed) = event {
                ends.push(closed);
            }
            act(event, sender);
        })?;
        if self.turn == Turn::Closed {
            self.connection.source().shutdown(Shutdown::Write)?;
        }
        Ok(())
    }
}

#[test]
fn echo_of_a_large_message_and_a_clean_close() -> io::Result<()> {
    for delivery in [Delivery::Messages, Delivery::Chunks] {
        // Both the default marks, and such as make the server wait for its peer.
        let low = Marks {
            high: 8 << 10,
            low: 1 << 10,
            limit: 1 << 20,
        };
        for marks in [Marks::new(), low] {
            echo(delivery, marks)?;
        }
    }
    Ok(())
}

/// More than the buffers of two sockets: the server has to wait for its peer.
const LARGE: u64 = 16 << 20;

fn echo(delivery: Delivery, marks: Marks) -> io::Result<()> {
    let mut config = Config::new();
    config.limits.max_message = Limit::At(LARGE);
    let config = Arc::new(config);
    let mut poll = Poll::new()?;
    let (server, client) = pair(&poll)?;
    let core = ws_proto::Connection::server(Arc::clone(&config));
    let connection = Connection::new(server, core).delivery(delivery);
    let mut server = End::new(connection, Buffers::new(marks));
    let mut key = 0_u32;
    let keys = move || {
        key = key.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        key.to_ne_bytes()
    };
    let connection = Connection::new(client, ws_proto::Connection::client(config));
    let mut client = End::new(connection, Buffers::masked(marks, keys));

    let large: Vec<u8> = (0..LARGE)
        .map(|i| i.to_le_bytes()[i as usize % 3])
        .collect();
    client.connection.send(&mut client.buffers, |sender| {
        assert!(sender.send_text("hello").is_sent());
        assert!(sender.send_binary(&large).is_sent());
    })?;
    let (mut echoed, mut has_waited) = (Vec::new(), false);
    let mut events = Events::with_capacity(8);
    while server.turn != Turn::Closed || client.turn != Turn::Closed {
        server.turn(|event, sender| {
            let sent = match event {
                Event::Text(text) => sender.send_text(text),
                Event::Binary(bytes) => sender.send_binary(bytes),
                Event::Chunk(chunk) => sender.send_chunk(chunk),
                _ => return,
            };
            assert!(sent.is_sent(), "{sent:?}");
        })?;
        has_waited |= server
            .connection
            .send(&mut server.buffers, |sender| sender.queued() > 0)?;
        client.turn(|event, sender| match event {
            Event::Text(text) => echoed.push(text.as_bytes().to_vec()),
            Event::Binary(bytes) => {
                echoed.push(bytes.to_vec());
                assert!(sender.close(CloseCode::NORMAL, "done").is_sent());
            }
            _ => {}
        })?;
        let waits = server.turn != Turn::Again && client.turn != Turn::Again;
        let timeout = Duration::from_secs(if waits { 10 } else { 0 });
        poll.poll(&mut events, Some(timeout))?;
        let is_over = server.turn == Turn::Closed && client.turn == Turn::Closed;
        assert!(
            !waits || is_over || !events.is_empty(),
            "both wait for ever"
        );
        for event in &events {
            match event.token() {
                SERVER => server.ready = event.into(),
                _ => client.ready = event.into(),
            }
        }
    }
    // Chunk by chunk the peer may keep up.
    let is_slow = has_waited || delivery == Delivery::Chunks;
    assert!(is_slow, "the message is too small");
    assert!(echoed == [b"hello".to_vec(), large]);
    let clean = |initiator| Closed {
        initiator,
        code: CloseCode::NORMAL,
        clean: true,
    };
    assert_eq!(client.ends, [clean(Initiator::Local)]);
    assert_eq!(server.ends, [clean(Initiator::Peer)]);
    Ok(())
}
