//! Models: what the core does to anything, held against what it should do.

use std::collections::VecDeque;

use proptest::{
    collection::vec, prelude::*, sample::Index, test_runner::Config as ProptestConfig,
    test_runner::RngSeed,
};
use ws_proto::{
    CloseCode, Config, Connection, Event, Initiator, MessageKind, Output, REPLY_ROOM, Role,
    SendError, Timeout, Timeouts, Violation,
    frame::{FrameHeader, Opcode, mask::MaskingKey},
};
use ws_tests::{End, Frame, Frames, Keys, Log, Seen, fuzz};

/// The same cases in each run.
fn cases(n: u32) -> ProptestConfig {
    ProptestConfig {
        cases: n,
        rng_seed: RngSeed::Fixed(0x6455),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Client), Just(Role::Server)]
}

fn kind() -> impl Strategy<Value = MessageKind> {
    prop_oneof![Just(MessageKind::Text), Just(MessageKind::Binary)]
}

// ---- the frame codec

prop_compose! {
    fn header()(
        fin: bool,
        rsv in 0u8..8,
        opcode in prop::sample::select(vec![0u8, 1, 2, 8, 9, 10]),
        key: Option<[u8; 4]>,
        bits in 0u32..63,
        len: u64,
    ) -> FrameHeader {
        let opcode = Opcode::from_bits(opcode).expect("it is one");
        // Every magnitude is as likely as every other.
        let len = len >> (1 + bits);
        FrameHeader {
            fin: fin || opcode.is_control(),
            rsv: rsv << 4,
            opcode,
            masking_key: key.map(MaskingKey::from),
            payload_len: if opcode.is_control() { len % 126 } else { len },
        }
    }
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn headers_are_read_as_they_were_written(header in header(), behind in vec(any::<u8>(), 0..4)) {
        let written = header.to_bytes();
        let bytes = [&written[..], &behind].concat();
        prop_assert_eq!(FrameHeader::parse(&bytes), Ok(Some((header, written.len()))));
        for shorter in 0..written.len() {
            prop_assert_eq!(FrameHeader::parse(&written[..shorter]), Ok(None));
        }
    }

    #[test]
    fn masking_is_its_definition(
        key: [u8; 4],
        payload in vec(any::<u8>(), 0..300),
        cut: Index,
    ) {
        // RFC 6455 §5.3: "transformed-octet-i = original-octet-i XOR masking-key-octet-j", where
        // "j = i MOD 4".
        let defined: Vec<u8> = (0..payload.len()).map(|i| payload[i] ^ key[i % 4]).collect();
        let key = MaskingKey::from(key);
        let mut applied = payload.clone();
        let (head, tail) = applied.split_at_mut(cut.index(payload.len() + 1));
        key.apply(head);
        key.skip(head.len()).apply(tail);
        prop_assert_eq!(&applied, &defined);
        let mut copied = vec![0; payload.len()];
        key.copy(&payload, &mut copied);
        prop_assert_eq!(copied, defined);
    }

    #[test]
    fn utf8_is_what_the_standard_library_says(
        pieces in vec(
            prop_oneof![
                4 => "\\PC{0,6}".prop_map(String::into_bytes),
                2 => "[\u{7f}-\u{10ffff}]{1,3}".prop_map(String::into_bytes),
                1 => vec(0x80u8..=0xFF, 1..3),
                // Good and bad starts of characters, with bytes from the ends of the ranges.
                2 => (
                    prop::sample::select(b"\xc1\xc2\xdf\xe0\xe1\xed\xef\xf0\xf1\xf4\xf5".to_vec()),
                    vec(prop::sample::select(b"\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0".to_vec()), 0..4),
                )
                    .prop_map(|(first, rest)| [&[first][..], &rest].concat()),
            ],
            0..8,
        ),
        cut: u8,
        truncated in 0usize..4,
    ) {
        let mut text = pieces.concat();
        text.truncate(text.len().saturating_sub(truncated));
        text.insert(0, cut);
        fuzz::close_and_utf8(&text);
    }
}

// ---- messages and fragments

/// A message, where it is cut into fragments, and what is pinged before each of them.
#[derive(Clone, Debug)]
struct Message {
    kind: MessageKind,
    bytes: Vec<u8>,
    cuts: Vec<Index>,
    pings: Vec<Vec<u8>>,
}

prop_compose! {
    fn message()(
        kind in kind(),
        text in "\\PC{0,40}",
        bytes in vec(any::<u8>(), 0..200),
        cuts in vec(any::<Index>(), 0..5),
        pings in vec(vec(any::<u8>(), 0..=125), 0..5),
    ) -> Message {
        let bytes = match kind {
            MessageKind::Text => text.into_bytes(),
            MessageKind::Binary => bytes,
        };
        Message { kind, bytes, cuts, pings }
    }
}

impl Message {
    /// Sends it: in one frame if it is not cut.
    fn send(&self, from: &mut End<Log>) -> Result<(), SendError> {
        let mut pings = self.pings.iter();
        let mut ping = |from: &mut End<Log>| match pings.next() {
            Some(payload) => from.send(|c, output| c.ping(payload, output)),
            None => Ok(()),
        };
        ping(from)?;
        if self.cuts.is_empty() {
            return match str::from_utf8(&self.bytes) {
                Ok(text) if self.kind == MessageKind::Text => {
                    from.send(|c, output| c.send_text(text, output))
                }
                _ => from.send(|c, output| c.send_binary(&self.bytes, output)),
            };
        }
        let mut cuts: Vec<usize> = self
            .cuts
            .iter()
            .map(|cut| cut.index(self.bytes.len() + 1))
            .collect();
        cuts.sort_unstable();
        from.send(|c, _| c.begin(self.kind))?;
        let mut start = 0;
        for cut in cuts {
            from.send(|c, output| c.send_fragment(&self.bytes[start..cut], output))?;
            ping(from)?;
            start = cut;
        }
        from.send(|c, output| c.finish(&self.bytes[start..], output))
    }

    fn sent_pings(&self) -> &[Vec<u8>] {
        &self.pings[..self.pings.len().min(self.cuts.len() + 1)]
    }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn messages_arrive_whatever_the_fragments_and_the_cuts(
        sender in role(),
        messages in vec(message(), 1..6),
        cuts in vec(any::<Index>(), 0..20),
        room in REPLY_ROOM..REPLY_ROOM + 200,
    ) {
        let mut from = End::<Log>::new(sender, Config::new());
        for message in &messages {
            prop_assert_eq!(message.send(&mut from), Ok(()));
        }
        let bytes = from.take_sent();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut to = End::<Log>::new(sender.peer(), Config::new()).with_room(room);
        for piece in cuts.windows(2) {
            to.receive(&bytes[piece[0]..piece[1]]);
        }

        let mut arrived: Vec<(MessageKind, Vec<u8>)> = Vec::new();
        let mut pings = Vec::new();
        for seen in to.seen.events() {
            match seen {
                Seen::Data { kind, bytes, first: true, .. } => arrived.push((*kind, bytes.clone())),
                Seen::Data { bytes, .. } => {
                    arrived.last_mut().expect("it was begun").1.extend(bytes);
                }
                Seen::Ping(payload) => pings.push(payload.clone()),
                other => prop_assert!(false, "{:?}", other),
            }
        }
        let sent = messages.iter().map(|m| (m.kind, m.bytes.clone()));
        prop_assert_eq!(arrived, sent.collect::<Vec<_>>());
        let sent_pings: Vec<Vec<u8>> =
            messages.iter().flat_map(|m| m.sent_pings().to_vec()).collect();
        prop_assert_eq!(&pings, &sent_pings);
        // RFC 6455 §5.5.3: a Pong "must have identical "Application data" as found in the message
        // body of the Ping frame being replied to."
        let pongs: Vec<Vec<u8>> = to.take_frames().into_iter().map(|pong| pong.payload).collect();
        prop_assert_eq!(pongs, sent_pings);
    }
}

// ---- the closing handshake

/// What happens at one end, or on the way to it.
#[derive(Clone, Debug)]
enum Step {
    Text(Role),
    Ping(Role),
    Close(Role, u16),
    Fail(Role),
    Tick(Role, u16),
    /// This many bytes arrive.
    Arrive(Role, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let code = prop::sample::select(vec![1000u16, 1001, 3000, 4999]);
    prop_oneof![
        2 => role().prop_map(Step::Text),
        2 => role().prop_map(Step::Ping),
        2 => (role(), code).prop_map(|(role, code)| Step::Close(role, code)),
        1 => role().prop_map(Step::Fail),
        1 => (role(), any::<u16>()).prop_map(|(role, ms)| Step::Tick(role, ms)),
        6 => (role(), 1usize..20).prop_map(|(role, n)| Step::Arrive(role, n)),
    ]
}

/// One end, what it has sent in all, and what is on the way to it.
struct Side {
    end: End<Log>,
    sent: Vec<u8>,
    arriving: VecDeque<u8>,
    now_ms: u64,
}

impl Side {
    fn new(role: Role) -> Self {
        Self {
            end: End::new(role, Config::new()).with_room(300),
            sent: Vec::new(),
            arriving: VecDeque::new(),
            now_ms: 0,
        }
    }

    fn perform(&mut self, step: &Step) {
        let _refused_after_close = match step {
            Step::Text(_) => self.end.send(|c, output| c.send_text("text", output)),
            Step::Ping(_) => self.end.send(|c, output| c.ping(b"ping", output)),
            Step::Close(_, code) => {
                let code = CloseCode::new(*code);
                self.end.send(|c, output| c.close(code, "why", output))
            }
            Step::Fail(_) => {
                self.end.fail(Violation::PolicyViolation);
                Ok(())
            }
            Step::Tick(_, ms) => {
                self.now_ms += u64::from(*ms);
                self.end.handle_timeout(self.now_ms);
                Ok(())
            }
            Step::Arrive(_, n) => {
                let n = self.arriving.len().min(*n);
                let bytes: Vec<u8> = self.arriving.drain(..n).collect();
                self.end.receive(&bytes);
                Ok(())
            }
        };
    }

    fn role_of(step: &Step) -> Role {
        match step {
            Step::Text(role)
            | Step::Ping(role)
            | Step::Close(role, _)
            | Step::Fail(role)
            | Step::Tick(role, _)
            | Step::Arrive(role, _) => *role,
        }
    }

    /// One Close at most, nothing behind it; one end, which is clean if both Closes were made.
    fn check(&self) -> Result<(), TestCaseError> {
        let frames = Frame::read_all(&self.sent);
        let close = frames
            .iter()
            .position(|frame| frame.opcode == Opcode::Close);
        if let Some(close) = close {
            prop_assert_eq!(close, frames.len() - 1, "nothing follows a Close");
        }
        let events = self.end.seen.events();
        fuzz::check_log(events);
        let Some(Seen::Closed(closed)) = events.last() else {
            return Err(TestCaseError::fail("the end is reported"));
        };
        let received = events.iter().find_map(|seen| match seen {
            Seen::Close(code, _) => Some(CloseCode::new(*code)),
            _ => None,
        });
        prop_assert_eq!(closed.clean, close.is_some() && received.is_some());
        prop_assert_eq!(closed.code, received.unwrap_or(CloseCode::ABNORMAL));
        if close.is_some() && received.is_none() {
            prop_assert_eq!(closed.initiator, Initiator::Local);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn closing_in_any_order(steps in vec(step(), 0..40)) {
        let mut client = Side::new(Role::Client);
        let mut server = Side::new(Role::Server);
        let both = [Role::Client, Role::Server, Role::Client, Role::Server];
        let rest = both.map(|role| Step::Arrive(role, usize::MAX));
        for step in steps.iter().chain(&rest) {
            match Side::role_of(step) {
                Role::Client => client.perform(step),
                Role::Server => server.perform(step),
            }
            let sent = client.end.take_sent();
            server.arriving.extend(&sent);
            client.sent.extend(sent);
            let sent = server.end.take_sent();
            client.arriving.extend(&sent);
            server.sent.extend(sent);
        }
        for side in [&mut client, &mut server] {
            side.end.end_of_input();
            side.check()?;
        }
    }
}

// ---- sending

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn sends_are_whole_or_not_at_all_and_leave_room_for_replies(
        role in role(),
        room in 0usize..700,
        sends in vec((0u8..8, vec(any::<u8>(), 0..140)), 1..20),
    ) {
        let mut connection = Connection::established(role, ws_proto::Extensions::NONE, Config::new());
        let mut memory = vec![0; room];
        let mut keys = Keys::default();
        let mut output = match role {
            Role::Client => Output::masked(&mut memory, &mut keys),
            Role::Server => Output::new(&mut memory),
        };
        for (call, bytes) in sends {
            let before = (format!("{connection:?}"), output.written().to_vec());
            let text = String::from_utf8_lossy(&bytes);
            let result = match call {
                0 => connection.send_text(&text, &mut output),
                1 => connection.send_binary(&bytes, &mut output),
                2 => connection.ping(&bytes, &mut output),
                3 => connection.pong(&bytes, &mut output),
                4 => connection.begin(MessageKind::Text),
                5 => connection.send_fragment(&bytes, &mut output),
                6 => connection.finish(&bytes, &mut output),
                _ => connection.close(CloseCode::NORMAL, &text, &mut output),
            };
            if result.is_err() {
                let after = (format!("{connection:?}"), output.written().to_vec());
                prop_assert_eq!(after, before, "{:?} changes nothing", result);
            } else if call < 4 || call == 5 || call == 6 {
                prop_assert!(output.room() >= REPLY_ROOM);
            }
            fuzz::check_sent(role, output.written());
        }
    }
}

// ---- time

fn timeout() -> impl Strategy<Value = Timeout> {
    prop_oneof![
        1 => Just(Timeout::Never),
        4 => (1u32..5000).prop_map(Timeout::Ms),
        1 => any::<u32>().prop_map(|ms| Timeout::Ms(ms.max(1))),
    ]
}

prop_compose! {
    fn timeouts()(
        spans in [timeout(), timeout(), timeout(), timeout(), timeout()],
        max_ping_failures in 0u8..4,
    ) -> Timeouts {
        let [ping_interval, pong, idle, close, end_of_input] = spans;
        Timeouts { ping_interval, pong, idle, close, end_of_input, max_ping_failures, ..Timeouts::never() }
    }
}

proptest! {
    #![proptest_config(cases(1000))]

    /// Whatever happens, a caller that sleeps as it is told does not spin, and misses no end.
    #[test]
    fn timers_ask_for_the_future(
        role in role(),
        timeouts in timeouts(),
        start: u64,
        room in prop_oneof![Just(0usize), Just(100), Just(4096)],
        steps in vec((0u8..8, 0u64..3000), 1..60),
    ) {
        let config = Config { timeouts, ..Config::new() };
        let mut connection = Connection::established(role, ws_proto::Extensions::NONE, config);
        let mut now = start;
        let mut closed = 0;
        let mut memory = vec![0; 4096];
        for (step, ms) in steps {
            let mut keys = Keys::default();
            let lent = &mut memory[..room];
            let mut output = match role {
                Role::Client => Output::masked(lent, &mut keys),
                Role::Server => Output::new(lent),
            };
            let mut peer = Frames::of(role.peer());
            let mut bytes = match step {
                0 => peer.text("text").take(),
                1 => peer.pong(1u32.to_be_bytes()).take(),
                2 if ms < 300 => peer.close(1000, "").take(),
                _ => Vec::new(),
            };
            if step == 3 && ms < 300 {
                let _ = connection.close(CloseCode::NORMAL, "", &mut output);
            }
            let mut input = &mut bytes[..];
            while let Some(event) = connection.receive(&mut input, &mut output) {
                closed += usize::from(matches!(event, Event::Closed(_)));
            }
            now = match connection.next_timeout() {
                // In time, late, or early.
                Some(next) if step > 3 => next.max(now),
                _ => now.saturating_add(ms),
            };
            while let Some(event) = connection.handle_timeout(now, &mut output) {
                closed += usize::from(matches!(event, Event::Closed(_)));
            }
            if now < u64::MAX {
                prop_assert!(connection.next_timeout().is_none_or(|next| next > now));
            }
        }
        prop_assert!(closed <= 1);
        prop_assert_eq!(closed == 1, connection.state() == ws_proto::State::Closed);
    }
}
