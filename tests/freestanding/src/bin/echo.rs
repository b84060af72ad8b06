//! The whole core on standard input and output: a server's opening handshake, then an echo.

#![no_std]
#![no_main]

use rt::Memory;
use ws_proto::{
    Config, Connection, Event, Limit, Limits, Messages, Output, SEND_ROOM, ServerHandshake,
    Timeouts,
    handshake::{Acceptance, EMPTY_HEADER, HandshakeError, Upgrade},
};

static CONFIG: Config = Config {
    limits: Limits {
        max_message: Limit::At(4096),
        max_head: INPUT_LEN,
        ..Limits::new()
    },
    timeouts: Timeouts::never(),
    ..Config::new()
};

/// Shorter than messages may be, so that these come in pieces.
const INPUT_LEN: usize = 1024;

static INPUT: Memory<INPUT_LEN> = Memory::new();
static STORAGE: Memory<4096> = Memory::new();
/// A message, and what its send needs beyond it.
static OUTPUT: Memory<{ 4096 + SEND_ROOM }> = Memory::new();

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    rt::exit(101)
}

rt::entry!(main);

fn main() -> Option<()> {
    let mut input = Input::new(INPUT.lend());
    let memory = OUTPUT.lend();
    let mut output = Output::new(&mut *memory);
    let connection = open(&mut input, &mut output);
    rt::write_all(output.written())?;
    echo(connection?, &mut input, memory)
}

/// What was read and not consumed.
struct Input {
    memory: &'static mut [u8],
    start: usize,
    end: usize,
}

impl Input {
    fn new(memory: &'static mut [u8]) -> Self {
        Self {
            memory,
            start: 0,
            end: 0,
        }
    }

    /// Reads more behind what is unread; `None` at the end, and where there is no space.
    fn fill(&mut self) -> Option<()> {
        self.memory.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let n = rt::read(self.memory.get_mut(self.end..)?)?;
        self.end += n;
        (n > 0).then_some(())
    }

    fn unread(&mut self) -> &mut [u8] {
        self.memory
            .get_mut(self.start..self.end)
            .unwrap_or_default()
    }
}

fn open(input: &mut Input, output: &mut Output<'_>) -> Option<Connection> {
    let mut handshake = ServerHandshake::new();
    loop {
        let mut headers = [EMPTY_HEADER; 16];
        let refused = match handshake.receive(input.unread(), &mut headers, &CONFIG.limits) {
            Ok(Some(request)) => match request.upgrade() {
                Upgrade::WebSocket => break,
                Upgrade::Refused(error) => handshake.reject_error(error, output),
                Upgrade::None => handshake.reject(404, &[], b"", output),
            },
            Ok(None) => {
                input.fill()?;
                continue;
            }
            Err(error) => handshake.reject_error(error, output),
        };
        return refused.ok().and(None);
    }
    input.start += handshake.head_len();
    let accepted = handshake.accept(&Acceptance::new(), &CONFIG, output);
    accepted.map_err(HandshakeError::from).ok()
}

/// Sends messages back until the end, which is to be clean.
fn echo(mut connection: Connection, input: &mut Input, memory: &mut [u8]) -> Option<()> {
    let mut messages = Messages::new(STORAGE.lend());
    loop {
        let end = input.end;
        let mut unread = input.unread();
        let mut output = Output::new(memory);
        let event = messages.receive(&mut connection, &mut unread, &mut output);
        let starved = event.is_none();
        match event {
            Some(Event::Text(text)) => connection.send_text(text, &mut output).ok()?,
            Some(Event::Binary(bytes)) => connection.send_binary(bytes, &mut output).ok()?,
            Some(Event::Closed(closed)) => return closed.clean.then_some(()),
            _ => {}
        }
        rt::write_all(output.written())?;
        input.start = end - unread.len();
        if starved {
            input.fill()?;
        }
    }
}
