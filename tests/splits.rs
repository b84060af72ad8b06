//! Any two ways to cut the same bytes give the same events, chunks joined, and the same bytes out.

use ws_proto::{Connection, Output, REPLY_ROOM, Reply, Role, Violation, Want};
use ws_tests::{
    Conversation, Keys, Log, Pair, Seen, Split,
    corpus::{self, DIALOGUES, Dialogue},
    random::Random,
};

/// Room enough that nothing ever waits for it.
const AMPLE: usize = 1 << 17;

#[test]
fn server_conversations_cut_once_at_every_byte() {
    cut_once_at_every_byte(Role::Server);
}

#[test]
fn client_conversations_cut_once_at_every_byte() {
    cut_once_at_every_byte(Role::Client);
}

fn cut_once_at_every_byte(role: Role) {
    for conversation in in_role(role) {
        let whole = conversation.play(AMPLE, &[]);
        for cut in 0..=conversation.received.len() {
            let rooms = match conversation.received.len() {
                ..4096 => &[AMPLE, REPLY_ROOM][..],
                // Nothing in the long ones waits for room but their end: half the time suffices.
                _ => &[AMPLE],
            };
            for &room in rooms {
                let played = conversation.play(room, &[cut]);
                assert_eq!(played, whole, "{} cut at {cut}", conversation.name);
            }
        }
    }
}

#[test]
fn conversations_in_pieces_of_equal_length() {
    for conversation in corpus::all() {
        let whole = conversation.play(AMPLE, &[]);
        for n in [1, 2, 3, 5, 7, 13, 64, 125, 131, 1000] {
            for room in [REPLY_ROOM, REPLY_ROOM + 1, 300, AMPLE] {
                let played = conversation.play_in_pieces(room, n);
                assert_eq!(played, whole, "{} by {n}, room {room}", conversation.name);
            }
        }
    }
}

#[test]
fn conversations_cut_many_ways() {
    let mut random = Random::new(0x5eed);
    for conversation in corpus::all() {
        let whole = conversation.play(AMPLE, &[]);
        for _ in 0..100 {
            let count = random.below(12);
            let cuts = random.cuts(conversation.received.len(), count);
            let room = REPLY_ROOM + random.below(200);
            let played = conversation.play(room, &cuts);
            assert_eq!(
                played, whole,
                "{} cut at {cuts:?}, room {room}",
                conversation.name
            );
        }
    }
}

#[test]
fn dialogues_cut_at_every_byte_in_both_directions() {
    for dialogue in DIALOGUES {
        let (whole, [to_server, to_client]) = talk(dialogue, Split::Not);
        assert!(to_server > 0 && to_client > 0, "both ends talk");
        for n in 1..=16 {
            let (logs, _) = talk(dialogue, Split::Each(n));
            assert_eq!(logs, whole, "{} in pieces of {n}", dialogue.name);
        }
        for cut in 0..=to_server.max(to_client) {
            // Each direction by itself, and both at once.
            for (to_server, to_client) in [(cut, 0), (0, cut), (cut, cut)] {
                let split = Split::Once {
                    to_server,
                    to_client,
                };
                let (logs, _) = talk(dialogue, split.clone());
                assert_eq!(logs, whole, "{} with {split:?}", dialogue.name);
            }
        }
    }
}

/// What both ends see, and how many bytes went each way.
fn talk(dialogue: &Dialogue, split: Split) -> ([Log; 2], [usize; 2]) {
    let mut pair = Pair::new(dialogue.client, dialogue.server);
    pair.split = split;
    pair.drive();
    assert!(pair.client.is_closed() && pair.server.is_closed());
    let bytes = pair.bytes_delivered();
    ([pair.client.seen, pair.server.seen], bytes)
}

/// `wants` says what `receive` will do: that is checked by the harness at each step of each test.
/// Here, in addition: where it promises no event, `receive` changes nothing at all.
#[test]
fn receive_without_event_changes_nothing() {
    let conversations = corpus::all().into_iter();
    for conversation in conversations.filter(|c| c.received.len() < 4096) {
        let mut connection = Connection::established(
            conversation.role,
            conversation.extensions,
            conversation.config,
        );
        let mut buffer = [0; REPLY_ROOM + 10];
        let mut received = conversation.received.clone();
        let mut start = 0;
        for end in 0..=received.len() {
            let mut queued = 0;
            loop {
                let mut keys = Keys::default();
                let mut output = match conversation.role {
                    Role::Client => Output::masked(&mut buffer, &mut keys),
                    Role::Server => Output::new(&mut buffer),
                }
                .resume(queued);
                let before = format!("{connection:?}");
                let mut input = &mut received[start..end];
                let want = connection.wants(input, output.room());
                let event = connection.receive(&mut input, &mut output);
                assert_eq!(
                    event.is_some(),
                    want == Want::Event,
                    "{}",
                    conversation.name
                );
                if want != Want::Event {
                    assert_eq!(format!("{connection:?}"), before, "{}", conversation.name);
                    assert_eq!(output.len(), queued, "{}", conversation.name);
                }
                start = end - input.len();
                queued = output.len();
                match want {
                    Want::Event => {}
                    Want::Output => queued = 0,
                    Want::Input => break,
                }
            }
        }
    }
}

/// What waits for more bytes is an incomplete header or control frame, and not more of it.
#[test]
fn unread_input_is_bounded() {
    let conversations = corpus::all().into_iter();
    for conversation in conversations.filter(|c| c.received.len() < 4096) {
        let mut end = conversation.end::<Log>(AMPLE);
        for byte in &conversation.received {
            end.receive(&[*byte]);
            let unread = end.unread();
            let bound = match unread.first() {
                Some(first) if first & 0x08 != 0 => REPLY_ROOM - 1,
                _ => 14,
            };
            // The application that owes a Close is not asked to take more.
            let owed = conversation.config.close == Reply::Manual;
            assert!(
                unread.len() <= bound || owed,
                "{}: {} bytes wait",
                conversation.name,
                unread.len()
            );
        }
    }
}

/// A corpus that does not come by a rule proves nothing about it.
#[test]
fn corpus_meets_every_event_and_violation() {
    use Violation::*;

    let all: Vec<_> = corpus::all()
        .iter()
        .flat_map(|conversation| conversation.play(AMPLE, &[]).seen.take())
        .collect();
    for violation in [
        ReservedBits,
        ReservedOpcode,
        UnmaskedClientFrame,
        MaskedServerFrame,
        FragmentedControlFrame,
        ControlFrameTooLong,
        UnexpectedContinuation,
        ExpectedContinuation,
        NonMinimalLength,
        LengthOverflow,
        MessageTooBig,
        TooManyFragments,
        InvalidUtf8,
        CloseTooShort,
        InvalidCloseCode,
        InvalidCloseReason,
        UnsupportedData,
    ] {
        assert!(all.contains(&Seen::Failed(violation)), "{violation:?}");
    }
    let is_met = |met: fn(&Seen) -> bool| assert!(all.iter().any(met));
    is_met(|seen| {
        matches!(
            seen,
            Seen::Data {
                compressed: true,
                ..
            }
        )
    });
    is_met(|seen| matches!(seen, Seen::Ping(_)));
    is_met(|seen| matches!(seen, Seen::Pong(_)));
    is_met(|seen| matches!(seen, Seen::Close(..)));
    is_met(|seen| matches!(seen, Seen::Closed(closed) if closed.clean));
    is_met(|seen| matches!(seen, Seen::Closed(closed) if !closed.clean));
}

fn in_role(role: Role) -> impl Iterator<Item = Conversation> {
    corpus::all()
        .into_iter()
        .filter(move |conversation| conversation.role == role)
}
