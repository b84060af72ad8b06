//! RFC 6455 §5.5.2 and §5.5.3, rows 76 to 80 of the checklist: Ping and Pong.

use ws_proto::{
    Config, Connection, Event, Output, REPLY_ROOM, Reply, Role, SEND_ROOM, Timeout, Timeouts,
    Violation, Want,
    frame::Opcode::{self, Ping, Pong},
};
use ws_tests::{
    Do, Frames, Seen, When,
    case::{Case, ROLES, close_frame, frame, given_up, pattern},
};

/// A ping each second, answered within a second, and nothing else.
fn each_second(max_ping_failures: u8) -> Timeouts {
    Timeouts {
        ping_interval: Timeout::Ms(1000),
        pong: Timeout::Ms(1000),
        max_ping_failures,
        ..Timeouts::never()
    }
}

/// RFC 6455 §5.5.2: "Upon receipt of a Ping frame, an endpoint MUST send a Pong frame in response,
/// unless it already received a Close frame." §5.5.3: "A Pong frame sent in response to a Ping
/// frame must have identical "Application data" as found in the message body of the Ping frame
/// being replied to."
#[test]
fn rfc_076_ping_is_answered_with_its_payload() {
    for role in ROLES {
        let case = Case::of(role);
        for len in 0..=125 {
            let payload = pattern(len);
            let outcome = case.receives(&case.peer().ping(&payload).take());
            assert_eq!(outcome.seen, [Seen::Ping(payload.clone())]);
            assert_eq!(outcome.sent, [frame(role, true, Pong, &payload)]);
        }
        let outcome = case.receives(&case.peer().ping("1").ping("2").text("x").ping("3").take());
        let pongs = ["1", "2", "3"].map(|n| frame(role, true, Pong, n.as_bytes()));
        assert_eq!(outcome.sent, pongs);
    }
}

/// "unless it already received a Close frame": also where the application has yet to answer that.
#[test]
fn rfc_076_ping_behind_close_is_not_answered() {
    for role in ROLES {
        for close in [Reply::Automatic, Reply::Manual] {
            let case = Case::of(role).config(|config| config.close = close);
            let outcome = case.receives(&case.peer().close(1000, "").ping("late").take());
            assert_eq!(outcome.seen[0], Seen::Close(1000, String::new()));
            assert!(!outcome.seen.contains(&Seen::Ping(b"late".to_vec())));
            assert!(
                outcome
                    .sent
                    .iter()
                    .all(|frame| frame.opcode == Opcode::Close)
            );
        }
    }
}

/// RFC 6455 §5.5.2: "It SHOULD respond with Pong frame as soon as is practical." The reply goes into
/// the output that `receive` is lent, which may be another than that of the sends: an adapter
/// writes it before what is queued there, at the next border of frames.
#[test]
fn rfc_076_pong_needs_not_wait_for_queued_data() {
    let mut server = Connection::server(Config::new());
    let mut queue = vec![0; (1 << 20) + SEND_ROOM];
    let mut queued = Output::new(&mut queue);
    server
        .send_binary(&pattern(1 << 20), &mut queued)
        .expect("there is room");
    let before = queued.len();

    let mut buffer = [0; REPLY_ROOM];
    let mut replies = Output::new(&mut buffer);
    let mut ping = Frames::of(Role::Client).ping("?").take();
    let event = server.receive(&mut &mut ping[..], &mut replies);
    assert_eq!(event, Some(Event::Ping(b"?")));
    assert_eq!(replies.written(), b"\x8a\x01?");
    assert_eq!(queued.len(), before);
}

/// RFC 6455 §5.5.3 lets an endpoint answer only the latest Ping. We answer each, or do not take it:
/// a ping whose pong has no room stays in the input, and `wants` says that nothing is to be read.
#[test]
fn rfc_077_ping_without_room_for_its_pong_is_not_taken() {
    for role in ROLES {
        for len in [0, 1, 125] {
            let payload = pattern(len);
            let mut bytes = Frames::of(role.peer()).ping(&payload).text("behind").take();
            for room in [0, 1, 2, REPLY_ROOM - 1] {
                let mut connection =
                    Connection::established(role, ws_proto::Extensions::NONE, Config::new());
                let mut buffer = [0; REPLY_ROOM];
                let mut keys = || [1, 2, 3, 4];
                let unread = bytes.clone();
                let mut input = &mut bytes[..];
                let mut output = output(role, &mut buffer[..room], &mut keys);
                assert_eq!(connection.wants(input, room), Want::Output);
                assert_eq!(connection.receive(&mut input, &mut output), None);
                assert_eq!((&*input, output.written()), (&unread[..], &b""[..]));

                let mut output = self::output(role, &mut buffer, &mut keys);
                assert_eq!(connection.wants(input, REPLY_ROOM), Want::Event);
                let event = connection.receive(&mut input, &mut output);
                assert_eq!(event, Some(Event::Ping(&payload)));
                assert_eq!(
                    output.len(),
                    2 + len + if role == Role::Client { 4 } else { 0 }
                );
                bytes = unread;
            }
        }
    }
}

/// RFC 6455 §5.5.3: "A Pong frame MAY be sent unsolicited. This serves as a unidirectional
/// heartbeat. A response to an unsolicited Pong frame is not expected."
#[test]
fn rfc_078_unsolicited_pong_is_accepted_and_not_answered() {
    for role in ROLES {
        let case = Case::of(role);
        for len in [0, 1, 4, 125] {
            let payload = pattern(len);
            case.sees(&case.peer().pong(&payload).take(), &[Seen::Pong(payload)]);
        }
    }
}

/// Nor does it answer a ping of ours: it is a sign of life, which buys time, but the ping fails.
#[test]
fn rfc_078_unsolicited_pong_does_not_count_as_an_answer() {
    for role in ROLES {
        let case = Case::of(role).config(|config| config.timeouts = each_second(1));
        let mut end = case.end();
        let mut now = 0;
        while end.connection.violation().is_none() && now < 60_000 {
            end.handle_timeout(now);
            // Empty; with a number that was not asked; of another length.
            end.receive(
                &case
                    .peer()
                    .pong("")
                    .pong(7_u32.to_be_bytes())
                    .pong([0; 5])
                    .take(),
            );
            end.receive(&case.peer().pong(0_u32.to_be_bytes()).take());
            now += 250;
        }
        // Silence would have failed at 2000.
        assert_eq!(
            (end.connection.violation(), now - 250),
            (Some(Violation::PingTimeout), 5000)
        );
        let ping = frame(role, true, Ping, &1_u32.to_be_bytes());
        assert_eq!(end.take_frames(), [ping, close_frame(role, 1011)]);
    }
}

/// RFC 6455 §5.5.3: "If an endpoint receives a Ping frame and has not yet sent Pong frame(s) in
/// response to previous Ping frame(s), the endpoint MAY elect to send a Pong frame for only the
/// most recently processed Ping frame." So a pong is known by its payload, and answers all pings
/// before it.
#[test]
fn rfc_079_pong_answers_its_ping_and_those_before() {
    for role in ROLES {
        let case = Case::of(role).config(|config| config.timeouts = each_second(3));
        // Pings 1 and 2 fail at 2000 and 3000; ping 3 is out when one of the three is answered. That
        // forgives the failures: three more pings have to fail. What was never asked answers
        // nothing; as a sign of life it only gives ping 3 more patience.
        for (answered, then) in [
            (3, &[4, 5, 6][..]),
            (2, &[4, 5, 6]),
            (1, &[4, 5, 6]),
            (4, &[]),
        ] {
            let pings = |numbers: &[u32]| -> Vec<_> {
                let ping = |n: &u32| frame(role, true, Ping, &n.to_be_bytes());
                numbers.iter().map(ping).collect()
            };
            let mut end = case.end();
            for now in (0..=3000).step_by(250) {
                end.handle_timeout(now);
            }
            assert_eq!(end.take_frames(), pings(&[1, 2, 3]));
            end.receive(&case.peer().pong(u32::to_be_bytes(answered)).take());
            let mut now = 3000;
            while end.connection.violation().is_none() {
                now += 250;
                end.handle_timeout(now);
            }
            assert_eq!(now, 7000, "{answered}");
            let sent = [pings(then), vec![close_frame(role, 1011)]].concat();
            assert_eq!(end.take_frames(), sent, "{answered}");
            assert_eq!(end.seen.events().last(), Some(&given_up()));
        }
    }
}

/// A pong of the application's pings is its own business: it is told the payload.
#[test]
fn rfc_079_application_sees_the_payload_of_each_pong() {
    let mut pair = ws_tests::Pair::new(&[(When::Start, Do::Ping(b"mine"))], &[]);
    pair.drive();
    assert_eq!(pair.server.seen.events(), [Seen::Ping(b"mine".to_vec())]);
    assert_eq!(pair.client.seen.events(), [Seen::Pong(b"mine".to_vec())]);
}

/// Where answering is the application's, nothing is sent before it does.
#[test]
fn rfc_080_automatic_pong_can_be_turned_off() {
    for role in ROLES {
        let manual = Case::of(role).config(|config| config.pong = Reply::Manual);
        let ping = manual.peer().ping("?").take();
        manual.sees(&ping, &[Seen::Ping(b"?".to_vec())]);

        let answering = manual.script(&[(When::EachPing, Do::Pong)]);
        let outcome = answering.receives(&ping);
        assert_eq!(outcome.sent, [frame(role, true, Pong, b"?")]);
    }
}

fn output<'a>(
    role: Role,
    buffer: &'a mut [u8],
    keys: &'a mut dyn ws_proto::MaskingKeys,
) -> Output<'a> {
    match role {
        Role::Client => Output::masked(buffer, keys),
        Role::Server => Output::new(buffer),
    }
}
