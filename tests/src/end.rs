//! One end: a connection, its buffers, and an application that follows a script.

use ws_proto::{
    Chunk, CloseCode, Config, Connection, Event, Extensions, MessageKind, Output, REPLY_ROOM,
    Reply, Role, SendError, State, Violation, Want,
};

use crate::{
    events::{Log, Record},
    frames::{Frame, Keys},
};

/// When the application does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before anything is received.
    Start,
    /// At the end of each message.
    EachMessage,
    /// At the end of the message with this number, from 1.
    Message(usize),
    /// At each Ping.
    EachPing,
    /// At each Pong.
    EachPong,
    /// At the peer's Close.
    Close,
    /// When all that the peer sends is received.
    Last,
}

/// What the application does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Do {
    /// Sends the message that has just ended back in one frame.
    Echo,
    /// Sends a text message.
    Text(&'static str),
    /// Sends a binary message.
    Binary(&'static [u8]),
    /// Begins a message.
    Begin(MessageKind),
    /// Sends a fragment.
    Fragment(&'static [u8]),
    /// Sends the last fragment.
    Finish(&'static [u8]),
    /// Sends a Ping.
    Ping(&'static [u8]),
    /// Answers the Ping that has just come, or sends an empty Pong.
    Pong,
    /// Closes.
    Close(u16, &'static str),
    /// Fails the connection.
    Fail(Violation),
}

/// What the application does, and when.
pub type Script = &'static [(When, Do)];

/// One end of a connection.
///
/// It checks at each step that `wants` tells the truth. Its replies and sends share a buffer of
/// `room` bytes, which is flushed to [`sent`](End::sent) only when it has to be.
#[derive(Clone, Debug)]
pub struct End<R = Log> {
    /// The connection.
    pub connection: Connection<Config>,
    /// What it reported.
    pub seen: R,
    /// What it wrote and flushed. [`flush`](End::flush) adds what is still queued.
    pub sent: Vec<u8>,
    script: Script,
    keys: Keys,
    /// Received, and not yet taken by the connection.
    unread: Vec<u8>,
    /// The output's memory. All of it is lent only for what does not fit into `room`.
    memory: Vec<u8>,
    room: usize,
    queued: usize,
    /// The message that is coming in.
    kind: MessageKind,
    message: Vec<u8>,
    messages: usize,
    /// The payload of the last Ping.
    ping: Vec<u8>,
}

impl<R: Record> End<R> {
    /// An end without extensions, whose application only listens.
    pub fn new(role: Role, config: Config) -> Self {
        Self::established(role, Extensions::NONE, config)
    }

    /// An end whose application only listens.
    pub fn established(role: Role, extensions: Extensions, config: Config) -> Self {
        Self {
            connection: Connection::established(role, extensions, config),
            seen: R::default(),
            sent: Vec::new(),
            script: &[],
            keys: Keys::default(),
            unread: Vec::new(),
            memory: Vec::new(),
            room: 4096,
            queued: 0,
            kind: MessageKind::Binary,
            message: Vec::new(),
            messages: 0,
            ping: Vec::with_capacity(125),
        }
        .with_room(4096)
    }

    /// The same with an application, which does at once what it does at the [start](When::Start).
    #[must_use]
    pub fn with_script(mut self, script: Script) -> Self {
        self.script = script;
        self.act(When::Start);
        self
    }

    /// The same with an output of `room` bytes, 131 at least.
    #[must_use]
    pub fn with_room(mut self, room: usize) -> Self {
        assert!(room >= REPLY_ROOM, "replies need room");
        self.room = room;
        self.reserve(0);
        self
    }

    /// Prepares memory for messages of `n` bytes, received and sent, so that none is needed later.
    pub fn reserve(&mut self, n: usize) {
        let len = self.room.max(n + 14 + REPLY_ROOM);
        self.memory.resize(self.memory.len().max(len), 0);
        self.message.reserve(n);
        self.unread.reserve(n);
        self.sent.reserve(n);
    }

    /// Presents the next bytes of the peer, behind those that are unread.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        let mut memory = std::mem::take(&mut self.unread);
        let mut input = &mut memory[..];
        while self.step(&mut input) {}
        let kept = input.len();
        memory.drain(..memory.len() - kept);
        self.unread = memory;
    }

    /// Tells that the peer sends nothing more, but goes on reading: the script's last part.
    pub fn receive_last(&mut self) {
        self.act(When::Last);
        self.receive(&[]);
    }

    /// Tells that the transport has ended.
    pub fn end_of_input(&mut self) {
        if let Some(event) = self.connection.end_of_input() {
            self.seen.record(&event);
        }
    }

    /// Tells the time, until nothing is due.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        while let Some(event) = self.lend(self.room, |connection, output| {
            connection.handle_timeout(now_ms, output)
        }) {
            self.seen.record(&event);
        }
    }

    /// Sends something. What does not fit is sent when the output is flushed.
    ///
    /// # Errors
    ///
    /// As the connection's, but for [`SendError::Full`].
    pub fn send(
        &mut self,
        mut send: impl FnMut(&mut Connection<Config>, &mut Output<'_>) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        let mut lent = self.room;
        loop {
            match self.lend(lent, &mut send) {
                Err(SendError::Full) if self.queued > 0 => self.flush(),
                Err(SendError::Full) if lent < self.memory.len() => lent = self.memory.len(),
                Err(SendError::Full) => self.memory.resize(2 * lent, 0),
                result => {
                    self.flush_if_larger();
                    return result;
                }
            }
        }
    }

    /// Fails the connection, and records it.
    pub fn fail(&mut self, violation: Violation) {
        let failed = self.lend(self.memory.len(), |connection, output| {
            connection.fail(violation, output)
        });
        if let Some(event) = failed {
            self.seen.record(&event);
        }
    }

    /// Moves what is queued to [`sent`](End::sent).
    pub fn flush(&mut self) {
        self.sent.extend_from_slice(&self.memory[..self.queued]);
        self.queued = 0;
    }

    /// All that was sent since the last call.
    pub fn take_sent(&mut self) -> Vec<u8> {
        self.flush();
        std::mem::take(&mut self.sent)
    }

    /// The frames that were sent since the last call.
    pub fn take_frames(&mut self) -> Vec<Frame> {
        Frame::read_all(&self.take_sent())
    }

    /// What was received and not taken.
    pub fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// Whether [`Event::Closed`] was reported.
    pub fn is_closed(&self) -> bool {
        self.connection.state() == State::Closed
    }

    /// One call of `receive`; whether there may be another.
    fn step(&mut self, input: &mut &mut [u8]) -> bool {
        let unread = input.len();
        let queued = self.queued;
        let want = self.connection.wants(input, self.room - self.queued);
        let event = self.lend(self.room, |connection, output| {
            connection.receive(input, output)
        });
        match (want, event) {
            (Want::Event, Some(event)) => {
                self.seen.record(&event);
                self.react(&event);
                return true;
            }
            (Want::Output, None) if queued > 0 => self.flush(),
            (Want::Input, None) => {}
            (want, event) => panic!("it wants {want:?}, and reports {event:?}"),
        }
        // What is behind the peer's Close is nobody's.
        let owes_close = self.connection.config().close == Reply::Manual
            && self.connection.state() == State::Closing;
        let discards = self.is_closed() || owes_close;
        assert!(
            input.len() == unread || discards,
            "it takes input for nothing"
        );
        want == Want::Output
    }

    fn react(&mut self, event: &Event<'_>) {
        match event {
            Event::Text(text) => self.take_chunk(&Chunk {
                kind: MessageKind::Text,
                ..whole(text.as_bytes())
            }),
            Event::Binary(bytes) => self.take_chunk(&whole(bytes)),
            Event::Chunk(chunk) => self.take_chunk(chunk),
            Event::Ping(payload) => {
                self.ping.clear();
                self.ping.extend_from_slice(payload);
                self.act(When::EachPing);
            }
            Event::Pong(_) => self.act(When::EachPong),
            Event::Close { .. } => self.act(When::Close),
            Event::Failed(_) | Event::Closed(_) => {}
        }
    }

    fn take_chunk(&mut self, chunk: &Chunk<'_>) {
        if chunk.first {
            self.message.clear();
            self.kind = chunk.kind;
        }
        self.message.extend_from_slice(chunk.bytes);
        if chunk.last {
            self.messages += 1;
            self.act(When::EachMessage);
            self.act(When::Message(self.messages));
        }
    }

    fn act(&mut self, now: When) {
        for (when, action) in self.script {
            if *when == now {
                // A script may do what is refused, such as sending after Close: it is refused
                // however the stream is cut.
                let _ = self.perform(*action);
            }
        }
    }

    fn perform(&mut self, action: Do) -> Result<(), SendError> {
        match action {
            Do::Echo => self.echo(),
            Do::Text(text) => self.send(|c, output| c.send_text(text, output)),
            Do::Binary(bytes) => self.send(|c, output| c.send_binary(bytes, output)),
            Do::Begin(kind) => self.send(|c, _| c.begin(kind)),
            Do::Fragment(bytes) => self.send(|c, output| c.send_fragment(bytes, output)),
            Do::Finish(bytes) => self.send(|c, output| c.finish(bytes, output)),
            Do::Ping(payload) => self.send(|c, output| c.ping(payload, output)),
            Do::Pong => {
                let payload = std::mem::take(&mut self.ping);
                let result = self.send(|c, output| c.pong(&payload, output));
                self.ping = payload;
                result
            }
            Do::Close(code, reason) => {
                self.send(|c, output| c.close(CloseCode::new(code), reason, output))
            }
            Do::Fail(violation) => {
                self.fail(violation);
                Ok(())
            }
        }
    }

    fn echo(&mut self) -> Result<(), SendError> {
        let message = std::mem::take(&mut self.message);
        let kind = self.kind;
        let result = self.send(|c, output| match kind {
            MessageKind::Binary => c.send_binary(&message, output),
            MessageKind::Text => {
                let text = str::from_utf8(&message).expect("text was checked on its way in");
                c.send_text(text, output)
            }
        });
        self.message = message;
        result
    }

    /// Calls `f` with the connection and the first `room` bytes of the output's memory, behind what
    /// is queued there.
    fn lend<T>(
        &mut self,
        room: usize,
        f: impl FnOnce(&mut Connection<Config>, &mut Output<'_>) -> T,
    ) -> T {
        let memory = &mut self.memory[..room];
        let mut output = match self.connection.role() {
            Role::Client => Output::masked(memory, &mut self.keys),
            Role::Server => Output::new(memory),
        }
        .resume(self.queued);
        let result = f(&mut self.connection, &mut output);
        self.queued = output.len();
        result
    }

    /// What was written past `room` leaves at once.
    fn flush_if_larger(&mut self) {
        if self.queued > self.room {
            self.flush();
        }
    }
}

/// A binary message in one piece.
fn whole(bytes: &[u8]) -> Chunk<'_> {
    Chunk {
        kind: MessageKind::Binary,
        bytes,
        first: true,
        last: true,
        compressed: false,
    }
}
