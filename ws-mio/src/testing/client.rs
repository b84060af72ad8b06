//! [`TestClient`]: the other end of a connection.

use std::{cell::RefCell, collections::VecDeque, fmt::Debug, mem, rc::Rc};

use ws_proto::{
    ClientHandshake, CloseCode, Config, Connection, Event, Limit, Messages, Output, SendError,
    Timeouts, WsUri,
    handshake::{ClientRequest, EMPTY_HEADER, Outcome},
};

use super::{
    Drive,
    transcript::{Digest, What},
    wire::{Dice, Found, Link},
};

/// What a client received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// A Ping. Its Pong is on the way.
    Ping(Vec<u8>),
    /// A Pong.
    Pong(Vec<u8>),
    /// A Close. If it is the first, its answer is on the way.
    Close(CloseCode, String),
    /// Something that no WebSocket server sends; what comes behind it is not looked at.
    Nonsense,
    /// The end of what the server sends.
    End,
    /// The connection was reset.
    Reset,
}

/// A client of a [`TestServer`](super::TestServer).
///
/// What it sends is on its way at once, and arrives when the server runs; what asks for something
/// received has the server run first, until nothing more happens.
pub struct TestClient {
    pub(super) world: Rc<RefCell<dyn Drive>>,
    pub(super) index: usize,
}

/// The client goes on as before, until its connection has ended: then it is forgotten.
impl Drop for TestClient {
    fn drop(&mut self) {
        // In a panic of the server there is nothing to go on with.
        if let Ok(mut world) = self.world.try_borrow_mut() {
            let end = world.end(self.index);
            end.is_let_go = true;
            end.link.borrow_mut().call_client();
        }
    }
}

impl TestClient {
    /// Sends a text message.
    pub fn send_text(&self, text: &str) {
        self.send(|connection, output| connection.send_text(text, output));
    }

    /// Sends a binary message.
    pub fn send_binary(&self, bytes: &[u8]) {
        self.send(|connection, output| connection.send_binary(bytes, output));
    }

    /// Sends a Ping.
    pub fn ping(&self, payload: &[u8]) {
        self.send(|connection, output| connection.ping(payload, output));
    }

    /// Starts the closing handshake.
    pub fn close(&self, code: u16, reason: &str) {
        self.send(|connection, output| connection.close(CloseCode::new(code), reason, output));
    }

    /// Sends these bytes, whatever they mean.
    pub fn raw(&self, bytes: &[u8]) {
        self.with(|end| end.out.extend(bytes));
    }

    /// Ends its half behind all that it has sent.
    pub fn finish(&self) {
        self.with(|end| end.fin = true);
    }

    /// Resets the connection at once.
    pub fn reset(&self) {
        self.with(|end| {
            end.out.clear();
            end.link.borrow_mut().break_off();
        });
    }

    /// Takes nothing more from the wire.
    pub fn stop_reading(&self) {
        self.with(|end| end.is_reading = false);
    }

    /// Takes again what is on the wire.
    pub fn read_on(&self) {
        self.with(|end| end.is_reading = true);
    }

    /// Answers nothing by itself any more, neither Pings nor a Close nor the end.
    pub fn mute(&self) {
        self.with(|end| end.is_mute = true);
    }

    /// The next that it received, or `None` when nothing more comes until time passes.
    pub fn receive(&self) -> Option<Received> {
        self.run();
        self.with(|end| end.received.pop_front())
    }

    /// All that it received.
    pub fn receive_all(&self) -> Vec<Received> {
        self.run();
        self.with(|end| end.received.drain(..).collect())
    }

    /// All bytes that came to a client that was only [dialled](super::TestServer::dial).
    pub fn bytes(&self) -> Vec<u8> {
        self.run();
        self.with(|end| mem::take(&mut end.bytes))
    }

    /// The status with which the handshake was answered.
    pub fn status(&self) -> Option<u16> {
        self.run();
        self.with(|end| end.status)
    }

    /// # Panics
    ///
    /// Unless the next that it receives is this message.
    #[track_caller]
    pub fn expect_text(&self, text: &str) {
        self.expect(&Received::Text(text.into()));
    }

    /// # Panics
    ///
    /// Unless the next that it receives is this message.
    #[track_caller]
    pub fn expect_binary(&self, bytes: &[u8]) {
        self.expect(&Received::Binary(bytes.into()));
    }

    /// # Panics
    ///
    /// Unless the next that it receives is a Close with this code, and the end is behind it.
    #[track_caller]
    pub fn expect_close(&self, code: u16) {
        let received = [self.receive(), self.receive()];
        match &received {
            [Some(Received::Close(close, _)), Some(Received::End)] if close.get() == code => {}
            _ => self.complain(&received, &code),
        }
    }

    /// # Panics
    ///
    /// Unless it receives nothing.
    #[track_caller]
    pub fn expect_nothing(&self) {
        if let Some(received) = self.receive() {
            self.complain(&received, &"nothing");
        }
    }

    /// Whether the server has ended its half, or all.
    pub fn is_ended(&self) -> bool {
        self.run();
        self.with(|end| end.is_ended)
    }

    /// Whether the server has let go of the connection.
    pub fn is_dropped(&self) -> bool {
        self.run();
        self.with(|end| end.link.borrow().is_dropped)
    }

    /// How many bytes the server has left unread, on the wire and before it.
    pub fn unread(&self) -> usize {
        self.run();
        self.with(|end| end.out.len() + end.link.borrow().unread())
    }

    /// How many calls the server has made on its end.
    pub fn calls(&self) -> u64 {
        self.with(|end| end.link.borrow().calls)
    }

    #[track_caller]
    fn expect(&self, expected: &Received) {
        let received = self.receive();
        if received.as_ref() != Some(expected) {
            self.complain(&received, expected);
        }
    }

    #[track_caller]
    fn complain(&self, received: &dyn Debug, expected: &dyn Debug) -> ! {
        let transcript = self.world.borrow().transcript();
        panic!(
            "client #{} received {received:?} in place of {expected:?}\n{transcript}",
            self.index
        );
    }

    fn send(
        &self,
        send: impl Fn(&mut Connection<Config>, &mut Output<'_>) -> Result<(), SendError>,
    ) {
        self.with(|end| end.send(send));
    }

    fn run(&self) {
        self.world.borrow_mut().run();
    }

    fn with<T>(&self, call: impl FnOnce(&mut End) -> T) -> T {
        let mut world = self.world.borrow_mut();
        let end = world.end(self.index);
        let result = call(end);
        end.link.borrow_mut().call_client();
        result
    }
}

/// A client, from inside.
pub(super) struct End {
    pub(super) link: Rc<RefCell<Link>>,
    out: VecDeque<u8>,
    fin: bool,
    is_reading: bool,
    is_mute: bool,
    is_ended: bool,
    /// Nobody asks it any more.
    is_let_go: bool,
    received: VecDeque<Received>,
    bytes: Vec<u8>,
    status: Option<u16>,
    phase: Phase,
    keys: Dice,
}

enum Phase {
    /// Nothing is understood, and nothing answered.
    Raw,
    Opening {
        uri: String,
        input: Vec<u8>,
    },
    Open {
        connection: Box<Connection<Config>>,
        messages: Messages<Vec<u8>>,
        input: Vec<u8>,
    },
    Over,
}

impl End {
    pub(super) fn new(link: Rc<RefCell<Link>>, seed: u64) -> Self {
        Self {
            link,
            out: VecDeque::new(),
            fin: false,
            is_reading: true,
            is_mute: false,
            is_ended: false,
            is_let_go: false,
            received: VecDeque::new(),
            bytes: Vec::new(),
            status: None,
            phase: Phase::Raw,
            keys: Dice::new(seed),
        }
    }

    /// Sends the request for `path`.
    pub(super) fn open(&mut self, path: &str) {
        let uri = format!("ws://server.example{path}");
        let mut memory = vec![0; 512 + uri.len()];
        let mut output = Output::new(&mut memory);
        start(&uri, &mut output);
        self.out.extend(output.written());
        self.phase = Phase::Opening {
            uri,
            input: Vec::new(),
        };
        self.link.borrow_mut().call_client();
    }

    /// Lets something arrive at either end; whether anything did.
    pub(super) fn step(&mut self) -> bool {
        let arrived = self.link.borrow_mut().arrive(&mut self.out, self.fin);
        let found = match self.is_reading && !self.is_ended {
            true => self.link.borrow_mut().find(),
            false => Found::Nothing,
        };
        match found {
            Found::Nothing => return arrived,
            Found::Bytes(bytes) => self.take(&bytes),
            Found::Fin => {
                self.end(Received::End);
                // A client that knows the protocol ends the transport too.
                self.fin |= !self.is_mute && !matches!(self.phase, Phase::Raw);
            }
            Found::Reset => self.end(Received::Reset),
        }
        true
    }

    /// Whether nothing will come of it any more, and nobody asks.
    pub(super) fn is_over(&self) -> bool {
        self.is_let_go && self.link.borrow().is_dropped
    }

    fn send(
        &mut self,
        send: impl Fn(&mut Connection<Config>, &mut Output<'_>) -> Result<(), SendError>,
    ) {
        let Phase::Open { connection, .. } = &mut self.phase else {
            panic!("the client is not open");
        };
        let mut keys = masks(&mut self.keys);
        let mut memory = vec![0; 512];
        loop {
            let mut output = Output::masked(&mut memory, &mut keys);
            match send(connection, &mut output) {
                Ok(()) => return self.out.extend(output.written()),
                Err(SendError::Full) => memory = vec![0; 4 * memory.len()],
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn end(&mut self, how: Received) {
        self.is_ended = true;
        self.note(how);
    }

    fn note(&mut self, received: Received) {
        let (word, bytes): (_, &[u8]) = match &received {
            Received::Text(text) => ("text", text.as_bytes()),
            Received::Binary(bytes) => ("binary", bytes),
            Received::Ping(bytes) => ("ping", bytes),
            Received::Pong(bytes) => ("pong", bytes),
            Received::Close(_, reason) => ("close", reason.as_bytes()),
            Received::Nonsense => ("nonsense", b""),
            Received::End => ("end", b""),
            Received::Reset => ("reset", b""),
        };
        let what = What::Received(word, bytes.len(), Digest::of(bytes));
        let link = self.link.borrow();
        link.transcript.borrow_mut().note(link.client, what);
        drop(link);
        self.received.push_back(received);
    }

    fn take(&mut self, bytes: &[u8]) {
        match &mut self.phase {
            Phase::Raw => self.bytes.extend_from_slice(bytes),
            Phase::Over => {}
            Phase::Opening { input, .. } => {
                input.extend_from_slice(bytes);
                self.judge();
            }
            Phase::Open { input, .. } => {
                input.extend_from_slice(bytes);
                while let Some(received) = self.next() {
                    self.note(received);
                }
            }
        }
    }

    /// Looks at the response.
    fn judge(&mut self) {
        let Phase::Opening { uri, input } = &mut self.phase else {
            return;
        };
        let mut config = Config::new();
        config.timeouts = Timeouts::never();
        config.limits.max_message = Limit::Unlimited;
        let mut memory = vec![0; 512 + uri.len()];
        let mut handshake = start(uri, &mut Output::new(&mut memory));
        let mut headers = [EMPTY_HEADER; 100];
        let connection = match handshake.receive(input, &mut headers, &config.limits) {
            Ok(None) => return,
            Ok(Some(Outcome::Accepted { agreed, .. })) => {
                self.status = Some(101);
                agreed.finish(config)
            }
            Ok(Some(Outcome::Rejected(response))) => {
                self.status = Some(response.status());
                self.phase = Phase::Over;
                return;
            }
            Err(_) => {
                self.phase = Phase::Over;
                return self.note(Received::Nonsense);
            }
        };
        let behind = input.split_off(handshake.head_len());
        self.phase = Phase::Open {
            connection: Box::new(connection),
            messages: Messages::new(Vec::new()),
            input: Vec::new(),
        };
        self.take(&behind);
    }

    /// The next event in the input; what answers it is sent.
    fn next(&mut self) -> Option<Received> {
        let Phase::Open {
            connection,
            messages,
            input,
        } = &mut self.phase
        else {
            return None;
        };
        let mut keys = masks(&mut self.keys);
        let mut memory = [0; 256];
        let mut output = Output::masked(&mut memory, &mut keys);
        let mut rest = &mut input[..];
        let received = loop {
            break match messages.receive(connection, &mut rest, &mut output) {
                None => None,
                Some(Event::Text(text)) => Some(Received::Text(text.into())),
                Some(Event::Binary(bytes)) => Some(Received::Binary(bytes.into())),
                Some(Event::Ping(bytes)) => Some(Received::Ping(bytes.into())),
                Some(Event::Pong(bytes)) => Some(Received::Pong(bytes.into())),
                Some(Event::Close { code, reason }) => Some(Received::Close(code, reason.into())),
                Some(Event::Failed(_)) => Some(Received::Nonsense),
                // Compression was not offered.
                Some(Event::Closed(_) | Event::Chunk(_)) => continue,
            };
        };
        let left = rest.len();
        input.drain(..input.len() - left);
        if !self.is_mute {
            self.out.extend(output.written());
        }
        received
    }
}

fn masks(dice: &mut Dice) -> impl FnMut() -> [u8; 4] {
    || (dice.roll() as u32).to_ne_bytes()
}

/// Writes the request, which is the same each time, and awaits the response.
fn start<'u>(uri: &'u str, output: &mut Output<'_>) -> ClientHandshake<'u> {
    let uri = WsUri::parse(uri).expect("the path is one of a URI");
    let request = ClientRequest::new(uri);
    ClientHandshake::start(&request, *b"the sample nonce", output).expect("there is room")
}
