//! Protocol code alone (no sockets): ours against nine peers and the floors, in interleaved races.
//!
//! `protocol [--quick]` prints Markdown: tables, then a verdict for each target.

use std::hint::black_box;

use ws_bench::{
    bytewise,
    decode::{self, COPY, Decoder},
    encode::{self, Sender},
    floors::{self, KERNELS, Stateless},
    frames::{Alphabet, Batch, Kind, payload},
    handshake,
    harness::{Contender, Plan, Race},
    ours::{self, Ours},
    peers::{
        self, EdgeWs, EmbeddedWebsocket, Fastwebsockets, NexusWeb, SockudoWs, TokioWebsockets,
        Tungstenite, Websocketz, Yawc, YawcCodec,
    },
    report::{Table, Verdicts, conditions},
};

const PEERS: [&str; 10] = [
    SockudoWs::NAME,
    NexusWeb::NAME,
    Tungstenite::NAME,
    TokioWebsockets::NAME,
    Fastwebsockets::NAME,
    Yawc::NAME,
    YawcCodec::NAME,
    EmbeddedWebsocket::NAME,
    Websocketz::NAME,
    EdgeWs::NAME,
];

/// The peers whose text is known to be UTF-8.
const CHECKING_UTF8: [&str; 7] = [
    SockudoWs::NAME,
    NexusWeb::NAME,
    Tungstenite::NAME,
    TokioWebsockets::NAME,
    Fastwebsockets::NAME,
    Yawc::NAME,
    Websocketz::NAME,
];

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let plan = if quick { Plan::QUICK } else { Plan::FULL };
    let mut verdicts = Verdicts::default();

    println!("## Protocol code alone\n\n{}", conditions(plan.rounds));
    decode_binary(plan, &mut verdicts);
    decode_text(plan, &mut verdicts);
    decode_wide_text(plan, &mut verdicts);
    feed_bytewise(plan, &mut verdicts);
    encode_server(plan, &mut verdicts);
    encode_client(plan, &mut verdicts);
    shake_hands(plan, &mut verdicts);
    sizes(&mut verdicts);
    println!("{}", verdicts.markdown());
}

fn decode_binary(plan: Plan, verdicts: &mut Verdicts) {
    let mut table = Table::new("Decode masked Binary", "ns per frame");
    for (head, len) in [
        ("20 B", 20),
        ("125 B", 125),
        ("1 KiB", 1 << 10),
        ("64 KiB", 64 << 10),
    ] {
        let batch = Batch::new(Kind::Binary, Alphabet::Bytes, len);
        let mut contenders = decoders(&batch);
        contenders.extend(kernels(&batch));
        table.column(head, race(contenders, plan));
    }
    println!("{}", table.markdown());

    for head in ["20 B", "125 B"] {
        against_fastest(verdicts, "decode binary", head, &table, &PEERS, 0.6);
    }
    against_fastest(verdicts, "decode binary", "64 KiB", &table, &PEERS, 1.0);
    let is_kernel = |name: &str| KERNELS.iter().any(|kernel| kernel.0 == name);
    let kernel = table
        .race("64 KiB")
        .and_then(|race| race.fastest(is_kernel))
        .unwrap_or_default();
    verdicts.judge("decode binary 64 KiB", table.race("64 KiB"), &[kernel], 1.1);
}

fn decode_text(plan: Plan, verdicts: &mut Verdicts) {
    let mut table = Table::new("Decode masked Text, ASCII", "ns per frame");
    for (head, len) in [("20 B", 20), ("125 B", 125), ("1 KiB", 1 << 10)] {
        let batch = Batch::new(Kind::Text, Alphabet::Ascii, len);
        let as_binary = batch.sent_as(Kind::Binary);
        let mut contenders = decoders(&batch);
        contenders.push(ours_as_binary(&as_binary));
        contenders.push(validator(FROM_UTF8, &batch, |text| {
            std::str::from_utf8(text).is_ok()
        }));
        contenders.push(validator("simdutf8", &batch, |text| {
            simdutf8::basic::from_utf8(text).is_ok()
        }));
        table.column(head, race(contenders, plan));
    }
    println!("{}", table.markdown());

    for head in ["20 B", "125 B"] {
        let race = table.race(head);
        verdicts.judge(
            &format!("decode text {head}"),
            race,
            &[AS_BINARY, FROM_UTF8],
            1.1,
        );
        verdicts.judge(
            &format!("decode text {head}"),
            race,
            &[Tungstenite::NAME],
            0.4,
        );
        against_fastest(verdicts, "decode text", head, &table, &CHECKING_UTF8, 1.0);
    }
    against_fastest(verdicts, "decode text", "1 KiB", &table, &PEERS, 1.0);
}

fn decode_wide_text(plan: Plan, verdicts: &mut Verdicts) {
    for (name, alphabet) in [("Cyrillic", Alphabet::Cyrillic), ("CJK", Alphabet::Cjk)] {
        let mut table = Table::new(&format!("Decode masked Text, {name}"), "ns per frame");
        for (head, len) in [("1 KiB", 1 << 10), ("64 KiB", 64 << 10)] {
            let batch = Batch::new(Kind::Text, alphabet, len);
            let mut contenders = decoders(&batch);
            contenders.extend(kernels_and_simdutf8(&batch));
            contenders.push(validator("simdutf8", &batch, |text| {
                simdutf8::basic::from_utf8(text).is_ok()
            }));
            contenders.push(validator(FROM_UTF8, &batch, |text| {
                std::str::from_utf8(text).is_ok()
            }));
            table.column(head, race(contenders, plan));
        }
        println!("{}", table.markdown());

        for head in ["1 KiB", "64 KiB"] {
            let is_floor = |name: &str| name.ends_with(AND_SIMDUTF8);
            let floor = table
                .race(head)
                .and_then(|race| race.fastest(is_floor))
                .unwrap_or_default();
            verdicts.judge(
                &format!("decode {name} {head}"),
                table.race(head),
                &[floor],
                1.15,
            );
        }
    }
}

fn feed_bytewise(plan: Plan, verdicts: &mut Verdicts) {
    // A pass over a megabyte takes milliseconds by itself.
    let plan = Plan {
        rounds: plan.rounds.min(11),
        ..plan
    };
    for (name, kind, alphabet) in [
        ("Binary", Kind::Binary, Alphabet::Bytes),
        ("Text, CJK", Kind::Text, Alphabet::Cjk),
    ] {
        let title = format!("Decode fed one byte at a time: one message, {name}");
        let mut table = Table::new(&title, "ns per byte");
        for (head, len) in bytewise::SIZES {
            let batch = Batch::of(kind, payload(alphabet, len), 1);
            let mut contenders = vec![ours::bytewise(&batch)];
            contenders.extend(peers::bytewise(&batch));
            table.column(head, Race::run(&mut contenders, plan));
        }
        println!("{}", table.markdown());

        // Growth is judged inside one race as well, of ours with itself.
        let batches = [1 << 10, 1 << 20].map(|len| Batch::of(kind, payload(alphabet, len), 1));
        let [short, long] = batches.each_ref().map(ours::bytewise);
        let mut contenders = [
            Contender {
                name: SHORT.to_owned(),
                ..short
            },
            long,
        ];
        let growth = Race::run(&mut contenders, plan);
        verdicts.judge(
            &format!("bytewise {name}, 1 MiB"),
            Some(&growth),
            &[SHORT],
            1.15,
        );
    }
}

fn encode_server(plan: Plan, verdicts: &mut Verdicts) {
    encode_all(
        Sender::Server,
        "Encode a server's frame",
        "encode server",
        plan,
        verdicts,
    );
}

fn encode_client(plan: Plan, verdicts: &mut Verdicts) {
    encode_all(
        Sender::Client,
        "Encode a client's frame",
        "encode client",
        plan,
        verdicts,
    );
}

fn encode_all(sender: Sender, title: &str, case: &str, plan: Plan, verdicts: &mut Verdicts) {
    let mut table = Table::new(title, "ns per frame");
    let sizes = [
        ("20 B", 20),
        ("125 B", 125),
        ("1 KiB", 1 << 10),
        ("64 KiB", 64 << 10),
    ];
    for (head, len) in sizes {
        let batch = Batch::new(Kind::Binary, Alphabet::Bytes, len);
        let mut contenders = vec![ours::encoder(sender, &batch)];
        contenders.extend(encode::floors(sender, &batch));
        contenders.extend(peers::encoders(sender, &batch));
        table.column(head, Race::run(&mut contenders, plan));
    }
    println!("{}", table.markdown());

    for (head, _) in sizes {
        let is_floor = |name: &str| encode::FLOORS.contains(&name);
        let floor = table
            .race(head)
            .and_then(|race| race.fastest(is_floor))
            .unwrap_or_default();
        verdicts.judge(&format!("{case} {head}"), table.race(head), &[floor], 1.2);
    }
}

fn shake_hands(plan: Plan, verdicts: &mut Verdicts) {
    let bytes = handshake::REQUEST.len();
    let title = format!("Server handshake, a browser's request of {bytes} bytes");
    let mut table = Table::new(&title, "ns per handshake");
    let mut contenders = vec![ours::handshake()];
    contenders.extend(handshake::floors());
    contenders.extend(peers::handshakes());
    table.column("ns", Race::run(&mut contenders, plan));
    println!("{}", table.markdown());
    verdicts.judge(
        "server handshake",
        table.race("ns"),
        &[handshake::FLOOR],
        1.1,
    );
}

/// What a connection keeps. Buffers on the heap are not in these figures, and all peers but the
/// embedded ones have some.
fn sizes(verdicts: &mut Verdicts) {
    let ours = [
        (
            "`ws_proto::Connection`, timers included",
            size_of::<ws_proto::Connection>(),
            96,
        ),
        ("`ws_proto::Event`", size_of::<ws_proto::Event<'_>>(), 40),
        ("`ws_proto::Violation`", size_of::<ws_proto::Violation>(), 8),
        ("`ws_proto::SendError`", size_of::<ws_proto::SendError>(), 8),
    ];
    let peers = [
        (
            "`sockudo_ws::Protocol`",
            size_of::<sockudo_ws::protocol::Protocol>(),
        ),
        (
            "`nexus_web::FrameReader`",
            size_of::<nexus_web::ws::FrameReader>(),
        ),
        (
            "`tungstenite::WebSocketContext`",
            size_of::<tungstenite::protocol::WebSocketContext>(),
        ),
        ("`tungstenite::Error`", size_of::<tungstenite::Error>()),
        (
            "`tokio_websockets::WebSocketStream<()>`",
            size_of::<tokio_websockets::WebSocketStream<()>>(),
        ),
        (
            "`fastwebsockets::WebSocket<()>`",
            size_of::<fastwebsockets::WebSocket<()>>(),
        ),
        ("`yawc::codec::Decoder`", size_of::<yawc::codec::Decoder>()),
        (
            "`embedded_websocket::WebSocketServer`",
            size_of::<embedded_websocket::WebSocketServer>(),
        ),
        (
            "`websocketz::WebSocket<(), ()>`",
            size_of::<websocketz::WebSocket<'_, (), ()>>(),
        ),
        ("`edge_ws::FrameHeader`", size_of::<edge_ws::FrameHeader>()),
    ];
    println!("\n### Sizes\n\n| type | bytes | at most |\n|---|--:|--:|");
    for (name, size, most) in ours {
        println!("| {name} | {size} | {most} |");
        verdicts.say(
            size <= most,
            &format!("{name}: {size} bytes (target {most})"),
        );
    }
    for (name, size) in peers {
        println!("| {name} | {size} | |");
    }
}

const AS_BINARY: &str = "ours, sent as Binary";
const SHORT: &str = "ours, 1 KiB";
const FROM_UTF8: &str = "from_utf8";
const AND_SIMDUTF8: &str = "then simdutf8";

fn decoders(batch: &Batch) -> Vec<Contender<'_>> {
    vec![
        decode::contender::<Ours>(batch),
        decode::contender::<SockudoWs>(batch),
        decode::contender::<NexusWeb>(batch),
        decode::contender::<Tungstenite>(batch),
        decode::contender::<TokioWebsockets>(batch),
        decode::contender::<Fastwebsockets>(batch),
        decode::contender::<Yawc>(batch),
        decode::contender::<YawcCodec>(batch),
        decode::contender::<EmbeddedWebsocket>(batch),
        decode::contender::<Websocketz>(batch),
        decode::contender::<EdgeWs>(batch),
        decode::contender::<Stateless>(batch),
        decode::copy(batch),
    ]
}

/// A race of decoders, the copy deducted from those who made it while they were timed.
fn race(mut contenders: Vec<Contender<'_>>, plan: Plan) -> Race {
    let mut race = Race::run(&mut contenders, plan);
    let reading = [
        (Tungstenite::NAME, Tungstenite::READS),
        (TokioWebsockets::NAME, TokioWebsockets::READS),
        (Fastwebsockets::NAME, Fastwebsockets::READS),
        (Yawc::NAME, Yawc::READS),
        (Websocketz::NAME, Websocketz::READS),
    ];
    for (name, reads) in reading {
        assert!(reads, "{name} reads");
        race.deduct(name, COPY);
    }
    race
}

fn kernels(batch: &Batch) -> impl Iterator<Item = Contender<'_>> {
    KERNELS.into_iter().map(move |(name, kernel)| {
        decode::floor(name, batch, move |wire| {
            floors::unmask_all(kernel, wire, batch, |payload| {
                black_box(payload);
            });
        })
    })
}

fn kernels_and_simdutf8(batch: &Batch) -> impl Iterator<Item = Contender<'_>> {
    KERNELS.into_iter().map(move |(name, kernel)| {
        decode::floor(&format!("{name} {AND_SIMDUTF8}"), batch, move |wire| {
            floors::unmask_all(kernel, wire, batch, |payload| {
                assert!(simdutf8::basic::from_utf8(payload).is_ok(), "valid text");
            });
        })
    })
}

/// A UTF-8 check of the payloads where they lie, already unmasked.
fn validator<'a>(name: &str, batch: &'a Batch, valid: fn(&[u8]) -> bool) -> Contender<'a> {
    let frame_len = batch.header_len() + batch.payload.len();
    let mut plain = batch.wire.clone();
    for frame in plain.chunks_exact_mut(frame_len) {
        frame[batch.header_len()..].copy_from_slice(&batch.payload);
    }
    decode::floor(name, batch, move |_| {
        for frame in plain.chunks_exact(frame_len) {
            assert!(valid(black_box(&frame[batch.header_len()..])), "valid text");
        }
    })
}

fn against_fastest(
    verdicts: &mut Verdicts,
    case: &str,
    head: &str,
    table: &Table,
    among: &[&str],
    target: f64,
) {
    let race = table.race(head);
    let fastest = race
        .and_then(|race| race.fastest(|name| among.contains(&name)))
        .unwrap_or_default();
    verdicts.judge(&format!("{case} {head}"), race, &[fastest], target);
}

fn ours_as_binary(batch: &Batch) -> Contender<'_> {
    Contender {
        name: AS_BINARY.to_owned(),
        ..decode::contender::<Ours>(batch)
    }
}
