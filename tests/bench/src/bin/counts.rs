//! Instructions per frame: `counts CASE` works a case through a fixed number of times under
//! callgrind.
//!
//! Only [`measured`] is counted (`--toggle-collect`), so that restoring the input costs nothing.
//! `counts` without a case lists all, each with how many units it divides by.

use std::hint::black_box;

use ws_bench::{
    decode::Decoder as _,
    encode::{Keys, Sender, room},
    frames::{Alphabet, Batch, Kind},
    handshake::REQUEST,
    ours::{self, CONFIG, Ours},
};
use ws_proto::{Connection, Output, SEND_ROOM};

/// Passes over a batch; the first ones, which find caches and lazily bound symbols cold, are few
/// among them.
const PASSES: usize = 100;

/// Frames per batch: callgrind is fifty times slower than the machine.
const FRAMES: usize = 16;

fn main() {
    let wanted = std::env::args().nth(1);
    for (name, case) in cases() {
        match &wanted {
            Some(wanted) if *wanted == name => println!("{}", case()),
            Some(_) => {}
            None => println!("{name}"),
        }
    }
}

/// The one function whose instructions are counted, its callees included.
#[inline(never)]
fn measured(work: &mut dyn FnMut()) {
    work();
    black_box(());
}

/// A case works, and says how many units it worked through.
type Case = Box<dyn Fn() -> usize>;

fn cases() -> Vec<(String, Case)> {
    let sizes = [
        ("20 B", 20),
        ("125 B", 125),
        ("1 KiB", 1 << 10),
        ("64 KiB", 64 << 10),
    ];
    let mut cases: Vec<(String, Case)> = Vec::new();
    for (size, len) in sizes {
        cases.push((
            format!("decode Binary {size}"),
            decode(Kind::Binary, Alphabet::Bytes, len),
        ));
    }
    for (size, len) in sizes {
        cases.push((
            format!("decode Text {size}, ASCII"),
            decode(Kind::Text, Alphabet::Ascii, len),
        ));
    }
    for (size, len) in &sizes[2..] {
        cases.push((
            format!("decode Text {size}, CJK"),
            decode(Kind::Text, Alphabet::Cjk, *len),
        ));
    }
    cases.push((
        "feed a byte, Binary 1 KiB".to_owned(),
        feed(Kind::Binary, Alphabet::Bytes),
    ));
    cases.push((
        "feed a byte, Text 1 KiB, CJK".to_owned(),
        feed(Kind::Text, Alphabet::Cjk),
    ));
    for (size, len) in sizes {
        cases.push((
            format!("encode by a server {size}"),
            encode(Sender::Server, len),
        ));
    }
    for (size, len) in sizes {
        cases.push((
            format!("encode by a client {size}"),
            encode(Sender::Client, len),
        ));
    }
    cases.push(("accept a handshake of 490 B".to_owned(), Box::new(accept)));
    cases
}

fn accept() -> usize {
    let mut buffer = [0; 512];
    for _ in 0..PASSES {
        measured(&mut || {
            black_box(ours::accept(
                REQUEST.as_bytes(),
                &mut Output::new(&mut buffer),
            ));
        });
    }
    PASSES
}

fn decode(kind: Kind, alphabet: Alphabet, len: usize) -> Case {
    Box::new(move || {
        let batch = Batch::of(kind, ws_bench::frames::payload(alphabet, len), FRAMES);
        let mut decoder = Ours::new(&batch);
        for _ in 0..PASSES {
            decoder.load(&batch.wire);
            measured(&mut || {
                decoder.drain(FRAMES, |kind, payload| {
                    black_box((kind, payload));
                });
            });
        }
        PASSES * FRAMES
    })
}

fn feed(kind: Kind, alphabet: Alphabet) -> Case {
    Box::new(move || {
        let batch = Batch::of(kind, ws_bench::frames::payload(alphabet, 1 << 10), 1);
        let mut connection = Connection::server(&CONFIG);
        for _ in 0..PASSES {
            measured(&mut || {
                black_box(ours::feed(&mut connection, &batch.wire));
            });
        }
        PASSES * batch.wire.len()
    })
}

fn encode(sender: Sender, len: usize) -> Case {
    Box::new(move || {
        let payload = ws_bench::frames::payload(Alphabet::Bytes, len);
        let mut buffer = vec![0; room(len, FRAMES) + SEND_ROOM];
        let mut keys = Keys::default();
        let mut connection = match sender {
            Sender::Server => Connection::server(&CONFIG),
            Sender::Client => Connection::client(&CONFIG),
        };
        for _ in 0..PASSES {
            measured(&mut || {
                let mut output = match sender {
                    Sender::Server => Output::new(&mut buffer),
                    Sender::Client => Output::masked(&mut buffer, black_box(&mut keys)),
                };
                for _ in 0..FRAMES {
                    connection
                        .send_binary(black_box(&payload), &mut output)
                        .expect("room");
                }
                black_box(output.written());
            });
        }
        PASSES * FRAMES
    })
}
