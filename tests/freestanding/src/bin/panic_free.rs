//! Every public entry of the core but the opening handshakes, linked with a panic handler that
//! cannot be linked: an image exists only if the optimiser finds every panicking path dead.
//!
//! Standard input is a program of steps, each a number and its operands; standard output gets the
//! bytes that the core wrote and a digest of all that it returned. Nothing can be computed ahead,
//! so nothing is optimised away, and equal outputs at all opt-levels show that the code is there.

#![no_std]
#![no_main]

use core::hint::black_box;

use rt::Memory;
use ws_proto::{
    Chunk, CloseCode, Config, Connection, Event, Extensions, Limit, Limits, MessageKind, Messages,
    Output, Prepared, Reply, Role, SendError, State, Timeout, Timeouts, Violation, Want, close,
    frame::{FrameHeader, Opcode, mask::MaskingKey},
    utf8::Utf8,
};

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    if cfg!(feature = "may-panic") {
        rt::exit(101)
    } else {
        rt::must_not_be_linked()
    }
}

static PROGRAM: Memory<65536> = Memory::new();
static STORAGE: Memory<2048> = Memory::new();
static OUTPUT: Memory<4096> = Memory::new();
static FRAME: Memory<512> = Memory::new();

rt::entry!(main);

fn main() -> Option<()> {
    let program = Program::read(PROGRAM.lend())?;
    Machine::new(program).run()
}

/// The steps, consumed from the front; zeros behind the end.
struct Program(&'static mut [u8]);

impl Program {
    fn read(memory: &'static mut [u8]) -> Option<Self> {
        let mut len = 0;
        loop {
            match rt::read(memory.get_mut(len..)?)? {
                0 => break,
                n => len += n,
            }
        }
        Some(Self(memory.get_mut(..len)?))
    }

    fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        match core::mem::take(&mut self.0).split_first_chunk_mut() {
            Some((bytes, rest)) => {
                self.0 = rest;
                *bytes
            }
            None => [0; N],
        }
    }

    fn bytes(&mut self) -> &'static mut [u8] {
        let len = usize::from(u16::from_be_bytes(self.array()));
        match core::mem::take(&mut self.0).split_at_mut_checked(len) {
            Some((bytes, rest)) => {
                self.0 = rest;
                bytes
            }
            None => &mut [],
        }
    }

    fn text(&mut self) -> &'static str {
        core::str::from_utf8(self.bytes()).unwrap_or("not text")
    }

    fn kind(&mut self) -> MessageKind {
        match self.byte() & 1 {
            0 => MessageKind::Text,
            _ => MessageKind::Binary,
        }
    }
}

/// FNV-1a over everything that the core returns.
struct Digest(u64);

impl Digest {
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    fn number(&mut self, number: u64) {
        self.bytes(&number.to_be_bytes());
    }

    fn header(&mut self, header: Result<FrameHeader, SendError>) {
        match header {
            Ok(header) => self.bytes(&header.to_bytes()),
            Err(error) => self.sent(Err(error)),
        }
    }

    fn sent(&mut self, result: Result<(), SendError>) {
        self.number(match result {
            Ok(()) => 0,
            Err(SendError::Full) => 1,
            Err(SendError::Closing) => 2,
            Err(SendError::Misuse(misuse)) => 3 + misuse as u64,
        });
    }

    fn event(&mut self, event: Option<Event<'_>>) {
        let (number, bytes): (u64, &[u8]) = match event {
            None => (0, &[]),
            Some(Event::Text(text)) => (1, text.as_bytes()),
            Some(Event::Binary(bytes)) => (2, bytes),
            Some(Event::Chunk(chunk)) => (3 + chunk_bits(&chunk), chunk.bytes),
            Some(Event::Ping(payload)) => (4, payload),
            Some(Event::Pong(payload)) => (5, payload),
            Some(Event::Close { code, reason }) => (6 + wide(code), reason.as_bytes()),
            Some(Event::Failed(violation)) => (7 + ((violation as u64) << 8), &[]),
            Some(Event::Closed(closed)) => (
                8 + (u64::from(closed.clean) << 32)
                    + ((closed.initiator as u64) << 33)
                    + wide(closed.code),
                &[],
            ),
        };
        self.number(number);
        self.bytes(bytes);
    }
}

fn wide(code: CloseCode) -> u64 {
    u64::from(code.get()) << 8
}

fn chunk_bits(chunk: &Chunk<'_>) -> u64 {
    let bits = [chunk.first, chunk.last, chunk.compressed];
    bits.iter().fold(1, |sum, bit| sum << 1 | u64::from(*bit)) << 8 | chunk.kind as u64
}

struct Machine {
    program: Program,
    connection: Connection,
    messages: Messages<&'static mut [u8]>,
    frame: &'static mut [u8],
    output: &'static mut [u8],
    /// How much of `output` is lent, and how much of that counts as written.
    lent: usize,
    digest: Digest,
}

/// A step with its operands from the program, and the output it may write to.
type Step = fn(&mut Machine, &mut Output<'_>);

/// One for each group of entries. Called through this table, they cannot be merged.
static STEPS: [Step; 19] = [
    establish,
    receive,
    look,
    end_of_input,
    fail,
    time,
    send,
    fragments,
    control,
    close_step,
    prepared,
    header_of_message,
    receive_message,
    wants_message,
    read_into_storage,
    header,
    masking,
    utf8,
    codes,
];

static CONFIG: Config = Config::new();
static STRICT: Config = Config {
    limits: Limits {
        max_message: Limit::At(300),
        max_fragments: Limit::At(3),
        ..Limits::new()
    },
    timeouts: Timeouts {
        ping_interval: Timeout::Ms(100),
        pong: Timeout::Ms(50),
        ..Timeouts::never()
    },
    pong: Reply::Manual,
    close: Reply::Manual,
};

impl Machine {
    fn new(program: Program) -> Self {
        Self {
            program,
            connection: Connection::server(&CONFIG),
            messages: Messages::new(STORAGE.lend()),
            frame: FRAME.lend(),
            output: OUTPUT.lend(),
            lent: usize::MAX,
            digest: Digest(0xcbf2_9ce4_8422_2325),
        }
    }

    fn run(mut self) -> Option<()> {
        while !self.program.0.is_empty() {
            let number = usize::from(self.program.byte());
            let Some(step) = black_box(&STEPS).get(number) else {
                continue;
            };
            self.step(*step)?;
        }
        rt::write_all(&self.digest.0.to_be_bytes())
    }

    fn step(&mut self, step: Step) -> Option<()> {
        let memory = core::mem::take(&mut self.output);
        let lent = self.lent.min(memory.len());
        let mut random = self.digest.0;
        let mut keys = || {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            let [a, b, c, d, ..] = random.to_be_bytes();
            [a, b, c, d]
        };
        let buffer = memory.get_mut(..lent)?;
        let mut output = match self.connection.role() {
            Role::Server => Output::new(buffer),
            Role::Client => Output::masked(buffer, &mut keys),
        };
        output = output.resume(usize::from(self.program.byte()));
        let before = output.len();
        step(self, &mut output);
        let (room, empty) = (output.room(), output.is_empty());
        rt::write_all(output.written().get(before..)?)?;
        output.clear();
        self.digest.number((room as u64) << 1 | u64::from(empty));
        self.output = memory;
        Some(())
    }

    fn drain(&mut self, input: &mut &mut [u8], output: &mut Output<'_>) {
        // An event may end in `Closed`, behind which there is none.
        while let Some(event) = self.connection.receive(input, output) {
            self.digest.event(Some(event));
        }
        self.digest.number(input.len() as u64);
    }
}

fn establish(machine: &mut Machine, _: &mut Output<'_>) {
    let bits = machine.program.byte();
    let config = if bits & 1 == 0 { &CONFIG } else { &STRICT };
    machine.lent = usize::from(u16::from_be_bytes(machine.program.array()));
    let messages = core::mem::replace(&mut machine.messages, Messages::new(&mut []));
    machine.messages = Messages::new(messages.into_storage());
    machine.connection = match bits >> 1 & 3 {
        0 => Connection::server(config),
        1 => Connection::client(config),
        2 => Connection::established(Role::Server, Extensions::PER_MESSAGE_DEFLATE, config),
        _ => Connection::established(Role::Client, Extensions::PER_MESSAGE_DEFLATE, config),
    };
}

fn receive(machine: &mut Machine, output: &mut Output<'_>) {
    let mut input = machine.program.bytes();
    machine.drain(&mut input, output);
}

fn look(machine: &mut Machine, output: &mut Output<'_>) {
    let Machine {
        connection, digest, ..
    } = machine;
    let input = machine.program.bytes();
    digest.number(match connection.wants(input, output.room()) {
        Want::Event => 0,
        Want::Input => 1,
        Want::Output => 2,
    });
    digest.number(match connection.state() {
        State::Open => 0,
        State::Closing => 1,
        State::Closed => 2,
    });
    digest.number(u64::from(connection.is_inside_message()));
    digest.number(connection.payload_remaining());
    digest.number(connection.violation().map_or(0, |it| 1 + it as u64));
    digest.number(u64::from(connection.config().pong == Reply::Manual));
    digest.number(connection.role().peer() as u64);
    digest.number(u64::from(connection.extensions().claims(0x40)));
    digest.number(machine.messages.len() as u64 + u64::from(machine.messages.is_empty()));
}

fn end_of_input(machine: &mut Machine, _: &mut Output<'_>) {
    machine.digest.event(machine.connection.end_of_input());
}

fn fail(machine: &mut Machine, output: &mut Output<'_>) {
    let violation = match machine.program.byte() & 1 {
        0 => Violation::UnsupportedData,
        _ => Violation::PolicyViolation,
    };
    let event = machine.connection.fail(violation, output);
    machine.digest.event(event);
}

fn time(machine: &mut Machine, output: &mut Output<'_>) {
    let due = machine.connection.next_timeout();
    machine.digest.number(due.unwrap_or(u64::MAX));
    let choice = machine.program.byte();
    let now = match choice & 1 {
        0 => due.unwrap_or_default(),
        _ => u64::from_be_bytes(machine.program.array()),
    };
    if choice & 2 != 0 {
        machine.connection.note_alive();
    }
    while let Some(event) = machine.connection.handle_timeout(now, output) {
        machine.digest.event(Some(event));
    }
}

fn send(machine: &mut Machine, output: &mut Output<'_>) {
    let sent = match machine.program.kind() {
        MessageKind::Text => {
            let text = machine.program.text();
            machine.connection.send_text(text, output)
        }
        MessageKind::Binary => {
            let bytes = machine.program.bytes();
            machine.connection.send_binary(bytes, output)
        }
    };
    machine.digest.sent(sent);
}

fn fragments(machine: &mut Machine, output: &mut Output<'_>) {
    let choice = machine.program.byte() & 7;
    if choice > 5 {
        // The header alone, as for a payload that is written from elsewhere.
        let bytes = machine.program.bytes();
        let mut apart = output.over(machine.frame);
        let header = match choice {
            6 => machine.connection.fragment_header(bytes, &mut apart),
            _ => machine.connection.finish_header(bytes, &mut apart),
        };
        return machine.digest.header(header);
    }
    let sent = match choice & 3 {
        0 => machine.connection.begin(machine.program.kind()),
        1 => {
            let bytes = machine.program.bytes();
            machine.connection.finish(bytes, output)
        }
        _ => {
            let bytes = machine.program.bytes();
            machine.connection.send_fragment(bytes, output)
        }
    };
    machine.digest.sent(sent);
}

fn control(machine: &mut Machine, output: &mut Output<'_>) {
    let question = machine.program.byte() & 1 == 0;
    let payload = machine.program.bytes();
    let sent = match question {
        true => machine.connection.ping(payload, output),
        false => machine.connection.pong(payload, output),
    };
    machine.digest.sent(sent);
}

fn close_step(machine: &mut Machine, output: &mut Output<'_>) {
    let code = CloseCode::from(u16::from_be_bytes(machine.program.array()));
    let reason = machine.program.text();
    let sent = machine.connection.close(code, reason, output);
    machine.digest.sent(sent);
}

fn prepared(machine: &mut Machine, output: &mut Output<'_>) {
    let encoded = match machine.program.kind() {
        MessageKind::Text => Prepared::text(machine.program.text(), machine.frame),
        MessageKind::Binary => Prepared::binary(machine.program.bytes(), machine.frame),
    };
    let Ok(prepared) = encoded.map(Prepared::keep::<&[u8]>) else {
        return;
    };
    if let Some(kept) = Prepared::from_bytes(machine.program.bytes()) {
        machine.digest.bytes(kept.payload());
    }
    machine.digest.bytes(prepared.as_bytes());
    machine.digest.bytes(prepared.payload());
    machine.digest.number(prepared.kind() as u64);
    let sent = machine.connection.send_prepared(&prepared, output);
    machine.digest.sent(sent);
}

fn header_of_message(machine: &mut Machine, output: &mut Output<'_>) {
    let kind = machine.program.kind();
    let len = u64::from_be_bytes(machine.program.array());
    let header = machine.connection.frame_header(kind, len, output);
    machine.digest.header(header);
}

fn receive_message(machine: &mut Machine, output: &mut Output<'_>) {
    let mut input = machine.program.bytes();
    let Machine {
        connection,
        messages,
        digest,
        ..
    } = machine;
    while let Some(event) = messages.receive(connection, &mut input, output) {
        digest.event(Some(event));
    }
    digest.number(input.len() as u64);
    messages.shrink();
    // The same in two steps, for drivers of their own.
    while let Some(event) = connection.receive(&mut input, output) {
        match event {
            Event::Chunk(chunk) if !chunk.compressed => {
                digest.event(messages.add(chunk, connection, output));
            }
            event => digest.event(Some(event)),
        }
    }
}

fn wants_message(machine: &mut Machine, output: &mut Output<'_>) {
    let mut input = machine.program.bytes();
    let Machine {
        connection,
        messages,
        digest,
        ..
    } = machine;
    let want = messages.wants(connection, &mut input, output);
    digest.number(want as u64);
    if want == Want::Event {
        digest.event(messages.receive(connection, &mut input, output));
    }
}

fn read_into_storage(machine: &mut Machine, output: &mut Output<'_>) {
    let bytes = machine.program.bytes();
    let Machine {
        connection,
        messages,
        digest,
        ..
    } = machine;
    let Some(spare) = messages.spare_mut(connection, output.room()) else {
        return;
    };
    let n = spare.len().min(bytes.len());
    for (to, from) in spare.iter_mut().zip(bytes) {
        *to = *from;
    }
    digest.event(messages.commit(n, connection, output));
}

fn header(machine: &mut Machine, _: &mut Output<'_>) {
    match FrameHeader::parse(machine.program.bytes()) {
        Ok(Some((header, len))) => {
            machine.digest.number(len as u64);
            machine.digest.bytes(&header.to_bytes());
        }
        Ok(None) => machine.digest.number(0),
        Err(violation) => machine.digest.number(wide(violation.close_code())),
    }
}

fn masking(machine: &mut Machine, _: &mut Output<'_>) {
    let key = MaskingKey::from(machine.program.array());
    let key = key.skip(usize::from(machine.program.byte()));
    machine.digest.bytes(&key.to_bytes());
    let (from, to) = (machine.program.bytes(), machine.program.bytes());
    key.copy(from, to);
    machine.digest.bytes(to);
    key.apply(to);
    machine.digest.bytes(to);
}

fn utf8(machine: &mut Machine, _: &mut Output<'_>) {
    let mut text = Utf8::new();
    for _ in 0..machine.program.byte() & 3 {
        let taken = text.take(machine.program.bytes());
        machine
            .digest
            .number(taken.err().unwrap_or(usize::MAX) as u64);
        machine.digest.number(u64::from(text.is_boundary()));
    }
}

fn codes(machine: &mut Machine, _: &mut Output<'_>) {
    match close::parse(machine.program.bytes()) {
        Ok((code, reason)) => {
            machine.digest.number(wide(code));
            machine.digest.bytes(reason.as_bytes());
        }
        Err(violation) => machine.digest.number(violation as u64),
    }
    let number = u16::from_be_bytes(machine.program.array());
    let code = CloseCode::new(number);
    let [high, low] = number.to_be_bytes();
    let answers = [
        code.is_valid_on_wire(),
        code.may_be_sent_by(Role::Client),
        code.may_be_sent_by(Role::Server),
        Extensions::NONE.claims(high),
        Opcode::from_bits(low).is_some_and(Opcode::is_control),
        Limit::At(u64::from(low)).allows(u64::from(high)),
    ];
    for answer in answers {
        machine.digest.number(u64::from(answer));
    }
    #[cfg(feature = "control-panic")]
    machine
        .digest
        .number(u64::from(machine.frame[usize::from(number)]));
}
