//! Every state with every input, in both roles, against tables that can be read.
//!
//! A cell says what happens: an event or a result, `+` and the frame that is written, `>` and the
//! state that follows. What is not said does not happen; `-` is nothing at all. `Ended` stands for
//! what follows when both Closes are sent: `CloseDue` on a server, `AwaitEnd` on a client (§7.1.1).

use ws_proto::{
    CloseCode, Config, Connection, Event, Extensions, Initiator, MessageKind, Output, Prepared,
    Reply, Role, SendError, Violation,
    frame::Opcode::{self, Binary, Close, Continuation, Ping, Pong, Text},
};
use ws_tests::{Frame, Frames, Keys, Log, Seen};

const ROLES: [Role; 2] = [Role::Server, Role::Client];

/// The lifecycle. Columns are states, and rows are inputs: `receives` one frame, or a call.
const LIFECYCLE: &str = "
                            | Open                     | AwaitClose        | OweClose                | AwaitEnd         | FailureDue       | CloseDue       | Closed
receives nothing            | -                        | -                 | -                       | -                | Failed >CloseDue | Closed >Closed | -
receives half a header      | -                        | -                 | -                       | Closed >Closed   | Failed >CloseDue | Closed >Closed | -
receives text               | Text                     | Text              | -                       | Closed >Closed   | Failed >CloseDue | Closed >Closed | -
receives binary             | Binary                   | Binary            | -                       | Closed >Closed   | Failed >CloseDue | Closed >Closed | -
receives a first fragment   | Chunk                    | Chunk             | -                       | Closed >Closed   | Failed >CloseDue | Closed >Closed | -
receives a continuation     | Failed +Close >CloseDue  | Failed >CloseDue  | -                       | Closed >Closed   | Failed >CloseDue | Closed >Closed | -
receives a ping             | Ping +Pong               | Ping              | -                       | Closed >Closed   | Failed >CloseDue | Closed >Closed | -
receives a pong             | Pong                     | Pong              | -                       | Closed >Closed   | Failed >CloseDue | Closed >Closed | -
receives a close            | Close +Close >Ended      | Close >Ended      | -                       | Closed >Closed   | Failed >CloseDue | Closed >Closed | -
receives a bad close        | Failed +Close >CloseDue  | Failed >CloseDue  | -                       | Closed >Closed   | Failed >CloseDue | Closed >Closed | -
receives a reserved opcode  | Failed +Close >CloseDue  | Failed >CloseDue  | -                       | Closed >Closed   | Failed >CloseDue | Closed >Closed | -
receives bad text           | Failed +Close >CloseDue  | Failed >CloseDue  | -                       | Closed >Closed   | Failed >CloseDue | Closed >Closed | -
receives text that goes bad | Chunk +Close >FailureDue | Chunk >FailureDue | -                       | Closed >Closed   | Failed >CloseDue | Closed >Closed | -
send_text                   | ok +Text                 | Closing           | ok +Text                | Closing          | Closing          | Closing        | Closing
send_binary                 | ok +Binary               | Closing           | ok +Binary              | Closing          | Closing          | Closing        | Closing
begin                       | ok                       | Closing           | ok                      | Closing          | Closing          | Closing        | Closing
send_fragment               | NoMessageInProgress      | Closing           | NoMessageInProgress     | Closing          | Closing          | Closing        | Closing
finish                      | NoMessageInProgress      | Closing           | NoMessageInProgress     | Closing          | Closing          | Closing        | Closing
ping                        | ok +Ping                 | Closing           | ok +Ping                | Closing          | Closing          | Closing        | Closing
pong                        | ok +Pong                 | Closing           | ok +Pong                | Closing          | Closing          | Closing        | Closing
close                       | ok +Close >AwaitClose    | Closing           | ok +Close >Ended        | Closing          | Closing          | Closing        | Closing
fail                        | Failed +Close >CloseDue  | Failed >CloseDue  | Failed +Close >CloseDue | Failed >CloseDue | -                | -              | -
end_of_input                | Closed >Closed           | Closed >Closed    | Closed >Closed          | Closed >Closed   | Closed >Closed   | Closed >Closed | -
handle_timeout at once      | -                        | -                 | -                       | -                | Failed >CloseDue | Closed >Closed | -
handle_timeout when due     | +Ping                    | Closed >Closed    | Closed >Closed          | Closed >Closed   | Failed >CloseDue | Closed >Closed | -
";

/// The incoming message, of an open connection.
const INCOMING: &str = "
                           | ExpectMessage           | ExpectFragment
receives text              | Text                    | Failed +Close >CloseDue
receives binary            | Binary                  | Failed +Close >CloseDue
receives a first fragment  | Chunk                   | Failed +Close >CloseDue
receives a continuation    | Failed +Close >CloseDue | Chunk
receives the last fragment | Failed +Close >CloseDue | Chunk
receives a ping            | Ping +Pong              | Ping +Pong
receives a pong            | Pong                    | Pong
receives a close           | Close +Close >Ended     | Close +Close >Ended
send_text                  | ok +Text                | ok +Text
";

/// The outgoing message, of an open connection.
const OUTGOING: &str = "
                          | Idle                  | Begun                 | Continuing
send_text                 | ok +Text              | MessageInProgress     | MessageInProgress
send_binary               | ok +Binary            | MessageInProgress     | MessageInProgress
send_prepared             | ok +Text              | MessageInProgress     | MessageInProgress
frame_header              | ok                    | MessageInProgress     | MessageInProgress
begin                     | ok                    | MessageInProgress     | MessageInProgress
send_fragment             | NoMessageInProgress   | ok +Text              | ok +Continuation
send_fragment of bad text | NoMessageInProgress   | InvalidUtf8           | InvalidUtf8
finish                    | NoMessageInProgress   | ok +Text              | ok +Continuation
finish inside a character | NoMessageInProgress   | InvalidUtf8           | InvalidUtf8
ping                      | ok +Ping              | ok +Ping              | ok +Ping
ping of 126 bytes         | ControlPayloadTooLong | ControlPayloadTooLong | ControlPayloadTooLong
pong                      | ok +Pong              | ok +Pong              | ok +Pong
close                     | ok +Close >AwaitClose | ok +Close >AwaitClose | ok +Close >AwaitClose
close with 1005           | InvalidCloseCode      | InvalidCloseCode      | InvalidCloseCode
close with 124 bytes      | CloseReasonTooLong    | CloseReasonTooLong    | CloseReasonTooLong
receives text             | Text                  | Text                  | Text
receives a ping           | Ping +Pong            | Ping +Pong            | Ping +Pong
receives a close          | Close +Close >Ended   | Close +Close >Ended   | Close +Close >Ended
";

#[test]
fn lifecycle_with_every_input() {
    check(LIFECYCLE);
}

#[test]
fn incoming_message_with_every_input() {
    check(INCOMING);
}

#[test]
fn outgoing_message_with_every_input() {
    check(OUTGOING);
}

fn check(table: &str) {
    let mut rows = table
        .trim()
        .lines()
        .map(|row| row.split('|').map(str::trim));
    let head = rows.next().expect("there is a head");
    let states: Vec<&str> = head.skip(1).collect();
    for mut row in rows {
        let input = row.next().expect("a row has an input");
        let cells: Vec<&str> = row.collect();
        assert_eq!(cells.len(), states.len(), "row {input}");
        for (state, expected) in states.iter().zip(cells) {
            for role in ROLES {
                if (role, *state) == (Role::Server, "AwaitEnd") {
                    // "the server MUST close the TCP connection immediately" (§7.1.1).
                    continue;
                }
                let found = End::in_state(role, state).perform(input);
                let found = if found.is_empty() { "-".into() } else { found };
                let ended = match role {
                    Role::Server => "CloseDue",
                    Role::Client => "AwaitEnd",
                };
                let expected = expected.replace("Ended", ended);
                assert_eq!(found, expected, "{role:?} in {state}: {input}");
            }
        }
    }
}

/// A connection, and its output.
struct End {
    connection: Connection<Config>,
    memory: [u8; 1024],
    keys: Keys,
}

impl End {
    fn new(role: Role, config: Config) -> Self {
        Self {
            connection: Connection::established(role, Extensions::NONE, config),
            memory: [0; 1024],
            keys: Keys::default(),
        }
    }

    fn in_state(role: Role, state: &str) -> Self {
        let mut config = Config::new();
        if state == "OweClose" {
            config.close = Reply::Manual;
        }
        let mut end = Self::new(role, config);
        let steps: &[&str] = match state {
            "Open" | "ExpectMessage" | "Idle" => &[],
            "AwaitClose" => &["close"],
            "OweClose" => &["receives a close"],
            "AwaitEnd" => &["receives a close"],
            "FailureDue" => &["receives text that goes bad"],
            "CloseDue" => &["receives a reserved opcode"],
            "Closed" => &["end_of_input"],
            "ExpectFragment" => &["receives a first fragment"],
            "Begun" => &["begin"],
            "Continuing" => &["begin", "send_fragment"],
            other => panic!("there is no state {other}"),
        };
        for step in steps {
            end.perform(step);
        }
        end
    }

    /// Does as the input says, and tells what came of it in the words of the tables.
    fn perform(&mut self, input: &str) -> String {
        let before = lifecycle(&self.connection);
        let (mut told, written) = match input.strip_prefix("receives ") {
            Some(what) => self.receive(&bytes(self.connection.role().peer(), what)),
            None => self.call(input),
        };
        for frame in Frame::read_all(&written) {
            told.push_str(&format!(" +{:?}", frame.opcode));
        }
        let after = lifecycle(&self.connection);
        if after != before {
            told.push_str(&format!(" >{after}"));
        }
        told.trim().to_owned()
    }

    fn receive(&mut self, bytes: &[u8]) -> (String, Vec<u8>) {
        let mut bytes = bytes.to_vec();
        self.with_output(|connection, output| tell(connection.receive(&mut &mut bytes[..], output)))
    }

    fn call(&mut self, call: &str) -> (String, Vec<u8>) {
        let mut memory = [0; 64];
        self.with_output(|c, output| {
            let close = |c: &mut Connection<_>, output: &mut Output<'_>, code, reason: &str| {
                c.close(CloseCode::new(code), reason, output)
            };
            let result = match call {
                "fail" => return tell(c.fail(Violation::PolicyViolation, output)),
                "end_of_input" => return tell(c.end_of_input()),
                "handle_timeout at once" => return tell(c.handle_timeout(0, output)),
                "handle_timeout when due" => {
                    let at_once = c.handle_timeout(0, output);
                    // The interval of pings, and longer than a Close may take.
                    return tell(at_once.or_else(|| c.handle_timeout(20_000, output)));
                }
                "send_text" => c.send_text("text", output),
                "send_binary" => c.send_binary(&[1, 2], output),
                "send_prepared" => {
                    let prepared = Prepared::text("text", &mut memory).expect("it fits");
                    c.send_prepared(&prepared, output)
                }
                "frame_header" => c.frame_header(MessageKind::Binary, 9, output).map(drop),
                "begin" => c.begin(MessageKind::Text),
                "send_fragment" => c.send_fragment(b"ab", output),
                "send_fragment of bad text" => c.send_fragment(b"ab\xff", output),
                "finish" => c.finish(b"cd", output),
                "finish inside a character" => c.finish(b"cd\xc3", output),
                "ping" => c.ping(b"ping", output),
                "ping of 126 bytes" => c.ping(&[0; 126], output),
                "pong" => c.pong(b"pong", output),
                "close" => close(c, output, 1000, ""),
                "close with 1005" => close(c, output, 1005, ""),
                "close with 124 bytes" => close(c, output, 1000, &"x".repeat(124)),
                other => panic!("there is no call {other}"),
            };
            match result {
                Ok(()) => "ok".into(),
                Err(SendError::Misuse(misuse)) => format!("{misuse:?}"),
                Err(error) => format!("{error:?}"),
            }
        })
    }

    fn with_output(
        &mut self,
        f: impl FnOnce(&mut Connection<Config>, &mut Output<'_>) -> String,
    ) -> (String, Vec<u8>) {
        let mut output = match self.connection.role() {
            Role::Client => Output::masked(&mut self.memory, &mut self.keys),
            Role::Server => Output::new(&mut self.memory),
        };
        let told = f(&mut self.connection, &mut output);
        (told, output.written().to_vec())
    }
}

fn bytes(sender: Role, what: &str) -> Vec<u8> {
    let mut peer = Frames::of(sender);
    match what {
        "nothing" => &mut peer,
        "half a header" => peer.raw([0x82]),
        "text" => peer.text("text"),
        "binary" => peer.binary([0xFF]),
        "a first fragment" => peer.frame(false, Text, "first"),
        "a continuation" => peer.frame(false, Continuation, "next"),
        "the last fragment" => peer.frame(true, Continuation, "last"),
        "a ping" => peer.ping("ping"),
        "a pong" => peer.pong("pong"),
        "a close" => peer.close(1000, ""),
        "a bad close" => peer.frame(true, Close, [1]),
        "a reserved opcode" => peer.first_byte(0x83, ""),
        "bad text" => peer.text(b"\xff"),
        "text that goes bad" => peer.text(b"ab\xff"),
        other => panic!("there is no frame {other}"),
    };
    peer.take()
}

fn tell(event: Option<Event<'_>>) -> String {
    match event {
        None => "",
        Some(Event::Text(_)) => "Text",
        Some(Event::Binary(_)) => "Binary",
        Some(Event::Chunk(_)) => "Chunk",
        Some(Event::Ping(_)) => "Ping",
        Some(Event::Pong(_)) => "Pong",
        Some(Event::Close { .. }) => "Close",
        Some(Event::Failed(_)) => "Failed",
        Some(Event::Closed(_)) => "Closed",
    }
    .to_owned()
}

/// The state, which is private, as `Debug` shows it.
fn lifecycle(connection: &Connection<Config>) -> String {
    let debug = format!("{connection:?}");
    let (_, rest) = debug
        .split_once("lifecycle: ")
        .expect("a connection shows its lifecycle");
    rest.split([',', ' ']).next().unwrap_or_default().to_owned()
}

/// All first bytes, with the mask right and wrong, with a message open and none.
#[test]
fn all_first_bytes() {
    for role in ROLES {
        for (first, mask_is_right, is_open) in (0..=255).flat_map(|first| {
            [(true, true), (true, false), (false, true), (false, false)]
                .map(|(mask, open)| (first, mask, open))
        }) {
            let mut end = End::new(role, Config::new());
            if is_open {
                end.perform("receives a first fragment");
            }
            let mut peer = Frames::of(role.peer());
            let mut bytes = match mask_is_right {
                true => peer.first_byte(first, "").take(),
                false => peer.wrong_mask(first, "").take(),
            };
            let mut memory = [0; 256];
            let mut output = match role {
                Role::Client => Output::masked(&mut memory, &mut end.keys),
                Role::Server => Output::new(&mut memory),
            };
            let event = end.connection.receive(&mut &mut bytes[..], &mut output);
            let violation = expected_violation(role, first, mask_is_right, is_open);
            let case = format!("{role:?} {first:#04x}, mask {mask_is_right}, open {is_open}");
            match violation {
                Some(violation) => {
                    assert_eq!(event, Some(Event::Failed(violation)), "{case}");
                    let close = &Frame::read_all(output.written())[0];
                    assert_eq!(close.opcode, Close, "{case}");
                    assert_eq!(close.payload, 1002u16.to_be_bytes(), "{case}");
                }
                None => {
                    let event = event.unwrap_or_else(|| panic!("{case}: something is reported"));
                    assert!(!matches!(event, Event::Failed(_)), "{case}: {event:?}");
                }
            }
        }
    }
}

/// The rules of RFC 6455 §5.2, §5.5, §5.1 and §5.4, in the order in which the bytes show them.
fn expected_violation(
    role: Role,
    first: u8,
    mask_is_right: bool,
    is_open: bool,
) -> Option<Violation> {
    let opcode = first & 0x0F;
    let rules = [
        (matches!(opcode, 3..=7 | 11..=15), Violation::ReservedOpcode),
        (
            opcode >= 8 && first & 0x80 == 0,
            Violation::FragmentedControlFrame,
        ),
        (first & 0x70 != 0, Violation::ReservedBits),
        (
            !mask_is_right,
            match role {
                Role::Server => Violation::UnmaskedClientFrame,
                Role::Client => Violation::MaskedServerFrame,
            },
        ),
        (opcode == 0 && !is_open, Violation::UnexpectedContinuation),
        (
            matches!(opcode, 1 | 2) && is_open,
            Violation::ExpectedContinuation,
        ),
    ];
    let broken = rules.into_iter().find(|(is_broken, _)| *is_broken);
    broken.map(|(_, violation)| violation)
}

#[test]
fn all_opcodes_have_their_bits() {
    for (opcode, bits) in [
        (Continuation, 0),
        (Text, 1),
        (Binary, 2),
        (Close, 8),
        (Ping, 9),
        (Pong, 10),
    ] {
        assert_eq!(Opcode::from_bits(bits), Some(opcode));
        assert_eq!(opcode as u8, bits);
    }
}

#[test]
fn all_close_codes_received() {
    for role in ROLES {
        for code in 0..=u16::MAX {
            let mut end = End::new(role, Config::new());
            let bytes = Frames::of(role.peer()).close(code, "").take();
            let (told, sent) = end.receive(&bytes);
            let valid = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
            let (event, answer) = match valid {
                true => ("Close", code),
                false => ("Failed", 1002),
            };
            assert_eq!(told, event, "{role:?} {code}");
            let frame = &Frame::read_all(&sent)[0];
            assert_eq!(frame.payload, answer.to_be_bytes(), "{role:?} {code}");
        }
    }
}

#[test]
fn all_close_codes_sent() {
    for role in ROLES {
        for code in 0..=u16::MAX {
            let mut end = End::new(role, Config::new());
            let (told, sent) = end.with_output(|connection, output| {
                let closed = connection.close(CloseCode::new(code), "x", output);
                format!("{closed:?}")
            });
            let allowed = match role {
                Role::Client => matches!(code, 1000..=1003 | 1007..=1010 | 3000..=4999),
                Role::Server => {
                    matches!(code, 1000..=1003 | 1007..=1009 | 1011..=1014 | 3000..=4999)
                }
            };
            if allowed {
                let frame = &Frame::read_all(&sent)[0];
                assert_eq!(frame.payload, [&code.to_be_bytes()[..], b"x"].concat());
            } else {
                assert_eq!(told, "Err(Misuse(InvalidCloseCode))", "{role:?} {code}");
                assert!(sent.is_empty(), "{role:?} {code}");
            }
        }
    }
}

/// All texts of two bytes, in one frame, in two frames, and in two reads of one frame.
#[test]
fn all_texts_of_two_bytes() {
    for text in 0..=u16::MAX {
        let text = text.to_be_bytes();
        let role = ROLES[usize::from(text[1] & 1)];
        let one_frame = Frames::of(role.peer()).text(text).take();
        let two_frames = Frames::of(role.peer())
            .frame(false, Text, &text[..1])
            .frame(true, Continuation, &text[1..])
            .take();
        let (head, tail) = one_frame.split_at(one_frame.len() - 1);
        let expected = expected_text(text);
        for reads in [[&one_frame[..], &[]], [&two_frames, &[]], [head, tail]] {
            let mut end = ws_tests::End::<Log>::new(role, Config::new());
            reads.into_iter().for_each(|bytes| end.receive(bytes));
            assert_eq!(end.seen.events(), expected, "{role:?} {text:x?}");
        }
    }
}

fn expected_text(text: [u8; 2]) -> Vec<Seen> {
    let Err(error) = str::from_utf8(&text) else {
        return vec![Seen::part(MessageKind::Text, &text, true, true)];
    };
    let good = match (error.valid_up_to(), error.error_len()) {
        // The text ends inside a character: its last byte is the first that cannot be right.
        (_, None) => 1,
        // The first byte begins a character, and the second does not continue it.
        (0, Some(_)) if matches!(text[0], 0xC2..=0xF4) => 1,
        (valid, Some(_)) => valid,
    };
    let closed = ws_proto::Closed {
        initiator: Initiator::Local,
        code: CloseCode::ABNORMAL,
        clean: false,
    };
    let chunk = Seen::part(MessageKind::Text, &text[..good], true, false);
    let failed = Seen::Failed(Violation::InvalidUtf8);
    let mut expected = vec![chunk, failed, Seen::Closed(closed)];
    if good == 0 {
        expected.remove(0);
    }
    expected
}
