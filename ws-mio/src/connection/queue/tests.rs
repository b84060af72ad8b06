//! The queue alone, on a sink that takes as little as it is told to; and held against a model.

use std::io::{Read, Write};

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config as ProptestConfig, RngSeed},
};

use super::*;

/// Takes at most `most` bytes of a call, `room` bytes in all, and then blocks.
struct Sink {
    taken: Vec<u8>,
    most: usize,
    room: usize,
    gathering: Gathering,
    interrupted: bool,
}

/// What a vectored write takes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gathering {
    /// All slices, as sockets do.
    All,
    /// The first that is not empty, as whatever leaves [`Write::write_vectored`] as it is.
    First,
}

impl Sink {
    fn taking(room: usize) -> Self {
        Self {
            taken: Vec::new(),
            most: usize::MAX,
            room,
            gathering: Gathering::All,
            interrupted: false,
        }
    }
}

impl Read for Sink {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        Err(ErrorKind::WouldBlock.into())
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(ErrorKind::Interrupted.into());
        }
        let before = self.taken.len();
        for slice in slices {
            let room = self.room.min(self.most - (self.taken.len() - before));
            let n = slice.len().min(room);
            self.taken.extend_from_slice(&slice[..n]);
            self.room -= n;
            if self.gathering == Gathering::First && n > 0 {
                break;
            }
        }
        match self.taken.len() - before {
            0 => Err(ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const TEXT: u8 = 0x81;
const FIRST: u8 = 0x02;
const CONTINUATION: u8 = 0x00;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8A;

/// A frame of a server.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match u16::try_from(payload.len()) {
        Ok(len @ 0..126) => frame.push(len as u8),
        Ok(len) => {
            frame.push(126);
            frame.extend(len.to_be_bytes());
        }
        Err(_) => {
            frame.push(127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

fn text(payload: &str) -> Vec<u8> {
    frame(TEXT, payload.as_bytes())
}

fn append(queue: &mut Queue, kind: Kind, frame: &[u8]) {
    // More room than is needed, as the sender asks for.
    let appended = queue.append(kind, frame.len() + 9, |memory| {
        memory[..frame.len()].copy_from_slice(frame);
        Ok::<_, ()>(frame.len())
    });
    assert_eq!(appended, Ok(()));
}

fn queue_of(frames: &[(Kind, Vec<u8>)]) -> Queue {
    let mut queue = Queue::default();
    for (kind, frame) in frames {
        append(&mut queue, *kind, frame);
    }
    queue
}

/// Writes exactly `n` bytes.
fn write(queue: &mut Queue, n: usize) -> Vec<u8> {
    let mut sink = Sink::taking(n);
    let before = queue.len();
    queue.write_to(&mut sink).expect("it has no faults");
    assert_eq!(sink.taken.len(), n);
    assert_eq!(queue.len(), before - n);
    sink.taken
}

fn write_all(queue: &mut Queue) -> Vec<u8> {
    let taken = write(queue, queue.len());
    assert_eq!(queue.held(), 0, "nothing is kept of what is written");
    taken
}

impl Queue {
    /// The memory that it holds.
    pub(in crate::connection) fn held(&self) -> usize {
        let segments = self.segments.iter();
        let segments: usize = segments.map(|segment| segment.bytes.capacity()).sum();
        self.begun.memory.capacity() + self.urgent.capacity() + segments
    }
}

/// All kinds of frames, in each place; a reply is behind the first byte of the first.
fn mixed() -> (Queue, Vec<u8>) {
    let mut queue = queue_of(&[
        (Kind::Messages, text("one")),
        (Kind::Messages, text("two")),
        (Kind::Kept, frame(FIRST, b"three")),
        (Kind::Kept, frame(CONTINUATION, &[b'4'; 200])),
        (Kind::Latest(1), text("five")),
        (Kind::Messages, frame(TEXT, &[b'6'; 20_000])),
        (Kind::Messages, text("seven")),
    ]);
    let first = write(&mut queue, 1);
    queue.reply(&frame(PONG, b"pong"));
    queue.reply(&frame(PONG, b""));
    let expected = [
        text("one")[1..].to_vec(),
        frame(PONG, b"pong"),
        frame(PONG, b""),
        text("two"),
        frame(FIRST, b"three"),
        frame(CONTINUATION, &[b'4'; 200]),
        text("five"),
        frame(TEXT, &[b'6'; 20_000]),
        text("seven"),
    ];
    assert_eq!(first, [TEXT]);
    (queue, expected.concat())
}

#[test]
fn queue_keeps_the_order_and_replies_overtake_at_the_boundary() {
    let (mut queue, expected) = mixed();
    assert_eq!(queue.len(), expected.len());
    assert_eq!(write_all(&mut queue), expected);
}

#[test]
fn queue_is_written_in_pieces_of_every_length() {
    for gathering in [Gathering::All, Gathering::First] {
        for most in (1..50).chain([126, 127, 128, 255, 1 << 10, 20_000, 20_500]) {
            let (mut queue, expected) = mixed();
            let mut sink = Sink {
                most,
                gathering,
                ..Sink::taking(usize::MAX)
            };
            queue.write_to(&mut sink).expect("it has no faults");
            assert!(sink.taken == expected, "{gathering:?}, {most} at once");
            assert_eq!((queue.len(), queue.held()), (0, 0));
        }
    }
}

#[test]
fn queue_is_interrupted_at_every_byte() {
    let (_, expected) = mixed();
    for cut in 0..expected.len() {
        // In the middle of the longest every cut is alike.
        if (300..20_200).contains(&cut) {
            continue;
        }
        let (mut queue, _) = mixed();
        let mut taken = write(&mut queue, cut);
        // What comes in between comes at a boundary: behind what was begun, before the rest.
        queue.reply(&frame(PING, b"!"));
        let rest = write_all(&mut queue);
        taken.extend_from_slice(&rest);
        let at = expected_boundary(&expected, cut);
        let mut with_reply = expected.clone();
        with_reply.splice(at..at, frame(PING, b"!"));
        assert!(taken == with_reply, "behind {cut} bytes");
    }
}

/// Where a reply is written that comes when `cut` bytes are: `expected` begins inside a frame. It
/// stands behind the replies that wait.
fn expected_boundary(expected: &[u8], cut: usize) -> usize {
    let begun = text("one").len() - 1;
    let replies = begun + frame(PONG, b"pong").len() + frame(PONG, b"").len();
    if cut <= replies {
        return replies;
    }
    begun + boundary(&expected[begun..], cut - begun)
}

#[test]
fn write_of_nothing_is_an_error_and_of_an_error_is_that() {
    struct Broken(Option<ErrorKind>);
    impl Read for Broken {
        fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
            Ok(0)
        }
    }
    impl Write for Broken {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            self.0.map_or(Ok(0), |kind| Err(kind.into()))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for (kind, expected) in [
        (None, ErrorKind::WriteZero),
        (Some(ErrorKind::BrokenPipe), ErrorKind::BrokenPipe),
    ] {
        let (mut queue, _) = mixed();
        let error = queue
            .write_to(&mut Broken(kind))
            .expect_err("nothing is taken");
        assert_eq!(error.kind(), expected);
    }
}

// ---- what was corked, and the socket took a part of

/// Pongs stay in order, and overtake together.
#[test]
fn resumed_frames_go_on_at_every_byte() {
    let frames = [text("one"), frame(PONG, b"p"), text(""), text("four")];
    let all = frames.concat();
    for written in 0..=all.len() {
        let mut queue = Queue::resume_frames(&all, written);
        assert_eq!(queue.len(), all.len() - written);
        queue.reply(&frame(PONG, b"!"));
        let (mut begun, mut pongs, mut messages) = (Vec::new(), Vec::new(), Vec::new());
        let mut start = 0;
        for frame in &frames {
            match written.checked_sub(start) {
                None | Some(0) if frame[0] == PONG => pongs.extend_from_slice(frame),
                None | Some(0) => messages.extend_from_slice(frame),
                Some(n) => begun.extend_from_slice(frame.get(n..).unwrap_or_default()),
            }
            start += frame.len();
        }
        let expected = [begun, pongs, frame(PONG, b"!"), messages].concat();
        assert_eq!(write_all(&mut queue), expected, "behind {written} bytes");
    }
}

#[test]
fn resumed_frames_that_are_not_begun_may_be_dropped() {
    let frames = [text("one"), frame(PONG, b"p"), text("two"), text("three")].concat();
    for (written, dropped, rest) in [
        (0, 3, frame(PONG, b"p")),
        (1, 2, [&text("one")[1..], &frame(PONG, b"p")].concat()),
        (5, 2, frame(PONG, b"p")),
        (9, 1, text("two")[1..].to_vec()),
        (13, 1, Vec::new()),
        (20, 0, Vec::new()),
    ] {
        let mut queue = Queue::resume_frames(&frames, written);
        // As much as may be dropped, and no more.
        if rest.is_empty() {
            assert_eq!(queue.drop_oldest(0), Some(dropped));
        } else {
            assert_eq!(queue.drop_oldest(rest.len() - 1), None);
        }
        let more = queue.drop_oldest(rest.len());
        assert!(more == Some(dropped) || rest.is_empty() && more == Some(0));
        assert_eq!(queue.len(), rest.len());
        assert_eq!(write_all(&mut queue), rest, "behind {written} bytes");
    }
}

#[test]
fn resumed_frame_goes_on_at_every_byte() {
    let frame = frame(TEXT, &[b'x'; 300]);
    let (header, payload) = frame.split_at(4);
    for written in 1..=frame.len() {
        let mut queue = Queue::resume(&[header, payload], written);
        assert_eq!(queue.len(), frame.len() - written);
        queue.reply(b"\x8a\0");
        let len = queue.len();
        assert_eq!(queue.drop_oldest(len - 1), None, "it is begun");
        assert_eq!(queue.len(), len);
        let rest = [&frame[written..], b"\x8a\0"].concat();
        assert_eq!(write_all(&mut queue), rest, "behind {written} bytes");
    }
}

// ---- what may be dropped

#[test]
fn oldest_are_dropped_but_none_that_is_begun_or_kept() {
    let mut queue = queue_of(&[
        (Kind::Messages, text("begun")),
        (Kind::Kept, frame(PING, b"ping")),
        (Kind::Messages, text("two")),
        (Kind::Latest(7), text("three")),
        (Kind::Kept, frame(FIRST, b"four")),
        (Kind::Kept, frame(0x80, b"five")),
        (Kind::Messages, text("six")),
        (Kind::Messages, text("seven")),
    ]);
    let begun = write(&mut queue, 3);
    assert_eq!(begun, &text("begun")[..3]);
    let len = queue.len();
    // One byte less than there is needs one message less.
    assert_eq!(queue.drop_oldest(len), Some(0));
    assert_eq!(queue.drop_oldest(len - 1), Some(1));
    assert_eq!(queue.len(), len - text("two").len());
    let len = queue.len();
    assert_eq!(queue.drop_oldest(len - text("three").len() - 1), Some(2));
    // What cannot be leaves all as it is.
    assert_eq!(queue.drop_oldest(0), None);
    let rest = [
        &text("begun")[3..],
        &frame(PING, b"ping"),
        &frame(FIRST, b"four"),
        &frame(0x80, b"five"),
        &text("seven"),
    ];
    assert_eq!(queue.len(), rest.concat().len());
    assert_eq!(write_all(&mut queue), rest.concat());
}

#[test]
fn replies_are_not_dropped_for_newer_messages() {
    let mut queue = queue_of(&[(Kind::Messages, text("one"))]);
    queue.reply(&frame(PONG, b"p"));
    assert_eq!(queue.drop_oldest(0), None);
    assert_eq!(queue.drop_oldest(3), Some(1));
    assert_eq!(write_all(&mut queue), frame(PONG, b"p"));
}

#[test]
fn latest_replaces_its_key_and_stands_where_it_was_sent() {
    let mut queue = queue_of(&[
        (Kind::Latest(1), text("begun")),
        (Kind::Latest(1), text("old 1")),
        (Kind::Latest(2), text("old 2")),
        (Kind::Messages, text("message")),
    ]);
    // Nothing of the second was to be dropped for: the first was replaced by it.
    assert_eq!(
        queue.len(),
        3 * text("old 1").len() + 2 - 2 + text("message").len() - text("old 1").len()
    );
    write(&mut queue, 2);
    append(&mut queue, Kind::Latest(1), &text("new 1"));
    append(&mut queue, Kind::Latest(2), &text("new 2"));
    append(&mut queue, Kind::Latest(3), &text("new 3"));
    append(&mut queue, Kind::Latest(1), &text("last 1"));
    let rest = [
        &text("old 1")[2..],
        &text("message"),
        &text("new 2"),
        &text("new 3"),
        &text("last 1"),
    ];
    assert_eq!(queue.len(), rest.concat().len());
    assert_eq!(write_all(&mut queue), rest.concat());
}

#[test]
fn all_that_is_not_begun_is_dropped() {
    for written in 0..8 {
        let mut queue = queue_of(&[
            (Kind::Messages, text("begun")),
            (Kind::Kept, frame(FIRST, b"fragment")),
            (Kind::Latest(1), text("latest")),
        ]);
        let begun = write(&mut queue, written);
        queue.reply(&frame(PONG, b"pong"));
        queue.drop_frames();
        let rest = match begun.len() {
            0 | 7 => Vec::new(),
            n => text("begun")[n..].to_vec(),
        };
        assert_eq!(queue.len(), rest.len());
        queue.reply(&frame(CLOSE, &[3, 232]));
        let rest = [rest, frame(CLOSE, &[3, 232])].concat();
        assert_eq!(write_all(&mut queue), rest, "{written} were written");
    }
}

/// RFC 6455 §5.5.3: "the endpoint MAY elect to send a Pong frame for only the most recently
/// processed Ping frame."
#[test]
fn pongs_above_four_kib_become_the_latest() {
    let pong = |i: u32| frame(PONG, &i.to_be_bytes());
    let mut queue = queue_of(&[(Kind::Messages, text("begun"))]);
    write(&mut queue, 1);
    let begun = queue.len();
    queue.reply(&frame(PING, b"beat"));
    for i in 0..100_000 {
        queue.reply(&pong(i));
        assert!(queue.len() <= begun + (4 << 10), "{} wait", queue.len());
        assert!(queue.urgent.capacity() <= 8 << 10);
    }
    let written = write_all(&mut queue);
    let replies = &written[begun..];
    assert!(replies.starts_with(&frame(PING, b"beat")), "no ping goes");
    assert!(replies.ends_with(&pong(99_999)), "the latest pong stays");
    // Those that were not yet too many are in order, with no gap.
    let first = 100_000 - (replies.len() as u32 - 6) / 6;
    let pongs = (first..100_000).flat_map(pong).collect::<Vec<_>>();
    assert_eq!(&replies[6..], pongs);
}

/// A peer that takes a byte now and then buys no more memory with it.
#[test]
fn replies_that_are_begun_stay_within_four_kib() {
    let mut queue = Queue::default();
    for i in 0..10_000_u32 {
        queue.reply(&frame(PONG, &i.to_be_bytes()));
        if i % 1000 == 999 {
            write(&mut queue, 1);
        }
        assert!(queue.len() <= (4 << 10) + 6, "{} wait", queue.len());
    }
}

#[test]
fn close_of_a_failure_stands_behind_one_frame_at_most() {
    let mut queue = Queue::default();
    queue.reply(&frame(PONG, b"1").repeat(3));
    write(&mut queue, 1);
    queue.drop_frames();
    queue.reply(&frame(CLOSE, b""));
    let rest = [&frame(PONG, b"1")[1..], &frame(CLOSE, b"")].concat();
    assert_eq!(write_all(&mut queue), rest);
}

// ---- appending

#[test]
fn failed_append_leaves_no_trace() {
    for kind in [Kind::Messages, Kind::Latest(1), Kind::Kept] {
        let mut queue = Queue::default();
        let failed = queue.append(kind, 1 << 20, |_| Err::<usize, _>("no"));
        assert_eq!(failed, Err("no"));
        assert_eq!((queue.len(), queue.held()), (0, 0), "{kind:?}");
        assert!(queue.segments.is_empty());

        append(&mut queue, kind, &text("one"));
        let failed = queue.append(kind, 100, |memory| {
            // What it has written by then does not count.
            memory.fill(0xFF);
            Err::<usize, _>("no")
        });
        assert_eq!(failed, Err("no"));
        assert_eq!(queue.len(), text("one").len(), "{kind:?}");
        append(&mut queue, Kind::Messages, &text("two"));
        let both = [text("one"), text("two")].concat();
        assert_eq!(write_all(&mut queue), both, "{kind:?}");
    }
}

#[test]
fn small_frames_share_memory() {
    let mut queue = Queue::default();
    for _ in 0..1000 {
        append(&mut queue, Kind::Messages, &text("small"));
    }
    assert_eq!(queue.segments.len(), 1);
    assert!(queue.held() <= 3 * queue.len(), "{} bytes", queue.held());
    for _ in 0..10_000 {
        append(&mut queue, Kind::Messages, &text("small"));
    }
    let longest = queue.segments.iter().map(|segment| segment.bytes.len());
    assert!(longest.max() <= Some(16 << 10));
}

#[test]
fn large_frame_costs_its_length() {
    let mut queue = Queue::default();
    let large = frame(TEXT, &vec![b'x'; 1 << 20]);
    append(&mut queue, Kind::Messages, &large);
    assert!(queue.held() <= large.len() + 9);
    // The part that is left is not moved, and more of it is not held twice.
    write(&mut queue, 1000);
    assert!(queue.held() <= large.len() + 9);
}

// ---- the model

/// What the queue should be: frames, one by one.
#[derive(Debug, Default)]
struct Model {
    begun: Vec<u8>,
    urgent: Vec<Vec<u8>>,
    rest: VecDeque<(Kind, Vec<u8>)>,
}

impl Model {
    fn len(&self) -> usize {
        let urgent: usize = self.urgent.iter().map(Vec::len).sum();
        let rest: usize = self.rest.iter().map(|(_, frame)| frame.len()).sum();
        self.begun.len() + urgent + rest
    }

    fn append(&mut self, kind: Kind, frame: Vec<u8>) {
        if matches!(kind, Kind::Latest(_)) {
            self.rest.retain(|(old, _)| *old != kind);
        }
        self.rest.push_back((kind, frame));
    }

    fn reply(&mut self, frame: Vec<u8>) {
        let urgent: usize = self.urgent.iter().map(Vec::len).sum();
        if urgent + frame.len() > 4 << 10 {
            self.urgent.retain(|frame| frame[0] != PONG);
        }
        self.urgent.push(frame);
    }

    fn drop_oldest(&mut self, most: usize) -> Option<u32> {
        let messages = self.rest.iter().filter(|(kind, _)| *kind != Kind::Kept);
        let droppable: usize = messages.map(|(_, frame)| frame.len()).sum();
        if self.len() - droppable > most {
            return None;
        }
        let mut dropped = 0;
        while self.len() > most
            && let Some(at) = self.rest.iter().position(|(kind, _)| *kind != Kind::Kept)
        {
            self.rest.remove(at);
            dropped += 1;
        }
        Some(dropped)
    }

    fn drop_frames(&mut self) {
        self.urgent.clear();
        self.rest.clear();
    }

    fn write(&mut self, n: usize) -> Vec<u8> {
        let mut written = Vec::new();
        while written.len() < n {
            if self.begun.is_empty() {
                self.begun = match self.urgent.is_empty() {
                    false => self.urgent.remove(0),
                    true => self.rest.pop_front().map_or(Vec::new(), |(_, frame)| frame),
                };
                if self.begun.is_empty() {
                    break;
                }
            }
            let n = self.begun.len().min(n - written.len());
            written.extend(self.begun.drain(..n));
        }
        written
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append(Kind, usize),
    AppendFrames(Vec<(bool, usize)>),
    FailToAppend(Kind),
    Reply(u8, usize),
    Write(usize, usize, bool),
    /// To this part of 256 of what waits.
    DropOldest(u8),
    DropFrames,
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Messages),
        (0..3_u64).prop_map(Kind::Latest),
        Just(Kind::Kept)
    ]
}

fn len() -> impl Strategy<Value = usize> {
    prop_oneof![20 => 0..30_usize, 5 => 100..300_usize, 1 => Just(17_000)]
}

fn step() -> impl Strategy<Value = Step> {
    let reply = prop_oneof![4 => Just(PONG), 1 => Just(PING)];
    prop_oneof![
        8 => (kind(), len()).prop_map(|(kind, len)| Step::Append(kind, len)),
        2 => vec((any::<bool>(), 0..20_usize), 0..4).prop_map(Step::AppendFrames),
        1 => kind().prop_map(Step::FailToAppend),
        4 => (reply, 4..126_usize).prop_map(|(first, len)| Step::Reply(first, len)),
        6 => (0..600_usize, 1..200_usize, any::<bool>())
            .prop_map(|(n, most, gathers)| Step::Write(n, most, gathers)),
        1 => any::<u8>().prop_map(Step::DropOldest),
        1 => Just(Step::DropFrames),
    ]
}

/// The frame with this number.
fn numbered(first: u8, number: u32, len: usize) -> Vec<u8> {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(payload.len() + len, b'.');
    frame(first, &payload)
}

/// `written` is made of whole frames, but for the last if some are left; those of a kind are in
/// order.
fn check_delivered(mut written: &[u8]) {
    let mut last = [None; 2];
    while let Ok(Some((header, len))) = FrameHeader::parse(&written[..written.len().min(14)]) {
        let end = (len + header.payload_len as usize).min(written.len());
        if end >= len + 4 {
            let number: [u8; 4] = written[len..len + 4].try_into().expect("four bytes");
            let number = Some(u32::from_be_bytes(number));
            let is_reply = matches!(written[0], PING | PONG);
            assert!(number > last[usize::from(is_reply)], "out of order");
            last[usize::from(is_reply)] = number;
        }
        written = &written[end..];
    }
    assert!(written.len() < 14, "this is no frame: {written:?}");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        rng_seed: RngSeed::Fixed(0x6455),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn queue_is_as_its_model(steps in vec(step(), 0..60), corked in 0..5_u32, written in 0..60_usize) {
        let mut number = 0;
        let mut numbered = |first, len| {
            number += 1;
            numbered(first, number, len)
        };
        let mut model = Model::default();
        for i in 0..corked {
            let (kind, first) = [(Kind::Messages, TEXT), (Kind::Kept, FIRST)][i as usize % 2];
            model.append(kind, numbered(first, 3 * i as usize));
        }
        let frames: Vec<_> = model.rest.iter().flat_map(|(_, frame)| frame.clone()).collect();
        let mut delivered = model.write(written.min(frames.len()));
        let mut queue = Queue::resume_frames(&frames, delivered.len());
        for step in steps {
            prop_assert_eq!(queue.len(), model.len());
            match step {
                Step::Append(kind, len) => {
                    let frame = numbered(if kind == Kind::Kept { CONTINUATION } else { TEXT }, len);
                    append(&mut queue, kind, &frame);
                    model.append(kind, frame);
                }
                Step::AppendFrames(frames) => {
                    let frames: Vec<_> = frames
                        .into_iter()
                        .map(|(kept, len)| match kept {
                            true => (Kind::Kept, numbered(FIRST, len)),
                            false => (Kind::Messages, numbered(0x82, len)),
                        })
                        .collect();
                    let bytes: Vec<_> = frames.iter().flat_map(|(_, frame)| frame.clone()).collect();
                    queue.append_frames(&bytes);
                    model.rest.extend(frames);
                }
                Step::FailToAppend(kind) => {
                    prop_assert_eq!(queue.append(kind, 50, |_| Err::<usize, _>(())), Err(()));
                }
                Step::Reply(first, len) => {
                    let frame = numbered(first, len - 4);
                    queue.reply(&frame);
                    model.reply(frame);
                }
                Step::Write(n, most, gathers) => {
                    let gathering = if gathers { Gathering::All } else { Gathering::First };
                    let mut sink = Sink { most, gathering, ..Sink::taking(n) };
                    prop_assert!(queue.write_to(&mut sink).is_ok());
                    prop_assert_eq!(&sink.taken, &model.write(n));
                    delivered.extend(sink.taken);
                }
                Step::DropOldest(part) => {
                    let most = model.len() * usize::from(part) / 256;
                    prop_assert_eq!(queue.drop_oldest(most), model.drop_oldest(most));
                }
                Step::DropFrames => {
                    queue.drop_frames();
                    model.drop_frames();
                }
            }
        }
        prop_assert_eq!(queue.len(), model.len());
        let rest = write_all(&mut queue);
        prop_assert_eq!(&rest, &model.write(usize::MAX));
        delivered.extend(rest);
        check_delivered(&delivered);
    }
}
